"""The most octets that are copied in a day, for providers that want one."""
import time

from ..source import PIECE, Throttled

_DAY = 86400.0


class Allowance:
    """At most so many octets a day, also over several runs.

    `path`: the file that remembers it; `limit`: octets a day.
    """

    def __init__(self, path, limit, wall=time.time):
        self._path = path
        self._limit = limit
        self._wall = wall
        self._since, self._octets = self._read()
        self._noted = self._octets

    def _read(self):
        try:
            with open(self._path, encoding="ascii") as file:
                since, octets = file.read(100).split()
            return float(since), int(octets)
        except (OSError, ValueError):
            return self._wall(), 0

    def take(self, octets):
        """So many octets came."""
        if not 0 <= self._wall() - self._since < _DAY:
            self._since, self._octets = self._wall(), 0
        self._octets += octets
        if abs(self._octets - self._noted) > PIECE * 4:
            self.note()

    def check(self):
        """Raise Throttled if no more may come today."""
        left = self._since + _DAY - self._wall()
        if self._octets >= self._limit and 0 < left <= _DAY:
            self.note()
            raise Throttled("%d octets came today, and the account has a limit" % self._octets,
                            left)

    def note(self):
        """Write it to the file, which need not survive a crash."""
        self._noted = self._octets
        with open(self._path, "w", encoding="ascii") as file:
            file.write("%.0f %d\n" % (self._since, self._octets))
