"""The way into the store: one FileStore for each server, one Account for each mail folder."""
import threading
import weakref
from collections import OrderedDict

from .account import Account
from .deriving.derivation import Derivation
from .idle_work import IdleWork
from .maildir.tree import remove_stale
from .poller import Poller

_IDLE_ACCOUNTS = 64  # unused accounts whose files stay open


class FileStore:
    """Accounts by their folder. Any number of processes may use a folder at the same time."""

    def __init__(self, poll=1.0, boot_id=None, reserve=0, limit_of=None, warn=None, quiet=0.5):
        """`poll`: seconds between two looks for other programs' changes; `boot_id`: str that
        changes when the machine starts, None: ask the system; `reserve`: bytes of the disk that
        new messages leave free; `limit_of`, `warn`: as for quota.AccountQuota; `quiet`: seconds
        without new mail before `idle_work` begins."""
        self._boot_id = boot_id or machine_boot_id()
        self._reserve = reserve
        self._quota = limit_of, warn
        self._lock = threading.Lock()
        self._accounts = weakref.WeakValueDictionary()  # all that are referenced
        self._recent = OrderedDict()  # those used most recently
        self.idle_work = IdleWork(self.account, quiet)
        self._poller = Poller(self._all, poll)
        self._poller.start()

    def account(self, folder):
        """The Account of an absolute path, made at its first use.

        There is only one at a time while it is referenced, because a mailbox's watchers are
        called for all changes through the same Account.
        """
        with self._lock:
            account = self._accounts.get(folder)
            is_new = account is None
            if is_new:
                account = self._accounts[folder] = Account(
                    folder, self._boot_id, self._reserve, *self._quota, wake=self.idle_work.wake)
            self._recent[folder] = account
            self._recent.move_to_end(folder)
            idle = self._forget_idle()
        if is_new:
            remove_stale(folder)
        for other in idle:
            other.close()
        return account

    def derive_with(self, derive, version):
        """Derive messages in idle moments; see deriving.derivation.Derivation."""
        self.idle_work.add_step(Derivation(derive, version, self.idle_work.look))

    def require_room(self, folder, octets):
        """Raise errors.OverQuota if no message of this size fits into an account now."""
        limit_of = self._quota[0]
        if limit_of is not None and limit_of(folder) is not None:
            self.account(folder).quota.require_room(octets)

    def _forget_idle(self):
        """Forget the longest unused accounts beyond the limit; returns them, to be closed."""
        surplus = len(self._recent) - _IDLE_ACCOUNTS
        if surplus <= 0:
            return []
        # Another thread may still hold one of them; it opens its files again by itself.
        idle = [folder for folder, account in list(self._recent.items())[:-1] if not account.in_use]
        return [self._recent.pop(folder) for folder in idle[:surplus]]

    def _all(self):
        with self._lock:
            return list(self._accounts.values())

    def close(self):
        """Stop the threads and close all files."""
        self.idle_work.stop()
        self._poller.stop()
        for account in self._all():
            account.close()


def machine_boot_id():
    """Linux's boot id; None on other systems."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip() or None
    except OSError:
        return None
