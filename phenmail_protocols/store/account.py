"""One account: a Maildir++ tree, its index, and the lock over both.

House rules of the store

1. ``Account.writing`` is the only way to change files or index: it holds the
   account's thread lock, then its file lock (other processes), then an index
   transaction. ``Account.reading`` holds the thread lock alone. (guard.py)
2. Under the lock: no callback, no network, no flush of a message's body.
   Watchers are told after the lock is free.
3. The files are the truth. What an index transaction says is done to the
   files inside it; a crash between the two is found at the next use, by the
   size of the UID list and the times of the folders (``rescan``).
4. Functions whose name ends in ``_locked`` expect ``writing`` to be held.
"""
import logging
import os

from . import errors, folders, index, maildir, rescan, subscriptions, tree
from .filing import Filing
from .guard import Guard
from .mailbox import Mailbox
from .model import INBOX
from .staged import Room, Staged, as_store_error
from .uidlist import OpenLists, UidList
from ..disk import atomic

_LOCK = "phenmail.lock"
_UNUSED = 4  # mailboxes that stay in memory though nobody has them open
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
        self.guard = Guard(self, os.path.join(folder, _LOCK))
        self.reading = self.guard.reading
        self.writing = self.guard.writing
        self._index_path = os.path.join(folder, index.FILE)
        self.index = None
        self._mailboxes = {}  # folder name -> Mailbox
        self._unused = []  # Mailboxes that were closed last
        self.open_lists = OpenLists()
        self._identity = None
        self._subscriptions = subscriptions.Subscriptions(folder)
        self._filing = Filing(self)

    def __repr__(self):
        return "<Account %s>" % self.folder

    def close(self):
        """Let go of the files; a later use opens them again."""
        with self.guard.lock:
            self._close_index()
            for mailbox in self._mailboxes.values():
                mailbox.close_files_locked()
            self.guard.close()

    @property
    def in_use(self):
        return any(mailbox.opens for mailbox in list(
            self._mailboxes.values()))  # other threads may add one

    def open_mailboxes(self):
        """Those that somebody has open: the poller looks after them."""
        with self.guard.lock:
            return [mailbox for mailbox in self._mailboxes.values()
                    if mailbox.opens]

    # What the guard asks for

    def begin_locked(self):
        """Begin a transaction on a current index."""
        try:
            if not self._index_is_current():
                self._open_index()
            self.index.begin()
            self.note_others_locked()
        except BaseException:
            if self.index is not None:
                self.index.rollback()
            raise

    def rollback_locked(self):
        """Nothing of the transaction holds; all is read again."""
        try:
            self.index.rollback()
        except index.Error:
            self._close_index()
        for mailbox in self._mailboxes.values():
            mailbox.distrust_locked()

    def note_others_locked(self):
        """Did another process commit? Then nothing in memory is sure."""
        if self.index.changed_elsewhere():
            for mailbox in self._mailboxes.values():
                mailbox.stale = True

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
        self.make_tree_locked()
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

    def make_tree_locked(self):
        """Make the Maildir and a new user's mailboxes."""
        if os.path.isdir(os.path.join(self.folder, "cur")):
            return
        try:
            for name in folders.FIRST_MAILBOXES:
                tree.make_folder(self, folders.folder_of(name))
            for name in (INBOX,) + folders.FIRST_MAILBOXES:
                self._subscriptions.add(name)
            maildir.make(self.folder)  # last: its cur says that all is there
        except OSError as error:
            raise as_store_error(error) from error

    def path(self, folder):
        return os.path.join(self.folder, folder) if folder else self.folder

    def is_there(self, folder):
        """Is there such a mailbox? Backups leave empty parts out."""
        path = self.path(folder)
        return ((os.path.isdir(path + "/cur") or os.path.isdir(path + "/new"))
                and not self.leads_elsewhere(path))

    def leads_elsewhere(self, path):
        """Is a mailbox's folder, or a part of it, a link to another's files?

        Where users own their folders they can make such links, and we, who
        may be root, would read and write for them what they may not.
        """
        return any([os.path.islink(each) and not self._is_ours(each)
                    for each in (path, path + "/cur", path + "/new",
                                 path + "/tmp")])

    def _is_ours(self, path):
        try:
            return os.stat(path).st_uid == os.stat(self.folder).st_uid
        except OSError:
            return False

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
        with self.reading():
            try:
                with self.writing():
                    mailbox = self.mailbox_locked(name)
                    mailbox.load_locked()
            except errors.NoSpace:  # mail can be read all the same
                mailbox = self._mailboxes.get(folder)
                if mailbox is None:
                    raise
                mailbox.read_as_noted()
            mailbox.opens += 1
            return mailbox

    def closed(self, mailbox):
        """One ``open`` less; a few that nobody has open stay in memory."""
        with self.guard.lock:
            mailbox.opens -= 1
            if mailbox.opens:
                return
            if mailbox in self._unused:
                self._unused.remove(mailbox)
            self._unused.append(mailbox)
            if len(self._unused) > _UNUSED:
                self._unused.pop(0).unload_locked()

    def renamed_locked(self, mailbox, folder):
        """The mailbox's folder has another name now."""
        del self._mailboxes[mailbox.folder]
        mailbox.renamed_locked(folder)
        self._mailboxes[folder] = mailbox

    def mailboxes(self):
        """A MailboxInfo a mailbox, sorted by name, INBOX first."""
        return tree.mailboxes(self)

    def create(self, name):
        """Make a mailbox. Raises errors.Exists, errors.InvalidName."""
        tree.create(self, name)

    def delete(self, name, look=lambda: None):
        """Remove a mailbox and its messages; those below it stay.

        Raises errors.NotFound; INBOX is errors.InvalidName. ``look()`` is
        called for each message's file once the mailbox is gone; if it raises,
        the files that are left are removed later.
        """
        tree.delete(self, name, look)

    def rename(self, old, new):
        """Rename a mailbox and all below it; INBOX's messages move instead.

        Raises errors.NotFound, errors.Exists, errors.InvalidName.
        """
        tree.rename(self, old, new)

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

    def stage(self, twin=None):
        """A Staged for a new message; raises errors.NoSpace.

        ``twin``: a synced Staged of any account that has the same octets.
        """
        if self.index is None:
            with self.writing():
                pass
        self._room.check()
        if os.path.islink(self.folder + "/tmp") and not self._is_ours(
                self.folder + "/tmp"):
            raise errors.Unavailable()
        return Staged(self.folder, twin)

    def deliver(self, name, staged, flags=(), date=None):
        """Put a staged message into a mailbox; durable on return.

        ``flags``: iterable of str; ``date``: epoch seconds, None is now.
        Returns Delivered. Raises errors.NotFound, errors.Limit (a keyword
        too many), errors.NoSpace; the message is then in no mailbox.
        """
        staged.sync(date)
        return self._filing.file(folders.canonical(name), staged, flags)
