"""One mailbox: its messages, their flags, and what changed.

All sessions that have a mailbox open share one Mailbox. It holds three copies of the truth, which
is in the files:

    row            the mailbox's numbers, from the index; valid unless `stale`
    columns        UID, flags, size and date of each message, for sessions; read from the index
                   when a session opens the mailbox, and then changed together with it
    uid_list,      the files `dovecot-uidlist` and `dovecot-keywords`
    flag_letters

`ready_locked` brings `row` and `columns` up to date; `rescan` takes in what other programs did to
the files. The methods that read messages are in reading.py, those that change them in flags.py,
expunging.py and copying.py. deriving/derived.py has what is kept of their bytes. See account.py for
the rules about locks.
"""
import logging
from bisect import bisect_left

from ..disk import atomic
from . import copying, errors, expunging, flags, reading
from .changes import ChangeLog, Watch, notify
from .columns import Columns
from .deriving import derived
from .maildir import folders, tree
from .maildir.content import Positions
from .maildir.keywords import LETTERS, FlagLetters
from .maildir.uidlist import UidList
from .model import State, Status
from .rescanning import rescan
from .rescanning.shares import looking

# The size in bytes at which a UID list is compacted: a fixed part, and a part for each message.
_LIST, _LIST_EACH = 131072, 256
log = logging.getLogger("phenmail.store")


