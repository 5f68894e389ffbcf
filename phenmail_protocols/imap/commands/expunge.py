"""EXPUNGE (RFC 3501 6.4.3), UID EXPUNGE (RFC 4315)."""
from ...store.model import DELETED
from ..command_row import MAILBOX_SELECTED, Row
from ..session import Step
from ..syntax.tokens import Scanner
from .message_set import chosen, in_steps, require_writable


def expunge(session, _):
    require_writable(session)
    expunge_deleted(session)
    return _ended(session)


def expunge_uids(session, sequence):
    require_writable(session)
    _expunge(session, chosen(session, sequence, True))
    return _ended(session)


def _ended(session):
    """With QRESYNC, OK [HIGHESTMODSEQ n] after the VANISHED (RFC 7162 3.2.7)."""
    if session.qresync and session.announce():
        return Step(code=b"HIGHESTMODSEQ %d" % session.view.announced_modseq)
    return Step()


def expunge_deleted(session):
    """Remove all \\Deleted messages, also those that the client does not know of yet."""
    _expunge(session, [
        uid for rows in session.view.mailbox.all_flag_rows(session.look)
        for uid, flags in zip(rows.uids, rows.flags) if DELETED in flags])


def _expunge(session, uids):
    for part in in_steps(session, uids):
        session.view.mailbox.expunge(part)


ROWS = (
    Row("EXPUNGE", MAILBOX_SELECTED, None, expunge, expunges=True),
    Row("UID EXPUNGE", MAILBOX_SELECTED, Scanner.sequence, expunge_uids, expunges=True,
        extension="UIDPLUS"),
)
