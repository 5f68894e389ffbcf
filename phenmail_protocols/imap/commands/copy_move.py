"""COPY (RFC 3501 6.4.7), MOVE (RFC 6851), with COPYUID (RFC 4315)."""
from ..command_row import MAILBOX_SELECTED, Row
from ..session import CommandFailed, Step
from ..syntax import command_grammar, sequence
from .append import into_target
from .message_set import EXPUNGED, chosen, in_steps, require_writable


def copy(session, arguments):
    """All messages or none (RFC 3501 6.4.7). So it is one step, and the store calls `look`."""
    uids = _wanted(session, arguments)
    with into_target():
        copied = session.view.mailbox.copy(uids, arguments.mailbox, session.look)
    session.added_messages(arguments.mailbox, [uid for _, uid in copied.pairs])
    return Step(code=_copyuid(copied.uidvalidity, copied.pairs))


def move(session, arguments):
    """COPYUID is sent before the EXPUNGEs (RFC 6851 4.3), also if only some messages were moved."""
    require_writable(session)
    uids, pairs, uidvalidity = _wanted(session, arguments), [], 0
    try:
        for part in in_steps(session, uids):
            with into_target():
                moved = session.view.mailbox.move(part, arguments.mailbox)
            uidvalidity = moved.uidvalidity
            pairs += moved.pairs
    finally:
        if pairs:
            session.added_messages(arguments.mailbox, [uid for _, uid in pairs])
            code = _copyuid(uidvalidity, pairs)
            session.tell_code(b"Moved", code)


def _wanted(session, arguments):
    """The UIDs of the command's messages.

    COPY and MOVE by message number fail if one of them was expunged (RFC 2180 4.4), as in Dovecot.
    The EXPUNGE precedes this NO, so the client knows the new numbers when it tries again.
    """
    uids = chosen(session, arguments.sequence, arguments.uid)
    if not arguments.uid and session.view.count_expunged(uids):
        raise CommandFailed(b"Some of the messages no longer exist", EXPUNGED)
    return uids


def _copyuid(uidvalidity, pairs):
    """The response code for (source UID, target UID) pairs; None without any."""
    if not pairs:
        return None
    sources, targets = zip(*pairs)
    return b"COPYUID %d %b %b" % (
        uidvalidity, sequence.build(sources), sequence.build(targets))


ROWS = (
    Row("COPY", MAILBOX_SELECTED, command_grammar.copy, copy),
    Row("UID COPY", MAILBOX_SELECTED, command_grammar.copy, copy),
    Row("MOVE", MAILBOX_SELECTED, command_grammar.copy, move, expunges=True, extension="MOVE"),
    Row("UID MOVE", MAILBOX_SELECTED, command_grammar.copy, move, expunges=True,
        extension="MOVE"),
)
