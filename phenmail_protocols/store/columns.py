"""One mailbox in memory, shared by all its sessions: a few bytes for each message."""
from array import array
from bisect import bisect_left

from .model import SEEN, Rows


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
        self.sizes, self.dates = array("Q"), array("q")
        self.flags = []
        self.unseen = 0
        for uid, letters, modseq, size, date in rows:
            self.append(uid, flags_of(letters), modseq, size, date)

    def append(self, uid, flags, modseq, size, date):
        self.uids.append(uid)
        self.flags.append(flags)
        self.modseqs.append(modseq)
        self.sizes.append(size)
        self.dates.append(date)
        self.unseen += SEEN not in flags

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
        self.sizes = array("Q", map(self.sizes.__getitem__, keep))
        self.dates = array("q", map(self.dates.__getitem__, keep))
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
