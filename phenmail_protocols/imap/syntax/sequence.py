"""Sequence sets: parsing, finding their messages, writing (RFC 3501 section 9: sequence-set).

Pure: it knows numbers and arrays of UIDs, no mailbox and no session.
"""
from bisect import bisect_left, bisect_right
from typing import NamedTuple

#: Stands for "*" inside a set: larger than every 32-bit number.
STAR = 1 << 32
LARGEST = STAR - 1

#: Octets that a set may have. 64 KB hold about 9,000 single UIDs of six digits.
LENGTH_LIMIT = 65536


class SavedResult:
    """"$": the messages that the last SEARCH RETURN (SAVE) found (RFC 5182 section 2.1). Only the
    view of the mailbox knows them."""

    __slots__ = ()

    def __repr__(self):
        return "$"


SAVED = SavedResult()


class SequenceSet(NamedTuple):
    """`ranges`: tuple of (first, last) as the client wrote them, in either order, STAR for "*".

    What "*" means depends on the mailbox, so the methods take its last number.
    """
    ranges: tuple

    @classmethod
    def parse(cls, data):
        """bytes -> SequenceSet. Numbers are 1 to 4294967295 without leading zeros.

        Raises ValueError.
        """
        if len(data) > LENGTH_LIMIT:
            raise ValueError("sequence set longer than %d octets" % LENGTH_LIMIT)
        ranges = []
        for element in data.split(b","):
            first, colon, last = element.partition(b":")
            low = _number(first)
            ranges.append((low, _number(last) if colon else low))
        return cls(tuple(ranges))

    def spans(self, last):
        """Ascending, disjoint (low, high) pairs, as a list; `last` replaces "*".

        RFC 3501 9: 4:2 is 2:4, and *:9 with last 5 is 5:9.
        """
        spans = []
        for low, high in sorted(sorted(last if number == STAR else number for number in pair)
                                for pair in self.ranges):
            if spans and low <= spans[-1][1] + 1:
                if high > spans[-1][1]:
                    spans[-1] = (spans[-1][0], high)
            else:
                spans.append((low, high))
        return spans

    def beyond(self, count):
        """Whether it names a message number that a mailbox of `count` messages does not have.

        An empty mailbox does not even have "*".
        """
        return not count or any(number > count and number != STAR
                                for pair in self.ranges for number in pair)

    def slices(self, uids, count, as_uid):
        """Where its messages are in `uids`: ascending, disjoint (start, stop) pairs, none empty.

        `uids` is an ascending sequence, of which only the first `count` count. Messages that do not
        exist are left out.
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


def build(numbers, look=lambda: None):
    """Numbers (at least one) -> compact set as bytes, in the order given (RFC 4315: uid-set).

    Runs that ascend by one become ranges. `look` is called for each number.
    """
    return build_ranges(((number, number) for number in numbers), look)


def build_ranges(pairs, look=lambda: None):
    """(first, last) pairs (at least one) -> compact set as bytes, in the order given."""
    ranges, pairs = [], iter(pairs)
    low, high = next(pairs)
    for first, last in pairs:
        look()
        if first != high + 1:
            ranges.append(_range(low, high))
            low = first
        high = last
    ranges.append(_range(low, high))
    return b",".join(ranges)


def _range(first, last):
    return b"%d:%d" % (first, last) if first < last else b"%d" % first


def _number(digits):
    if digits == b"*":
        return STAR
    if digits.isdigit() and digits[:1] != b"0" and len(digits) <= 10:
        number = int(digits)
        if number <= LARGEST:
            return number
    raise ValueError("sequence set: expected a number from 1 to 4294967295 or *")
