"""One client's conversation as a state machine: a line in, a `Step` out.

RFC 5321 3 and 4.1.4, RFC 2033 (LMTP), 3030 (BDAT), 4954 (AUTH).  Knows no socket
and no file: the handler brings lines and octets and does what a step says.  What a
command means stands in `commands`; here is what holds for all of them: states,
errors counted, the AUTH exchange, the answers to a message, and the order of checks:
the verb is known, its arguments parse, the state allows it, it may be used without
a login, it runs.
"""
import enum
import logging
from binascii import b2a_base64
from typing import Any, Callable, FrozenSet, Mapping, NamedTuple

from ..accounts import sasl
from ..delivery import trace
from ..mail.reply import Reply
from . import grammar, replies, transaction
from .replies import wire

log = logging.getLogger("phenmail.smtp")


class State(enum.Enum):
    """Where the conversation stands; a command's row names the states it is allowed in.  The text is told to who says another."""
    START = "not greeted yet"
    READY = "MAIL is expected first"
    SENDER = "RCPT is expected, or RSET"
    RECIPIENTS = "another RCPT, DATA or BDAT is expected, or RSET"
    CHUNKS = "another BDAT is expected, or RSET"
    EXCHANGE = "an AUTH exchange: the next line is a response"

    __hash__ = object.__hash__  # by identity, in C: asked several times a command


class Then(enum.Enum):
    """What the handler does after the replies."""
    COMMAND = "read the next line"
    DATA = "read up to the end mark into `Session.content`, then call `Session.content_ended`"
    OCTETS = "read `count` octets into `Session.octets`, then call `Session.chunk_ended`"
    DISCARD = "read `count` octets and drop them, before the replies are sent"
    TLS = "send the replies, start TLS, then call `Session.tls_started`"
    CLOSE = "send the replies and close"

    __hash__ = object.__hash__


class Step(NamedTuple):
    """What comes of a line: replies as wire bytes, then what."""
    wire: bytes
    then: Then = Then.COMMAND
    count: int = 0


def answered(*given, then=Then.COMMAND):
    """Replies -> Step."""
    return Step(b"".join([wire(reply) for reply in given]), then)


