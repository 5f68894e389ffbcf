"""The beginning of a message's text, as mail programs show it in a list (RFC 8970 section 3.3).

It is plain text, or the visible text of HTML: decoded, with single blanks, without quoted lines.
Broken input gives some text and never an error. Only the beginning of a part is read. Pure.
"""
import re
from itertools import islice
from typing import Callable, Iterable, Iterator, List, Tuple

from .decoding import texts_of
from .structure import Part

LONGEST = 200  # characters
_OCTETS = 65536  # of a part that are read; so many, because HTML may begin with long styles
_PARTS = 5  # parts that are tried, if the first ones have no text

_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)")
#: Elements whose content is not shown.
_HIDDEN = {name: re.compile("</" + name, re.IGNORECASE) for name in ("script", "style", "title")}
#: Elements that do not begin a new line or a new cell.
_INLINE = frozenset((
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd",
    "mark", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var",
    "wbr"))
# Characters without width. Senders of newsletters fill previews with them.
_INVISIBLE = "\xad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
_CONTROLS = {code: " " for code in [*range(32), *range(127, 160)]}
_ENCRYPTED = "-----BEGIN PGP MESSAGE-----"


def preview(root: Part, read: Callable[[int, int], Iterable[bytes]],
            look: Callable[[], None] = lambda: None) -> str:
    """A message's preview: at most LONGEST characters, "" if it has no text that can be shown.

    `read(start, end)`: octets of the message in chunks. `look` is called at bounded intervals, and
    may raise to end the work.
    """
    for part in islice(_readable(root), _PARTS):
        texts = texts_of(part, read(part.body, min(part.end, part.body + _OCTETS)))
        text = "".join(texts)
        is_html = part.subtype.lower() == b"html"
        found = _cut(_visible(text, look) if is_html else _unquoted(text, look))
        if found:
            return "" if found.startswith(_ENCRYPTED) else found
    return ""


def _readable(root: Part) -> Iterator[Part]:
    """Yield the parts with plain text or HTML in the order in which a reader sees them; among
    alternatives, plain text first."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        kind = part.media_type()
        if part.disposition is not None and part.disposition[0].lower() == b"attachment":
            continue
        if part.parts and kind == b"multipart/alternative":
            waiting += sorted(reversed(part.parts[:_PARTS]), key=_is_plain)
        elif part.parts and kind != b"multipart/encrypted":
            waiting += reversed(part.parts)
        elif kind in (b"text/plain", b"text/html"):
            yield part


def _is_plain(part: Part) -> bool:
    return part.media_type() == b"text/plain"


def _cut(pieces: Iterable[str]) -> str:
    """The first LONGEST characters of pieces of text, with single blanks."""
    words: List[str] = []
    size, rest = 0, ""
    for piece in pieces:
        *whole, rest = (rest + piece.translate(_CONTROLS) + ".").split()
        rest = rest[:-1]  # the word that the next piece may continue
        for word in filter(_shows, whole):
            words.append(word)
            size += len(word) + 1
        if size + len(rest) > LONGEST:
            break
    if _shows(rest):
        words.append(rest)
    text = " ".join(words)[:LONGEST].rstrip()
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no character


def _shows(word: str) -> str:
    return word.strip(_INVISIBLE)


# Plain text


def _unquoted(text: str, look: Callable[[], None]) -> Iterator[str]:
    """Yield the lines of a text that are not quoted; if all are quoted, all of them."""
    lines = text.splitlines(True)
    own = [place for place, line in enumerate(lines) if line[:1] != ">" and not line.isspace()]
    for place in own or range(len(lines)):
        look()
        line = lines[place]
        if line.rstrip("\r\n") == "-- ":  # a signature follows (RFC 3676 section 4.3)
            return
        if not _introduces(lines, place):
            yield line if own else line.lstrip("> ")


def _introduces(lines: List[str], place: int) -> bool:
    """Does a quotation follow this line, as in "Ann wrote:"?"""
    if lines[place][:1] == ">" or not lines[place].rstrip().endswith(":"):
        return False
    following = next((line for line in lines[place + 1:place + 4] if not line.isspace()), "")
    return following[:1] == ">"


# HTML


def _visible(text: str, look: Callable[[], None]) -> Iterator[str]:
    """Yield the text between the tags, in pieces."""
    from html import unescape
    at = 0
    while at < len(text):
        look()
        tag = text.find("<", at)
        if tag < 0:
            tag = len(text)
        yield unescape(text[at:tag])
        shown, at = _tag(text, tag)
        yield shown


def _tag(text: str, start: int) -> Tuple[str, int]:
    """The tag that begins at `start` -> (what is shown instead, where the text continues)."""
    if text.startswith("<!--", start):
        return "", _behind(text, "-->", start + 4)
    if text[start + 1:start + 2] in ("!", "?"):
        return "", _behind(text, ">", start)
    found = _TAG.match(text, start)
    if found is None:
        return text[start:start + 1], start + 1
    name, end = found.group(1).lower(), _behind(text, ">", start)
    if name in _HIDDEN and text[start + 1] != "/":
        closing = _HIDDEN[name].search(text, end)
        end = _behind(text, ">", closing.end()) if closing else len(text)
    return "" if name in _INLINE else " ", end


def _behind(text: str, mark: str, start: int) -> int:
    """Where the next `mark` ends; the end of the text if there is none."""
    found = text.find(mark, start)
    return len(text) if found < 0 else found + len(mark)
