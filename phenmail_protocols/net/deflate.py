"""DEFLATE (RFC 1951) for the octets of one connection, as in RFC 4978: without a zlib header.

`zlib` is imported when a connection first needs it, so a server whose clients do not compress saves
its memory. It releases the interpreter lock while it works.
"""

# With these, a compressor takes 32 KB of memory. With zlib's defaults it takes 256 KB, and a
# listing becomes only a tenth smaller. Level 4 makes a listing a sixth smaller than level 1, for
# little more work.
LEVEL, WINDOW_BITS, MEMORY_LEVEL = 4, 12, 5
LONGEST_WINDOW_BITS = 15  # the peer may choose any window
RECEIVED = 16 * 1024  # compressed octets that are received at once: one TLS record
# Octets that are inflated at once. The rest waits in its compressed form, because inflated it may
# be 1000 times as long.
INFLATED = 64 * 1024


class BrokenData(OSError):
    """Octets that cannot be inflated or compressed. The connection must be closed."""


class Deflate:
    """Takes the place of a non-blocking socket's `recv`, `send` and `pending`, and calls them.

    `received`: compressed octets that were received already. Memory is bounded: the object holds
    `received` or RECEIVED compressed octets, and INFLATED inflated ones.
    """

    __slots__ = ("_recv", "_send", "_pending", "_compressor", "_inflater", "_errors", "_sync_flush",
                 "_unsent", "_received", "_may_have_more", "_inflated", "_start", "_end")

    def __init__(self, recv, send, pending, received):
        import zlib
        self._recv = recv
        self._send = send
        self._pending = pending
        self._compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
        self._inflater = zlib.decompressobj(-LONGEST_WINDOW_BITS)
        self._errors = zlib.error, MemoryError  # after MemoryError, too, octets are missing
        self._sync_flush = zlib.Z_SYNC_FLUSH
        self._unsent = b""  # compressed
        self._received = received  # not inflated
        self._may_have_more = False  # the inflater may give more octets without more input
        self._inflated = b""
        self._start = 0  # where the unread octets of `_inflated` begin
        self._end = None  # the exception that `recv` raises once these are read

    # Sending

    def send(self, data):
        """Compress and send all of `data` -> its length.

        It is flushed, so that the peer can inflate it at once. Raises what the socket raises. If
        the socket cannot send now, `send` must be called again with the same data.
        """
        if not self._unsent:
            try:
                self._unsent = memoryview(
                    self._compressor.compress(data) + self._compressor.flush(self._sync_flush))
            except self._errors as error:
                raise BrokenData("DEFLATE: %s" % error)
        while self._unsent:
            self._unsent = self._unsent[self._send(self._unsent):]
        self._unsent = b""  # an idle connection keeps no buffer
        return len(data)

    # Receiving

    def pending(self):
        """Whether `recv` can return or raise without waiting for the socket."""
        while not self._has_octets():
            if self._end is not None:
                return True
            if not self._pending():
                return False
            self._receive()
        return True

    def recv(self, limit):
        """1 to `limit` inflated octets.

        Raises what the socket raises; BlockingIOError if what arrived is not one whole octet;
        another OSError at the end of the connection or of the compressed data.
        """
        if not self._has_octets() and self._end is None:
            self._receive()
        if self._has_octets():
            return self._take(limit)
        raise self._end or BlockingIOError("not one whole octet")

    def _receive(self):
        self._received = self._recv(RECEIVED)
        if not self._received:
            self._end = ConnectionError("end of file")

    def _has_octets(self):
        if self._start == len(self._inflated):
            self._inflated, self._start = b"", 0
            if self._end is None and (self._received or self._may_have_more):
                self._inflate()
        return bool(self._inflated)

    def _inflate(self):
        try:
            self._inflated = self._inflater.decompress(self._received, INFLATED)
        except self._errors as error:
            self._end = BrokenData("DEFLATE: %s" % error)
            return
        self._received = self._inflater.unconsumed_tail
        self._may_have_more = len(self._inflated) == INFLATED
        if self._inflater.eof:
            self._end = BrokenData("DEFLATE: the peer has ended its compressed data")

    def _take(self, limit):
        start, end = self._start, self._start + limit
        if end < len(self._inflated):
            self._start = end
            return self._inflated[start:end]
        piece, self._inflated, self._start = self._inflated[start:], b"", 0
        return piece
