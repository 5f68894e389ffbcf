"""Takes one command off the connection: lines and literals, each within its limit, in step whatever comes (RFC 3501 4.3, RFC 7888).

It knows the marks of literals and no command: the grammar says whether a literal may stream to a file. What it hands on is
what `grammar.parse` takes. A literal over its limit is refused before the client sends it, or read and dropped when the
client does not wait; either way the next command starts where it should.
"""
from typing import NamedTuple, Optional

from ..net.errors import LineTooLong
from ..protocol.session import TooMuchInput
from . import grammar, tokens, values

# A UID set of a big mailbox is one line. So is an ID, also before login: 30 values of 1024 characters, each
# of them perhaps escaped (RFC 2971 3.3). Dovecot takes as much.
LINE = 65536
LITERAL_BEFORE_LOGIN = 4096  # RFC 7888 section 5: what LITERAL- clients may send anywhere
LITERAL = 65536
COMMAND = 262144  # lines and literals of one command together
PIECES = 1000  # literals and lines in one command
DROPPED_BEFORE_LOGIN = 1 << 20  # octets of one unwanted literal that are read


class CommandTooLarge(Exception):
    """A command that was not taken in; it was read to its end. `tag` is bytes or None, `text` bytes, `code` bytes or None."""

    def __init__(self, tag, text, code=None):
        super().__init__(text)
        self.tag = tag
        self.text = text
        self.code = code


class Body(NamedTuple):
    """A message literal that is still on the wire."""
    size: int
    non_sync: bool  # the client sends it without waiting for a continuation


class Input(NamedTuple):
    """What the parser takes, and the message literal at its end if there is one."""
    parts: list
    body: Optional[Body]


class Reader:
    """Reads commands from `connection`; `ask(prompt)` sends a continuation at once; `received(count)` hears of octets of messages.

    `largest_message`: octets of a message literal that are drained at most when they were not wanted.
    """

    def __init__(self, connection, ask, received, largest_message):
        self._connection = connection
        self._ask = ask
        self._received = received
        self._largest_message = largest_message

    def _line(self):
        """One line without its CRLF or LF. Raises LineTooLong."""
        return _without_end(self._connection.read_line(LINE))

    def continuation(self):
        """The line that a command waits for, without its end; NUL, which none may hold, where it was too long."""
        try:
            return self._line()
        except LineTooLong:
            return b"\0"

    def command(self, logged_in):
        """The next command as Input. Raises CommandTooLarge, or net's Disconnected."""
        literal_limit = LITERAL if logged_in else LITERAL_BEFORE_LOGIN
        largest = self._largest_message if logged_in else DROPPED_BEFORE_LOGIN
        parts = []
        total = 0
        while True:
            line = self._line_of(parts, largest)
            total += len(line)
            mark = grammar.literal_at_end(line)
            if mark is None:
                return Input(parts + [line], None)
            parts.append(line[:mark.start])
            if logged_in and grammar.may_stream(parts):
                return Input(parts + [values.StreamedLiteral(mark.size), b""], Body(mark.size, mark.non_sync))
            total += mark.size
            if mark.size > literal_limit or total > COMMAND or len(parts) > PIECES:
                self._refuse(parts, mark, largest)
            parts.append(self._literal(mark))

    def _line_of(self, parts, most):
        try:
            return self._line()
        except LineTooLong as error:
            self._drop(grammar.literal_at_end(_without_end(error.ending)), most)
            raise CommandTooLarge(tag_of(parts or [error.beginning]), b"The line is too long.") from None

    def _literal(self, mark):
        if not mark.non_sync:
            self._ask(b"Go ahead.")
        pieces = []
        self._connection.read_exactly(mark.size, pieces.append)
        return b"".join(pieces)

    def _refuse(self, parts, mark, most):
        """A literal that is too big: the client that waits is told no; of the other the rest is dropped (RFC 7888 4)."""
        self._drop(mark, most)
        raise CommandTooLarge(tag_of(parts), b"The literal is too big.", b"TOOBIG")

    def drop(self, body):
        """A message literal that nobody wants: read it and the rest of its command, or leave it with the client that waits."""
        self._drop(body, self._largest_message)

    def _drop(self, mark, most):
        """Read what the client sends without waiting: this literal (a LiteralMark, a Body or None) and those that follow it."""
        while mark is not None and mark.non_sync:
            if mark.size > most:
                raise TooMuchInput()
            self._connection.read_exactly(mark.size, lambda data: self._received(len(data)))
            mark = grammar.literal_at_end(self._rest())

    def _rest(self):
        """The line behind a literal without its end; only its last octets where it is too long."""
        try:
            return self._line()
        except LineTooLong as error:
            return _without_end(error.ending)

    def body(self, body, sink):
        """The message literal to `sink(bytes)`; returns the rest of its line without CRLF."""
        if not body.non_sync:
            self._ask(b"Go ahead.")

        def take(data):
            self._received(len(data))
            sink(data)
        self._connection.read_exactly(body.size, take)
        rest = self._rest()
        self._drop(grammar.literal_at_end(rest), self._largest_message)  # a second message, which nobody asked for, is no command
        return rest


def _without_end(line):
    """A line without its CRLF or LF"""
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]


def tag_of(parts):
    """The tag of a command whose rest was not read, or None."""
    try:
        return tokens.Scanner(parts).tag() if parts else None
    except grammar.BadSyntax:
        return None

