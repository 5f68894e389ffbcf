"""The body hash of a DKIM signature, computed while the body streams by (RFC 6376 3.4.3, 3.4.4).

Pure. dkimpy needs the whole body at once and runs regular expressions over it.
"""
import hashlib


class BodyHash:
    """SHA-256 of a body in relaxed canonicalization (RFC 6376 3.4.4).

    A body without a final line end gets one, as on the wire. It works on pieces of 64 KB, so that
    no thread waits long for the interpreter lock. `into`: the hash object, or one like it.

    Of each piece everything is hashed but an end whose form depends on what follows: a space or CR
    (`_held`), and empty lines, which count only if another line follows (`_empty`).
    """

    __slots__ = ("_hash", "_held", "_empty", "_has_begun", "_is_open")

    PIECE = 65536

    def __init__(self, into=None):
        self._hash = hashlib.sha256() if into is None else into
        self._held = b""  # b"", b" ", b"\r" or b" \r"
        self._empty = 0  # line ends
        self._has_begun = False  # something else than line ends came
        self._is_open = False  # the last line has not ended

    def update(self, chunk):
        """The next bytes of the body, in wire form, cut anywhere."""
        for start in range(0, len(chunk), self.PIECE):
            self._update(self._held + chunk[start:start + self.PIECE])

    def digest(self):
        """The hash of all bytes so far; more may follow."""
        whole = self._copy()
        if whole._is_open or whole._held:
            whole._update(whole._held + b"\r\n")
        whole._end()
        return whole._hash.digest()

    def _copy(self):
        copy = type(self)(self._hash.copy())
        copy._held, copy._empty = self._held, self._empty
        copy._has_begun, copy._is_open = self._has_begun, self._is_open
        return copy

    def _end(self):
        if self._has_begun:
            self._hash.update(b"\r\n")

    def _update(self, data):
        data = self._canonical(data)
        end = len(data) - data.endswith(b"\r")
        end -= data.endswith(b" ", 0, end)
        text, self._held = data[:end], data[end:]
        ends = _final_line_ends(text)
        if len(text) > 2 * ends:
            self._hash_empty_lines()
            self._hash.update(text[:len(text) - 2 * ends] if ends else text)
            self._empty, self._has_begun = ends, True
        else:
            self._empty += ends
        if text:
            self._is_open = not ends

    @staticmethod
    def _canonical(data):
        """Each run of white space becomes a space; at a line's end it is removed."""
        if b"\t" in data:
            data = data.replace(b"\t", b" ")
        while b"  " in data:
            data = data.replace(b"  ", b" ")
        return data.replace(b" \r\n", b"\r\n")

    def _hash_empty_lines(self):
        while self._empty:
            count = min(self._empty, self.PIECE)
            self._hash.update(b"\r\n" * count)
            self._empty -= count


class SimpleBodyHash(BodyHash):
    """The same in simple canonicalization (RFC 6376 3.4.3): only final empty lines are removed, and
    an empty body is one line end."""

    __slots__ = ()

    def _end(self):
        self._hash.update(b"\r\n")

    @staticmethod
    def _canonical(data):
        return data


def _final_line_ends(text):
    """How many CRLF the text ends with."""
    if not text.endswith(b"\r\n"):
        return 0
    tail = text[len(text.rstrip(b"\r\n")):].replace(b"\r\n", b"\0")
    return len(tail) - len(tail.rstrip(b"\0"))
