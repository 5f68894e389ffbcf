"""SELECT, EXAMINE, CHECK, CLOSE (RFC 3501 6.3.1, 6.3.2, 6.4.1, 6.4.2), UNSELECT (RFC 3691)."""
from functools import partial

from .. import responses, view
from ..command_row import AFTER_LOGIN, MAILBOX_SELECTED, Row
from ..progress import Progress
from ..session import Misuse, Step
from ..syntax import command_grammar
from .expunge import expunge_deleted
from .resync import resynchronize


def select(session, arguments, writable=True):
    """SELECT and EXAMINE. If this fails, no mailbox is selected any more (RFC 3501 6.3.1)."""
    if arguments.resync is not None and not session.qresync:
        raise Misuse(b"QRESYNC must be enabled first")  # RFC 7162 3.2.5
    if session.view is not None:  # the next responses are about another mailbox (RFC 7162 3.2.11)
        session.tell_code(b"Previous mailbox closed", b"CLOSED")
    session.deselect()
    if arguments.condstore:
        session.enable_condstore()
    mailbox = session.mail.open(arguments.mailbox, Progress(session))
    try:
        opened = view.View(mailbox, writable)
    except Exception:
        mailbox.close()
        raise
    session.select(opened)
    session.write(b"".join(_description(opened)))
    session.tell_code(  # RFC 7162 3.1.2.1
        b"Highest mod-sequence", b"HIGHESTMODSEQ %d" % opened.announced_modseq)
    session.tell_code(  # RFC 8474 4.2
        b"Mailbox identifier", responses.mailbox_id(mailbox.mailbox_id))
    if arguments.resync is not None:
        try:
            resynchronize(session, arguments.resync)
        except Exception:
            session.deselect()
            raise
    return Step(code=b"READ-WRITE" if writable else b"READ-ONLY")


def _description(opened):
    """The untagged responses that RFC 3501 6.3.1 requires."""
    state = opened.state
    flags, permanent = responses.known_flags(*opened.keywords, writable=opened.writable)
    yield flags
    yield b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(opened), opened.recent())
    first_unseen = opened.mailbox.first_unseen()
    unseen = first_unseen and opened.number(first_unseen)
    if unseen:
        yield responses.untagged_status(b"OK", b"First unseen message", b"UNSEEN %d" % unseen)
    yield permanent
    yield responses.untagged_status(
        b"OK", b"UIDs valid", b"UIDVALIDITY %d" % opened.mailbox.uidvalidity)
    yield responses.untagged_status(b"OK", b"Predicted next UID", b"UIDNEXT %d" % state.uidnext)


def check(session, _):
    """Nothing to do: everything that got an OK is on the disk."""


def close(session, _):
    """Remove the \\Deleted messages without EXPUNGE responses."""
    if session.view.writable:
        expunge_deleted(session)
    session.deselect()


def unselect(session, _):
    session.deselect()


ROWS = (
    Row("SELECT", AFTER_LOGIN, command_grammar.select, select),
    Row("EXAMINE", AFTER_LOGIN, command_grammar.select, partial(select, writable=False)),
    Row("CHECK", MAILBOX_SELECTED, None, check),
    Row("CLOSE", MAILBOX_SELECTED, None, close),
    Row("UNSELECT", MAILBOX_SELECTED, None, unselect, extension="UNSELECT"),
)
