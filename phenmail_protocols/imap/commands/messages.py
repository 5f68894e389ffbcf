"""A message's octets for FETCH and SEARCH: its header, its parts, any range of it, whatever its size.

Small messages are read whole; of big ones only what is asked for is read, in chunks. A header of
any size ends where it ends; as bytes there is of a very large one only its beginning, or the fields
that are asked for.
"""
from ...mail import headers, structure
from ..session import OutOfStep

SMALL = 262144  # octets; a message up to this size is read at once
HEADER = 1 << 20  # octets of a header that are held at most
FIELDS = headers.LARGE  # octets of chosen fields, or of those of one name, that are held at most


class Message:
    """One message while it is looked at: `content` is the store's.

    `trees(uid, scan)`, the session's, gives a tree that is kept; where there is none (search reads
    each message once) it is scanned. `look`: the session's, called for each part, and for each
    chunk of a big message that is read without being sent.
    """

    __slots__ = ("uid", "size", "_content", "look", "_trees", "_whole", "_header", "_edge",
                 "_tree")

    def __init__(self, uid, content, trees, look):
        self.uid = uid
        self._content = content
        self.look = look
        self._trees = trees
        self._whole = content.whole() if content.size <= SMALL else None
        self.size = content.size if self._whole is None else len(self._whole)
        self._header = self._edge = self._tree = None

    def small(self):
        """All of it as bytes, None where it is too big for that."""
        return self._whole

    def edge(self):
        """Where the body begins: behind the header's empty line."""
        if self._edge is None:
            self._find_edge()
        return self._edge

    def header(self):
        """The header with the empty line that ends it; of one larger than HEADER the beginning."""
        if self._edge is None:
            self._find_edge()
        return self._header

    def fields(self, names):
        """A header to read the fields of these names (frozenset, lower case) from: the header, or
        of a large one those fields. Where they are large, too, FIELDS octets of each name."""
        if self.edge() <= FIELDS:
            return self.header()
        chosen = self._chosen(names)
        if len(chosen) < FIELDS or len(names) == 1:
            return chosen
        return b"".join([self._chosen(frozenset((name,))) for name in sorted(names)])

    def _chosen(self, names):
        selection, pieces = headers.Selection(names, FIELDS), []
        for chunk in self.octets(0, self.edge()):
            self.look()
            pieces.append(selection.feed(chunk))
        chosen = b"".join(pieces) + selection.close()
        return chosen if chosen[-1:] in (b"", b"\n") else chosen + b"\n"

    def blocks(self, name):
        """The fields of a name, all of them, in headers.blocks."""
        self.look()
        return headers.blocks(headers.selected(self.octets(0, self.edge()), frozenset((name,))))

    def _find_edge(self):
        if self._whole is not None:
            self._header, self._edge = headers.split_header(self._whole)
            return
        # As if behind a line end: a message that begins with its empty line has no fields.
        kept, passed, before = [], 0, b"\r\n"
        for chunk in self._chunks():
            end = (before + chunk).find(b"\r\n\r\n")
            if end >= 0:
                chunk = chunk[:end + 4 - len(before)]
            if passed < HEADER:
                kept.append(chunk[:HEADER - passed])
            passed += len(chunk)
            if end >= 0:
                break
            before = (before + chunk)[-3:]
        self._header, self._edge = b"".join(kept), passed

    def tree(self):
        """The MIME structure: mail.structure.Part."""
        if self._tree is None:
            self._tree = self._trees(self.uid, self._scan) if self._trees else self._scan()
        return self._tree

    def forget_tree(self):
        """It may be large, and a client may take its time to receive what was found with it."""
        self._tree = None

    def _scan(self):
        return structure.scan(self._chunks() if self._whole is None else self._whole,
                              look=self.look)

    def _chunks(self):
        for chunk in self._content.chunks():
            self.look()
            yield chunk

    def onward(self):
        """read(start, end) -> iterable of chunks, for ranges that ascend: the file is read once,
        from front to back.
        """
        return self.octets if self._whole is not None else _Onward(self._chunks()).read

    def octets(self, start, end):
        """An iterable of chunks: exactly the octets from `start` up to `end`."""
        if self._whole is not None:
            return (self._whole[start:end],)
        return self._exactly(start, end - start)

    def _exactly(self, start, length):
        """The client was told how many octets come: where they don't, the answer can't be ended."""
        try:
            for chunk in self._content.chunks(start, length):
                length -= len(chunk)
                yield chunk
        except Exception as error:
            raise OutOfStep("UID %d: %s" % (self.uid, error)) from error
        if length:
            raise OutOfStep("UID %d lacks %d octets" % (self.uid, length))

    def read(self, start, end):
        """These octets as bytes: only for what is known to be small."""
        return b"".join(self.octets(start, end))


class _Onward:
    """Ascending ranges of a stream of chunks."""

    def __init__(self, chunks):
        self._chunks = iter(chunks)
        self._chunk = b""
        self._at = 0  # where the chunk begins

    def read(self, start, end):
        """An iterable of pieces; what was passed already is left out."""
        start = max(start, self._at)
        while start < end:
            if start >= self._at + len(self._chunk):
                self._at += len(self._chunk)
                self._chunk = next(self._chunks, b"")
                if not self._chunk:
                    return
                continue
            piece = self._chunk[start - self._at:end - self._at]
            start += len(piece)
            yield piece


def find_part(root, numbers):
    """The Part that these numbers name (RFC 3501 6.4.5), or None. A message that is no multipart has one part: itself."""
    part, inside = root, root
    for number in numbers:
        if inside is None:
            return None
        if inside.parts:
            if number > len(inside.parts):
                return None
            part = inside.parts[number - 1]
        elif number == 1:
            part = inside
        else:
            return None
        inside = part.message or (part if part.parts else None)
    return part
