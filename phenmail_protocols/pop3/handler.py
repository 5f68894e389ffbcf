"""A POP3 connection: sends replies and messages.

An idle timeout ends a connection without a reply and without removing messages (RFC 1939 3).
"""
import logging

from ..net.dots import stuff
from ..net.errors import Overdue, Stopping
from ..protocol import handler as shared
from ..protocol.output import Output
from ..protocol.session import OutOfStep
from . import replies
from .commands import TABLE
from .session import CommandFailed, Service, Session, Step, Then

log = logging.getLogger("phenmail.pop3")

SMALL = 262144  # octets of a message that is read at once
SLOWEST = 1024  # octets a second


def make(directory, store, limits, tls_context=None, plaintext_auth=False, host="localhost",
         implementation="phenmail", debug=False):
    """-> what a net.listener calls with each Connection; the arguments are session.Service's."""
    service = Service(TABLE, directory, store, limits, tls_context, plaintext_auth, host,
                      implementation, debug)

    def handle(connection):
        Handler(connection, service).run()
    return handle


def _overdue():
    return CommandFailed(replies.TOO_LONG, counts=False)


class Handler(shared.Handler):
    """One connection."""

    log = log
    NEXT = Step(b"")
    STOPPING = replies.STOPPING.wire

    ACTIONS = {Then.COMMAND: shared.Handler.run_line, Then.TLS: shared.Handler.start_tls}

    def __init__(self, connection, service):
        limits, output = service.limits, Output(connection, SLOWEST, _overdue)
        session = Session(service, connection.peer, connection.is_loopback, connection.tls_info(),
                          output.look)
        super().__init__(connection, limits, limits.pop_idle_timeout, output, session)
        connection.read_timeout = self.idle_timeout

    def send(self, step):
        """Write a reply, and the message that follows it."""
        write = self.output.write
        write(step.wire)
        if step.content is not None:
            with step.content as content:
                if content.size <= SMALL:
                    chunks = (content.whole(),)
                else:
                    chunks = self._chunks(content)
                for chunk in stuff(chunks if step.excerpt is None else step.excerpt(chunks)):
                    write(chunk)

    def _chunks(self, content):
        for chunk in content.chunks():
            try:
                self.connection.look()
            except (Overdue, Stopping) as error:
                raise OutOfStep("a message is incomplete: %s" % error) from None
            yield chunk
