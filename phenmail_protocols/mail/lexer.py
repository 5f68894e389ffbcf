"""The tokens of header fields: white space, comments, atoms, quoted strings, MIME tokens.

Reads the bytes of one field value, folded or not, and never raises: each method moves forward, or
says that nothing of its kind comes next. Bytes above 127 count as letters, so raw UTF-8 (RFC 6532)
and unlabelled 8-bit headers keep their characters. RFC 5322 section 3.2, RFC 2045 section 5.1.
"""
import re

_WHITE = re.compile(rb"[ \t\r\n]*")
_ATOM = re.compile(rb"[!#$%&'*+\-/0-9=?A-Z^_`a-z{|}~\x80-\xff]*")
_DOTTED = re.compile(rb"[!#$%&'*+\-./0-9=?A-Z^_`a-z{|}~\x80-\xff]*")
_TOKEN = re.compile(rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~\x80-\xff]*")
_WORD = re.compile(rb"[^; \t\r\n]*")
_COMMENT_STOP = re.compile(rb"[()\\]")
_QUOTED_PLAIN = re.compile(rb'[^"\\\r\n]*')
_LITERAL = re.compile(rb"\[[^\]\\]*(?:\\.[^\]\\]*)*\]", re.DOTALL)


# A value may cost _STEPS and one more for each _OCTETS_A_STEP of its octets. Real mail needs far
# fewer, and a megabyte of comments would take seconds.
_STEPS, _OCTETS_A_STEP = 1024, 8


class Lexer:
    """A cursor over the bytes of one field value. `comment`: the last comment that was skipped.

    A value that costs too many steps ends there: the rest is ignored.
    """

    __slots__ = ("data", "position", "end", "comment", "_steps")

    def __init__(self, data: bytes, position: int = 0):
        self.data = data
        self.position = position
        self.end = len(data)
        self.comment = b""
        self._steps = _STEPS + len(data) // _OCTETS_A_STEP

    def _is_out_of_steps(self) -> bool:
        """Count a step. After the last one allowed, the value ends here."""
        self._steps -= 1
        if self._steps >= 0:
            return False
        self.data = self.data[:self.position]
        self.end = self.position = len(self.data)
        return True

    def peek(self) -> bytes:
        """The next byte, or b"" at the end."""
        return self.data[self.position:self.position + 1]

    def at_end(self) -> bool:
        return self.position >= self.end

    def take(self, byte: bytes) -> bool:
        """Step over `byte` if it is next -> whether it was."""
        if self.data[self.position:self.position + 1] != byte:
            return False
        self.position += 1
        return True

    def skip(self) -> bool:
        """Step over CFWS. False if a comment is never closed: the rest is that comment."""
        while True:
            if self._is_out_of_steps():
                return False
            self.position = _WHITE.match(self.data, self.position).end()
            if self.data[self.position:self.position + 1] != b"(":
                return True
            if not self._skip_comment():
                return False

    def _skip_comment(self) -> bool:
        depth, pieces, start = 1, [], self.position + 1
        position = start
        while True:
            stop = _COMMENT_STOP.search(self.data, position)
            if stop is None or self._is_out_of_steps():
                self.position = self.end
                return False
            position = stop.end()
            mark = stop.group()
            if mark == b"(":
                depth += 1
            elif mark == b")":
                depth -= 1
                if not depth:
                    pieces.append(self.data[start:position - 1])
                    self.comment, self.position = b"".join(pieces), position
                    return True
            else:
                pieces.append(self.data[start:position - 1])
                start, position = position, position + 1

    def _run(self, pattern) -> bytes:
        found = pattern.match(self.data, self.position)
        self.position = found.end()
        return found.group()

    def atom(self) -> bytes:
        """1*atext, b"" for none."""
        return self._run(_ATOM)

    def dotted(self) -> bytes:
        """Atoms and dots in any order, b"" for none."""
        return self._run(_DOTTED)

    def token(self) -> bytes:
        """A MIME token, b"" for none."""
        return self._run(_TOKEN)

    def literal(self) -> bytes:
        """A domain literal with its brackets, b"" for none or for one that is never closed."""
        found = _LITERAL.match(self.data, self.position)
        if found is None:
            return b""
        self.position = found.end()
        return found.group()

    def quoted(self):
        """A quoted string, unescaped and unfolded -> (text, closed). Call it on the opening quote.

        Without a closing quote everything up to the end is the text.
        """
        pieces, data = [], self.data
        position = self.position + 1
        while True:
            plain = _QUOTED_PLAIN.match(data, position)
            pieces.append(plain.group())
            position = plain.end()
            mark = data[position:position + 1] if not self._is_out_of_steps() else b""
            position += 1
            if mark == b'"' or not mark:
                self.position = min(position, self.end)
                return b"".join(pieces), bool(mark)
            if mark == b"\\":
                pieces.append(data[position:position + 1])
                position += 1
            elif mark == b"\r" and data[position:position + 1] != b"\n":
                pieces.append(mark)

    def word(self) -> bytes:
        """Everything up to white space or a semicolon."""
        return self._run(_WORD)
