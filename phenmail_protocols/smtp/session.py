"""One client's conversation as a state machine: a line in, a `Step` out.

RFC 5321 3 and 4.1.4, RFC 2033 (LMTP), 3030 (BDAT), 4954 (AUTH). Knows no socket and no file.
`commands` has the single commands; this file has what they share: states, errors, the replies to a
login and to a message. A command is checked in this order: the verb is known, the arguments
parse, the state allows it, no login is missing.
"""
import enum
import logging
from typing import Any, Callable, FrozenSet, Mapping, NamedTuple, Optional

from ..accounts import sasl
from ..config.settings import Limits
from ..delivery import trace
from ..mail.reply import Reply
from ..protocol import session as shared
from . import grammar, replies, transaction
from .replies import wire

log = logging.getLogger("phenmail.smtp")


class State(enum.Enum):
    """The state of the conversation. The reply to a command out of sequence has its text."""
    START = "not greeted yet"
    READY = "MAIL is expected first"
    SENDER = "RCPT is expected, or RSET"
    RECIPIENTS = "another RCPT, DATA or BDAT is expected, or RSET"
    CHUNKS = "another BDAT is expected, or RSET"

    __hash__ = object.__hash__  # by identity, in C: asked several times a command


class Then(enum.Enum):
    """What the handler does after the replies."""
    COMMAND = "read the next line"
    DATA = "read up to the end mark into `Transaction.content`, then call `Session.content_ended`"
    OCTETS = "read `count` octets into `Transaction.octets`, then call `Session.chunk_ended`"
    DISCARD = "read `count` octets and drop them, before the replies are sent"
    TLS = "send the replies, start TLS, then call `Session.tls_started`"
    CLOSE = "send the replies and close"

    __hash__ = object.__hash__


class Step(NamedTuple):
    """The result of a line: replies as wire bytes, and what the handler does next."""
    wire: bytes
    then: Then = Then.COMMAND
    count: int = 0


def answered(*given, then=Then.COMMAND):
    """Replies -> Step."""
    return Step(b"".join([wire(reply) for reply in given]), then)


class Command(NamedTuple):
    """One row of the table of commands.

    `parse(argument bytes) -> value` raises GrammarError; `run(session, value) -> Step`. `syntax`:
    for HELP. `login`: needs AUTH first if the service requires a login. `long`: the line may have
    the length that RFC 4954 asks for instead of RFC 5321's. `octets`: octets follow the line, so a
    line that does not parse ends the connection.
    """
    name: bytes
    states: FrozenSet[State]
    parse: Callable[[bytes], Any]
    run: Callable
    syntax: str
    login: bool = False
    long: bool = False
    octets: bool = False


class Service(NamedTuple):
    """What a listener offers; one for all its sessions. See also protocol.session.Session.

    `base`: "SMTP" or "LMTP". `table`: {verb: Command}. `router`: delivery.router.Router.
    `message_size`: octets.
    """
    base: str
    table: Mapping[bytes, Command]
    router: Any
    directory: Any
    limits: Limits = Limits()
    tls_context: Optional[Callable] = None
    login_required: bool = False
    plaintext_auth: bool = False
    message_size: int = 128 << 20

    @property
    def host(self):
        """The server's own name."""
        return self.router.host


# Why a login failed -> code and enhanced code (RFC 4954 4 and 6).
_FAILURES = {sasl.SYNTAX: (501, "5.5.2"), sasl.REFUSED: (535, "5.7.8"),
             sasl.TEMPORARY: (454, "4.7.0"), shared.CANCELLED: (501, "5.7.0"),
             shared.TOO_LONG: (500, "5.5.6")}

# RFC 5321 4.5.3.1.4 has 512 octets, and extensions add to it (SMTPUTF8, DSN: RFC 3461 and 6531).
COMMAND_LINE = 2048


