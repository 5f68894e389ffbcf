"""Dot-stuffing of messages: RFC 5321 4.5.2 (DATA), RFC 1939 3 (RETR, TOP).

Pure: bytes in, bytes out, cut anywhere. Only CRLF "." CRLF ends a text. Any other mix of CR, LF
and dots is text (else SMTP smuggling is possible), and a CR or LF outside CRLF is reported, so that
the caller can refuse the message after its end (RFC 5321 2.3.8). `find`, `count` and `replace`
work on whole chunks; there is no loop over lines.
"""
END = b"\r\n.\r\n"


class Unstuffer:
    """Removes the dot-stuffing from one text that arrives in chunks.

    `bare_cr_or_lf`: the text so far contains a CR or LF outside CRLF. `done`: the end mark came.
    """

    __slots__ = ("bare_cr_or_lf", "done", "_tail", "_started")

    def __init__(self):
        self.bare_cr_or_lf = False
        self.done = False
        # Octets that were not returned because they may begin the end mark. A text begins as if
        # after a CRLF, which is not returned: then ".CRLF" alone is an empty message, and a first
        # line that starts with a dot is unstuffed.
        self._tail = b"\r\n"
        self._started = False

    def feed(self, chunk):
        """-> (data, done, rest): text with CRLF; whether it is complete; what followed the end."""
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
            self.bare_cr_or_lf = _has_bare_cr_or_lf(text)
        if dotted >= 0:
            text = text.replace(b"\r\n.", b"\r\n")
        if not self._started:
            self._started = True
            text = text[2:]
        return text, self.done, rest


def _beginning_of_end(text):
    """The longest end of `text` that may begin END. So no text is cut between CR and LF."""
    for length in (4, 3, 2, 1):
        if text.endswith(END[:length]):
            return END[:length]
    return b""


def _has_bare_cr_or_lf(text):
    """Whether a CR or LF in `text` is not part of CRLF."""
    pairs = text.count(b"\r\n")
    return text.count(b"\n") != pairs or text.count(b"\r") != pairs


def stuff(chunks):
    """Iterator over the wire form of a text, the final "." line included.

    `chunks`: the text with CRLF line ends, cut anywhere. A last line without CRLF gets one.
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
