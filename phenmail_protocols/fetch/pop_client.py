"""The client side of a POP3 dialogue: commands out; replies, lists and texts in.

RFC 1939; RFC 2449 (PIPELINING, response codes). Written by hand because `poplib` refuses lines over
2048 octets and holds a whole message in memory. Knows nothing of logins (pop_login.py) and keys
(pop_listing.py).

The server is not trusted. Each reply has a bound in octets and in time: connecting.SILENCE for one
wait; PATIENCE for all waits of a reply together, and for a text what its octets take at SLOWEST.
After any FetchError except Refused the connection is useless (`lost`).
"""
from collections import deque
from time import monotonic

from ..mail.writing import printable
from ..net.dots import Unstuffer
from ..net.lines import CHUNK
from .source import FetchError

LINE = 8192  # the most octets of a line outside messages; RFC 2449 4 allows 512
PATIENCE = 300.0  # seconds of all waits for one reply,
SLOWEST = 1000.0  # and besides what a message's octets take at this many a second,
LEAST_LINES = 20.0  # or a list's lines at this many
MOST_TEXT = 200  # characters of a server's words that are shown to the user
_END = len(".\r\n")


class Refused(FetchError):
    """The server answered -ERR. The connection can still be used.

    `code`: its response code (RFC 2449 8) in capitals without brackets, such as "IN-USE", or "".
    `words`: what it said besides, for the user.
    """

    def __init__(self, server, command, code, words):
        super().__init__("%s refused %s: %s" % (
            server, command, " ".join(filter(None, [code and "[%s]" % code, words])) or "-ERR"))
        self.code, self.words = code, words


