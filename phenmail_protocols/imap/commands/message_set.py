"""The messages that a command names, and the steps in which it changes them."""
from ..session import CommandFailed

AT_ONCE = 2000  # messages that are changed in one step; the command can stop between steps

#: Response code (RFC 5530): the command names messages that another session expunged.
EXPUNGED = b"EXPUNGEISSUED"


def chosen(session, sequence, uid):
    """The UIDs of a sequence set's messages, ascending, as an array.

    Raises Misuse for a message number beyond the last one (RFC 3501 9: seq-number).
    """
    slices = session.slices(sequence, uid)
    if len(slices) == 1:
        return session.view.uids(*slices[0])
    found = session.view.uids(0, 0)
    for start, stop in slices:
        found += session.view.uids(start, stop)
    return found


def in_steps(session, uids):
    """Yield `uids` in portions, at least one. The command can stop before each."""
    for start in range(0, max(len(uids), 1), AT_ONCE):
        session.look()
        yield uids[start:start + AT_ONCE]


def require_writable(session):
    """Raise CommandFailed in a mailbox that EXAMINE opened."""
    if not session.view.writable:
        raise CommandFailed(b"Mailbox is read-only", b"READ-ONLY")
