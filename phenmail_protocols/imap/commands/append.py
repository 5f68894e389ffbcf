"""APPEND (RFC 3501 6.3.11) of one or more messages (MULTIAPPEND, RFC 3502), with APPENDUID
(RFC 4315), literal8 (BINARY, RFC 3516 4.4) and the UTF8 data extension (RFC 6855 4).

Each message streams into the file that becomes the message; a literal8 is collected first, because
its binary content becomes base64. When the last one has arrived, all are put into the mailbox
together, or none.
"""
from contextlib import contextmanager

from ...mail import binary_parts
from ...store import errors
from ..command_row import AFTER_LOGIN, Row
from ..session import READ_BODY, CommandFailed, Misuse, Step
from ..syntax import append_grammar, sequence, tokens, values

MESSAGES = 1000  # of one command; each takes about 1 KB of memory
LARGEST = 8  # octets of all messages of one command: so many times the limit of one message
BETWEEN = 262144  # octets of one command besides its messages, which are held in memory


@contextmanager
def into_target():
    """A context manager that replies TRYCREATE if the target mailbox does not exist (RFC 3501 7.1):
    the client may create it and try again."""
    try:
        yield
    except errors.NotFound as error:
        raise CommandFailed(str(error).encode("ascii", "replace"), b"TRYCREATE") from None


def append(session, arguments):
    """APPEND. If possible, refuse it before the client sends the message."""
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
        self._between = 0  # octets of the lines after messages

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
        """-> a Step that receives this message. Raises OverQuota if it and those before it do not
        fit."""
        self._session.mail.quota.require_room(self._octets, len(self._arrived) + 1)
        self._session.staged = self
        self._arriving = _Arriving(self._session, message)
        return Step(READ_BODY, sink=self._arriving.write, resume=self._received)

    def _received(self, parts):
        """`parts`: what followed the message on its line -> Step"""
        try:
            return self._go_on(parts)
        except BaseException:
            self.discard()
            raise

    def _go_on(self, parts):
        self._session.look()
        self._bound(parts)
        arriving = self._arriving
        following = self._following(parts, arriving.message.form)
        self._arrived.append(arriving.finish(
            _takes_8bit_headers(self._session, arriving.message.form)))
        self._arriving = None
        if following is None:
            return self._deliver()
        self.check(following)
        return self.receive(following)

    def _bound(self, parts):
        """Refuse the command if it is too long even without its messages."""
        self._between += sum([len(part) for part in parts if isinstance(part, bytes)])
        if self._between > BETWEEN:
            raise CommandFailed(b"The command is too long: at most %d octets besides the messages"
                                % BETWEEN, b"LIMIT")

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
        self._session.added_messages(self._mailbox, [each.uid for each in delivered])
        uids = sequence.build([each.uid for each in delivered])
        return Step(code=b"APPENDUID %d %b" % (delivered[0].uidvalidity, uids))

    def discard(self):
        """Remove the files of messages that are in no mailbox."""
        self._session.staged = None
        for staged, _ in self._arrived:
            staged.discard()
        if self._arriving is not None:
            self._arriving.discard()


def _takes_8bit_headers(session, form):
    """Whether to accept 8-bit header fields in a message of this form.

    RFC 6855 section 4 wants them refused before ENABLE UTF8=ACCEPT. They are accepted in a plain
    literal nevertheless: headers of old mail have unlabelled charsets, and mbsync 1.4 and
    offlineimap 8 copy them unchanged.
    """
    return session.utf8 or form != values.UTF8


class _Arriving:
    """A message that is being received into its staged file.

    After an error the rest of it is dropped, so that the next command is read from its beginning.
    """

    def __init__(self, session, message):
        self.message = message
        self._error = None
        self._binary = None
        if message.form != values.LITERAL and session.offers("BINARY"):
            self._binary = _Binary(session)
        self.staged = session.mail.stage()
        self._take = self.staged.write
        if self._binary is not None:
            self._take = self._binary.take
        elif session.utf8 and message.form == values.LITERAL:
            self._take = _Unwrapping(self.staged.write, message.size).take

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
        if self._binary is not None:
            self._binary.finish(self.staged)
        if self.staged.has_nul:
            if self.message.form == values.LITERAL:
                raise Misuse(b"Message contains NUL octets")
            raise CommandFailed(b"Message contains NUL octets", b"UNKNOWN-CTE")
        if not takes_8bit_headers and self.staged.has_8bit_header():
            raise CommandFailed(b"Header fields with 8-bit characters need ENABLE UTF8=ACCEPT",
                                b"CANNOT")
        self.staged.sync(self.message.date)
        return self.staged, self.message.flags

    def discard(self):
        self.staged.discard()
        if self._binary is not None:
            self._binary.discard()


class _Binary:
    """A literal8. It is collected as it was sent; when it is complete, its text form is written to
    the staged file."""

    def __init__(self, session):
        self._session = session
        self._sent = session.mail.as_sent()
        self._lines = binary_parts.LineEnds()

    def take(self, data):
        self._lines.feed(data)
        self._sent.write(data)

    def finish(self, staged):
        self._lines.close()
        size = self._sent.size
        is_text = not (self._lines.has_nul or self._lines.has_strays)
        pieces = self._read(0, size) if is_text else binary_parts.encoded(self._read, size)
        try:
            for piece in pieces:
                staged.write(piece)
        except binary_parts.NotText:
            raise CommandFailed(b"NUL octets are only possible in parts that are not encoded",
                                b"UNKNOWN-CTE") from None
        self.discard()

    def _read(self, start, end):
        for chunk in self._sent.chunks(start, end):
            self._session.look()
            yield chunk

    def discard(self):
        self._sent.close()


class _Unwrapping:
    """Removes RFC 6855's "UTF8 (" and ")" from a literal. imaplib of CPython 3.5 to 3.13 puts them
    into the literal instead of around it. No header begins like that."""

    HEAD, TAIL = b"UTF8 (", b")"

    def __init__(self, write, size):
        self._write = write
        self._left = size
        self._head = b""  # the beginning of HEAD, as far as it has arrived; None once it is decided
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
