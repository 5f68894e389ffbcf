"""A message's octets for FETCH and SEARCH: its header, its parts, any range of it.

A small message is read whole. Of a big one, only the needed octets are read, in chunks. A header
may have any size. To bound memory, only the wanted fields of a very large header are held, or it is
cut.
"""
from ...mail import headers, structure
from ...store.maildir.content import Sequential
from ..session import OutOfStep

SMALL = 262144  # octets; a message up to this size is read at once
HEADER = 1 << 20  # at most so many octets of a header are held
FIELDS = headers.LARGE  # at most so many octets of selected fields, or of one name's, are held


class Message:
    """One message. `content` is the store's Content.

    `trees(uid, scan)`: the session's; it returns the message's MIME tree from a cache or from
    `scan()`. None: always scan the message (SEARCH reads each message once). `look`: the session's;
    it is called for each part, and for each chunk of a big message that is read but not sent.

    whole   all octets, or None for a big message
    """

    __slots__ = ("uid", "size", "whole", "look", "_content", "_trees", "_header", "_header_size",
                 "_tree")

    def __init__(self, uid, content, trees, look):
        self.uid = uid
        self.look = look
        self.whole = content.whole() if content.size <= SMALL else None
        self.size = content.size if self.whole is None else len(self.whole)
        self._content = content
        self._trees = trees
        self._header = self._header_size = self._tree = None

    def header_size(self):
        """Octets of the header with the empty line that ends it: where the body begins."""
        if self._header_size is None:
            self._find_header()
        return self._header_size

    def header(self):
        """The header, or its first HEADER octets if it is larger."""
        if self._header_size is None:
            self._find_header()
        return self._header

    def fields(self, names):
        """A header that contains the fields with these names (frozenset, lower case).

        It is the whole header. If that is large, it has only those fields; if they are large, too,
        it has FIELDS octets of each name.
        """
        if self.header_size() <= FIELDS:
            return self.header()
        chosen = self._chosen(names)
        if len(chosen) < FIELDS or len(names) == 1:
            return chosen
        return b"".join([self._chosen(frozenset((name,))) for name in sorted(names)])

    def _chosen(self, names):
        selection, pieces = headers.Selection(names, FIELDS), []
        for chunk in self.octets(0, self.header_size()):
            self.look()
            pieces.append(selection.feed(chunk))
        chosen = b"".join(pieces) + selection.close()
        return chosen if chosen[-1:] in (b"", b"\n") else chosen + b"\n"

    def blocks(self, name):
        """All fields of a name, as `headers.blocks` gives them."""
        self.look()
        header = self.octets(0, self.header_size())
        return headers.blocks(headers.selected(header, frozenset((name,))))

    def _find_header(self):
        if self.whole is not None:
            self._header, self._header_size = headers.split_header(self.whole)
            return
        # As if a line end preceded: a header without fields is just an empty line.
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
        self._header, self._header_size = b"".join(kept), passed

    def tree(self):
        """The MIME structure: mail.structure.Part."""
        if self._tree is None:
            self._tree = self._trees(self.uid, self._scan) if self._trees else self._scan()
        return self._tree

    def forget_tree(self):
        """Free the tree's memory. It may be large, and the client may be slow to receive the
        response that was made from it."""
        self._tree = None

    def _scan(self):
        source = self._chunks() if self.whole is None else self.whole
        return structure.scan(source, look=self.look)

    def _chunks(self):
        return self._looking(self._content.chunks())

    def _looking(self, chunks):
        for chunk in chunks:
            self.look()
            yield chunk

    def sequential(self):
        """read(start, end) -> iterable of chunks, for ascending ranges: the file is read once."""
        return self.octets if self.whole is not None else Sequential(self._chunks()).read

    def read(self, start, end):
        """As `octets`, for octets that are not sent; `look` is called for each chunk."""
        if self.whole is not None:
            return (self.whole[start:end],)
        return self._looking(self._content.chunks(start, end - start))

    def octets(self, start, end):
        """An iterable of chunks: exactly the octets from `start` up to `end`."""
        if self.whole is not None:
            return (self.whole[start:end],)
        return self._exactly(start, end - start)

    def _exactly(self, start, length):
        """Yield chunks. Raise OutOfStep for fewer octets than the response announced."""
        try:
            for chunk in self._content.chunks(start, length):
                length -= len(chunk)
                yield chunk
        except Exception as error:
            raise OutOfStep("UID %d: %s" % (self.uid, error)) from error
        if length:
            raise OutOfStep("UID %d lacks %d octets" % (self.uid, length))


def messages(session, uids):
    """Yield a Message for each of `uids` that exists. Asking for the next one closes its file."""
    for uid, content in session.view.mailbox.contents(uids):
        session.look()
        if content is not None:
            with content:
                yield Message(uid, content, session.trees, session.look)
