"""The header of a message as raw bytes: its end, its fields, a selection of them, a field as text.

Works on wire form (CRLF) and on LF form alike, and returns bytes unchanged. No field's meaning is
known here. RFC 5322 section 2.2, RFC 2047 (encoded words), RFC 6532 (UTF-8 in headers).

A regular expression holds the interpreter lock while it searches, so larger headers are searched in
blocks.
"""
import binascii
import re
import sys
from functools import lru_cache
from itertools import islice
from typing import Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from .decoding import to_text

_FIELD = re.compile(rb"[^\n]+(?:\n[ \t][^\n]*)*\n?")
_ENCODED_WORD = re.compile(rb"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
_Q_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
_BETWEEN_WORDS = re.compile(rb"[ \t\r\n]*")
_NOT_BLANK = re.compile(rb"[^ \t\r\n]+")
_CONTINUED = re.compile(rb"(?:[ \t][^\n]*\n?)*")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")

# In one value, _WORDS encoded words are decoded, and one more for each _OCTETS_A_WORD of its
# octets; the rest stays encoded. Meaningful words are longer than that.
_WORDS, _OCTETS_A_WORD = 500, 64
_BLOCK = 65536  # octets that one regular expression searches
# A larger header is not kept in memory, but searched in `blocks` of this size.
LARGE, _OVERLAP = 1 << 18, 2048


class Field(NamedTuple):
    """One field.

    `name`: as written, without trailing blanks; b"" for a line that is not a field. `value`: what
    follows the colon, folded, without the last line end. `raw`: the whole lines.
    """
    name: bytes
    value: bytes
    raw: bytes


def body_offset(data: bytes) -> int:
    """Where the body begins: after the first empty line, or len(data) if there is none."""
    if data[:2] == b"\r\n" or data[:1] == b"\n":
        return 1 if data[:1] == b"\n" else 2
    crlf = data.find(b"\n\r\n")
    lf = data.find(b"\n\n", 0, crlf + 1 if crlf >= 0 else len(data))
    if lf >= 0:
        return lf + 2
    return crlf + 3 if crlf >= 0 else len(data)


def split_header(data: bytes) -> Tuple[bytes, int]:
    """A message, or the beginning of one -> (its header with the empty line, the body's offset)."""
    offset = body_offset(data)
    return data[:offset], offset


def each_field(header: bytes) -> Iterator[Field]:
    """A header, with or without its empty line -> its fields in order.

    Lines that are not a field have the name b"".
    """
    for match in _FIELD.finditer(header):
        raw = match.group()
        if raw in (b"\r\n", b"\n", b"\r"):
            return
        colon = raw.find(b":")
        name = raw[:colon].rstrip(b" \t") if colon > 0 else b""
        if not name or b"\n" in name or name[:1] in (b" ", b"\t"):
            yield Field(b"", b"", raw)
        else:
            yield Field(name, raw[colon + 1:].rstrip(b"\r\n"), raw)


def fields(header: bytes) -> List[Field]:
    """The fields of a header in a list. Only for headers of limited size."""
    return list(each_field(header))


@lru_cache(maxsize=128)
def _chooser(names: FrozenSet[bytes], negate: bool = False):
    """A pattern for the fields of these names, or for all others, without their last LF.

    It begins with a plain LF, which the engine finds at the speed of memchr, and the next two
    letters end most attempts. IGNORECASE would prevent both, so letters are classes of two.
    """
    def either_case(name: bytes) -> bytes:
        return b"".join(b"[%s%s]" % (c.lower(), c.upper()) if c.isalpha() else re.escape(c)
                        for c in (name[i:i + 1] for i in range(len(name))))
    name = rb"(?:%s)[ \t]*:" % b"|".join(either_case(name) for name in sorted(names))
    if negate:
        first = rb"(?!%s)[^ \t\r\n]" % name
    else:
        begins = [rb"(?=%s[%s])" % (b"." * place, _letters_at(place, names)) for place in (0, 1)]
        first = b"".join(begins) + name
    return re.compile(rb"\n(%s[^\n]*(?:\n[ \t][^\n]*)*)" % first)


def _letters_at(place: int, names: FrozenSet[bytes]) -> bytes:
    """A class of the characters at this place of a line that begins with one of the names."""
    letters = {(name + b":")[place:place + 1] for name in names}
    if place:
        letters |= {b" ", b"\t"}
    either_case = {letter.lower() for letter in letters} | {letter.upper() for letter in letters}
    return b"".join(sorted(map(re.escape, either_case)))


class Selection:
    """The chosen fields of a header that arrives in pieces, cut anywhere; memory is bounded.

    `feed` returns the lines that are certain by then, unchanged, and `close` the rest; neither
    returns the empty line. At most `limit` octets are returned in all. Do not feed anything of
    the body.
    """

    __slots__ = ("_pattern", "_room", "_rest", "_wanted", "_in_line")

    def __init__(self, names_lowercase: FrozenSet[bytes], limit: int = sys.maxsize,
                 negate: bool = False):
        self._pattern = _chooser(names_lowercase, negate)
        self._room = limit
        self._rest = b""
        self._wanted = False  # whether the field that began last is chosen
        self._in_line = False  # whether its last line has not ended yet

    def feed(self, piece: bytes) -> bytes:
        if self._room <= 0:
            return b""
        data = self._rest + piece
        if len(data) <= _BLOCK:
            self._rest = data
            return b""
        found, at = [], 0
        while len(data) - at > _BLOCK:
            end = data.rfind(b"\n", at, at + _BLOCK) + 1 or at + _BLOCK
            found.append(self._chosen(data[at:end]))
            at = end
        self._rest = data[at:]
        return self._limited(b"".join(found))

    def close(self) -> bytes:
        rest, self._rest = self._rest, b""
        return self._limited(self._chosen(rest)) if self._room > 0 else b""

    def _limited(self, lines: bytes) -> bytes:
        lines = lines[:self._room]
        self._room -= len(lines)
        return lines

    def _chosen(self, block: bytes) -> bytes:
        """The chosen fields of a block, which ends with a line or in a very long one."""
        begun = block.find(b"\n") + 1 or len(block) if self._in_line else 0
        self._in_line = not block.endswith(b"\n")
        begun = _CONTINUED.match(block, begun).end() if begun < len(block) else begun
        kept = block[:begun] if self._wanted else b""
        if begun == len(block):
            return kept
        block = b"\n" + block[begun:]
        fields = self._pattern.findall(block)
        last = fields[-1] if fields else b""
        end = b"" if self._in_line else b"\n"
        self._wanted = bool(fields) and block.endswith(b"\n" + last + end)
        if not fields:
            return kept
        return kept + b"\n".join(fields) + (b"" if self._wanted and self._in_line else b"\n")


def lines_of(header: bytes, names_lowercase: FrozenSet[bytes], negate: bool = False) -> bytes:
    """As `Selection`, for a header that is no larger than a block."""
    found = _chooser(names_lowercase, negate).findall(b"\n" + header)
    if not found:
        return b""
    return b"\n".join(found) + (b"" if header.endswith(found[-1]) else b"\n")


def select(header: bytes, names_lowercase: FrozenSet[bytes], negate: bool = False) -> bytes:
    """HEADER.FIELDS and HEADER.FIELDS.NOT (RFC 3501 section 6.4.5) -> the lines of the chosen
    fields, unchanged, and the empty line if the header has one."""
    if len(header) > _BLOCK:
        return b"".join(selected((header,), names_lowercase, negate))
    # The pattern needs a name: no field is called "\n".
    lines = lines_of(header, names_lowercase or frozenset((b"\n",)), negate)
    return lines + (b"\r\n" if (b"\n" + header).endswith((b"\n\r\n", b"\n\n")) else b"")


def selected(pieces: Iterable[bytes], names_lowercase: FrozenSet[bytes],
             negate: bool = False) -> Iterator[bytes]:
    """As `select`, for a header of any size, and nothing of the body, in pieces, cut anywhere."""
    # The pattern needs a name: no field is called "\n".
    selection, last = Selection(names_lowercase or frozenset((b"\n",)), negate=negate), b"\n"
    for piece in pieces:
        last = (last + piece)[-3:]
        lines = selection.feed(piece)
        if lines:
            yield lines
    yield selection.close() + (b"\r\n" if last.endswith((b"\n\r\n", b"\n\n")) else b"")


def blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A header of any size in pieces, cut anywhere -> blocks of about LARGE octets of whole fields.

    A larger field becomes several fields of its name. Each begins with the end of the one before,
    so that a word at a cut is whole in one of them.
    """
    rest = b""
    for piece in pieces:
        rest += piece
        if len(rest) >= LARGE:
            end = _last_field(rest)
            if end:
                block, rest = rest[:end], rest[end:]
            else:
                name, colon, _ = rest[:_OVERLAP].partition(b":")
                block, rest = rest, name + colon + rest[-_OVERLAP:] if colon else rest[-_OVERLAP:]
            yield block
    if rest:
        yield rest


def _last_field(header: bytes) -> int:
    """Where the last field begins, 0 if it is the only one."""
    end = len(header)
    while end > 0:
        end = header.rfind(b"\n", 0, end)
        if header[end + 1:end + 2] not in (b" ", b"\t", b""):
            break
    return end + 1


def collect(header: bytes, names_lowercase: FrozenSet[bytes]) -> Dict[bytes, List[bytes]]:
    """The folded values of the named fields, in one pass -> {lower-case name: values in order}."""
    found: Dict[bytes, List[bytes]] = {}
    if len(header) > _BLOCK:
        selection = Selection(names_lowercase)
        header = selection.feed(header) + selection.close()
    for match in _chooser(names_lowercase).finditer(b"\n" + header):
        name, _, value = match.group(1).partition(b":")
        found.setdefault(name.rstrip(b" \t").lower(), []).append(value.rstrip(b"\r"))
    return found


def first(header: bytes, name: bytes) -> Optional[bytes]:
    """The folded value of the first field of that name (in any case), or None."""
    found = _chooser(frozenset((name.lower(),))).search(b"\n" + header)
    return found.group(1).partition(b":")[2].rstrip(b"\r") if found else None


def unfold(value: bytes) -> bytes:
    """A value without its line ends (RFC 5322 section 2.2.3).

    The white space that folds stays, a tab as a space. The blanks after the colon are removed;
    those at the end belong to the value.
    """
    if b"\n" in value:
        first_line, _, rest = value.partition(b"\n")
        rest = rest.replace(b"\n\t", b"\n ").replace(b"\r\n", b"").replace(b"\n", b"")
        rest = b" " + rest[1:] if rest[:1] == b"\t" else rest
        return (first_line.rstrip(b"\r").lstrip(b" \t") + rest).rstrip(b"\r\n")
    return value.lstrip(b" \t").rstrip(b"\r\n")


def one_line(value: bytes) -> bytes:
    """A value as ENVELOPE shows subjects and names: runs of white space and line ends are one
    space, with none around the value, and no NUL."""
    return b" ".join(_NOT_BLANK.findall(value.replace(b"\0", b"")))


def decode(value: bytes) -> str:
    """A field's value -> its text for people: unfolded, encoded words decoded (RFC 2047), raw UTF-8
    kept (RFC 6532).

    Unknown charsets and broken words stay in some readable form. Never raises.
    """
    value = unfold(value).strip(b" \t")
    if b"=?" not in value:
        return to_text(value)
    pieces, position = [], 0
    pending_charset = b""
    pending: List[bytes] = []
    most = _WORDS + len(value) // _OCTETS_A_WORD
    for word in islice(_ENCODED_WORD.finditer(value), most):
        between = value[position:word.start()]
        charset = word.group(1).partition(b"*")[0].lower()
        # White space between two encoded words is not text, and a multi-byte character may be
        # split over words of the same charset.
        adjacent = bool(pending) and _BETWEEN_WORDS.fullmatch(between) is not None
        if not adjacent or charset != pending_charset:
            pieces.append(to_text(b"".join(pending), pending_charset))
            pending = []
            if not adjacent:
                pieces.append(to_text(between))
        pending_charset, position = charset, word.end()
        pending.append(_decode_word(word.group(2), word.group(3)))
    pieces.append(to_text(b"".join(pending), pending_charset))
    pieces.append(to_text(value[position:]))
    return "".join(pieces)


def _decode_word(encoding: bytes, text: bytes) -> bytes:
    if encoding in b"qQ":
        return _Q_ESCAPE.sub(lambda found: binascii.unhexlify(found.group(1)),
                             text.replace(b"_", b" "))
    digits = _NOT_BASE64.sub(b"", text)
    digits = digits[:-1] if len(digits) % 4 == 1 else digits
    return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
