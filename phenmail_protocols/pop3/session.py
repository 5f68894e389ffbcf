"""One client's conversation as a state machine: a line in, a `Step` out.

RFC 1939 3 to 6, RFC 5034 (the AUTH exchange).  Knows no socket and no file: the handler
brings lines and does what a step says.  What a command means stands in `commands`; here
is what holds for all of them: states, errors counted, logins, and the order of checks:
the keyword is known, its argument parses, the state allows it, it runs.
"""
import enum
import logging
from typing import Any, Callable, FrozenSet, Iterable, Mapping, NamedTuple, Optional

from ..accounts import sasl
from ..accounts.login import LoginFailed
from ..store import errors
from . import grammar, replies
from .maildrop import open_maildrop

log = logging.getLogger("phenmail.pop3")


class State(enum.Enum):
    """Where the conversation stands; a command's row names the states it is allowed in."""
    AUTHORIZATION = "nobody is logged in"
    EXCHANGE = "an AUTH exchange: the next line is a response"
    TRANSACTION = "logged in, the maildrop is open"
    UPDATE = "QUIT was said, or the session is over"


class Then(enum.Enum):
    """What the handler does after the reply."""
    COMMAND = "read the next line"
    TLS = "send the reply, start TLS, then call `Session.tls_started`"
    CLOSE = "send the reply and close"


class Step(NamedTuple):
    """What comes of a line: a reply as wire bytes, what follows it, then what.

    `content`: a store.content.Content whose text follows, stuffed, and which the handler
    closes; `excerpt` makes of its chunks those that are sent, None is all of them.
    """
    wire: bytes
    then: Then = Then.COMMAND
    content: Any = None
    excerpt: Optional[Callable[[Iterable], Iterable]] = None


def answered(reply, then=Then.COMMAND):
    """A Reply -> Step."""
    return Step(reply.wire, then)


class CommandFailed(Exception):
    """A command can't be carried out; `reply` says why.  `counts`: it was the client's mistake."""

    def __init__(self, reply, counts=True):
        super().__init__(reply.text)
        self.reply = reply
        self.counts = counts


class Command(NamedTuple):
    """One row of the table of commands.

    `parse(argument bytes) -> value` raises GrammarError; `run(session, value) -> Step`
    raises CommandFailed or StoreError.  `long`: its line may be longer than RFC 2449 4 says.
    `secret`: its argument is never logged.
    """
    name: bytes
    states: FrozenSet[State]
    parse: Callable[[bytes], Any]
    run: Callable
    long: bool = False
    secret: bool = False


class Service(NamedTuple):
    """What a listener offers; one for all its sessions.

    `table`: {keyword: Command}.  `directory`: accounts.directory.Directory.  `store`:
    store.filestore.FileStore.  `limits`: config.settings.Limits.  `tls_context()` ->
    ssl.SSLContext, or None where STLS is not offered.  `plaintext_auth`: passphrases in
    the clear are taken off the loopback, too.  `host`: our name, for challenges.
    `implementation`: what CAPA says of us.  `debug`: log every command, without secrets.
    """
    table: Mapping[bytes, Command]
    directory: Any
    store: Any
    limits: Any
    tls_context: Optional[Callable] = None
    plaintext_auth: bool = False
    host: str = "localhost"
    implementation: str = "phenmail"
    debug: bool = False


# RFC 2449 4 has 255 octets.
COMMAND_LINE = 255

_WRONG_STATE = {State.AUTHORIZATION: replies.LOG_IN_FIRST, State.TRANSACTION: replies.LOGGED_IN}


