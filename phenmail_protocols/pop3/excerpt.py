"""The beginning of a message, for TOP: its header and some lines of its body (RFC 1939 7).

Pure: chunks in, chunks out. It searches and counts in whole chunks instead of looking at lines,
because that keeps the interpreter for a short time only.
"""

from itertools import chain

_HEADER_END = b"\r\n\r\n"


def excerpt(chunks, lines):
    """Iterator over the header, the blank line after it, and the first `lines` of the body.

    `chunks`: the message with CRLF line ends, cut anywhere. Without a blank line, all of it is
    header.
    """
    chunks = iter(chunks)
    tail = b"\r\n"  # a message that begins with a blank line has an empty header
    for chunk in chunks:
        text = tail + chunk
        end = text.find(_HEADER_END)
        if end >= 0:
            body = end + len(_HEADER_END) - len(tail)
            yield chunk[:body]
            yield from _first_lines(chain((chunk[body:],), chunks), lines)
            return
        yield chunk
        tail = text[-3:]


def _first_lines(chunks, lines):
    if not lines:
        return
    for chunk in chunks:
        here = chunk.count(b"\n")
        if here >= lines:
            yield chunk[:_end_of_line(chunk, lines)]
            return
        lines -= here
        if chunk:
            yield chunk


def _end_of_line(chunk, lines):
    """The offset after the chunk's line number `lines` (from 1), by bisection."""
    start, stop = 0, len(chunk)
    while stop - start > 512:
        middle = (start + stop) // 2
        here = chunk.count(b"\n", start, middle)
        if here >= lines:
            stop = middle
        else:
            start, lines = middle, lines - here
    for _ in range(lines):
        start = chunk.index(b"\n", start) + 1
    return start
