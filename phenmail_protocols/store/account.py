"""One account: a mail folder, its index, and the mailboxes in memory.

Rules of the store

1. `Account.writing` is the only way to change files or index. It holds the account's thread lock,
   then its file lock (other processes), then an index transaction. `Account.reading` holds the
   thread lock alone. (transaction.py)
2. Under the lock there is no callback, no network, and no sync of a message's body. Watchers are
   called once the lock is free.
3. The files are the truth. A transaction changes files and index together. A crash between the two
   is noticed at the next use, by the size of the UID list and the times of its folders
   (rescanning/).
4. The caller of a function whose name ends in `_locked` must hold `writing`.
5. A delivered message is durable in this order: its bytes are synced (maildir/staged.py), then it
   gets its UID and is renamed into the mailbox (adding.py), then the folder is synced
   (group_commit.py), and only then does the caller get a reply.
"""
import os
from contextlib import contextmanager

from . import errors, hierarchy, watching
from .changes import notify
from .group_commit import GroupCommit
from .indexing.account_index import AccountIndex
from .mailbox import Mailbox
from .maildir import folders
from .maildir.as_sent import AsSent
from .maildir.space import DiskSpace
from .maildir.staged import Staged
from .maildir.tree import Tree
from .maildir.uidlist import OpenLists
from .model import KnownMailbox
from .quota import AccountQuota
from .rescanning import measuring
from .transaction import AccountLock

_LOCK = "phenmail.lock"
_UNUSED = 4  # closed mailboxes that stay in memory


def _pass():
    pass


