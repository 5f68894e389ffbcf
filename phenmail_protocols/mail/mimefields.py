"""The fields that describe a MIME part: Content-Type and its kin -> `Description`. Ugly input gives defaults, never an error.

RFC 2045 (type, encoding, id, description), RFC 2183 (disposition), RFC 3282 (language), RFC 2557 (location), RFC 1864 (MD5).
Parameter continuations are joined (RFC 2231 sections 3 and 6): `name*0*=…; name*1=…` is one `name*`; values stay encoded.
"""
import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .headers import collect, unfold
from .lexer import Lexer

Parameters = List[Tuple[bytes, bytes]]

#: The names of the fields that are read here, in lower case.
FIELDS = frozenset((b"content-type", b"content-transfer-encoding", b"content-id", b"content-description", b"content-disposition",
                    b"content-md5", b"content-language", b"content-location", b"mime-version"))
_CONTINUATION = re.compile(rb"([^*]+)(?:\*(\d{1,4}))?(\*)?$")
_MOST_PARAMETERS = 200


# How nearly every field is written; what does not match is read step by step, with the same outcome.
_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~\x80-\xff]+"
_USUAL_TYPE = re.compile(rb"[ \t\r\n]*(TOKEN)/(TOKEN)[ \t\r\n]*(?=;|\Z)".replace(b"TOKEN", _TOKEN))
_USUAL_PARAMETER = re.compile(rb"""[ \t\r\n]*;[ \t\r\n]*(TOKEN)=(?:"([^"\\\r\n]*)"|(TOKEN))[ \t\r\n]*(?=;|\Z)""".replace(b"TOKEN", _TOKEN))
_USUAL_TOKEN = re.compile(rb"[ \t\r\n]*(TOKEN)[ \t\r\n]*\Z".replace(b"TOKEN", _TOKEN))


class Description(NamedTuple):
    """What a part's header says of it. `type` and `subtype` as sent, None where there is no usable Content-Type."""
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


#: What a header without any of these fields says.
NOTHING = Description()


def describe(header: bytes, heads_message: bool = False) -> Description:
    """A part's header -> Description. Of repeated fields the first that can be used counts. Where the header is a whole message's
    (`heads_message`), one with neither MIME-Version nor Content-Type is no MIME and its other fields mean nothing."""
    found = collect(header, FIELDS)
    if not found or heads_message and b"mime-version" not in found and b"content-type" not in found:
        return NOTHING

    def text(name: bytes) -> Optional[bytes]:
        return unfold(found[name][0]) if name in found else None
    kind, subtype, params = content_type(found[b"content-type"][0]) if b"content-type" in found else (None, b"", ())
    languages = found.get(b"content-language")
    return Description(kind, subtype, params, text(b"content-id"), text(b"content-description"),
                       _encoding(found.get(b"content-transfer-encoding", ())), text(b"content-md5"),
                       _disposition(found.get(b"content-disposition", ())), _languages(languages[0]) if languages else (),
                       text(b"content-location"))


def content_type(value: bytes):
    """`text/plain; charset=utf-8` -> (type, subtype, parameters); without both halves (None, b"", ()): RFC 2045 section 5.2 has what
    cannot be read be text/plain."""
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
    """`attachment; filename="a.txt"` -> (value, parameters); a field without a value is (b"", …). The first with parameters counts,
    else the last."""
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
    """*(";" name "=" value), going on at the next semicolon after what is none."""
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
    """RFC 2231 section 3. The joined ones follow the others, by name; a row with a gap stays in pieces."""
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
        joined += [value.replace(b"%", b"%25") if encoded and not extended else value for _, extended, _, value in row]
        others.append((row[0][2].partition(b"*")[0] + (b"*" if encoded else b""), b"".join(joined)))
    return tuple(others)


def _value(lexer: Lexer) -> bytes:
    if lexer.peek() == b'"':
        return lexer.quoted()[0]
    if lexer.peek() == b"=":
        # name==?utf-8?b?…?= is common: an encoded word where none may be.
        return lexer.word()
    return lexer.token()
