"""A message's octets for FETCH and SEARCH: its header, its parts, any range of it, whatever its size.

Small messages are read whole; of big ones only what is asked for is read, in chunks. The tree of the last message that was
asked for parts is kept, so that a client that reads an attachment in pieces does not have it scanned for each piece.
"""
from phenmail_protocols.mail import headers, structure

from ..session import OutOfStep

SMALL = 262144  # octets; a message up to this size is read at once
HEADER = 1 << 20  # octets of a header that are read at most


class Message:
    """One message while it is looked at: `content` is the store's, `trees` a dict {uid: tree} to
    remember the last tree in.

    `look`: the session's, called for each chunk of a big message that is read without being sent.
    """

    __slots__ = ("uid", "size", "_content", "_look", "_trees", "_whole", "_header")

    def __init__(self, uid, content, trees, look):
        self.uid = uid
        self._content = content
        self._look = look
        self._trees = trees
        self._whole = content.whole() if content.size <= SMALL else None
        self.size = content.size if self._whole is None else len(self._whole)
        self._header = None

    def small(self):
        """All of it as bytes, None where it is too big for that."""
        return self._whole

    def header(self):
        """The header with the empty line that ends it."""
        if self._header is None:
            beginning = self._beginning() if self._whole is None else self._whole
            self._header = headers.split_header(beginning)[0]
        return self._header

    def _beginning(self):
        """As much of a big message as its header needs."""
        pieces, size = [], 0
        for chunk in self._content.chunks(0, HEADER):
            pieces.append(chunk)
            size += len(chunk)
            if b"\r\n\r\n" in (chunk if len(pieces) == 1 else pieces[-2][-3:] + chunk):
                break
        return b"".join(pieces)

    def tree(self):
        """The MIME structure: mail.structure.Part."""
        tree = self._trees.get(self.uid)
        if tree is None:
            tree = structure.scan(self._chunks() if self._whole is None else self._whole)
            self._trees.clear()  # one of 10 000 parts is some 5 MB
            self._trees[self.uid] = tree
        return tree

    def _chunks(self):
        for chunk in self._content.chunks():
            self._look()
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
