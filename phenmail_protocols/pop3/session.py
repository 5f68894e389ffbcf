"""One client's conversation as a state machine: a line in, a `Step` out.

RFC 1939 3 to 6. Knows no socket and no file. `commands` has the single commands; this file has
what they share: states, errors, the maildrop. A command is checked in this order: the keyword is
known, its argument parses, the state allows it.
"""
import enum
import logging
from typing import Any, Callable, FrozenSet, Iterable, Mapping, NamedTuple, Optional

from ..accounts import sasl
from ..protocol import session as shared
from ..store import errors
from . import grammar, replies
from .maildrop import open_maildrop

log = logging.getLogger("phenmail.pop3")


class State(enum.Enum):
    """The states of RFC 1939 3."""
    AUTHORIZATION = "nobody is logged in"
    TRANSACTION = "logged in, the maildrop is open"
    UPDATE = "after QUIT, or the connection was lost"


class Then(enum.Enum):
    """What the handler does after the reply."""
    COMMAND = "read the next line"
    TLS = "send the reply, start TLS, then call `Session.tls_started`"
    CLOSE = "send the reply and close"


class Step(NamedTuple):
    """The result of a line: a reply as wire bytes, and what the handler does next.

    `content`: a store.content.Content whose text follows, dot-stuffed; the handler closes it.
    `excerpt`: chunks of it -> the chunks that are sent; None: all of them.
    """
    wire: bytes
    then: Then = Then.COMMAND
    content: Any = None
    excerpt: Optional[Callable[[Iterable], Iterable]] = None


def answered(reply, then=Then.COMMAND):
    """A Reply -> Step."""
    return Step(reply.wire, then)


class CommandFailed(Exception):
    """A command cannot be carried out; `reply` says why. `counts`: as an error of the client."""

    def __init__(self, reply, counts=True):
        super().__init__(reply.text)
        self.reply = reply
        self.counts = counts


class Command(NamedTuple):
    """One row of the table of commands.

    `parse(argument bytes) -> value` raises GrammarError; `run(session, value) -> Step` raises
    CommandFailed or StoreError. `long`: its line may exceed RFC 2449's limit. `secret`: its
    argument is never logged.
    """
    name: bytes
    states: FrozenSet[State]
    parse: Callable[[bytes], Any]
    run: Callable
    long: bool = False
    secret: bool = False


