"""Random messages whose texts are known, and what a search must find in them.

The texts are written before they are encoded, so nothing here decodes or parses a message, and no
code of the program is used.
"""
import base64
import quopri
import re
import unicodedata

WORDS = (
    "harbour", "Gull", "mast", "straße", "STRASSE", "Straße", "İstanbul", "istanbul", "ISTANBUL",
    "ılık", "ﬁsh", "ﬁ", "σίσυφος", "ΣΊΣΥΦΟΣ", "e\u0301te\u0301", "été", "Å", "A\u030a\u0327",
    "한글", "日本語の本", "𝔘𝔫𝔦", "ﬃ", "\u0345", "x\u0345\u0301y", "a\0b", "\0", "ü\0ü", "&uuml;",
    "&amp;lt;", "<b>bold</b>", "=3D", "==", "=", '"quoted"', "it's", "a  b", "\\", "%", "*", "(",
    "\ufffe", "\uffff", "x", "ab", "longwordlongwordlongwordlongword" * 4, "ß", "ς", "ẞ", "ŉ",
    "\u0130", "i\u0307", "\U0001f600", "né\u0323", "From: me", "--", "base64", "charset=")


def fold(text):
    """RFC 5051's comparison with full case folding, and no dot of the Turkish i."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return text.replace("ı", "i").replace("i\u0307", "i")


def fold_field(text):
    return re.sub(" +", " ", re.sub("[\r\n\t]", " ", fold(text)))


class Letter:
    """A message: `wire`, its octets; `own`, its header; `bodies` and `inner` headers, as text."""

    def __init__(self, chance, token, size=12):
        self._chance = chance
        self.bodies, self.inner = [], []
        head = [("X-Token", token), ("Subject", self._words(3, ascii=True)), ("MIME-Version", "1.0")]
        fields, body = self._entity(2, size)
        head += fields
        self.own = _lines(head)
        self.wire = self.own.encode() + b"\r\n" + body

    def _words(self, most, ascii=False):
        words = [self._chance.choice(WORDS) for _ in range(self._chance.randint(1, most))]
        text = " ".join(words)
        if ascii:
            text = re.sub("[^ -~]", "?", text)
        return re.sub("^ +| +$", "", text) or "none"

    def _entity(self, depth, size):
        """([(field, value)], body); notes its texts."""
        kind = self._chance.random()
        if depth and kind < 0.25:
            return self._multipart(depth, size)
        if depth and kind < 0.35:
            return self._message(depth, size)
        if kind < 0.42:
            data = base64.encodebytes(self._words(5).encode()).replace(b"\n", b"\r\n")
            return [("Content-Type", "application/octet-stream"),
                    ("Content-Transfer-Encoding", "base64")], data
        return self._text(size)

    def _multipart(self, depth, size):
        boundary = "b%dd%d" % (depth, self._chance.randrange(10**6))
        pieces = []
        for _ in range(self._chance.randint(1, 3)):
            place = len(self.inner)
            fields, body = self._entity(depth - 1, size)
            self.inner.insert(place, _lines(fields))
            pieces.append(b"--%s\r\n%s\r\n%s\r\n" % (
                boundary.encode(), _lines(fields).encode(), body))
        return ([("Content-Type", "multipart/mixed; boundary=%s" % boundary)],
                b"".join(pieces) + b"--%s--\r\n" % boundary.encode())

    def _message(self, depth, size):
        fields, body = self._entity(depth - 1, size)
        fields = [("Subject", self._words(2, ascii=True))] + fields
        self.inner.append(_lines(fields))
        return ([("Content-Type", "message/rfc822")], _lines(fields).encode() + b"\r\n" + body)

    def _text(self, size):
        lines = [self._words(size) for _ in range(self._chance.randint(1, 4))]
        subtype = self._chance.choice(("plain", "html"))
        charset = self._chance.choice(("utf-8", "UTF-8", "iso-8859-1", "utf-16-be", "us-ascii"))
        way = self._chance.choice(("8bit", "quoted-printable", "base64"))
        text = "\r\n".join(lines) + "\r\n"
        if charset == "us-ascii":
            text, way = re.sub("[^\0-~]", "?", text), "7bit"
        elif charset == "utf-16-be":
            way = "base64"
        elif charset == "iso-8859-1":
            text = re.sub("[^\0-~\xa0-\xff]", "?", text)
        data = text.encode(charset)
        if way == "quoted-printable":
            data = quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        elif way == "base64":
            data = base64.encodebytes(data).replace(b"\n", b"\r\n")
        self.bodies.append(text)
        return [("Content-Type", "text/%s; charset=%s" % (subtype, charset)),
                ("Content-Transfer-Encoding", way)], data

    def holds(self, key, header):
        """Does BODY, or TEXT with `header`, find this key?"""
        fields = self.inner + [self.own] * header
        return (any(fold(key) in fold(text) for text in self.bodies)
                or any(fold_field(key) in field_lines(text) for text in fields))


def field_lines(head):
    """A header as it is compared: single blanks, and line ends as they are."""
    return "\r\n".join(map(fold_field, head.split("\r\n")))


def _lines(fields):
    return "".join("%s: %s\r\n" % field for field in fields)


def key(chance, letters):
    """A key: mostly a piece of what some message contains."""
    if not letters or chance.random() < 0.15:
        word = chance.choice(("zebra", "ss", "i", "\u0301", "qqq") + WORDS)
        return word.replace("\0", "") or "x"
    letter = chance.choice(letters)
    text = chance.choice(letter.bodies + letter.inner + [letter.own])
    start = chance.randrange(len(text))
    found = text[start:start + chance.choice((1, 2, 3, 4, 6, 10, 30, 400))]
    if chance.random() < 0.3:
        found = chance.choice((str.upper, str.lower, str.casefold))(found)
    return re.sub("[\0\r\n].*", "", found, flags=re.S) or "x"
