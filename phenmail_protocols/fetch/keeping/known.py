"""What was fetched, in little memory: ranges of UIDs, and numbers of 64 bits with a value each."""
import bisect
from array import array

# A server whose UIDs make more ranges than this talks nonsense.
MOST_RANGES = 100000


class Ranges:
    """A set of positive integers that are mostly consecutive."""

    __slots__ = ("_starts", "_ends")

    def __init__(self):
        self._starts = array("Q")
        self._ends = array("Q")

    def add(self, first, last=None):
        """Add `first`, or all from `first` to `last`. Raises ValueError: too many ranges."""
        last = first if last is None else last
        left = bisect.bisect_left(self._ends, first - 1)  # the first range that touches it
        right = bisect.bisect_right(self._starts, last + 1)
        if left < right:
            first, last = min(first, self._starts[left]), max(last, self._ends[right - 1])
        elif len(self._starts) >= MOST_RANGES:
            raise ValueError("the UIDs are not in order")
        self._starts[left:right] = array("Q", (first,))
        self._ends[left:right] = array("Q", (last,))

    def __contains__(self, number):
        at = bisect.bisect_right(self._starts, number) - 1
        return at >= 0 and number <= self._ends[at]

    def __len__(self):
        """How many ranges there are."""
        return len(self._starts)

    def __iter__(self):
        """The (first, last) of each range, ascending."""
        return iter(zip(self._starts, self._ends))

    @property
    def end(self):
        """The largest number in it, 0 if it is empty."""
        return self._ends[-1] if self._ends else 0

    @property
    def beginning(self):
        """The largest number up to which all, from 1 on, are in it; 0 if 1 is not."""
        return self._ends[0] if self._starts and self._starts[0] <= 1 else 0


_SHARES = 4096


class Numbers:
    """{number of 64 bits: value of 32 bits}, 12 octets for each. Numbers are hashes."""

    __slots__ = ("_shares", "_count")

    def __init__(self):
        self._shares = {}  # the highest bits -> (numbers, their values)
        self._count = 0

    def __len__(self):
        return self._count

    def __setitem__(self, number, value):
        numbers, values = self._shares.setdefault(number % _SHARES, (array("Q"), array("I")))
        try:
            values[numbers.index(number)] = value
        except ValueError:
            numbers.append(number)
            values.append(value)
            self._count += 1

    def get(self, number, default=None):
        """The value of a number."""
        share = self._shares.get(number % _SHARES)
        if share is not None and number in share[0]:
            return share[1][share[0].index(number)]
        return default

    def __contains__(self, number):
        share = self._shares.get(number % _SHARES)
        return share is not None and number in share[0]
