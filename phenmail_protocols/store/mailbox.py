"""One mailbox: its messages, their flags, and what changed.

A Mailbox is shared by all sessions that have it open. Its numbers come from
``row`` (the index), its bytes from the Maildir; ``columns`` hold what sessions
ask for all the time and are read from the index when somebody opens it.
See account.py for the rules about locks.
"""
import os
from typing import Any, NamedTuple, Optional

from . import errors, folders, maildir, rescan
from .changes import ChangeLog, Watch, tell
from .columns import Columns
from .content import Content, Positions
from .index import MessageRow
from .model import Copied, FlagsChanged, State, Status
from .staged import as_store_error
from .uidlist import BLOCK, UidList
from ..disk import atomic

_BATCH = 256  # messages whose file names are looked up at once


class _Arrival(NamedTuple):
    """A message that gets a UID; ``put(source, path)`` places its file, and
    ``back`` is where it goes if the transaction fails, None: nowhere."""
    name: str
    letters: str
    size: int
    date: int
    source: str
    put: Any
    back: Optional[str]


class Mailbox:
    """Made by Account.open; all its methods may raise errors.StoreError."""

    def __init__(self, account, folder):
        self._account = account
        self.opens = 0
        self.row = None  # MailboxRow, as of the last look at the index
        self.columns = None
        self.stale = True  # the index may say otherwise now
        self.log = ChangeLog()
        self.scanned = None  # (times, when) of the last look at the folder
        self._distrusted = False  # files may say what no transaction kept
        self._watches = []
        self._positions = Positions()
        self._gone = False
        self._place(folder)

    def _place(self, folder):
        self.folder = folder
        self.name = folders.name_of(folder)
        self.path = self._account.path(folder)
        self.list = UidList(self.path, self._account.open_lists)
        self.letters = maildir.FlagLetters(self.path)
        self._syncs = (atomic.DirectorySync(self.path + "/cur"),
                       atomic.DirectorySync(self.path + "/new"))

    def __repr__(self):
        return "<Mailbox %r>" % self.name

    # Being open

    def open_locked(self):
        self.opens += 1
        try:
            self.ready_locked(look=True)
            self._load_locked()
        except BaseException:
            self.opens -= 1
            raise

    def close(self):
        """Undo one ``open``."""
        self._account.closed(self)

    def unload_locked(self):
        """Nobody has it open: its columns are read again when needed."""
        if not self.opens:
            self.columns = None

    def close_files_locked(self):
        self.list.close()
        self.unload_locked()
        self.stale = True

    def watch(self, callback):
        """Call ``callback()`` after each change, from any thread and with no
        lock held; ``close()`` of the answer ends it."""
        return Watch(self._watches, callback)

    def tell(self):
        tell(self._watches)

    def distrust_locked(self):
        """Nothing in memory is sure; the folder will be listed again."""
        self.stale = True
        self.scanned = None
        self._distrusted = True
        self.list.close()

    def gone_locked(self):
        self._gone = True
        self.list.close()
        self._account.forget_locked(self)
        self._account.touched_locked(self)

    def renamed_locked(self, folder):
        self.list.close()
        self._place(folder)
        left = self._account.index.mailbox(folder)
        if left is not None:  # another program removed that folder
            self._account.index.remove_mailbox(left.id)
        self._account.index.rename_mailbox(self.row.id, folder)
        self.row = self.row._replace(folder=folder)

    # Keeping up

    def ready_locked(self, look=False):
        """Make ``row`` right; with ``look``, list a folder that changed.

        Raises errors.NotFound when the folder is gone.
        """
        if self._gone:
            raise errors.NotFound()
        try:
            if self.stale or self.row is None:
                row = self._account.index.mailbox(self.folder)
                self.letters.read()
                if row is None:  # ``uidvalidity`` is read without the lock:
                    rescan.adopt(self._account, self)  # the old row stands
                else:
                    self.be_same_locked(row.uidvalidity)
                    self.row = row
                    self.reload_locked()
                self.stale = False
            if (look or self._distrusted) and rescan.is_due(self):
                rescan.rescan(self._account, self)
            self._distrusted = False
        except FileNotFoundError:
            if self.folder and not self._account.is_there(self.folder):
                self._folder_is_gone_locked()
                raise errors.NotFound() from None
            rescan.rescan(self._account, self)  # makes the missing part

    def settle_locked(self):
        """``ready_locked``, and the UID list is the one that ``row`` tells."""
        self.ready_locked()
        if self.list.stamp() != (self.row.list_inode, self.row.list_size):
            rescan.rescan(self._account, self)

    def be_same_locked(self, uidvalidity):
        """Somebody made the mailbox anew, if it has another UIDVALIDITY.

        To those who have it open it is gone: their UIDs mean nothing now.
        """
        if self.row is None or self.row.uidvalidity == uidvalidity:
            return
        if self.opens:
            self.gone_locked()
            raise errors.NotFound()
        self.columns = None

    def _folder_is_gone_locked(self):
        row = self._account.index.mailbox(self.folder)
        if row is not None:
            self._account.index.remove_mailbox(row.id)
        self.gone_locked()

    def _ready_to_read(self):
        """Under ``reading``: what other processes did is taken in."""
        if self._gone or self.stale or self.columns is None:
            with self._account.writing():
                self.ready_locked()
                self._load_locked()

    def _load_locked(self):
        if self.columns is None:
            self.columns = self._read_columns_locked()

    def _read_columns_locked(self):
        return Columns(self._account.index.columns(self.row.id),
                       self.letters.flags)

    def reload_locked(self):
        """Take in what the index says now, and log the difference."""
        if self.columns is None:
            self._account.touched_locked(self)
            return
        old, new = self.columns, self._read_columns_locked()
        self.columns = new
        if old.uids == new.uids and old.flags == new.flags:
            new.uids = old.uids
            return
        before = dict(zip(old.uids, old.flags))
        after = dict(zip(new.uids, new.flags))
        self.log_locked(
            added=[uid for uid in new.uids if uid not in before],
            removed=[uid for uid in old.uids if uid not in after],
            changed=[uid for uid in new.uids
                     if before.get(uid, after[uid]) != after[uid]])

    def log_locked(self, added=(), removed=(), changed=()):
        self.log.note(added, removed, changed)
        self._account.touched_locked(self)

    def save_locked(self, **changes):
        """Write ``row`` with ``changes``."""
        self.row = self.row._replace(**changes)
        self._account.index.update_mailbox(self.row)

    def look(self):
        """Take in what other programs did to the files or the index."""
        with self._account.reading():
            if self._gone:
                return
            self._ready_to_read()
            try:
                due = rescan.is_due(self)
            except FileNotFoundError:
                due = True
            if due:
                with self._account.writing():
                    self.ready_locked(look=True)

    # What a session sees

    @property
    def uidvalidity(self):
        return self.row.uidvalidity

    def state(self):
        """The mailbox as it is now: a State."""
        with self._account.reading():
            self._ready_to_read()
            columns = self.columns
            return State(
                columns.uids, len(columns.uids), self.log.serial,
                self.row.uidnext, self.row.modseq, columns.unseen,
                tuple(filter(None, self.letters.keywords)),
                self.letters.full, columns.flags)

    def changes(self, serial):
        """Update since ``serial``; None: too long ago, compare states."""
        with self._account.reading():
            self._ready_to_read()
            return self.log.since(serial)

    def first_recent(self):
        """The first UID that no session was told of as recent."""
        with self._account.reading():
            self._ready_to_read()
            return self.row.recent

    def claim_recent(self):
        """As ``first_recent``; the caller is the session that was told."""
        with self._account.reading():
            self._ready_to_read()
            recent = self.row.recent
            if recent < self.row.uidnext:
                with self._account.writing():
                    self.ready_locked()
                    recent = self.row.recent
                    self.save_locked(recent=self.row.uidnext)
            return recent

    def is_current(self):
        """Under ``reading``: is there nothing to take in from the disk?"""
        try:
            return not (self._gone or self.stale or self.row is None
                        or rescan.is_due(self))
        except FileNotFoundError:
            return False

    def status_locked(self):
        self.ready_locked(look=True)
        return self.status_now()

    def status_now(self):
        """The Status, when ``is_current``."""
        messages, unseen, recent = self._account.index.counts(
            self.row.id, self.row.recent)
        return Status(messages, recent, unseen, self.row.uidnext,
                      self.row.uidvalidity, self.row.modseq)

    def rows(self, uids):
        """Rows of ``uids`` (ascending); those that are gone are left out."""
        with self._account.reading():
            self._ready_to_read()
            return self.columns.rows(uids)

    def cached(self, item, uids):
        """``{uid: bytes}`` as far as kept with ``cache``."""
        with self._account.reading():
            self._ready_to_read()
            return dict(self._account.index.items(self.row.id, item, uids))

    def cache(self, item, data):
        """Keep ``{uid: bytes}``, made from messages' unchanging bytes."""
        with self._account.writing():
            self.ready_locked()
            here = set(self._account.index.uids_of(
                self.row.id, sorted(data)))
            self._account.index.add_items(
                self.row.id, item,
                [row for row in data.items() if row[0] in here])

    # Messages' bytes

    def content(self, uid):
        """The Content of a message; raises errors.Expunged."""
        for _, content in self.contents([uid]):
            if content is not None:
                return content
        raise errors.Expunged()

    def contents(self, uids):
        """(uid, Content or None if it is gone) for each of ``uids``.

        A Content is the caller's to close.
        """
        for start in range(0, len(uids), _BATCH):
            part = uids[start:start + _BATCH]
            with self._account.reading():
                self._ready_to_read()
                rows = self._account.index.select(self.row.id, part)
            files = {row[0]: row for row in rows}
            for uid in part:
                row = files.get(uid)
                yield uid, row and self._content(MessageRow(*row))

    def _content(self, row):
        path = "%s/%s" % (self.path, maildir.path(
            row.fresh, row.name, row.letters))
        positions = self._positions if row.size > 262144 else None
        try:
            return Content(path, row.size, positions)
        except errors.Expunged:
            return self._content_moved(row, positions)

    def _content_moved(self, row, positions):
        """Its flags changed since the look-up, here or elsewhere."""
        for _ in range(3):
            try:
                found = _Finder(self.path).find(row)
                if found is None:
                    self.scanned = None  # gone: have that noticed
                    return None
                return Content(found[0], row.size, positions)
            except (errors.Expunged, FileNotFoundError):
                continue  # or the whole mailbox was renamed, or deleted
        return None

    def sync(self, fresh):
        """Flush ``new`` (``fresh``) or ``cur``; not under the lock."""
        while True:
            sync = self._syncs[1 if fresh else 0]
            try:
                return sync.sync()
            except OSError as error:
                if sync in self._syncs:  # it was not renamed meanwhile
                    raise as_store_error(error) from error

    # Changing it

    def compact_list_locked(self):
        """Write the UID list anew, without the messages that are gone."""
        self.list.replace(self.list.header, [
            (row[0], row[1])
            for row in self._account.index.messages(self.row.id)])

    def number_locked(self, count):
        """The first of ``count`` new UIDs and a mod-sequence, both durable.

        The caller saves the row with both counted on.
        """
        stamp = self.row.list_inode, self.row.list_size
        if self.list.stamp() != stamp or not self.list.is_open(*stamp):
            rescan.rescan(self._account, self)
        uid, modseq = self.row.uidnext, self.row.modseq + 1
        header = self.list.header
        if uid + count > header.uid_ceiling or modseq >= header.modseq_ceiling:
            self.list.raise_ceilings(
                uid, count, modseq, self._account.identity)
        return uid, modseq

    def modseq_locked(self):
        """A new mod-sequence; the caller saves the row with it."""
        return self.number_locked(0)[1]

    def letters_locked(self, flags, new_keywords=True):
        """The letters for ``flags``; raises errors.Limit."""
        if not flags:
            return ""
        if (not all(flag.startswith("\\") for flag in flags)
                and self.letters.read()):  # another program gave letters
            self.reload_locked()
        missing = self.letters.missing(flags)
        if missing and new_keywords and not self.letters.add(missing):
            raise errors.Limit()
        return self.letters.letters(flags)

    def add_locked(self, staged, letters):
        """File synced Staged messages, each with its letters: their rows.

        The caller syncs after, and tells the Staged that they are delivered.
        """
        return self._file_locked([
            _Arrival(each.sized_name(), own, each.size, each.date,
                     each.path, os.rename, each.path)
            for each, own in zip(staged, letters)])

    def _file_locked(self, arrivals):
        """Give ``arrivals`` their UIDs and put their files in place: rows."""
        uid, modseq = self.number_locked(len(arrivals))
        rows = [MessageRow(uid + number, each.name, 0 if each.letters else 1,
                           each.letters, each.size, each.date, modseq)
                for number, each in enumerate(arrivals)]
        self.list.append([(row.uid, row.name) for row in rows])
        self._account.index.add_messages(self.row.id, rows)
        for row, each in zip(rows, arrivals):
            path = "%s/%s" % (self.path, maildir.path(
                row.fresh, row.name, row.letters))
            each.put(each.source, path)
            self._account.made_locked(path, each.back)
        inode, size = self.list.left()
        self.save_locked(uidnext=uid + len(rows), modseq=modseq,
                         list_inode=inode, list_size=size)
        self._appeared_locked(rows)
        return rows

    def _appeared_locked(self, rows):
        if self.columns is not None:
            for row in rows:
                self.columns.append(
                    row.uid, self.letters.flags(row.letters), row.modseq,
                    row.size, row.date)
        self.log_locked(added=[row.uid for row in rows])

    def change_flags(self, uids, mode, flags, unchanged_since=None):
        """Add, remove or replace flags of ``uids`` (ascending).

        ``mode``: "add", "remove", "replace"; ``unchanged_since``: leave
        messages with a newer mod-sequence alone. Returns FlagsChanged.
        Raises errors.Limit for a keyword too many.
        """
        with self._account.writing():
            self.ready_locked()
            letters = set(self.letters_locked(
                flags, new_keywords=mode != "remove"))
            rows = [MessageRow(*row) for row in
                    self._account.index.select(self.row.id, uids)]
            failed = []
            if unchanged_since is not None:
                failed = [row.uid for row in rows
                          if row.modseq > unchanged_since]
                rows = [row for row in rows if row.modseq <= unchanged_since]
            return FlagsChanged(
                self._set_letters_locked(rows, mode, letters), failed)

    def _set_letters_locked(self, rows, mode, letters):
        known = {}
        work = []
        for row in rows:
            new = known.get(row.letters)
            if new is None:
                new = known[row.letters] = _combine(
                    mode, row.letters, letters)
            if new != row.letters:
                work.append((row, new))
        if not work:
            return []
        modseq = self.modseq_locked()
        done = self._rename_locked(work, mode, letters)
        self._account.index.set_flags(self.row.id, [
            (0, new, modseq, row.uid) for row, new in done])
        self.save_locked(modseq=modseq)
        changed = [row.uid for row, _ in done]
        if self.columns is not None:
            for row, new in done:
                position = self.columns.position(row.uid)
                if position >= 0:
                    self.columns.set_flags(
                        position, self.letters.flags(new), modseq)
        self.log_locked(changed=changed)
        return changed

    def _rename_locked(self, work, mode, letters):
        """Give files their new letters; leaves out those that are gone.

        What another program changed in the meantime is changed once more.

        Within ``cur`` a rename is one step. Out of ``new`` it is two: were
        the power to fail after a flush of ``new`` alone (a delivery's), the
        message would be in neither. So it is linked, flushed, unlinked.
        """
        done = []
        linked = []
        finder = _Finder(self.path)
        for row, new in work:
            old_path = "%s/%s" % (self.path, maildir.path(
                row.fresh, row.name, row.letters))
            new_path = "%s/cur/%s%s%s" % (
                self.path, row.name, maildir.INFO, new)
            try:
                if row.fresh:
                    _link(old_path, new_path)
                    linked.append(old_path)
                else:
                    os.rename(old_path, new_path)
            except FileNotFoundError:
                self.scanned = None  # somebody else was quicker
                new = self._rename_found(row, finder, mode, letters)
                if new is None:
                    continue
            done.append((row, new))
        if linked:
            self._syncs[0].sync()
            for path in linked:
                _unlink(path)
        return done

    def _rename_found(self, row, finder, mode, letters):
        """The letters that a file got which isn't where it was, or None."""
        found = finder.find(row)
        if found is None:
            return None
        path, old = found
        new = _combine(mode, old, letters)
        try:
            os.rename(path, "%s/cur/%s%s%s" % (
                self.path, row.name, maildir.INFO, new))
        except FileNotFoundError:
            return None
        return new

    def expunge(self, uids=None):
        """Remove messages with \\Deleted, of ``uids`` (ascending) or all.

        Returns the UIDs that went, ascending.
        """
        with self._account.writing():
            self.ready_locked()
            index = self._account.index
            rows = (index.lettered(self.row.id, "T") if uids is None
                    else index.select(self.row.id, uids))
            return self._remove_locked(
                [MessageRow(*row) for row in rows if "T" in row[3]])

    def remove(self, uids):
        """Remove ``uids`` (ascending) whatever their flags are."""
        with self._account.writing():
            self.ready_locked()
            return self._remove_locked([
                MessageRow(*row) for row in
                self._account.index.select(self.row.id, uids)])

    def _remove_locked(self, rows):
        if not rows:
            return []
        modseq = self.modseq_locked()
        finder = _Finder(self.path)
        for row in rows:
            try:
                os.unlink("%s/%s" % (self.path, maildir.path(
                    row.fresh, row.name, row.letters)))
            except FileNotFoundError:
                found = finder.find(row)
                if found:
                    _unlink(found[0])
        gone = [row.uid for row in rows]
        self._account.index.remove_messages(self.row.id, gone, modseq)
        self.save_locked(modseq=modseq)
        if self.columns is not None:
            self.columns.remove(set(gone))
        self.log_locked(removed=gone)
        return gone

    def copy(self, uids, target_name):
        """Copy ``uids`` (ascending) into another mailbox, durably.

        All or none. Returns Copied; raises errors.NotFound for the target.
        """
        with self._account.writing():
            self.ready_locked()
            target = self._account.mailbox_locked(target_name)
            target.ready_locked()
            rows = [MessageRow(*row) for row in
                    self._account.index.select(self.row.id, uids)]
            copies = self._copy_locked(rows, target)
            copied = Copied(target.row.uidvalidity, [
                (row.uid, copy.uid) for row, copy in copies])
        for fresh in {copy.fresh for _, copy in copies}:
            target.sync(fresh)
        return copied

    def _copy_locked(self, rows, target):
        """[(source row, new row)]; a message that is gone is left out."""
        sources = []
        finder = _Finder(self.path)
        for row in rows:
            path = "%s/%s" % (self.path, maildir.path(
                row.fresh, row.name, row.letters))
            found = (path,) if os.path.exists(path) else finder.find(row)
            if found:
                sources.append((row, found[0]))
        if not sources:
            return []
        new = target._file_locked([
            _Arrival(_copy_name(row), target.letters_locked(
                self.letters.flags(row.letters)), row.size, row.date,
                path, _link, None)
            for row, path in sources])
        return [(row, copy) for (row, _), copy in zip(sources, new)]

    def move(self, uids, target_name):
        """Copy, durably, then remove here what was copied: Copied."""
        copied = self.copy(uids, target_name)
        self.remove([uid for uid, _ in copied.pairs])
        return copied


