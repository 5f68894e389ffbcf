"""Writing header fields and texts from words that strangers chose: what comes in may hold anything, what goes out is one field.

No control character, line end or invisible mark gets through, lines are folded and never longer than RFC 5322 2.1.1 allows.
RFC 5322 2.2.3 (folding), RFC 2047 (encoded words), RFC 2045 6.7 (quoted-printable).  It knows no field's meaning.
"""
import binascii
import re

# Columns to fold at, and octets that a line may have at most without its end (998) less what surrounds a piece.
_COLUMNS, _LONGEST_PIECE = 78, 900
_WITH_BLANKS_BEFORE = re.compile(" *[^ ]+")
# 42 octets are 56 digits of base64; with =?utf-8?B?…?= a word has 68 of the 75 characters that it may have.
_WORD_OCTETS = 42


def printable(text):
    """A text on one line: each character that does not show (controls, line ends, direction marks, halves of surrogate pairs) is
    a space."""
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else " " for char in text])


def field(name, value, utf8=False):
    """A header field (or one of RFC 3464) -> its folded lines with CRLF, bytes.

    `name` is ours, `value` is text from anywhere.  Without `utf8` each character outside US-ASCII is a question mark.  A word
    that no line could hold is cut, so that a space comes in.
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
    """A word with its blanks before it -> pieces that fit into a line, each beginning with a blank."""
    longest = _LONGEST_PIECE if len(word) == len(word.encode("utf-8")) else _LONGEST_PIECE // 4
    if len(word) <= longest:
        return [word]
    blanks, word = word[0], word.lstrip(" ")
    return [blanks + word[at:at + longest] for at in range(0, len(word), longest)]


def embedded(text):
    """An address -> the same in US-ASCII: each character outside it as \\x{…} (RFC 6533 3)."""
    return "".join([char if char < "\x7f" else "\\x{%X}" % ord(char) for char in text])


def encoded_words(text):
    """A text -> the value of a field for people: as it is where it is US-ASCII, else in encoded words of UTF-8 (RFC 2047)."""
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
    return " ".join(["=?utf-8?B?%s?=" % binascii.b2a_base64(word, newline=False).decode("ascii") for word in words])


def is_ascii(data):
    """Whether no octet is over 127."""
    try:
        data.decode("ascii")
    except UnicodeDecodeError:
        return False
    return True


def fits_in_7_bits(data):
    """Whether octets in wire form may stand in a part without transfer encoding: US-ASCII, and no line over 998 octets."""
    return is_ascii(data) and max([len(line) for line in data.split(b"\r\n")]) <= 998


def quoted_printable(data):
    """Octets in wire form (CRLF) -> the same in quoted-printable, wire form."""
    # binascii guesses the form of line ends from the first one, so it never sees a CR.
    pieces = [binascii.b2a_qp(piece) for piece in data.replace(b"\r\n", b"\n").split(b"\r")]
    return b"=\n=0D=\n".join(pieces).replace(b"\n", b"\r\n")
