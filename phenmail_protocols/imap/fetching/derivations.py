"""FETCH items that are made from a message once, and cached in the store's index in the form in
which they are sent.

In idle moments all items of a message are made together (`derive`, called by
store/deriving/derivation.py). An item that a client requests earlier is made alone (`sources`).
Most items need only a few header fields. These fields are cached, too (HEADER), so any selection of
them is made without reading the message.
"""
from functools import lru_cache, partial
from heapq import merge
from operator import attrgetter
from typing import Any, Callable, NamedTuple

from ...mail import headers
from ...mail.structure import ENVELOPE_FIELDS
from ...store import errors
from ...store.deriving.derivation import Derived
from .. import responses
from ..syntax import fetch_grammar, tokens
from ..syntax.values import Section
from . import email_id, message_responses
from .message import FIELDS, Message, messages

#: Changes whenever what `derive` gives changes.
VERSION = "3"
#: Octets of a cached item. Longer items are rare, and a batch of them would need much memory.
KEPT = 8192
#: The name in the store of the cached header fields.
HEADER = "HEADER"
#: These header fields are cached: the ones that mail programs list.
USUAL = frozenset((
    b"bcc", b"cc", b"chat-version", b"content-description", b"content-transfer-encoding",
    b"content-type", b"date", b"disposition-notification-to", b"from", b"importance",
    b"in-reply-to", b"lines", b"list-id", b"list-post", b"list-subscribe", b"list-unsubscribe",
    b"mail-followup-to", b"mail-reply-to", b"message-id", b"mime-version", b"newsgroups",
    b"priority", b"references", b"reply-to", b"sender", b"subject", b"to", b"user-agent",
    b"x-label", b"x-mailer", b"x-original-to", b"x-priority", b"x-spam-flag", b"x-spam-status"))
_MOST_CHOICES = 4  # selections of fields, requested earlier, that are made for new messages


class CachedItem(NamedTuple):
    """How one item is made.

    name       its name in the store
    empty      its value for an expunged message
    make       function: Message -> the value as it is sent
    by_header  `make` also takes a KeptHeader
    lazy       if the value is not cached, NIL is sent and the value is not made
    """
    name: str
    empty: bytes
    make: Callable[[Any], bytes]
    by_header: bool = False
    lazy: bool = False


def _preview(message):
    from ...mail import preview
    text = preview.preview(message.tree(), message.read, message.look)
    return responses.string(text.encode("utf-8"))


def _sort_keys(message):
    from ..searching import sort_keys
    return sort_keys.to_bytes(sort_keys.read(message.fields(sort_keys.FIELDS)))


ENVELOPE = CachedItem(
    "ENVELOPE", message_responses.EMPTY_ENVELOPE,
    lambda message: message_responses.envelope(message.fields(ENVELOPE_FIELDS)), True)
BODY = CachedItem(
    "BODY", message_responses.EMPTY_BODY,
    lambda message: message_responses.body(message.tree(), message.look))
BODYSTRUCTURE = CachedItem(
    "BODYSTRUCTURE", message_responses.EMPTY_BODYSTRUCTURE,
    lambda message: message_responses.bodystructure(message.tree(), message.look))
#: What SORT and THREAD compare. If its format changes, change its name.
SORT_KEYS = CachedItem("SORT", b"", _sort_keys, True)

PREVIEW = CachedItem("PREVIEW", b'""', _preview)  # RFC 8970
EMAIL_ID = CachedItem("EMAILID", email_id.EMPTY, email_id.of)

#: FETCH item -> its CachedItem
ITEMS = {each.name: each for each in (ENVELOPE, BODY, BODYSTRUCTURE, PREVIEW, EMAIL_ID)}
ITEMS[fetch_grammar.LAZY_PREVIEW] = PREVIEW._replace(lazy=True)
#: The items that need the message's MIME tree.
FROM_TREE = frozenset(("BODY", "BODYSTRUCTURE", "PREVIEW"))


