"""Who is told of what: a mailbox's recent changes and its watchers.

Sessions ask "what happened since serial N" and never get a copy of the
mailbox. The log is bounded; who was away for too long compares for himself.
Serials mean something in this process only: a second implementation (several
hosts) hands out its own.
"""
import logging
from collections import deque

from .model import Update

_LONGEST = 512  # entries
_MOST = 65536  # UIDs in all entries together
_log = logging.getLogger("phenmail.store")


class ChangeLog:
    """The newest changes of one mailbox. The caller holds the lock."""

    __slots__ = ("serial", "_entries", "_held")

    def __init__(self):
        self.serial = 1
        self._entries = deque()
        self._held = 0

    def note(self, added=(), removed=(), changed=()):
        """Log one change; UIDs ascending in each."""
        if not (added or removed or changed):
            return
        self.serial += 1
        self._entries.append((self.serial, added, removed, changed))
        self._held += len(added) + len(removed) + len(changed)
        while self._entries and (len(self._entries) > _LONGEST
                                 or self._held > _MOST):
            entry = self._entries.popleft()
            self._held -= sum(map(len, entry[1:]))

    def since(self, serial):
        """Update for all after ``serial``; None when that is too long ago."""
        if serial == self.serial:
            return Update(serial, [], [], [])
        news = []
        for entry in reversed(self._entries):
            if entry[0] <= serial:
                break
            news.append(entry)
        if not news or news[-1][0] != serial + 1:
            return None
        return self._merge(reversed(news))

    def _merge(self, entries):
        added, removed, changed = [], set(), set()
        for _, came, went, other in entries:
            added.extend(came)
            removed.update(went)
            changed.update(other)
        new = set(added)
        return Update(
            self.serial, sorted(removed - new),
            [uid for uid in added if uid not in removed],
            sorted(changed - removed - new))


class Watch:
    """Somebody's wish to be called; ``close()`` ends it."""

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


def tell(watches):
    """Call all of ``watches``; no lock may be held.

    One that fails hinders neither the others nor whoever made the change.
    """
    for watch in list(watches):
        try:
            watch.callback()
        except Exception:
            _log.exception("a watcher failed")
