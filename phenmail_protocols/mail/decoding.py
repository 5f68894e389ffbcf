"""From the bytes of a body or a field to its text: transfer encodings and charsets.

Everything works in pieces of bounded size. Broken input gives some text and never an error.
RFC 2045 section 6 (Content-Transfer-Encoding), RFC 2978 (names of charsets).
"""
import binascii
import codecs
import re
import sys
from encodings.aliases import aliases
from functools import lru_cache
from typing import Iterable, Iterator, Optional

# Only names that Python has are looked up. Python imports a module for an unknown name and
# remembers the failure for ever, and the names come from strangers.
_KNOWN = frozenset(aliases) | frozenset(aliases.values())
_SEPARATORS = re.compile(r"[^0-9a-z]+")
# Names that mail uses and Python does not know, and labels that in practice mean a superset (WHATWG
# Encoding).
_MEANT = {
    "unicode_1_1_utf_8": "utf_8",
    "iso_8859_1": "cp1252", "latin_1": "cp1252", "latin1": "cp1252", "iso8859_1": "cp1252",
    "iso_8859_8_i": "iso8859_8", "iso_8859_8_e": "iso8859_8", "gb2312": "gb18030",
    "gbk": "gb18030", "x_gbk": "gb18030", "ks_c_5601_1987": "cp949", "ksc5601": "cp949",
    "euc_kr": "cp949", "shift_jis": "cp932", "x_sjis": "cp932", "sjis": "cp932", "big5": "cp950",
    "cp_850": "cp850", "iso_2022_jp": "iso2022_jp_2", "tis_620": "cp874", "iso_8859_9": "cp1254",
    "macintosh": "mac_roman", "x_mac_roman": "mac_roman", "x_cp1250": "cp1250",
    "x_cp1251": "cp1251", "x_cp1252": "cp1252", "win_1251": "cp1251", "win_1252": "cp1252",
}
# Python's codecs that are no charsets, and US-ASCII: its 8-bit bytes mean that the label is wrong.
_NO_CHARSETS = frozenset((
    "ascii", "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec",
    "zlib_codec", "mbcs", "oem", "idna", "punycode", "undefined", "unicode_escape",
    "raw_unicode_escape", "unicode_internal"))

# What surrogateescape makes of bytes that are not UTF-8, and the Latin-1 letters that they mean.
_STRAY = re.compile("[\udc80-\udcff]")
_LATIN_1 = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}

# A codec holds the interpreter lock, and some take 150 ms for a megabyte of errors: so one call
# gets this many bytes.
_PIECE = 16384
# Bytes that a codec may hold back for a character that never ends (UTF-7 has such characters).
_HELD_BACK = 65536


def codec_name(charset: bytes) -> Optional[str]:
    """A charset's name as a message has it -> Python's codec for it, or None if it is unknown."""
    name = _SEPARATORS.sub("_", charset[:64].decode("latin-1").lower()).strip("_")
    if name in _MEANT:
        return _MEANT[name]
    if name.startswith("windows_"):
        name = "cp" + name[8:]
    name = aliases.get(name, name)
    return _MEANT.get(name, name) if name in _KNOWN and name not in _NO_CHARSETS else None


@lru_cache(maxsize=32)
def _table(codec: str) -> Optional[str]:
    """The 256 characters of a single-byte charset, U+FFFD where it has none; None for others.

    With a complete table no byte is an error. An error costs Python half a microsecond.
    """
    module = sys.modules.get(codecs.lookup(codec).incrementaldecoder.__module__)
    if not hasattr(module, "decoding_table"):
        return None
    return "".join(bytes((byte,)).decode(codec, "replace") for byte in range(256))


