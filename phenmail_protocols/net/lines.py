"""Lines, chunks and counted octets out of a byte stream, each within a bound.

Knows nothing of sockets or protocols: a subclass says where bytes come from. What is kept between two calls is what the source gave
beyond the last line, as one bytes object with an offset, and the empty one when nothing is left: an idle connection keeps no buffer.

Sources: RFC 5321 2.3.8 and 4.5.3.1 (lines end with CRLF and have limits), RFC 2920 (several commands arrive in one piece).
"""

from .errors import Disconnected, LineTooLong

LINE_PIECE = 16 * 1024   # what is asked for while looking for a line: one TLS record
CHUNK = 64 * 1024        # the largest piece that is ever asked for


class BoundedReader(object):
    """Reads from `_receive(limit) -> bytes`, which the subclass gives: at least one octet, at most `limit`, else Disconnected is raised.

    `drain` (octets) bounds how much of a line over its limit is read and dropped before the connection is given up.
    """

    __slots__ = ("_data", "_start", "drain")

    def __init__(self, drain=1 << 20):
        self._data = b""
        self._start = 0
        self.drain = drain

    def _receive(self, limit):
        raise NotImplementedError

    def read_line(self, limit):
        """The next line as bytes, up to and including its LF, so that the caller sees whether it ended with CRLF.

        limit: octets, the LF included. Raises LineTooLong when the line is longer, after it was read to its end and dropped;
        Disconnected when there is no LF before the stream ends, or within `limit` + `drain` octets.
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
            raise LineTooLong(data[start:start + LineTooLong.KEPT], data[max(start, end - LineTooLong.KEPT):end])
        return data[start:end]

    def _read_broken_line(self, limit):
        """The rest of a line of which the buffer holds only the beginning: linear also when it comes octet by octet."""
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
        raise LineTooLong(line, self._drop_line(line[-LineTooLong.KEPT:], len(line) - limit))

    def _drop_line(self, ending, dropped):
        """Reads on to the end of the line, of which `ending` is the last that is known; returns its true ending."""
        while dropped <= self.drain:
            piece = self._receive(LINE_PIECE)
            end = piece.find(b"\n") + 1
            if end:
                self._keep(piece, end)
                return ending + piece[:end]
            dropped += len(piece)
            ending = (ending + piece)[-LineTooLong.KEPT:]
        raise Disconnected("a line without end")

    def read_chunk(self, limit=CHUNK):
        """Between one and `limit` octets: what is buffered first, else what comes next. Raises Disconnected."""
        if self._start < len(self._data):
            return self._take(limit)
        return self._receive(min(limit, CHUNK))

    def read_exactly(self, count, sink):
        """Gives the next `count` octets to `sink(bytes)` in pieces of at most 64 KB. Raises Disconnected when fewer come."""
        while count > 0:
            piece = self.read_chunk(min(count, CHUNK))
            count -= len(piece)
            sink(piece)

    def unread(self, data):
        """Puts `data` back in front: the next read starts with it (what followed the end mark in a chunk)."""
        if data:
            self._data = bytes(data) + self._data[self._start:]
            self._start = 0

    def has_line(self):
        """Whether a whole line has been received, so that `read_line` does not wait."""
        return self._data.find(b"\n", self._start) >= 0

    def buffered(self):
        """How many octets were received and not yet read."""
        return len(self._data) - self._start

    def drop_buffered(self):
        """Forgets what was received and not yet read (RFC 3207 4.2, after STARTTLS); returns how many octets that were."""
        dropped = self.buffered()
        self._data, self._start = b"", 0
        return dropped

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
        """What follows offset `start` of `piece` is the new buffer; the old one is used up."""
        if start < len(piece):
            self._data, self._start = piece, start
