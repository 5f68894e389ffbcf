"""The responses to SEARCH and SORT: untagged SEARCH and SORT, ESEARCH (RFC 4731, RFC 5267 3), with
the highest mod-sequence (RFC 7162 section 3.1.6); and the saved result (RFC 5182).
"""
from array import array
from itertools import chain

from .. import responses
from ..syntax import sequence
from ..syntax.values import ModSeq, leaves

BATCH = 5000  # messages that are processed at a time

#: Result option of RFC 4731 -> its value. Of SORT, MIN and MAX are the first and the last message
#: (RFC 5267 3.1).
RESULTS = {
    "MIN": lambda numbers, look: b"%d" % numbers[0],
    "MAX": lambda numbers, look: b"%d" % numbers[-1],
    "ALL": sequence.build,
    "COUNT": lambda numbers, look: b"%d" % len(numbers),
}


def begin(session, arguments):
    """Call this before the search; returns the UIDs that "$" stands for in its keys.

    If the result is to be saved and the search fails, the saved result is empty (RFC 5182 2.1).
    """
    saved = session.view.saved
    if arguments.returns is not None and "SAVE" in arguments.returns:
        session.view.saved = ()
    return saved


def reply(session, name, uids, arguments):
    """Send the result, and save it if the client requests that.

    `name`: b"SEARCH" or b"SORT", for an untagged response; `uids`: in the response's order.
    """
    if arguments.returns is None:
        _reply_plain(session, name, uids, arguments)
        return
    options = [option for option in arguments.returns if option != "SAVE"]
    if options:
        _reply_extended(session, name, uids, options, arguments)
    if len(options) < len(arguments.returns):
        covered = _covered(uids, options)
        session.view.saved = array("I", _ascending(session, name, covered))


def _in_steps(session, values):
    """Yield a list in portions, because it may be as long as the mailbox. The command can end
    between two of them."""
    for start in range(0, len(values), BATCH):
        session.look()
        yield values[start:start + BATCH]


def _shown(session, uids, as_uid):
    """The UIDs or the numbers of these messages, for the response, as a list."""
    if as_uid:
        return uids
    return session.view.numbers(uids, session.look)


def _covered(uids, options):
    """The messages that are saved, and whose mod-sequences MODSEQ covers. If only MIN or MAX or
    both were requested, these are only the first or the last message or both (RFC 4731 3.2, RFC
    5182 2.4)."""
    if not options or set(options).difference(("MIN", "MAX")):
        return uids
    ends = {"MIN": uids[:1], "MAX": uids[-1:]}
    return sorted(set(chain(*(ends[option] for option in options))))


def _ascending(session, name, uids):
    """`uids` of the response `name`, in ascending order."""
    if name != b"SORT":
        return uids
    from . import stepwise
    return stepwise.sort(uids, None, session.look)


def _reply_plain(session, name, uids, arguments):
    """* SEARCH or * SORT."""
    numbers, highest = _shown(session, uids, arguments.uid), b""
    if uids and _asks_for_modseq(arguments.key):
        highest = b" (MODSEQ %d)" % _highest_modseq(session, _ascending(session, name, uids))
    shown = [(b" %d" * len(some)) % tuple(some) for some in _in_steps(session, numbers)]
    session.write(b"* " + name + b"".join(shown) + highest + b"\r\n")


def _reply_extended(session, name, uids, options, arguments):
    """* ESEARCH. Without a match there are no MIN, MAX and ALL (RFC 4731 3.1)."""
    numbers = _shown(session, uids, arguments.uid)
    items = [b" %b %b" % (option.encode("ascii"), RESULTS[option](numbers, session.look))
             for option in options if numbers or option == "COUNT"]
    if numbers and _asks_for_modseq(arguments.key):
        covered = _ascending(session, name, _covered(uids, options))
        items.append(b" MODSEQ %d" % _highest_modseq(session, covered))
    session.write(b"* ESEARCH (TAG %b)" % responses.string(session.tag)
                  + (b" UID" if arguments.uid else b"") + b"".join(items) + b"\r\n")


def _asks_for_modseq(key):
    return any(isinstance(leaf, ModSeq) for leaf in leaves(key))


def _highest_modseq(session, uids):
    """The highest mod-sequence of these messages; `uids`: ascending."""
    highest = 1
    for start in range(0, len(uids), BATCH):
        session.look()
        rows = session.view.mailbox.flag_rows(uids[start:start + BATCH])
        highest = max(highest, max(rows.modseqs, default=1))
    return highest
