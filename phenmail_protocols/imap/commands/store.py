"""STORE (RFC 3501 6.4.6), conditional STORE (RFC 7162 3.1.3)."""
from ...store import errors
from ..command_row import MAILBOX_SELECTED, Row
from ..session import CommandFailed, Step
from ..syntax import command_grammar, sequence
from .message_set import EXPUNGED, chosen, in_steps, require_writable


def store(session, arguments):
    """STORE and UID STORE skip messages that another session expunged, as Dovecot does
    (RFC 2180 4.2.1).

    With UNCHANGEDSINCE, messages with a higher mod-sequence stay as they are; the response code
    MODIFIED names them (RFC 7162 3.1.3).
    """
    require_writable(session)
    if arguments.unchanged_since is not None:
        session.enable_condstore()
    silent = arguments.silent and not session.condstore
    uids, found, done, failed = chosen(session, arguments.sequence, arguments.uid), 0, 0, []
    try:
        for part in in_steps(session, uids):
            failed += session.view.change_flags(
                part, arguments.mode, arguments.flags, arguments.unchanged_since).failed
            done += len(part)
            if not silent:
                found += _tell_flags(session, part, arguments, failed)
    except (CommandFailed, errors.StoreError):
        if silent and done:  # after a NO the client cannot know which flags changed
            _tell_flags(session, uids[:done], arguments._replace(silent=False), ())
        raise
    if failed:
        numbers = failed if arguments.uid else map(session.view.number, failed)
        return Step(code=b"MODIFIED " + sequence.build(numbers), text=b"Conditional STORE failed")
    missing = found < len(uids) and not silent and not arguments.uid
    return Step(code=EXPUNGED if missing else None)


def _tell_flags(session, uids, arguments, failed):
    """Send the messages' present flags, or only the mod-sequences of silently changed ones, unless
    others changed them too (RFC 3501 6.4.6). Returns how many of the messages exist."""
    rows = session.view.mailbox.flag_rows(uids)
    session.tell_keywords()
    if arguments.silent:
        shown = session.view.untold(uids).union(failed)
        session.tell_flags(session.view.mailbox.flag_rows(
            [uid for uid in rows.uids if uid not in shown]), arguments.uid, silent=True)
        session.tell_flags(session.view.mailbox.flag_rows(
            [uid for uid in rows.uids if uid in shown]), arguments.uid)
    else:
        session.tell_flags(rows, arguments.uid)
    session.view.told(uids)
    return len(rows.uids)


ROWS = (
    Row("STORE", MAILBOX_SELECTED, command_grammar.store, store, may_expunge=False),
    Row("UID STORE", MAILBOX_SELECTED, command_grammar.store, store),
)
