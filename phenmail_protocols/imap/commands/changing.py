"""Changing messages: STORE (RFC 3501 6.4.6), EXPUNGE (6.4.3), UID EXPUNGE (RFC 4315), COPY (6.4.7), MOVE (RFC 6851)."""
from ...store import errors
from ...store.model import DELETED
from .. import responses
from ..session import CommandFailed, Step
from .append import into_target

AT_ONCE = 2000  # messages that are changed in one step; between two the command may end


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
        raise CommandFailed(b"The mailbox is selected read-only.", b"READ-ONLY")


def store(session, arguments):
    """Messages that another session expunged are passed over, as in Dovecot (RFC 2180 4.2.1)."""
    _require_writable(session)
    view = session.view
    uids, found, done = chosen(session, arguments.sequence, arguments.uid), 0, 0
    try:
        for part in _steps(session, uids):
            view.change_flags(part, arguments.mode, arguments.flags)
            done += len(part)
            if not arguments.silent:
                found += _tell_stored(session, part, arguments.uid)
    except (CommandFailed, errors.StoreError):
        if arguments.silent and done:  # the answer is NO: what was done all the same is told
            _tell_stored(session, uids[:done], arguments.uid)
        raise
    missing = found < len(uids) and not arguments.silent and not arguments.uid
    return Step(text=b"Stored.", code=EXPUNGED if missing else None)


def _steps(session, uids):
    """`uids` in portions, at least one; before each the command may end."""
    for start in range(0, max(len(uids), 1), AT_ONCE):
        session.look()
        yield uids[start:start + AT_ONCE]


def _tell_stored(session, uids, with_uid):
    """The flags that messages have now; returns of how many."""
    rows = session.view.mailbox.rows(uids)
    session.tell_keywords()
    session.tell_flags(rows, with_uid)
    session.view.told(uids)
    return len(rows.uids)


def expunge(session, _):
    _require_writable(session)
    expunge_all(session)
    return Step(text=b"Expunged.")


def expunge_all(session):
    """Remove what is \\Deleted, messages that the client has not heard of included."""
    mailbox = session.view.mailbox
    state = mailbox.state()
    rows = mailbox.rows(state.uids[:state.count])
    _expunge(session, [uid for uid, flags in zip(rows.uids, rows.flags) if DELETED in flags])


def _expunge(session, uids):
    for part in _steps(session, uids):
        session.view.mailbox.expunge(part)


def expunge_uids(session, arguments):
    _require_writable(session)
    _expunge(session, chosen(session, arguments.sequence, True))
    return Step(text=b"Expunged.")


def copy(session, arguments):
    """All or nothing (RFC 3501 6.4.7), so it is one step, which looks for itself whether to end."""
    uids = _wanted(session, arguments)
    with into_target():
        copied = session.view.mailbox.copy(uids, arguments.mailbox, session.look)
    return Step(text=b"Copied.", code=_copyuid(copied.uidvalidity, copied.pairs))


def move(session, arguments):
    """COPYUID goes out before the EXPUNGEs (RFC 6851 4.3), and also where only a part was moved."""
    _require_writable(session)
    uids, pairs, uidvalidity = _wanted(session, arguments), [], 0
    try:
        for part in _steps(session, uids):
            with into_target():
                moved = session.view.mailbox.move(part, arguments.mailbox)
            uidvalidity = moved.uidvalidity
            pairs += moved.pairs
    finally:
        if pairs:
            session.write(responses.untagged_status(b"OK", b"Moved.", _copyuid(uidvalidity, pairs)))
    return Step(text=b"Moved.")


def _wanted(session, arguments):
    """The UIDs of a COPY or MOVE."""
    uids = chosen(session, arguments.sequence, arguments.uid)
    if not arguments.uid and session.view.lost(uids):
        # All or nothing (RFC 2180 4.4), as in Dovecot. EXPUNGE goes out before this answer, so that the
        # client knows the numbers when it tries again.
        raise CommandFailed(b"Some of these messages were expunged by another session.", EXPUNGED)
    return uids


def _copyuid(uidvalidity, pairs):
    return responses.copyuid(uidvalidity, pairs) if pairs else None
