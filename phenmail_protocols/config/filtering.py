"""What may be written in a list of filters: its table, and the small languages in it.

Sizes (`*size`), flags, moments of a vacation.  Knows no message and decides
nothing; what only a mail store can say (whether a mailbox's name can be one)
is asked by `filters.rules`.
"""

import re
import time
from typing import Any, Dict, NamedTuple, Optional

from .checks import (
    ByType,
    Choice,
    Kind,
    ListOf,
    OneOfForms,
    Option,
    Reader,
    Section,
    Text,
    is_mail_address,
    seconds,
)
from .problems import Path

# What is no header but known of each message.
SPECIAL = ("*from", "*to", "*tag", "*size", "*body", "*auth")
# A pattern costs time to compile, and each filter to run: who writes them must not hold up others.
LONGEST_CONTENT = 1000
MOST_FILTERS = 500
MOST_HEADERS = 50
MOST_CODE = 20          # of a user: each may have a file that is read for each message
MOST_PATTERNS = 8000    # characters of all regular expressions of a file: compiling one costs some 10 us

# word -> whether it takes what stands behind a colon: None never, False if it is there, True always
_WORDS = {"accept": False, "reject": False, "discard": None,
          "flag": True, "copy": True, "forward": True}

_SIZE = re.compile(r"\s*(<=|>=|<|>|=|)\s*([0-9]{1,15})\s*([kmg]?)b?\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024 ** 2, "g": 1024 ** 3}
_MOMENT = re.compile(r"(20[0-9]{2})-([0-9]{1,2})-([0-9]{1,2})(?:[ T]([0-9]{1,2}):([0-9]{2}))?")
# RFC 3501 section 9: an atom, of which a keyword is one.
_KEYWORD = re.compile(r"""[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,100}""")
_SYSTEM_FLAGS = {"\\seen": "\\Seen", "\\flagged": "\\Flagged"}


class SizeTest(NamedTuple):
    """How a message's size is compared: `sign` is one of < > <= >= =, `octets` with what."""

    sign: str
    octets: int

    def holds(self, size: int) -> bool:
        """Whether it is so for a message of that many octets."""
        if size == self.octets:
            return "=" in self.sign
        return ("<" if size < self.octets else ">") in self.sign


def size_test(text: str) -> Optional[SizeTest]:
    """`>1M`, `<= 100 KB`, `4711` (that many octets exactly) -> SizeTest; None for what is none."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    return SizeTest(found.group(1) or "=", int(found.group(2)) * _UNITS[found.group(3).lower()])


def flag_named(text: str) -> Optional[str]:
    """The flag that a filter or its code names: a keyword, `\\Seen` or `\\Flagged`; None for what is none."""
    if text[:1] == "\\":
        return _SYSTEM_FLAGS.get(text.lower())
    return text if _KEYWORD.fullmatch(text) else None


def split_action(text: str) -> Optional[tuple]:
    """`word` or `word:argument` -> (word, argument), the latter "" where there is none; None for what is no action."""
    word, colon, argument = text.partition(":")
    argument = argument.strip()
    if word not in _WORDS or (colon and not argument):
        return None
    needs = _WORDS[word]
    if colon if needs is None else needs and not colon:
        return None
    if word == "flag":
        argument = flag_named(argument)
    elif word in ("copy", "forward") and not is_mail_address(argument):
        argument = None
    return None if argument is None else (word, argument)


def _is_header(text: str) -> bool:
    return text in SPECIAL or all("!" <= c <= "~" and c not in ":*" for c in text)


class FilterAction(Text):
    """`word` or `word:argument`; says what is wrong with the argument where the word is right."""

    _ARGUMENTS = {"flag": 'behind "flag:" a keyword of plain letters, "\\\\Seen" or "\\\\Flagged"',
                  "copy": 'behind "copy:" a mail address', "forward": 'behind "forward:" a mail address'}

    def __init__(self) -> None:
        super().__init__("accept[:folder], reject[:reason], discard, flag:name, copy:address or forward:address",
                         lambda text: split_action(text) is not None)

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if self.accepts(value):
            return value
        word, colon, _ = value.partition(":") if isinstance(value, str) else ("", "", "")
        reader.problem(path, self._ARGUMENTS.get(word, self.expected) if colon else self.expected, value)
        return None


class Moment(Kind):
    """A day, or a minute of it, in the server's zone; gives epoch seconds.

    With `ends` a day means its end.
    """

    expected = 'a day as "2026-07-14", or "2026-07-14 18:00"'

    def __init__(self, ends: bool) -> None:
        self.ends = ends

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
        epoch = None if found is None else self._epoch(*(int(part or 0) for part in found.groups()),
                                                       whole_day=found.group(4) is None)
        if epoch is None:
            reader.problem(path, self.expected, value)
        return epoch

    def _epoch(self, year: int, month: int, day: int, hour: int, minute: int,
               whole_day: bool) -> Optional[float]:
        try:
            noon = time.localtime(time.mktime((year, month, day, 12, 0, 0, 0, 0, -1)))
            if (noon.tm_mon, noon.tm_mday) != (month, day) or hour > 23 or minute > 59:
                return None
            return time.mktime((year, month, day + (whole_day and self.ends), hour, minute, 0, 0, 0, -1))
        except (OverflowError, ValueError):
            return None


class MatchFilter(Section):
    """A comparison, whose keys have to fit each other."""

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        before = len(reader.problems)
        clean = super().read(reader, path, value)
        if len(reader.problems) == before:
            self._check(reader, path, clean)
        return clean

    def _check(self, reader: Reader, path: Path, clean: Dict[str, Any]) -> None:
        content, headers = clean["content"], clean["header"]
        if "*size" in headers:
            if headers not in ("*size", ("*size",)):
                reader.problem(path + ("header",), '"*size" alone: its content is no text', headers)
            if clean["mode"] not in ("contains", "is"):
                reader.problem(path + ("mode",), 'no mode beside "*size"', clean["mode"])
            if size_test(content) is None:
                reader.problem(path + ("content",), 'a size to compare with as ">1M" or "<= 100 KB", '
                               'or a number of octets', content)
        elif clean["mode"] == "regex":
            reader.patterns += len(content)
            if reader.patterns > MOST_PATTERNS:
                reader.problem(path + ("content",), "regular expressions of at most %d characters in "
                               "all" % MOST_PATTERNS, content)
                return
            wrong = _wrong_pattern(content)
            if wrong is not None:
                reader.problem(path + ("content",), "a regular expression", content, wrong)


def _wrong_pattern(text: str) -> Optional[str]:
    """Why a regular expression can't be used, None where it can."""
    try:
        re.compile(text, re.IGNORECASE)
    except re.error as error:
        return str(error)
    except (RecursionError, OverflowError, MemoryError):
        return "it is too complex"
    return None


class VacationFilter(Section):
    """Words for those who write meanwhile; it has to begin before it ends."""

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        clean = super().read(reader, path, value)
        if clean["from"] is not None and clean["until"] is not None and clean["from"] >= clean["until"]:
            reader.problem(path + ("until",), 'a moment after "from"', reader.written(path + ("until",)))
        return clean


class _Headers(ListOf):
    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not 0 < len(value) <= MOST_HEADERS:
            reader.problem(path, "1 to %d header names" % MOST_HEADERS, value)
            return ()
        return super().read(reader, path, value)


HEADER = Text("a header's name, %s or %s" % (", ".join('"%s"' % name for name in SPECIAL[:-1]),
                                             '"%s"' % SPECIAL[-1]), _is_header)
MATCH = MatchFilter(
    Option("type", Choice("match"), "match", "compares a header"),
    Option("header", OneOfForms("a header's name or a list of them",
                                {str: HEADER, tuple: _Headers(HEADER, "header names")}),
           "Subject", "what is looked at"),
    Option("mode", Choice("contains", "startswith", "endswith", "is", "regex"), "contains",
           "how it is compared"),
    Option("content", Text("a text of at most %d characters" % LONGEST_CONTENT, limit=LONGEST_CONTENT), "",
           "what is looked for", required=True),
    Option("action", FilterAction(), "", "what is done then", required=True),
    Option("name", Text(), None, "the reason of a bare reject"))
PY = Section(
    Option("type", Choice("py"), "py", "runs Python"),
    Option("code", Text('"file:name.py" or the code itself', limit=1024 ** 2, lines=True),
           "", "what is run", required=True),
    Option("authorization", Text(least=0), None, "the administrator's signature"))
VACATION = VacationFilter(
    Option("type", Choice("vacation"), "vacation", "answers who writes meanwhile"),
    Option("text", Text("a text", limit=10000, lines=True), "", "what the answer says", required=True),
    Option("subject", Text(), None, "the answer's; else that of the message behind \"Auto: \""),
    # RFC 3834 section 2: days, for somebody who writes daily is told once.
    Option("period", seconds(86400), 7 * 86400.0, "until the same sender is answered again"),
    Option("from", Moment(False), None, "from when on"),
    Option("until", Moment(True), None, "until when, a day's end where it is a day"),
    Option("addresses", ListOf(Text("a mail address", is_mail_address), "mail addresses"), (),
           "further addresses of this user, for mail that names them"))
FILTER_LIST = ListOf(ByType(match=MATCH, py=PY, vacation=VACATION), "filters", MOST_FILTERS)
FILTERS = Section(Option("filters", FILTER_LIST, (), "the first decision wins"))
