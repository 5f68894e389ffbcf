"""The MIME tree of a message with byte offsets, found in one pass over its chunks.

Offsets and lines are those of the wire form (CRLF) that the source holds. Broken MIME gives some tree, never an error: a multipart
without its delimiters has one empty part, a part without its end runs to its parent's end. It does not decode and keeps no body.
RFC 2045, RFC 2046 section 5.1, RFC 3501 section 7.4.2.

How: only delimiter lines (and in headers the empty line) are looked for, with `bytes.find`; lines are counted with `bytes.count`.
"""
from typing import Iterable, List, NamedTuple, Optional, Tuple, Union

from .mimefields import describe
from .window import Needle, Source, first_of

# A line that begins with -- and a boundary is a delimiter line: RFC 2046 section 5.1.1 compares only the beginning. Boundaries have 70
# bytes at most; longer ones are compared as far as this.
_BOUNDARY = 1000
# "--" behind a boundary closes it; with the CR before and a byte to spare this much is looked at around the boundary itself.
_MARGIN = 4


class Limits(NamedTuple):
    """`depth` of nesting, `parts` in all, bytes of one `header` that are read, bytes of all `headers` that are read."""
    depth: int = 50
    parts: int = 10000
    header: int = 1 << 20
    headers: int = 4 << 20


class Part:
    """One entity of a message.

    `start`, `body`, `end`: wire offsets of its header, of its body, and behind its body; `lines`: line ends in the body.
    `type`, `subtype`: as sent (compare in lower case), text/plain where nothing is said. `params`: tuple of (name, value), for text
    with the default charset filled in. `encoding`: as sent, b"7bit" by default. `id`, `description`, `md5`, `location`: bytes or None.
    `disposition`: None or (value, params). `languages`: tuple. `parts`: the children of a multipart, at least one; () otherwise.
    `message`: the Part inside a message/rfc822, else None. `header`: the header's bytes for the root and for messages inside,
    as far as the limits allow; b"" otherwise.
    """

    __slots__ = ("start", "body", "end", "lines", "type", "subtype", "params", "id", "description", "encoding", "md5", "disposition",
                 "languages", "location", "parts", "message", "header")

    def __init__(self, start: int):
        self.start = self.body = self.end = start
        self.lines = 0
        self.header = b""
        self.parts = ()
        self.message = None


    def media_type(self) -> bytes:
        """The media type to compare with: b"text/plain"."""
        return (self.type + b"/" + self.subtype).lower()


def scan(source: Union[bytes, Iterable[bytes]], limits: Limits = Limits()) -> Part:
    """A message in wire form, whole or in chunks of any size -> its root Part. Beyond the limits the rest is one leaf. Linear in time;
    memory is one window and the parts."""
    return _Scanner(Source(source), limits).run()


class _Boundary(Needle):
    """The boundary of an open multipart, its `owner`; the text begins with the line end before the delimiter line."""

    __slots__ = ("owner",)

    def __init__(self, boundary: bytes, owner: Part):
        super().__init__(b"\n--" + boundary)
        self.owner = owner


