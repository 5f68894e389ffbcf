"""The fields that describe a MIME part: Content-Type and its kin -> `Description`. Ugly input gives defaults, never an error.

RFC 2045 (type, encoding, id, description), RFC 2183 (disposition), RFC 3282 (language), RFC 2557 (location), RFC 1864 (MD5).
Parameters stay as they were sent: RFC 2231 continuations are for the reader of BODYSTRUCTURE to join.
"""
from typing import List, NamedTuple, Optional, Tuple

from .headers import collect, unfold
from .lexer import Lexer

Parameters = List[Tuple[bytes, bytes]]

_NAMES = frozenset((b"content-type", b"content-transfer-encoding", b"content-id", b"content-description", b"content-disposition",
                    b"content-md5", b"content-language", b"content-location"))
_MOST_PARAMETERS = 200


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


def describe(header: bytes) -> Description:
    """A part's header -> Description. The first of repeated fields counts."""
    found = collect(header, _NAMES)
    if not found:
        return _NOTHING

    def text(name: bytes) -> Optional[bytes]:
        return unfold(found[name][0]) if name in found else None
    kind, subtype, params = content_type(found[b"content-type"][0]) if b"content-type" in found else (None, b"", ())
    encoding = text(b"content-transfer-encoding")
    dispositions, languages = found.get(b"content-disposition"), text(b"content-language")
    return Description(kind, subtype, params, text(b"content-id"), text(b"content-description"),
                       _lone_token(encoding) if encoding else None, text(b"content-md5"),
                       disposition(dispositions[0]) if dispositions else None, _languages(languages or b""),
                       text(b"content-location"))


_NOTHING = Description()


def content_type(value: bytes):
    """`text/plain; charset=utf-8` -> (type or None, subtype, parameters)."""
    lexer = Lexer(value)
    lexer.skip()
    kind = lexer.token()
    lexer.skip()
    if not kind or not lexer.take(b"/"):
        return kind or None, b"", ()
    lexer.skip()
    subtype = lexer.token()
    lexer.skip()
    return kind, subtype, _parameters(lexer)


def disposition(value: bytes):
    """`attachment; filename="a.txt"` -> (value, parameters), or None when it begins with no token."""
    lexer = Lexer(value)
    lexer.skip()
    token = lexer.token()
    lexer.skip()
    return (token, _parameters(lexer)) if token else None


def _lone_token(value: bytes) -> Optional[bytes]:
    lexer = Lexer(value)
    lexer.skip()
    token = lexer.token()
    return token if token and lexer.skip() and lexer.at_end() else None


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
    found = []  # type: Parameters
    while len(found) < _MOST_PARAMETERS:
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
    return tuple(found)


def _value(lexer: Lexer) -> bytes:
    if lexer.peek() == b'"':
        return lexer.quoted()[0]
    if lexer.peek() == b"=":
        # name==?utf-8?b?…?= is common: an encoded word where none may be.
        return lexer.word()
    return lexer.token()
