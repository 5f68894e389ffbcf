"""Changing messages: STORE (RFC 3501 6.4.6), EXPUNGE (6.4.3), UID EXPUNGE (RFC 4315), COPY (6.4.7), MOVE (RFC 6851)."""
from .. import responses
from ..session import Refusal, Step
from .append import into_target


#: Response code (RFC 5530): the command names messages that another session expunged.
EXPUNGED = b"EXPUNGEISSUED"


def chosen(session, sequence, uid):
    """The UIDs of a command's messages, ascending, as an array.

    Raises Misuse for a message number beyond the last one (RFC 3501 9: seq-number).
    """
    slices = session.slices(sequence, uid)
    if len(slices) == 1:
        return session.view.uids(*slices[0])
    found = session.view.uids(0, 0)
    for start, stop in slices:
        found += session.view.uids(start, stop)
    return found


def _require_writable(session):
    if not session.view.writable:
        raise Refusal(b"The mailbox is selected read-only.", b"READ-ONLY")


def store(session, arguments):
    """Messages that another session expunged are passed over, as in Dovecot (RFC 2180 4.2.1)."""
    _require_writable(session)
    view, missing = session.view, False
    uids = chosen(session, arguments.sequence, arguments.uid)
    view.change_flags(uids, arguments.mode, arguments.flags)
    if not arguments.silent:
        rows = view.mailbox.rows(uids)
        session.tell_flags(rows, arguments.uid)
        view.told(uids)
        missing = len(rows.uids) < len(uids) and not arguments.uid
    return Step(text=b"Stored.", code=EXPUNGED if missing else None)


def expunge(session, _):
    _require_writable(session)
    session.view.mailbox.expunge()
    return Step(text=b"Expunged.")


def expunge_uids(session, arguments):
    _require_writable(session)
    session.view.mailbox.expunge(chosen(session, arguments.sequence, True))
    return Step(text=b"Expunged.")


def copy(session, arguments):
    copied = _transfer(session, arguments, session.view.mailbox.copy)
    return Step(text=b"Copied.", code=copied)


def move(session, arguments):
    """COPYUID goes out before the EXPUNGEs (RFC 6851 4.3)."""
    _require_writable(session)
    moved = _transfer(session, arguments, session.view.mailbox.move)
    if moved:
        session.write(responses.untagged_status(b"OK", b"Moved.", moved))
    return Step(text=b"Moved.")


def _transfer(session, arguments, transfer):
    """Copy or move; returns the COPYUID code, None when there was no message."""
    uids = chosen(session, arguments.sequence, arguments.uid)
    if not arguments.uid and session.view.lost(uids):
        # All or nothing (RFC 2180 4.4), as in Dovecot. EXPUNGE goes out before this answer, so that the
        # client knows the numbers when it tries again.
        raise Refusal(b"Some of these messages were expunged by another session.", EXPUNGED)
    with into_target():
        done = transfer(uids, arguments.mailbox)
    return responses.copyuid(done.uidvalidity, done.pairs) if done.pairs else None
