"""One mailbox: its messages, their flags, and what changed.

A Mailbox is shared by all sessions that have it open. Its numbers come from
``row`` (the index), its bytes from the Maildir; ``columns`` hold what sessions
ask for all the time and are read from the index when somebody opens it.
See account.py for the rules about locks.
"""
import logging

from ..disk import atomic
from . import changing, errors, folders, keywords, maildir, moving, rescan
from .changes import ChangeLog, Watch, tell
from .columns import Columns
from .content import Content, Positions
from .index import MessageRow
from .model import Copied, FlagsChanged, State, Status
from .staged import as_store_error
from .uidlist import UidList

_LIST, _LIST_EACH = 131072, 256  # bytes of a UID list, and for each message
_log = logging.getLogger("phenmail.store")
_BATCH = 256  # messages whose file names are looked up at once


class Mailbox:
    """Made by Account.open; all its methods may raise errors.StoreError."""

    def __init__(self, account, folder):
        self.account = account
        self.opens = 0
        self.row = None  # MailboxRow, as of the last look at the index
        self.columns = None
        self.stale = True  # the index may say otherwise now
        self.log = ChangeLog()
        self.scanned = None  # (times, when) of the last look at the folder
        self._distrusted = False  # files may say what no transaction kept
        self._full = (None, False)  # (serial, answer) of _is_full
        self._watches = []
        self._positions = Positions()
        self._gone = False
        self._place(folder)

    def _place(self, folder):
        self.folder = folder
        self.name = folders.name_of(folder)
        self.path = self.account.path(folder)
        self.list = UidList(self.path, self.account.open_lists)
        self.letters = keywords.FlagLetters(self.path)
        self._syncs = (atomic.DirectorySync(self.path + "/cur"),
                       atomic.DirectorySync(self.path + "/new"))

    def __repr__(self):
        return "<Mailbox %r>" % self.name

    # Being open

    def load_locked(self):
        """All of it, as the folder is now."""
        self.ready_locked(look=True)
        self._load_locked()

    def close(self):
        """Undo one ``open``."""
        self.account.closed(self)

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
        self.account.forget_locked(self)
        self.account.guard.touched_locked(self)

    def place_locked(self, folder):
        """The mailbox's folder has another name now."""
        self.list.close()
        self._place(folder)
        self.row = self.row and self.row._replace(folder=folder)

    # Keeping up

    def ready_locked(self, look=False):
        """Make ``row`` right; with ``look``, list a folder that changed.

        Raises errors.NotFound when the folder is gone.
        """
        if self._gone:
            raise errors.NotFound()
        try:
            if look or self.stale:
                self._make_missing_parts()
            if self.stale or self.row is None:
                row = self.account.index.mailbox(self.folder)
                self.letters.read()
                if row is None:  # ``uidvalidity`` is read without the lock:
                    rescan.adopt(self.account, self)  # the old row stands
                else:
                    self.be_same_locked(row.uidvalidity)
                    self.row = row
                    self.reload_locked()
                self.stale = False
            elif self.letters.unknown and self.letters.read():
                self.reload_locked()
            if (look or self._distrusted) and rescan.is_due(self):
                rescan.rescan(self.account, self)
            self._distrusted = False
        except FileNotFoundError:
            if self.folder and not self.account.is_there(self.folder):
                self._folder_is_gone_locked()
                raise errors.NotFound() from None
            self._make_missing_parts()
            rescan.rescan(self.account, self)

    def _make_missing_parts(self):
        """Backups leave empty ones out. What is there can be read all the
        same where they can't be made."""
        if not maildir.is_whole(self.path) and (
                self.account.is_there(self.folder)):
            try:
                maildir.make(self.path)
            except OSError as error:
                _log.error("%s: a folder is missing: %s", self.path, error)

    def settle_locked(self):
        """``ready_locked``, and the UID list is the one that ``row`` tells."""
        self.ready_locked()
        if self.list.stamp() != (self.row.list_inode, self.row.list_size):
            rescan.rescan(self.account, self)

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
        row = self.account.index.mailbox(self.folder)
        if row is not None:
            self.account.index.remove_mailbox(row.id)
        self.gone_locked()

    def _ready_to_read(self):
        """Under ``reading``: what other processes did is taken in."""
        if self._gone or self.stale or self.columns is None:
            try:
                self.account.despite_full_disk(self._make_ready)
            except errors.NoSpace:
                self.read_as_noted()

    def _make_ready(self):
        with self.account.writing():
            self.ready_locked()
            self._load_locked()

    def read_as_noted(self):
        """Under ``reading``, on a full disk: what the index says is read.

        It may lack what happened since; the next change or look finds that.
        Raises errors.NoSpace where the index doesn't know the mailbox.
        """
        index = self.account.index
        row = index and index.mailbox(self.folder)
        if row is None:
            raise errors.NoSpace()
        self.be_same_locked(row.uidvalidity)
        self.row = row
        self.letters.read()
        self.reload_locked()
        self._load_locked()
        self.stale = False

    def _load_locked(self):
        if self.columns is None:
            self.columns = self._read_columns_locked()

    def _read_columns_locked(self):
        return Columns(self.account.index.columns(self.row.id),
                       self.letters.flags)

    def reload_locked(self):
        """Take in what the index says now, and log the difference."""
        if self.columns is None:
            self.account.guard.touched_locked(self)
            return
        old, new = self.columns, self._read_columns_locked()
        self.columns = new
        if old.uids == new.uids and old.flags == new.flags:
            new.uids = old.uids
            return
        if not old.uids:
            self.log_locked(added=new.uids[:])
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
        self.account.guard.touched_locked(self)

    def save_locked(self, **changes):
        """Write ``row`` with ``changes``."""
        self.row = self.row._replace(**changes)
        self.account.index.update_mailbox(self.row)

    def look(self):
        """Take in what other programs did to the files or the index."""
        with self.account.reading():
            if self._gone:
                return
            self._ready_to_read()
            try:
                due = rescan.is_due(self)
            except FileNotFoundError:
                due = True
            if due:
                self.account.despite_full_disk(self._look)

    def _look(self):
        with self.account.writing():
            self.ready_locked(look=True)

    # What a session sees

    @property
    def uidvalidity(self):
        return self.row.uidvalidity

    def state(self):
        """The mailbox as it is now: a State."""
        with self.account.reading():
            self._ready_to_read()
            columns = self.columns
            return State(
                columns.uids, len(columns.uids), self.log.serial,
                self.row.uidnext, self.row.modseq, columns.unseen,
                self.letters.keywords, self._is_full(), columns.flags)

    def keywords(self):
        """(tuple of all keywords, whether no new one can be kept)."""
        with self.account.reading():
            self._ready_to_read()
            return self.letters.keywords, self._is_full()

    def _is_full(self):
        """Do messages have all letters that there are for keywords?"""
        if not self.letters.seen.issuperset(keywords.LETTERS):
            return False
        if self._full[0] != self.log.serial:
            self._full = self.log.serial, self.account.index.letters(
                self.row.id).issuperset(keywords.LETTERS)
        return self._full[1]

    def changes(self, serial):
        """Update since ``serial``; None: too long ago, compare states."""
        with self.account.reading():
            self._ready_to_read()
            return self.log.since(serial)

    def expunged_since(self, modseq):
        """The UIDs expunged after this mod-sequence, ascending; None if that is too long ago to be
        known: then all that are missing may be meant (RFC 7162 3.2.6)."""
        with self.account.reading():
            self._ready_to_read()
            return self.account.index.expunged_since(self.row.id, modseq, self.row.modseq)

    def first_recent(self):
        """The first UID that no session was told of as recent."""
        with self.account.reading():
            self._ready_to_read()
            return self.row.recent

    def claim_recent(self):
        """As ``first_recent``; the caller is the session that was told."""
        with self.account.reading():
            self._ready_to_read()
            recent = self.row.recent
            if recent < self.row.uidnext:
                with self.account.writing():
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
        messages, unseen, recent, size = self.account.index.counts(
            self.row.id, self.row.recent)
        return Status(messages, recent, unseen, self.row.uidnext,
                      self.row.uidvalidity, self.row.modseq, size)

    def rows(self, uids):
        """Rows of ``uids`` (ascending); those that are gone are left out."""
        with self.account.reading():
            self._ready_to_read()
            return self.columns.rows(uids)

    def cached(self, item, uids):
        """``{uid: bytes}`` as far as kept with ``cache``."""
        with self.account.reading():
            self._ready_to_read()
            return dict(self.account.index.items(self.row.id, item, uids))

    def cache(self, item, data):
        """Keep ``{uid: bytes}``, made from messages' unchanging bytes."""
        with self.account.writing():
            self.ready_locked()
            here = set(self.account.index.uids_of(
                self.row.id, sorted(data)))
            self.account.index.add_items(
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
            with self.account.reading():
                self._ready_to_read()
                rows = self.account.index.select(self.row.id, part)
            files = {row[0]: row for row in rows}
            for uid in part:
                row = files.get(uid)
                yield uid, row and self._content(MessageRow(*row))

    def _content(self, row):
        path = moving.where(self.path, row)
        positions = self._positions if row.size > 262144 else None
        try:
            return Content(path, row.size, positions)
        except errors.Expunged:
            return self._content_moved(row, positions)

    def _content_moved(self, row, positions):
        """Its flags changed since the look-up, here or elsewhere."""
        for _ in range(3):
            try:
                found = moving.Finder(self.path).find(row)
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
        """Write a list that has grown anew, without those that are gone."""
        size = self.list.left()[1]
        if size <= _LIST or self.list.header is None:
            return
        count = self.account.index.counts(self.row.id, 0)[0]
        if size > _LIST + _LIST_EACH * count:
            self.list.replace(self.list.header, (
                row[:2] for row in self.account.index.messages(self.row.id)))

    def number_locked(self, count):
        """The first of ``count`` new UIDs and a mod-sequence, both durable.

        The caller saves the row with both counted on.
        """
        stamp = self.row.list_inode, self.row.list_size
        if self.list.stamp() != stamp or not self.list.is_open(*stamp):
            rescan.rescan(self.account, self)
        uid, modseq = self.row.uidnext, self.row.modseq + 1
        header = self.list.header
        if uid + count > header.uid_ceiling or modseq >= header.modseq_ceiling:
            self.list.raise_ceilings(
                uid, count, modseq, self.account.identity)
        return uid, modseq

    def letters_locked(self, wanted, despite_faults=False):
        """The letters for each of ``wanted``, collections of flags.

        To be asked once for all that a transaction sets: a letter that no
        message has yet can be given to another keyword by the next call. A
        keyword for which there is none left has none; with ``despite_faults``
        neither has a new one that the disk doesn't take now.
        """
        flags = dict.fromkeys(flag for each in wanted for flag in each)
        if any(not flag.startswith("\\") for flag in flags):
            self.read_letters_locked()
            missing = self.letters.missing(flags)
            if missing:
                self._add_letters_locked(missing, flags, despite_faults)
        return [self.letters.letter_each(each) for each in wanted]

    def _add_letters_locked(self, missing, flags, despite_faults):
        try:
            self.letters.add(
                missing, flags, self.account.index.letters(self.row.id))
        except OSError as error:
            if not despite_faults:
                raise
            _log.warning("%s: the keywords %s are left out, as they can't be "
                         "written: %s", self.path, " ".join(missing), error)

    def read_letters_locked(self):
        """Be sure of what the letters mean; raises errors.Unavailable."""
        if self.letters.read():  # another program gave letters
            self.reload_locked()
        if self.letters.unknown:
            raise errors.Unavailable()

    def change_flags(self, uids, mode, flags, unchanged_since=None):
        """Add, remove or replace flags of ``uids`` (ascending).

        ``mode``: "add", "remove", "replace"; ``unchanged_since``: leave
        messages with a newer mod-sequence alone. Returns FlagsChanged. A
        keyword that can't be kept is left out.
        """
        return self.account.despite_full_disk(lambda: self._change_flags(
            uids, mode, flags, unchanged_since))

    def _change_flags(self, uids, mode, flags, unchanged_since):
        with self.account.writing():
            self.ready_locked()
            if mode == "replace" or any(
                    not flag.startswith("\\") for flag in flags):
                self.read_letters_locked()  # or others would go unseen
            if mode == "remove":
                letters = set(self.letters.letters(flags))
            else:
                letters = set(self.letters_locked(
                    [flags], despite_faults=True)[0])
            left_out = () if mode == "remove" else tuple(
                self.letters.missing(flags))  # as of now: they may get some
            rows = changing.select_locked(self, uids)
            failed = []
            if unchanged_since is not None:
                failed = [row.uid for row in rows
                          if row.modseq > unchanged_since]
                rows = [row for row in rows if row.modseq <= unchanged_since]
            return FlagsChanged(
                changing.set_letters_locked(self, rows, mode, letters), failed,
                left_out)

    def expunge(self, uids=None):
        """Remove messages with \\Deleted, of ``uids`` (ascending) or all.

        Returns the UIDs that went, ascending: those whose file can't be
        removed stay. Raises errors.StoreError where none went for that.
        """
        return self.account.despite_full_disk(lambda: self._expunge(uids))

    def _expunge(self, uids):
        with self.account.writing():
            self.ready_locked()
            index = self.account.index
            rows = (index.lettered(self.row.id, "T") if uids is None
                    else index.select(self.row.id, uids))
            return changing.remove_locked(
                self, [MessageRow(*row) for row in rows if "T" in row[3]])

    def remove(self, uids):
        """Remove ``uids`` (ascending) whatever their flags are: as
        ``expunge``."""
        return self.account.despite_full_disk(lambda: self._remove(uids))

    def _remove(self, uids):
        with self.account.writing():
            self.ready_locked()
            return changing.remove_locked(
                self, changing.select_locked(self, uids))

    def copy(self, uids, target_name, look=lambda: None):
        """Copy ``uids`` (ascending) into another mailbox, durably.

        All or none. Returns Copied; raises errors.NotFound for the target. A
        keyword is left out where the target has no letter left for it, but not
        for a full disk: who removes the original next would lose it for good.
        ``look()`` is called for each message; what it raises undoes all.
        """
        return self._copy(uids, target_name, look)[0]

    def _copy(self, uids, target_name, look=lambda: None):
        """(Copied, the target)."""
        with self.account.writing():
            self.ready_locked()
            target = self.account.mailbox_locked(target_name)
            target.ready_locked()
            copies = changing.copy_locked(
                self, changing.select_locked(self, uids), target, look)
            copied = Copied(target.row.uidvalidity, [
                (row.uid, copy.uid) for row, copy in copies])
        try:
            for fresh in {copy.fresh for _, copy in copies}:
                target.sync(fresh)
        except errors.StoreError:
            target.take_back([copy.uid for _, copy in copies])
            raise
        return copied, target

    def take_back(self, uids):
        """Remove what was added here for a change that failed afterwards."""
        try:
            gone = set(self.remove(uids))
        except errors.StoreError:
            gone = ()
        left = len([uid for uid in uids if uid not in gone])
        if left:
            _log.error("%s: %d messages stay although they were refused, for "
                       "they could not be removed", self.path, left)

    def move(self, uids, target_name):
        """Copy, durably, then remove here what was copied: Copied.

        What can't be removed here is not in the target either, in the end.
        """
        copied, target = self.account.despite_full_disk(
            lambda: self._copy(uids, target_name))
        sources = [uid for uid, _ in copied.pairs]
        try:
            stays = changing.left(sources, self.remove(sources))
            if stays:  # unless somebody else was quicker
                stays.intersection_update(self.rows(sorted(stays)).uids)
        except errors.StoreError:
            target.take_back([copy for _, copy in copied.pairs])
            raise
        if stays:
            target.take_back([copy for uid, copy in copied.pairs
                              if uid in stays])
        return copied._replace(pairs=[
            pair for pair in copied.pairs if pair[0] not in stays])