class Reader:
    """Decodes the bytes of one charset, given in pieces; a character may be cut between pieces.

    Without a charset, and for US-ASCII and unknown ones, bytes are read as UTF-8, and each byte
    that is not UTF-8 as Latin-1, so nothing is lost. Bytes that a known charset does not have
    become U+FFFD.
    """

    __slots__ = ("_decoder", "_guessing", "_table")

    def __init__(self, charset: bytes):
        codec = codec_name(charset)
        self._guessing = codec is None
        self._table = None if codec is None else _table(codec)
        errors = "surrogateescape" if self._guessing else "replace"
        self._decoder = codecs.getincrementaldecoder(codec or "utf_8")(errors)

    def feed(self, data: bytes, final: bool = False) -> str:
        """The text of the next bytes; `final`: they are the last."""
        if self._table is not None:
            return codecs.charmap_decode(data, "strict", self._table)[0]
        if len(data) <= _PIECE:
            return self._feed_piece(data, final)
        pieces = [self._feed_piece(data[at:at + _PIECE], False)
                  for at in range(0, len(data), _PIECE)]
        return "".join(pieces) + (self._feed_piece(b"", True) if final else "")

    def _feed_piece(self, data: bytes, final: bool) -> str:
        try:
            held_back = len(getattr(self._decoder, "buffer", b""))
            text = self._decoder.decode(data, final or held_back > _HELD_BACK)
        except Exception:  # a bug in a codec, or a stateful charset in a wrong state
            return data.decode("latin-1")
        return text.translate(_LATIN_1) if self._guessing and _STRAY.search(text) else text


def to_text(data: bytes, charset: bytes = b"") -> str:
    """All bytes of a text -> the text, as `Reader` decodes it."""
    if not charset:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return Reader(charset).feed(data, True)


# Transfer encodings

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(byte for byte in range(256) if byte not in _ALPHABET + b"=")
_LONGEST_LINE = 65536  # of quoted-printable; a line may have no end at all


class _Identity:
    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> bytes:
        return b""


class _Base64:
    """RFC 2045 section 6.8: bytes outside the alphabet are ignored, and padding ends the data."""

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


_BLANK_ENDS = tuple([blank + end for blank in (b" ", b"\t") for end in (b"\n", b"\r\n")])


class _QuotedPrintable:
    """RFC 2045 section 6.7, line by line however the data is cut."""

    def __init__(self):
        self._pending = b""

    def feed(self, data: bytes) -> bytes:
        data = self._pending + data
        cut = data.rfind(b"\n") + 1
        if not cut and len(data) > _LONGEST_LINE:
            # An escape or a soft line break that is cut lies in the last three bytes.
            cut = len(data) - 3
            equals = data.find(b"=", cut - 3, cut)
            cut = equals if equals >= 0 else cut
        self._pending = data[cut:]
        return self._decoded(data[:cut])

    def close(self) -> bytes:
        data, self._pending = self._pending, b""
        return self._decoded(data.rstrip(b" \t"))

    def _decoded(self, data: bytes) -> bytes:
        """White space at the end of a line was added on the way (rule 3)."""
        if any(blank in data for blank in _BLANK_ENDS):
            lines = [line[:-1].rstrip(b" \t") + b"\r" if line[-1:] == b"\r"
                     else line.rstrip(b" \t") for line in data.split(b"\n")]
            data = b"\n".join(lines)
        return binascii.a2b_qp(data)


_TRANSFER_DECODERS = {b"base64": _Base64, b"quoted-printable": _QuotedPrintable,
                      b"7bit": _Identity, b"8bit": _Identity, b"binary": _Identity}


def transfer_decoder(encoding: bytes):
    """A Content-Transfer-Encoding -> a decoder with `feed(data)` and `close()`, which return bytes;
    None if it is unknown. A copy of a decoder has the same state."""
    decoder = _TRANSFER_DECODERS.get(encoding.lower())
    return decoder and decoder()


def is_identity(decoder) -> bool:
    """Does this decoder return what it is fed?"""
    return isinstance(decoder, _Identity)


def texts_of(part, chunks: Iterable[bytes]) -> Iterator[str]:
    """The body of a leaf (`structure.Part`) in chunks -> its text in pieces, some of them empty."""
    transfer = transfer_decoder(part.encoding) or _Identity()
    reader = Reader(next((value for name, value in part.params if name.lower() == b"charset"), b""))
    for chunk in chunks:
        yield reader.feed(transfer.feed(chunk))
    yield reader.feed(transfer.close(), True)
