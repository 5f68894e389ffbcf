"""Opening and leaving a mailbox: SELECT, EXAMINE, CHECK, CLOSE (RFC 3501 6.3.1, 6.3.2, 6.4.1, 6.4.2), UNSELECT (RFC 3691)."""
from .. import responses, view
from ..session import Step
from .changing import expunge_all


def select(session, arguments):
    return _open(session, arguments.mailbox, True)


def examine(session, arguments):
    return _open(session, arguments.mailbox, False)


def _open(session, name, writable):
    """A SELECT that fails leaves nothing selected (RFC 3501 6.3.1)."""
    session.deselect()
    mailbox = session.mail.open(name)
    try:
        opened = view.View(mailbox, writable)
    except Exception:
        mailbox.close()
        raise
    session.select(opened)
    session.write(b"".join(_description(opened)))
    return Step(text=b"Mailbox selected.", code=b"READ-WRITE" if writable else b"READ-ONLY")


def _description(opened):
    """The untagged answers that RFC 3501 6.3.1 requires."""
    state = opened.state
    flags, permanent = responses.known_flags(*opened.keywords, writable=opened.writable)
    yield flags
    yield b"* %d EXISTS\r\n* %d RECENT\r\n" % (len(opened), opened.recent())
    unseen = state.first_unseen and opened.number(state.first_unseen)
    if unseen:
        yield responses.untagged_status(b"OK", b"The first unseen message.", b"UNSEEN %d" % unseen)
    yield permanent
    yield responses.untagged_status(b"OK", b"UIDs are valid.", b"UIDVALIDITY %d" % opened.mailbox.uidvalidity)
    yield responses.untagged_status(b"OK", b"The next UID.", b"UIDNEXT %d" % state.uidnext)


def check(session, _):
    """Nothing to do: what was answered with OK is on the disk."""
    return Step(text=b"Checked.")


def close(session, _):
    """Remove what is \\Deleted, without a word about it."""
    if session.view.writable:
        expunge_all(session)
    session.deselect()
    return Step(text=b"Closed.")


def unselect(session, _):
    session.deselect()
    return Step(text=b"Unselected.")
