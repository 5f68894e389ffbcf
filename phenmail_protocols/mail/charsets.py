"""Bytes of a named charset -> text, whatever the name and whatever the bytes. Never raises.

Only charsets that Python names are looked up: a lookup of an unknown name is an import attempt that Python remembers for ever, and
the names come from strangers.
"""
import codecs
import re
import sys
from encodings.aliases import aliases
from functools import lru_cache
from typing import Optional

_KNOWN = frozenset(aliases) | frozenset(aliases.values())
_SEPARATORS = re.compile(r"[^0-9a-z]+")
# What surrogateescape makes of the bytes that are no UTF-8, and the Latin-1 letters meant.
_STRAY = re.compile("[\udc80-\udcff]")
_LATIN_1 = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}
# Names that mail uses and Python does not know, and names whose bytes are in practice a superset's (WHATWG Encoding).
_MEANT = {
    "unicode_1_1_utf_8": "utf_8",
    "iso_8859_1": "cp1252", "latin_1": "cp1252", "latin1": "cp1252", "iso8859_1": "cp1252", "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8", "gb2312": "gb18030", "gbk": "gb18030", "x_gbk": "gb18030", "ks_c_5601_1987": "cp949",
    "ksc5601": "cp949", "euc_kr": "cp949", "shift_jis": "cp932", "x_sjis": "cp932", "sjis": "cp932", "big5": "cp950", "cp_850": "cp850",
    "iso_2022_jp": "iso2022_jp_2", "tis_620": "cp874", "iso_8859_9": "cp1254", "macintosh": "mac_roman", "x_mac_roman": "mac_roman",
    "x_cp1250": "cp1250", "x_cp1251": "cp1251", "x_cp1252": "cp1252", "win_1251": "cp1251", "win_1252": "cp1252",
}
# Transformations that Python keeps beside its charsets; and US-ASCII, whose 8-bit bytes mean that the label lies.
_NO_CHARSETS = frozenset(("ascii", "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs", "oem",
                          "idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "unicode_internal"))


def codec_name(charset: bytes) -> Optional[str]:
    """A charset's name as a message has it -> the codec to read it with, or None when nobody knows it."""
    name = _SEPARATORS.sub("_", charset[:64].decode("latin-1").lower()).strip("_")
    if name in _MEANT:
        return _MEANT[name]
    if name.startswith("windows_"):
        name = "cp" + name[8:]
    name = aliases.get(name, name)
    return _MEANT.get(name, name) if name in _KNOWN and name not in _NO_CHARSETS else None


# What one call of a codec reads, for no other thread runs meanwhile and some take 150 ms for a
# megabyte of what they cannot read; and what a codec may hold back of a character that never ends
# (UTF-7 has such).
_PIECE, _HELD_BACK = 16384, 65536


@lru_cache(maxsize=32)
def _table(codec: str) -> Optional[str]:
    """The 256 characters of a charset of single bytes, U+FFFD where it has none; None for other
    charsets. With all of them at hand no byte is an error, which Python takes half a microsecond
    for."""
    module = sys.modules.get(codecs.lookup(codec).incrementaldecoder.__module__)
    if not hasattr(module, "decoding_table"):
        return None
    return "".join(bytes((byte,)).decode(codec, "replace") for byte in range(256))


class Reader:
    """Bytes of one charset in pieces -> text, characters that are cut between pieces included.

    No charset, US-ASCII and unknown ones are read as UTF-8, and what is none byte by byte as Latin-1, so that nothing is lost.
    Undecodable bytes of a known charset become U+FFFD."""

    __slots__ = ("_decoder", "_guessing", "_table")

    def __init__(self, charset: bytes = b""):
        codec = codec_name(charset)
        self._guessing = codec is None
        self._table = None if codec is None else _table(codec)
        errors = "surrogateescape" if self._guessing else "replace"
        self._decoder = codecs.getincrementaldecoder(codec or "utf_8")(errors)

    def feed(self, data: bytes, final: bool = False) -> str:
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
        except Exception:  # a codec's bug or a stateful charset gone astray; the platform may bring codecs of its own
            return data.decode("latin-1")
        return text.translate(_LATIN_1) if self._guessing and _STRAY.search(text) else text

    def close(self) -> str:
        return self.feed(b"", True)


def to_text(data: bytes, charset: bytes = b"") -> str:
    """All bytes of a text at once -> text; see Reader."""
    if not charset:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return Reader(charset).feed(data, True)
