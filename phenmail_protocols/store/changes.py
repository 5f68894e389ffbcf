"""A mailbox's recent changes, and its watchers.

A session asks for the changes since a serial number, and need not copy the mailbox. The log is
bounded: a session that is too far behind compares the old state with the new one itself. Serials
are valid only within this process.
"""
import logging
from collections import deque

from .model import Update

_LONGEST = 512  # entries
_MOST = 65536  # UIDs in all entries together
log = logging.getLogger("phenmail.store")


class ChangeLog:
    """The newest changes of one mailbox. The caller holds the lock."""

    __slots__ = ("serial", "_entries", "_held")

    def __init__(self):
        self.serial = 1
        self._entries = deque()
        self._held = 0

    def note(self, added=(), removed=(), changed=()):
        """Log one change; UIDs ascend in each."""
        if not (added or removed or changed):
            return
        self.serial += 1
        self._entries.append((self.serial, added, removed, changed))
        self._held += len(added) + len(removed) + len(changed)
        while self._entries and (len(self._entries) > _LONGEST or self._held > _MOST):
            entry = self._entries.popleft()
            self._held -= sum(map(len, entry[1:]))

    def since(self, serial):
        """The Update for everything after `serial`; None if the log no longer reaches back."""
        if serial == self.serial:
            return Update(serial, [], [], [])
        recent = []
        for entry in reversed(self._entries):
            if entry[0] <= serial:
                break
            recent.append(entry)
        if not recent or recent[-1][0] != serial + 1:
            return None
        return self._merge(reversed(recent))

    def _merge(self, entries):
        added, removed, changed = [], set(), set()
        for _, came, went, other in entries:
            added.extend(came)
            removed.update(went)
            changed.update(other)
        new = set(added)
        return Update(self.serial, sorted(removed - new),
                      [uid for uid in added if uid not in removed],
                      sorted(changed - removed - new))


class Watch:
    """A callback for changes of a mailbox or an account; `close()` ends it."""

    __slots__ = ("_watches", "callback")

    def __init__(self, watches, callback):
        self._watches = watches
        self.callback = callback
        watches.append(self)

    def close(self):
        try:
            self._watches.remove(self)
        except ValueError:
            pass


def notify(watches):
    """Call all callbacks. The caller holds no lock.

    A callback that fails stops neither the others nor the change itself.
    """
    for watch in list(watches):
        try:
            watch.callback()
        except Exception:
            log.exception("a session could not be told that its mailboxes changed")
