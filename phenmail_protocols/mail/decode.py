"""From the bytes of parts to the text that SEARCH looks into: transfer encodings undone, charsets read, in pieces of bounded size.

Lenient and never raising: what cannot be decoded is taken as it stands. RFC 2045 section 6, RFC 3501 section 6.4.4 (BODY, TEXT).
"""
import binascii
from typing import Callable, Iterable, Iterator, Tuple

from .charsets import Reader
from .headers import decode as decode_field
from .headers import each_field
from .structure import Part

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(byte for byte in range(256) if byte not in _ALPHABET + b"=")
# A quoted-printable line may have no end at all; a soft break or an escape that is cut lies in the last three bytes.
_LONGEST_LINE = 65536
# A header's fields are decoded one by one; this much of it is searched.
_MOST_HEADER = 1 << 20

# Gives the wire bytes [start, end) of a message in chunks.
Read = Callable[[int, int], Iterable[bytes]]


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""


class _Base64:
    """RFC 2045 section 6.8: bytes outside the alphabet are ignored, padding ends the data, a cut quantum gives what it holds."""

    def __init__(self):
        self._pending, self._ended = b"", False

    def feed(self, data: bytes) -> bytes:
        if self._ended:
            return b""
        data = self._pending + data.translate(None, _NOT_BASE64)
        padding = data.find(b"=")
        if padding >= 0:
            self._pending, self._ended = data[:padding], True
            return self.close()
        whole = len(data) - len(data) % 4
        self._pending = data[whole:]
        return binascii.a2b_base64(data[:whole])

    def close(self) -> bytes:
        data, self._pending = self._pending, b""
        if len(data) % 4 == 1:
            data = data[:-1]
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4))


class _QuotedPrintable:
    """RFC 2045 section 6.7, line by line whatever the chunks."""

    def __init__(self):
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        data = self._pending + data
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > _LONGEST_LINE:
            cut = len(data) - 3
            equals = data.find(b"=", cut - 3, cut)
            cut = equals if equals >= 0 else cut
        self._pending = data[cut:]
        return binascii.a2b_qp(data[:cut])

    def close(self) -> bytes:
        data, self._pending = self._pending, b""
        return binascii.a2b_qp(data)


# Where one of these stands, the text may be other than the bytes; and the charsets whose letters are ASCII's own.
_ENCODED = ("base64", "quoted-printable", "=?")
_PLAIN_CHARSETS = ("utf-8", "us-ascii", "iso-8859-", "windows-125")

_TRANSFER_DECODERS = {b"base64": _Base64, b"quoted-printable": _QuotedPrintable}


def texts_of(part: Part, chunks: Iterable[bytes]) -> Iterator[str]:
    """The body of a leaf in chunks -> its text in pieces, some of them empty."""
    transfer = _TRANSFER_DECODERS.get(part.encoding.lower(), _Identity)()
    reader = Reader(next((value for name, value in part.params if name.lower() == b"charset"), b""))
    for chunk in chunks:
        yield reader.feed(transfer.feed(chunk))
    yield reader.feed(transfer.close()) + reader.close()


def leaves(root: Part) -> Iterator[Part]:
    """The parts without parts below `root`, in order of appearance; of a message inside its leaves."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.parts:
            waiting.extend(reversed(part.parts))
        elif part.message is not None:
            waiting.append(part.message)
        else:
            yield part


def _headers_inside(root: Part) -> Iterator[Tuple[int, int]]:
    """Where the headers below `root` lie, its own not counted."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        below = part.parts or ((part.message,) if part.message is not None else ())
        for child in below:
            yield child.start, child.body
        waiting.extend(below)


def header_text(header: bytes) -> str:
    """A header as SEARCH TEXT sees it: each field decoded on a line of its own."""
    return "\n".join("%s: %s" % (field.name.decode("latin-1"), decode_field(field.value)) for field in each_field(header) if field.name)


def searchable(root: Part, read: Read, header: bool) -> Iterator[Iterable[str]]:
    """What SEARCH BODY looks into, with `header` what TEXT does: texts, each an iterable of pieces. A match may lie across the pieces
    of one text, never across two texts. Text parts and the headers of parts and messages inside count, other content does not."""
    spans = [(root.start, root.body)] if header else []
    spans.extend(_headers_inside(root))
    for start, end in spans:
        yield (header_text(b"".join(read(start, min(end, start + _MOST_HEADER)))),)
    for part in leaves(root):
        if part.type.lower() in (b"text", b"message"):
            yield texts_of(part, read(part.body, part.end))


def fold_case(text: str) -> str:
    """The form in which SEARCH compares: case does not count (RFC 3501 section 6.4.4)."""
    return text.casefold()


def holds(pieces: Iterable[str], key: str) -> bool:
    """Whether a text in pieces holds `key`, which comes from fold_case."""
    before, overlap = "", len(key) - 1
    for piece in pieces:
        if not piece:
            continue
        window = before + fold_case(piece)
        if key in window:
            return True
        before = window[-overlap:] if overlap > 0 else ""
    return not key


def message_holds(root: Part, read: Read, key: str, header: bool) -> bool:
    """SEARCH BODY `key`, with `header` TEXT `key`; `key` comes from fold_case."""
    return any(holds(pieces, key) for pieces in searchable(root, read, header))


def rules_out(data: bytes, key: str) -> bool:
    """True when a whole message in wire form surely does not hold `key` (from fold_case) in body or header; False says nothing. Most
    messages of a mailbox that do not match are told in some microseconds, without a look at their structure."""
    if "\n" in key or ":" in key:
        return False
    try:
        text = data.decode("ascii").lower()
    except UnicodeDecodeError:
        return False
    if any(mark in text for mark in _ENCODED):
        return False
    for after in text.split("charset")[1:]:
        if not after.lstrip('= "').startswith(_PLAIN_CHARSETS):
            return False
    return key not in text.replace("\r\n ", " ").replace("\r\n\t", " ")
