"""The standard library's imaplib over a Wire, with bounds for hostile servers. Imports it late.

imaplib collects all untagged data of a command until its tagged response. So each command has
bounds: seconds, octets of lines, octets of one literal and of all literals. imaplib's documented
`open`, `read`, `readline`, `send` and `shutdown` are overridden; nothing private is used.
"""
import functools
import re

from ..source import FetchError
from .replies import Literal, refusal, shown, text_of

LINE = 64 * 1024  # octets of a line
LINES = 256 * 1024  # octets of all lines that answer a command
LITERAL = 64 * 1024  # octets of a literal, e.g. a mailbox's name
_OVERHEAD = 64  # octets of memory that a line needs besides its own
COMMAND = 300.0  # seconds of a command
LOGOUT = 3.0

_COUNT = re.compile(rb"\* (\d{1,10}) (EXISTS|EXPUNGE)\r\n", re.IGNORECASE)


class Dropped(Literal):
    """Stands for a literal that was read and not kept, because a command's literals were too
    many."""


class Refused(FetchError):
    """NO or BAD. `text`: the server's text, `is_bad`: whether it was BAD."""

    def __init__(self, server, what, text, is_bad):
        super().__init__("%s refused %s: %s" % (server, what, text or "without a reason"))
        self.text, self.is_bad = text, is_bad


class ReadOnly(FetchError):
    """A mailbox that was opened for changes can only be read."""


class Bounds:
    """What a command may cost. `literal`: octets of one; `kept`: of all that are kept; `dropped`:
    of those beyond that are read and dropped before it is too much."""

    __slots__ = ("seconds", "line", "lines", "literal", "kept", "dropped")

    def __init__(self, seconds=COMMAND, line=LINE, lines=LINES, literal=LITERAL, kept=LITERAL,
                 dropped=0):
        self.seconds, self.line, self.lines = seconds, line, lines
        self.literal, self.kept, self.dropped = literal, kept, dropped


_BOUNDS = Bounds()


class _Input:
    """The overridden methods of imaplib.IMAP4, before it in the order of bases."""

    def bound(self, bounds):
        """A command begins; these are its Bounds."""
        self.bounds, self.lines_left = bounds, bounds.lines
        self.kept_left, self.dropped_left = bounds.kept, bounds.dropped
        self.wire.set_deadline(bounds.seconds)

    def open(self, *_host_port_timeout):
        """Its arguments differ between versions; the Wire is connected already."""

    def readline(self):
        line = self.wire.read_line(self.bounds.line)
        self.lines_left -= len(line) + _OVERHEAD
        if self.lines_left < 0:
            raise self.too_much()
        if line[:2] == b"* " and line[-3:] in (b"S\r\n", b"E\r\n", b"s\r\n", b"e\r\n"):
            self._count(line)
        return line

    def _count(self, line):
        """Keep `exists`, how many messages the mailbox has, whatever command tells it."""
        found = _COUNT.fullmatch(line)
        if found and found.group(2).upper() == b"EXISTS":
            self.exists = int(found.group(1))
        elif found:
            self.exists = max(0, self.exists - 1)
            self.expunged += 1

    def read(self, size):
        if size > self.bounds.literal:
            raise FetchError("%s sent a literal of %d octets, at most %d were asked for" % (
                self.wire.server, size, self.bounds.literal))
        if size <= self.kept_left:
            self.kept_left -= size
            return self.wire.read(size)
        self.dropped_left -= size
        if self.dropped_left < 0:
            raise self.too_much()
        self.wire.read_exactly(size, len)
        return Dropped()

    def too_much(self):
        return FetchError("%s sent more than was asked for" % self.wire.server)

    def send(self, data):
        self.wire.send(data)

    def shutdown(self):
        self.wire.close()


@functools.lru_cache(maxsize=1)
def _imap4():
    """The class. It is made late, because imaplib needs much memory."""
    import imaplib

    class Imap4(_Input, imaplib.IMAP4):
        def __init__(self, wire):
            self.wire = wire
            self.exists = self.expunged = 0
            self.bound(_BOUNDS)
            imaplib.IMAP4.__init__(self)

    return Imap4


