"""ENVELOPE, BODY and BODYSTRUCTURE of a message, as they are sent (RFC 3501 7.4.2 and 9).

Pure: made from a header and a `mail.structure.Part`. The response is well-formed for any message.
"""
from ...mail import address, headers
from ...mail.structure import ENVELOPE_FIELDS
from ..responses import NIL, nstring, string

_MOST_ADDRESSES = 10000  # in one response, of a message and the messages inside it
_MOST_FIELDS = 20  # fields with one name whose addresses are read
EMPTY_ENVELOPE = b"(" + b" ".join([NIL] * 10) + b")"
_GROUP_END = b"(NIL NIL NIL NIL)"
#: An empty message. It is sent for an expunged message, and for a message/rfc822 whose content was
#: not scanned, because the grammar has no message/rfc822 without one.
EMPTY_BODY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)'
EMPTY_BODYSTRUCTURE = EMPTY_BODY[:-1] + b" NIL NIL NIL NIL)"


class _Budget:
    """How many more addresses a response may show. The number is limited, because an address may be
    many times as long in a response as in the message. `look` is called for each part and may raise
    to end the work."""

    __slots__ = ("addresses", "look")

    def __init__(self, look=lambda: None):
        self.addresses = _MOST_ADDRESSES
        self.look = look


def envelope(header):
    """Header of a message as bytes -> ENVELOPE. Without Sender or Reply-To it shows From (7.4.2).

    Fields that RFC 5322 3.6 allows once may be repeated. As in Dovecot, the addresses of all of
    them are shown, and of other fields the last one. If all programs read a message in the same
    way, an attacker cannot hide a second From from some of them.
    """
    return _envelope(header, _Budget())


def _envelope(header, budget):
    found = headers.collect(header, ENVELOPE_FIELDS)
    senders = _addresses(found.get(b"from"), budget)
    return b"(" + b" ".join((
        _text(found.get(b"date")),
        _text(found.get(b"subject"), headers.one_line),
        senders,
        _addresses(found.get(b"sender"), budget, senders),
        _addresses(found.get(b"reply-to"), budget, senders),
        _addresses(found.get(b"to"), budget),
        _addresses(found.get(b"cc"), budget),
        _addresses(found.get(b"bcc"), budget),
        _text(found.get(b"in-reply-to")),
        _text(found.get(b"message-id")))) + b")"


def _structured(value):
    """A Date, Message-ID or In-Reply-To without the blanks around it (RFC 5322 3.6.4)."""
    return headers.unfold(value).strip(b" \t")


def _text(values, read=_structured):
    return nstring(read(values[-1])) if values else NIL


def _addresses(values, budget, default=NIL):
    """All addresses of the fields of one name -> list of address structures, or `default`."""
    found = []
    for value in (values or ())[:_MOST_FIELDS]:
        if not budget.addresses:
            break
        entries = address.parse_address_list(value)[:budget.addresses]
        shown = [_address(entry, budget) for entry in entries]
        budget.addresses = max(0, budget.addresses - len(shown))
        found += shown
    return b"(" + b"".join(found) + b")" if found else default


def _address(entry, budget):
    if isinstance(entry, address.Group):
        members = entry.members[:budget.addresses]
        budget.addresses -= len(members)
        shown = b"".join([_address(member, budget) for member in members])
        return b"(NIL NIL " + string(entry.name) + b" NIL)" + shown + _GROUP_END
    words = entry.name, entry.route, entry.local, entry.domain
    return b"(" + b" ".join(map(nstring, words)) + b")"


def bodystructure(part, *look):
    """Part -> BODYSTRUCTURE, with extension data. `look`: see _Budget."""
    return _structure(part, True, _Budget(*look))


def body(part, *look):
    """Part -> BODY, without extension data. `look`: see _Budget."""
    return _structure(part, False, _Budget(*look))


def _structure(part, extended, budget):
    budget.look()
    if part.parts:
        children = b"".join(_structure(child, extended, budget) for child in part.parts)
        pieces = [children, string(part.subtype)]
        if extended:
            pieces += [_parameters(part.params)] + _extension(part)
        return b"(" + b" ".join(pieces) + b")"
    pieces = [string(part.type), string(part.subtype), _parameters(part.params), nstring(part.id),
              nstring(part.description), string(part.encoding), b"%d" % (part.end - part.body)]
    kind = part.type.lower()
    if kind == b"text":
        pieces.append(b"%d" % part.lines)
    elif kind == b"message" and part.subtype.lower() == b"rfc822":
        pieces += _message(part.message, extended, budget)
        pieces.append(b"%d" % part.lines)
    if extended:
        pieces += [nstring(part.md5)] + _extension(part)
    return b"(" + b" ".join(pieces) + b")"


def _message(inside, extended, budget):
    """ENVELOPE and structure of the message in a message/rfc822."""
    if inside is None:
        return EMPTY_ENVELOPE, EMPTY_BODYSTRUCTURE if extended else EMPTY_BODY
    return _envelope(inside.header, budget), _structure(inside, extended, budget)


def _parameters(pairs):
    if not pairs:
        return NIL
    return b"(" + b" ".join([string(word) for pair in pairs for word in pair]) + b")"


def _extension(part):
    """body-fld-dsp, body-fld-lang, body-fld-loc: list of bytes."""
    disposition = NIL
    if part.disposition is not None:
        value, parameters = part.disposition
        disposition = b"(" + string(value) + b" " + _parameters(parameters) + b")"
    languages = b"(" + b" ".join(map(string, part.languages)) + b")" if part.languages else NIL
    return [disposition, languages, nstring(part.location)]
