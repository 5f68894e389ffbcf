"""An IMAP connection: reads commands, lets the session run them, waits in IDLE.

The session writes its responses itself; a step says whether a command is complete or what it waits
for. A client may be silent for half an hour (RFC 3501 5.4).
"""
import logging
from time import monotonic

from ..net.errors import Disconnected, Overdue, TimedOut
from ..net.waker import Waker
from ..protocol import handler as shared
from ..protocol import output
from . import responses, session
from .reader import CommandRefused, Reader
from .session import CommandFailed, Step
from .syntax import grammar
from .table import TABLE

log = logging.getLogger("phenmail.imap")

# Seconds between "+ idling" and the first announcement. Thunderbird 153 does not notice what
# arrives together with "+ idling" until more arrives. IMAPClient 4 takes nothing before it.
SETTLE = 0.1
RETRY = 1.0  # seconds until an announcement that failed is tried again
GATHER = 0.01  # seconds that IDLE and NOTIFY wait to announce several changes together
GATHER_LONG = 1.0  # the most that NOTIFY waits
DROPPED = 16  # times the largest message: most octets of an unwanted literal that are read
SHORT = 2048  # octets: so many fit into the buffer of a socket that is writable
LONG = 8192  # octets of a command that is parsed only in a turn (`net.fair_turns`)
READING = 0.5e-6  # seconds to parse an octet of it
SLOWEST = 4096  # octets a second


def make(service):
    """`service`: a session.Service -> what a net.listener calls with each Connection."""
    def handle(connection):
        Handler(connection, service).run()
    return handle


def _overdue():
    return CommandFailed(b"The command took too long; ask for less at a time", b"LIMIT")


class Output(output.Output):
    """Responses on their way out."""

    __slots__ = ()

    def flush(self):
        """NUL, which no string may contain (RFC 3501 9: CHAR8), becomes 0x80, as in Dovecot. A
        literal8 may contain it."""
        self._waiting = [piece if isinstance(piece, responses.Octets)
                         else piece.replace(b"\0", b"\x80") for piece in self._waiting]
        super().flush()

    def tell_now(self, data, seconds):
        """Send `data` (a short line) if that needs no wait; the command gets `seconds` from now at
        least. For work that goes on whether the client is still there or not."""
        self._connection.prolong_deadline(seconds)
        if self._size <= SHORT and self._connection.can_write():
            try:
                self.write(data)
                self.flush()
            except Disconnected:
                pass  # the next write raises it again

    def ask(self, prompt):
        """Send a continuation request (RFC 3501 7.5) at once."""
        self.write(responses.continuation(prompt))
        self.flush()


