"""What is derived from a message and kept in the store's index, in the form in which it is sent.

All of it is derived together in idle moments (`derive`, called by store/derivation.py), and one by
one if a client asks first (`sources`). Most of it comes from a few fields of the header. These are
kept, too (HEADER), and spare reading the message: any choice of them is made from there.
"""
from functools import lru_cache, partial
from heapq import merge
from operator import attrgetter
from typing import Any, Callable, NamedTuple

from ..mail import headers
from ..mail.structure import ENVELOPE_FIELDS
from ..store import errors
from ..store.derivation import Derived
from . import email_id, message_responses, responses
from .commands.message import FIELDS, Message, messages
from .syntax import fetch_grammar, tokens
from .syntax.values import Section

#: Changes whenever what `derive` gives changes.
VERSION = "3"
#: Octets of a derived item that is kept. Longer ones are rare, and a batch of them is too much.
KEPT = 8192
#: The name of the kept fields in the store.
HEADER = "HEADER"
#: The fields that mail programs list.
USUAL = frozenset((
    b"bcc", b"cc", b"chat-version", b"content-description", b"content-transfer-encoding",
    b"content-type", b"date", b"disposition-notification-to", b"from", b"importance",
    b"in-reply-to", b"lines", b"list-id", b"list-post", b"list-subscribe", b"list-unsubscribe",
    b"mail-followup-to", b"mail-reply-to", b"message-id", b"mime-version", b"newsgroups",
    b"priority", b"references", b"reply-to", b"sender", b"subject", b"to", b"user-agent",
    b"x-label", b"x-mailer", b"x-original-to", b"x-priority", b"x-spam-flag", b"x-spam-status"))
_MOST_CHOICES = 4  # choices of fields that are derived in advance, because clients asked for them


class Derivation(NamedTuple):
    """How one item is made.

    name       in the store
    empty      its value for an expunged message
    make       function of a Message that gives its value
    by_header  a KeptHeader suffices for `make`
    lazy       NIL is sent instead of a value that would have to be made
    """
    name: str
    empty: bytes
    make: Callable[[Any], bytes]
    by_header: bool = False
    lazy: bool = False


def _preview(message):
    from ..mail import preview
    text = preview.preview(message.tree(), message.read, message.look)
    return responses.string(text.encode("utf-8"))


def _sort_keys(message):
    from . import sort_keys
    return sort_keys.to_bytes(sort_keys.read(message.fields(sort_keys.FIELDS)))


ENVELOPE = Derivation(
    "ENVELOPE", message_responses.EMPTY_ENVELOPE,
    lambda message: message_responses.envelope(message.fields(ENVELOPE_FIELDS)), True)
BODY = Derivation(
    "BODY", message_responses.EMPTY_BODY,
    lambda message: message_responses.body(message.tree(), message.look))
BODYSTRUCTURE = Derivation(
    "BODYSTRUCTURE", message_responses.EMPTY_BODYSTRUCTURE,
    lambda message: message_responses.bodystructure(message.tree(), message.look))
#: What SORT and THREAD compare. If its format changes, change its name.
SORT_KEYS = Derivation("SORT", b"", _sort_keys, True)

PREVIEW = Derivation("PREVIEW", b'""', _preview)  # RFC 8970
EMAIL_ID = Derivation("EMAILID", email_id.EMPTY, email_id.of)

#: FETCH item -> its Derivation
ITEMS = {each.name: each for each in (ENVELOPE, BODY, BODYSTRUCTURE, PREVIEW, EMAIL_ID)}
ITEMS[fetch_grammar.LAZY_PREVIEW] = PREVIEW._replace(lazy=True)
#: Those that are made from the message's MIME tree.
FROM_TREE = frozenset(("BODY", "BODYSTRUCTURE", "PREVIEW"))


def chosen_fields(section):
    """HEADER.FIELDS or HEADER.FIELDS.NOT of a message -> its Derivation."""
    negate = section.kind == "HEADER.FIELDS.NOT"
    return Derivation(section.label.decode("ascii").upper(), responses.NIL,
                      partial(_chosen_fields, section.names, negate),
                      not negate and section.names <= USUAL)


def _chosen_fields(names, negate, message):
    return responses.literal(headers.select(message.header(), names, negate))


def is_chosen_fields(item):
    """Is this FETCH item whole fields of the message's own header? Mail programs ask for them for
    all messages."""
    return (isinstance(item, Section) and item.kind in ("HEADER.FIELDS", "HEADER.FIELDS.NOT")
            and not item.part and item.partial is None)


class KeptHeader:
    """The kept fields of a message, in place of the Message."""

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
        """It has none."""


def sources(session, derivations, uids):
    """A Message, or a KeptHeader where that suffices, for each message that exists."""
    kept = {}
    if all(each.by_header for each in derivations):
        kept = session.view.mailbox.cached(HEADER, uids)
    return merge((KeptHeader(uid, header) for uid, header in sorted(kept.items())),
                 messages(session, [uid for uid in uids if uid not in kept]),
                 key=attrgetter("uid"))


def derived(session, derivation, uids):
    """{uid: bytes}: the item of the messages that exist. What had to be made is kept."""
    mailbox = session.view.mailbox
    values = mailbox.cached(derivation.name, uids)
    made = {}
    for message in sources(session, [derivation], [uid for uid in uids if uid not in values]):
        made[message.uid] = values[message.uid] = derivation.make(message)
    keep(mailbox, {derivation.name: made})
    return values


def keep(mailbox, items, searchable=()):
    """Put {name: {uid: bytes}} into the store, if it can; `searchable`: see store.derived.cache."""
    try:
        if searchable or any(items.values()):
            mailbox.cache(items, searchable)
    except errors.StoreError:
        pass  # it only saves time


def derive(row, content, names, look):
    """Everything about one message, for store.derivation."""
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
    """What mail.searchable.read gives; None for a large header."""
    from ..mail import searchable
    if message.header_size() > FIELDS:
        return None
    return searchable.read(message.header(), arrival)


@lru_cache(maxsize=64)
def _choice(name):
    """The name of an item in the store -> the Derivation if it is a choice of fields, else None."""
    if not name.startswith("BODY["):
        return None
    try:
        items = fetch_grammar.attributes(tokens.Scanner([name.encode("ascii")]))
    except (tokens.BadSyntax, UnicodeEncodeError):
        return None
    return chosen_fields(items[0]) if is_chosen_fields(items[0]) else None
