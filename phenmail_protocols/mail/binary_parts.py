"""Encodes binary content of a message in base64, so that the message can be stored and sent as
lines of text without loss (RFC 3516 section 4.4).

Only parts that need it are changed, because every change breaks signatures (section 6): parts with
NUL, and parts that are labelled "binary" and have a CR or LF that is not a line end. NUL anywhere
else is an error: in headers, between parts, and in parts that are already encoded.
"""
import binascii
from typing import Callable, Iterable, Iterator

from . import headers, structure

_LABELS = (b"7bit", b"8bit", b"binary")  # of content that is not encoded (RFC 2045 section 6.2)
_ENCODING = frozenset((b"content-transfer-encoding",))
_VERSION = frozenset((b"mime-version",))
_LINE, _ENCODED_LINE = 57, 76  # octets of a line before and after base64 (RFC 2045 section 6.8)

#: (start, end) -> the octets of the message between them, in chunks.
Read = Callable[[int, int], Iterable[bytes]]


class NotText(ValueError):
    """There is a NUL where it cannot be encoded, or the message has too many parts."""


class LineEnds:
    """Whether octets, given in pieces, are lines of text: no NUL, and CR and LF only as CRLF."""

    __slots__ = ("has_nul", "has_strays", "_held_cr")

    def __init__(self):
        self.has_nul = self.has_strays = self._held_cr = False

    def feed(self, data: bytes) -> None:
        if self._held_cr:
            data = b"\r" + data
        self._held_cr = data[-1:] == b"\r"
        if self._held_cr:
            data = data[:-1]
        self.has_nul = self.has_nul or b"\0" in data
        if not self.has_strays:
            pairs = data.count(b"\r\n")
            self.has_strays = not pairs == data.count(b"\r") == data.count(b"\n")

    def close(self) -> None:
        self.has_strays = self.has_strays or self._held_cr


def encoded(read: Read, size: int) -> Iterator[bytes]:
    """Yield the octets of a message with its binary parts encoded, in pieces.

    `read` gives the octets of the message as it was sent; `size` is their number. Raises NotText;
    then the caller must discard what was yielded before.
    """
    def too_many():
        raise NotText()
    at = 0
    for part in structure.leaves(structure.scan(read(0, size), exceeded=too_many)):
        yield from _text(read(at, part.start))
        if _needs_encoding(part, read):
            yield from _header(part, read)
            yield from _base64(read(part.body, part.end), ends=part.end == size)
        else:
            yield from _text(read(part.start, part.end))
        at = part.end
    yield from _text(read(at, size))


def _text(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if b"\0" in chunk:
            raise NotText()
        yield chunk


def _needs_encoding(part, read: Read) -> bool:
    label = part.encoding.lower()
    if label not in _LABELS:
        return False
    found = LineEnds()
    for chunk in read(part.body, part.end):
        found.feed(chunk)
    found.close()
    return found.has_nul or found.has_strays and label == b"binary"


def _header(part, read: Read) -> Iterator[bytes]:
    """Yield the header of a part, up to the empty line, with its new Content-Transfer-Encoding."""
    others = headers.Selection(_ENCODING, negate=True)
    for chunk in _text(read(part.start, part.body)):
        yield others.feed(chunk)
    yield others.close()
    version = headers.selected(read(part.start, part.body), _VERSION)
    if part.header is not None and not any(lines.strip() for lines in version):
        yield b"MIME-Version: 1.0\r\n"
    yield b"Content-Transfer-Encoding: base64\r\n\r\n"


def _base64(chunks: Iterable[bytes], ends: bool) -> Iterator[bytes]:
    """Yield base64 lines. The last one has a line end if `ends`: the message ends here."""
    rest, line_end = b"", b""
    for chunk in chunks:
        data = rest + chunk
        whole = len(data) - len(data) % _LINE
        rest = data[whole:]
        if whole:
            yield line_end + _lines(data[:whole])
            line_end = b"\r\n"
    yield (line_end + _lines(rest) if rest else b"") + (b"\r\n" if ends else b"")


def _lines(data: bytes) -> bytes:
    text = binascii.b2a_base64(data, newline=False)
    return b"\r\n".join([text[at:at + _ENCODED_LINE] for at in range(0, len(text), _ENCODED_LINE)])
