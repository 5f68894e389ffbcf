"""An SMTP, submission or LMTP connection: reads lines and messages for the session.

An idle timeout ends a connection (RFC 5321 4.5.3.2). Without a login, all commands up to the next
message share that time, so that a stranger cannot hold a connection with NOOP. A message may take
as long as its octets take at a slow pace (`SLOWEST`).
"""
import logging
from time import monotonic

from ..net.dots import Unstuffer
from ..protocol import handler as shared
from ..protocol.output import Output
from ..protocol.pipelining import flush_unless_pipelining
from . import commands, replies
from .session import Service, Session, Step, Then

log = logging.getLogger("phenmail.smtp")

SLOWEST = 1024  # octets a second
# Seconds that each recipient adds to the time for the commands before a message: a thousand
# recipients need many round trips.
RECIPIENT_SECONDS = 5.0
PIECE = 16384  # octets of replies that are sent at once: a client may send without ever reading


def make(kind, listen, limits, directory, router, certificates=None, message_size=None):
    """-> what a net.listener calls with each Connection.

    `kind`: "smtp", "submission" or "lmtp"; `listen`: config.settings.Listen; `limits`:
    config.settings.Limits; `directory`: accounts.directory.Directory; `router`:
    delivery.router.Router; `certificates`: net.tls.Certificates or None; `message_size`:
    octets, None: that of the limits.
    """
    base = "LMTP" if kind == "lmtp" else "SMTP"
    offers_tls = certificates is not None and listen.tls != "none"
    service = Service(
        base, commands.table(base), router, directory, limits,
        tls_context=certificates.context if offers_tls else None,
        login_required=kind == "submission", plaintext_auth=listen.plaintext_auth,
        message_size=limits.message_size if message_size is None else message_size)

    def handle(connection):
        Handler(connection, service).run()
    return handle


class Handler(shared.Handler):
    """One connection."""

    log = log
    NEXT = Step(b"")
    STOPPING, IDLE, TOO_MUCH, INTERNAL = map(replies.wire, (
        replies.STOPPING, replies.IDLE, replies.TOO_LARGE, replies.INTERNAL))

    def __init__(self, connection, service):
        limits = service.limits
        session = Session(service, connection.peer, connection.is_loopback, connection.tls_info())
        output = Output(connection, SLOWEST, piece=PIECE)
        super().__init__(connection, limits, limits.smtp_idle_timeout, output, session)
        connection.read_timeout = self.idle_timeout
        if not service.login_required:
            self.login_end = monotonic() + self.idle_timeout

    def patience(self):
        """Seconds to wait for the next command: each recipient extends the time before a message.

        Raises TimedOut.
        """
        transaction = self.session.transaction
        self.connection.visit.busy = transaction is not None
        extra = RECIPIENT_SECONDS * len(transaction.recipients) if transaction is not None else 0
        return min(super().patience(extra), self.idle_timeout)

    def message_came(self, step):
        """A message came to its end: restart the time for the next one."""
        self.login_end = monotonic() + self.idle_timeout
        self.connection.visit.served()
        self.connection.set_deadline(self.limits.command_timeout)
        return step

    def read_data(self, step):
        """DATA, up to the end mark."""
        self.send(step)
        flush_unless_pipelining(self.connection, self.output)
        connection, content = self.connection, self.session.transaction.content
        unstuffer = Unstuffer()
        while True:
            data, done, rest = unstuffer.feed(connection.read_chunk())
            if data:
                content(data)
            if done:
                connection.unread(rest)
                return self.message_came(self.session.content_ended(unstuffer.bare_cr_or_lf))
            self.output.allow(len(data))

    def read_octets(self, step):
        """BDAT: a chunk of the message, whose size is known."""
        self.read_exactly(step.count, self.session.transaction.octets)
        step = self.session.chunk_ended()
        return self.message_came(step) if self.session.transaction is None else step

    def discard(self, step):
        """The octets of a refused BDAT."""
        self.read_exactly(step.count, lambda data: None)
        return step._replace(then=Then.COMMAND, count=0)

    def read_exactly(self, count, sink):
        """Give the next `count` octets to `sink`. Their time does not shorten `login_end`."""
        flush_unless_pipelining(self.connection, self.output)
        self.login_end += count / SLOWEST
        allow = self.output.allow

        def take(data):
            sink(data)
            allow(len(data))
        self.connection.read_exactly(count, take)

    ACTIONS = {Then.COMMAND: shared.Handler.run_line, Then.DATA: read_data,
               Then.OCTETS: read_octets, Then.DISCARD: discard,
               Then.TLS: shared.Handler.start_tls}
