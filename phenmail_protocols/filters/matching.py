"""What filters compare in a message, and whether it matches.

A `View` decodes a header when a filter first asks for it, and keeps it for the next filter.
`condition` turns a match filter into a function of a View; all work that needs no message is done
then. A filter on the body reads a bounded part of the message's file. RFC 5322 section 2.2
(fields), RFC 2047 (encoded words, in mail.headers).
"""
import os
import time
from functools import lru_cache

from ..config.filtering import size_test
from ..mail import headers
from ..mail.decoding import texts_of
from ..mail.structure import FIELDS, Limits, leaves, scan
from ..text.collation import fold
from .regex import Pattern

BODY_TEXT = 65536  # characters of a body that are searched
_BODY_FILE = 4 * BODY_TEXT  # octets of the file that are read for them
MOST_HEADER = 4 * 1024 * 1024  # octets of a header that are searched
_LIMITS = Limits(parts=1000)
_MOST_FIELDS = 100  # of one name that are searched
_LONGEST_VALUE = 65536  # octets of one field that are searched
_PATIENCE = 1.0  # seconds that all filters may take together
_ADDRESSES = frozenset(("from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to",
                        "resent-cc", "resent-sender", "delivered-to", "return-path", "envelope-to",
                        "x-original-to"))
_NOT_IN_ADDRESSES = bytes.maketrans(b'<>(),;:"', b" " * 8)  # each becomes a space
NULL_SENDER = "<>"

# thread_time is new in 3.7. It counts only what this thread computes, without waiting.
_clock = getattr(time, "thread_time", time.perf_counter)


class OutOfTime(Exception):
    """The filters took longer than they are allowed to for one message."""


class NotSearched(Exception):
    """A regular expression could not be searched in a text; str() says why."""


class View:
    """One rules.FilteredMessage as filters see it. For one thread.

    `search_apart(pattern, text)`: searches a regular expression (str) in a text in a child process
    -> bool, and raises NotSearched. None: no child process is available.
    """

    __slots__ = ("message", "_search_apart", "_lowered", "_header", "_texts", "_folded", "_ends")

    def __init__(self, message, search_apart=None):
        self.message = message
        self._search_apart = search_apart
        self._header = b"\n" + message.header
        self._lowered = None
        self._texts = {}
        self._folded = {}
        self._ends = None

    def folded(self, source):
        """A source's texts in the form of `fold` -> tuple of str."""
        found = self._folded.get(source)
        if found is None:
            found = self._folded[source] = tuple([fold(text) for text in self.texts(source)])
        return found

    def texts(self, source):
        """A source's decoded texts -> tuple of str."""
        found = self._texts.get(source)
        if found is None:
            found = self._texts[source] = tuple(source.read(self))
        return found

    def values(self, needle):
        """The raw values of a header's fields. `needle`: LF and the name in lower case."""
        if self._lowered is None:
            self._lowered = self._header.lower()
        header, found = self._header, []
        at = self._lowered.find(needle)
        while at >= 0 and len(found) < _MOST_FIELDS:
            colon = at + len(needle)
            while header[colon:colon + 1] in (b" ", b"\t"):
                colon += 1
            if header[colon:colon + 1] == b":":
                found.append(header[colon + 1:_end_of_field(header, colon, colon + _LONGEST_VALUE)])
            at = self._lowered.find(needle, colon)
        return found

    def look(self):
        """Raise OutOfTime if too long has passed since the first call. Call it now and then."""
        now = _clock()
        if self._ends is None:
            self._ends = now + _PATIENCE
        elif now > self._ends:
            raise OutOfTime()

    def search(self, pattern, text):
        """Whether a regex.Pattern occurs in a text. Raises OutOfTime, NotSearched."""
        self.look()
        if len(text) <= pattern.longest:
            found = pattern.search(text)
            self.look()
            return found
        if self._search_apart is None:
            raise NotSearched("this pattern and text need a child process")
        return self._search_apart(pattern.text, text)


def _end_of_field(header, start, most):
    """The end, without the line end, of the field whose name ends at `start`; at most `most`."""
    end = header.find(b"\n", start, most)
    while end >= 0 and header[end + 1:end + 2] in (b" ", b"\t"):
        end = header.find(b"\n", end + 1, most)
    return min(most, len(header)) if end < 0 else end


