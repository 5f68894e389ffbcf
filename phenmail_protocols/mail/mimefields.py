"""The fields that describe a MIME part, Content-Type and the like -> `Description`.

Broken input gives defaults, never an error. Continued parameters are joined (RFC 2231 sections 3
and 6): `name*0*=…; name*1=…` is one `name*`; values stay encoded.

RFC 2045 (type, encoding, id, description), RFC 2183 (disposition), RFC 3282 (language), RFC 2557
(location), RFC 1864 (MD5).
"""
import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .headers import collect, unfold
from .lexer import Lexer

Parameters = List[Tuple[bytes, bytes]]

# The fields that are read here, in lower case.
FIELDS = frozenset((
    b"content-type", b"content-transfer-encoding", b"content-id", b"content-description",
    b"content-disposition", b"content-md5", b"content-language", b"content-location",
    b"mime-version"))
_CONTINUATION = re.compile(rb"([^*]+)(?:\*(\d{1,4}))?(\*)?$")
_MOST_PARAMETERS = 200


def _usual(pattern: bytes):
    token = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~\x80-\xff]+"
    return re.compile(pattern.replace(b"TOKEN", token).replace(b" ", rb"[ \t\r\n]*"))


# How nearly every field is written. Any other is read step by step, with the same result.
_USUAL_TYPE = _usual(rb" (TOKEN)/(TOKEN) (?=;|\Z)")
_USUAL_PARAMETER = _usual(rb''' ; (TOKEN)=(?:"([^"\\\r\n]*)"|(TOKEN)) (?=;|\Z)''')
_USUAL_TOKEN = _usual(rb" (TOKEN) \Z")


class Description(NamedTuple):
    """What a part's header says about it. `type`: None if there is no usable Content-Type.

    `type` and `subtype` are as sent, `params` and those of the `disposition` are (name, value).
    """
    type: Optional[bytes] = None
    subtype: bytes = b""
    params: Tuple[Tuple[bytes, bytes], ...] = ()
    id: Optional[bytes] = None
    description: Optional[bytes] = None
    encoding: Optional[bytes] = None
    md5: Optional[bytes] = None
    disposition: Optional[Tuple[bytes, Tuple[Tuple[bytes, bytes], ...]]] = None
    languages: Tuple[bytes, ...] = ()
    location: Optional[bytes] = None


# For a header without any of these fields.
NOTHING = Description()


def describe(header: bytes, heads_message: bool = False) -> Description:
    """A part's header -> Description. Of repeated fields the first usable one counts.

    `heads_message`: it is the header of a whole message. If that has neither MIME-Version nor
    Content-Type, the message is not MIME, and the other fields mean nothing.
    """
    found = collect(header, FIELDS)
    if not found or heads_message and b"mime-version" not in found and b"content-type" not in found:
        return NOTHING

    def text(name: bytes) -> Optional[bytes]:
        return unfold(found[name][0]) if name in found else None
    kind, subtype, params = content_type(found.get(b"content-type", (b"",))[0])
    return Description(
        kind, subtype, params, text(b"content-id"), text(b"content-description"),
        _encoding(found.get(b"content-transfer-encoding", ())), text(b"content-md5"),
        _disposition(found.get(b"content-disposition", ())),
        _languages(found.get(b"content-language", (b"",))[0]), text(b"content-location"))


def content_type(value: bytes):
    """`text/plain; charset=utf-8` -> (type, subtype, parameters).

    (None, b"", ()) if a half is missing; RFC 2045 section 5.2 then wants text/plain.
    """
    usual = _USUAL_TYPE.match(value)
    if usual:
        return usual.group(1), usual.group(2), _parameters(Lexer(value, usual.end()))
    lexer = Lexer(value)
    lexer.skip()
    kind = lexer.token()
    lexer.skip()
    if not kind or not lexer.take(b"/"):
        return None, b"", ()
    lexer.skip()
    subtype = lexer.token()
    lexer.skip()
    return (kind, subtype, _parameters(lexer)) if subtype else (None, b"", ())


def _disposition(values: Sequence[bytes]):
    """`attachment; filename="a.txt"` -> (value, parameters); (b"", …) for a field without a value.

    The first field with parameters counts, else the last one.
    """
    found = None
    for value in values:
        lexer = Lexer(value)
        lexer.skip()
        token = lexer.token()
        lexer.skip()
        found = token, _parameters(lexer)
        if found[1]:
            break
    return found


def _encoding(values: Sequence[bytes]) -> Optional[bytes]:
    """The first Content-Transfer-Encoding that is one token."""
    for value in values:
        usual = _USUAL_TOKEN.match(value)
        if usual:
            return usual.group(1)
        lexer = Lexer(value)
        lexer.skip()
        token = lexer.token()
        if token and lexer.skip() and lexer.at_end():
            return token
    return None


def _languages(value: bytes) -> Tuple[bytes, ...]:
    lexer, found = Lexer(value), []
    while lexer.skip():
        language = lexer.atom()
        lexer.skip()
        if language:
            found.append(language)
        if not lexer.take(b",") or len(found) >= _MOST_PARAMETERS:
            break
    return tuple(found)


def _parameters(lexer: Lexer):
    """*(";" name "=" value); after anything else it continues at the next semicolon."""
    found: Parameters = []
    for _ in range(_MOST_PARAMETERS):
        usual = _USUAL_PARAMETER.match(lexer.data, lexer.position)
        if usual:
            name, quoted, token = usual.groups()
            found.append((name, token if quoted is None else quoted))
            lexer.position = usual.end()
            continue
        lexer.skip()
        if not lexer.take(b";"):
            semicolon = lexer.data.find(b";", lexer.position)
            if semicolon < 0:
                break
            lexer.position = semicolon + 1
        lexer.skip()
        name = lexer.token()
        lexer.skip()
        if name and lexer.take(b"="):
            lexer.skip()
            found.append((name, _value(lexer)))
    return _join_continuations(found) if any(b"*" in name for name, _ in found) else tuple(found)


def _join_continuations(params: Parameters):
    """RFC 2231 section 3. Joined parameters follow the others, sorted by name.

    A row with a gap stays in pieces.
    """
    others, rows = [], {}
    for name, value in params:
        match = _CONTINUATION.match(name)
        if match and b"*" in name:
            piece = int(match.group(2) or 0), bool(match.group(3)), name, value
            rows.setdefault(match.group(1).lower(), []).append(piece)
        else:
            others.append((name, value))
    for key in sorted(rows):
        row = sorted(rows[key])
        if [piece[0] for piece in row] != list(range(len(row))):
            others += [(name, value) for _, _, name, value in row]
            continue
        encoded = any(piece[1] for piece in row)
        joined = [b"''" if encoded and not row[0][1] else b""]
        joined += [value.replace(b"%", b"%25") if encoded and not extended else value
                   for _, extended, _, value in row]
        name = row[0][2].partition(b"*")[0] + (b"*" if encoded else b"")
        others.append((name, b"".join(joined)))
    return tuple(others)


def _value(lexer: Lexer) -> bytes:
    if lexer.peek() == b'"':
        return lexer.quoted()[0]
    if lexer.peek() == b"=":
        # name==?utf-8?b?…?= is common, although encoded words are not allowed here.
        return lexer.word()
    return lexer.token()
