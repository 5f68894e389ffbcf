"""Sequence sets: parse them, find their messages, write them (RFC 3501 section 9: sequence-set; RFC 4315: uid-set).

Pure: it knows numbers and arrays of UIDs, no mailbox and no session.
"""
from bisect import bisect_left, bisect_right

#: Stands for "*" inside a set: larger than every 32-bit number.
STAR = 1 << 32
LARGEST = STAR - 1

#: Octets that a set may have. 64 KB hold about 9 000 single UIDs of six digits.
LENGTH_LIMIT = 65536


class SequenceError(ValueError):
    """The bytes are no sequence set; the text says why."""


class SequenceSet:
    """Ranges of numbers as the client wrote them, either way round; STAR where it wrote "*".

    `ranges` is a tuple of (first, last). What "*" means is known only against a mailbox, so every question takes it.
    """
    __slots__ = ("ranges",)

    def __init__(self, ranges):
        self.ranges = tuple(ranges)

    @classmethod
    def parse(cls, data, limit=LENGTH_LIMIT):
        """bytes -> SequenceSet; raises SequenceError. Numbers are 1 to 4294967295 without leading zeros."""
        if len(data) > limit:
            raise SequenceError("sequence set longer than %d octets" % limit)
        ranges = []
        for element in data.split(b","):
            first, colon, last = element.partition(b":")
            low = _number(first)
            ranges.append((low, _number(last) if colon else low))
        return cls(ranges)

    def spans(self, last):
        """Ascending list of (low, high), disjoint, with `last` in the place of "*" (RFC 3501: 4:2 is 2:4, *:9 with last 5 is 5:9)."""
        spans = []
        for low, high in sorted(_ordered(a, b, last) for a, b in self.ranges):
            if spans and low <= spans[-1][1] + 1:
                if high > spans[-1][1]:
                    spans[-1] = (spans[-1][0], high)
            else:
                spans.append((low, high))
        return spans

    def beyond(self, count):
        """Whether it names a message number that a mailbox of `count` messages does not have ("*" in an empty one too)."""
        return any((number > count and number != STAR) or not count for pair in self.ranges for number in pair)

    def slices(self, uids, count, as_uid):
        """Where its messages lie in `uids`: ascending list of (start, stop) index pairs, disjoint, none empty.

        `uids` is an ascending sequence of which the first `count` are looked at; what does not exist is left out.
        """
        if not count:
            return []
        found = []
        for low, high in self.spans(uids[count - 1] if as_uid else count):
            if as_uid:
                start = bisect_left(uids, low, 0, count)
                stop = bisect_right(uids, high, start, count)
            else:
                start, stop = low - 1, min(high, count)
            if start < stop:
                found.append((start, stop))
        return found

    def resolve(self, uids, count, as_uid):
        """UIDs of its messages, ascending, each once, as a new sequence of the type of `uids` (list or array)."""
        found = uids[:0]
        for start, stop in self.slices(uids, count, as_uid):
            found += uids[start:stop]
        return found

    def __bytes__(self):
        return b",".join(_written(a) if a == b else _written(a) + b":" + _written(b) for a, b in self.ranges)

    def __eq__(self, other):
        return isinstance(other, SequenceSet) and self.ranges == other.ranges

    def __hash__(self):
        return hash(self.ranges)

    def __repr__(self):
        return "SequenceSet(%s)" % bytes(self).decode("ascii")


def build(numbers):
    """Numbers -> compact set as bytes, in the order given: runs that ascend by one become ranges (COPYUID, ESEARCH).

    Raises ValueError for no numbers: an empty set cannot be written.
    """
    if not len(numbers):
        raise ValueError("a sequence set has at least one number")
    out = []
    first = previous = None
    for number in numbers:
        if previous is not None and number == previous + 1:
            previous = number
            continue
        if previous is not None:
            out.append(b"%d:%d" % (first, previous) if previous > first else b"%d" % first)
        first = previous = number
    out.append(b"%d:%d" % (first, previous) if previous > first else b"%d" % first)
    return b",".join(out)


def _number(digits):
    if digits == b"*":
        return STAR
    if not digits.isdigit() or digits[:1] == b"0" or len(digits) > 10:
        raise SequenceError("sequence set: expected a number from 1 to 4294967295 or *")
    number = int(digits)
    if number > LARGEST:
        raise SequenceError("sequence set: expected a number from 1 to 4294967295 or *")
    return number


def _ordered(first, last, star):
    first = star if first == STAR else first
    last = star if last == STAR else last
    return (first, last) if first <= last else (last, first)


def _written(number):
    return b"*" if number == STAR else b"%d" % number
