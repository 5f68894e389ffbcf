"""What may be written in a list of filters: its table of options, and the values in it.

The values are actions (`forward:address`), sizes (`>1M`), flags and times. Whether a folder's
name is possible is checked in `filters.rules`, because only the mail store knows.
"""

import re
import time
from typing import Any, NamedTuple, Optional, Tuple

from .addresses import is_mail_address
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
    seconds,
)
from .problems import Path
from .settings import Filter, Vacation

# Not header fields, but known for each message.
SPECIAL = ("*from", "*to", "*tag", "*size", "*body", "*auth")
# Compiling a pattern and running a filter take time: one user must not slow the others down.
LONGEST_CONTENT = 1000
MOST_FILTERS = 500
MOST_HEADERS = 50
MOST_CODE = 20          # of a user: each may have a file, which is read for each message
MOST_PATTERNS = 8000    # characters of all patterns in a file; one takes about 10 us to compile

# word -> whether it takes an argument after a colon: None never, False optional, True always
_WORDS = {"accept": False, "reject": False, "discard": None,
          "flag": True, "copy": True, "forward": True}

_SIZE = re.compile(r"\s*(<=|>=|<|>|=|)\s*([0-9]{1,15})\s*([kmg]?)b?\s*", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024 ** 2, "g": 1024 ** 3}
_TIME = re.compile(r"(20[0-9]{2})-([0-9]{1,2})-([0-9]{1,2})(?:[ T]([0-9]{1,2}):([0-9]{2}))?")
# A keyword is an atom (RFC 3501 section 9).
_KEYWORD = re.compile(r"""[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,100}""")
_SYSTEM_FLAGS = {"\\seen": "\\Seen", "\\flagged": "\\Flagged"}


class SizeTest(NamedTuple):
    """A comparison of a message's size with `octets`; `sign` is one of < > <= >= =."""

    sign: str
    octets: int

    def holds(self, size: int) -> bool:
        """Whether it is true for a message of that many octets."""
        if size == self.octets:
            return "=" in self.sign
        return ("<" if size < self.octets else ">") in self.sign


