"""The beginning of a message for TOP: its header and some lines of its body (RFC 1939 7).

Pure: chunks in, chunks out.  Works on whole chunks with `find` and `count`, and
halves only the one chunk in which the last line ends.
"""

_HEADER_END = b"\r\n\r\n"


def excerpt(chunks, lines):
    """Iterator over the message's beginning.

    In: `chunks` in wire form (CRLF), any cut; `lines` of the body, 0 or more.
    Out: the header, the blank line after it and so many lines.  Without a blank line
    all of it is header.
    """
    chunks = iter(chunks)
    # As if after a line end: a message that begins with its blank line has an empty header.
    tail = b"\r\n"
    for chunk in chunks:
        text = tail + chunk
        end = text.find(_HEADER_END)
        if end >= 0:
            body = end + len(_HEADER_END) - len(tail)
            yield chunk[:body]
            for piece in _first_lines(_chain(chunk[body:], chunks), lines):
                yield piece
            return
        yield chunk
        tail = text[-3:]


def _chain(first, others):
    yield first
    for chunk in others:
        yield chunk


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
    """The offset after the line end of that number, which the chunk has (1 is the first)."""
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
