"""APPEND (RFC 3501 6.3.11) of one or more messages (MULTIAPPEND, RFC 3502), with APPENDUID
(RFC 4315) and the UTF8 data extension (RFC 6855 4).

Each message streams into the file that becomes the message. When the last one has arrived, all are
put into the mailbox together, or none.
"""
from contextlib import contextmanager

from ...store import errors
from ..command_row import AFTER_LOGIN, Row
from ..session import READ_BODY, CommandFailed, Misuse, Step
from ..syntax import append_grammar, sequence, tokens, values

MESSAGES = 1000  # of one command: about 1 KB of memory each
LARGEST = 8  # times the largest message: octets of all messages of one command


@contextmanager
def into_target():
    """Answer TRYCREATE where the target mailbox is missing (RFC 3501 7.1): the client may create it
    and try again."""
    try:
        yield
    except errors.NotFound as error:
        raise CommandFailed(str(error).encode("ascii", "replace"), b"TRYCREATE") from None


def append(session, arguments):
    """APPEND. Refuse it, if possible, before the client sends the message."""
    messages = _Messages(session, arguments.mailbox)
    messages.check(arguments.message)
    with into_target():
        session.mail.require(arguments.mailbox)
    return messages.receive(arguments.message)


class _Messages:
    """The messages of one command: those that have arrived, and the one that is arriving."""

    def __init__(self, session, mailbox):
        self._session = session
        self._mailbox = mailbox
        self._arrived = []  # (Staged, flags)
        self._arriving = None  # an _Arriving
        self._octets = 0

    def check(self, message):
        """Refuse a message by its announced size. An empty one cancels the command (RFC 3502)."""
        largest = self._session.service.limits.message_size
        self._octets += message.size
        if not message.size:
            raise CommandFailed(b"Cannot append an empty message", b"CANNOT")
        if message.size > largest:
            raise CommandFailed(b"Message too large", b"TOOBIG")
        if len(self._arrived) >= MESSAGES or self._octets > LARGEST * largest:
            raise CommandFailed(b"Too many messages in one APPEND: at most %d with %d octets"
                                % (MESSAGES, LARGEST * largest), b"LIMIT")

    def receive(self, message):
        """Wait for this message -> Step. It is refused if it, with those before, is over quota."""
        self._session.mail.quota.require_room(self._octets, len(self._arrived) + 1)
        self._session.staged = self
        self._arriving = _Arriving(self._session.mail.stage(), message, self._session.utf8)
        return Step(READ_BODY, sink=self._arriving.write, resume=self._received)

    def _received(self, parts):
        """`parts`: what followed the message on its line -> Step"""
        try:
            return self._go_on(parts)
        except BaseException:
            self.discard()
            raise

    def _go_on(self, parts):
        arriving = self._arriving
        following = self._following(parts, arriving.message.form)
        self._arrived.append(arriving.finish(_takes_8bit_headers(self._session)))
        self._arriving = None
        if following is None:
            return self._deliver()
        self.check(following)
        return self.receive(following)

    def _following(self, parts, form):
        scan = tokens.Scanner(parts, self._session.utf8, self._session.off)
        try:
            return append_grammar.next_message(scan, form)
        except tokens.BadSyntax as error:
            raise Misuse(b"APPEND, after a message: " + error.text) from None

    def _deliver(self):
        with into_target():
            delivered = self._session.mail.deliver_all(self._mailbox, self._arrived)
        self._session.staged = None
        uids = sequence.build([each.uid for each in delivered])
        return Step(code=b"APPENDUID %d %b" % (delivered[0].uidvalidity, uids))

    def discard(self):
        """Remove the files of messages that are in no mailbox."""
        self._session.staged = None
        for staged, _ in self._arrived:
            staged.discard()
        if self._arriving is not None:
            self._arriving.staged.discard()


def _takes_8bit_headers(session):
    """RFC 6855 4: a server that offers UTF8=ACCEPT takes them from clients that have enabled it."""
    return session.utf8 or not session.offers("UTF8=ACCEPT")


class _Arriving:
    """A message on its way into its staged file.

    After an error the rest is dropped, so that the next command is read from where it begins.
    """

    def __init__(self, staged, message, utf8):
        self.staged = staged
        self.message = message
        self._error = None
        self._take = staged.write
        if utf8 and message.form == values.LITERAL:
            self._take = _Unwrapping(staged.write, message.size).take

    def write(self, data):
        if self._error is None:
            try:
                self._take(data)
            except errors.StoreError as error:
                self._error = error

    def finish(self, takes_8bit_headers):
        """The message is complete: sync it -> (Staged, flags)"""
        if self._error is not None:
            raise self._error
        if self.staged.has_nul:
            if self.message.form == values.LITERAL:
                raise Misuse(b"Message contains NUL octets")
            raise CommandFailed(b"Message contains NUL octets", b"UNKNOWN-CTE")
        if not takes_8bit_headers and self.staged.has_8bit_header():
            raise CommandFailed(b"Header fields with 8-bit characters need ENABLE UTF8=ACCEPT",
                                b"CANNOT")
        self.staged.sync(self.message.date)
        return self.staged, self.message.flags


class _Unwrapping:
    """imaplib of CPython 3.5 to 3.13 puts RFC 6855's "UTF8 (" and ")" into the literal, instead of
    around it. No header begins like that, so both are removed."""

    HEAD, TAIL = b"UTF8 (", b")"

    def __init__(self, write, size):
        self._write = write
        self._left = size
        self._head = b""  # what came of it; None once the message's beginning is known
        self._is_wrapped = False

    def take(self, data):
        self._left -= len(data)
        if self._head is not None:
            data = self._head + data
            if self._left and self.HEAD.startswith(data):
                self._head = data
                return
            self._head = None
            self._is_wrapped = data.startswith(self.HEAD)
            if self._is_wrapped:
                data = data[len(self.HEAD):]
        if self._is_wrapped and not self._left and data.endswith(self.TAIL):
            data = data[:-1]
        self._write(data)


ROWS = (
    Row("APPEND", AFTER_LOGIN, append_grammar.append, append),
)
