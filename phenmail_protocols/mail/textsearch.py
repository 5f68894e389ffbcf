"""Which of many texts a message contains, for SEARCH: one pass, however many keys there are.

RFC 3501 section 6.4.4 (BODY, TEXT, HEADER, FROM and the like). Everything is compared decoded and
in the form of `text.collation.fold`. In headers a run of blanks, folded or not, is one space.
Broken input never raises. Pure.

`plain` and `sift` decide about most messages in microseconds, without their structure. `find`
decides about the others.
"""
import re
from itertools import chain
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ..text.collation import fold, fold_pieces
from . import address
from .decoding import texts_of, to_text
from .headers import blocks, body_offset, each_field
from .headers import decode as decode_field
from .structure import Part

# Characters that are searched at once. Texts of many small parts are joined, because each search
# for a key costs some microseconds.
_WINDOW = 65536
# Separates two texts. No key contains it.
_BETWEEN = "\0"

# A local part with one of these is quoted (RFC 5322 section 3.4.1: dot-atom).
_NO_ATOM = re.compile(rb"[\x00-\x20\x7f()<>\[\]:;@\\,\"]")

# Returns the wire bytes [start, end) of a message in chunks. The ranges ascend.
Read = Callable[[int, int], Iterable[bytes]]
# Is called at bounded intervals and may raise to end the work.
Look = Callable[[], None]


class Needle(NamedTuple):
    """A text to search for.

    `key`: as bodies are compared; `in_field`: as fields are; `header`: search the message's own
    header too.
    """
    key: str
    in_field: str
    header: bool

    @classmethod
    def of(cls, text: str, header: bool) -> "Needle":
        key, in_field = fold(text), field_key(text)
        return cls(key, key if in_field == key else in_field, header)


# Fields


def field_key(text: str) -> str:
    """A text to search for -> the form in which it is compared with fields."""
    return _one_blank(fold(text).replace("\t", " ").replace("\r\n ", " ").replace("\n ", " "))


def field_text(value: bytes) -> str:
    """A folded value of a field -> the text that is compared: decoded, without case, single blanks.
    """
    return _one_blank(_lines_away(fold(decode_field(value))))


def address_text(value: bytes) -> str:
    """The value of an address field -> the text that FROM, TO, CC and BCC are compared with.

    Each address is `name <mailbox@domain>`, and again with the name quoted (and a local part that
    needs it), because people copy both forms. Comments are not searched.
    """
    entries = address.parse_address_list(value)
    plain = ", ".join([_entry_text(entry, str) for entry in entries])
    quoted = ", ".join([_entry_text(entry, _quoted) for entry in entries])
    return _one_blank(_lines_away(fold(plain + _BETWEEN + quoted)))


def _entry_text(entry, written: Callable[[str], str]) -> str:
    name = decode_field(entry.name) if entry.name else ""
    if isinstance(entry, address.Group):
        members = [_entry_text(member, written) for member in entry.members]
        return "%s: %s;" % (name, ", ".join(members))
    local = b"" if entry.local == address.MISSING_LOCAL else entry.local
    missing = entry.domain in (address.MISSING_DOMAIN, address.BROKEN_DOMAIN)
    domain = b"" if missing else b"@" + entry.domain
    shown = to_text(local)
    if written is _quoted and _NO_ATOM.search(local):
        shown = _quoted(shown)
    mailbox = to_text(entry.route + b":" if entry.route else b"") + shown + to_text(domain)
    if not mailbox:
        return name
    return "%s <%s>" % (written(name), mailbox) if name else "<%s>" % mailbox


def _quoted(name: str) -> str:
    return '"%s"' % name.replace("\\", "\\\\").replace('"', '\\"')


def is_in(key: str, text: str) -> bool:
    """`key in text`, in pieces if the text is long.

    Older interpreters take long for some texts, and hold the lock meanwhile.
    """
    if len(text) <= _WINDOW:
        return key in text
    size = _WINDOW + len(key)
    return any(key in text[start:start + size] for start in range(0, len(text), _WINDOW))


