"""SMTP replies: bytes cut anywhere -> replies, and a reply -> the `Reply` that the queue keeps.

Pure: knows no socket. Input that is not a reply raises `MalformedReply`, and nothing else is ever
raised. RFC 5321 4.2 (replies) and 4.5.3.1.5 (lines of 512 bytes, which servers exceed), RFC 2034
and RFC 3463 (enhanced status codes).
"""
import re
from typing import List, NamedTuple, Tuple

from ..mail.reply import Reply
from ..mail.writing import printable

LONGEST_LINE = 4096  # bytes of a line that are kept
MOST_LINES = 200  # of one reply; a long EHLO reply has 30
MOST_BYTES = 65536  # of one reply
MOST_TEXT = 1000  # characters of a Reply's text

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class MalformedReply(Exception):
    """The server sent something that is not an SMTP reply."""


class RawReply(NamedTuple):
    """One reply: its code, and the text of each line without code and line end."""
    code: int
    lines: Tuple[bytes, ...]


class ReplyReader:
    """Takes bytes as they arrive and gives replies. Useless after it raised MalformedReply.

    The code says what became of a message, so a reply counts however long it is: only the beginning
    of a long line is kept, and a reply that exceeds MOST_LINES or MOST_BYTES is given as far as it
    was read. Whatever follows such a reply raises MalformedReply.
    """

    __slots__ = ("_data", "_start", "_line", "_code", "_lines", "_bytes", "_is_endless")

    def __init__(self):
        self._data, self._start = b"", 0
        self._line = b""  # the beginning of a long line that has not ended
        self._code = self._bytes = 0
        self._lines: List[bytes] = []
        self._is_endless = False

    def feed(self, data):
        self._data = self._data[self._start:] + data
        self._start = 0

    def is_empty(self):
        """Whether all bytes that were fed have been taken as replies."""
        return self._start == len(self._data) and not (
            self._lines or self._line or self._is_endless)

    def take(self):
        """The next complete reply, or None if more bytes are needed. Raises MalformedReply."""
        if self._is_endless:
            raise MalformedReply("the reply does not end")
        while True:
            line = self._next_line()
            rest = self._data[self._start:] if line is None else b""
            if self._bytes + len(rest) > MOST_BYTES:
                return self._cut_off(rest if line is None else line)
            if line is None:
                return None
            self._code = _code_of(line)
            self._lines.append(line[4:].rstrip(b" \t\r\n"))
            if line[3:4] != b"-":
                lines, self._lines, self._bytes = tuple(self._lines), [], 0
                return RawReply(self._code, lines)
            if len(self._lines) >= MOST_LINES:
                return self._cut_off(b"")

    def unfinished(self):
        """The reply whose code arrived but whose end did not, or None."""
        line = self._line or self._data[self._start:]
        try:
            return self._begun(line) if self._lines or line else None
        except MalformedReply:
            return None

    def _cut_off(self, line):
        """What arrived of an endless reply. `line`, its last, counts only if it is the first."""
        reply = self._begun(self._line or line)
        self._is_endless = True
        return reply

    def _begun(self, line):
        if self._lines:
            return RawReply(self._code, tuple(self._lines))
        return RawReply(_code_of(line), (line[4:LONGEST_LINE].rstrip(b" \t\r\n"),))

    def _next_line(self):
        """A line with its LF (only the beginning of a long one), or None if none is complete."""
        end = self._data.find(b"\n", self._start) + 1
        piece = self._data[self._start:end or len(self._data)]
        if not end and len(piece) <= LONGEST_LINE:
            return None
        self._start += len(piece)
        self._bytes += len(piece)
        line = (self._line + piece)[:LONGEST_LINE]
        self._line = b"" if end else line
        return line if end else None


def _code_of(line):
    """The code of a reply line; it may stand alone (RFC 5321 4.2). Raises MalformedReply."""
    if not (line[:3].isdigit() and len(line) > 2 and line[:1] in (b"2", b"3", b"4", b"5")
            and line[3:4] in (b"", b" ", b"-", b"\r", b"\n")):
        raise MalformedReply("%r is not an SMTP reply" % line[:60])
    return int(line[:3])


def reply_of(raw, host):
    """What the server `host` replied, as the queue keeps it.

    An enhanced code counts if it begins the text and has the class of the code (RFC 2034 4);
    without one it is "2.0.0", "4.0.0" or "5.0.0". `text` joins the lines, each without a repeated
    enhanced code; `said` joins them unchanged, with their codes.
    """
    digit = str(raw.code)[0]
    lines = [line.decode("utf-8", "replace") for line in raw.lines]
    enhanced, texts = "", []
    for line in lines:
        found = _ENHANCED.match(line)
        if found and found.group(1)[0] == digit and enhanced in ("", found.group(1)):
            enhanced, line = found.group(1), line[found.end():]
        texts.append(line)
    said = ["%d-%s" % (raw.code, line) for line in lines[:-1]] + ["%d %s" % (raw.code, lines[-1])]
    return Reply(raw.code, enhanced or "%s.0.0" % digit,
                 printable(" ".join(text for text in texts if text)[:MOST_TEXT]), host,
                 printable(" ".join(said)[:MOST_TEXT]).rstrip())
