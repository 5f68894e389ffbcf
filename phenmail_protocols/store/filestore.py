"""The door to the store: one FileStore a server, one Account a mail folder."""
import threading
import weakref
from collections import OrderedDict

from . import maildir
from .account import Account
from .poller import Poller

_IDLE_ACCOUNTS = 64  # kept ready though nobody has a mailbox of them open


class FileStore:
    """Accounts by their folder; as many processes as like may have one."""

    def __init__(self, poll=1.0, boot_id=None, reserve=0):
        """``poll``: seconds between looks for other programs' changes;
        ``boot_id``: str that changes when the machine starts, None: found;
        ``reserve``: bytes of the disk that new messages leave free."""
        self._boot_id = boot_id or machine_boot_id()
        self._reserve = reserve
        self._lock = threading.Lock()
        self._accounts = weakref.WeakValueDictionary()  # all that anyone has
        self._recent = OrderedDict()  # those used last
        self._poller = Poller(self._all, poll)
        self._poller.start()

    def account(self, folder):
        """The Account of an absolute path; made at its first use.

        There is one at a time, as long as anybody has it: a mailbox's
        watchers are told of what others do with the same account.
        """
        with self._lock:
            account = self._accounts.get(folder)
            is_new = account is None
            if is_new:
                account = self._accounts[folder] = Account(
                    folder, self._boot_id, self._reserve)
            self._recent[folder] = account
            self._recent.move_to_end(folder)
            idle = self._idle()
        if is_new:
            maildir.remove_stale(folder)
        for other in idle:
            other.close()
        return account

    def _idle(self):
        """Let go of the longest unused accounts beyond the limit."""
        surplus = len(self._recent) - _IDLE_ACCOUNTS
        if surplus <= 0:
            return []
        idle = [(folder, account) for folder, account
                in list(self._recent.items())[:-1] if not account.in_use]
        # One may still be in some thread's hands: it opens its files again
        # by itself.
        for folder, _ in idle[:surplus]:
            del self._recent[folder]
        return [account for _, account in idle[:surplus]]

    def _all(self):
        with self._lock:
            return list(self._accounts.values())

    def close(self):
        """Stop the thread and let go of all files."""
        self._poller.stop()
        for account in self._all():
            account.close()


def machine_boot_id():
    """What Linux calls the boot id; None where it can't be known."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip() or None
    except OSError:
        return None
