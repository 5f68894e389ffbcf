"""The MIME tree of a message with byte offsets, found in one pass over its chunks.

Offsets and lines are those of the wire form (CRLF). Broken MIME gives some tree, never an error: a
multipart without delimiters has one empty part, and a part without an end runs to its parent's end.
Nothing is decoded and no body is kept. RFC 2045, RFC 2046 section 5.1, RFC 3501 section 7.4.2.

How it works: `bytes.find` searches for the common beginning of all open boundaries, from one
delimiter line to the next, and after each for the empty line that ends the part's header. No
search continues past the next delimiter line, so each octet is searched a fixed number of times,
however many boundaries are open. The terms:

- An entity is *open* from the beginning of its header to the end of its body. `open` lists these
  from the root inwards.
- A *delimiter* is the offset of the line end before a delimiter line, which belongs to that line.
- A part's header can be cut off by a delimiter line, before or instead of its empty line.
"""
import os.path
from typing import Callable, Iterable, Iterator, List, NamedTuple, Optional, Tuple, Union

from .chunk_window import WINDOW, Source
from .headers import Selection, lines_of
from .mimefields import FIELDS, NOTHING, describe

# The fields of a message that ENVELOPE shows (RFC 3501 section 7.4.2).
ENVELOPE_FIELDS = frozenset((b"date", b"subject", b"from", b"sender", b"reply-to", b"to", b"cc",
                             b"bcc", b"in-reply-to", b"message-id"))

# A line that begins with "--" and a boundary is a delimiter line, whatever follows (RFC 2046
# section 5.1.1). Boundaries should have at most 70 bytes; this many are compared.
_BOUNDARY = 1000
# Octets to have in sight around a boundary: the CR before it, the closing "--" and one to spare.
_MARGIN = 4
# Octets of the boundaries' common beginning that are compared: more would cost more than it saves.
_COMMON = 16
# Octets in which most headers end; each further step of the search is twice as large.
_FIRST_STEP = 512
# Lines that only look like delimiter lines, before each boundary is searched by itself.
_NEAR_MISSES = 64
# Units of work, some microseconds each: for a part, and on top for a message; a parameter costs 1.
_PART_EFFORT, _MESSAGE_EFFORT = 5, 15
# What costs one unit: octets of describing fields, boundaries to choose from.
_OCTETS_DESCRIBED, _BOUNDARIES_WEIGHED = 4, 2
# A message may cost `Limits.effort` units, and one more for each 10 octets.
_OCTETS_A_UNIT = 10


class Limits(NamedTuple):
    """How much of a message's structure is read; beyond it the rest is one leaf.

    `depth` of nesting; `parts` in all; bytes that are kept of the fields of one `header` and of all
    `headers`; `effort`: the units of work that parts and parameters may cost. Without the last one
    80 KB of tiny parts, which are nobody's mail, would cost as much as an honest message of
    megabytes.
    """
    depth: int = 50
    parts: int = 10000
    header: int = 1 << 16
    headers: int = 1 << 20
    effort: int = 10000


class Part:
    """One entity of a message.

    `start`, `body`, `end`: wire offsets of its header, of its body, and of the end of its body.
    `lines`: line ends in the body. `type`, `subtype`: as sent (compare in lower case), text/plain
    by default. `params`: tuple of (name, value); text has the default charset filled in.
    `encoding`: as sent, b"7bit" by default. `id`, `description`, `md5`, `location`: bytes or None.
    `disposition`: None or (value, params). `languages`: tuple. `parts`: the children of a
    multipart, at least one; () otherwise. `message`: the Part inside a message/rfc822, else None.
    `header`: None, except for messages: the lines of the fields that MIME needs, and for messages
    inside also those that ENVELOPE needs, as far as the limits allow.
    """

    __slots__ = ("start", "body", "end", "lines", "type", "subtype", "params", "id", "description",
                 "encoding", "md5", "disposition", "languages", "location", "parts", "message",
                 "header")

    def __init__(self, start: int):
        self.start = self.body = self.end = start
        self.lines = 0
        self.header: Optional[bytes] = None
        self.parts = ()
        self.message = None

    def media_type(self) -> bytes:
        """The media type in lower case: b"text/plain"."""
        return (self.type + b"/" + self.subtype).lower()


def scan(source: Union[bytes, Iterable[bytes]], limits: Limits = Limits(),
         look: Callable[[], None] = lambda: None,
         exceeded: Callable[[], None] = lambda: None) -> Part:
    """A message in wire form, whole or in chunks of any size -> its root Part.

    Time is linear; memory is one window and the parts. `look` is called for each part, and may
    raise to end the work. `exceeded` is called where a limit is reached, and may raise, too.
    """
    return _Scanner(Source(source), limits, look, exceeded).run()


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
    """The boundary of an open multipart, `owner`, at a `depth` of `open`.

    `text`: what a delimiter line looks like, from the LF before it.
    """

    __slots__ = ("text", "owner", "depth")

    def __init__(self, boundary: bytes, owner: Part, depth: int):
        self.text, self.owner, self.depth = b"\n--" + boundary, owner, depth


