"""Data derived from a mailbox's messages: reads and writes it in the index.

It only saves time, and any of it may be missing: an index that was rebuilt has none of it. See
indexing/derived_index.py.

The functions are methods of Mailbox.
"""
from .. import errors
from ..indexing.derived_index import Found


def cached(mailbox, item, uids):
    """`{uid: bytes}`: the item of those of `uids` (ascending) for which it is cached."""
    try:
        with mailbox.account.reading():
            mailbox._ready_to_read()
            return dict(mailbox.account.index.derived.items(mailbox.row.id, item, uids))
    except errors.Unavailable:
        return {}


def cache(mailbox, items, searchable=()):
    """Cache `items`, {item: {uid: bytes}}, and `searchable`, {uid: {name: value}} with the names of
    derived_index.SEARCHABLE. All of it must be made from the messages' octets alone.

    Work in idle moments waits, because a session is busy.
    """
    mailbox.account.wake_idle_work(has_mail=True)
    with mailbox.account.writing():
        mailbox.ready_locked()
        _keep_locked(mailbox, items, dict(searchable))


def keep_derived(mailbox, made, version, span, uidvalidity, sizes):
    """Cache `made`, {uid: derivation.Derived}, and note that the messages of `span`, a
    derived_index.Span, are derived, and `sizes`, {uid: (size, date)}, which were unknown. Raises
    NotFound if the mailbox has another UIDVALIDITY now."""
    items, searchable = {}, {}
    for uid, derived in made.items():
        for item, data in derived.items.items():
            items.setdefault(item, {})[uid] = data
        if derived.searchable is not None:
            searchable[uid] = derived.searchable
    with mailbox.account.writing():
        mailbox.ready_locked()
        if mailbox.row.uidvalidity != uidvalidity:
            raise errors.NotFound()
        mailbox.measured_locked(sizes)
        _keep_locked(mailbox, items, searchable)
        mailbox.account.index.derived.set_derived(mailbox.row.id, version, span)


def _keep_locked(mailbox, items, searchable):
    index, box = mailbox.account.index, mailbox.row.id
    uids = set(searchable).union(*items.values())
    existing = {row.uid for row in index.select(box, sorted(uids))}
    for item, data in items.items():
        index.derived.add_items(box, item, [each for each in data.items() if each[0] in existing])
    index.derived.add_searchable(box, [each for each in searchable.items() if each[0] in existing])


def find(mailbox, condition, first, last):
    """Find the messages with UIDs from `first` to `last` that meet a condition (derived_index.Holds
    or SentWithin) -> derived_index.Found."""
    try:
        with mailbox.account.reading():
            mailbox._ready_to_read()
            return mailbox.account.index.derived.find(mailbox.row.id, condition, first, last)
    except errors.Unavailable:
        return Found(set(), set())