class Service(NamedTuple):
    """What a listener offers; one for all its sessions. See also protocol.session.Session.

    `table`: {keyword: Command}. `store`: store.filestore.FileStore. `implementation`: for CAPA.
    `debug`: log every command, without secrets.
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


COMMAND_LINE = 255  # octets (RFC 2449 4)

_WRONG_STATE = {State.AUTHORIZATION: replies.LOG_IN_FIRST, State.TRANSACTION: replies.LOGGED_IN}


class Session(shared.Session):
    """State of one connection.

    Long work calls `look()` for each message: it raises CommandFailed when the command has taken
    too long, and Disconnected when the client is gone or the server stops. `look(False)` ignores
    that the client is gone.
    """

    __slots__ = ("state", "name", "stamp", "maildrop", "look")
    log = log

    def __init__(self, service, peer, loopback=False, tls=None, look=lambda peer=True: None):
        super().__init__(service, peer, loopback, tls)
        self.state = State.AUTHORIZATION
        self.name = None  # of USER
        self.stamp = None  # the greeting's timestamp, if APOP is offered
        self.maildrop = None
        self.look = look

    # What the handler calls

    def greeting(self):
        """RFC 1939 4 and 7: a timestamp offers APOP."""
        text = "phenmail is ready"
        if sasl.offers_apop(self.service.directory):
            self.stamp = sasl.timestamp(self.service.host)
            text += " " + self.stamp.decode("ascii")
        return answered(replies.ok(text))

    def line(self, line):
        """A line with its line end -> Step."""
        step = self._answer(line)
        if self.service.debug and self.dialogue is None:
            log.info("%s: %s", self.who, step.wire.partition(b"\r\n")[0].decode("ascii"))
        return step

    def _answer(self, line):
        try:
            if self.dialogue is not None:
                step = self.response(line.rstrip(b"\r\n"))
            else:
                step = self._command(line)
            if step.wire.startswith(b"+OK"):
                self.errors = 0
            return step
        except grammar.GrammarError as error:
            return self._error(replies.error(error.text))
        except CommandFailed as failure:
            return self._error(failure.reply) if failure.counts else answered(failure.reply)
        except errors.StoreError as error:
            return answered(replies.of_store_error(error))

    def line_too_long(self):
        """A line exceeded every limit and was dropped -> Step."""
        self.dialogue = None
        return self._error(replies.LINE_TOO_LONG)

    def failed(self):
        """A command raised an unexpected error -> Step."""
        self.dialogue = None
        return answered(
            replies.INTERNAL, Then.CLOSE if self.state is State.UPDATE else Then.COMMAND)

    def tls_started(self, tls):
        """TLS is active: forget what the client said before (RFC 2595 4)."""
        super().tls_started(tls)
        self.name = None

    def close(self):
        """The conversation is over. Unless QUIT ended it, no message is removed (RFC 1939 6)."""
        self.state = State.UPDATE
        self._close_maildrop()

    # Commands

    def _command(self, line):
        keyword, argument = grammar.split(line)
        command = self.service.table.get(keyword)
        if self.service.debug:
            self._log(command, argument)
        if command is None:
            return self._error(replies.UNKNOWN_COMMAND)
        if len(line) > COMMAND_LINE and not command.long:
            return self._error(replies.LINE_TOO_LONG)
        value = command.parse(argument)
        if self.state not in command.states:
            return self._error(_WRONG_STATE[self.state])
        return command.run(self, value)

    def _log(self, command, argument):
        """An unknown keyword is not shown, because people type passphrases there. The argument is
        escaped, so that no client can write lines into the log."""
        shown = "…" if command is None else command.name.decode("ascii")
        if command is not None and argument:
            shown += " …" if command.secret else " " + repr(argument)[2:-1]
        log.info("%s: %s", self.who, shown)

    def _error(self, reply):
        """A mistake of the client -> Step; too many of them in a row end the session."""
        self.errors += 1
        if self.errors >= self.service.limits.errors:
            return answered(replies.TOO_MANY_ERRORS, Then.CLOSE)
        return answered(reply)

    # Login

    def challenge(self, challenge):
        """The server's part of an AUTH exchange, in base64 -> Step."""
        return Step(b"+ " + challenge + b"\r\n")

    def logged_in(self, account):
        """The login succeeded -> Step.

        Raises StoreError if the maildrop cannot be opened; the client may log in again.
        """
        self.maildrop = open_maildrop(self.service.store, account.folder)
        self.account = account
        self.state = State.TRANSACTION
        return answered(replies.ok("Logged in, %d messages (%d octets)" % self.maildrop.count()))

    def login_failed(self, failure):
        """The login failed -> Step."""
        reply = replies.of_login_failure(failure)
        if self.has_too_many_failed_logins:
            return answered(replies.TOO_MANY_LOGINS if reply.code == replies.AUTH else reply,
                            Then.CLOSE)
        return self._error(reply)

    # The maildrop

    def check_number(self, number):
        """Raise CommandFailed unless a message has this number and is not marked as deleted."""
        if not 1 <= number <= len(self.maildrop):
            raise CommandFailed(replies.NO_MESSAGE)
        if self.maildrop.is_deleted(number):
            raise CommandFailed(replies.DELETED)

    def update(self):
        """QUIT: enter the UPDATE state -> (messages removed, messages that could not be).

        A client that said QUIT may disconnect without waiting for that. Raises CommandFailed if
        it takes too long.
        """
        self.state = State.UPDATE
        try:
            return self.maildrop.update(lambda: self.look(False))
        finally:
            self._close_maildrop()

    def _close_maildrop(self):
        """Before the last reply, because the client may connect again as soon as it has it."""
        maildrop, self.maildrop = self.maildrop, None
        if maildrop is not None:
            maildrop.close()
