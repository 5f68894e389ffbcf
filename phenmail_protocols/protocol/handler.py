"""One connection of SMTP, POP3 or IMAP: all its input and output, from the greeting to the end.

The connection's thread calls `run`, which returns when the connection can be closed. Timeouts:

1. A client must log in within one fixed time; sending commands does not extend it. After the
   login it may be idle for `idle_timeout` before each command.
2. A command has `command_timeout` from its last line to its last reply, plus some time for each
   octet that it transfers (`output`).
3. When the server closes the connection after a timeout or because it stops, the client has
   `GOODBYE` seconds to receive the last reply.
"""
import logging
from time import monotonic

from ..net.errors import Disconnected, LineTooLong, Stopping, TimedOut
from .pipelining import flush_unless_pipelining
from .session import OutOfStep, TooMuchInput

GOODBYE = 1.0  # seconds


class Handler:
    """`session`: a protocol.session.Session of the subclass's kind; `output`: its Output.

    The session must not refer to the handler: in a reference cycle, a connection's memory would
    wait for the garbage collector. So ACTIONS has plain functions, and the session gets methods
    of `output`.
    """

    log = logging.getLogger("phenmail")  # a subclass has the logger of its room

    # {`then` of a step: function (handler, step) -> the next step}; any other ends the conversation
    ACTIONS = {}

    NEXT = None  # the step that only reads the next command

    # The last reply, as wire bytes; b"" for none.
    STOPPING = IDLE = TOO_MUCH = INTERNAL = b""

    def __init__(self, connection, limits, idle_timeout, output, session):
        self.connection = connection
        self.limits = limits
        self.idle_timeout = idle_timeout
        self.output = output
        self.session = session
        self.login_end = monotonic() + limits.login_timeout

    def run(self):
        """Serve the connection to its end; then the listener closes it."""
        try:
            self._converse()
        except Stopping:
            self._say_goodbye(self.STOPPING)
        except TimedOut:
            self._say_goodbye(self.IDLE)
        except TooMuchInput:
            self._say_goodbye(self.TOO_MUCH)
        except OutOfStep as error:
            self.log.warning("closing the connection of %s inside a reply: %s",
                             self.session.who, error)
        except Disconnected:
            pass
        except Exception:
            self.log.exception("internal error, closing the connection of %s", self.session.who)
            self._say_goodbye(self.INTERNAL)
        finally:
            self.session.close()

    def _converse(self):
        self.connection.set_deadline(self.limits.command_timeout)
        actions = self.ACTIONS
        step = self.session.greeting()
        while step.then in actions:
            step = actions[step.then](self, step)
        self.send(step)
        self.output.flush()

    def _say_goodbye(self, wire):
        if wire:
            try:
                self.connection.set_deadline(GOODBYE)
                self.output.write(wire)
                self.output.flush()
            except Disconnected:
                pass

    def send(self, step):
        """Write a step's reply to the output."""
        self.output.write(step.wire)

    def patience(self, extra=0):
        """Seconds to wait for the next command. Raises TimedOut.

        `extra`: seconds after `login_end` that a client without a login still has.
        """
        account = self.session.account
        if account is not None:
            self.connection.visit.logged_in(account.folder)
            return self.idle_timeout
        left = self.login_end + extra - monotonic()
        if left <= 0:
            raise TimedOut("no login")
        return left

    def run_line(self, step):
        """The action of SMTP and POP3: reply, then read the next line and run it."""
        self.send(step)
        flush_unless_pipelining(self.connection, self.output)
        connection = self.connection
        connection.set_deadline(self.patience())
        try:
            line = connection.read_line(self.limits.line)
        except LineTooLong:
            return self.session.line_too_long()
        finally:
            connection.set_deadline(self.limits.command_timeout)
        return self.guarded(self.session.line, line)

    def guarded(self, run, *arguments):
        """Call the session -> step. An unexpected error is logged; the client gets no details."""
        try:
            return run(*arguments)
        except (Disconnected, TooMuchInput):
            raise
        except Exception:
            self.log.exception("internal error in a command of %s", self.session.who)
            return self.session.failed()

    def start_tls(self, step):
        """STARTTLS, STLS. The connection drops what the client sent before the handshake, so that
        nobody can inject commands (RFC 3207 4.2, RFC 2595 4, RFC 3501 6.2.1)."""
        self.send(step)
        self.output.flush()
        context, self.session.tls_context = self.session.tls_context, None
        self.connection.start_tls(context)
        self.session.tls_started(self.connection.tls_info())
        return self.NEXT