class Session:
    """State of one connection.  `peer` is (host, port); `loopback`: it is on this machine.

    `look()` is called by long work for each message: it raises what ends the connection when the
    client is gone or the server stops, and CommandFailed when the command has taken too long.
    `look(False)` does not mind that the client is gone.
    """

    __slots__ = ("service", "peer", "tls", "state", "name", "stamp", "account", "maildrop", "dialogue",
                 "errors", "failures", "look", "_loopback")

    def __init__(self, service, peer, loopback=False, tls=False, look=lambda peer=True: None):
        self.service = service
        self.peer = peer
        self.tls = tls
        self.state = State.AUTHORIZATION
        self.name = None  # what USER said
        self.stamp = None  # the greeting's timestamp, where APOP is offered
        self.account = None
        self.maildrop = None
        self.dialogue = None
        self.errors = 0
        self.failures = 0
        self.look = look
        self._loopback = loopback

    # -- what the handler calls --------------------------------------------------------------------------------------------

    def greeting(self):
        """RFC 1939 4 and 7: with a timestamp, APOP is offered."""
        text = "phenmail is ready"
        if sasl.offers_apop(self.service.directory):
            self.stamp = sasl.timestamp(self.service.host)
            text += " " + self.stamp.decode("ascii")
        return answered(replies.ok(text))

    def line(self, line):
        """A line with its end -> Step."""
        step = self._taken(line)
        if self.service.debug and self.state is not State.EXCHANGE:
            log.info("%s: %s", self._who, step.wire.partition(b"\r\n")[0].decode("ascii"))
        return step

    def _taken(self, line):
        take = self._response if self.state is State.EXCHANGE else self._command
        try:
            step = take(line)
            if step.wire.startswith(b"+OK"):
                self.errors = 0
            return step
        except grammar.GrammarError as wrong:
            return self._mistake(replies.error(wrong.text))
        except CommandFailed as refusal:
            return self._mistake(refusal.reply) if refusal.counts else answered(refusal.reply)
        except errors.StoreError as failure:
            return answered(replies.of_store_error(failure))

    def line_too_long(self):
        """A line was longer than any may be; it was dropped -> Step."""
        self._end_exchange()
        return self._mistake(replies.LINE_TOO_LONG)

    def failed(self):
        """Something broke that nobody foresaw; the log has the rest -> Step."""
        self._end_exchange()
        return answered(replies.INTERNAL, Then.CLOSE if self.state is State.UPDATE else Then.COMMAND)

    def tls_started(self):
        """RFC 2595 4: nothing that was learnt before counts."""
        self.tls = True
        self.name = None

    def close(self):
        """The conversation is over, however it ended; nothing is removed by that (RFC 1939 6)."""
        self.state = State.UPDATE
        self._leave()

    # -- commands ----------------------------------------------------------------------------------------------------------

    def _command(self, line):
        keyword, argument = grammar.split(line)
        command = self.service.table.get(keyword)
        self._log(command, argument)
        if command is None:
            return self._mistake(replies.UNKNOWN)
        if len(line) > COMMAND_LINE and not command.long:
            return self._mistake(replies.LINE_TOO_LONG)
        value = command.parse(argument)
        if self.state not in command.states:
            return self._mistake(_WRONG_STATE[self.state])
        return command.run(self, value)

    def _log(self, command, argument):
        """An unknown keyword is not shown: people type passphrases there.  What is shown is escaped: nobody writes our lines."""
        if self.service.debug:
            shown = "…" if command is None else command.name.decode("ascii")
            if command is not None and argument:
                shown += " …" if command.secret else " " + repr(argument)[2:-1]
            log.info("%s: %s", self._who, shown)

    @property
    def _who(self):
        return "%s@%s" % (self.account.name if self.account else "-", self.peer[0])

    def _mistake(self, reply):
        """The client did something wrong -> Step; too many such errors in a row end the session."""
        self.errors += 1
        if self.errors >= self.service.limits.errors:
            return answered(replies.TOO_MANY_ERRORS, Then.CLOSE)
        return answered(reply)

    # -- logging in --------------------------------------------------------------------------------------------------------

    @property
    def may_send_secrets(self):
        """Whether a passphrase in the clear is taken on this connection."""
        return self.tls or self._loopback or self.service.plaintext_auth

    def mechanisms(self):
        """The SASL mechanisms that may be used now -> tuple of names."""
        return sasl.mechanisms(self.service.directory, self.tls, self._loopback or self.service.plaintext_auth)

    def credentials(self):
        """What the dialogues ask about users (accounts.login.Login)."""
        return self.service.directory.login(self.peer)

    def _response(self, line):
        dialogue = self._end_exchange()
        response = grammar.parse_response(line)
        if response is None:
            return self._mistake(replies.AUTH_CANCELLED)
        return self.exchange(dialogue, response)

    def _end_exchange(self):
        dialogue, self.dialogue = self.dialogue, None
        if self.state is State.EXCHANGE:
            self.state = State.AUTHORIZATION
        return dialogue

    def exchange(self, dialogue, response):
        """Give a SASL dialogue a response (None: there is none yet) -> Step."""
        result = dialogue.step(response)
        if isinstance(result, sasl.Challenge):
            self.state = State.EXCHANGE
            self.dialogue = dialogue
            return Step(b"+ " + sasl.encode(result.data) + b"\r\n")
        return self.settled(result)

    def log_in(self, passphrase):
        """PASS: the name that USER gave, with a passphrase (str) -> Step."""
        name, self.name = self.name, None
        try:
            account = self.credentials().plain(name, passphrase)
        except LoginFailed as refused:
            return self.settled(sasl.Failure(refused.text, sasl.TEMPORARY if refused.temporary else sasl.REFUSED))
        return self.settled(sasl.Success(account))

    def settled(self, result):
        """The end of a login, a sasl.Success or Failure -> Step.

        Raises StoreError when the maildrop can't be had; the client may then log in again.
        """
        if isinstance(result, sasl.Success):
            return self._enter(result.account)
        if result.kind == sasl.SYNTAX:
            return self._mistake(replies.error(result.text))
        return self._refused(replies.error(result.text, replies.TEMPORARY if result.kind == sasl.TEMPORARY else replies.AUTH))

    def _refused(self, reply):
        """A login failed; few such failures end the connection, so that guessing costs a connection each time."""
        self.failures += 1
        if self.failures >= self.service.limits.login_failures:
            return answered(replies.TOO_MANY_LOGINS if reply.code == replies.AUTH else reply, Then.CLOSE)
        return self._mistake(reply)

    def _enter(self, account):
        self.maildrop = open_maildrop(self.service.store, account.folder)
        self.account = account
        self.state = State.TRANSACTION
        return answered(replies.ok("Logged in, %d messages (%d octets)" % self.maildrop.count()))

    # -- the maildrop ------------------------------------------------------------------------------------------------------

    def check_number(self, number):
        """Raises CommandFailed unless a message has this number and is not marked as deleted."""
        if not 1 <= number <= len(self.maildrop):
            raise CommandFailed(replies.NO_MESSAGE)
        if self.maildrop.is_deleted(number):
            raise CommandFailed(replies.DELETED)

    def leave(self):
        """QUIT in the TRANSACTION state: enter UPDATE -> (messages removed, messages that could not
        be).

        A client that said QUIT need not wait until its messages are removed.  Raises CommandFailed where
        that takes too long.
        """
        self.state = State.UPDATE
        try:
            return self.maildrop.update(lambda: self.look(False))
        finally:
            self._leave()

    def _leave(self):
        """Others may have the maildrop before our client hears the last reply: it may connect again at once."""
        maildrop, self.maildrop = self.maildrop, None
        if maildrop is not None:
            maildrop.close()
