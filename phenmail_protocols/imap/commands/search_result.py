"""The responses to SEARCH and SORT: untagged SEARCH and SORT, ESEARCH (RFC 4731, RFC 5267 3), with
the highest mod-sequence (RFC 7162 section 3.1.6); and the saved result (RFC 5182).
"""
from array import array
from itertools import chain

from .. import responses
from ..syntax import sequence
from ..syntax.values import And, ModSeq, Not, Or

BATCH = 5000  # messages whose mod-sequences are looked up at once

#: Result option of RFC 4731 -> its value. Of SORT, MIN and MAX are the first and the last message
#: (RFC 5267 3.1).
RESULTS = {
    "MIN": lambda numbers: b"%d" % numbers[0],
    "MAX": lambda numbers: b"%d" % numbers[-1],
    "ALL": sequence.build,
    "COUNT": lambda numbers: b"%d" % len(numbers),
}


def begin(session, arguments):
    """Call this before the search; returns the UIDs that "$" stands for in it.

    If the result is to be saved and the search fails, the saved result is empty (RFC 5182 2.1).
    """
    saved = session.view.saved
    if arguments.returns is not None and "SAVE" in arguments.returns:
        session.view.saved = ()
    return saved


def reply(session, name, uids, arguments):
    """Send the result and save it if asked to. `uids`: in the response's order; `name`: of an
    untagged response."""
    if arguments.returns is None:
        _reply_plain(session, name, uids, arguments)
        return
    options = [option for option in arguments.returns if option != "SAVE"]
    if options:
        _reply_extended(session, uids, options, arguments)
    if len(options) < len(arguments.returns):
        _save(session.view, uids, options)


def _reply_plain(session, name, uids, arguments):
    """* SEARCH or * SORT."""
    numbers = uids if arguments.uid else list(map(session.view.number, uids))
    highest = b""
    if uids and _asks_for_modseq(arguments.key):
        highest = b" (MODSEQ %d)" % _highest_modseq(session, uids)
    session.write(b"* " + name + (b" %d" * len(numbers)) % tuple(numbers) + highest + b"\r\n")


def _reply_extended(session, uids, options, arguments):
    """* ESEARCH. Without a match there are no MIN, MAX and ALL (RFC 4731 3.1)."""
    numbers = uids if arguments.uid else list(map(session.view.number, uids))
    items = [b" %b %b" % (option.encode("ascii"), RESULTS[option](numbers))
             for option in options if numbers or option == "COUNT"]
    if numbers and _asks_for_modseq(arguments.key):  # RFC 4731 3.2: of the messages that are shown
        ends = {"MIN": uids[:1], "MAX": uids[-1:]}
        shown = set(chain(*(ends.get(option, uids) for option in options)))
        items.append(b" MODSEQ %d" % _highest_modseq(session, shown))
    session.write(b"* ESEARCH (TAG %b)" % responses.string(session.tag)
                  + (b" UID" if arguments.uid else b"") + b"".join(items) + b"\r\n")


def _save(view, uids, options):
    """Save the result; only the MIN and MAX messages if nothing else was requested (2.4)."""
    if options and not set(options).difference(("MIN", "MAX")):
        ends = {"MIN": uids[:1], "MAX": uids[-1:]}
        uids = set(chain(*(ends[option] for option in options)))
    view.saved = array("I", sorted(uids))


def _asks_for_modseq(key):
    if isinstance(key, And):
        return any(map(_asks_for_modseq, key.keys))
    if isinstance(key, Or):
        return _asks_for_modseq(key.left) or _asks_for_modseq(key.right)
    return _asks_for_modseq(key.key) if isinstance(key, Not) else isinstance(key, ModSeq)


def _highest_modseq(session, uids):
    highest, uids = 1, sorted(uids)
    for start in range(0, len(uids), BATCH):
        session.look()
        rows = session.view.mailbox.flag_rows(uids[start:start + BATCH])
        highest = max(highest, max(rows.modseqs, default=1))
    return highest
