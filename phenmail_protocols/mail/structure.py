"""The MIME tree of a message with byte offsets, found in one pass over its chunks.

Offsets and lines are those of the wire form (CRLF) that the source holds. Broken MIME gives some tree, never an error: a multipart
without its delimiters has one empty part, a part without its end runs to its parent's end. It does not decode and keeps no body.
RFC 2045, RFC 2046 section 5.1, RFC 3501 section 7.4.2.

How: only delimiters (and in headers the empty line) are looked for, with `bytes.find` over windows; lines are counted with
`bytes.count`. Each boundary remembers where it was seen next, so a byte is searched once a boundary however many parts there are.
"""
from typing import Iterable, List, NamedTuple, Optional, Union

from .mimefields import Description, describe

# A line that begins with -- and a boundary is a delimiter line: RFC 2046 section 5.1.1 compares only the beginning. Boundaries have 70
# bytes at most; longer ones are compared as far as this.
_BOUNDARY = 200
# How far one search runs: a boundary that never comes must not cost a search of the whole rest for each part.
_WINDOW = 65536


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


def scan(source: Union[bytes, Iterable[bytes]], limits: Limits = Limits()) -> Part:
    """A message in wire form, whole or in chunks of any size -> its root Part. Beyond the limits the rest is one leaf. Linear in time;
    memory is one window and the parts."""
    raise NotImplementedError
