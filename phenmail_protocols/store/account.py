"""One account: a Maildir++ tree, its index, and the lock over both.

House rules of the store

1. ``Account.writing`` is the only way to change files or index: it holds the
   account's thread lock, then its file lock (other processes), then an index
   transaction. ``Account.reading`` holds the thread lock alone.
2. Under the lock: no callback, no network, no flush of a message's body.
   Watchers are told after the lock is free.
3. The files are the truth. What an index transaction says is done to the
   files inside it; a crash between the two is found at the next use, by the
   size of the UID list and the times of the folders (``rescan``).
4. Methods whose name ends in ``_locked`` expect ``writing`` to be held.
"""
import logging
import os
import threading

from . import errors, folders, index, maildir, rescan, subscriptions
from .filing import Filing
from .mailbox import Mailbox
from .model import INBOX, MailboxInfo
from .staged import Room, Staged, as_store_error
from .uidlist import OpenLists, UidList
from ..disk import atomic
from ..disk.locks import FileLock, LockTimeout

_LOCK = "phenmail.lock"
_LOCK_SECONDS = 30
_UNUSED = 4  # mailboxes that stay in memory though nobody has them open
_INDEX_TROUBLE = {
    index.Trouble.FULL: errors.NoSpace, index.Trouble.LOCKED: errors.InUse,
    index.Trouble.DAMAGED: errors.Unavailable,
    index.Trouble.OTHER: errors.Unavailable}
_log = logging.getLogger("phenmail.store")