class Handler(shared.Handler):
    """One connection."""

    log = log
    NEXT = Step()
    STOPPING, IDLE, TOO_MUCH, INTERNAL = (
        responses.untagged_status(b"BYE", text, code) for text, code in (
            (b"The server is shutting down", b"UNAVAILABLE"),
            (b"Idle timeout, closing connection", None),
            (b"The literal is too large, closing connection", b"TOOBIG"),
            (b"Internal error, closing connection", b"SERVERBUG")))

    def __init__(self, connection, service):
        limits, output = service.limits, Output(connection, SLOWEST, _overdue)
        super().__init__(connection, limits, limits.imap_idle_timeout, output, session.Session(
            service, TABLE, output.write, connection.peer, connection.tls_info(),
            connection.is_loopback, output.look, output.tell_now))
        self.reader = Reader(connection, output.ask, output.allow, DROPPED * limits.message_size)
        self.body = None  # reader.Body: a message literal that is still on the wire

    def send(self, step):
        """The session has written its responses."""

    def next_command(self, _):
        """Read a command and run it -> Step."""
        self._drop_body()
        if not self.connection.has_line():
            self._await_command()
            if self.session.state == session.LOGOUT:
                return Step(session.CLOSE)
        timeout, patience = self.limits.command_timeout, self.patience()
        is_known = self.session.account is not None
        self.connection.set_deadline(timeout if is_known else min(timeout, patience))
        try:
            taken = self.reader.command(is_known, self.session.off)
        except CommandRefused as error:
            return self.session.unreadable(error.tag, error.text, error.code)
        self.body = taken.body
        try:
            self._await_turn(taken.parts)
            command = grammar.parse(taken.parts, TABLE, self.session.utf8, self.session.off)
        except grammar.BadSyntax as error:
            return self._unreadable(error)
        self._log(command)
        return self.guarded(self.session.execute, command)

    def _await_turn(self, parts):
        """Pipelined commands take turns, because the client need not wait between them. So does a
        long one: the grammar does not `look`, and the longest lines take it some 30 ms."""
        octets = sum([len(part) for part in parts if isinstance(part, bytes)])
        try:
            if octets < LONG:
                self.connection.look(peer=False)
            else:
                self.connection.await_turn(octets * READING)
        except Overdue:
            self.connection.set_deadline(output.LAST_WORDS)
            raise grammar.unread(parts, "the server is too busy", b"LIMIT") from None

    def _unreadable(self, error):
        code = error.code.encode("ascii") if isinstance(error.code, str) else error.code
        status = b"NO" if isinstance(error, grammar.ArgumentRejected) else b"BAD"
        text = str(error).encode("ascii", "replace")
        return self.session.unreadable(error.tag, text, code, status)

    def _log(self, command):
        if self.session.service.debug:
            row = TABLE.get(command.name)
            shown = "…" if row is None or row.secret else command.arguments
            log.info("%s: %s %s %s", self.session.who, command.tag.decode("ascii", "replace"),
                     command.name, shown)

    def _drop_body(self):
        """The command ended without asking for its message literal."""
        body, self.body = self.body, None
        if body is not None:
            self.reader.drop(body)

    # What a command may wait for

    def read_line(self, step):
        """AUTHENTICATE: a response."""
        self.output.ask(step.prompt)
        return self.guarded(self.session.resume, step, self.reader.continuation())

    def read_body(self, step):
        """APPEND: a message, and what follows it on its line."""
        body, self.body = self.body, None
        self.output.flush()
        rest = self.reader.body(body, step.sink)
        self.body = rest.body
        return self.guarded(self.session.resume, step, rest.parts)

    def idle(self, step):
        """RFC 2177: announce changes until the client sends a line."""
        self._await_input(self.session.announce, step.prompt)
        if self.session.state == session.LOGOUT:
            return Step(session.CLOSE)
        self.connection.set_deadline(self.limits.command_timeout)
        return self.guarded(self.session.resume, step, self.reader.continuation())

    def _await_command(self):
        """Wait for the next command. After NOTIFY announce changes meanwhile (RFC 5465), but not
        inside a command that has begun to arrive."""
        self.output.flush()
        if self.session.listens and not self.connection.has_input():
            self._await_input(self.session.announce_between_commands)
        elif self.connection.wait(self.patience()) == "timeout":
            raise TimedOut("idle")

    def _await_input(self, announce, prompt=None):
        """Send the `prompt`, if there is one; call `announce()` then and whenever something
        changed, until the client sends something or the session ends."""
        end = monotonic() + self.patience()
        waker = Waker()
        try:
            with self.session.watch(waker.set):
                if prompt is not None:
                    self.output.ask(prompt)
                    if self.connection.wait(SETTLE) == "input":
                        return
                while self._announced(announce, waker, end):
                    pass
        finally:
            waker.close()

    def _announced(self, announce, waker, end):
        """Announce what changed and wait for more -> False when that is over."""
        self.connection.set_deadline(self.limits.command_timeout)
        announce()
        self.output.flush()
        if self.session.state == session.LOGOUT:
            return False
        left = max(0.0, end - monotonic())
        event = self.connection.wait(
            min(left, RETRY) if self.session.is_behind else left, waker)
        if event == "timeout" and left > RETRY and self.session.is_behind:
            return True
        if event == "timeout":
            raise TimedOut("idle")
        if event == "wake":
            # More changes follow often, and so does DONE, which then comes first.
            event = self.connection.wait(self._gathering(), None)
            waker.clear()
        return event != "input"

    def _gathering(self):
        """Seconds until the next announcement: more if comparing many mailboxes takes long."""
        notifications = self.session.notifications
        return GATHER if notifications is None else min(
            GATHER_LONG, max(GATHER, 4 * notifications.seconds))

    def compress(self, _):
        """COMPRESS. The tagged response is the last that is not compressed (RFC 4978 3)."""
        self.output.flush()
        self.connection.start_deflate()
        return self.NEXT

    ACTIONS = {session.NEXT: next_command, session.START_TLS: shared.Handler.start_tls,
               session.COMPRESS: compress,
               session.READ_LINE: read_line, session.READ_BODY: read_body, session.IDLE: idle}
