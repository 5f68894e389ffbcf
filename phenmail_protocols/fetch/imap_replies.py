"""What IMAP servers answer, as values: FETCH and LIST data, sets of UIDs, refusals. Pure.

It takes what imaplib collects: a line without CRLF (bytes), or (line that announces a literal, its
octets) before the line that goes on after the literal.
"""
import re

from ..mail.dates import DateError, parse_internal
from .source import FetchError, RemoteMessage, Throttled

MOST_TEXT = 200  # characters of a server's text that are shown
MOST_NUMBER = 1 << 63
MOST_FLAGS = 500  # of a message
# A quote that is not closed takes all the rest: looking for each one's end would be quadratic.
_TOKEN = re.compile(rb'[()]|"(?:[^"\\]|\\.)*"?|[^\s()"]+')
_MARKER = re.compile(rb"~?\{\d+\+?\}$")
_CODE = re.compile(r"\[([A-Z0-9-]+)[\] ]")
_BACKOFF = re.compile(r"backoff time: *(\d{1,9}) *(milli)?s", re.IGNORECASE)
# Response codes (RFC 5530, RFC 9051) and words by which servers ask for less.
_THROTTLING = frozenset(("THROTTLED", "LIMIT", "UNAVAILABLE", "OVERQUOTA"))
_THROTTLING_WORDS = ("THROTTL", "BANDWIDTH LIMIT", "COMMAND OR BANDWIDTH", "RATE LIMIT",
                     "TOO MANY ", "TRY AGAIN LATER", "MAXIMUM NUMBER OF CONNECTIONS")


class Literal(bytes):
    """A token that was sent as a literal."""


class Nonsense(ValueError):
    """The server's data is not what RFC 3501 says. str() says what was expected."""


def tokens(parts):
    """Parts of one response (as in the module's docstring) -> list of bytes: "(", ")", atoms,
    quoted strings with their quotes, and Literals."""
    found = []
    for part in parts:
        if isinstance(part, tuple):
            found.extend(_TOKEN.findall(_MARKER.sub(b"", part[0])))
            # A literal that was dropped is a kind of its own, and stays one.
            found.append(part[1] if isinstance(part[1], Literal) else Literal(part[1]))
        else:
            found.extend(_TOKEN.findall(part or b""))
    return found


def string(token):
    """A token that stands for a string -> bytes, None for NIL. Raises Nonsense."""
    if isinstance(token, Literal):
        return token
    if token[:1] == b'"':
        if len(token) < 2 or token[-1:] != b'"':
            raise Nonsense("a quote is not closed")
        return re.sub(rb"\\(.)", rb"\1", token[1:-1], flags=re.DOTALL)
    return None if token.upper() == b"NIL" else token


def number(token):
    """A token -> int of at most 63 bits. Raises Nonsense."""
    if token.isdigit() and len(token) < 20 and int(token) < MOST_NUMBER:
        return int(token)
    raise Nonsense("expected a number, not %r" % bytes(token[:40]))


def grouped(data):
    """The data of several responses of one kind, as imaplib returns it -> the parts of each."""
    parts = []
    for part in data or ():
        if part is None:
            continue
        parts.append(part)
        if not isinstance(part, tuple):
            yield parts
            parts = []


def fetched(parts):
    """The parts of one FETCH response -> {name in upper case: token or list of tokens}.

    Lists are flat: inner parentheses are left out. Raises Nonsense.
    """
    found = tokens(parts)
    if len(found) < 3 or found[1] != b"(":
        raise Nonsense("expected FETCH data")
    items, position = {}, 2
    while position + 1 < len(found) and found[position] != b")":
        name = found[position].upper()
        value, position = _value(found, position + 1)
        items[name] = value
    return items


def _value(found, position):
    """The value that begins at `position` -> (it, the position after it). Raises Nonsense."""
    if not _is(found[position], b"("):
        return found[position], position + 1
    depth, values = 1, []
    for place in range(position + 1, len(found)):
        token = found[place]
        if _is(token, b"("):
            depth += 1
        elif _is(token, b")"):
            depth -= 1
            if not depth:
                return values, place + 1
        else:
            values.append(token)
    raise Nonsense("a parenthesis is not closed")