class ImapClient:
    """IMAP commands on a connected Wire whose greeting is not read yet. For one thread.

    `imap`: the imaplib.IMAP4; `capabilities`: set of str in upper case; `secrets`: octets that no
    text may repeat. Every method raises
    FetchError: Refused after NO and BAD, Throttled if the server asks for less.
    """

    def __init__(self, wire):
        self.wire, self.server = wire, wire.server
        self.imap = None
        self.secrets = ()
        self._answered = False  # whether the last command was answered
        self.imap = self._guarded(_imap4(), (wire,), "the connection")
        self.capabilities = frozenset(self.imap.capabilities)
        self._tag = 0

    def run(self, name, *arguments, bounds=_BOUNDS, what=None):
        """Run imaplib's method `name` -> the data it returns. `what`: the command in texts."""
        self._starts(bounds)
        what = what or name.upper()
        kind, data = self._guarded(getattr(self.imap, name), arguments, what)
        if kind != "OK":
            raise self.refused(what, text_of(data), False)
        return data

    def _starts(self, bounds):
        self._answered = False
        self.imap.untagged_responses.clear()
        self.imap.bound(bounds)

    def refused(self, what, text, is_bad):
        """The FetchError for a NO or BAD."""
        error = refusal(self.server, what, text)
        if type(error) is not FetchError:
            return error
        return Refused(self.server, what, text, is_bad)

    def untagged(self, kind):
        """What arrived of untagged data of that kind with the last command: list, perhaps empty."""
        data = self.imap.response(kind)[1]
        return [part for part in data or () if part is not None]

    def parsed(self, what, function, *arguments):
        """Call a parser of replies with what answered `what`. Its error becomes a
        FetchError."""
        try:
            return function(*arguments)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise FetchError("%s sent an invalid answer to %s: %s" % (
                self.server, what, shown(str(error).encode("utf-8", "replace"))))

    def _guarded(self, function, arguments, what):
        """Call imaplib. Whatever nonsense makes it raise, the error is a FetchError."""
        import imaplib
        try:
            result = function(*arguments)
            self._answered = True
            return result
        except imaplib.IMAP4.readonly:
            self._answered = True
            raise ReadOnly("%s allows no changes in the mailbox" % self.server)
        except imaplib.IMAP4.abort as error:
            raise self._lost(what, error)
        except imaplib.IMAP4.error as error:
            text = str(error)
            bad = text.partition(" command error: BAD ")[2]
            if bad:
                self._answered = True
                raise self.refused(what, shown(bad[3:-2].encode()), True)
            raise self._lost(what, error)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise FetchError("%s sent an invalid answer to %s: %s" % (
                self.server, what, shown(str(error).encode("utf-8", "replace"))))

    def _lost(self, what, error):
        """The FetchError after a BYE, or after what imaplib does not understand."""
        said = self.imap.untagged_responses.get("BYE") if self.imap else None
        if said:
            return refusal(self.server, what, text_of(said))
        text = error.args[0] if error.args and isinstance(error.args[0], bytes) else None
        if text is None:
            text = str(error).encode("utf-8", "replace")
        elif text[:6].upper() == b"* BYE ":  # instead of a greeting
            return refusal(self.server, what, shown(text[6:]))
        return FetchError("%s sent an invalid answer to %s: %s" % (
            self.server, what, shown(text)))

    # Commands that imaplib cannot send as we need them

    def begin(self, command, bounds=_BOUNDS):
        """Send a command (bytes) -> its tag, for `next_line`."""
        self._starts(bounds)
        self._tag += 1
        tag = b"p%d" % self._tag
        self.imap.send(b"%s %s\r\n" % (tag, command))
        return tag

    def next_line(self, tag, what):
        """The next line after `begin` -> (kind, text): "+" for a continuation, "*" for untagged,
        "OK" at the end of the command. Raises FetchError after NO, BAD, BYE, nonsense."""
        line = self.imap.readline().rstrip(b"\r\n")
        mark, _, rest = line.partition(b" ")
        if mark == b"+":
            return "+", rest
        if mark == b"*":
            if rest[:4].upper() == b"BYE ":
                raise refusal(self.server, what, self.shown(rest[4:]))
            return "*", rest
        kind, _, text = rest.partition(b" ")
        kind = kind.upper()
        if mark != tag or kind not in (b"OK", b"NO", b"BAD"):
            raise FetchError("%s sent an invalid answer to %s: %s" % (
                self.server, what, self.shown(line)))
        self._answered = True
        if kind != b"OK":
            raise self.refused(what, self.shown(text), kind == b"BAD")
        return "OK", text

    def shown(self, text):
        """replies.shown, unless a server repeats a secret."""
        if any(secret and secret in text for secret in self.secrets):
            return "(its words repeat a secret)"
        return shown(text)

    def ask_capabilities(self):
        """Ask for the capabilities again, which differ after login."""
        data = self.run("capability")
        words = b" ".join(part for part in data if isinstance(part, bytes))
        self.capabilities = frozenset(words.decode("ascii", "replace").upper().split())

    def close(self):
        """Log out, within LOGOUT seconds, unless the connection is broken. Never raises."""
        try:
            if self._answered:
                self.run("logout", bounds=Bounds(seconds=LOGOUT))
        except FetchError:
            pass
        self._answered = False
        self.wire.close()


def begin_tls(wire):
    """For connecting.connect: the dialogue before STARTTLS (RFC 3501 6.2.1).

    What a server says before TLS is not believed: a PREAUTH greeting there is no login.
    """
    greeting = wire.read_line(LINE)
    if greeting[:6].upper() == b"* BYE ":
        raise refusal(wire.server, "the connection", shown(greeting[6:]))
    if greeting[:4].upper() != b"* OK":
        return None
    if b"STARTTLS" not in _asked(wire, b"CAPABILITY").upper().split():
        return None
    _asked(wire, b"STARTTLS")
    return b"* OK TLS\r\n"


def _asked(wire, command):
    """Send a command before TLS -> the untagged lines that answer it, joined."""
    wire.send(b"t %s\r\n" % command)
    lines = []
    while sum(map(len, lines)) < LINE:
        line = wire.read_line(LINE)
        if line[:2] == b"t ":
            if line[:5].upper() != b"T OK ":
                raise refusal(wire.server, command.decode(), shown(line[2:]))
            return b"".join(lines)
        lines.append(line)
    raise FetchError("%s sent more than was asked for" % wire.server)
