"""An IMAP connection: reads commands, lets the session run them, writes what it says, waits in IDLE, starts TLS.

All I/O of imap is here and in `reader`; what commands mean is not. One thread runs it from greeting to goodbye.
Deadlines: RFC 3501 5.4 (half an hour of silence), a total time for each command that grows with what is sent and received.
"""
import logging
import time

from ..net.connection import Waker
from ..net.errors import Disconnected, Overdue, Stopping, TimedOut
from . import grammar, responses, session
from .reader import CommandTooLarge, Reader, TooMuch
from .table import TABLE

log = logging.getLogger("phenmail.imap")

PIECE = 65536  # output is joined to writes of about this size
GATHER = 0.01  # seconds that IDLE waits for more of the same before it announces
DROPPED = 16  # times the largest message: what is read of an unwanted one before the connection is given up
LAST_WORDS = 30.0  # seconds for the answer to a command that took too long
LONG = 8192  # octets of a command that takes a turn of its own to read
READING = 0.5e-6  # seconds for an octet of it
SLOWEST = 4096  # octets in a second that a client must at least take or give


def make(server):
    """`server`: a session.Server -> what a net.listener calls with each Connection."""
    def handle(connection):
        Handler(connection, server).run()
    return handle


class Output:
    """Joins answers to big writes; each write moves the command's deadline by the time that its octets may take."""

    def __init__(self, connection):
        self._connection = connection
        self._pieces = []
        self._size = 0
        self._deadline = None

    def start(self, seconds):
        """A command begins: it may take `seconds`, and more only for what is sent and for messages that are received."""
        self._deadline = time.monotonic() + seconds
        self._connection.set_deadline(seconds)

    def allow(self, octets):
        """So many octets more cross the wire."""
        self._deadline += octets / SLOWEST
        self._connection.set_deadline(max(0.0, self._deadline - time.monotonic()))

    def look(self):
        """What long work calls in small steps: raises session.CommandFailed after the command's time,
        Disconnected, Stopping.
        """
        try:
            self._connection.look()
        except Overdue:
            self.start(LAST_WORDS)
            text = b"This took too long and was stopped; ask for less at a time."
            raise session.CommandFailed(text, b"LIMIT") from None

    def write(self, data):
        """NUL, which no string may hold (RFC 3501 9: CHAR8), is sent as 0x80, as Dovecot does."""
        self._pieces.append(data.replace(b"\0", b"\x80"))
        self._size += len(data)
        if self._size >= PIECE:
            self.flush()

    def ask(self, prompt):
        """Send a continuation at once."""
        self.write(responses.continuation(prompt))
        self.flush()

    def flush(self):
        if not self._size:
            return
        pieces, size = self._pieces, self._size
        self._pieces, self._size = [], 0
        if self._deadline is not None:
            self.allow(size)
        self._connection.write(b"".join(pieces) if len(pieces) > 1 else pieces[0])