# Sources of texts. They are the keys of a View's dicts, and cached, so that filters share texts.


class _Header:
    """A header's decoded fields. `each`: the addresses in them count as separate texts too."""

    __slots__ = ("needle", "each")

    def __init__(self, name, each):
        self.needle = b"\n" + name.encode("ascii")
        self.each = each

    def read(self, view):
        values = view.values(self.needle)
        found = [headers.decode(value) for value in values]
        if self.each:
            for value in values:
                found.extend(addresses_in(value))
        return found


def addresses_in(value):
    """The words of a field (bytes) that look like addresses -> list of str."""
    return [word.decode("utf-8", "replace") for word in value.translate(_NOT_IN_ADDRESSES).split()
            if b"@" in word]


class _Known:
    """What is known about a message without its header."""

    __slots__ = ("read",)

    def __init__(self, read):
        self.read = read


def _spellings(address):
    """An address with its domain in A-labels and in U-labels: a filter may have either."""
    if address is None:
        return (NULL_SENDER,)
    return tuple(dict.fromkeys((str(address), address.shown())))


_KNOWN = {
    "*from": _Known(lambda view: _spellings(view.message.sender)),
    "*to": _Known(lambda view: _spellings(view.message.recipient)),
    "*tag": _Known(lambda view: filter(None, [view.message.tag])),
    "*auth": _Known(lambda view: filter(None, [view.message.auth])),
    "*body": _Known(lambda view: body_texts(view.message.path)),
}


@lru_cache(maxsize=512)
def _source(name, whole):
    """A header's name in lower case -> its source.

    `whole`: the filter compares a text's beginning or end, or all of it.
    """
    return _KNOWN.get(name) or _Header(name, whole and name in _ADDRESSES)


def read_header(path, start=0):
    """The header in a message's file (path or descriptor) from octet `start` on, in wire form.

    Of a larger one about MOST_HEADER octets. Raises OSError.
    """
    return _header_block(path, start).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _header_block(path, start):
    found = b""
    while len(found) < MOST_HEADER:
        piece = _read(path, start + len(found))
        found += piece
        end = headers.body_offset(found)
        if end < len(found) or not piece:
            return found[:end]
    return found


def _read(path, start):
    """Up to _BODY_FILE octets."""
    if isinstance(path, int):
        return os.pread(path, _BODY_FILE, start)
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(_BODY_FILE)


def body_texts(path):
    """The decoded text parts of a message's file (path or descriptor) -> list of str.

    At most BODY_TEXT characters in all; none if the file cannot be read.
    """
    try:
        data = _read(path, 0)
        if headers.body_offset(data) == _BODY_FILE:
            # The header is larger. Keep only the fields that describe the body.
            header = _header_block(path, 0)
            data = headers.select(header, FIELDS) + _read(path, len(header))
    except OSError:
        return []
    found, room = [], BODY_TEXT
    for part in leaves(scan(data, _LIMITS)):
        if room > 0 and part.type.lower() == b"text":
            text = "".join(texts_of(part, (data[part.body:part.end],)))[:room]
            room -= len(text)
            found.append(text.replace("\r\n", "\n").strip())
    return found


# Conditions


def condition(rule):
    """A settings.Filter of type "match" -> a function of a View that says whether it matches.

    Raises re.error.
    """
    if "*size" in rule.headers:
        test = size_test(rule.content)
        return lambda view: test.holds(view.message.size)
    whole = rule.mode in ("is", "startswith", "endswith")
    sources = tuple([_source(name.lower(), whole) for name in rule.headers])
    if rule.mode == "regex":
        return _searching(sources, Pattern(rule.content))
    return _comparing(sources, _MODES[rule.mode](fold(rule.content)))


def _comparing(sources, fits):
    def test(view):
        for source in sources:
            for text in view.folded(source):
                if fits(text):
                    return True
        return False
    return test


def _searching(sources, pattern):
    return lambda view: any(view.search(pattern, text) for source in sources
                            for text in view.texts(source))


_MODES = {
    "contains": lambda content: lambda text: content in text,
    "startswith": lambda content: lambda text: text.startswith(content),
    "endswith": lambda content: lambda text: text.endswith(content),
    "is": lambda content: lambda text: text == content,
}