class PopClient:
    """One connection.

    `wire`: connecting.Wire; `limit`: the most octets of a message; `secrets`: octets that no text
    may repeat; `patience`: seconds, see above. All methods may raise FetchError.

    A command is sent with `send`, and its reply read with `reply`; several may be sent before the
    first reply is read (RFC 2449 6.6). The text after a reply is read with `lines` or `pieces`.
    """

    def __init__(self, wire, limit):
        self.server = wire.server
        self.lost = False  # whether the connection cannot be used any more
        self.secrets = ()
        self.patience = PATIENCE
        self._wire, self.limit = wire, limit
        self._awaited = deque()  # for each reply to come: (command, whether a text follows)
        self._unstuffer = None  # of a text that is not yet read to its end

    def failed(self, text):
        """-> FetchError for what makes the connection useless. `text` follows the server's name."""
        self.lost = True
        return FetchError("%s %s" % (self.server, text))

    # Commands and replies

    def send(self, *commands, text=False):
        """Send commands (bytes without CRLF). `text`: a text follows the reply +OK of each."""
        self._write(b"".join([command + b"\r\n" for command in commands]))
        for command in commands:
            self._awaited.append((command.split(b" ", 1)[0], text))

    def _write(self, data):
        self._wire.set_deadline(self.patience)
        try:
            self._wire.send(data)
        except FetchError:
            self.lost = True
            raise

    def reply(self):
        """The reply to the first command without one -> what follows "+OK", bytes.

        Raises Refused if it is -ERR.
        """
        command, text = self._awaited.popleft()
        line = self._status(command)
        if text:
            self._unstuffer = Unstuffer()
        return line

    def ask(self, command, text=False):
        """Send a command and read its reply, as `reply`."""
        self.finish()
        self.send(command, text=text)
        return self.reply()

    def greeting(self):
        """The line with which the server begins. Raises Refused if it is -ERR."""
        return self._status(b"the connection")

    def answer(self, command, data):
        """A step of AUTH: send the line `data`, read the answer.

        -> the rest of a "+ " challenge, or None if it was +OK. `command`: for the text of Refused.
        """
        self._write(data + b"\r\n")
        self._wire.set_deadline(self.patience)
        line = self._line()
        if line == b"+" or line.startswith(b"+ "):
            return line[2:]
        self._understand(command, line)
        return None

    def _status(self, command):
        self._wire.set_deadline(self.patience)
        return self._understand(command, self._line())

    def _understand(self, command, line):
        """The line of a reply -> what follows "+OK"."""
        status, _, rest = line.partition(b" ")
        if status.upper() == b"+OK":
            return rest
        if any(secret in line for secret in self.secrets):
            line = rest = b"(its words repeat a secret)"
        command = command.decode("ascii")
        if status.upper() != b"-ERR":
            raise self.failed("answered neither +OK nor -ERR to %s: %s" % (command, shown(line)))
        code = b""
        if rest.startswith(b"[") and b"]" in rest:
            code, _, rest = rest[1:].partition(b"]")
        raise Refused(self.server, command, shown(code).upper(), shown(rest.strip()))

    def _line(self):
        """The next line without its CRLF."""
        try:
            line = self._wire.read_line(LINE)
        except FetchError:
            self.lost = True
            raise
        if not line.endswith(b"\r\n"):
            raise self.failed("does not end its lines with CRLF")
        return line[:-2]

    # The text after a reply

    def lines(self, most):
        """Iterator over the text's lines without CRLF; more than `most` are a FetchError."""
        self._wire.set_deadline(self.patience + most / LEAST_LINES)
        for _ in range(most + 1):
            line = self._line()
            if line[:1] == b".":
                if line == b".":
                    self._unstuffer = None
                    return
                line = line[1:]
            yield line
        raise self.failed("sent a list of more than %d lines" % most)

    def pieces(self, size=0, limit=None):
        """Iterator over the text's octets, without dot-stuffing, in pieces of at most 64 KB.

        `size`: octets to expect, only for speed. More than `limit` (default: that of a message)
        are a FetchError. Only CRLF "." CRLF ends the text: a server that does not write CRLF never
        ends it.
        """
        limit = self.limit if limit is None else limit
        unstuffer, fed, total, patience = self._unstuffer, 0, 0, self.patience
        while self._unstuffer is not None:
            if not self._wire.buffered():
                patience = self._receive(patience)
            chunk = self._wire.read_chunk(size + _END - fed if size >= fed else CHUNK)
            fed += len(chunk)
            data, done, rest = unstuffer.feed(chunk)
            total += len(data)
            if done:
                self._unstuffer = None
                self._wire.unread(rest)
            if data:
                yield data  # also what exceeds the limit, so that the reader sees that it does
            if total > limit:
                raise self.failed("sent a message of more than %d octets" % limit)

    def _receive(self, patience):
        """Receive a large piece into the buffer, within `patience` seconds -> the seconds that are
        left for the next one."""
        before = monotonic()
        self._wire.set_deadline(patience)
        try:
            data = self._wire.read_chunk(CHUNK)
        except FetchError:
            self.lost = True
            raise
        self._wire.unread(data)
        return min(self.patience, patience - (monotonic() - before) + len(data) / SLOWEST)

    def skip(self, most=None):
        """Read and drop what is left of the text, at most `most` octets -> how many it were."""
        return sum(len(piece) for piece in self.pieces(limit=most))

    def finish(self):
        """Read and drop what is left of the text, and the replies that were not read yet."""
        left = max(0, self.limit - self.skip())
        while self._awaited:
            left -= self.drop(left)

    def drop(self, most=None):
        """Read and drop the next reply and its text -> the octets of that; at most `most`."""
        try:
            self.reply()
        except Refused:
            return 0
        return self.skip(most)

    @property
    def is_awaited(self):
        """Whether a reply is still to be read."""
        return bool(self._awaited)

    @property
    def has_text(self):
        """Whether a text is not read to its end."""
        return self._unstuffer is not None

    def close(self):
        """Cut the connection."""
        self.lost = True
        self._wire.close()


def shown(words):
    """A server's words (bytes) as a short text on one line."""
    return printable(words.decode("utf-8", "replace"))[:MOST_TEXT]