class _Scanner:
    """The state of a scan.

    `open`: the open entities; `lines` of each is still the count at its body's start.
    `boundaries`: those of open multiparts that can still occur. `low`: no delimiter lies before
    it. `floor`: where the innermost body begins; it cannot end before. `count`, `effort`, `room`:
    what was used of the limits, and octets left for headers.
    """

    def __init__(self, source: Source, limits: Limits, look: Callable[[], None],
                 exceeded: Callable[[], None]):
        self.source, self.limits, self.look, self.exceeded = source, limits, look, exceeded
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
        """Work out what to search for. `by_length`: the longest first, then the innermost."""
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
        """The first delimiter in [low, high), at most a window, with the margin behind in sight."""
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
        """As `_seek`, among many lines that only look like delimiter lines.

        Searches each boundary by itself, in growing steps, so that no more is searched in vain than
        was passed.
        """
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
        """Where the body before a delimiter ends: the line end belongs to the delimiter (RFC 2046
        section 5.1.1)."""
        crlf = delimiter > self.source.base and self.source.piece(delimiter - 1, delimiter) == b"\r"
        return max(delimiter - crlf, self.floor)

    def _is_exhausted(self, offset: int) -> bool:
        return (self.count >= self.limits.parts
                or self.effort > self.limits.effort + offset // _OCTETS_A_UNIT)

    def _pass_delimiter(self, offset: int) -> Optional[int]:
        """Close what the delimiter line ends, and enter the part that it begins.

        Returns the delimiter that cut off that part's header, if one did.
        """
        self.look()
        source = self.source
        index = offset - source.base
        chosen = next(each for each in self.by_length if source.data.startswith(each.text, index))
        after = offset + len(chosen.text)
        closing = source.piece(after, after + 2) == b"--"
        if not closing and self._is_exhausted(offset):
            self.exceeded()
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
        """Read the header of a part that begins, and of the messages that begin inside it.

        Returns the delimiter that cut off a header, if one did.
        """
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
        """b"multipart", b"message", or None for a leaf; beyond the limits every part is a leaf."""
        kind = part.type.lower()
        if kind != b"multipart" and part.media_type() != b"message/rfc822":
            return None
        if len(self.open) >= self.limits.depth or self._is_exhausted(part.body):
            self.exceeded()
            part.type, part.subtype, part.params = b"application", b"octet-stream", ()
            return None
        return kind

    def _await_boundary(self, part: Part, delimiter: Optional[int]) -> None:
        boundary = next((value[:_BOUNDARY] for name, value in part.params
                         if name.lower() == b"boundary"), b"")
        if boundary and delimiter is None:
            self.boundaries.append(_Boundary(boundary, part, len(self.open)))
            self._boundaries_changed()

    def _read_header(self, part: Part) -> Tuple[bytes, Optional[int]]:
        """Find a header's end and set `part.body`, and `part.header` if the part is a message.

        Returns (the lines of the fields that describe it, the delimiter that cut it off or None).
        """
        source, start = self.source, part.start
        if start == 0:
            # `_empty_line` searches from a line end, and there is none before the first line.
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
        """The end of the header that begins at `start` -> (the offset of the body, the delimiter
        that cut it off or None, the offset up to which `take` got its octets).

        `take` gets pieces of about a window, so that a long header is not held.
        """
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
                    # The last octet may still turn out to belong to a delimiter.
                    take(source.piece(taken, low - 1))
                    taken = low - 1
            elif source.ended:
                end = source.end
            else:
                source.more(min(taken, low - 1))
        return end, delimiter, taken

    def _without_empty_line(self, offset: int) -> int:
        """The end of a part whose header's empty line is also the line end before a delimiter line.

        It belongs to the delimiter (RFC 2046 section 5.1.1), so the part's header has no empty
        line, nor have the headers of the messages that begin inside it.
        """
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
        """End the open entities deeper than `depth`.

        An `end` before `floor` excludes the line end of an empty line.
        """
        lines = self.source.lines_before(max(end, self.floor)) - (end < self.floor)
        for part in self.open[depth:]:
            part.end, part.lines = end, max(0, lines - part.lines)
            if part.parts == []:
                # RFC 3501 does not allow a multipart without parts.
                part.parts.append(_empty_part(end))
        del self.open[depth:]


def _empty_line(source: Source, low: int, high: int) -> Tuple[Optional[int], int]:
    """The line end in [low, high) that an empty line follows, and the size of both together."""
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
    """Describe a part by its header, with the defaults of RFC 2045 section 5.2 and RFC 2046
    section 5.1.5."""
    said = describe(header, heads_message) if header else NOTHING
    part.type, part.subtype, part.params = said.type, said.subtype, said.params
    if part.type is None:
        part.type, part.subtype = (b"message", b"rfc822") if in_digest else (b"text", b"plain")
    if part.type.lower() == b"text" and b"charset" not in [name.lower() for name, _ in part.params]:
        part.params += ((b"charset", b"us-ascii"),)
    part.id, part.description, part.md5 = said.id, said.description, said.md5
    part.location = said.location
    part.encoding = said.encoding or b"7bit"
    part.disposition, part.languages = said.disposition, said.languages
