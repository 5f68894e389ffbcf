"""What a server says, read within bounds: octets in any cut -> replies, and a reply -> the `Reply` that the queue keeps.

Pure: knows no socket. A reply that is none (no code, no end, too much of it) raises `Garbled`, and nothing else is ever raised.
RFC 5321 section 4.2 (replies), 4.5.3.1.5 (lines of 512 octets, which servers exceed), RFC 2034 and 3463 (enhanced codes).
"""
import re
from typing import List, NamedTuple, Optional, Tuple

from ..mail.writing import printable
from .model import Reply

LONGEST_LINE = 4096  # octets
MOST_LINES = 200  # of one reply: a generous EHLO has 30
MOST_OCTETS = 65536  # of one reply
MOST_TEXT = 1000  # characters of a Reply's text

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)")


class Garbled(Exception):
    """The server said something that is no reply."""


class Heard(NamedTuple):
    """One reply: its code and the texts of its lines, without codes and line ends."""
    code: int
    lines: Tuple[bytes, ...]


class ReplyReader:
    """Takes octets as they come and gives replies. One that ended with Garbled is of no more use."""

    __slots__ = ("_data", "_start", "_lines", "_octets")

    def __init__(self):
        self._data, self._start = b"", 0
        self._lines, self._octets = [], 0  # type: List[bytes], int

    def feed(self, data: bytes) -> None:
        """More octets, in any cut."""
        self._data = self._data[self._start:] + data
        self._start = 0

    def is_empty(self) -> bool:
        """Whether nothing was fed that was not taken."""
        return self._start == len(self._data) and not self._lines

    def take(self) -> Optional[Heard]:
        """The next whole reply, None when more octets are needed. Raises Garbled."""
        while True:
            line = self._next_line()
            if line is None:
                return None
            # A lone code is a reply too (RFC 5321 section 4.2); a digit out of place makes none.
            if not line[:3].isdigit() or line[:1] not in (b"2", b"3", b"4", b"5") or line[3:4] not in (b" ", b"-", b"\r", b"\n"):
                raise Garbled("%r is no reply" % line[:60])
            self._lines.append(line[4:].rstrip(b" \t\r\n"))
            if line[3:4] != b"-":
                lines, self._lines, self._octets = tuple(self._lines), [], 0
                return Heard(int(line[:3]), lines)
            if len(self._lines) >= MOST_LINES:
                raise Garbled("a reply of more than %d lines" % MOST_LINES)

    def _next_line(self) -> Optional[bytes]:
        """A line with its LF, None when there is none yet."""
        end = self._data.find(b"\n", self._start) + 1
        size = (end or len(self._data)) - self._start
        if size > LONGEST_LINE:
            raise Garbled("a reply's line of more than %d octets" % LONGEST_LINE)
        if not end:
            return None
        line = self._data[self._start:end]
        self._start = end
        self._octets += size
        if self._octets > MOST_OCTETS:
            raise Garbled("a reply of more than %d octets" % MOST_OCTETS)
        return line


def reply_of(heard: Heard, host: str) -> Reply:
    """What the server `host` said, for the queue. An enhanced code counts where it leads the text and its class is the code's
    (RFC 2034 section 4); without one it is "2.0.0", "4.0.0" or "5.0.0". Lines are joined, each without the repeated enhanced
    code."""
    digit = str(heard.code)[0]
    enhanced, texts = "", []
    for line in heard.lines:
        text = line.decode("utf-8", "replace")
        found = _ENHANCED.match(text)
        if found and found.group(1)[0] == digit and enhanced in ("", found.group(1)):
            enhanced, text = found.group(1), text[found.end():]
        texts.append(text)
    text = printable(" ".join(text for text in texts if text)[:MOST_TEXT])
    return Reply(heard.code, enhanced or "%s.0.0" % digit, text, host)
