"""A cache of the results of SORT and THREAD, shared by all sessions of a server, bounded in size.

Messages never change, so the same messages of a mailbox always have the same order. Mail programs
request it whenever they show the mailbox.
"""
import threading
from array import array
from collections import OrderedDict

MOST = 8 << 20  # octets of all results together


class Orders:
    """Up to `most` octets of results. The least recently used ones are dropped. A result that is
    larger than `most` is not kept."""

    def __init__(self, most=MOST):
        self._most = most
        self._lock = threading.Lock()
        self._kept = OrderedDict()  # key -> (octets of the numbers, result)
        self._octets = 0

    def find(self, mailbox, what, uids, numbers, make):
        """A result for messages of the store's open mailbox: a kept one, or `make()`.

        `what`: the criteria of SORT or the algorithm of THREAD; `uids`: the messages; `numbers`:
        their message numbers, if the result contains these, else (). The result is an array or
        bytes.
        """
        key = mailbox.path, mailbox.uidvalidity, what, len(numbers)
        given = array("I", uids).tobytes() + array("I", numbers).tobytes()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == given:
                self._kept.move_to_end(key)
                return kept[1]
        result = make()
        if len(mailbox.existing(uids)) == len(uids):  # otherwise it may lack expunged ones
            self._put(key, given, result)
        return result

    def _put(self, key, given, result):
        octets = _octets(given, result)
        if octets > self._most:
            return
        with self._lock:
            if key in self._kept:
                self._octets -= _octets(*self._kept.pop(key))
            self._kept[key] = given, result
            self._octets += octets
            while self._octets > self._most:
                self._octets -= _octets(*self._kept.popitem(last=False)[1])


def _octets(given, result):
    return len(given) + memoryview(result).nbytes
