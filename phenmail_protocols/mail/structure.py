"""The MIME tree of a message with byte offsets, found in one pass over its chunks.

Offsets and lines are those of the wire form (CRLF) that the source holds. Broken MIME gives some tree, never an error: a multipart
without its delimiters has one empty part, a part without its end runs to its parent's end. It does not decode and keeps no body.
RFC 2045, RFC 2046 section 5.1, RFC 3501 section 7.4.2.

How: `bytes.find` looks for one text, the one that all open boundaries begin with, from one
delimiter line to the next, and behind each for the empty line that ends the part's header. Neither
search goes on behind the next delimiter line, so each octet is searched a fixed number of times,
however many boundaries are open.
"""
import os.path
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

from .headers import Selection, lines_of
from .mimefields import FIELDS, NOTHING, describe
from .window import WINDOW, Source

#: The fields of a message that ENVELOPE shows (RFC 3501 section 7.4.2).
ENVELOPE_FIELDS = frozenset((b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc",
                             b"bcc", b"in-reply-to", b"message-id"))

# A line that begins with -- and a boundary is a delimiter line: RFC 2046 section 5.1.1 compares only the beginning. Boundaries have 70
# bytes at most; longer ones are compared as far as this.
_BOUNDARY = 1000
# "--" behind a boundary closes it; with the CR before and a byte to spare this much is looked at around the boundary itself.
_MARGIN = 4
# What boundaries have in common is looked for as far as this: finding out more costs more than it
# saves.
_COMMON = 16
# Most headers end within this; the rest of a longer one is searched in steps twice as large each.
_FIRST_STEP = 512
# After so many lines that only begin as delimiter lines do, each boundary is looked for by itself.
_NEAR_MISSES = 64
# The work of one part, and of a message more; that of one parameter is 1.
_PART_EFFORT, _MESSAGE_EFFORT = 5, 15
# Octets of describing fields, and boundaries to choose from, that are one unit of work.
_OCTETS_DESCRIBED, _BOUNDARIES_WEIGHED = 4, 2


class Limits(NamedTuple):
    """What is taken in of a message; beyond it the rest is one leaf.

    `depth` of nesting, `parts` in all; bytes that are kept of the fields of one `header` and of all
    `headers`. `effort`: the work (some microseconds a unit) that parts and parameters may cost
    beyond one unit for each `_OCTETS_A_UNIT` octets of the message: small parts in their thousands
    are nobody's mail, and 80 KB of them cost as much as an honest message of megabytes.
    """
    depth: int = 50
    parts: int = 10000
    header: int = 1 << 16
    headers: int = 1 << 20
    effort: int = 10000


_OCTETS_A_UNIT = 10


class Part:
    """One entity of a message.

    `start`, `body`, `end`: wire offsets of its header, of its body, and behind its body; `lines`:
    line ends in the body. `type`, `subtype`: as sent (compare in lower case), text/plain where
    nothing is said. `params`: tuple of (name, value), for text with the default charset filled in.
    `encoding`: as sent, b"7bit" by default. `id`, `description`, `md5`, `location`: bytes or None.
    `disposition`: None or (value, params). `languages`: tuple. `parts`: the children of a
    multipart, at least one; () otherwise. `message`: the Part inside a message/rfc822, else None.
    `header`: of messages inside the lines of those header fields that MIME and ENVELOPE need, of
    the root those that MIME needs, as far as the limits allow; None otherwise.
    """

    __slots__ = ("start", "body", "end", "lines", "type", "subtype", "params", "id", "description", "encoding", "md5", "disposition",
                 "languages", "location", "parts", "message", "header")

    def __init__(self, start: int):
        self.start = self.body = self.end = start
        self.lines = 0
        self.header: Optional[bytes] = None
        self.parts = ()
        self.message = None

    def media_type(self) -> bytes:
        """The media type to compare with: b"text/plain"."""
        return (self.type + b"/" + self.subtype).lower()


def scan(source: Union[bytes, Iterable[bytes]], limits: Limits = Limits(),
         look: Callable[[], None] = lambda: None) -> Part:
    """A message in wire form, whole or in chunks of any size -> its root Part. Beyond the limits the rest is one leaf. Linear in time;
    memory is one window and the parts. `look` is called for each part and may raise to end the
    work."""
    return _Scanner(Source(source), limits, look).run()