class Account:
    """The mailboxes of one mail folder, shared by all its sessions.

    Every method may raise errors.StoreError; all may be called from any thread.
    """

    def __init__(self, folder, boot_id=None, reserve=0, limit_of=None, warn=None, wake=None):
        """`folder`: absolute path; `boot_id`: str that changes when the machine starts, None if
        unknown; `reserve`: bytes of the disk that new messages leave free; `limit_of`, `warn`: as
        for quota.AccountQuota; `wake`: IdleWork.wake."""
        self.folder = folder
        self._wake = wake
        self._space = DiskSpace(folder, reserve)
        self._mailboxes = {}  # folder name -> Mailbox
        self._unused = []  # Mailboxes that were closed last
        self._commits = GroupCommit(self)
        self.quota = AccountQuota(self, limit_of, warn)
        # For the other files of the store:
        self.tree = Tree(folder)
        self.watches = []  # watching.AccountWatch
        self.names_serial = 0  # changes whenever the list of mailboxes may have changed
        self.names_stamp = None  # what the poller saw of the list (watching.py)
        self.polled = ""  # the mailbox that it checked last
        self.foreign_serial = 0  # changes whenever another process changed the index
        self.overview = watching.Overview()
        self._index = AccountIndex(self.tree, boot_id, self._distrust_all, self._all_stale)
        self.lock = AccountLock(os.path.join(folder, _LOCK), self.tree, self._index)
        self.reading = self.lock.reading
        self.writing = self.lock.writing
        self.despite_full_disk = self.lock.despite_full_disk
        self.open_lists = OpenLists()
        self.look_locked = _pass  # called between small steps of long work: see `_looking`

    def __repr__(self):
        return "<Account %s>" % self.folder

    def wake_idle_work(self, has_mail):
        """There may be work for idle moments, because mail arrived or a mailbox was opened."""
        if self._wake is not None:
            self._wake(self, has_mail)

    def close(self):
        """Close all files; the next use opens them again."""
        with self.lock.thread_lock:
            self._index.close()
            for mailbox in self._mailboxes.values():
                mailbox.close_files_locked()
            self.lock.close()

    @property
    def in_use(self):
        # A copy of the list: other threads may add a mailbox.
        return bool(self.watches) or any(
            mailbox.opens for mailbox in list(self._mailboxes.values()))

    def open_mailboxes(self, patience=-1):
        """The mailboxes that a session has open; None if the lock is not free within `patience`
        seconds; with -1 it waits."""
        if not self.lock.thread_lock.acquire(timeout=patience):
            return None
        try:
            return [mailbox for mailbox in self._mailboxes.values() if mailbox.opens]
        finally:
            self.lock.thread_lock.release()

    # Changes

    watch = watching.watch
    stamps = watching.stamps
    names_for_watchers = watching.names_for_watchers
    look = watching.look

    def notify(self):
        """Call the watchers."""
        notify(self.watches)

    def touched_locked(self, mailbox):
        """A mailbox changed: call its watchers, and those of the account, without the lock."""
        self.lock.touched_locked(mailbox)
        self.changed_locked()

    def changed_locked(self):
        """Something in the account changed: call its watchers without the lock."""
        if self.watches:
            self.lock.touched_locked(self)

    def names_changed_locked(self):
        """A mailbox was made, deleted or renamed, or a subscription changed."""
        self.names_serial += 1
        self.changed_locked()

    # Mailboxes by name

    mailboxes = hierarchy.mailboxes
    create = hierarchy.create
    delete = hierarchy.delete
    rename = hierarchy.rename

    def open(self, name, look=_pass):
        """The Mailbox of that name; call its `close()` once for each `open`.

        `look()` is called between small steps while a large mailbox is listed, under the lock. If
        it raises, that is undone. Raises errors.NotFound, errors.InvalidName.
        """
        folder = folders.folder_of(name)
        self.wake_idle_work(has_mail=False)
        with self.reading():  # the fast way: it does not wait for other processes
            mailbox = self._mailboxes.get(folder)
            if mailbox is not None and mailbox.columns is not None and mailbox.is_current():
                mailbox.opens += 1
                return mailbox
        with self.reading():
            try:
                mailbox = self.despite_full_disk(lambda: self._load(name, look))
            except errors.NoSpace:  # old mail can still be read
                mailbox = self._mailboxes.get(folder)
                if mailbox is None:
                    raise
                mailbox.read_from_index()
            mailbox.opens += 1
            return mailbox

    def _load(self, name, look):
        with self._looking(look):
            mailbox = self.mailbox_locked(name)
            mailbox.load_locked()
            return mailbox

    @contextmanager
    def _looking(self, look):
        """`writing`, in which long work calls `look()` as `look_locked()`."""
        with self.writing():
            self.look_locked = look
            try:
                yield
            finally:
                self.look_locked = _pass

    def closed(self, mailbox):
        """A session closed the mailbox."""
        with self.lock.thread_lock:
            mailbox.opens -= 1
            if mailbox.opens:
                return
            if mailbox in self._unused:
                self._unused.remove(mailbox)
            self._unused.append(mailbox)
            if len(self._unused) > _UNUSED:
                self._unused.pop(0).unload_locked()

    def require(self, name):
        """Raise errors.NotFound, errors.InvalidName if there is no such mailbox."""
        folder = folders.folder_of(name)
        with self.reading():  # it makes a new user's mailboxes
            if not self.tree.has(folder):
                raise errors.NotFound()

    def status(self, name, look=_pass):
        """The mailbox's Status; `look` as for `open`. Raises errors.NotFound."""
        return self._ask(name, Mailbox.status_now, look)

    def deleted(self, name):
        """The Usage of the mailbox's messages with \\Deleted; raises errors.NotFound."""
        self.measure(name)
        return self._ask(name, Mailbox.deleted_now)

    def look_at(self, name):
        """Take in what other programs changed in a mailbox; raises errors.NotFound."""
        self._ask(name, lambda mailbox: None)

    def measure(self, name, look=_pass):
        """As `look_at`, and learn the sizes of all messages; `look` as for `open`."""
        measuring.measure_all(self._ask(name, lambda mailbox: mailbox, look), look)

    def _ask(self, name, question, look=_pass):
        """`question(mailbox)`, for an up-to-date Mailbox."""
        folder = folders.folder_of(name)
        with self.reading():  # the fast way: it does not wait for other processes
            mailbox = self._mailboxes.get(folder)
            if mailbox is not None and mailbox.is_current():
                return question(mailbox)
        return self.despite_full_disk(lambda: self._look_and_ask(name, question, look))

    def _look_and_ask(self, name, question, look):
        with self._looking(look):
            mailbox = self.mailbox_locked(name)
            mailbox.ready_locked(look=True)
            return question(mailbox)

    def subscribe(self, name):
        """Subscribe to `name`; there need not be such a mailbox (RFC 3501 6.3.6)."""
        name = folders.canonical(name)
        with self.writing():
            self.tree.subscriptions.add(name)
            self.names_changed_locked()

    def unsubscribe(self, name):
        name = folders.canonical(name)
        with self.writing():
            self.tree.subscriptions.remove(name)
            self.names_changed_locked()

    def subscriptions(self):
        """Subscribed names, including those without a mailbox."""
        with self.reading():  # it makes a new user's mailboxes
            return self.tree.subscriptions.names()

    # New messages

    def stage(self, twin=None, key=None):
        """A Staged for a new message; raises errors.NoSpace.

        `twin`: a synced Staged of any account, with the same octets. `key`: 32 hex digits that
        name the message, for `arrival_keys`.
        """
        self._prepare_tmp()
        return Staged(self.folder, twin, key)

    arrival_keys = hierarchy.arrival_keys

    def as_sent(self):
        """An AsSent for a new message, which is then written into a Staged."""
        self._prepare_tmp()
        return AsSent(self.folder)

    def _prepare_tmp(self):
        if self.index is None:
            with self.writing():
                pass
        self._space.check()
        tmp = self.folder + "/tmp"
        if self.tree.is_strange_link(tmp):
            raise errors.Unavailable()
        if not os.path.isdir(tmp):
            with self.writing():
                self.tree.make()

    def deliver(self, name, staged, flags=(), date=None, in_quota=True, turn=None):
        """Put a staged message into a mailbox; it is durable once this returns.

        `flags`: iterable of str; `date`: epoch seconds, None is now; `in_quota`: it must fit into
        the quota; `turn`: keeps the order of several threads: `turn.wait()` returns when those
        before have their places, `turn.passed()` says that this one has. Returns Delivered;
        keywords that cannot be kept are left out. Raises errors.NotFound, errors.NoSpace,
        errors.OverQuota; the message is then in no mailbox.
        """
        staged.sync(date)
        limit = self.quota.limit_for_addition() if in_quota else None
        return self._commits.add(folders.canonical(name), [(staged, flags)], limit, turn)[0]

    def deliver_all(self, name, messages):
        """Put several messages into a mailbox, all or none: `messages` are (synced Staged, flags).

        Returns a Delivered for each; their UIDs ascend. Raises as `deliver` does.
        """
        return self._commits.add(folders.canonical(name), messages,
                                 self.quota.limit_for_addition())

    # For what is derived from messages and kept elsewhere

    def known_mailboxes(self):
        """A KnownMailbox for each mailbox that the index knows; others were never opened."""
        with self.reading():
            return [KnownMailbox(self._identity(row), folders.name_of(row.folder),
                                 row.uidvalidity, row.uidnext) for row in self.index.mailboxes()]

    def identity_of(self, mailbox):
        """The KnownMailbox.identity of an open Mailbox."""
        with self.reading():
            mailbox.state()  # so that its row is the index's
            return self._identity(mailbox.row)

    def _identity(self, row):
        return "%s.%d" % (self.index.value("incarnation"), row.id)

    def rows_after(self, mailbox, uid, count):
        """The first `count` index.MessageRows of an open Mailbox with higher UIDs than `uid`."""
        with self.reading():
            mailbox.state()
            return self.index.after(mailbox.row.id, uid, count)

    def rows_named(self, mailbox, names):
        """The index.MessageRows of an open Mailbox that have these names (few)."""
        with self.reading():
            mailbox.state()
            return self.index.named(mailbox.row.id, names)

    def message_counts(self):
        """{KnownMailbox.identity: number of messages}"""
        with self.reading():
            counts = self.index.message_counts()
            return {self._identity(row): counts.get(row.id, 0) for row in self.index.mailboxes()}

    def check_space(self):
        """Raise errors.NoSpace if the disk has no room for what only saves time."""
        self._space.check_plenty()

    # For the other files of the store

    @property
    def index(self):
        """The open index.Index, or None."""
        return self._index.index

    @property
    def marker(self):
        """Distinguishes the mail folder from its copies (indexing/account_index.py)."""
        return self._index.marker

    @property
    def transaction(self):
        """The current Transaction; under `writing` only."""
        return self.lock.transaction

    def mailbox_locked(self, name):
        """The shared Mailbox of that name, ready for changes; raises errors.NotFound."""
        folder = folders.folder_of(name)
        mailbox = self._mailboxes.get(folder)
        if mailbox is not None:
            try:
                mailbox.ready_with_list_locked()
                return mailbox
            except errors.NotFound:
                pass  # deleted, or another mailbox has its name now
        if not self.tree.has(folder):
            raise errors.NotFound()
        mailbox = self._mailboxes[folder] = Mailbox(self, folder)
        return mailbox

    def deleted_locked(self, folder):
        """The mailbox with this folder was deleted."""
        mailbox = self._mailboxes.get(folder)
        if mailbox is not None:
            mailbox.gone_locked()

    def forget_locked(self, mailbox):
        """The mailbox's folder is gone."""
        if self._mailboxes.get(mailbox.folder) is mailbox:
            del self._mailboxes[mailbox.folder]

    def renamed_locked(self, mailbox, folder):
        """The mailbox's folder was renamed to `folder`: rename it in memory and in the index."""
        self.deleted_locked(folder)  # if another program has removed such a folder
        self.transaction.on_failure(self._rename_in_memory, mailbox, mailbox.folder)
        self._rename_in_memory(mailbox, folder)
        self.index.remove_folder(folder)
        self.index.rename_mailbox(mailbox.row.id, folder)

    def _rename_in_memory(self, mailbox, folder):
        self.forget_locked(mailbox)
        mailbox.renamed_locked(folder)
        self._mailboxes[folder] = mailbox

    def _distrust_all(self):
        for mailbox in self._mailboxes.values():
            mailbox.distrust_locked()
        self.changed_locked()

    def _all_stale(self):
        self.foreign_serial += 1
        for mailbox in self._mailboxes.values():
            mailbox.stale = True
        self.changed_locked()
