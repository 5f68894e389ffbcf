"""A cache that is bounded by the octets of its values."""
import threading
from collections import OrderedDict


class BoundedCache:
    """Up to `most` octets of values. The least recently used ones are dropped, and a value that is
    larger is not kept. Any thread may call it."""

    def __init__(self, most):
        self._most = most
        self._lock = threading.Lock()
        self._kept = OrderedDict()  # key -> (octets, value)
        self._octets = 0

    def get(self, key):
        """The value of a key, or None."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key, value, octets):
        """Keep a value that has so many octets."""
        if octets > self._most:
            return
        with self._lock:
            self._octets += octets - self._kept.pop(key, (0,))[0]
            self._kept[key] = octets, value
            while self._octets > self._most:
                self._octets -= self._kept.popitem(last=False)[1][0]
