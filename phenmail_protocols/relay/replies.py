"""What a server says, read within bounds: octets in any cut -> replies, and a reply -> the `Reply` that the queue keeps.

Pure: knows no socket. A reply that is none (no code) raises `Garbled`, and nothing else is
ever raised.
RFC 5321 section 4.2 (replies), 4.5.3.1.5 (lines of 512 octets, which servers exceed), RFC 2034 and 3463 (enhanced codes).
"""
import re
from typing import List, NamedTuple, Optional, Tuple

from ..mail.reply import Reply
from ..mail.writing import printable

LONGEST_LINE = 4096  # octets of a line that are kept
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
    """Takes octets as they come and gives replies. One that ended with Garbled is of no more use.

    A reply counts whatever its length, since its code says what became of a message: of a long
    line the beginning is kept, and one without end (MOST_LINES, MOST_OCTETS) is given as far as it
    came; what follows it is Garbled.
    """

    __slots__ = ("_data", "_start", "_line", "_code", "_lines", "_octets", "_is_endless")

    def __init__(self):
        self._data, self._start = b"", 0
        self._line = b""  # of a long line, the beginning
        self._code, self._lines, self._octets = 0, [], 0  # type: int, List[bytes], int
        self._is_endless = False

    def feed(self, data: bytes) -> None:
        """More octets, in any cut."""
        self._data = self._data[self._start:] + data
        self._start = 0

    def is_empty(self) -> bool:
        """Whether nothing was fed that was not taken."""
        return self._start == len(self._data) and not (
            self._lines or self._line or self._is_endless)

    def take(self) -> Optional[Heard]:
        """The next whole reply, None when more octets are needed. Raises Garbled."""
        if self._is_endless:
            raise Garbled("a reply without end")
        while True:
            line = self._next_line()
            rest = self._data[self._start:] if line is None else b""
            if self._octets + len(rest) > MOST_OCTETS:
                return self._cut_off(rest if line is None else line)
            if line is None:
                return None
            self._code = _code_of(line)
            self._lines.append(line[4:].rstrip(b" \t\r\n"))
            if line[3:4] != b"-":
                return self._finished()
            if len(self._lines) >= MOST_LINES:
                return self._cut_off(b"")

    def unfinished(self) -> Optional[Heard]:
        """A reply of which a code came and not yet the end, or None."""
        try:
            begun = self._lines or self._line or self._data[self._start:]
            return self._begun(self._line or self._data[self._start:]) if begun else None
        except Garbled:
            return None

    def _finished(self):
        lines, self._lines, self._octets = tuple(self._lines), [], 0
        return Heard(self._code, lines)

    def _cut_off(self, line):
        """What came of an endless reply. `line`, its last one, counts only where it is the first."""
        heard = self._begun(self._line or line)
        self._is_endless = True
        return heard

    def _begun(self, line):
        if self._lines:
            return Heard(self._code, tuple(self._lines))
        return Heard(_code_of(line), (line[4:LONGEST_LINE].rstrip(b" \t\r\n"),))

    def _next_line(self) -> Optional[bytes]:
        """A line with its LF, the beginning of a long one, None when there is none yet."""
        end = self._data.find(b"\n", self._start) + 1
        piece = self._data[self._start:end or len(self._data)]
        if not end and len(piece) <= LONGEST_LINE:
            return None
        self._start += len(piece)
        self._octets += len(piece)
        line = (self._line + piece)[:LONGEST_LINE]
        self._line = b"" if end else line
        return line if end else None


def _code_of(line: bytes) -> int:
    """Raises Garbled. A lone code is a reply too (RFC 5321 section 4.2); a digit out of place makes
    none."""
    if not (line[:3].isdigit() and len(line) > 2 and line[:1] in (b"2", b"3", b"4", b"5")
            and line[3:4] in (b"", b" ", b"-", b"\r", b"\n")):
        raise Garbled("%r is no reply" % line[:60])
    return int(line[:3])


def reply_of(heard: Heard, host: str) -> Reply:
    """What the server `host` said, for the queue. An enhanced code counts where it leads the text and its class is the code's
    (RFC 2034 section 4); without one it is "2.0.0", "4.0.0" or "5.0.0". Lines are
    joined, in `text` each without the repeated enhanced code, in `said` as they were."""
    digit = str(heard.code)[0]
    enhanced, texts = "", []
    for line in heard.lines:
        text = line.decode("utf-8", "replace")
        found = _ENHANCED.match(text)
        if found and found.group(1)[0] == digit and enhanced in ("", found.group(1)):
            enhanced, text = found.group(1), text[found.end():]
        texts.append(text)
    last = len(heard.lines) - 1
    said = ["%d%s%s" % (heard.code, "-" if number < last else " ", line.decode("utf-8", "replace"))
            for number, line in enumerate(heard.lines)]
    return Reply(heard.code, enhanced or "%s.0.0" % digit,
                 printable(" ".join(text for text in texts if text)[:MOST_TEXT]), host,
                 printable(" ".join(said)[:MOST_TEXT]).rstrip())