def leaves(root: Part) -> Iterator[Part]:
    """The parts below `root` that have no parts, in order; for a message inside, its leaves."""
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if part.parts:
            waiting.extend(reversed(part.parts))
        elif part.message is not None:
            waiting.append(part.message)
        else:
            yield part


class _Boundary:
    """The boundary of an open multipart: `text` begins with the line end before the delimiter line;
    `depth` of the multipart."""

    __slots__ = ("text", "owner", "depth")

    def __init__(self, boundary: bytes, owner: Part, depth: int):
        self.text, self.owner, self.depth = b"\n--" + boundary, owner, depth


class _Scanner:
    """`open`: the entities from the root inwards that have begun and not ended, `lines` of each still the count at its body.
    `boundaries`: those of open multiparts that still count. `low`: no delimiter line's line end lies before it. `floor`: where the
    innermost body begins, before which it cannot end."""

    def __init__(self, source: Source, limits: Limits, look: Callable[[], None]):
        self.source, self.limits, self.look = source, limits, look
        self.open: List[Part] = []
        self.boundaries: List[_Boundary] = []
        self.low = self.floor = self.count = self.effort = 0
        self.room = limits.headers
        self._boundaries_changed()

    def run(self) -> Part:
        root = Part(0)
        delimiter = self._enter(root, False)
        while self.boundaries:
            if delimiter is None:
                delimiter = self._next_delimiter()
            if delimiter is None:
                break
            delimiter = self._pass_delimiter(delimiter)
        size = self.source.finish()
        self._close(0, size)
        return root

    # -- delimiter lines

    def _boundaries_changed(self) -> None:
        """Works out what to look for. `by_length`: the longest first, of equal ones the
        innermost."""
        self.by_length = sorted(reversed(self.boundaries), key=lambda boundary: -len(boundary.text))
        self.texts = tuple([boundary.text for boundary in self.by_length])
        self.effort += len(self.texts) // _BOUNDARIES_WEIGHED
        self.margin = _MARGIN + (len(self.texts[0]) if self.texts else 0)
        if len(self.texts) < 2:
            self.needle = b"".join(self.texts)
        else:
            first, last = min(self.texts), max(self.texts)
            self.needle = os.path.commonprefix([first[:_COMMON], last[:_COMMON]])

    def _seek(self, low: int, high: int) -> Optional[int]:
        """The first delimiter line whose line end lies in [low, high): at most a window, with the
        margin behind it in sight."""
        data, base, needle, texts = self.source.data, self.source.base, self.needle, self.texts
        at, stop = low - base, high - base
        for _ in range(_NEAR_MISSES):
            at = data.find(needle, at, stop + len(needle) - 1)
            if at < 0:
                return None
            if data.startswith(texts, at):
                return at + base
            at += 1
        return self._seek_each(at + base, high)

    def _seek_each(self, low: int, high: int) -> Optional[int]:
        """As `_seek`, where many lines begin as delimiter lines do and are none: boundary by
        boundary, in growing steps, so that what is searched in vain is no more than what was
        passed."""
        data, base, step = self.source.data, self.source.base, _FIRST_STEP
        while low < high:
            stop = end = min(low + step, high)
            for text in self.texts:
                found = data.find(text, low - base, stop - base + len(text) - 1)
                stop = stop if found < 0 else found + base
            if stop < end:
                return stop
            low, step = end, 2 * step
        return None

    def _next_delimiter(self) -> Optional[int]:
        source = self.source
        while True:
            limit = source.end if source.ended else source.end - self.margin
            while self.low < limit:
                high = min(self.low + WINDOW, limit)
                found = self._seek(self.low, high)
                self.low = high if found is None else found
                if found is not None:
                    return found
            if source.ended:
                return None
            source.more(self.low - 1)

    def _end_before(self, delimiter: int) -> int:
        """Where a body ends that a delimiter line follows: the line end before it belongs to the delimiter (RFC 2046 5.1.1)."""
        crlf = delimiter > self.source.base and self.source.piece(delimiter - 1, delimiter) == b"\r"
        return max(delimiter - crlf, self.floor)

    def _is_exhausted(self, offset: int) -> bool:
        return (self.count >= self.limits.parts
                or self.effort > self.limits.effort + offset // _OCTETS_A_UNIT)

    def _pass_delimiter(self, offset: int) -> Optional[int]:
        """Closes what the delimiter line ends and enters the part that it begins. Returns the delimiter that cut that part's header
        off, if one did."""
        self.look()
        source = self.source
        index = offset - source.base
        chosen = next(each for each in self.by_length if source.data.startswith(each.text, index))
        after = offset + len(chosen.text)
        closing = source.piece(after, after + 2) == b"--"
        if not closing and self._is_exhausted(offset):
            self.boundaries.clear()
            return None
        end = self._end_before(offset)
        if end > offset and chosen.depth < len(self.open):
            end = self._without_empty_line(offset)
        self._close(chosen.depth, end)
        keep = self.boundaries.index(chosen) + (not closing)
        if keep < len(self.boundaries):
            del self.boundaries[keep:]
            self._boundaries_changed()
        self.low = self.floor = offset + 1
        if closing:
            return None
        line_end = source.line_end(after)
        if line_end is None:
            self.low = source.end
            return None
        part = Part(line_end + 1)
        chosen.owner.parts.append(part)
        return self._enter(part, chosen.owner.subtype.lower() == b"digest")

    # -- entities

    def _enter(self, part: Part, in_digest: bool) -> Optional[int]:
        """Reads the header of a part that begins, and of the messages that begin inside it. Returns the delimiter that cut a header
        off, if one did."""
        delimiter, heads_message = None, part.start == 0
        while True:
            lines = b""
            if heads_message:
                part.header = b""
            if delimiter is None:
                lines, delimiter = self._read_header(part)
            _fill_in(part, lines, heads_message, in_digest)
            part.lines = self.source.lines_before(part.body)
            self.low, self.floor = max(part.body - 1, 0), part.body
            self.open.append(part)
            self.count += 1
            self.effort += (_PART_EFFORT + heads_message * _MESSAGE_EFFORT
                            + len(lines) // _OCTETS_DESCRIBED + len(part.params)
                            + (len(part.disposition[1]) if part.disposition else 0))
            kind = self._nests(part)
            if kind == b"multipart":
                part.parts = []
                self._await_boundary(part, delimiter)
            if kind != b"message":
                return delimiter
            part.message = part = Part(part.body)
            in_digest, heads_message = False, True

    def _nests(self, part: Part) -> Optional[bytes]:
        """b"multipart", b"message" or None for a leaf, which is also what nests beyond the limits."""
        kind = part.type.lower()
        if kind != b"multipart" and part.media_type() != b"message/rfc822":
            return None
        if len(self.open) >= self.limits.depth or self._is_exhausted(part.body):
            part.type, part.subtype, part.params = b"application", b"octet-stream", ()
            return None
        return kind

    def _await_boundary(self, part: Part, delimiter: Optional[int]) -> None:
        boundary = next((value for name, value in part.params if name.lower() == b"boundary"), b"")[:_BOUNDARY]
        if boundary and delimiter is None:
            self.boundaries.append(_Boundary(boundary, part, len(self.open)))
            self._boundaries_changed()

    def _read_header(self, part: Part) -> Tuple[bytes, Optional[int]]:
        """Finds a header's end and sets `part.body`, and `part.header` where the part is a message.
        Returns (the lines of the fields that describe it, the delimiter line that stands in the
        place of the header's empty line or None)."""
        source, start = self.source, part.start
        if start == 0:
            # There is no line end before the first line to search from.
            source.more(0)
            if source.data[:2] == b"\r\n" or source.data[:1] == b"\n":
                part.body = 1 if source.data[:1] == b"\n" else 2
                return b"", None
        names = (FIELDS, ENVELOPE_FIELDS) if part.header is not None and start else (FIELDS,)
        selections, lines = [], [b""] * len(names)

        def take(piece):
            if not selections:
                selections.extend([Selection(each, self.limits.header) for each in names])
            lines[:] = [kept + selection.feed(piece) for kept, selection in zip(lines, selections)]
        part.body, delimiter, taken = self._header_end(start, take)
        if part.body <= start + 2:
            return b"", delimiter
        last = source.piece(taken, part.body)
        if selections or len(last) > WINDOW:
            take(last)
            lines = [kept + selection.close() for kept, selection in zip(lines, selections)]
        else:
            lines = [lines_of(last, each)[:self.limits.header] for each in names]
        if part.header is not None:
            part.header = b"".join(lines)[:min(self.limits.header, self.room)]
            self.room -= len(part.header)
        return lines[0], delimiter

    def _header_end(self, start: int,
                    take: Callable[[bytes], None]) -> Tuple[int, Optional[int], int]:
        """Where the header ends that begins at `start`: (the offset of the body, the delimiter that
        cut it off or None, the offset up to which `take` was given its octets, in pieces of some
        windows)."""
        source, low, taken, step = self.source, max(start - 1, 0), start, _FIRST_STEP
        end = delimiter = None
        while end is None:
            high = min(low + step, source.end if source.ended else source.end - self.margin)
            if high > low:
                blank, size = _empty_line(source, low, high)
                if self.boundaries:
                    delimiter = self._seek(low, high if blank is None else blank)
                if delimiter is not None:
                    self.floor = start
                    end = self._end_before(delimiter)
                elif blank is not None:
                    end = blank + size
                low, step = high, min(2 * step, WINDOW)
                if end is None and low - 1 - taken >= WINDOW:
                    # The last octet may yet turn out to belong to a delimiter.
                    take(source.piece(taken, low - 1))
                    taken = low - 1
            elif source.ended:
                end = source.end
            else:
                source.more(min(taken, low - 1))
        return end, delimiter, taken

    def _without_empty_line(self, offset: int) -> int:
        """The end of an innermost part whose header's empty line is the line end before a delimiter
        line: it belongs to that (RFC 2046 5.1.1), and the part has a header without one, and so
        have messages that begin inside it."""
        begun = []
        for part in reversed(self.open):
            begun.append(part)
            if part.header is None:
                break
        end = max(offset - (self.source.piece(offset - 1, offset) == b"\r"), part.start)
        for part in begun:
            part.start, part.body = min(part.start, end), min(part.body, end)
        return end

    def _close(self, depth: int, end: int) -> None:
        """Ends the open entities deeper than `depth`. An `end` before `floor` leaves one line end
        out, that of an empty line."""
        lines = self.source.lines_before(max(end, self.floor)) - (end < self.floor)
        for part in self.open[depth:]:
            part.end, part.lines = end, max(0, lines - part.lines)
            if part.parts == []:
                # RFC 3501 has no multipart without parts.
                part.parts.append(_empty_part(end))
        del self.open[depth:]


def _empty_line(source: Source, low: int, high: int) -> Tuple[Optional[int], int]:
    """The line end in [low, high) behind which an empty line stands, and the size of both
    together."""
    data, start, stop = source.data, low - source.base, high - source.base
    crlf = data.find(b"\n\r\n", start, stop + 2)
    lf = data.find(b"\n\n", start, (stop if crlf < 0 else crlf) + 1)
    if lf >= 0:
        return lf + source.base, 2
    return (None, 0) if crlf < 0 else (crlf + source.base, 3)


def _empty_part(offset: int) -> Part:
    part = Part(offset)
    _fill_in(part)
    return part


def _fill_in(part: Part, header: bytes = b"", heads_message: bool = False,
             in_digest: bool = False) -> None:
    """The part's description from its header, with the defaults of RFC 2045 section 5.2 and RFC 2046 section 5.1.5."""
    said = describe(header, heads_message) if header else NOTHING
    part.type, part.subtype, part.params = said.type, said.subtype, said.params
    if part.type is None:
        part.type, part.subtype = (b"message", b"rfc822") if in_digest else (b"text", b"plain")
    if part.type.lower() == b"text" and b"charset" not in [name.lower() for name, _ in part.params]:
        part.params += ((b"charset", b"us-ascii"),)
    part.id, part.description, part.md5, part.location = said.id, said.description, said.md5, said.location
    part.encoding = said.encoding or b"7bit"
    part.disposition, part.languages = said.disposition, said.languages
