"""The sections of FETCH: BODY[1.2.HEADER]<0.100> and such, as octets of a message (RFC 3501 6.4.5).

FETCH calls `prepare` for all sections of a message before it sends the first.
"""
from functools import partial

from ...mail import headers

# Octets. Fields selected from a larger header are not held in memory: they are read twice, once for
# their size and once to be sent.
LARGE_HEADER = 1 << 18


def span(section, message):
    """Where a section is in its message: (start, end). For selected fields, the header's range.

    A part that the message does not have is empty. NIL would be allowed, too, but mail programs
    expect an empty string.
    """
    if not section.part:
        if section.kind is None:
            return 0, message.size
        body = message.header_size()
        return (body, message.size) if section.kind == "TEXT" else (0, body)
    part = find_part(message.tree(), section.part)
    if part is None:
        return 0, 0
    if section.kind is None:
        return part.body, part.end
    if section.kind == "MIME":
        return part.start, part.body
    inside = part.message
    if inside is None:
        return 0, 0
    return (inside.body, inside.end) if section.kind == "TEXT" else (inside.start, inside.body)


def find_part(root, numbers):
    """The Part with these part numbers, or None. A message that is not multipart has part 1."""
    part = inside = root
    for number in numbers:
        if inside is None:
            return None
        parts = inside.parts or (inside,)
        if number > len(parts):
            return None
        part = parts[number - 1]
        inside = part.message or (part if part.parts else None)
    return part


def prepare(section, message):
    """-> a function that returns (the beginning of the literal, an iterable of its octets)."""
    return partial(_literal, section, message, *span(section, message))


def _literal(section, message, start, end):
    size, chunks = octets(section, message, start, end)
    return b"{%d}\r\n" % size, chunks


def octets(section, message, start, end):
    """A section's (size, iterable of chunks); `start` and `end` as from `span`."""
    if not section.names:
        start, end = _narrowed(start, end, section.partial)
        return end - start, message.octets(start, end)

    def chosen():
        negate = section.kind == "HEADER.FIELDS.NOT"
        return headers.selected(message.octets(start, end), section.names, negate)
    if end - start <= LARGE_HEADER:
        data = b"".join(chosen())
        first, last = _narrowed(0, len(data), section.partial)
        return last - first, (data[first:last],)
    first, last = _narrowed(0, sum(map(len, chosen())), section.partial)
    return last - first, _between(chosen(), first, last)


def _between(pieces, start, end):
    """Yield the octets from `start` up to `end` of octets that come in pieces."""
    at = 0
    for piece in pieces:
        if at >= end:
            return
        yield piece[max(0, start - at):end - at]
        at += len(piece)


def _narrowed(start, end, partial):
    """Apply <origin.length>, or None, to a range -> (start, end) of the octets that exist."""
    if partial is None:
        return start, end
    origin, length = partial
    start = min(start + origin, end)
    return start, min(start + length, end)
