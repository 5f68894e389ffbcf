"""A message that comes in chunks, seen through a window: what is in sight under its offset, and
lines counted.

It knows bytes and offsets only. Offsets that are asked for only rise, so no octet is looked at
twice for the same purpose.
"""
from typing import Iterable, Optional, Union

WINDOW = 65536


class Source:
    """`data` is what is in sight, from offset `base` to `end`; `ended` when nothing follows. A whole message is in sight at once."""

    __slots__ = ("data", "base", "end", "ended", "_chunks", "_counted", "_lines")

    def __init__(self, source: Union[bytes, Iterable[bytes]]):
        whole = isinstance(source, bytes)
        self.data: bytes = source if whole else b""
        self._chunks = iter(()) if whole else iter(source)
        self.base, self.end, self.ended = 0, len(self.data), whole
        self._counted = self._lines = 0

    def lines_before(self, offset: int) -> int:
        """Line ends before an offset in sight; the offsets asked for never fall."""
        self._lines += self.data.count(b"\n", self._counted - self.base, offset - self.base)
        self._counted = offset
        return self._lines

    def more(self, keep: int) -> None:
        """Takes in another window and forgets what lies before offset `keep`."""
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
        """The octets [start, end), which are in sight."""
        return self.data[start - self.base:end - self.base]

    def line_end(self, offset: int) -> Optional[int]:
        """The first LF at or behind an offset, None where there is none; what lies before is
        forgotten on the way."""
        while True:
            index = self.data.find(b"\n", offset - self.base)
            if index >= 0:
                return index + self.base
            if self.ended:
                return None
            offset = self.end
            self.more(offset)

    def finish(self) -> int:
        """Runs through all that is left and returns the size of the message."""
        while not self.ended:
            self.more(self.end)
        return self.end