class Account:
    """The mailboxes below one mail folder; shared by all its sessions.

    Every method may raise errors.StoreError; all are safe from any thread.
    """

    def __init__(self, folder, boot_id=None, reserve=0):
        """``folder``: absolute path; ``boot_id``: changes when the machine
        starts anew, None where that isn't known; ``reserve``: bytes of the
        disk that new messages leave free."""
        self.folder = folder
        self.boot_id = boot_id
        self._room = Room(folder, reserve)
        self._lock = threading.RLock()
        self._depth = 0  # of nested ``writing``
        self._readers = 0  # nested ``reading``
        self._file_lock = FileLock(
            os.path.join(folder, _LOCK), timeout=_LOCK_SECONDS)
        self._index_path = os.path.join(folder, index.FILE)
        self.index = None
        self._mailboxes = {}  # folder name -> Mailbox
        self._unused = []  # Mailboxes that were closed last
        self.open_lists = OpenLists()
        self._touched = set()
        self._made = []  # (path, back): to undo if the transaction fails
        self._identity = None
        self._subscriptions = subscriptions.Subscriptions(folder)
        self._filing = Filing(self)

    def __repr__(self):
        return "<Account %s>" % self.folder

    def close(self):
        """Let go of the files; a later use opens them again."""
        with self._lock:
            self._close_index()
            for mailbox in self._mailboxes.values():
                mailbox.close_files_locked()

    @property
    def in_use(self):
        return any(mailbox.opens for mailbox in list(
            self._mailboxes.values()))  # other threads may add one

    def open_mailboxes(self):
        """Those that somebody has open: the poller looks after them."""
        with self._lock:
            return [mailbox for mailbox in self._mailboxes.values()
                    if mailbox.opens]

    # Locks

    def writing(self):
        return _Writing(self)

    def reading(self):
        return _Reading(self)

    def begin_locked(self):
        """Take the file lock and begin a transaction on a current index."""
        self._take_file_lock()
        try:
            if not self._index_is_current():
                self._open_index()
            self.index.begin()
            self.note_others_locked()
        except BaseException:
            if self.index is not None:
                self.index.rollback()
            self._file_lock.release()
            raise

    def _take_file_lock(self):
        try:
            self._file_lock.acquire()
        except FileNotFoundError:
            self._make_tree()
            self._file_lock.acquire()
        except LockTimeout as error:
            raise errors.InUse() from error

    def end_locked(self, failed):
        """Commit, or roll back and let everything be read again."""
        try:
            if failed:
                self.undo_locked()
            else:
                try:
                    self.index.commit()
                except BaseException:
                    self.undo_locked()
                    raise
        finally:
            self._made = []
            self._file_lock.release()

    def undo_locked(self):
        for path, back in self._made:
            try:
                if back is None:
                    os.unlink(path)
                else:
                    os.rename(path, back)
            except OSError:
                pass
        try:
            self.index.rollback()
        except index.Error:
            self._close_index()
        for mailbox in self._mailboxes.values():
            mailbox.distrust_locked()

    def made_locked(self, path, back=None):
        """``path`` goes (back) again if the transaction fails."""
        self._made.append((path, back))

    def touched_locked(self, mailbox):
        self._touched.add(mailbox)

    def note_others_locked(self):
        """Did another process commit? Then nothing in memory is sure."""
        if self.index.changed_elsewhere():
            for mailbox in self._mailboxes.values():
                mailbox.stale = True

    def take_touched_locked(self):
        """Whose watchers to tell; none while a caller of ours has the lock."""
        if self._readers:
            return ()
        touched, self._touched = self._touched, set()
        return touched

    # The index

    def _index_is_current(self):
        return (self.index is not None and self.index.is_current()
                and self._marker() == self._identity)

    def look_locked(self):
        """Note what other processes did; for readers, cheaply."""
        if self._index_is_current():
            self.note_others_locked()
        else:
            with self.writing():
                pass

    def _open_index(self):
        self._close_index()
        self._make_tree()
        if not os.path.exists(self._index_path):
            index.remove(self._index_path)  # a journal without its database
        self.index = index.Index(self._index_path)
        self.index.changed_elsewhere()
        for mailbox in self._mailboxes.values():
            mailbox.distrust_locked()
        self._identity = self._marker() or self._make_marker()
        if (self.index.value("boot") != str(self.boot_id)
                or self.index.value("marker") != self._identity
                or self.index.value("file") != str(self.index.inode)
                or self.boot_id is None):
            try:
                self._recover_locked()
            except BaseException:  # no number may be given out before
                self._close_index()
                raise

    def _recover_locked(self):
        """The machine was off, or the folder or the index is a copy: resume
        past all numbers that may have been given out."""
        self.index.begin()
        try:
            for row in self.index.mailboxes():
                listed = UidList(self.path(row.folder))
                header, lines = listed.read()
                if header is not None:
                    rescan.relist(self, row, listed, lines)
                    rescan.resume(self, row, listed)
                else:
                    rescan.resume_alone(self, row)
                listed.close()
            self.index.set_value("boot", self.boot_id)
            self.index.set_value("marker", self._identity)
            self.index.set_value("file", self.index.inode)
            self.index.commit()
        except BaseException:
            self.index.rollback()
            raise

    def _close_index(self):
        if self.index is not None:
            try:
                self.index.close()
            except index.Error as error:
                _log.warning("%s: closing the index: %s", self.folder, error)
            self.index = None

    def set_index_aside_locked(self):
        """The index is damaged: it will be made anew from the files."""
        self._close_index()
        try:
            index.remove(self._index_path)
        except OSError as error:
            _log.error("%s: %s", self._index_path, error)

    # The marker: a file that is never written again. A restored or copied
    # folder has one with another inode or ctime, which nobody can set back.

    @property
    def identity(self):
        return self._identity

    def _marker(self):
        try:
            status = os.stat(os.path.join(self.folder, "phenmail-marker"))
        except OSError:
            return None
        return "%d.%d" % (status.st_ino, status.st_ctime_ns)

    def _make_marker(self):
        atomic.write_file(
            os.path.join(self.folder, "phenmail-marker"),
            b"By this file phenmail knows a restored or copied mail folder.\n")
        return self._marker()

    # Mailboxes

    def _make_tree(self):
        """Make the Maildir and a new user's mailboxes."""
        if os.path.isdir(os.path.join(self.folder, "cur")):
            return
        try:
            for name in folders.FIRST_MAILBOXES:
                self._make_folder(folders.folder_of(name))
            for name in (INBOX,) + folders.FIRST_MAILBOXES:
                self._subscriptions.add(name)
            maildir.make(self.folder)  # last: its cur says that all is there
        except OSError as error:
            raise as_store_error(error) from error

    def path(self, folder):
        return os.path.join(self.folder, folder) if folder else self.folder

    def _make_folder(self, folder):
        path = self.path(folder)
        maildir.make(path)
        try:
            os.close(os.open(os.path.join(path, "maildirfolder"),
                             os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        atomic.sync_directory(path)

    def is_there(self, folder):
        """Is there such a mailbox? Backups leave empty parts out."""
        path = self.path(folder)
        return os.path.isdir(path + "/cur") or os.path.isdir(path + "/new")

    def mailbox_locked(self, name):
        """The shared Mailbox of ``name``; raises errors.NotFound."""
        folder = folders.folder_of(name)
        mailbox = self._mailboxes.get(folder)
        if mailbox is not None:
            try:
                mailbox.settle_locked()
                return mailbox
            except errors.NotFound:
                pass  # it is gone, or another has its name now
        if not self.is_there(folder):
            raise errors.NotFound()
        mailbox = self._mailboxes[folder] = Mailbox(self, folder)
        return mailbox

    def forget_locked(self, mailbox):
        """The mailbox's folder is gone."""
        if self._mailboxes.get(mailbox.folder) is mailbox:
            del self._mailboxes[mailbox.folder]

    def open(self, name):
        """The Mailbox of that name; one ``close()`` for each call.

        Raises errors.NotFound, errors.InvalidName.
        """
        folder = folders.folder_of(name)
        with self.reading():  # waits for no other process
            mailbox = self._mailboxes.get(folder)
            if (mailbox is not None and mailbox.columns is not None
                    and mailbox.is_current()):
                mailbox.opens += 1
                return mailbox
        with self.writing():
            mailbox = self.mailbox_locked(name)
            mailbox.open_locked()
        return mailbox

    def closed(self, mailbox):
        """One ``open`` less; a few that nobody has open stay in memory."""
        with self._lock:
            mailbox.opens -= 1
            if mailbox.opens:
                return
            if mailbox in self._unused:
                self._unused.remove(mailbox)
            self._unused.append(mailbox)
            if len(self._unused) > _UNUSED:
                self._unused.pop(0).unload_locked()

    def mailboxes(self):
        """A MailboxInfo a mailbox, sorted by name, INBOX first."""
        with self.reading():
            folder_names = os.listdir(self.folder)
        selectable = {INBOX}
        for folder in folder_names:
            if folder.startswith(".") and self.is_there(folder):
                name = folders.name_of(folder)
                if name is not None:
                    selectable.add(name)
        names = set(selectable)
        parents = set()
        for name in selectable:
            while "/" in name:
                name = name.rpartition("/")[0]
                parents.add(name)
        names |= parents
        subscribed = set(self._subscriptions.names())
        return [MailboxInfo(name, name in selectable, name in parents,
                            folders.special_use(name), name in subscribed)
                for name in sorted(names, key=lambda n: (n != INBOX, n))]

    def create(self, name):
        """Make a mailbox. Raises errors.Exists, errors.InvalidName."""
        folder = folders.folder_of(name)
        with self.writing():
            if self.is_there(folder):
                raise errors.Exists()
            self._make_folder(folder)
            self.mailbox_locked(name).ready_locked()

    def delete(self, name):
        """Remove a mailbox and its messages; those below it stay.

        Raises errors.NotFound; INBOX is errors.InvalidName.
        """
        folder = folders.folder_of(name)
        if not folder:
            raise errors.InvalidName("INBOX can't be deleted.")
        with self.writing():
            mailbox = self.mailbox_locked(name)
            mailbox.ready_locked()
            grave = os.path.join(
                self.folder, "tmp", "deleted-" + maildir.unique_name())
            os.rename(mailbox.path, grave)
            self.index.remove_mailbox(mailbox.row.id)
            mailbox.gone_locked()
        atomic.sync_directory(self.folder)
        _remove_tree(grave)

    def rename(self, old, new):
        """Rename a mailbox and all below it; INBOX's messages move instead.

        Raises errors.NotFound, errors.Exists, errors.InvalidName.
        """
        old, new = folders.canonical(old), folders.canonical(new)
        if old == INBOX:
            self._rename_inbox(new)
            return
        if (new + "/").startswith(old + "/") and new != old:
            raise errors.InvalidName("A mailbox can't move below itself.")
        with self.writing():
            moves = self._moves_locked(
                folders.folder_of(old), folders.folder_of(new))
            for source, target in moves:
                self._rename_folder_locked(source, target)
        atomic.sync_directory(self.folder)

    def _moves_locked(self, old, new):
        """[(folder, new folder)] for a rename; refuses before it begins."""
        sources = [folder for folder in sorted(os.listdir(self.folder))
                   if (folder == old or folder.startswith(old + "."))
                   and self.is_there(folder)]
        if not sources:
            raise errors.NotFound()
        moves = [(folder, new + folder[len(old):]) for folder in sources]
        for _, target in moves:
            if folders.name_of(target) is None:
                raise errors.InvalidName("That mailbox name is too long.")
            if not target or self.is_there(target):
                raise errors.Exists()
        return moves

    def _rename_folder_locked(self, source, target):
        mailbox = self.mailbox_locked(folders.name_of(source))
        mailbox.ready_locked()
        os.rename(self.path(source), self.path(target))
        self.made_locked(self.path(target), self.path(source))
        del self._mailboxes[source]
        mailbox.renamed_locked(target)
        self._mailboxes[target] = mailbox

    def _rename_inbox(self, new):
        self.create(new)
        inbox = self.open(INBOX)
        try:
            state = inbox.state()
            inbox.move(state.uids[:state.count], new)
        finally:
            inbox.close()

    def status(self, name):
        """The mailbox's Status; raises errors.NotFound."""
        folder = folders.folder_of(name)
        with self.reading():  # waits for no other process
            mailbox = self._mailboxes.get(folder)
            if mailbox is not None and mailbox.is_current():
                return mailbox.status_now()
        with self.writing():
            return self.mailbox_locked(name).status_locked()

    def subscribe(self, name):
        """Remember ``name`` as subscribed; it need not exist (RFC 3501)."""
        name = folders.canonical(name)
        with self.writing():
            self._subscriptions.add(name)

    def unsubscribe(self, name):
        name = folders.canonical(name)
        with self.writing():
            self._subscriptions.remove(name)

    def subscriptions(self):
        return self._subscriptions.names()

    # New messages

    def stage(self):
        """A Staged for a new message; raises errors.NoSpace."""
        if self.index is None:
            with self.writing():
                pass
        self._room.check()
        return Staged(self.folder)

    def deliver(self, name, staged, flags=(), date=None):
        """Put a staged message into a mailbox; durable on return.

        ``flags``: iterable of str; ``date``: epoch seconds, None is now.
        Returns Delivered. Raises errors.NotFound, errors.Limit (a keyword
        too many), errors.NoSpace; the message is then in no mailbox.
        """
        staged.sync(date)
        return self._filing.file(folders.canonical(name), staged, flags)


class _Reading:
    """The account's thread lock; what others did is noted first."""

    __slots__ = ("_account",)

    def __init__(self, account):
        self._account = account

    def __enter__(self):
        account = self._account
        account._lock.acquire()
        account._readers += 1
        try:
            if not account._depth:
                account.look_locked()
        except BaseException as error:
            account._readers -= 1
            account._lock.release()
            _raise_translated(account, error)
            raise

    def __exit__(self, kind, error, trace):
        account = self._account
        account._readers -= 1
        touched = () if account._depth else account.take_touched_locked()
        account._lock.release()
        for mailbox in touched:
            mailbox.tell()
        if error is not None:
            _raise_translated(account, error)


class _Writing:
    """The whole of rule 1; may be nested."""

    __slots__ = ("_account",)

    def __init__(self, account):
        self._account = account

    def __enter__(self):
        account = self._account
        account._lock.acquire()
        try:
            if not account._depth:
                account.begin_locked()
            account._depth += 1
        except BaseException as error:
            account._lock.release()
            _raise_translated(account, error)
            raise

    def __exit__(self, kind, error, trace):
        account = self._account
        touched = ()
        try:
            account._depth -= 1
            if not account._depth:
                account.end_locked(failed=error is not None)
                touched = account.take_touched_locked()
        except BaseException as failure:
            error = error or failure
            _raise_translated(account, failure)
            raise
        finally:
            account._lock.release()
            for mailbox in touched:
                mailbox.tell()
        if error is not None:
            _raise_translated(account, error)


def _raise_translated(account, error):
    """Raise the store's word for ``error``, or return when it is fine."""
    if isinstance(error, OSError):
        _log.warning("%s: %s", account.folder, error)
        raise as_store_error(error) from error
    if isinstance(error, index.Error):
        _log.warning("%s: index: %s", account.folder, error)
        trouble = index.trouble(error)
        if trouble is index.Trouble.DAMAGED:
            with account._lock:
                account.set_index_aside_locked()
        raise _INDEX_TROUBLE[trouble]() from error


def _remove_tree(path):
    import shutil
    shutil.rmtree(path, ignore_errors=True)
