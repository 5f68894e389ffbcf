"""From the bytes of parts to their text: transfer encodings undone, charsets read, in pieces of
bounded size.

Lenient and never raising: what cannot be decoded is taken as it stands. RFC 2045 section 6.
"""
import binascii
from typing import Iterable, Iterator

from .charsets import Reader
from .structure import Part

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(byte for byte in range(256) if byte not in _ALPHABET + b"=")
# A quoted-printable line may have no end at all; a soft break or an escape that is cut lies in the last three bytes.
_LONGEST_LINE = 65536


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
