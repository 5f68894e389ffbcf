"""A cache of the results of SORT and THREAD, shared by all sessions of a server, bounded in size.

Messages never change, so the same messages of a mailbox always have the same order. Mail programs
request it whenever they show the mailbox.
"""
from array import array

from .bounded_cache import BoundedCache

MOST = 8 << 20  # octets of all results together


class Orders:
    """Up to `most` octets of results. Any thread may call it."""

    def __init__(self, most=MOST):
        self._kept = BoundedCache(most)  # of (octets of the numbers, result)

    def find(self, mailbox, what, uids, numbers, make):
        """A result for messages of the store's open mailbox: a kept one, or `make()`.

        `what`: the criteria of SORT or the algorithm of THREAD; `uids`: the messages; `numbers`:
        their message numbers, if the result contains these, else (). The result is an array or
        bytes.
        """
        key = mailbox.path, mailbox.uidvalidity, what, len(numbers)
        given = array("I", uids).tobytes() + array("I", numbers).tobytes()
        kept = self._kept.get(key)
        if kept is not None and kept[0] == given:
            return kept[1]
        result = make()
        if len(mailbox.existing(uids)) == len(uids):  # otherwise it may lack expunged ones
            self._kept.put(key, (given, result), len(given) + memoryview(result).nbytes)
        return result