class Mailbox:
    """Made by Account.open. All methods may raise errors.StoreError."""

    def __init__(self, account, folder):
        self.account = account
        self.opens = 0  # sessions that have it open
        self.row = None  # index.MailboxRow
        self.columns = None
        self.stale = True  # the index may have changed since `row` was read
        self.log = ChangeLog()
        self.scanned = None  # times of the folders at the last listing
        self.scanned_modseq = None  # the mod-sequence then
        self._distrusted = False  # the files may show a change that was not committed
        self._counted = (None, None)  # (row, Status) of status_now
        self._full = (None, False)  # (serial, answer) of _is_full
        self._watches = []
        self._positions = Positions()
        self._gone = False
        self._set_folder(folder)

    def _set_folder(self, folder):
        self.folder = folder
        self.name = folders.name_of(folder)
        self.path = self.account.tree.path_of(folder)
        self.uid_list = UidList(self.path, self.account.open_lists)
        self.flag_letters = FlagLetters(self.path)

    def __repr__(self):
        return "<Mailbox %r>" % self.name

    # Opening, closing, watching

    def load_locked(self):
        """Read everything, as the folder is now."""
        self.ready_locked(look=True, load=True)
        self._load_columns()

    def close(self):
        """Undo one `open`."""
        self.account.closed(self)

    def unload_locked(self):
        """Free the columns, unless a session has the mailbox open."""
        if not self.opens:
            self.columns = None

    def close_files_locked(self):
        self.uid_list.close()
        self.unload_locked()
        self.stale = True

    def watch(self, callback):
        """Call `callback()` after each change, from any thread, with no lock held, until the
        result is closed."""
        return Watch(self._watches, callback)

    def notify(self):
        """Call the watchers."""
        notify(self._watches)

    def distrust_locked(self):
        """What is in memory may be outdated; the folder must be listed again."""
        self.stale = True
        self.scanned = None
        self._distrusted = True
        self.uid_list.close()

    def gone_locked(self):
        """The mailbox was deleted, or another one took its name."""
        self._gone = True
        self.uid_list.close()
        self.account.forget_locked(self)
        self.account.touched_locked(self)

    def renamed_locked(self, folder):
        """The mailbox's folder has a new name."""
        self.uid_list.close()
        self._set_folder(folder)
        self.row = self.row and self.row._replace(folder=folder)

    # Keeping up with index and files

    def ready_locked(self, look=False, load=False):
        """Bring `row` and `columns` up to date; with `look`, list the folder if it changed.

        `load`: the caller loads the columns then; they are made at once if the folder is listed.
        Raises errors.NotFound if the folder is gone.
        """
        if self._gone:
            raise errors.NotFound()
        try:
            if look or self.stale:
                self._make_missing_parts()
            if self.stale or self.row is None:
                row = self.account.index.mailbox(self.folder)
                self.flag_letters.read()
                if row is None:
                    # The old row stays meanwhile: `uidvalidity` is read without the lock.
                    rescan.adopt(self, load)
                else:
                    self.check_uidvalidity_locked(row.uidvalidity)
                    self.row = row
                    self.reload_locked()
                self.stale = False
            elif self.flag_letters.unknown and self.flag_letters.read():
                self.reload_locked()
            if (look or self._distrusted) and rescan.is_due(self):
                rescan.rescan(self)
            self._distrusted = False
            if self.flag_letters.changed:
                modseq = self.number_locked(0)[1]
                self.account.index.touch_keywords(self.row.id, modseq)
                self.save_locked(modseq=modseq)
                self.reload_locked()
                self.flag_letters.changed = False
        except FileNotFoundError:
            if self.folder and not self.account.tree.has(self.folder):
                self.account.index.remove_folder(self.folder)
                self.gone_locked()
                raise errors.NotFound() from None
            self._make_missing_parts()
            rescan.rescan(self)

    def _make_missing_parts(self):
        """Make missing folders: backups leave out empty ones. A read-only disk is no failure."""
        if not tree.is_whole(self.path) and self.account.tree.has(self.folder):
            try:
                tree.make_maildir(self.path)
            except OSError as error:
                log.error("%s: a missing folder cannot be made: %s", self.path, error)

    def ready_with_list_locked(self):
        """`ready_locked`, and make sure that the UID list is the one that `row` reflects."""
        self.ready_locked()
        stamp = self.uid_list.stamp()
        if stamp != (self.row.list_inode, self.row.list_size):
            if not stamp[0]:
                self.ready_locked(look=True)  # is the folder still there?
            rescan.rescan(self)

    def check_uidvalidity_locked(self, uidvalidity):
        """Another UIDVALIDITY means that another program recreated the mailbox.

        Sessions that have it open must treat it as deleted, because their UIDs are invalid. Raises
        errors.NotFound then.
        """
        if self.row is None or self.row.uidvalidity == uidvalidity:
            return
        if self.opens:
            self.gone_locked()
            raise errors.NotFound()
        self.columns = None

    def _ready_to_read(self):
        """Under `reading`: apply the changes of other processes."""
        if self._gone or self.stale or self.columns is None:
            try:
                self.account.despite_full_disk(self._make_ready)
            except errors.NoSpace:
                self.read_from_index()

    def _make_ready(self):
        with self.account.writing():
            self.ready_locked()
            self._load_columns()

    def read_from_index(self):
        """Under `reading`, on a full disk: show what the index says.

        It may lack recent changes; the next change or look finds those. Raises errors.NoSpace if
        the index does not know the mailbox.
        """
        index = self.account.index
        row = index and index.mailbox(self.folder)
        if row is None:
            raise errors.NoSpace()
        self.check_uidvalidity_locked(row.uidvalidity)
        self.row = row
        self.flag_letters.read()
        self.reload_locked()
        self._load_columns()
        self.stale = False

    def _load_columns(self):
        if self.columns is None:
            self.columns = self._read_columns()

    def _read_columns(self):
        rows = looking(self.account.look_locked, self.account.index.columns(self.row.id))
        return Columns(self.columns).fill(rows, self.flag_letters.flags)

    def reload_locked(self):
        """Read the columns again, and log the difference."""
        if self.columns is None:
            self.account.touched_locked(self)
            return
        old, new = self.columns, self._read_columns()
        self.columns = new
        added, removed, changed = new.changes_since(old)
        if added or removed or changed:
            self.log_locked(added, removed, changed)
        else:
            new.uids = old.uids

    def log_locked(self, added=(), removed=(), changed=()):
        self.log.note(added, removed, changed)
        self.account.touched_locked(self)

    def save_locked(self, **changes):
        """Write `row` with `changes`."""
        old, self.row = self.row, self.row._replace(**changes)
        self.account.index.update_mailbox(self.row)
        if old.modseq != self.row.modseq:
            self.account.changed_locked()

    def number_locked(self, count):
        """The first of `count` new UIDs, and a mod-sequence; both are below synced ceilings.

        The caller saves the row with both used up.
        """
        stamp = self.row.list_inode, self.row.list_size
        if self.uid_list.stamp() != stamp or not self.uid_list.is_open(*stamp):
            rescan.rescan(self)
        uid, modseq = self.row.uidnext, self.row.modseq + 1
        header = self.uid_list.header
        if uid + count > header.uid_ceiling or modseq >= header.modseq_ceiling:
            self.uid_list.raise_ceilings(uid, count, modseq, self.account.marker, self.row.guid)
        return uid, modseq

    def compact_list_locked(self):
        """Rewrite a UID list that has grown, without the expunged messages."""
        size = self.uid_list.written_stamp()[1]
        if size <= _LIST or self.uid_list.header is None:
            return
        index = self.account.index
        if size > _LIST + _LIST_EACH * index.count(self.row.id):
            self.uid_list.replace(self.uid_list.header, (
                row[:2] for row in index.messages(self.row.id)))

    def is_current(self):
        """Under `reading`: are there no changes on the disk?"""
        try:
            return not (self._gone or self.stale or self.row is None or rescan.is_due(self))
        except FileNotFoundError:
            return False

    def look(self):
        """Apply the changes that other programs made to the files or the index."""
        with self.account.reading():
            if self._gone:
                return
            self._ready_to_read()
            if not self.is_current():
                self.account.despite_full_disk(self._look)

    def _look(self):
        with self.account.writing():
            self.ready_locked(look=True)

    # What sessions see

    @property
    def uidvalidity(self):
        return self.row.uidvalidity

    @property
    def mailbox_id(self):
        return self.row.mailbox_id

    def state(self):
        """The mailbox as it is now: a State."""
        with self.account.reading():
            self._ready_to_read()
            columns = self.columns
            return State(
                columns.uids, len(columns.uids), self.log.serial, self.row.uidnext,
                self.row.modseq, columns.unseen, self.flag_letters.keywords, self._is_full())

    def first_unseen(self):
        """The UID of the first message without \\Seen, or None."""
        with self.account.reading():
            self._ready_to_read()
            return self.columns.first_unseen()

    def keywords(self):
        """(tuple of all keywords, whether no new one can be kept)."""
        with self.account.reading():
            self._ready_to_read()
            return self.flag_letters.keywords, self._is_full()

    def _is_full(self):
        """Is every letter for keywords used by some message?"""
        if not self.flag_letters.seen.issuperset(LETTERS):
            return False
        if self._full[0] != self.log.serial:
            used = self.account.index.letters(self.row.id)
            self._full = self.log.serial, used.issuperset(LETTERS)
        return self._full[1]

    def changes(self, serial):
        """The Update since `serial`; None if that is too long ago: compare states then."""
        with self.account.reading():
            self._ready_to_read()
            return self.log.since(serial)

    def expunged_since(self, modseq):
        """The UIDs expunged after this mod-sequence, ascending; None if that is too long ago to be
        known: then all that are missing may be meant (RFC 7162 3.2.6)."""
        with self.account.reading():
            self._ready_to_read()
            return self.account.index.expunged.since(self.row.id, modseq, self.row.modseq)

    def first_recent(self):
        """The first UID that no session has announced as \\Recent (RFC 3501 2.3.2)."""
        with self.account.reading():
            self._ready_to_read()
            return self.row.recent

    def claim_recent(self):
        """As `first_recent`; the caller's session announces these messages as \\Recent, and no
        later session will."""
        with self.account.reading():
            self._ready_to_read()
            recent = self.row.recent
            if recent < self.row.uidnext:
                with self.account.writing():
                    self.ready_locked()
                    recent = self.row.recent
                    self.save_locked(recent=self.row.uidnext)
            return recent

    def status_now(self):
        """The Status, if `is_current`; its size is None if messages were not measured yet."""
        row, status = self._counted
        if row != self.row:
            status = self._count()
            self._counted = self.row, status
        return status

    def _count(self):
        row, columns = self.row, self.columns
        if columns is not None:
            messages, unseen, size = len(columns.uids), columns.unseen, columns.octets()
            recent = messages - bisect_left(columns.uids, row.recent)
        else:
            messages, unseen, recent, size, unknown = self.account.index.counts(
                row.id, row.recent)
            size = None if unknown else size
        return Status(messages, recent, unseen, row.uidnext, row.uidvalidity, row.modseq, size,
                      row.mailbox_id)

    def deleted_now(self):
        """The Usage of the messages with \\Deleted, if `is_current`."""
        return self.account.index.deleted(self.row.id, "T")

    def measured_locked(self, sizes):
        """Messages were measured; `sizes`: `{uid: (size, date)}`."""
        self.account.index.set_sizes(self.row.id, sizes)
        self._counted = None, None
        if self.columns is not None:
            self.columns.set_sizes(sizes)

    # Reading messages

    all_rows = reading.all_rows
    all_flag_rows = reading.all_flag_rows
    rows = reading.rows
    flag_rows = reading.flag_rows
    existing = reading.existing
    content = reading.content
    contents = reading.contents
    files = reading.files
    content_of = reading.content_of

    cached = derived.cached
    cache = derived.cache
    keep_derived = derived.keep_derived
    find = derived.find

    # Changing messages

    change_flags = flags.change_flags
    expunge = expunging.expunge
    remove = expunging.remove
    take_back = expunging.take_back
    copy = copying.copy
    move = copying.move

    def sync(self, fresh):
        """Sync `new` (`fresh`) or `cur` to the disk; best without the lock."""
        while True:
            path = self.path
            try:
                atomic.sync_directory(path + ("/new" if fresh else "/cur"))
            except OSError as error:
                if path != self.path:
                    continue
                raise errors.from_os(error) from error
            if path == self.path:  # otherwise the mailbox was renamed, and another may lie there
                return
