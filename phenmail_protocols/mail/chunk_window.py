"""A message read in chunks through a window, with absolute offsets and a count of lines.

Knows bytes and offsets only. Callers ask for ascending offsets, so no octet is searched twice for
the same purpose.
"""
from typing import Iterable, Optional, Union

WINDOW = 65536


class Source:
    """`data`: the octets in sight, from offset `base` to `end`; `ended`: nothing follows them.

    A message that is given whole is in sight at once.
    """

    __slots__ = ("data", "base", "end", "ended", "_chunks", "_counted", "_lines")

    def __init__(self, source: Union[bytes, Iterable[bytes]]):
        whole = isinstance(source, bytes)
        self.data: bytes = source if whole else b""
        self._chunks = iter(()) if whole else iter(source)
        self.base, self.end, self.ended = 0, len(self.data), whole
        self._counted = self._lines = 0

    def lines_before(self, offset: int) -> int:
        """The number of line ends before an offset in sight. Call it with ascending offsets."""
        self._lines += self.data.count(b"\n", self._counted - self.base, offset - self.base)
        self._counted = offset
        return self._lines

    def more(self, keep: int) -> None:
        """Read another window and forget what lies before offset `keep`."""
        pieces, size = [], 0
        for chunk in self._chunks:
            pieces.append(chunk)
            size += len(chunk)
            if size >= WINDOW:
                break
        else:
            self.ended = True
        keep = min(max(keep, self.base), self.end)
        self.lines_before(max(keep, self._counted))
        self.data = b"".join([self.data[keep - self.base:]] + pieces)
        self.base, self.end = keep, keep + len(self.data)

    def piece(self, start: int, end: int) -> bytes:
        """The octets [start, end), which must be in sight."""
        return self.data[start - self.base:end - self.base]

    def line_end(self, offset: int) -> Optional[int]:
        """The first LF at or after an offset, None if there is none. Forgets what lies before."""
        while True:
            index = self.data.find(b"\n", offset - self.base)
            if index >= 0:
                return index + self.base
            if self.ended:
                return None
            offset = self.end
            self.more(offset)

    def finish(self) -> int:
        """Read the rest and return the size of the message."""
        while not self.ended:
            self.more(self.end)
        return self.end
