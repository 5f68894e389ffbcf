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
import os

from . import errors, folders, maildir, subscriptions, tree, uidlist
from .cache import Cache
from .filing import Filing
from .guard import Guard
from .mailbox import Mailbox
from .model import INBOX
from .staged import Room, Staged, as_store_error

_LOCK = "phenmail.lock"
_UNUSED = 4  # mailboxes that stay in memory though nobody has them open


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
        self._cache = Cache(self)
        self._mailboxes = {}  # folder name -> Mailbox
        self._unused = []  # Mailboxes that were closed last
        self.open_lists = uidlist.OpenLists()
        self._subscriptions = subscriptions.Subscriptions(folder)
        self._filing = Filing(self)

    def __repr__(self):
        return "<Account %s>" % self.folder

    def close(self):
        """Let go of the files; a later use opens them again."""
        with self.guard.lock:
            self._cache.close()
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
            self._cache.begin()
            self.note_others_locked()
        except BaseException:
            self._cache.rollback()
            raise

    def commit_locked(self):
        self._cache.commit()

    def rollback_locked(self):
        """Nothing of the transaction holds; all is read again."""
        self._cache.rollback()
        self.distrust_locked()

    def distrust_locked(self):
        """All that is in memory is read again before its next use."""
        for mailbox in self._mailboxes.values():
            mailbox.distrust_locked()

    def note_others_locked(self):
        """Did another process commit? Then nothing in memory is sure."""
        if self.index.changed_elsewhere():
            for mailbox in self._mailboxes.values():
                mailbox.stale = True

    def look_locked(self):
        """Note what other processes did; for readers, cheaply."""
        if self._cache.is_current():
            self.note_others_locked()
        else:
            with self.writing():
                pass

    def set_index_aside_locked(self):
        """The index is damaged: it will be made anew from the files."""
        self._cache.set_aside()

    @property
    def index(self):
        """The open index.Index, or None."""
        return self._cache.index

    @property
    def identity(self):
        """What tells the folder from its copies."""
        return self._cache.identity

    def despite_full_disk(self, work):
        """``work()``; where the disk has no room for the index, once more
        without it. For reading, and for what makes room. Undoes nothing:
        ``work`` is a whole ``writing``."""
        try:
            return work()
        except errors.NoSpace:
            if self.guard.depth:  # some ``writing`` of ours is to end first
                raise
            with self.guard.holding():
                if not self._cache.leave_disk():
                    raise
                try:
                    return work()
                except errors.StoreError:
                    self._cache.return_to_disk()
                    raise

    # Mailboxes

    def make_tree_locked(self):
        """Make the Maildir and a new user's mailboxes, or what is missing."""
        if maildir.is_whole(self.folder):
            return
        try:
            if not self.is_there(""):
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
        """Is there such a mailbox? Backups leave empty folders out, and so
        one of the files may be what is left of one."""
        path = self.path(folder)
        return ((os.path.isdir(path + "/cur") or os.path.isdir(path + "/new")
                 or any(os.path.isfile("%s/%s" % (path, name)) for name in (
                     uidlist.NAME, tree.MAILDIRFOLDER)))
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

    def gone_locked(self, folder):
        """The mailbox with that folder was deleted."""
        mailbox = self._mailboxes.get(folder)
        if mailbox is not None:
            mailbox.gone_locked()

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
                mailbox = self.despite_full_disk(lambda: self._load(name))
            except errors.NoSpace:  # mail can be read all the same
                mailbox = self._mailboxes.get(folder)
                if mailbox is None:
                    raise
                mailbox.read_as_noted()
            mailbox.opens += 1
            return mailbox

    def _load(self, name):
        with self.writing():
            mailbox = self.mailbox_locked(name)
            mailbox.load_locked()
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

    def rename_locked(self, mailbox, folder):
        """The mailbox's folder has another name now; in memory and in the
        index it gets it, too."""
        self.guard.undo_locked(self._place_locked, mailbox, mailbox.folder)
        self._place_locked(mailbox, folder)
        left = self.index.mailbox(folder)
        if left is not None:  # another program removed that folder
            self.index.remove_mailbox(left.id)
        self.index.rename_mailbox(mailbox.row.id, folder)

    def _place_locked(self, mailbox, folder):
        self.forget_locked(mailbox)
        mailbox.place_locked(folder)
        self._mailboxes[folder] = mailbox

    def mailboxes(self, look=lambda: None):
        """A MailboxInfo a mailbox, sorted by name, INBOX first. ``look()`` is
        called for each and may raise to end the work."""
        return tree.mailboxes(self, look)

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
        return self.despite_full_disk(lambda: self._status(name))

    def _status(self, name):
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
        """Subscribed names; some may be of no mailbox."""
        with self.guard.holding():
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
        if not os.path.isdir(self.folder + "/tmp"):
            with self.writing():
                self.make_tree_locked()
        return Staged(self.folder, twin)

    def deliver(self, name, staged, flags=(), date=None):
        """Put a staged message into a mailbox; durable on return.

        ``flags``: iterable of str; ``date``: epoch seconds, None is now.
        Returns Delivered; a keyword that can't be kept is left out. Raises
        errors.NotFound, errors.NoSpace; the message is then in no mailbox.
        """
        staged.sync(date)
        return self._filing.file(folders.canonical(name), staged, flags)
