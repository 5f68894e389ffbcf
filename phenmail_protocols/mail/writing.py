"""Writing header fields and texts from strangers' words: any text goes in, one field comes out.

No control character, line end or invisible mark gets through; lines are folded and never longer
than RFC 5322 section 2.1.1 allows. No field's meaning is known here. RFC 5322 section 2.2.3
(folding), RFC 2047 (encoded words), RFC 2045 section 6.7 (quoted-printable).
"""
import binascii
import re

_COLUMNS = 78  # where lines are folded
_LONGEST_PIECE = 900  # octets; a line may have 998, and the field's name comes on top
_WITH_BLANKS_BEFORE = re.compile(" *[^ ]+")
# 42 octets are 56 digits of base64; with =?utf-8?B?…?= a word has 68 of the 75 characters allowed.
_WORD_OCTETS = 42


def printable(text):
    """A text on one line: each character that does not show becomes a space.

    These are controls, line ends, direction marks, and halves of surrogate pairs.
    """
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else " " for char in text])


def field(name, value, utf8=False):
    """A header field (or one of RFC 3464) -> its folded lines with CRLF, bytes.

    `name` is ours, `value` may be any text. Without `utf8` each character outside US-ASCII becomes
    a question mark. A word that is too long for a line is cut, with a space at the cut.
    """
    value = printable(value)
    if not utf8:
        value = value.encode("ascii", "replace").decode("ascii")
    lines, line = [], name + ":"
    for word in _WITH_BLANKS_BEFORE.findall(" " + value):
        for piece in _pieces(word):
            if len(line) + len(piece) > _COLUMNS and line != name + ":":
                lines.append(line)
                line = ""
            line += piece
    lines.append(line)
    return ("\r\n".join(lines) + "\r\n").encode("utf-8")


def _pieces(word):
    """A word with the blanks before it -> pieces that fit into a line, each after a blank."""
    longest = _LONGEST_PIECE if len(word) == len(word.encode("utf-8")) else _LONGEST_PIECE // 4
    if len(word) <= longest:
        return [word]
    blank, word = word[0], word.lstrip(" ")
    return [blank + word[at:at + longest] for at in range(0, len(word), longest)]


def embedded(text):
    """An address -> the same in US-ASCII: each other character as \\x{…} (RFC 6533 section 3)."""
    return "".join([char if char < "\x7f" else "\\x{%X}" % ord(char) for char in text])


def encoded_words(text):
    """A text -> the value of a field for people: unchanged if it is US-ASCII, else in encoded words
    of UTF-8 (RFC 2047)."""
    text = printable(text)
    if is_ascii(text.encode("utf-8")) and "=?" not in text:
        return text
    words, piece = [], b""
    for char in text:
        octets = char.encode("utf-8")
        if len(piece) + len(octets) > _WORD_OCTETS:
            words.append(piece)
            piece = b""
        piece += octets
    words.append(piece)
    return " ".join(["=?utf-8?B?%s?=" % binascii.b2a_base64(word, newline=False).decode("ascii")
                     for word in words])


def is_ascii(data):
    """Whether no octet is over 127."""
    try:
        data.decode("ascii")
    except UnicodeDecodeError:
        return False
    return True


def fits_in_7_bits(data):
    """Whether octets in wire form need no transfer encoding: US-ASCII, lines of at most 998."""
    return is_ascii(data) and max([len(line) for line in data.split(b"\r\n")]) <= 998


def text_part(text):
    """A text with LF line ends -> (the fields that describe it, the text), both in wire form.

    Plain US-ASCII if that is enough, else UTF-8 in quoted-printable, which any server can carry.
    """
    data = text.encode("utf-8", "replace").replace(b"\n", b"\r\n")
    if fits_in_7_bits(data):
        return b"Content-Type: text/plain; charset=us-ascii\r\n", data
    return (b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Content-Transfer-Encoding: quoted-printable\r\n"), quoted_printable(data)


def quoted_printable(data):
    """Octets in wire form (CRLF) -> the same in quoted-printable, wire form."""
    # binascii takes the form of all line ends from the first one, so it must see no CR.
    pieces = [binascii.b2a_qp(piece) for piece in data.replace(b"\r\n", b"\n").split(b"\r")]
    return b"=\n=0D=\n".join(pieces).replace(b"\n", b"\r\n")
