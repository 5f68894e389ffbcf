"""An SMTP, submission or LMTP connection: all of its input and output.

Passes lines and octets to the session and does what its steps say.  Replies wait while received
input is left to process (RFC 2920 3.2).  An idle timeout ends a connection (RFC 5321 4.5.3.2).
Without a login, all commands up to the next message share that time.  A message may take as long as
its octets take at a slow pace (`SLOWEST`).
"""
import logging
import time

from ..accounts import sasl
from ..net.connection import Disconnected, LineTooLong, Stopping, TimedOut
from ..net.dots import Unstuffer
from ..net.tls import CertificateError
from . import commands, replies
from .session import Service, Session, Step, Then, answered
from .transaction import TooMuch

log = logging.getLogger("phenmail.smtp")

# The slowest pace of a message, octets a second, beyond the time for one command.
SLOWEST = 1024
# Seconds that each recipient adds to the time for the commands before a message: a thousand
# recipients need many round trips.
RECIPIENT_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0
# The most replies that wait: a client that only sends must not fill the memory.
_MOST_WAITING = 100


def make(kind, listen, limits, directory, router, certificates=None, message_size=None):
    """-> what a net.listener calls with each Connection.

    `kind`: "smtp", "submission" or "lmtp"; `listen`: config.settings.Listen; `limits`:
    config.settings.Limits; `directory`: accounts.directory.Directory; `router`:
    delivery.router.Router; `certificates`: net.tls.Certificates or None; `message_size`:
    octets, None: that of the limits.
    """
    base = "LMTP" if kind == "lmtp" else "SMTP"

    def mechanisms(tls, plaintext_ok):
        return sasl.mechanisms(directory, tls, plaintext_ok, sending=True)

    def start(mechanism, peer):
        return sasl.start(mechanism, directory.login(peer, sending=True), router.host)

    service = Service(
        base=base, table=commands.table(base), router=router,
        mechanisms=mechanisms if base == "SMTP" else _no_mechanisms, start=start,
        certificate=certificates is not None and listen.tls != "none",
        login_required=kind == "submission", plaintext_auth=listen.plaintext_auth,
        message_size=limits.message_size if message_size is None else message_size,
        recipients=limits.recipients, errors=limits.errors,
        login_failures=limits.login_failures, line=limits.line)

    def handle(connection):
        Handler(connection, service, certificates, limits).run()
    return handle


def _no_mechanisms(tls, plaintext_ok):
    """RFC 2033: the network or the socket's mode decides who may use LMTP, so no AUTH."""
    return ()


class Handler:
    """One connection; `run` returns when it is over.  The listener closes it."""

    def __init__(self, connection, service, certificates, limits):
        connection.read_timeout = limits.smtp_idle_timeout
        self._connection = connection
        self._certificates = certificates
        self._idle = limits.smtp_idle_timeout
        self._command = limits.command_timeout
        # The deadline for a login, or for the next message without one.
        self._end = time.monotonic() + (
            limits.login_timeout if service.login_required else self._idle)
        self._line_limit = service.line
        self._session = Session(service, connection.peer, connection.is_loopback,
                                connection.tls_info())
        self._waiting = []  # replies not sent yet

    def run(self):
        try:
            self._converse()
        except Stopping:
            self._say_goodbye(replies.STOPPING)
        except TimedOut:
            self._say_goodbye(replies.IDLE)
        except TooMuch:
            self._say_goodbye(replies.TOO_LARGE)
        except Disconnected:
            pass
        except Exception:
            log.exception("internal error, closing the connection from %s",
                          self._connection.peer[0])
            self._say_goodbye(replies.INTERNAL)
        finally:
            self._session.reset()

    def _say_goodbye(self, reply):
        self._waiting.append(replies.wire(reply))
        try:
            self._flush(_GOODBYE_SECONDS)
        except Disconnected:
            pass

    def _converse(self):
        step = self._session.banner()
        while step.then is not Then.CLOSE:
            step = _ACTIONS[step.then](self, step)
            self._connection.visit.busy = self._session.transaction is not None
        self._waiting.append(step.wire)
        self._flush(self._command)

    def _reply(self, wire):
        """Queue a step's replies; send them when no input is left, or when there are many."""
        if wire:
            self._waiting.append(wire)
        if not self._connection.has_input() or len(self._waiting) >= _MOST_WAITING:
            self._flush(self._command)

    def _flush(self, seconds):
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._connection.set_deadline(seconds)
            self._connection.write(b"".join(waiting))

    # One method for each `Then`

    def _read_command(self, step):
        self._reply(step.wire)
        self._connection.set_deadline(self._patience())
        try:
            line = self._connection.read_line(self._line_limit)
        except LineTooLong:
            return self._session.line_too_long()
        return self._session.line(line)

    def _patience(self):
        """Seconds for the next command.  Raises TimedOut."""
        session = self._session
        if session.account is not None:
            self._connection.visit.logged_in(session.account.folder)
            return self._idle
        recipients = len(session.transaction.recipients) if session.transaction is not None else 0
        left = self._end + RECIPIENT_SECONDS * recipients - time.monotonic()
        if left <= 0:
            raise TimedOut("no login and no message")
        return min(left, self._idle)

    def _message_came(self):
        """A message came: restart the time for the next one."""
        self._end = time.monotonic() + self._idle
        self._connection.visit.served()

    def _read_data(self, step):
        self._reply(step.wire)
        connection, content = self._connection, self._session.content
        pace = _Pace(connection, self._command)
        unstuffer = Unstuffer()
        while True:
            data, done, rest = unstuffer.feed(connection.read_chunk())
            if data:
                content(data)
            if done:
                connection.unread(rest)
                step = self._session.content_ended(unstuffer.bare_cr_or_lf)
                self._message_came()
                return step
            pace.add(len(data))

    def _read_octets(self, step):
        self._reply(step.wire)
        pace = _Pace(self._connection, self._command)
        self._end += step.count / SLOWEST

        def take(data):
            self._session.octets(data)
            pace.add(len(data))
        self._connection.read_exactly(step.count, take)
        step = self._session.chunk_ended()
        if self._session.transaction is None:
            self._message_came()
        return step

    def _discard(self, step):
        self._reply(b"")
        self._end += step.count / SLOWEST
        pace = _Pace(self._connection, self._command)
        self._connection.read_exactly(step.count, lambda data: pace.add(len(data)))
        return step._replace(then=Then.COMMAND, count=0)

    def _start_tls(self, step):
        try:
            context = self._certificates.context()
        except CertificateError as error:
            log.error("STARTTLS: %s", error)
            return answered(replies.NO_CERTIFICATE)
        self._waiting.append(step.wire)
        self._flush(self._command)
        self._connection.start_tls(context)
        self._session.tls_started(self._connection.tls_info())
        return Step(b"")


# Plain functions: bound methods would make a reference cycle, which keeps a connection's memory
# until the next garbage collection.
_ACTIONS = {Then.COMMAND: Handler._read_command, Then.DATA: Handler._read_data,
            Then.OCTETS: Handler._read_octets, Then.DISCARD: Handler._discard,
            Then.TLS: Handler._start_tls}


class _Pace:
    """A connection's deadline: `seconds`, extended by the time of each octet at `SLOWEST`."""

    def __init__(self, connection, seconds):
        self._connection = connection
        self._end = time.monotonic() + seconds
        connection.set_deadline(seconds)

    def add(self, octets):
        self._end += octets / SLOWEST
        self._connection.set_deadline(max(0.0, self._end - time.monotonic()))
