"""The arguments of FETCH (RFC 3501 section 9: fetch, fetch-att, section), with BINARY (RFC 3516).

Pure. An extension's item is one more name in ITEMS (MODSEQ) or one more branch of `_item`
(BINARY[...]).
"""
import re

from . import command_grammar, tokens
from .values import BINARY, BINARY_SIZE, Fetch, Section

#: Items without a section -> the extension to which each belongs, and the macros that stand for
#: several items (RFC 3501 6.4.5).
ITEMS = {"UID": None, "FLAGS": None, "INTERNALDATE": None, "RFC822.SIZE": None, "ENVELOPE": None,
         "BODY": None, "BODYSTRUCTURE": None, "MODSEQ": "CONDSTORE", "EMAILID": "OBJECTID",
         "THREADID": "OBJECTID"}
_FAST = ("FLAGS", "INTERNALDATE", "RFC822.SIZE")
MACROS = {
    "FAST": _FAST,
    "ALL": _FAST + ("ENVELOPE",),
    "FULL": _FAST + ("ENVELOPE", "BODY"),
}

#: The older names of three sections (RFC 3501 6.4.5). The response repeats the name.
RFC822 = {
    "RFC822": Section(False, (), None, frozenset(), None, b"RFC822"),
    "RFC822.HEADER": Section(True, (), "HEADER", frozenset(), None, b"RFC822.HEADER"),
    "RFC822.TEXT": Section(False, (), "TEXT", frozenset(), None, b"RFC822.TEXT"),
}

_UID_MODIFIERS = {"CHANGEDSINCE": "CONDSTORE", "VANISHED": "QRESYNC"}
_MODIFIERS = {"CHANGEDSINCE": "CONDSTORE"}

_NAME = re.compile(rb"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*")
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")
_KIND = re.compile(rb"HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME", re.IGNORECASE)
_NOT_IN_LABEL = re.compile(rb"[\r\n\0\x80-\xff]")


def fetch(scan):
    """FETCH and UID FETCH -> Fetch"""
    sequence = scan.sequence()
    scan.space()
    items = attributes(scan)
    if not scan.skip(b" ("):
        return Fetch(sequence, items, scan.uid)
    start = scan.at
    modifiers = dict(scan.items(lambda: _modifier(scan)))
    if "CHANGEDSINCE" not in modifiers:
        raise scan.failed("CHANGEDSINCE", start)
    if "MODSEQ" not in items:
        items += ("MODSEQ",)
    return Fetch(sequence, items, scan.uid, modifiers["CHANGEDSINCE"], "VANISHED" in modifiers)


def _modifier(scan):
    """A FETCH modifier of RFC 7162 (3.1.4.1, 3.2.6) -> (name, mod-sequence or None)."""
    name = scan.one_of(_UID_MODIFIERS if scan.uid else _MODIFIERS, "a FETCH modifier")
    if name == "VANISHED":
        return name, None
    scan.space()
    return name, command_grammar.mod_sequence(scan)


def attributes(scan):
    """A macro, one fetch-att, or a list of them -> tuple of str and Section.

    Each once, in the client's order.
    """
    if scan.skip(b"("):
        return tokens.without_repeats(scan.items(lambda: _item(scan)))
    start = scan.at
    macro = MACROS.get(_name(scan))
    if macro is not None:
        return macro
    scan.at = start
    return (_item(scan),)


def _name(scan):
    return scan.match(_NAME, "a FETCH item").group().upper().decode("ascii")


def _item(scan):
    start = scan.at
    name = _name(scan)
    if scan.peek() == b"[":
        if name in ("BODY", "BODY.PEEK"):
            return _section(scan, name == "BODY.PEEK")
        if name in ("BINARY", "BINARY.PEEK", "BINARY.SIZE") and scan.offers("BINARY"):
            return _binary(scan, name)
    elif name in ITEMS and scan.offers(ITEMS[name]):
        return name
    elif name in RFC822:
        return RFC822[name]
    raise scan.failed("a FETCH item", start)


def _section(scan, peek):
    """section with its <origin.length>, behind BODY or BODY.PEEK."""
    scan.expect(b"[", '"["')
    part = kind = None
    names = []
    if scan.peek().isdigit():
        part = scan.match(_PART, "a part number without leading zeros").group()
    if part is None and scan.peek() != b"]" or part is not None and scan.skip(b"."):
        kind = _kind(scan, part is not None)
    if kind in ("HEADER.FIELDS", "HEADER.FIELDS.NOT"):
        scan.space()
        scan.expect(b"(", "a list of field names")
        names = scan.items(lambda: _field_name(scan))
    scan.expect(b"]", '"]"')
    partial = _partial(scan)
    numbers = tuple(map(int, part.split(b"."))) if part else ()
    return Section(peek, numbers, kind, frozenset(name.lower() for name in names), partial,
                   _label(part, kind, names, partial))


def _binary(scan, name):
    """section-binary with its <origin.length>, behind its name (RFC 3516 section 7)."""
    scan.expect(b"[", '"["')
    part = b""
    if scan.peek() != b"]":
        part = scan.match(_PART, "a part number without leading zeros").group()
    scan.expect(b"]", '"]"')
    numbers = tuple(map(int, part.split(b"."))) if part else ()
    if name == BINARY_SIZE:
        return Section(True, numbers, name, frozenset(), None, b"BINARY.SIZE[" + part + b"]")
    partial = _partial(scan)
    label = b"BINARY[" + part + b"]" + (b"<%d>" % partial[0] if partial else b"")
    return Section(name == "BINARY.PEEK", numbers, BINARY, frozenset(), partial, label)


def _kind(scan, within_part):
    start = scan.at
    kind = scan.match(_KIND, "HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or a part number")
    kind = kind.group().upper().decode("ascii")
    if kind == "MIME" and not within_part:
        raise scan.failed("a part number before MIME", start)
    return kind


def _field_name(scan):
    """header-fld-name: an astring that fits into the label, which is one line of ASCII."""
    start = scan.at
    name = scan.astring("a field name")
    if _NOT_IN_LABEL.search(name):
        raise scan.failed("a field name of ASCII characters", min(start, len(scan.line)))
    return name


def _partial(scan):
    if not scan.skip(b"<"):
        return None
    origin = scan.number("the first octet's number")
    scan.expect(b".", '"."')
    length = scan.positive("a length above zero")
    scan.expect(b">", '">"')
    return origin, length


def _label(part, kind, names, partial):
    """The section's name in the response (RFC 3501 7.4.2).

    The field names are spelt as the client spelt them; of <origin.length> only the origin is left.
    """
    text = b".".join(piece for piece in (part, kind and kind.encode("ascii")) if piece)
    if names:
        text += b" (" + b" ".join([name if tokens.is_atom(name) else tokens.quoted(name)
                                   for name in names]) + b")"
    return b"BODY[" + text + b"]" + (b"<%d>" % partial[0] if partial else b"")