class _Finder:
    """Finds files that another program renamed; lists the folder once."""

    def __init__(self, path):
        self._path = path
        self._found = None

    def find(self, row):
        """(path, letters) of a message's file, or None."""
        if self._found is None:
            self._found = maildir.listing(self._path)
        if row.name not in self._found:
            return None
        fresh, letters, file_name = self._found[row.name]
        return "%s/%s/%s" % (
            self._path, "new" if fresh else "cur", file_name), letters


def _unlink(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # another program was quicker


def _combine(mode, old, letters):
    """Letters after a change; those of no known flag survive ``replace``."""
    if mode == "add":
        new = letters.union(old)
    elif mode == "remove":
        new = set(old) - letters
    else:
        new = letters.union(set(old) - set("DFRST") - set(
            map(chr, range(97, 97 + maildir.KEYWORDS))))
    return "".join(sorted(new))


def _copy_name(row):
    """A new name for a copy of ``row``'s file, with its sizes."""
    return maildir.unique_name() + maildir.sizes(row.name)


def _link(source, target):
    """A second name for a synced file; a copy where there are no links."""
    try:
        os.link(source, target)
    except FileExistsError:
        if not os.path.samefile(source, target):
            raise
    except (PermissionError, NotImplementedError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        temporary = os.path.join(
            os.path.dirname(os.path.dirname(target)), "tmp",
            maildir.unique_name())
        import shutil  # a megabyte, for file systems without links
        shutil.copy2(source, temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.rename(temporary, target)
