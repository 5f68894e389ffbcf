"""The MIME trees of messages that were read in parts lately, kept once for all sessions of a server and bounded in size.

A program that reads an attachment in pieces would otherwise have its message scanned for each piece. Trees are not changed any more,
so threads share them.
"""
import threading
from collections import OrderedDict

MOST = 8 << 20  # octets of all trees together, as estimated
_PART = 500  # octets of one part without its message's header


class Trees:
    """Up to `most` octets of trees; those that nobody asked for longest go first, and one that is larger is not kept."""

    def __init__(self, most=MOST):
        self._most = most
        self._lock = threading.Lock()
        self._kept = OrderedDict()  # key -> (octets, tree)
        self._octets = 0

    def of(self, mailbox):
        """The trees of a store's open mailbox, to be used like a dict {uid: tree}."""
        return _OfMailbox(self, (mailbox.path, mailbox.uidvalidity))

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


class _OfMailbox:
    __slots__ = ("_trees", "_mailbox")

    def __init__(self, trees, mailbox):
        self._trees = trees
        self._mailbox = mailbox

    def get(self, uid):
        return self._trees.get(self._mailbox + (uid,))

    def __setitem__(self, uid, tree):
        self._trees.put(self._mailbox + (uid,), tree)


def _octets(tree):
    octets, waiting = 0, [tree]
    while waiting:
        part = waiting.pop()
        octets += _PART + len(part.header or b"")
        waiting.extend(part.parts)
        if part.message is not None:
            waiting.append(part.message)
    return octets
