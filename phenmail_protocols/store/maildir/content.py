"""Reading a message as it is served: every line ends in CRLF.

Our own files have LF only, so serving takes one `replace` for each chunk. A file that another
program put there may have CRLF, or both.
"""
import errno
import os
import stat

from ...disk.regular_files import PLAIN, open_plain
from .. import errors
from .filenames import wire_size

CHUNK = 131072  # bytes read at once; as served they are at most twice as many


class Content:
    """One message's octets as served, from an open file.

    Close it soon, or use `with`: open files are few. All methods may raise errors.StoreError.
    """

    __slots__ = ("size", "date", "_path", "_descriptor", "_positions")

    def __init__(self, path, size, positions=None):
        """`size`: octets as served; `positions`: a Positions, or None. Raises errors.Expunged."""
        self.size = size
        self.date = None  # epoch seconds, if `measure` found it
        self._path = path
        self._positions = positions
        try:
            self._descriptor = os.open(path, PLAIN)
        except FileNotFoundError:
            raise errors.Expunged() from None
        except OSError as error:
            raise errors.from_os(error) from error

    def measure(self, name):
        """Find the size and the date of a file with this name, which another program put there.

        Raises OSError, also if it is not a regular file.
        """
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", self._path)
        size = wire_size(name, status.st_size)
        if size is None:
            size = count_served(iter(lambda: os.read(self._descriptor, CHUNK), b""))
        self.size, self.date = size, int(status.st_mtime)

    def stamp(self):
        """(bytes, mtime in ns) of the file; another one if it was written since."""
        try:
            status = os.fstat(self._descriptor)
        except OSError as error:
            raise errors.from_os(error) from error
        return status.st_size, status.st_mtime_ns

    def whole(self):
        """All of it at once; look at `size` before."""
        return to_wire(self._read(self.size + 1, 0))[:self.size]

    def chunks(self, start=0, length=None):
        """Yield at most `length` octets from `start` on, in chunks of at most 256 KB.

        It never yields more octets than `size` allows, even if the file grew.
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
            raise errors.from_os(error) from error

    def close(self):
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def to_wire(data, last=b""):
    """`data` with CRLF for every LF that has no CR before it; `last`: the byte before `data`."""
    if b"\r" not in data and last != b"\r":
        return data.replace(b"\n", b"\r\n")
    lead = b""
    if last == b"\r" and data[:1] == b"\n":
        lead, data = b"\n", data[1:]
    return lead + data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


class Sequential:
    """Ascending ranges of a stream of chunks."""

    def __init__(self, chunks):
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0  # where the chunk begins

    def read(self, start, end):
        """An iterable of pieces, without octets in front of the current chunk."""
        start = max(start, self._at)
        while start < end:
            if start >= self._at + len(self._chunk):
                self._at += len(self._chunk)
                self._chunk = next(self._chunks, b"")
                if not self._chunk:
                    return
                continue
            piece = self._chunk[start - self._at:end - self._at]
            start += len(piece)
            yield piece


class Positions:
    """The last positions read in large messages: (wire offset, file offset).

    A client may fetch 100 MB in pieces of 64 KB. Without these, each piece would mean counting the
    line ends of everything before it.
    """

    _MOST = 64  # messages

    def __init__(self):
        self._places = {}

    def before(self, path, wire):
        """The nearest known position at or before `wire` in that file."""
        best = 0, 0
        for place in self._places.get(path, ()):
            if best[0] <= place[0] <= wire:
                best = place
        return best

    def remember(self, path, wire, offset):
        places = self._places.get(path, ())
        if (wire, offset) in places:  # several pieces out of one chunk: keep the older positions
            return
        if not places and len(self._places) >= self._MOST:
            self._places.clear()
        self._places[path] = ((wire, offset),) + places[:3]


def served_size(path):
    """The octets of a file as served. Raises OSError, also if it is no regular file."""
    with open_plain(path) as file:
        return count_served(iter(lambda: file.read(CHUNK), b""))


def count_served(chunks):
    """The octets of a message as served; `chunks`: the bytes of its file."""
    count, last = 0, b""
    for chunk in chunks:
        count += len(chunk) + chunk.count(b"\n") - chunk.count(b"\r\n")
        if last == b"\r" and chunk[:1] == b"\n":
            count -= 1
        last = chunk[-1:]
    return count