def chosen_fields(section):
    """HEADER.FIELDS or HEADER.FIELDS.NOT of a message -> its CachedItem."""
    negate = section.kind == "HEADER.FIELDS.NOT"
    return CachedItem(section.label.decode("ascii").upper(), responses.NIL,
                      partial(_chosen_fields, section.names, negate),
                      not negate and section.names <= USUAL)


def _chosen_fields(names, negate, message):
    return responses.literal(headers.select(message.header(), names, negate))


def is_chosen_fields(item):
    """Does this FETCH item select whole fields of the message's own header? Such items are cached,
    because mail programs request them for all messages."""
    return (isinstance(item, Section) and item.kind in ("HEADER.FIELDS", "HEADER.FIELDS.NOT")
            and not item.part and item.partial is None)


class KeptHeader:
    """The cached header fields of a message. It takes the place of a Message."""

    __slots__ = ("uid", "_header")

    def __init__(self, uid, header):
        self.uid = uid
        self._header = header

    def header(self):
        return self._header

    def header_size(self):
        return len(self._header)

    def fields(self, names):
        return self._header

    def forget_tree(self):
        """Nothing to do: it has no MIME tree."""


def sources(session, derivations, uids):
    """Yield a Message, or a KeptHeader if that suffices, for each of `uids` (ascending) that
    exists."""
    kept = {}
    if all(each.by_header for each in derivations):
        kept = session.view.mailbox.cached(HEADER, uids)
    return merge((KeptHeader(uid, header) for uid, header in sorted(kept.items())),
                 messages(session, [uid for uid in uids if uid not in kept]),
                 key=attrgetter("uid"))


def derived(session, derivation, uids):
    """{uid: bytes}: the item's value for each of `uids` that exists. New values are cached."""
    mailbox = session.view.mailbox
    values = mailbox.cached(derivation.name, uids)
    made = {}
    for message in sources(session, [derivation], [uid for uid in uids if uid not in values]):
        made[message.uid] = values[message.uid] = derivation.make(message)
    keep(mailbox, {derivation.name: made})
    return values


def keep(mailbox, items, searchable=()):
    """Cache `items`, {name: {uid: bytes}}, in the store; errors are ignored. `searchable`: see
    store.deriving.derived.cache."""
    try:
        if searchable or any(items.values()):
            mailbox.cache(items, searchable)
    except errors.StoreError:
        pass  # the cache only saves time


def derive(row, content, names, look):
    """Make all items and searchable fields of one message -> Derived. The parameters are those of
    store.deriving.derivation.Derivation."""
    message = Message(row.uid, content, None, look)
    derivations = [BODYSTRUCTURE, PREVIEW]
    derivations += [each for each in (BODY, EMAIL_ID) if each.name in names]
    items = _made(derivations, message)
    if message.header_size() <= FIELDS:
        items.update(_from_header(message, names))
    return Derived({name: value for name, value in items.items() if len(value) <= KEPT},
                   searchable_fields(message, row.date))


def _from_header(message, names):
    kept = KeptHeader(message.uid, headers.select(message.header(), USUAL))
    choices = [found for found in map(_choice, names[::-1]) if found is not None][:_MOST_CHOICES]
    items = {HEADER: kept.header()}
    for each in [ENVELOPE, SORT_KEYS] + choices:
        items[each.name] = each.make(kept if each.by_header else message)
    return items


def _made(derivations, message):
    return {each.name: each.make(message) for each in derivations}


def searchable_fields(message, arrival):
    """The result of mail.searchable.read; None if the header is large. `arrival`: epoch seconds."""
    from ...mail import searchable
    if message.header_size() > FIELDS:
        return None
    return searchable.read(message.header(), arrival)


@lru_cache(maxsize=64)
def _choice(name):
    """An item's name in the store -> its CachedItem if it selects header fields, else None."""
    if not name.startswith("BODY["):
        return None
    try:
        items = fetch_grammar.attributes(tokens.Scanner([name.encode("ascii")]))
    except (tokens.BadSyntax, UnicodeEncodeError):
        return None
    return chosen_fields(items[0]) if is_chosen_fields(items[0]) else None
