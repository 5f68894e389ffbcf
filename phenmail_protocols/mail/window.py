"""A message that comes in chunks, seen through a window: what is in sight under its offset, lines counted, texts searched.

It knows bytes and offsets only. Searches run over at most `WINDOW` bytes at a time and remember what they saw, so that something
that never comes does not cost a search of the whole rest for each one who asks.
"""
from typing import Iterable, Optional, Sequence, Tuple, Union

WINDOW = 65536


class Source:
    """`data` is what is in sight, from offset `base` to `end`; `ended` when nothing follows. A whole message is in sight at once."""

    __slots__ = ("data", "base", "end", "ended", "_chunks", "_counted", "_lines")

    def __init__(self, source: Union[bytes, Iterable[bytes]]):
        whole = isinstance(source, bytes)
        self.data = source if whole else b""  # type: bytes
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

    def find(self, text: bytes, offset: int) -> Optional[int]:
        """The first occurrence of one byte at or behind an offset; what lies before is forgotten on the way."""
        while True:
            index = self.data.find(text, offset - self.base)
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


class Needle:
    """A text that is looked for again and again, at ascending offsets of one source."""

    __slots__ = ("text", "_found", "_clear")

    def __init__(self, text: bytes):
        self.text = text
        # An occurrence that is known already; and no further one begins between the last search's beginning and _clear.
        self._found, self._clear = -1, 0

    def seek(self, source: Source, low: int, high: int) -> Optional[int]:
        """The first occurrence that begins in [low, high), where `source` has len(text) - 1 bytes more in sight or has ended."""
        if self._found < low:
            begin = max(low, self._clear)
            if begin >= high:
                return None
            index = source.data.find(self.text, begin - source.base, high - source.base + len(self.text) - 1)
            if index < 0:
                self._clear = high
                return None
            self._found = index + source.base
        return self._found if self._found < high else None


def first_of(needles: Sequence[Needle], source: Source, low: int, margin: int) -> Tuple[int, Optional[Needle]]:
    """Which needle comes first in what is in sight from `low` on, `margin` bytes behind its beginning included. Returns (where it
    begins, needle), or (the offset before which none begins, None)."""
    limit = source.end if source.ended else source.end - margin
    while low < limit:
        high, best = min(low + WINDOW, limit), None
        for needle in needles:
            found = needle.seek(source, low, high)
            if found is not None:
                high, best = found, needle
        if best is not None:
            return high, best
        low = high
    return low, None
