"""STORE (RFC 3501 6.4.6)."""
from ...store import errors
from .. import command_grammar
from ..row import MAILBOX_SELECTED, Row
from ..session import CommandFailed, Step
from .chosen import EXPUNGED, chosen, in_steps, require_writable


def store(session, arguments):
    """STORE and UID STORE skip messages that another session expunged, as Dovecot does
    (RFC 2180 4.2.1)."""
    require_writable(session)
    uids, found, done = chosen(session, arguments.sequence, arguments.uid), 0, 0
    try:
        for part in in_steps(session, uids):
            session.view.change_flags(part, arguments.mode, arguments.flags)
            done += len(part)
            if not arguments.silent:
                found += _tell_flags(session, part, arguments.uid)
    except (CommandFailed, errors.StoreError):
        if arguments.silent and done:  # after a NO the client cannot know what was changed
            _tell_flags(session, uids[:done], arguments.uid)
        raise
    missing = found < len(uids) and not arguments.silent and not arguments.uid
    return Step(code=EXPUNGED if missing else None)


def _tell_flags(session, uids, with_uid):
    """Send the flags that these messages have now; returns how many of the messages exist."""
    rows = session.view.mailbox.rows(uids)
    session.tell_keywords()
    session.tell_flags(rows, with_uid)
    session.view.told(uids)
    return len(rows.uids)


ROWS = (
    Row("STORE", MAILBOX_SELECTED, command_grammar.store, store, may_expunge=False),
    Row("UID STORE", MAILBOX_SELECTED, command_grammar.store, store),
)