class Command(NamedTuple):
    """One row of the table of commands.

    `parse(argument bytes) -> value` raises GrammarError; `run(session, value) -> Step`.
    `login`: not before AUTH, where the service wants one.  `long`: its line may have the
    length that RFC 4954 asks for, not RFC 5321's.  `octets`: octets follow the line, so one
    that does not parse ends the connection.  `syntax` is shown by HELP.
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
    """What a listener offers; one for all its sessions.

    `base`: "SMTP" or "LMTP".  `table`: {verb: Command}.  `router`: delivery.router.Router.
    `mechanisms(tls, plaintext_ok) -> names` and `start(mechanism, peer) -> dialogue` are accounts.sasl's.
    `certificate`: whether STARTTLS is there.  `message_size` octets.  `line`: octets of a long line.
    """
    base: str
    table: Mapping[bytes, Command]
    router: Any
    mechanisms: Callable
    start: Callable
    certificate: bool = False
    login_required: bool = False
    plaintext_auth: bool = False
    message_size: int = 128 << 20
    recipients: int = 1000
    errors: int = 10
    login_failures: int = 3
    line: int = 12288


# How a login fails -> code and enhanced code (RFC 4954 6).
_FAILURES = {sasl.SYNTAX: (501, "5.5.2"), sasl.REFUSED: (535, "5.7.8"), sasl.TEMPORARY: (454, "4.7.0")}

# RFC 5321 4.5.3.1.4 has 512 octets, and extensions add to it (SMTPUTF8, DSN: RFC 3461 and 6531).
COMMAND_LINE = 2048


class Session:
    """State of one connection.  `peer` is (host, port); `tls` is (version, cipher) or None."""

    __slots__ = ("service", "peer", "tls", "state", "helo", "extended", "account", "transaction", "dialogue",
                 "errors", "failures", "_loopback", "_origins")

    def __init__(self, service, peer, loopback=False, tls=None):
        self.service = service
        self.peer = peer
        self.tls = tls
        self.account = None
        self.transaction = None
        self.dialogue = None
        self.errors = 0
        self.failures = 0
        self._loopback = loopback
        self.state = State.START
        self.forget_greeting()

    # -- what the handler calls --------------------------------------------------------------------------------------------

    def banner(self):
        return answered(Reply(220, "", "%s %s phenmail" % (self.service.router.host, self._extended_name())))

    def _extended_name(self):
        return "LMTP" if self.service.base == "LMTP" else "ESMTP"

    def line(self, line):
        """A line with its end -> Step."""
        if self.state is State.EXCHANGE:
            return self._counted(self._response, line)
        return self._counted(self._command, line)

    def _counted(self, take, line):
        try:
            step = take(line)
        except grammar.GrammarError as error:
            return self.error(error.reply)
        if step.wire.startswith(b"2") and (self.account is not None or self.service.base == "LMTP"):
            self.errors = 0
        return step

    def error(self, reply, then=Then.COMMAND):
        """The client did something wrong -> Step; too many such errors in a row end the session.

        For strangers only an accepted message ends the row, not NOOP: they must not guess recipients forever.
        """
        self.errors += 1
        if self.errors >= self.service.errors:
            return answered(reply, replies.TOO_MANY_ERRORS, then=Then.CLOSE)
        return answered(reply, then=then)

    def line_too_long(self):
        """A line was longer than any may be; it was dropped -> Step."""
        return self.error(replies.LINE_TOO_LONG if self._end_exchange() is None else replies.RESPONSE_TOO_LONG)

    def refused(self, reply, address):
        """A sender or recipient (Address) is not taken -> Step.  Strangers who try one after the other are lost, or guessing."""
        log.info("%s: <%s> refused: %d %s %s", self.peer[0], address, reply.code, reply.enhanced, reply.text)
        if reply.code < 500 or self.account is not None or self.service.base == "LMTP":
            return answered(reply)
        return self.error(reply)

    def _command(self, line):
        verb, argument = grammar.split(line)
        command = self.service.table.get(verb)
        if command is None:
            return self.error(Reply(500, "5.5.1", "Unknown command, HELP lists those there are"))
        then = Then.CLOSE if command.octets else Then.COMMAND  # octets that nobody counted must not be read as commands
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
            return replies.GREET_FIRST if self.state is State.START else Reply(503, "5.5.1", "Not now: %s" % self.state.value)
        if command.login and self.service.login_required and self.account is None:
            return replies.LOGIN_FIRST if self.mechanisms() else replies.TLS_FIRST
        return None

    def discarding(self, step, count):
        """The octets that follow a refused BDAT are read and dropped, so that they are not taken for commands."""
        if step.then is Then.CLOSE or count > self.service.message_size + transaction.DRAINED:
            return step._replace(then=Then.CLOSE)
        return step._replace(then=Then.DISCARD, count=count)

    # -- who the client is -------------------------------------------------------------------------------------------------

    def forget_greeting(self):
        """As if EHLO was never said."""
        self.reset()
        self.state = State.START
        self.helo = ""
        self.extended = False
        self._origins = {}

    def greeted(self, helo, extended):
        """EHLO, HELO, LHLO: RFC 5321 4.1.4, a transaction that was under way is gone."""
        self.forget_greeting()
        self.state = State.READY
        self.helo = helo
        self.extended = extended

    def tls_started(self, tls):
        """RFC 3207 4.2: nothing that was learnt before counts."""
        self.tls = tls
        self.account = None
        self.forget_greeting()

    def mechanisms(self):
        """The SASL mechanisms that may be used now -> tuple of names."""
        service, tls = self.service, self.tls is not None
        return service.mechanisms(tls, self._loopback or service.plaintext_auth)

    def _response(self, line):
        """A line inside an AUTH exchange (RFC 4954 4)."""
        dialogue = self._end_exchange()
        response = grammar.parse_response(line)
        if response is None:
            return self.error(replies.AUTH_CANCELLED)
        return self.exchange(dialogue, response)

    def _end_exchange(self):
        dialogue, self.dialogue = self.dialogue, None
        if self.state is State.EXCHANGE:
            self.state = State.READY
        return dialogue

    def exchange(self, dialogue, response):
        """Give a SASL dialogue a response (None: there is none yet), and say what it says."""
        result = dialogue.step(response)
        if isinstance(result, sasl.Challenge):
            self.state = State.EXCHANGE
            self.dialogue = dialogue
            return answered(Reply(334, "", b2a_base64(result.data, newline=False).decode("ascii")))
        if isinstance(result, sasl.Success):
            self.account = result.account
            self._origins = {}
            return answered(replies.AUTHENTICATED)
        return self._refused(Reply(*_FAILURES[result.kind], result.text))

    def _refused(self, reply):
        """A login failed; few such failures end the connection, so that guessing costs a connection each time."""
        self.failures += 1
        if self.failures >= self.service.login_failures:
            return answered(reply, replies.TOO_MANY_LOGINS, then=Then.CLOSE)
        return self.error(reply)

    # -- a message ---------------------------------------------------------------------------------------------------------

    def reset(self):
        """RSET, and whatever has its effect: the transaction is gone."""
        if self.transaction is not None:
            self.transaction.abort()
            self.transaction = None
        if self.state is not State.START:
            self.state = State.READY

    def content(self, data):
        """Octets of the message, taken off their stuffing (DATA).  Raises transaction.TooMuch."""
        self.transaction.content(data)

    def octets(self, data):
        """Octets of the message as they are (BDAT).  Raises transaction.TooMuch."""
        self.transaction.octets(data)

    def content_ended(self, bare_cr_or_lf):
        """The end mark of DATA came -> Step with the answers."""
        if bare_cr_or_lf:
            self.transaction.refuse(replies.BARE_LINE_END)
        return self._finished(self.service.base == "LMTP")

    def chunk_ended(self):
        """The octets of one BDAT came -> Step.  RFC 3030 2: after a refusal nothing is left of the transaction.

        RFC 2033 4.3: only the last one has an answer for each recipient.
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
        """Where messages of this connection come from -> trace.Origin, one for each spelling of the protocol."""
        smtputf8 = self.transaction.mail.smtputf8
        origin = self._origins.get(smtputf8)
        if origin is None:
            base = self._extended_name() if self.extended else "SMTP"
            account = self.account
            name = trace.protocol_name(base, self.tls is not None, account is not None, smtputf8)
            origin = trace.Origin(name, self.helo, self.peer[0], self.tls, account.name if account else None)
            self._origins[smtputf8] = origin
        return origin
