"""How many connections there may be, in all and from one address. Shared by all listeners of a server; for any thread."""

import threading

from .address import network


class Gate(object):
    """Counts. `total` and `per_address`: the most at one time; None is no limit. One address is an IPv4 address or an IPv6 /64; a Unix
    socket ("") counts in `total` only."""

    def __init__(self, total=None, per_address=None):
        self.total = total
        self.per_address = per_address
        self._lock = threading.Lock()
        self._inside = 0
        self._by_address = {}

    def enter(self, host):
        """Counts one more connection from `host` and is True, or is False where that would be one too many."""
        key = network(host)
        with self._lock:
            here = self._by_address.get(key, 0)
            if self.total is not None and self._inside >= self.total:
                return False
            if self.per_address is not None and key and here >= self.per_address:
                return False
            self._inside += 1
            self._by_address[key] = here + 1
            return True

    def leave(self, host):
        """One connection from `host`, which entered, is over."""
        key = network(host)
        with self._lock:
            self._inside -= 1
            here = self._by_address[key] - 1
            if here:
                self._by_address[key] = here
            else:
                del self._by_address[key]

    @property
    def inside(self):
        """How many connections there are."""
        return self._inside
