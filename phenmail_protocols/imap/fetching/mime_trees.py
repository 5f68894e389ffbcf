"""A cache of MIME trees, shared by all sessions of a server and bounded in size.

Without it, a client that reads an attachment in pieces would have the message scanned for each
piece. A tree is never changed once it is made, so threads can share it.
"""
import threading
from collections import OrderedDict

from ...net.fair_turns import WAIT, OneEach

MOST = 8 << 20  # octets of all trees together, as estimated
_PART = 500  # octets of one part, without the header of a message in it
# Messages scanned at once. Each scan keeps the interpreter lock for some milliseconds, so more
# would delay all other threads; one may wait for a disk.
_SCANS = 2


class Trees:
    """Up to `most` octets of trees. The least recently used ones are dropped, and a tree that is
    larger is not kept."""

    def __init__(self, most=MOST):
        self._most = most
        self._lock = threading.Lock()
        self._scanning = threading.BoundedSemaphore(_SCANS)
        self._kept = OrderedDict()  # key -> (octets, tree)
        self._octets = 0
        self._users = OneEach()

    def find(self, mailbox, uid, scan, look):
        """The tree of a message in the store's open mailbox: a kept one, or `scan()`.

        `look`, the session's, is called while this waits.
        """
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
        """A context manager for work that holds much memory, by one session of a user at a time.

        A tree may have 5 MB and a list of mailboxes 10 MB, and all sessions together must not hold
        many of them.
        """
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