class _Scanner:
    """`open`: the entities from the root inwards that have begun and not ended, `lines` of each still the count at its body.
    `boundaries`: those of open multiparts that still count. `low`: no delimiter line's line end lies before it. `floor`: where the
    innermost body begins, before which it cannot end."""

    def __init__(self, source: Source, limits: Limits):
        self.source, self.limits = source, limits
        self.open, self.boundaries = [], []  # type: List[Part], List[_Boundary]
        self.low = self.floor = self.count = 0
        self.budget, self.margin = limits.headers, _MARGIN

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

    def _next_delimiter(self) -> Optional[int]:
        while True:
            self.low, found = first_of(self.boundaries, self.source, self.low, self.margin)
            if found is not None:
                return self.low
            if self.source.ended:
                return None
            self.source.more(self.low - 1)

    def _end_before(self, delimiter: int) -> int:
        """Where a body ends that a delimiter line follows: the line end before it belongs to the delimiter (RFC 2046 5.1.1)."""
        index = delimiter - self.source.base
        crlf = index > 0 and self.source.data[index - 1:index] == b"\r"
        return max(delimiter - crlf, self.floor)

    def _pass_delimiter(self, offset: int) -> Optional[int]:
        """Closes what the delimiter line ends and enters the part that it begins. Returns the delimiter that cut that part's header
        off, if one did."""
        chosen, end = self._whose(offset), self._end_before(offset)
        after = offset + len(chosen.text)
        closing = self.source.data[after - self.source.base:after + 2 - self.source.base] == b"--"
        if not closing and self.count >= self.limits.parts:
            self.boundaries.clear()
            return None
        self._close(self.open.index(chosen.owner) + 1, end)
        del self.boundaries[self.boundaries.index(chosen) + (not closing):]
        self.margin = max([len(boundary.text) for boundary in self.boundaries] or [0]) + _MARGIN
        self.low = self.floor = offset + 1
        if closing:
            return None
        line_end = self.source.find(b"\n", after)
        if line_end is None:
            self.low = self.source.end
            return None
        part = Part(line_end + 1)
        chosen.owner.parts.append(part)
        return self._enter(part, chosen.owner.subtype.lower() == b"digest")

    def _whose(self, offset: int) -> _Boundary:
        """The longest boundary that the delimiter line begins with; of equal ones the innermost."""
        best, index = None, offset - self.source.base
        for boundary in reversed(self.boundaries):
            if (best is None or len(boundary.text) > len(best.text)) and self.source.data.startswith(boundary.text, index):
                best = boundary
        return best

    def _enter(self, part: Part, in_digest: bool) -> Optional[int]:
        """Reads the header of a part that begins, and of the messages that begin inside it. Returns the delimiter that cut a header
        off, if one did."""
        delimiter, heads_message = None, part.start == 0
        while True:
            header = b""
            if delimiter is None:
                header, delimiter = self._read_header(part)
            _fill_in(part, header, heads_message, in_digest)
            if heads_message:
                part.header = header
            part.lines = self.source.lines_before(part.body)
            self.low, self.floor = max(part.body - 1, 0), part.body
            self.open.append(part)
            self.count += 1
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
        if len(self.open) >= self.limits.depth or self.count >= self.limits.parts:
            part.type, part.subtype, part.params = b"application", b"octet-stream", ()
            return None
        return kind

    def _await_boundary(self, part: Part, delimiter: Optional[int]) -> None:
        boundary = next((value for name, value in part.params if name.lower() == b"boundary"), b"")[:_BOUNDARY]
        if boundary and delimiter is None:
            self.boundaries.append(_Boundary(boundary, part))
            self.margin = max(self.margin, len(boundary) + 3 + _MARGIN)

    def _read_header(self, part: Part) -> Tuple[bytes, Optional[int]]:
        """Finds a header's end and sets `part.body`. Returns (the header as far as the limits allow, the delimiter line that stands in
        the place of its empty line or None)."""
        source, start = self.source, part.start
        allowed = min(self.limits.header, self.budget)
        kept, low, found = None, max(start - 1, 0), None
        blanks = (Needle(b"\n\r\n"), Needle(b"\n\n"))
        if start == 0:
            # There is no line end before the first line to search from.
            source.more(0)
            if source.data[:2] == b"\r\n" or source.data[:1] == b"\n":
                part.body = 1 if source.data[:1] == b"\n" else 2
                return source.data[:min(part.body, allowed)], None
        while True:
            low, found = first_of(blanks + tuple(self.boundaries), source, low, self.margin)
            if found is not None or source.ended:
                break
            if kept is None and low - start > allowed:
                kept = source.data[start - source.base:start - source.base + allowed]
            source.more(start - 1 if kept is None else low - 1)
        delimiter = None
        if found is None:
            part.body = source.end
        elif found in blanks:
            part.body = low + len(found.text)
        else:
            self.floor, delimiter = start, low
            part.body = self._end_before(low)
        if kept is None:
            kept = source.data[start - source.base:min(part.body, start + allowed) - source.base]
        self.budget -= len(kept)
        return kept, delimiter

    def _close(self, depth: int, end: int) -> None:
        """Ends the open entities deeper than `depth`."""
        lines = self.source.lines_before(end)
        for part in self.open[depth:]:
            part.end, part.lines = end, lines - part.lines
            if part.parts == []:
                # RFC 3501 has no multipart without parts.
                part.parts.append(_empty_part(end))
        del self.open[depth:]


def _empty_part(offset: int) -> Part:
    part = Part(offset)
    _fill_in(part, b"")
    return part


def _fill_in(part: Part, header: bytes, heads_message: bool = False, in_digest: bool = False) -> None:
    """The part's description from its header, with the defaults of RFC 2045 section 5.2 and RFC 2046 section 5.1.5."""
    said = describe(header, heads_message)
    part.type, part.subtype, part.params = said.type, said.subtype, said.params
    if part.type is None:
        part.type, part.subtype = (b"message", b"rfc822") if in_digest else (b"text", b"plain")
    if part.type.lower() == b"text" and b"charset" not in [name.lower() for name, _ in part.params]:
        part.params += ((b"charset", b"us-ascii"),)
    part.id, part.description, part.md5, part.location = said.id, said.description, said.md5, said.location
    part.encoding = said.encoding or b"7bit"
    part.disposition, part.languages = said.disposition, said.languages
