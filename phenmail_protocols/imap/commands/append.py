"""APPEND (RFC 3501 6.3.11): the message streams into the file that becomes it; APPENDUID (RFC 4315)."""
from contextlib import contextmanager

from ...store import errors
from .. import responses
from ..session import READ_BODY, CommandFailed, Misuse, Step


@contextmanager
def into_target():
    """Where a target mailbox is missing the client is told to make it and try again (RFC 3501 7.1: TRYCREATE)."""
    try:
        yield
    except errors.NotFound as error:
        raise CommandFailed(str(error).encode("ascii", "replace"), b"TRYCREATE") from None


def append(session, arguments):
    """What can be refused is refused before the client sends the message."""
    size = arguments.literal.size
    if arguments.binary:
        raise CommandFailed(b"Binary literals are not supported.", b"CANNOT")
    if not size:
        raise CommandFailed(b"An empty message can't be kept.", b"CANNOT")
    if size > session.service.limits.message_size:
        raise CommandFailed(b"The message is too big.", b"TOOBIG")
    _require(session.mail, arguments.mailbox)
    session.staged = session.mail.stage()
    incoming = _Incoming(session.staged)
    return Step(READ_BODY, sink=incoming.write, resume=lambda rest: _received(session, arguments, incoming, rest))


def _require(mail, name):
    """Raise CommandFailed where there is no such mailbox. The list of names is quicker to have than a mailbox's numbers."""
    if not any(info.name == name and info.selectable for info in mail.mailboxes()):
        with into_target():
            mail.status(name)


def _received(session, arguments, incoming, rest):
    staged, session.staged = session.staged, None
    with staged:
        if rest:
            raise Misuse(b"Only one message at a time.")
        if incoming.error is not None:
            raise incoming.error
        if staged.has_nul:
            raise Misuse(b"A message has no NUL octets.")
        with into_target():
            delivered = session.mail.deliver(arguments.mailbox, staged, arguments.flags, arguments.date)
    return Step(text=b"Kept.", code=responses.appenduid(delivered.uidvalidity, delivered.uid))


class _Incoming:
    """Where the octets go; after an error they are read and dropped, so that the stream stays in step."""

    def __init__(self, staged):
        self._staged = staged
        self.error = None

    def write(self, data):
        if self.error is None:
            try:
                self._staged.write(data)
            except errors.StoreError as error:
                self.error = error
