"""What FETCH may ask for (RFC 3501 section 9: fetch, fetch-att, section).

Pure. The next item of an extension is one row of ITEMS (MODSEQ) or one branch of `_item` (BINARY[...]).
"""
import re

from . import tokens
from .values import Fetch, Section

#: Items without a section, and the macros that stand for several (RFC 3501 6.4.5).
ITEMS = frozenset(("UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE"))
MACROS = {
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}

#: The older names of three sections (RFC 3501 6.4.5); they are echoed as they were asked for.
RFC822 = {
    "RFC822": Section(False, (), None, frozenset(), None, b"RFC822"),
    "RFC822.HEADER": Section(True, (), "HEADER", frozenset(), None, b"RFC822.HEADER"),
    "RFC822.TEXT": Section(False, (), "TEXT", frozenset(), None, b"RFC822.TEXT"),
}

_NAME = re.compile(rb"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*")
_PART = re.compile(rb"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")
_KIND = re.compile(rb"HEADER(?:\.FIELDS(?:\.NOT)?)?|TEXT|MIME", re.IGNORECASE)
_ATOM = re.compile(rb"[%s]+" % tokens.ATOM)
_ESCAPED = re.compile(rb'[\\"]')
_UNQUOTABLE = re.compile(rb"[\r\n\0]")


def fetch(scan, uid):
    """Arguments of FETCH and UID FETCH -> Fetch"""
    scan.space()
    sequence = scan.sequence()
    scan.space()
    return Fetch(sequence, attributes(scan), uid)


def attributes(scan):
    """A macro, one fetch-att, or a list of them -> tuple of str and Section, each once, in the client's order."""
    if scan.skip(b"("):
        return tokens.without_repeats(scan.items(lambda: _item(scan)))
    start = scan.at
    macro = _NAME.match(scan.line, start)
    if macro and macro.group().upper().decode("ascii") in MACROS:
        scan.at = macro.end()
        return MACROS[macro.group().upper().decode("ascii")]
    return (_item(scan),)


def _item(scan):
    start = scan.at
    name = scan.match(_NAME, "a FETCH item").group().upper().decode("ascii")
    if scan.peek() == b"[":
        if name in ("BODY", "BODY.PEEK"):
            return _section(scan, name == "BODY.PEEK")
    elif name in ITEMS:
        return name
    elif name in RFC822:
        return RFC822[name]
    scan.at = start
    raise scan.failed("a FETCH item")


def _section(scan, peek):
    """section with its <origin.length>, the name BODY consumed"""
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
    return Section(peek, tuple(int(number) for number in part.split(b".")) if part else (), kind,
                   frozenset(name.lower() for name in names), partial, _label(part, kind, names, partial))


def _kind(scan, within_part):
    start = scan.at
    kind = scan.match(_KIND, "HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT or a part number").group().upper().decode("ascii")
    if kind == "MIME" and not within_part:
        scan.at = start
        raise scan.failed("a part number before MIME")
    return kind


def _field_name(scan):
    """header-fld-name: an astring. The label must carry it in one line, so no CR, LF or 8-bit octet."""
    start = scan.at
    name = scan.astring("a field name")
    if _UNQUOTABLE.search(name) or any(octet > 127 for octet in name):
        scan.at = min(start, len(scan.line))
        raise scan.failed("a field name of ASCII characters")
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
    """What the response calls this section (RFC 3501 7.4.2): the names as the client spelt them, only the origin of <a.b>."""
    text = b".".join(piece for piece in (part, kind and kind.encode("ascii")) if piece)
    if names:
        text += b" (" + b" ".join(name if _ATOM.fullmatch(name) else b'"' + _ESCAPED.sub(rb"\\\g<0>", name) + b'"' for name in names) + b")"
    return b"BODY[" + text + b"]" + (b"<%d>" % partial[0] if partial else b"")
