"""The MIME trees of messages that were read in parts lately, kept once for all sessions of a server
and bounded in size.

A program that reads an attachment in pieces would otherwise have its message scanned for each
piece. Trees are not changed any more, so threads share them. Few threads scan at once: each that
computes takes the interpreter for some milliseconds, and all others wait.
"""
import threading
from collections import OrderedDict

from ..net.turns import WAIT, OneEach

MOST = 8 << 20  # octets of all trees together, as estimated
_PART = 500  # octets of one part without its message's header
_SCANS = 2  # at once: one may wait for a disk


class Trees:
    """Up to `most` octets of trees; those that nobody asked for longest go first, and one that is
    larger is not kept."""

    def __init__(self, most=MOST):
        self._most = most
        self._lock = threading.Lock()
        self._scanning = threading.BoundedSemaphore(_SCANS)
        self._kept = OrderedDict()  # key -> (octets, tree)
        self._octets = 0
        self._users = OneEach()

    def find(self, mailbox, uid, scan, look):
        """The tree of a message in a store's open mailbox: one that is kept, or `scan()`, which is
        kept then. `look`, the session's, is called while it waits."""
        key = mailbox.path, mailbox.uidvalidity, uid
        tree = self.get(key)
        if tree is None:
            while not self._scanning.acquire(timeout=WAIT):
                look()
            try:
                tree = self.get(key) or scan()
            finally:
                self._scanning.release()
            self.put(key, tree)
        return tree

    def alone(self, user, look):
        """A context manager for work with what is not kept, by one of the user's sessions at a
        time: a tree may have 5 MB, a list of mailboxes 10, and all sessions together must not
        hold many."""
        return self._users.alone(user, look)

    def get(self, key):
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key, tree):
        octets = _octets(tree)
        if octets > self._most:
            return
        with self._lock:
            self._octets += octets - self._kept.pop(key, (0,))[0]
            self._kept[key] = octets, tree
            while self._octets > self._most:
                self._octets -= self._kept.popitem(last=False)[1][0]


def _octets(tree):
    octets, waiting = 0, [tree]
    while waiting:
        part = waiting.pop()
        octets += _PART + len(part.header or b"")
        waiting.extend(part.parts)
        if part.message is not None:
            waiting.append(part.message)
    return octets