def _lines_away(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\t", " ")


def _one_blank(text: str) -> str:
    while "  " in text:  # halves each run, so there are few rounds
        text = text.replace("  ", " ")
    return text


def _header_lines(part: Part, read: Read) -> Iterator[str]:
    """A part's header as TEXT sees it, in the form of `fold`: one line for each decoded field."""
    for field in chain.from_iterable(map(each_field, blocks(read(part.start, part.body)))):
        if field.name:
            blank = " " if field.value[:1] in (b" ", b"\t", b"\r", b"\n") else ""
            name = fold(field.name.decode("latin-1"))
            yield "%s:%s%s\r\n" % (name, blank, field_text(field.value))
        else:
            yield field_text(field.raw) + "\r\n"


# Messages


# The kinds of text: the message's own header, fields of parts inside, a body.
_OWN, _FIELDS, _BODY = range(3)


def _texts(root: Part, read: Read, header: bool) -> Iterator[Tuple[int, Iterable[str]]]:
    """(kind, text in the form of `fold`, in pieces) of all that is searched, in order.

    These are text parts, and the headers of parts and of messages inside.
    """
    if header:
        yield _OWN, _header_lines(root, read)
    waiting = [(root, False)]
    while waiting:
        part, has_header = waiting.pop()
        if has_header:
            yield _FIELDS, _header_lines(part, read)
        if part.parts:
            waiting.extend((child, True) for child in reversed(part.parts))
        elif part.message is not None:
            waiting.append((part.message, True))
        elif part.type.lower() in (b"text", b"message"):
            yield _BODY, fold_pieces(texts_of(part, read(part.body, part.end)))


class _Window:
    """Joins texts of one kind to windows of about _WINDOW characters.

    The last `overlap` characters of one window are the first of the next.
    """

    __slots__ = ("size", "_pieces", "_overlap")

    def __init__(self, overlap: int):
        self.size = 0
        self._pieces: List[str] = []
        self._overlap = overlap

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        self.size += len(piece)

    def take(self) -> str:
        window = "".join(self._pieces)
        self._pieces, self.size = [window[-self._overlap:] if self._overlap else ""], 0
        return window


def _windows(texts, overlap: int, look: Look) -> Iterator[Tuple[int, str]]:
    """All texts -> (kind, window)."""
    windows = {kind: _Window(overlap) for kind in (_OWN, _FIELDS, _BODY)}
    for kind, text in texts:
        look()
        window = windows[kind]
        for piece in text:
            window.add(piece)
            if window.size >= _WINDOW:
                look()
                yield kind, window.take()
        window.add(_BETWEEN)
        if kind == _OWN:
            yield kind, window.take()
    for kind in (_FIELDS, _BODY):
        if windows[kind].size:
            yield kind, windows[kind].take()


def find(needles: Iterable[Needle], root: Part, read: Read,
         look: Look = lambda: None) -> Set[Needle]:
    """Those of `needles` that the message contains."""
    found = {needle for needle in needles if not needle.key}
    waiting = [needle for needle in needles if needle.key and _BETWEEN not in needle.key]
    if not waiting:
        return found
    overlap = max(len(needle.key) for needle in waiting) - 1
    texts = _texts(root, read, any(needle.header for needle in waiting))
    for kind, window in _windows(texts, overlap, look):
        left = []
        for needle in waiting:
            look()
            key = needle.key if kind == _BODY else needle.in_field
            if key in window and (needle.header or kind != _OWN):
                found.add(needle)
            else:
                left.append(needle)
        waiting = left
        if not waiting:
            break
    return found


def searched(root: Part, read: Read, overlap: int, whole: bytes = b"",
             look: Look = lambda: None) -> Iterator[str]:
    """All that `find` and `sift` search, in the form of `fold`, as windows for an index.

    A key of at most `overlap` + 1 characters that they find is in one of the windows. `whole`: the
    message, if it is small, as for `plain`.
    """
    text = plain(whole) if whole else None
    body = None
    if text is not None and _is_one_text(text):
        body = text[min(root.body, body_offset(whole)):]
    window = _Window(overlap)
    for kind, pieces in _texts(root, read, True):
        if kind == _BODY and body is not None:
            pieces = (body[at:at + _WINDOW] for at in range(0, len(body), _WINDOW))
        for piece in pieces:
            look()
            window.add(piece)
            if window.size >= _WINDOW:
                yield window.take()
        window.add(_BETWEEN)
    yield window.take()


# Without the structure

# Marks of an encoding, so that the text may differ from the bytes; and charsets that are the same
# as ASCII in its range.
_ENCODED = ("base64", "quoted-printable", "=?")
_PLAIN_CHARSETS = ("utf-8", "us-ascii", "iso-8859-", "windows-125")


def plain(data: bytes) -> Optional[str]:
    """A whole message in wire form -> its text in lower case, or None if something is encoded."""
    try:
        text = data.decode("ascii").lower()
    except UnicodeDecodeError:
        return None
    if any(mark in text for mark in _ENCODED):
        return None
    for after in text.split("charset")[1:]:
        if not after.lstrip('= "').startswith(_PLAIN_CHARSETS):
            return None
    return text


def sift(needles: Iterable[Needle], text: str, body: int,
         look: Look = lambda: None) -> Tuple[Set[Needle], List[Needle]]:
    """Search a `plain` text -> (needles that it contains, needles about which only `find` knows).

    It does not contain the others. `body`: where the body begins.
    """
    one_text = _is_one_text(text)
    found, unsure = set(), []
    for needle in needles:
        look()
        # Blanks can be written in several ways, but words only in one.
        if all([word in text for word in needle.key.split()]):
            if (one_text and text.find(needle.key, body) >= 0
                    or needle.header and _is_in_header(needle, text, body)):
                found.add(needle)
            else:
                unsure.append(needle)
    return found, unsure


def _is_in_header(needle: Needle, text: str, body: int) -> bool:
    """Has a line of the header of this `plain` message the key? False if only `find` can tell.

    Blanks beside colons and at the ends of lines are not compared as they are written.
    """
    key = needle.key
    if key != needle.in_field or ":" in key or not key.isprintable() or key != key.strip():
        return False
    return text.find(key, 0, body) >= 0


def _is_one_text(text: str) -> bool:
    """Is the whole body of this `plain` message one text?"""
    return all([after.lstrip(": \t\r\n").startswith("text/")
                for after in text.split("content-type")[1:]])
