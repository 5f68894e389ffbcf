"""A POP3 connection: all of its input and output.

Brings lines to the session and does what its steps say.  Replies wait while there is
input that was received already (PIPELINING, RFC 2449 6.6), up to one piece.  Time: RFC
1939 3 (silence ends a connection, without a word and without removing anything), and a
total for each command that grows with what is sent.
"""
import logging
import time

from ..net.connection import Disconnected, LineTooLong, Overdue, Stopping, TimedOut
from ..net.dots import stuff
from ..net.tls import CertificateError
from . import replies
from .commands import TABLE
from .session import CommandFailed, Service, Session, Step, Then, answered

log = logging.getLogger("phenmail.pop3")

PIECE = 65536  # output is joined to writes of about this size
SMALL = 262144  # octets of a message that is read in one go
SLOWEST = 1024  # octets a second that a client must at least take
_GOODBYE_SECONDS = 1.0
_LAST_WORDS = 30.0  # seconds for the answer to a command that took too long


def make(directory, store, limits, tls_context=None, plaintext_auth=False, host="localhost", implementation="phenmail",
         debug=False):
    """What a net.listener calls with each Connection; the arguments are session.Service's."""
    service = Service(TABLE, directory, store, limits, tls_context, plaintext_auth, host, implementation, debug)

    def handle(connection):
        Handler(connection, service).run()
    return handle


class Handler:
    """One connection; `run` returns when it is over.  The listener closes it."""

    def __init__(self, connection, service):
        self._connection = connection
        self._service = service
        self._limits = service.limits
        self._session = Session(service, connection.peer, connection.is_loopback, connection.tls,
                                self._look)
        self._waiting = []  # what is not sent yet
        self._size = 0
        self._end = 0.0  # when the command has to be over
        self._login_end = time.monotonic() + self._limits.login_timeout

    def run(self):
        try:
            self._converse()
        except Stopping:
            self._say_goodbye(replies.STOPPING)
        except TimedOut:
            pass  # RFC 1939 3: no response is sent
        except Disconnected:
            pass
        except Exception:
            log.exception("the connection from %s ends", self._connection.peer[0])
        finally:
            self._session.close()

    def _say_goodbye(self, reply):
        try:
            self._start(_GOODBYE_SECONDS)
            self._write(reply.wire)
            self._flush()
        except Disconnected:
            pass

    def _look(self, peer=True):
        """What long work calls in small steps."""
        try:
            self._connection.look(peer)
        except Overdue:
            self._start(_LAST_WORDS)
            raise CommandFailed(replies.TOO_LONG, counts=False) from None

    def _look_inside(self, chunks):
        """The chunks of a message that is being sent: nothing else can be said before its end."""
        for chunk in chunks:
            try:
                self._connection.look()
            except (Overdue, Stopping) as error:
                raise Disconnected("inside a message: %s" % error)
            yield chunk

    def _converse(self):
        self._start(self._limits.command_timeout)
        step = self._session.greeting()
        while step.then is not Then.CLOSE:
            step = self._start_tls(step) if step.then is Then.TLS else self._next(step)
        self._answer(step)
        self._flush()

    # -- input -------------------------------------------------------------------------------------------------------------

    def _next(self, step):
        """Answer, read the next line and run it -> Step."""
        self._answer(step)
        if not self._connection.has_input():
            self._flush()
            if self._connection.wait(self._patience(), None) == "timeout":
                raise TimedOut("idle")
        self._start(self._patience())
        try:
            line = self._connection.read_line(self._limits.line)
        except LineTooLong:
            return self._session.line_too_long()
        finally:
            self._start(self._limits.command_timeout)
        try:
            return self._session.line(line)
        except Disconnected:
            raise
        except Exception:
            log.exception("internal error in a command from %s", self._connection.peer[0])
            return self._session.failed()

    def _patience(self):
        """Seconds for the next line: who is not logged in has some for all of them together.  Raises TimedOut."""
        if self._session.account:
            self._connection.visit.logged_in(self._session.account.folder)
            return self._limits.pop_idle_timeout
        left = self._login_end - time.monotonic()
        if left <= 0:
            raise TimedOut("no login")
        return left

    def _start_tls(self, step):
        """RFC 2595 4: what was sent before the handshake is dropped by the connection; there is no new greeting."""
        try:
            context = self._service.tls_context()
        except CertificateError as error:
            log.error("STLS: %s", error)
            return answered(replies.NO_CERTIFICATE)
        self._answer(step)
        self._flush()
        self._connection.start_tls(context)
        self._session.tls_started()
        return Step(b"")

    # -- output ------------------------------------------------------------------------------------------------------------

    def _answer(self, step):
        self._write(step.wire)
        if step.content is not None:
            with step.content as content:
                if content.size <= SMALL:
                    chunks = (content.whole(),)
                else:
                    chunks = self._look_inside(content.chunks())
                for chunk in stuff(chunks if step.excerpt is None else step.excerpt(chunks)):
                    self._write(chunk)

    def _start(self, seconds):
        """A command begins: it may take `seconds`, and more only for what it sends."""
        self._end = time.monotonic() + seconds
        self._connection.set_deadline(seconds)

    def _write(self, data):
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= PIECE:
            self._flush()

    def _flush(self):
        if not self._size:
            return
        waiting, size = self._waiting, self._size
        self._waiting, self._size = [], 0
        self._end += size / SLOWEST
        self._connection.set_deadline(max(0.0, self._end - time.monotonic()))
        self._connection.write(b"".join(waiting) if len(waiting) > 1 else waiting[0])
