"""Lines, chunks and counted octets out of a byte stream, each within a bound.

Knows no socket and no protocol: a subclass gives the bytes. Between two calls it keeps what
arrived beyond the last line, as one bytes object and an offset; an idle connection keeps no buffer.

RFC 5321 2.3.8 and 4.5.3.1 (lines end with CRLF and have limits), RFC 2920 (several commands arrive
in one piece).
"""
from .errors import Disconnected, LineTooLong

LINE_PIECE = 16 * 1024  # octets that are asked for while looking for a line end: one TLS record
CHUNK = 64 * 1024  # the most octets that are ever asked for


class BoundedReader:
    """Reads from `_receive(limit)`, which a subclass defines: it returns 1 to `limit` octets, or
    raises Disconnected.

    `drain`: octets of a too long line that are read and dropped before the connection is closed.
    """

    __slots__ = ("_data", "_start", "drain")

    def __init__(self, drain=1 << 20):
        self._data = b""
        self._start = 0
        self.drain = drain

    def _receive(self, limit):
        raise NotImplementedError

    def read_line(self, limit):
        """The next line up to and including its LF, so the caller sees if it ended with CRLF.

        `limit`: octets, the LF included. Raises LineTooLong after a longer line was read to its
        end and dropped; Disconnected if the stream, or `limit` + `drain` octets, end without LF.
        """
        data, start = self._data, self._start
        end = data.find(b"\n", start) + 1
        if not end:
            return self._read_broken_line(limit)
        if end == len(data):
            self._data, self._start = b"", 0
        else:
            self._start = end
        if end - start > limit:
            kept = LineTooLong.KEPT
            raise LineTooLong(data[start:start + kept], data[max(start, end - kept):end])
        return data[start:end]

    def _read_broken_line(self, limit):
        """The rest of a line that begins in the buffer. Linear, even if octets come one by one."""
        line = bytearray(self._take(len(self._data)))
        while len(line) <= limit:
            piece = self._receive(LINE_PIECE)
            end = piece.find(b"\n") + 1
            if end:
                self._keep(piece, end)
                line += piece[:end]
                if len(line) > limit:
                    raise LineTooLong(line, line)
                return bytes(line)
            line += piece
        ending = self._drop_line(line[-LineTooLong.KEPT:], len(line) - limit)
        raise LineTooLong(line, ending)

    def _drop_line(self, ending, dropped):
        """Read to the end of a line whose last known octets are `ending` -> its true ending."""
        while dropped <= self.drain:
            piece = self._receive(LINE_PIECE)
            end = piece.find(b"\n") + 1
            if end:
                self._keep(piece, end)
                return ending + piece[:end]
            dropped += len(piece)
            ending = (ending + piece)[-LineTooLong.KEPT:]
        raise Disconnected("endless line")

    def read_chunk(self, limit=CHUNK):
        """1 to `limit` octets: from the buffer first. Raises Disconnected."""
        if self._start < len(self._data):
            return self._take(limit)
        return self._receive(min(limit, CHUNK))

    def read_exactly(self, count, sink):
        """Give the next `count` octets to `sink(bytes)`, at most 64 KB at a time.

        Raises Disconnected if fewer come.
        """
        while count > 0:
            piece = self.read_chunk(min(count, CHUNK))
            count -= len(piece)
            sink(piece)

    def unread(self, data):
        """Put `data` back: the next read starts with it."""
        if data:
            self._data = bytes(data) + self._data[self._start:]
            self._start = 0

    def has_line(self):
        """Whether a whole line has been received, so that `read_line` does not wait."""
        return self._data.find(b"\n", self._start) >= 0

    def buffered(self):
        """How many octets were received and not read."""
        return len(self._data) - self._start

    def drop_buffered(self):
        """Forget what was received and not read (RFC 3207 4.2, after STARTTLS)."""
        self._data, self._start = b"", 0

    def _take(self, limit):
        """Up to `limit` octets of the buffer, perhaps none."""
        data, start = self._data, self._start
        end = start + limit
        if end >= len(data):
            self._data, self._start = b"", 0
            return data[start:] if start else data
        self._start = end
        return data[start:end]

    def _keep(self, piece, start):
        """Replace the buffer, which is used up, by what follows offset `start` of `piece`."""
        if start < len(piece):
            self._data, self._start = piece, start
