"""A cache of MIME trees, shared by all sessions of a server and bounded in size.

Without it, a client that reads an attachment in pieces would have the message scanned for each
piece. A tree is never changed once it is made, so threads can share it.
"""
import threading

from ...net.fair_turns import WAIT, OneEach
from ..bounded_cache import BoundedCache

MOST = 8 << 20  # octets of all trees together, as estimated
_PART = 500  # octets of one part, without the header of a message in it
# Messages scanned at once. Each scan keeps the interpreter lock for some milliseconds, so more
# would delay all other threads; one may wait for a disk.
_SCANS = 2


class Trees:
    """Any thread may call it."""

    def __init__(self):
        self._kept = BoundedCache(MOST)
        self._scanning = threading.BoundedSemaphore(_SCANS)
        self._users = OneEach()

    def find(self, mailbox, uid, scan, look):
        """The tree of a message in the store's open mailbox: a kept one, or `scan()`.

        `look`, the session's, is called while this waits.
        """
        key = mailbox.path, mailbox.uidvalidity, uid
        tree = self._kept.get(key)
        if tree is None:
            while not self._scanning.acquire(timeout=WAIT):
                look()
            try:
                tree = self._kept.get(key) or scan()
            finally:
                self._scanning.release()
            self._kept.put(key, tree, _octets(tree))
        return tree

    def alone(self, user, look):
        """A context manager for work that holds much memory, by one session of a user at a time.

        A tree may have 5 MB and a list of mailboxes 10 MB, and all sessions together must not hold
        many of them.
        """
        return self._users.alone(user, look)


def _octets(tree):
    octets, waiting = 0, [tree]
    while waiting:
        part = waiting.pop()
        octets += _PART + len(part.header or b"")
        waiting.extend(part.parts)
        if part.message is not None:
            waiting.append(part.message)
    return octets
