"""Reads commands off the connection: lines and literals, within limits (RFC 3501 4.3, RFC 7888).

Knows the form of a literal and no command: the grammar says whether a literal may stream to a file.
A literal over its limit is refused before the client sends it, or read and dropped if the client
does not wait (LITERAL+). Either way the next command begins where it should.
"""
from typing import NamedTuple, Optional

from ..net.errors import LineTooLong
from ..protocol.session import TooMuchInput
from .syntax import grammar, tokens, values

# Octets. A UID set of a large mailbox is one line, and so is an ID even before login: 30 values of
# 1024 characters, each perhaps escaped (RFC 2971 3.3). Dovecot's limit is the same.
LINE = 65536
LITERAL_BEFORE_LOGIN = 4096  # RFC 7888 5: LITERAL- clients may send as much anywhere
LITERAL = 65536
COMMAND = 262144  # lines and literals of one command together
PIECES = 1000  # lines and literals in one command
DROPPED_BEFORE_LOGIN = 1 << 20  # octets of one unwanted literal that are read


class CommandRefused(Exception):
    """A command over a limit or with a form that is switched off; it was read to its end.

    `tag`: bytes or None; `text`: bytes; `code`: response code as bytes, or None.
    """

    def __init__(self, tag, text, code=None):
        super().__init__(text)
        self.tag = tag
        self.text = text
        self.code = code


class Body(NamedTuple):
    """A message literal that is still on the wire."""
    size: int
    non_sync: bool  # the client sends it without waiting for a continuation request


class Input(NamedTuple):
    """The parts that the grammar takes, and the message literal at their end if there is one."""
    parts: list
    body: Optional[Body]


class Reader:
    """Reads from `connection`.

    `ask(prompt)`: sends a continuation request at once. `received(count)`: is called for octets of
    literals that may be large. `largest_message`: the most octets of an unwanted message literal
    that are read and dropped.
    """

    def __init__(self, connection, ask, received, largest_message):
        self._connection = connection
        self._ask = ask
        self._received = received
        self._largest_message = largest_message

    def _line(self):
        """A line without its CRLF or LF. Raises LineTooLong."""
        return _without_end(self._connection.read_line(LINE))

    def continuation(self):
        """The line that a command waits for; NUL, which is never valid, if it is too long."""
        try:
            return self._line()
        except LineTooLong:
            return b"\0"

    def command(self, logged_in, off=frozenset()):
        """The next command as Input. `off`: the extensions that are switched off.

        Raises CommandRefused, TooMuchInput, Disconnected.
        """
        literal_limit = LITERAL if logged_in else LITERAL_BEFORE_LOGIN
        most = self._largest_message if logged_in else DROPPED_BEFORE_LOGIN
        parts = []
        total = 0
        while True:
            try:
                line = self._line()
            except LineTooLong as error:
                self._drop(grammar.literal_at_end(_without_end(error.ending)), most)
                tag = tag_of(parts or [error.beginning])
                raise CommandRefused(tag, b"Line too long") from None
            total += len(line)
            mark = grammar.literal_at_end(line)
            if mark is None:
                return Input(parts + [line], None)
            parts.append(line[:mark.start])
            if mark.non_sync and "LITERAL+" in off:
                # It is dropped, because what the client sends now must not be read as commands.
                self._drop(mark, most)
                raise CommandRefused(tag_of(parts), b"Literals without waiting are not supported")
            if logged_in and grammar.may_stream(parts):
                return _with_message(parts, mark)
            total += mark.size
            if mark.size > literal_limit or total > COMMAND or len(parts) > PIECES:
                # Without the continuation request, a client that waits does not send the literal.
                self._drop(mark, most)
                raise CommandRefused(tag_of(parts), b"Literal too large", b"TOOBIG")
            parts.append(self._literal(mark))

    def _literal(self, mark):
        self._ask_for(mark)
        pieces = []
        self._connection.read_exactly(mark.size, pieces.append)
        self._connection.acknowledge()
        return b"".join(pieces)

    def _ask_for(self, mark):
        if not mark.non_sync:
            self._ask(b"Ready for literal data")

    def drop(self, body):
        """Read and drop an unwanted message literal and the rest of its command.

        A client that waits for a continuation request does not send them.
        """
        self._drop(body, self._largest_message)

    def _drop(self, mark, most):
        """Drop this literal (a LiteralMark, a Body or None) and those after it, until the client
        waits. `most`: octets of each. Raises TooMuchInput."""
        while mark is not None and mark.non_sync:
            if mark.size > most:
                raise TooMuchInput()
            self._connection.read_exactly(mark.size, lambda data: self._received(len(data)))
            mark = grammar.literal_at_end(self._rest())

    def _rest(self):
        """The line after a literal, without its end. If it is too long: NUL, which is never valid,
        and its last octets, which may announce a literal."""
        try:
            return self._line()
        except LineTooLong as error:
            return b"\0" + _without_end(error.ending)

    def body(self, body, sink):
        """Read a message literal into `sink(bytes)` -> the rest of its line as Input.

        A literal at the end of that line is the next message (RFC 3502).
        """
        self._ask_for(body)

        def take(data):
            self._received(len(data))
            sink(data)
        self._connection.read_exactly(body.size, take)
        self._connection.acknowledge()
        rest = self._rest()
        mark = grammar.literal_at_end(rest)
        if mark is None:
            return Input([rest], None)
        return _with_message([rest[:mark.start]], mark)


def _with_message(parts, mark):
    """Input whose `parts` end where a message literal begins."""
    return Input(parts + [values.StreamedLiteral(mark.size), b""], Body(mark.size, mark.non_sync))


def _without_end(line):
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]


def tag_of(parts):
    """The tag of a command whose rest was not read, or None."""
    try:
        return tokens.Scanner(parts).tag() if parts else None
    except grammar.BadSyntax:
        return None
