"""IMAP responses as values: atoms and strings as str, lists as tuples, NIL as None."""
import re

_ATOM = re.compile(r'[^ ()"{\[\]\r\n]*')
_LITERAL = re.compile(r"\{(\d+)\}\r\n")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


def read(file):
    """The next response with its literals, without the last CRLF, as latin-1 str; "" at the
    end."""
    whole = b""
    while True:
        line = file.readline()
        whole += line
        literal = re.search(rb"\{(\d+)\}\r\n\Z", line)
        if not literal:
            return whole[:-2].decode("latin-1")
        whole += file.read(int(literal.group(1)))


def parse(text):
    """The values of a response, or of a part of one."""
    values, end = _values(text, 0)
    assert end == len(text), (text, end)
    return values


def _values(text, place):
    """The values up to ")" or the end, and where they end."""
    values = []
    while place < len(text) and text[place] != ")":
        if text[place] == " ":
            place += 1
            continue
        value, place = _value(text, place)
        values.append(value)
    return tuple(values), place


def _value(text, place):
    if text[place] == "(":
        value, place = _values(text, place + 1)
        return value, place + 1
    if text[place] == '"':
        found = _STRING.match(text, place)
        return re.sub(r"\\(.)", r"\1", found.group(1)), found.end()
    literal = _LITERAL.match(text, place)
    if literal:
        end = literal.end() + int(literal.group(1))
        return text[literal.end():end], end
    return _atom(text, place)


def _atom(text, place):
    """An atom; what is in brackets belongs to it: BODY[HEADER.FIELDS (From)]<0>."""
    start = place
    while True:
        place = _ATOM.match(text, place).end()
        if text[place:place + 1] != "[":
            break
        place = text.index("]", place) + 1
    assert place > start, text[start:]
    atom = text[start:place]
    return (None if atom.upper() == "NIL" else atom), place


def items(values):
    """(name, value, name, value, …) -> dict."""
    return dict(zip(values[::2], values[1::2]))


def uids(text):
    """A sequence set -> list of int."""
    found = []
    for part in text.split(","):
        low, _, high = part.partition(":")
        low, high = sorted((int(low), int(high or low)))
        found += range(low, high + 1)
    return found
