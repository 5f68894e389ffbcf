"""One mailbox in memory, shared by all its sessions: some 20 bytes for each message."""
from array import array
from bisect import bisect_left
from itertools import compress, islice

from .model import SEEN, Rows

_SLICE = 1000  # messages that are added at once


class Columns:
    """Parallel columns, one position for each message, ascending by UID.

    Callers get `uids` without a copy: it is only ever appended to. When messages are removed,
    another array replaces it. The other columns are wider if one of their values needs it.
    `sets` has each combination of flags once; `codes` has its position there for each message.
    The caller holds the lock.
    """

    __slots__ = ("uids", "codes", "sets", "modseqs", "sizes", "dates", "unseen", "_codes")

    def __init__(self, before=None):
        """Columns without messages; `before`: Columns whose codes for flags stay the same."""
        self.uids = array("I")
        self.codes = array("H")
        self.modseqs, self.sizes, self.dates = array("i"), array("i"), array("i")
        self.sets = [] if before is None else before.sets
        self._codes = {} if before is None else before._codes
        self.unseen = 0

    def fill(self, rows, flags_of):
        """Add messages: `rows`: (uid, letters, modseq, size, date), ascending by UID; `flags_of`:
        letters -> frozenset. Returns the columns."""
        rows = iter(rows)
        for part in iter(lambda: list(islice(rows, _SLICE)), []):
            uids, letters, modseqs, sizes, dates = zip(*part)
            self.extend(uids, list(map(flags_of, letters)), modseqs, sizes, dates)
        return self

    def append(self, uid, flags, modseq, size, date):
        self.extend((uid,), (flags,), (modseq,), (size,), (date,))

    def extend(self, uids, flags, modseqs, sizes, dates):
        """Add messages with ascending UIDs; each argument is a sequence."""
        self.uids.extend(uids)
        self.codes = _extended(self.codes, list(map(self._code, flags)))
        self.modseqs = _extended(self.modseqs, modseqs)
        self.sizes = _extended(self.sizes, sizes)
        self.dates = _extended(self.dates, dates)
        self.unseen += sum([SEEN not in each for each in flags])

    def _code(self, flags):
        code = self._codes.get(flags)
        if code is None:
            code = self._codes[flags] = len(self.sets)
            self.sets.append(flags)
        return code

    def _flags(self, codes):
        return list(map(self.sets.__getitem__, codes))

    def octets(self):
        """The sum of the sizes, or None if one of them is unknown (negative)."""
        return None if min(self.sizes, default=0) < 0 else sum(self.sizes)

    def first_unseen(self):
        """The UID of the first message without \\Seen, or None."""
        if self.unseen:
            unseen = {code for code, flags in enumerate(self.sets) if SEEN not in flags}
            for uid, code in zip(self.uids, self.codes):
                if code in unseen:
                    return uid
        return None

    def set_flags(self, changes, modseq):
        """Change the flags of messages that exist; `changes`: (UID, frozenset) of each."""
        sets = self.sets
        for uid, flags in changes:
            position = self._position(uid)
            if position >= 0:
                self.unseen += (SEEN not in flags) - (SEEN not in sets[self.codes[position]])
                self.codes = _replaced(self.codes, position, self._code(flags))
                self.modseqs = _replaced(self.modseqs, position, modseq)

    def set_sizes(self, sizes):
        """Note sizes and dates, `{uid: (size, date)}`, of messages that exist."""
        position = -1
        for uid, (size, date) in sizes.items():
            position += 1  # mostly they are neighbours
            if not (position < len(self.uids) and self.uids[position] == uid):
                position = self._position(uid)
            if position >= 0:
                self.sizes = _replaced(self.sizes, position, size)
                self.dates = _replaced(self.dates, position, date)

    def remove(self, uids):
        """Remove messages; `uids` is a set."""
        keep = [uid not in uids for uid in self.uids]
        self.uids, self.codes, self.modseqs, self.sizes, self.dates = (
            array(column.typecode, compress(column, keep)) for column in (
                self.uids, self.codes, self.modseqs, self.sizes, self.dates))
        self.unseen = sum(SEEN not in self.sets[code] for code in self.codes)

    def changes_since(self, before):
        """(UIDs added, removed, with other flags) since the Columns `before`, each ascending."""
        if self.uids == before.uids and self.codes == before.codes:
            return [], [], []
        added, removed, changed = [], [], []
        old, new, position, count = before.uids, self.uids, 0, len(before.uids)
        for uid, code in zip(new, self.codes):
            while position < count and old[position] < uid:
                removed.append(old[position])
                position += 1
            if position < count and old[position] == uid:
                if before.codes[position] != code:
                    changed.append(uid)
                position += 1
            else:
                added.append(uid)
        removed.extend(old[position:])
        return added, removed, changed

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
            return Rows(self.uids[part], self._flags(self.codes[part]), self.modseqs[part],
                        self.sizes[part], self.dates[part])
        return self._gather([position for position in map(self._position, uids) if position >= 0])

    def existing(self, uids):
        """Those of `uids` (ascending) that exist."""
        if not len(uids):
            return uids
        first = bisect_left(self.uids, uids[0])
        if self.uids[first:first + len(uids)] == array("I", uids):
            return uids
        return [uid for uid in uids if self._position(uid) >= 0]

    def _position(self, uid):
        """The position of `uid`, or -1."""
        position = bisect_left(self.uids, uid)
        if position < len(self.uids) and self.uids[position] == uid:
            return position
        return -1

    def _gather(self, positions):
        def pick(column):
            return [column[position] for position in positions]
        return Rows(pick(self.uids), self._flags(pick(self.codes)),
                    pick(self.modseqs), pick(self.sizes), pick(self.dates))


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
