"""The hash of a message's body for its signature, made while the body streams by (RFC 6376 sections 3.4.3 and 3.4.4).  Pure."""
import hashlib


class BodyHash:
    """SHA-256 of a body in the relaxed form (RFC 6376 section 3.4.4) while it streams by.

    A body without line end at its end gets one, as it does on the wire.  Works on pieces of 64 KB, so that nobody waits for the
    interpreter's lock for long.  `into`: a hash object to use, or what looks like one.
    """

    __slots__ = ("_hash", "_held", "_empty", "_began", "_open")

    PIECE = 65536

    def __init__(self, into=None):
        self._hash = hashlib.sha256() if into is None else into
        self._held = b""  # the end of the last piece, whose form what follows decides: nothing, " ", "\r" or " \r"
        self._empty = 0  # line ends that are hashed only when something follows
        self._began = False  # something else than line ends came
        self._open = False  # the last line has no end yet

    def update(self, chunk: bytes) -> None:
        """The next octets of the body, in wire form, cut anywhere."""
        for start in range(0, len(chunk), self.PIECE):
            self._update(self._held + chunk[start:start + self.PIECE])

    def digest(self) -> bytes:
        """The hash of all that came; more may follow."""
        whole = self._copy()
        if whole._open or whole._held:
            whole._update(whole._held + b"\r\n")
        whole._end()
        return whole._hash.digest()

    def _copy(self):
        copy = type(self)(self._hash.copy())
        copy._held, copy._empty = self._held, self._empty
        copy._began, copy._open = self._began, self._open
        return copy

    def _end(self):
        if self._began:
            self._hash.update(b"\r\n")

    def _update(self, data):
        data = self._lines(data)
        held = 0
        if data.endswith(b"\r"):
            held = 1
        if data.endswith(b" ", 0, len(data) - held):
            held += 1
        self._held = data[len(data) - held:]
        text = data[:len(data) - held]
        ends = _line_ends_at_end(text)
        if len(text) > 2 * ends:
            self._fill()
            self._hash.update(text[:len(text) - 2 * ends] if ends else text)
            self._empty, self._began = ends, True
        else:
            self._empty += ends
        if text:
            self._open = not ends

    @staticmethod
    def _lines(data):
        """Runs of blanks are one space, those at line ends go; in passes at the speed of memory, for most pieces need none."""
        if b"\t" in data:
            data = data.replace(b"\t", b" ")
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        return data.replace(b" \r\n", b"\r\n")

    def _fill(self):
        while self._empty:
            now = min(self._empty, self.PIECE)
            self._hash.update(b"\r\n" * now)
            self._empty -= now


class SimpleBodyHash(BodyHash):
    """The same in the simple form (RFC 6376 section 3.4.3): only the empty lines at the end go, and no body is one line end."""

    __slots__ = ()

    def _end(self):
        self._hash.update(b"\r\n")

    @staticmethod
    def _lines(data):
        return data


def _line_ends_at_end(text):
    """How many CRLF the text ends with."""
    if not text.endswith(b"\r\n"):
        return 0
    tail = text[len(text.rstrip(b"\r\n")):].replace(b"\r\n", b"\0")
    return len(tail) - len(tail.rstrip(b"\0"))