def size_test(text: str) -> Optional[SizeTest]:
    """`>1M`, `<= 100 KB`, `4711` (exactly that many octets) -> SizeTest; None if invalid."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    return SizeTest(found.group(1) or "=", int(found.group(2)) * _UNITS[found.group(3).lower()])


def flag_named(text: str) -> Optional[str]:
    """The flag that a filter may set: a keyword, `\\Seen` or `\\Flagged`; None for others."""
    if text[:1] == "\\":
        return _SYSTEM_FLAGS.get(text.lower())
    return text if _KEYWORD.fullmatch(text) else None


def split_action(text: str) -> Optional[Tuple[str, str]]:
    """`word` or `word:argument` -> (word, argument), "" without one; None if invalid."""
    word, colon, argument = text.partition(":")
    argument = argument.strip()
    if word not in _WORDS or (colon and not argument):
        return None
    needs = _WORDS[word]
    if colon if needs is None else needs and not colon:
        return None
    if word == "flag":
        flag = flag_named(argument)
        return None if flag is None else (word, flag)
    if word in ("copy", "forward") and not is_mail_address(argument):
        return None
    return word, argument


class FilterAction(Kind):
    """`word` or `word:argument`; the message is about the argument if the word is right."""

    expected = ("accept[:folder], reject[:reason], discard, flag:name, copy:address or "
                "forward:address")
    _ARGUMENTS = {"flag": '"flag:" and a keyword of plain letters, "\\\\Seen" or "\\\\Flagged"',
                  "copy": '"copy:" and a mail address', "forward": '"forward:" and a mail address'}

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        clean = Text().clean(value)
        if clean is not None and split_action(clean) is not None:
            return clean
        word, colon, _ = value.partition(":") if isinstance(value, str) else ("", "", "")
        reader.problem(path, self._ARGUMENTS.get(word, self.expected) if colon else self.expected,
                       value)
        return None


class Time(Kind):
    """A day, or a minute of it, in the server's time zone; returns epoch seconds.

    With `ends`, a day means its end.
    """

    expected = 'a day such as "2026-07-14", or "2026-07-14 18:00"'

    def __init__(self, ends: bool) -> None:
        self.ends = ends

    def clean(self, value: Any) -> Optional[float]:
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            return None
        year, month, day, hour, minute = (int(part or 0) for part in found.groups())
        whole_day = found.group(4) is None
        try:
            # mktime would take the 31st of April as the 1st of May.
            noon = time.localtime(time.mktime((year, month, day, 12, 0, 0, 0, 0, -1)))
            if (noon.tm_mon, noon.tm_mday) != (month, day) or hour > 23 or minute > 59:
                return None
            return time.mktime((year, month, day + (whole_day and self.ends), hour, minute,
                                0, 0, 0, -1))
        except (OverflowError, ValueError):
            return None


def _check_match(reader: Reader, path: Path, found: Filter) -> None:
    if "*size" in found.headers:
        if len(found.headers) > 1:
            reader.problem(path + ("header",), '"*size" alone, because it compares numbers',
                           found.headers)
        if found.mode not in ("contains", "is"):
            reader.problem(path + ("mode",), 'no "mode" with "*size"', found.mode)
        if found.content and size_test(found.content) is None:
            reader.problem(path + ("content",), 'a size to compare with, such as ">1M", '
                           '"<= 100 KB" or a number of octets', found.content)
    elif found.mode == "regex":
        reader.patterns += len(found.content)
        if reader.patterns > MOST_PATTERNS:
            reader.problem(path + ("content",), "regular expressions of at most %d characters in "
                           "all filters together" % MOST_PATTERNS, found.content)
            return
        wrong = _wrong_pattern(found.content)
        if wrong is not None:
            reader.problem(path + ("content",), "a regular expression", found.content, wrong)


def _wrong_pattern(text: str) -> Optional[str]:
    """Why a regular expression cannot be used, or None."""
    try:
        re.compile(text, re.IGNORECASE)
    except re.error as error:
        return str(error)
    except (RecursionError, OverflowError, MemoryError):
        return "it is too complex"
    return None


def _check_vacation(reader: Reader, path: Path, found: Filter) -> None:
    since, until = found.vacation.since, found.vacation.until
    if since is not None and until is not None and since >= until:
        path += ("until",)
        reader.problem(path, 'a time after "from"', reader.written(path))


def _match(header: Any, **fields: Any) -> Filter:
    return Filter(headers=(header,) if isinstance(header, str) else header, **fields)


def _vacation(type: str, **fields: Any) -> Filter:
    return Filter(type, vacation=Vacation(since=fields.pop("from"), **fields))


class _Headers(ListOf):
    def clean(self, value: Any) -> Any:
        return value if isinstance(value, (list, tuple)) and 0 < len(value) <= self.most else None


HEADER = Text('the name of a header field, %s or "*auth"'
              % ", ".join('"%s"' % name for name in SPECIAL[:-1]),
              lambda text: text in SPECIAL or all("!" <= c <= "~" and c not in ":*" for c in text))
HEADERS = _Headers(HEADER, "header fields", MOST_HEADERS)
HEADERS.expected = "the names of 1 to %d header fields" % MOST_HEADERS
MATCH = Section(
    Option("type", Choice("match"), "match", "compares a header field"),
    Option("header", OneOfForms("the name of a header field or a list of names",
                                {str: HEADER, tuple: HEADERS}), "Subject", "what to compare"),
    Option("mode", Choice("contains", "startswith", "endswith", "is", "regex"), "contains",
           "how to compare"),
    Option("content", Text("text of at most %d characters" % LONGEST_CONTENT,
                           limit=LONGEST_CONTENT), "", "the text to look for", required=True),
    Option("action", FilterAction(), "", "what to do with the message", required=True),
    Option("name", Text(), None, "the reason, if the action reject has none"),
    gives=_match, check=_check_match)
PY = Section(
    Option("type", Choice("py"), "py", "runs Python"),
    Option("code", Text('"file:name.py" or the code itself', limit=1024 ** 2, lines=True),
           "", 'the code to run, or "file:name.py"', required=True),
    Option("authorization", Text(least=0), None, "the administrator's signature"),
    gives=Filter)
VACATION = Section(
    Option("type", Choice("vacation"), "vacation", "answers automatically"),
    Option("text", Text(limit=10000, lines=True), "", "the text of the answer", required=True),
    Option("subject", Text(), None, 'by default "Auto: " and the subject of the message'),
    # RFC 3834 section 2: at least a day, because a daily correspondent needs one answer.
    Option("period", seconds(86400), 7 * 86400.0, "until the same sender is answered again"),
    Option("from", Time(False), None, "the first day or minute"),
    Option("until", Time(True), None, "the last day or minute"),
    Option("addresses", ListOf(Text("a mail address", is_mail_address), "mail addresses"), (),
           "further addresses of this user"),
    gives=_vacation, check=_check_vacation)
FILTER_LIST = ListOf(ByType(match=MATCH, py=PY, vacation=VACATION), "filters", MOST_FILTERS)
FILTERS = Section(Option("filters", FILTER_LIST, (), "the first decision wins"))