class Session(shared.Session):
    """State of one connection."""

    __slots__ = ("state", "helo", "extended", "transaction", "_origins")
    log = log
    sending = True

    def __init__(self, service, peer, loopback=False, tls=None):
        super().__init__(service, peer, loopback, tls)
        self.transaction = None
        self.state = State.START
        self.forget_greeting()

    # What the handler calls

    def greeting(self):
        """RFC 5321 4.2: the server speaks first."""
        return answered(Reply(220, "", "%s %s phenmail" % (
            self.service.host, self._extended_name())))

    def _extended_name(self):
        return "LMTP" if self.service.base == "LMTP" else "ESMTP"

    def line(self, line):
        """A line with its line end -> Step."""
        try:
            if self.dialogue is not None:
                step = self.response(grammar.without_crlf(line))
            else:
                step = self._command(line)
        except grammar.GrammarError as error:
            self.dialogue = None
            return self.error(error.reply)
        if step.wire.startswith(b"2") and self._is_trusted():
            self.errors = 0
        return step

    def _is_trusted(self):
        """Whether the client logged in, or is the server in front, which has checked its own."""
        return self.account is not None or self.service.base == "LMTP"

    def error(self, reply, then=Then.COMMAND):
        """A mistake of the client -> Step; too many of them in a row end the session.

        For clients without a login, only an accepted message ends the row, not NOOP; otherwise they
        could guess recipients forever.
        """
        self.errors += 1
        if self.errors >= self.service.limits.errors:
            return answered(reply, replies.TOO_MANY_ERRORS, then=Then.CLOSE)
        return answered(reply, then=then)

    def line_too_long(self):
        """A line exceeded every limit and was dropped -> Step."""
        if self.dialogue is not None:
            return self.response_too_long()
        return self.error(replies.LINE_TOO_LONG)

    def failed(self):
        """A command raised an unexpected error -> Step."""
        return answered(replies.INTERNAL, then=Then.CLOSE)

    def close(self):
        """The conversation is over, however it ended."""
        self.reset()

    def refused(self, reply, address):
        """A sender or recipient (Address) is refused -> Step.

        It counts as an error for clients without a login, who may be guessing addresses.
        """
        log.info("%s: <%s> refused: %d %s %s", self.peer[0], address, reply.code, reply.enhanced,
                 reply.text)
        if reply.code < 500 or self._is_trusted():
            return answered(reply)
        return self.error(reply)

    def _command(self, line):
        verb, argument = grammar.split(line)
        command = self.service.table.get(verb)
        if command is None:
            return self.error(replies.UNKNOWN_COMMAND)
        # After a bad BDAT the number of octets is unknown; they must not be read as commands.
        then = Then.CLOSE if command.octets else Then.COMMAND
        if len(line) > COMMAND_LINE and not command.long:
            return self.error(replies.LINE_TOO_LONG, then)
        try:
            value = command.parse(argument)
        except grammar.GrammarError as error:
            return self.error(error.reply, then)
        reply = self._misplaced(command)
        if reply is None:
            return command.run(self, value)
        step = self.error(reply)
        return self.discarding(step, value.size) if command.octets else step

    def _misplaced(self, command):
        """Why a command may not run now -> Reply, or None."""
        if self.state not in command.states:
            if self.state is State.START:
                return replies.GREET_FIRST
            return Reply(503, "5.5.1", "Bad sequence of commands: %s" % self.state.value)
        if command.login and self.service.login_required and self.account is None:
            return replies.LOGIN_FIRST if self.mechanisms() else replies.TLS_FIRST
        return None

    def discarding(self, step, count):
        """Drop the octets that follow a refused BDAT, so that they are not read as commands."""
        if step.then is Then.CLOSE or count > self.service.message_size + transaction.DRAINED:
            return step._replace(then=Then.CLOSE)
        return step._replace(then=Then.DISCARD, count=count)

    # Greeting and login

    def forget_greeting(self):
        """Back to the state before EHLO."""
        self.reset()
        self.state = State.START
        self.helo = ""
        self.extended = False
        self._origins = {}

    def greeted(self, helo, extended):
        """EHLO, HELO, LHLO; ends a transaction (RFC 5321 4.1.4)."""
        self.forget_greeting()
        self.state = State.READY
        self.helo = helo
        self.extended = extended

    def tls_started(self, tls):
        """TLS is active: forget what the client said before (RFC 3207 4.2)."""
        super().tls_started(tls)
        self.account = None
        self.forget_greeting()

    def mechanisms(self):
        """RFC 2033: the network or the socket's mode decides who may use LMTP, so no AUTH."""
        return () if self.service.base == "LMTP" else super().mechanisms()

    def challenge(self, challenge):
        """The server's part of an AUTH exchange, in base64 -> Step."""
        return Step(b"334 " + challenge + b"\r\n")

    def logged_in(self, account):
        """AUTH succeeded -> Step."""
        self.account = account
        self._origins = {}
        return answered(replies.AUTHENTICATED)

    def login_failed(self, failure):
        """AUTH failed -> Step."""
        reply = Reply(*_FAILURES[failure.kind], failure.text)
        if self.has_too_many_failed_logins:
            return answered(reply, replies.TOO_MANY_LOGINS, then=Then.CLOSE)
        return self.error(reply)

    # A message

    def reset(self):
        """Abort the transaction: RSET, and commands that have its effect."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None
        if self.state is not State.START:
            self.state = State.READY

    def content_ended(self, bare_cr_or_lf):
        """The final dot of DATA came -> Step."""
        if bare_cr_or_lf:
            self.transaction.refuse(replies.BARE_LINE_END)
        return self._finished(self.service.base == "LMTP")

    def chunk_ended(self):
        """The octets of one BDAT came -> Step.

        A refusal ends the transaction (RFC 3030 2). In LMTP only the last BDAT has a reply for
        each recipient (RFC 2033 4.3).
        """
        last = self.transaction.last
        if last or self.transaction.refusal is not None:
            return self._finished(last and self.service.base == "LMTP")
        return answered(replies.CHUNK_OK)

    def _finished(self, apart):
        ended, self.transaction = self.transaction, None
        self.state = State.READY
        given = ended.finish(apart)
        if any(reply.code < 300 for reply in given):
            self.errors = 0
        return answered(*given)

    def origin(self):
        """-> trace.Origin of this connection, cached with and without SMTPUTF8."""
        smtputf8 = self.transaction.mail.smtputf8
        origin = self._origins.get(smtputf8)
        if origin is None:
            base = self._extended_name() if self.extended else "SMTP"
            account = self.account
            name = trace.protocol_name(base, self.tls is not None, account is not None, smtputf8)
            origin = trace.Origin(name, self.helo, self.peer[0], self.tls,
                                  account.name if account else None)
            self._origins[smtputf8] = origin
        return origin
