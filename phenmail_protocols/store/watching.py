"""Watching an account: which mailboxes it has, and which of them changed.

A callback does not say what changed. Its owner compares `Account.names_for_watchers` and
`Account.stamps` with what it knows, so it does not matter who made the change. Callbacks for
changes by this process are called at once. For other changes the poller calls `look`: it notices
what other phenmail processes changed in the index, and it checks some mailboxes at a time for
changes by other programs. No messages are loaded for this: the index has the numbers of every
mailbox.
"""
import os
import time
from bisect import bisect_right
from typing import NamedTuple

from . import errors
from .changes import Watch
from .maildir import folders
from .maildir.listing import mtimes
from .model import INBOX
from .rescanning.rescan import GRAIN

POLLED = 50  # mailboxes of an account whose files are checked in a period


class Stamp(NamedTuple):
    """Numbers of a mailbox. At least one of them changes whenever the mailbox changes."""
    uidvalidity: int
    uidnext: int
    modseq: int


class AccountWatch(Watch):
    """A callback for changes of an account; `close()` ends it.

    `names`: the mailboxes whose files the poller looks at, a frozenset. It may be replaced at any
    time.
    """

    __slots__ = ("account", "names")

    def __init__(self, account, callback):
        self.account = account  # there is only one while it is referenced (filestore.py)
        self.names = frozenset()
        if not account.watches:  # until now the poller did not look, so the old one may be outdated
            account.overview = Overview()
        super().__init__(account.watches, callback)


def watch(account, callback):
    """Call `callback()` after each change in the account, from any thread, with no lock held.

    -> AccountWatch; closing it ends the calls.
    """
    return AccountWatch(account, callback)


class Overview:
    """What the watchers of an account compare with: read once after each change, for all of them.
    """

    def __init__(self):
        self._names = {}  # folder -> name
        self._stamps = None, {}  # version, {name: Stamp}
        self._infos = None, []  # version, MailboxInfos

    def stamps(self, account):
        """`{name: Stamp}` of the mailboxes that the index knows. Callers must not change it."""
        with account.reading():
            index = account.index
            version = index, index.version(), account.foreign_serial
            if version != self._stamps[0]:
                rows, names = index.mailboxes(), self._names
                self._names = {row.folder: names.get(row.folder) or folders.name_of(row.folder)
                               for row in rows}
                self._stamps = version, {
                    self._names[row.folder]: Stamp(row.uidvalidity, row.uidnext, row.modseq)
                    for row in rows}
            return self._stamps[1]

    def infos(self, account, look):
        """A list of MailboxInfo, as `Account.mailboxes`, as of the last change that was noticed."""
        version, infos = account.names_serial, self._infos
        if version != infos[0]:
            infos = self._infos = version, account.mailboxes(look)
        return list(infos[1])


def stamps(account, names, look=lambda: None):
    """`{name: Stamp}` of those of `names` that can be read.

    `look()` is called for each name and may raise to end the work.
    """
    known = account.overview.stamps(account)
    found = {}
    for name in names:
        look()
        stamp = known.get(name)
        if stamp is None:
            try:
                account.look_at(name)  # the index does not know it yet
            except errors.StoreError:
                continue
            known = account.overview.stamps(account)
            stamp = known.get(name)
        if stamp is not None:
            found[name] = stamp
    return found


def names_for_watchers(account, look):
    """A list of MailboxInfo that includes all changes of which watchers were notified."""
    return account.overview.infos(account, look)


def look(account):
    """For the poller: notice what other processes and programs changed in a watched account."""
    watches = list(account.watches)
    if not watches:
        return
    _look_at_names(account)
    for name in _turn(account, frozenset().union(*[each.names for each in watches])):
        try:
            _look_at(account, name)
        except (FileNotFoundError, errors.NotFound):
            pass  # the mailbox is gone, which changed the mail folder


def _turn(account, names):
    """The names to check now: INBOX, which other programs change most, and the next POLLED ones."""
    ordered = sorted(names)
    start = bisect_right(ordered, account.polled)
    turn = ordered[start:start + POLLED]
    account.polled = turn[-1] if len(turn) == POLLED else ""
    return turn + [INBOX] if INBOX in names and INBOX not in turn else turn


def _look_at(account, name):
    folder = folders.folder_of(name)
    with account.reading():
        row = account.index.mailbox(folder)
    if row is None or mtimes(account.tree.path_of(folder)) != (row.new_time, row.cur_time):
        account.look_at(name)


def _look_at_names(account):
    """Notice that another program made, removed or renamed a mailbox, or changed subscriptions."""
    subscriptions = account.tree.subscriptions.stamp()
    changed = os.stat(account.folder).st_mtime_ns
    stamp = changed, subscriptions
    # The clock's grain may hide a second change, and a program may make a folder in several steps.
    recent = time.time() - max(changed, subscriptions[0]) / 1e9 < GRAIN
    if recent or stamp != account.names_stamp:
        account.names_stamp = stamp
        with account.reading():
            account.names_changed_locked()
