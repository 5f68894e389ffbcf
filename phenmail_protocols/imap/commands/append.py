"""APPEND (RFC 3501 6.3.11), with APPENDUID (RFC 4315).

The message streams into the file that becomes the message.
"""
from contextlib import contextmanager

from ...store import errors
from ..command_row import AFTER_LOGIN, Row
from ..session import READ_BODY, CommandFailed, Misuse, Step
from ..syntax import command_grammar


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
    size = arguments.literal.size
    if arguments.binary:
        raise CommandFailed(b"Binary literals are not supported", b"CANNOT")
    if not size:
        raise CommandFailed(b"Cannot append an empty message", b"CANNOT")
    if size > session.service.limits.message_size:
        raise CommandFailed(b"Message too large", b"TOOBIG")
    _require(session.mail, arguments.mailbox)
    session.staged = session.mail.stage()
    incoming = _Incoming(session.staged)
    return Step(READ_BODY, sink=incoming.write,
                resume=lambda rest: _received(session, arguments, incoming, rest))


def _require(mail, name):
    """Raise CommandFailed if there is no such mailbox.

    Being in the list of mailboxes suffices, and listing is faster than a STATUS.
    """
    if not any(info.name == name and info.selectable for info in mail.mailboxes()):
        with into_target():
            mail.status(name)


def _received(session, arguments, incoming, rest):
    """The message is staged; `rest` is what followed it on its line."""
    staged, session.staged = session.staged, None
    with staged:
        if rest:
            raise Misuse(b"APPEND takes one message")
        if incoming.error is not None:
            raise incoming.error
        if staged.has_nul:
            raise Misuse(b"Message contains NUL octets")
        with into_target():
            delivered = session.mail.deliver(
                arguments.mailbox, staged, arguments.flags, arguments.date)
    session.added_messages(arguments.mailbox, [delivered.uid])
    return Step(code=b"APPENDUID %d %d" % (delivered.uidvalidity, delivered.uid))


class _Incoming:
    """Writes the octets to the staged file.

    After an error it drops the rest, so that the next command is read from where it begins.
    """

    def __init__(self, staged):
        self._staged = staged
        self.error = None

    def write(self, data):
        if self.error is None:
            try:
                self._staged.write(data)
            except errors.StoreError as error:
                self.error = error


ROWS = (
    Row("APPEND", AFTER_LOGIN, command_grammar.append, append),
)