def _is(token, mark):
    return token == mark and not isinstance(token, Literal)


def flags(value):
    """The value of FLAGS -> tuple of str, without \\Recent, which is only the session's."""
    if not isinstance(value, list):
        raise Nonsense("expected a list of flags")
    return tuple(flag.decode("ascii", "replace") for flag in value
                 if flag.lower() != b"\\recent")[:MOST_FLAGS]


def date(token):
    """The value of INTERNALDATE -> epoch seconds, None if it is no date."""
    if not isinstance(token, bytes):
        return None
    try:
        return float(parse_internal(bytes(string(token) or b"").strip().rjust(26)).epoch)
    except (DateError, Nonsense):
        return None


def message(items):
    """The items of a FETCH response, with at least UID -> RemoteMessage. Raises Nonsense."""
    size = items.get(b"RFC822.SIZE")
    return RemoteMessage(
        "%d" % number(items[b"UID"]), 0 if size is None else number(size),
        flags(items.get(b"FLAGS", [])), date(items.get(b"INTERNALDATE")))


def body(items, offset):
    """The octets of BODY[] from `offset` on, out of a FETCH response's items; None if it has no
    BODY[]. Raises Nonsense if they begin elsewhere."""
    for name, value in items.items():
        if name.startswith(b"BODY[]"):
            if name != b"BODY[]<%d>" % offset and (offset or name != b"BODY[]"):
                raise Nonsense("expected octets from %d on" % offset)
            text = b"" if isinstance(value, list) else string(value)
            return b"" if text is None else text
    return None


def searched(data):
    """The data of SEARCH responses -> ascending list of numbers. Raises Nonsense."""
    found = set()
    for part in data:
        for token in (part or b"").partition(b"(")[0].split():  # "(MODSEQ 5)" may follow
            found.add(number(token))
    return sorted(found)


def last_number(data):
    """The data of a response code -> the last number, 0 without one. Raises Nonsense."""
    return number(data[-1].split()[0]) if data else 0


def listed(parts):
    """The parts of one LIST response -> (attributes in lower case, separator or b"", name), all
    bytes. Raises Nonsense."""
    found = tokens(parts)
    if not found or found[0] != b"(":
        raise Nonsense("expected LIST data")
    attributes, position = _value(found, 0)
    if len(found) < position + 2:
        raise Nonsense("expected the name of a mailbox")
    separator, name = string(found[position]), string(found[position + 1])
    if found[position + 1].upper() == b"NIL":
        name = bytes(found[position + 1])  # a mailbox may be named so
    return tuple(mark.lower() for mark in attributes), separator or b"", name


def uid_set(uids):
    """Ascending UIDs -> the shortest sequence-set that names just them: "1:5,7"."""
    runs = []
    for uid in uids:
        if runs and uid == runs[-1][1] + 1:
            runs[-1][1] = uid
        else:
            runs.append([uid, uid])
    return ",".join("%d" % low if low == high else "%d:%d" % (low, high) for low, high in runs)


def text_of(data):
    """The text of a tagged response, as imaplib returns it -> str to show: printable, short."""
    last = data[-1] if isinstance(data, (list, tuple)) and data else data
    if isinstance(last, tuple):
        last = last[0]
    return shown(last if isinstance(last, bytes) else b"")


def shown(text):
    """bytes of a server -> str: printable, at most MOST_TEXT characters."""
    decoded = text[:4 * MOST_TEXT].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "?" for c in decoded)[:MOST_TEXT].strip()


def code(text):
    """The response code of a text, in upper case, "" without one."""
    found = _CODE.match(text.upper())
    return found.group(1) if found else ""


def refusal(server, what, text):
    """The FetchError for a NO, BAD or BYE with `text`, which answers `what`; Throttled if it asks
    for less."""
    sentence = "%s refused %s: %s" % (server, what, text or "without a reason")
    upper = text.upper()
    if code(text) in _THROTTLING or any(word in upper for word in _THROTTLING_WORDS):
        return Throttled(sentence, _seconds(text))
    return FetchError(sentence)


def _seconds(text):
    found = _BACKOFF.search(text)
    if not found:
        return None
    return int(found.group(1)) / (1000.0 if found.group(2) else 1.0)
