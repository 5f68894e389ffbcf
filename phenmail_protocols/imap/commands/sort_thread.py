"""SORT and THREAD (RFC 5256): a search whose result is sorted or threaded.

The keys that are compared are read from a header once and cached, like ENVELOPE
(searching/sort_keys.py). The last results are cached, too (orders.py). To save memory, the modules
that only these commands need are imported with the first of them.
"""
from array import array

from ..command_row import MAILBOX_SELECTED, Row
from ..fetching.derivations import SORT_KEYS, derived
from ..searching import search_result
from ..session import Step
from ..syntax import sort_grammar
from .message_set import EXPUNGED
from .search import matching

BATCH = 250  # messages whose keys are held at once
#: Either of these suffices for the command THREAD.
THREAD = tuple(sort_grammar.ALGORITHMS.values())


def sort(session, arguments):
    """SORT and UID SORT. With RETURN the response is ESEARCH (RFC 5267 section 3)."""
    saved = search_result.begin(session, arguments)
    uids, missed = matching(session, arguments.key, saved)
    with session.alone():
        uids = session.orders.find(
            session.view.mailbox, arguments.criteria, uids, (),
            lambda: array("I", _sorted(session, uids, arguments.criteria))).tolist()
    search_result.reply(session, b"SORT", uids, arguments)
    return Step(code=EXPUNGED if missed else None)


def thread(session, arguments):
    """THREAD and UID THREAD."""
    uids, missed = matching(session, arguments.key, session.view.saved)
    numbers = () if arguments.uid else session.view.numbers(uids, session.look)
    with session.alone():
        shown = session.orders.find(
            session.view.mailbox, arguments.algorithm, uids, numbers,
            lambda: _threads(session, uids, numbers or uids, arguments.algorithm))
    session.write(b"* THREAD" + (b" " + shown if shown else b"") + b"\r\n")
    return Step(code=EXPUNGED if missed else None)


def _threads(session, uids, numbers, algorithm):
    """The threads of messages, as they are sent with these `numbers`."""
    from ..searching import threads
    find = threads.by_references if algorithm == "REFERENCES" else threads.by_subject
    roots = find(_messages(session, uids, numbers), session.look)
    shown = threads.render(roots, session.look)
    threads.forget(roots, session.look)
    return shown


def _batches(session, uids, reads_keys=True):
    """Yield (UIDs, the store's rows of those that exist, their cached keys as list of bytes)."""
    for start in range(0, len(uids), BATCH):
        session.look()
        batch = uids[start:start + BATCH]
        kept = derived(session, SORT_KEYS, batch) if reads_keys else None
        rows = session.view.mailbox.rows(
            [uid for uid in batch if uid in kept] if reads_keys else batch)
        yield batch, rows, [kept[uid] for uid in rows.uids] if reads_keys else None


def _sorted(session, uids, criteria):
    """Sort UIDs, given in the mailbox's order, by the criteria. The sort is stable.

    It sorts by the last criterion first, so that only one column is held at a time.
    """
    from ..searching import stepwise
    order, gone = range(len(uids)), set()
    first = {each.name: place for place, each in reversed(list(enumerate(criteria)))}
    for place in sorted(first.values(), reverse=True):  # a repeated criterion changes nothing
        criterion = criteria[place]
        column = _column(session, uids, criterion.name, gone)
        order = stepwise.sort(order, column.__getitem__, session.look, criterion.reverse)
    return [uids[place] for place in order if uids[place] not in gone]


def _column(session, uids, name, gone):
    """The values of a criterion for all `uids`, in their order. UIDs of messages that no longer
    exist are added to the set `gone`."""
    column, reads_keys = [], name not in ("ARRIVAL", "SIZE")
    for batch, rows, kept in _batches(session, uids, reads_keys):
        values = _values(name, rows, kept)
        if len(rows.uids) < len(batch):
            known = dict(zip(rows.uids, values))
            gone.update(uid for uid in batch if uid not in known)
            anything = next(iter(values), None)
            values = [known.get(uid, anything) for uid in batch]
        column.extend(values)
    return column


def _values(name, rows, kept):
    from ..searching import sort_keys
    if name == "ARRIVAL":
        return rows.dates
    if name == "SIZE":
        return rows.sizes
    if name == "DATE":
        return [sort_keys.sent(keys, date) for keys, date in zip(kept, rows.dates)]
    return sort_keys.column(name, kept)


def _messages(session, uids, numbers):
    """threads.Message values in the order of the mailbox. `numbers`: what stands for each UID."""
    from ..searching import sort_keys, threads
    named = zip(uids, numbers)
    for _, rows, kept in _batches(session, uids):
        for uid, date, data in zip(rows.uids, rows.dates, kept):
            number = next(number for each, number in named if each == uid)
            keys = sort_keys.from_bytes(data)
            sent = date if keys.sent is None else keys.sent
            yield threads.Message(number, (sent << 32) + uid, keys.subject, keys.identity,
                                  keys.references)


ROWS = (
    Row("SORT", MAILBOX_SELECTED, sort_grammar.sort, sort, may_expunge=False,
        extension="SORT"),
    Row("UID SORT", MAILBOX_SELECTED, sort_grammar.sort, sort, extension="SORT"),
    Row("THREAD", MAILBOX_SELECTED, sort_grammar.thread, thread, may_expunge=False,
        extension=THREAD),
    Row("UID THREAD", MAILBOX_SELECTED, sort_grammar.thread, thread, extension=THREAD),
)
