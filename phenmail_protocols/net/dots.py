"""Dot stuffing of message text: RFC 5321 4.5.2 (DATA), RFC 1939 3 (RETR, TOP). Pure: bytes in, bytes out, any cut.

Only CRLF "." CRLF ends a text; every other mix of CR, LF and dot (the seed of SMTP smuggling) is text, and a CR or LF that is not
part of a CRLF is flagged, so that the caller can refuse the whole message after it was read to its end (RFC 5321 2.3.8).
All work is `find`, `count` and `replace` over whole chunks: no loop over lines.
"""

END = b"\r\n.\r\n"


class Unstuffer(object):
    """Takes the stuffing off one text that arrives in chunks.

    `bare_cr_or_lf` is True once the text given out held a CR or LF alone. `done` is True after the end mark.
    """

    __slots__ = ("bare_cr_or_lf", "done", "_tail", "_started")

    def __init__(self):
        self.bare_cr_or_lf = False
        self.done = False
        # What was fed and not given out, because it may be the beginning of the end mark. A text begins as if after a CRLF, which is
        # never given out: a message that is ".CRLF" alone is empty, and a first line that starts with a dot is unstuffed.
        self._tail = b"\r\n"
        self._started = False

    def feed(self, chunk):
        """(data, done, rest): text that is certain by now, still with CRLF; whether the end mark came; what followed the end mark."""
        if self.done:
            return b"", True, chunk
        text = self._tail + chunk if self._tail else chunk
        dotted = text.find(b"\r\n.")
        end = text.find(END, dotted) if dotted >= 0 else -1
        if end >= 0:
            self.done = True
            rest = text[end + len(END):]
            text = text[:end + 2]
            self._tail = b""
        else:
            rest = b""
            self._tail = _beginning_of_end(text)
            if self._tail:
                text = text[:-len(self._tail)]
        if not text:
            return b"", self.done, rest
        if not self.bare_cr_or_lf:
            self.bare_cr_or_lf = _has_bare(text)
        if dotted >= 0:
            text = text.replace(b"\r\n.", b"\r\n")
        if not self._started:
            self._started = True
            text = text[2:]
        return text, self.done, rest


def _beginning_of_end(text):
    """The longest end of `text` that may begin CRLF.CRLF. So text that was given out never ends between a CR and its LF."""
    for length in (4, 3, 2, 1):
        if text.endswith(END[:length]):
            return END[:length]
    return b""


def _has_bare(text):
    pairs = text.count(b"\r\n")
    return text.count(b"\n") != pairs or text.count(b"\r") != pairs


def stuff(chunks):
    """Iterator over the wire form of the text in `chunks` (iterable of bytes with CRLF line ends, any cut), the closing "." line included.

    A last line without line end gets its CRLF, so that the end mark stands alone.
    """
    tail, started = b"\r\n", False
    for chunk in chunks:
        text = tail + chunk
        tail = b"\r\n" if text.endswith(b"\r\n") else b"\r" if text.endswith(b"\r") else b""
        if tail:
            text = text[:-len(tail)]
        if text:
            text = text.replace(b"\r\n.", b"\r\n..")
            yield text if started else text[2:]
            started = True
    if tail == b"\r\n":
        yield b"\r\n.\r\n" if started else b".\r\n"
    else:
        yield tail + b"\r\n.\r\n"
