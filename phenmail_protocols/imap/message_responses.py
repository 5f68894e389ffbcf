"""ENVELOPE, BODY and BODYSTRUCTURE: what a message looks like, as bytes of the wire (RFC 3501 7.4.2 and 9: envelope, body).

Pure: from `mail.headers` and a `mail.structure.Part`. Whatever the message is like, the answer is well-formed.
"""
from ..mail import address, headers
from ..mail.structure import ENVELOPE_FIELDS
from .responses import NIL, nstring, string

# Addresses that one answer shows of one message, those of messages inside it too; and fields of one
# name whose addresses are read.
_MOST_ADDRESSES, _MOST_FIELDS = 10000, 20
EMPTY_ENVELOPE = b"(" + b" ".join([NIL] * 10) + b")"
_GROUP_END = b"(NIL NIL NIL NIL)"
#: An empty message: sent for an expunged message, and for a message/rfc822 whose inside was not looked at,
#: because the grammar has no message/rfc822 without one.
EMPTY_BODY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)'
EMPTY_BODYSTRUCTURE = EMPTY_BODY[:-1] + b" NIL NIL NIL NIL)"


class _Room:
    """How many more addresses an answer shows: small ones cost many times their size. `look` is
    called for each part and may raise to end the work."""

    __slots__ = ("addresses", "look")

    def __init__(self, look=lambda: None):
        self.addresses = _MOST_ADDRESSES
        self.look = look


def envelope(header):
    """Header of a message as bytes -> ENVELOPE. A missing Sender or Reply-To is From (RFC 3501 7.4.2).

    Fields that RFC 5322 3.6 allows once and that come again: addresses are taken together, of others the last counts, as with
    Dovecot; one reading for all programs leaves less room for a second From that only some of them show.
    """
    return _envelope(header, _Room())


def _envelope(header, room):
    found = headers.collect(header, ENVELOPE_FIELDS)
    senders = _addresses(found.get(b"from"), room)
    return b"(" + b" ".join((
        _text(found.get(b"date")), _text(found.get(b"subject"), headers.one_line), senders,
        _addresses(found.get(b"sender"), room, senders),
        _addresses(found.get(b"reply-to"), room, senders),
        _addresses(found.get(b"to"), room), _addresses(found.get(b"cc"), room),
        _addresses(found.get(b"bcc"), room),
        _text(found.get(b"in-reply-to")), _text(found.get(b"message-id")))) + b")"


def _structured(value):
    """A Date, Message-ID or In-Reply-To: blanks around what it says are no part of it (RFC 5322
    3.6.4)."""
    return headers.unfold(value).strip(b" \t")


def _text(values, read=_structured):
    return nstring(read(values[-1])) if values else NIL


def _addresses(values, room, otherwise=NIL):
    """All addresses of one kind of field -> list of address structures, or `otherwise` when there is none"""
    if not values:
        return otherwise
    found = []
    for value in values[:_MOST_FIELDS]:
        if not room.addresses:
            break
        entries = address.parse_address_list(value)[:room.addresses]
        shown = [_address(entry, room) for entry in entries]
        room.addresses = max(0, room.addresses - len(shown))
        found += shown
    return b"(" + b"".join(found) + b")" if found else otherwise


def _address(entry, room):
    if isinstance(entry, address.Group):
        members = entry.members[:room.addresses]
        room.addresses -= len(members)
        shown = b"".join([_address(member, room) for member in members])
        return b"(NIL NIL " + string(entry.name) + b" NIL)" + shown + _GROUP_END
    return b"(" + b" ".join((nstring(entry.name), nstring(entry.route), nstring(entry.local), nstring(entry.domain))) + b")"


def bodystructure(part, *look):
    """Part -> BODYSTRUCTURE: with extension data. `look`: see _Room."""
    return _structure(part, True, _Room(*look))


def body(part, *look):
    """Part -> BODY: without extension data. `look`: see _Room."""
    return _structure(part, False, _Room(*look))


def _structure(part, extended, room):
    room.look()
    if part.parts:
        children = b"".join(_structure(child, extended, room) for child in part.parts)
        pieces = children + b" " + string(part.subtype)
        return b"(" + pieces + (b" " + _parameters(part.params) + _extension(part) if extended else b"") + b")"
    pieces = [string(part.type), string(part.subtype), _parameters(part.params), nstring(part.id), nstring(part.description),
              string(part.encoding), b"%d" % (part.end - part.body)]
    kind = part.type.lower()
    if kind == b"text":
        pieces.append(b"%d" % part.lines)
    elif kind == b"message" and part.subtype.lower() == b"rfc822":
        pieces.extend(_message(part.message, extended, room))
        pieces.append(b"%d" % part.lines)
    return b"(" + b" ".join(pieces) + (b" " + nstring(part.md5) + _extension(part) if extended else b"") + b")"


def _message(inside, extended, room):
    """ENVELOPE and structure of the message in a message/rfc822"""
    if inside is None:
        return EMPTY_ENVELOPE, EMPTY_BODYSTRUCTURE if extended else EMPTY_BODY
    return _envelope(inside.header, room), _structure(inside, extended, room)


def _parameters(pairs):
    return b"(" + b" ".join(string(word) for pair in pairs for word in pair) + b")" if pairs else NIL


def _extension(part):
    """body-fld-dsp, body-fld-lang, body-fld-loc, each with its space before"""
    disposition = b" NIL"
    if part.disposition is not None:
        value, parameters = part.disposition
        disposition = b" (" + string(value) + b" " + _parameters(parameters) + b")"
    languages = b"(" + b" ".join(map(string, part.languages)) + b")" if part.languages else NIL
    return disposition + b" " + languages + b" " + nstring(part.location)