class Handler:
    """One connection; `run` returns when it is over. The listener closes it."""

    def __init__(self, connection, server):
        self.connection = connection
        self.server = server
        self.output = Output(connection)
        # Nothing here refers back to the handler: a connection's memory goes with its thread, not at some later collection.
        self.reader = Reader(connection, self.output.ask, self.output.allow, DROPPED * server.limits.message_size)
        self.session = session.Session(server, TABLE, self.output.write, connection.peer,
                                       connection.tls, connection.is_loopback, self.output.look)
        self.body = None  # a message literal that is still on the wire
        self.login_ends = time.monotonic() + server.limits.login_timeout

    def run(self):
        try:
            self._converse()
        except Stopping:
            self._say_goodbye(b"The server is stopping.", b"UNAVAILABLE")
        except TimedOut:
            self._say_goodbye(b"Disconnected for inactivity.")
        except TooMuch:
            self._say_goodbye(b"That is more than can be read.", b"TOOBIG")
        except Disconnected:
            pass
        except session.OutOfStep as error:
            log.error("connection of %s ends: %s", self.session.name, error)
        except Exception:
            log.exception("connection from %s ends: internal error", self.connection.peer)
            self._say_goodbye(b"Something went wrong here.", b"SERVERBUG")
        finally:
            self.session.close()

    def _say_goodbye(self, text, code=None):
        try:
            self.output.start(1.0)
            self.session.say_goodbye(text, code)
            self.output.flush()
        except Disconnected:
            pass

    def _converse(self):
        limits = self.server.limits
        self.output.start(limits.command_timeout)
        self.session.greet()
        self.output.flush()
        then = session.NEXT
        while then != session.CLOSE:
            if not self._has_line():  # pipelined commands get their answers together
                self.output.flush()
                if self.connection.wait(self._patience(limits)) == "timeout":
                    raise TimedOut("idle")
            left, is_known = self._patience(limits), self.session.account is not None
            self.output.start(limits.command_timeout if is_known else min(limits.command_timeout, left))
            then = self._command()
            if then == session.START_TLS:
                self._start_tls()
        self.output.flush()

    def _has_line(self):
        """Whether the next command can be begun without waiting."""
        if not self.connection.has_input():
            return False
        data = self.connection.read_chunk()
        self.connection.unread(data)
        return b"\n" in data

    def _patience(self, limits):
        """Seconds for the next command. The client may be silent for half an hour; until it has
        logged in it has less time, whatever it says meanwhile. Raises TimedOut."""
        if self.session.account is not None:
            self.connection.visit.logged_in(self.session.account.folder)
            return limits.imap_idle_timeout
        left = self.login_ends - time.monotonic()
        if left <= 0:
            raise TimedOut("no login")
        return left

    # -- one command

    def _command(self):
        """Read and run one; returns what comes after it (a Step's `then`)."""
        try:
            taken = self.reader.command(self.session.account is not None)
        except CommandTooLarge as refused:
            return self.session.unreadable(refused.tag, refused.text, refused.code).then
        self.body = taken.body
        try:
            self._await_turn(taken.parts)
            command = grammar.parse(taken.parts, TABLE)
        except grammar.BadSyntax as error:
            self._drop_body()
            return self._unreadable(error)
        return self._run(command)

    def _await_turn(self, parts):
        """The grammar, which looks at nothing meanwhile, takes some 30 ms for the longest lines."""
        octets = sum([len(part) for part in parts if isinstance(part, bytes)])
        if octets >= LONG:
            try:
                self.connection.await_turn(octets * READING)
            except Overdue:
                self.output.start(LAST_WORDS)
                raise grammar.unread(parts, "the server is too busy", b"LIMIT") from None

    def _unreadable(self, error):
        code = error.code.encode("ascii") if isinstance(error.code, str) else error.code
        status = b"NO" if isinstance(error, grammar.ArgumentRejected) else b"BAD"
        return self.session.unreadable(error.tag, str(error).encode("ascii", "replace"), code, status).then

    def _run(self, command):
        self._log(command)
        step = self._guarded(self.session.execute, command)
        while step.then in WAITS:
            step = WAITS[step.then](self, step)
        self._drop_body()
        return step.then

    def _guarded(self, run, *arguments):
        """What the session raises beside the connection's end is our mistake: the client hears that, the log has all."""
        try:
            return run(*arguments)
        except (Disconnected, session.OutOfStep):
            raise
        except Exception:
            log.exception("internal error in a command of %s", self.session.name)
            return self.session.failed()

    def _log(self, command):
        if self.server.debug:
            row = TABLE.get(command.name)
            shown = "…" if row is None or row.secret else command.arguments
            log.info("%s: %s %s %s", self.session.name, command.tag.decode("ascii", "replace"), command.name, shown)

    def _drop_body(self):
        """The command ended without asking for its message literal."""
        body, self.body = self.body, None
        if body is not None:
            self.reader.drop(body)

    # -- what a command may wait for

    def _read_line(self, step):
        self.output.write(responses.continuation(step.prompt))
        self.output.flush()
        return self._guarded(self.session.resume, step, self.reader.continuation())

    def _read_body(self, step):
        body, self.body = self.body, None
        self.output.flush()
        rest = self.reader.body(body, step.sink)
        return self._guarded(self.session.resume, step, rest)

    def _idle(self, step):
        """RFC 2177: announce what happens until a line comes. The waker's descriptor lives only here."""
        self.output.write(responses.continuation(step.prompt))
        ends = time.monotonic() + self.server.limits.imap_idle_timeout
        waker = Waker()
        try:
            watch = self.session.watch(waker.set)
            try:
                while self._idled(waker, ends):
                    pass
            finally:
                if watch is not None:
                    watch.close()
        finally:
            waker.close()
        if self.session.state == session.LOGOUT:
            return session.Step(session.CLOSE)
        self.output.start(self.server.limits.command_timeout)
        return self._guarded(self.session.resume, step, self.reader.continuation())

    def _idled(self, waker, ends):
        """One turn of IDLE; False when a line is there or the session is over."""
        self.session.announce()
        self.output.start(self.server.limits.command_timeout)
        self.output.flush()
        if self.session.state == session.LOGOUT:
            return False
        event = self.connection.wait(max(0.0, ends - time.monotonic()), waker)
        if event == "timeout":
            raise TimedOut("idle")
        if event == "wake":  # a burst of changes is announced at once, and a DONE that is on its way gets ahead
            event = self.connection.wait(GATHER, None)
            waker.clear()
        return event != "input"

    def _start_tls(self):
        """RFC 3501 6.2.1: after the tagged OK; what was sent before the handshake is dropped by the connection."""
        self.output.flush()
        self.connection.start_tls(self.server.tls_context())
        self.session.tls = True


WAITS = {session.READ_LINE: Handler._read_line, session.READ_BODY: Handler._read_body, session.IDLE: Handler._idle}
