"""Resynchronization of a client that has a copy of a mailbox (RFC 7162 section 3.2).

SELECT (QRESYNC …) and UID FETCH … (… VANISHED) send the messages expunged since a mod-sequence, as
VANISHED (EARLIER), and the flags changed since then.
"""
from bisect import bisect_left
from itertools import chain

from ..syntax import sequence

BATCH = 2000  # messages whose flags are sent at once


def resynchronize(session, wanted):
    """After SELECT: send what changed. `wanted`: a values.Resync.

    If its UIDVALIDITY is not the mailbox's, nothing is sent: the client sees the new UIDVALIDITY
    and discards its copy.
    """
    view = session.view
    if wanted.uidvalidity != view.mailbox.uidvalidity:
        return
    last = view.state.uidnext - 1
    spans = wanted.known.spans(last) if wanted.known is not None else [(1, last)]
    tell_vanished(session, wanted.modseq, spans)
    for start in range(0, len(view), BATCH):
        session.look()
        changed = changed_since(session, within(view.uids(start, start + BATCH), spans),
                                wanted.modseq)
        if changed:
            session.tell_flags(view.mailbox.flag_rows(changed))


def changed_since(session, uids, modseq):
    """The messages of `uids` (ascending) with a mod-sequence above `modseq`, as a list of UIDs."""
    rows = session.view.mailbox.flag_rows(uids)
    return [uid for uid, own in zip(rows.uids, rows.modseqs) if own > modseq]


def tell_vanished(session, since, spans):
    """Send * VANISHED (EARLIER) with the UIDs in `spans` that were expunged after the mod-sequence
    `since` (3.2.10.1).

    Messages that still have numbers in this session are left out: it will announce them later. If
    the store's record does not go back that far, all UIDs that are not in the mailbox are sent.
    Message sequence match data (3.2.5.2) could make that shorter. But it may be sparse, and then
    hide an expunged message from a client whose mailbox was restored from a backup.
    """
    view = session.view
    spans = [(low, min(high, view.state.uidnext - 1)) for low, high in spans
             if low < view.state.uidnext]
    expunged = view.mailbox.expunged_since(since)
    if expunged is not None:
        ranges = [(uid, uid) for uid in within(expunged, spans) if view.number(uid) is None]
    else:
        ranges = _gaps(view.uids(), spans, session.look)
    if ranges:
        vanished = sequence.build_ranges(ranges, session.look)
        session.write(b"* VANISHED (EARLIER) " + vanished + b"\r\n")


def within(uids, spans):
    """The members of `uids` (an ascending sequence) in the ascending (low, high) `spans`."""
    found = []
    for low, high in spans:
        found.extend(uids[bisect_left(uids, low):bisect_left(uids, high + 1)])
    return found


def _gaps(uids, spans, look):
    """Ranges of numbers in `spans` that are not in the ascending `uids`."""
    gaps = []
    for low, high in spans:
        for uid in chain(within(uids, ((low, high),)), (high + 1,)):
            look()
            if low < uid:
                gaps.append((low, uid - 1))
            low = uid + 1
    return gaps
