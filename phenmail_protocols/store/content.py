"""Reading a message as it is served: every line ends in CRLF.

Our files have LF only, so that serving is one ``replace`` a chunk; a file
that somebody else put there may have CRLF, or both.
"""
import os

from ..disk.plain import PLAIN
from . import errors
from .staged import as_store_error

CHUNK = 131072  # doubles at the most


class Content:
    """One message's bytes. Open files are few: close it, or use ``with``.

    All its methods may raise errors.StoreError.
    """

    __slots__ = ("size", "_path", "_descriptor", "_positions")

    def __init__(self, path, size, positions=None):
        """``size``: as served; ``positions``: see Positions, may be None."""
        self.size = size
        self._path = path
        self._positions = positions
        try:
            self._descriptor = os.open(path, PLAIN)
        except FileNotFoundError:
            raise errors.Expunged() from None
        except OSError as error:
            raise as_store_error(error) from error

    def whole(self):
        """All of it at once: for small ones (``size`` tells)."""
        data = self._read(self.size + 1, 0)
        return to_wire(data)[:self.size]

    def chunks(self, start=0, length=None):
        """The octets from ``start``, ``length`` of them at the most, in order.

        Together exactly as many as ``size`` allows, each chunk <= 256 KB.
        """
        left = max(0, self.size - start)
        if length is not None:
            left = min(left, length)
        skip, offset = start, 0
        if self._positions is not None:
            wire, offset = self._positions.before(self._path, start)
            skip = start - wire
        last = b""
        if offset:
            last = self._read(1, offset - 1)
        while left:
            data = self._read(CHUNK, offset)
            if not data:
                return
            offset += len(data)
            piece = to_wire(data, last)
            last = data[-1:]
            wire_end = start - skip + len(piece)
            if skip >= len(piece):
                skip -= len(piece)
                continue
            if skip or left < len(piece) - skip:
                piece = piece[skip:skip + left]
            start = wire_end
            skip = 0
            left -= len(piece)
            if self._positions is not None:
                self._positions.remember(self._path, wire_end, offset)
            yield piece

    def _read(self, size, offset):
        try:
            return os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise as_store_error(error) from error

    def close(self):
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def to_wire(data, last=b""):
    """``data`` with CRLF for every LF that has no CR before it.

    ``last`` is the byte before ``data``, or b"".
    """
    if b"\r" not in data and last != b"\r":
        return data.replace(b"\n", b"\r\n")
    lead = b""
    if last == b"\r" and data[:1] == b"\n":
        lead, data = b"\n", data[1:]
    return lead + data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Positions:
    """The last places in big messages: (wire offset, file offset).

    A mail program that fetches 100 MB in pieces of 64 KB would otherwise make
    us count the line ends of all that comes before each piece.
    """

    def __init__(self, most=64):
        self._most = most
        self._places = {}

    def before(self, path, wire):
        """The nearest known place at or before ``wire`` in that file."""
        best = 0, 0
        for place in self._places.get(path, ()):
            if best[0] <= place[0] <= wire:
                best = place
        return best

    def remember(self, path, wire, offset):
        places = self._places.get(path, ())
        if (wire, offset) in places:  # small pieces come from one chunk many times: the places before it stay
            return
        if not places and len(self._places) >= self._most:
            self._places.clear()
        self._places[path] = ((wire, offset),) + tuple(places)[:3]
