"""SORT and THREAD (RFC 5256): a search whose result is sorted or threaded.

The keys that are compared are read from a header once and cached, like ENVELOPE (sort_keys.py).
"""
from .. import sort_grammar, sort_keys, threads
from ..row import MAILBOX_SELECTED, Row
from ..session import Step
from .chosen import EXPUNGED
from .message import derived
from .search import matching, reply, reply_extended

BATCH = 1000  # messages whose keys are held at once
#: The name of the keys in the store's cache. If their format changes, change the name.
KEYS = "SORT"


def sort(session, arguments):
    """SORT and UID SORT. With RETURN the response is ESEARCH (RFC 5267 section 3)."""
    uids, missed = matching(session, arguments.key)
    uids = _sorted(session, uids, arguments.criteria)
    if arguments.returns is not None:
        reply_extended(session, uids, arguments)
    else:
        reply(session, b"SORT", uids, arguments)
    return Step(code=EXPUNGED if missed else None)


def thread(session, arguments):
    """THREAD and UID THREAD."""
    uids, missed = matching(session, arguments.key)
    messages = list(_messages(session, uids, arguments.uid))
    if arguments.algorithm == "REFERENCES":
        roots = threads.by_references(messages, session.look)
    else:
        roots = threads.by_subject(messages, session.look)
    shown = threads.render(roots)
    session.write(b"* THREAD" + (b" " + shown if shown else b"") + b"\r\n")
    return Step(code=EXPUNGED if missed else None)


def _keys_of(session, uids):
    """Yield batches: (the store's rows of existing messages, their cached keys as bytes)."""
    for start in range(0, len(uids), BATCH):
        session.look()
        batch = uids[start:start + BATCH]
        kept = derived(session, KEYS, _derive, batch)
        rows = session.view.mailbox.rows([uid for uid in batch if uid in kept])
        yield rows, [kept[uid] for uid in rows.uids]


def _derive(message):
    return sort_keys.to_bytes(sort_keys.read(message.fields(sort_keys.FIELDS)))


def _sorted(session, uids, criteria):
    """Sort UIDs, given in the mailbox's order, by the criteria. The sort is stable."""
    wanted = {each.name for each in criteria}
    reads_header = not wanted <= {"ARRIVAL", "SIZE"}
    columns, found = {name: [] for name in wanted}, []
    for rows, kept in _keys_of(session, uids) if reads_header else _rows_of(session, uids):
        found += rows.uids
        for name, column in columns.items():
            column += _column(name, rows, kept)
    order = list(range(len(found)))
    for criterion in reversed(criteria):
        session.look()
        order.sort(key=columns[criterion.name].__getitem__, reverse=criterion.reverse)
    return [found[place] for place in order]


def _rows_of(session, uids):
    for start in range(0, len(uids), BATCH):
        session.look()
        yield session.view.mailbox.rows(uids[start:start + BATCH]), None


def _column(name, rows, kept):
    if name == "ARRIVAL":
        return rows.dates
    if name == "SIZE":
        return rows.sizes
    if name == "DATE":
        return [sort_keys.sent(keys, date) for keys, date in zip(kept, rows.dates)]
    return sort_keys.column(name, kept)


def _messages(session, uids, as_uid):
    """threads.Message values in the order of the mailbox."""
    for rows, kept in _keys_of(session, uids):
        numbers = rows.uids if as_uid else map(session.view.number, rows.uids)
        for number, uid, date, data in zip(numbers, rows.uids, rows.dates, kept):
            keys = sort_keys.from_bytes(data)
            yield threads.Message(number, (date if keys.sent is None else keys.sent, uid),
                                  keys.subject, keys.identity, keys.references)


ROWS = (
    Row("SORT", MAILBOX_SELECTED, sort_grammar.sort, sort, may_expunge=False),
    Row("UID SORT", MAILBOX_SELECTED, sort_grammar.sort, sort),
    Row("THREAD", MAILBOX_SELECTED, sort_grammar.thread, thread, may_expunge=False),
    Row("UID THREAD", MAILBOX_SELECTED, sort_grammar.thread, thread),
)
