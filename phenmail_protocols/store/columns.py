"""One mailbox in memory, shared by all its sessions: a few bytes for each message."""
from array import array
from bisect import bisect_left
from itertools import islice

from .model import SEEN, Rows

_SLICE = 1000  # messages that are added at once


class Columns:
    """Parallel columns, one position for each message, ascending by UID.

    Callers get `uids` without a copy: it is only ever appended to. When messages are removed,
    another array replaces it. The caller holds the lock.
    """

    __slots__ = ("uids", "flags", "modseqs", "sizes", "dates", "unseen")

    def __init__(self, rows, flags_of):
        """`rows`: (uid, letters, modseq, size, date), ascending by UID; `flags_of`: letters ->
        frozenset."""
        self.uids, self.modseqs = array("I"), array("Q")
        self.sizes, self.dates = array("i"), array("i")  # or "q", if one is too large for "i"
        self.flags = []
        self.unseen = 0
        rows = iter(rows)
        for part in iter(lambda: list(islice(rows, _SLICE)), []):
            uids, letters, modseqs, sizes, dates = zip(*part)
            self._extend(uids, list(map(flags_of, letters)), modseqs, sizes, dates)

    def append(self, uid, flags, modseq, size, date):
        self._extend((uid,), (flags,), (modseq,), (size,), (date,))

    def _extend(self, uids, flags, modseqs, sizes, dates):
        self.uids.extend(uids)
        self.modseqs.extend(modseqs)
        self.flags.extend(flags)
        self.sizes = _extended(self.sizes, sizes)
        self.dates = _extended(self.dates, dates)
        self.unseen += sum([SEEN not in each for each in flags])

    def set_size(self, uid, size, date):
        """Note a message's size and date, if the message exists."""
        position = self._position(uid)
        if position >= 0:
            self.sizes = _replaced(self.sizes, position, size)
            self.dates = _replaced(self.dates, position, date)

    def set_flags(self, uid, flags, modseq):
        """Change a message's flags, if the message exists."""
        position = self._position(uid)
        if position >= 0:
            self.unseen += (SEEN not in flags) - (SEEN not in self.flags[position])
            self.flags[position] = flags
            self.modseqs[position] = modseq

    def remove(self, uids):
        """Remove messages; `uids` is a set."""
        keep = [position for position, uid in enumerate(self.uids) if uid not in uids]
        self.uids = array("I", map(self.uids.__getitem__, keep))
        self.flags = list(map(self.flags.__getitem__, keep))
        self.modseqs = array("Q", map(self.modseqs.__getitem__, keep))
        self.sizes = array(self.sizes.typecode, map(self.sizes.__getitem__, keep))
        self.dates = array(self.dates.typecode, map(self.dates.__getitem__, keep))
        self.unseen = sum(1 for flags in self.flags if SEEN not in flags)

    def rows(self, uids):
        """Rows of `uids` (ascending); those that do not exist are left out."""
        count = len(uids)
        if not count:
            return Rows([], [], [], [], [])
        first = bisect_left(self.uids, uids[0])
        part = slice(first, first + count)
        if (first + count <= len(self.uids) and self.uids[first + count - 1] == uids[-1]
                and (uids is self.uids or count == uids[-1] - uids[0] + 1
                     or self.uids[part].tolist() == list(uids))):
            return Rows(self.uids[part], self.flags[part], self.modseqs[part],
                        self.sizes[part], self.dates[part])
        return self._gather([position for position in map(self._position, uids) if position >= 0])

    def _position(self, uid):
        """The position of `uid`, or -1."""
        position = bisect_left(self.uids, uid)
        if position < len(self.uids) and self.uids[position] == uid:
            return position
        return -1

    def _gather(self, positions):
        def pick(column):
            return [column[position] for position in positions]
        return Rows(pick(self.uids), pick(self.flags), pick(self.modseqs),
                    pick(self.sizes), pick(self.dates))


def _extended(column, values):
    """`column` with `values` at its end; a wider copy, if one of them is too large."""
    count = len(column)
    try:
        column.extend(values)
        return column
    except OverflowError:
        return array("q", column[:count].tolist() + list(values))


def _replaced(column, position, value):
    """`column` with one other value; a wider copy, if it is too large."""
    try:
        column[position] = value
        return column
    except OverflowError:
        column = array("q", column.tolist())
        column[position] = value
        return column
