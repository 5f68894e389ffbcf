"""JSON with comments -> JSON that every parser reads alike, and the positions.

The scanner reads the whole grammar (RFC 8259) itself, so that each mistake has
its line and column and several are told at once; the values are made by a JSON
parser from the text that it gives out.  Beyond RFC 8259 it takes what
jsoncomment takes:

- `#` comments anywhere outside strings; lines that begin with `;` or `//`, and
  `/* … */` that fills whole lines;
- one comma too many before `]` or `}`;
- strings between three quotes that run over several lines: the lines are
  stripped and joined (one blank at a line's end stays), empty ones left out.
  A line in it that begins with `#` is text, as everywhere in a string.

The text given out is free of all that, stands on one line, and has nothing in
its strings that jsoncomment would change.  Duplicate keys are mistakes.
Time and memory grow with the length of the text and no faster: the bounds of
`Bounds` hold whatever it says.
"""

import re
from json.decoder import scanstring
from json.encoder import encode_basestring_ascii
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from .problems import MAX_PROBLEMS, Path, Place, Problem, key_name, shown

MAX_DEPTH = 50
MAX_VALUES = 100000
MAX_LINES = 2000        # of one string between three quotes

# Repeated at most so often at once, as the matcher keeps a state for each time.
_GAP = re.compile(r"(?:\s*\n[^\S\n]*(?:;|//)[^\n]*|\s+|#[^\n]*){1,500}")
# What ends a string or is wrong in it, and right escapes; a wrong one has group 1.
_IN_STRING = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|(.?))|["\x00-\x1f]', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_WORD = re.compile(r'[^\s,:\[\]{}"#]+')
_COMMENT_END = re.compile(r"\*/[^\S\n]*(?:\n|\Z)")
_SPLITS_LINES = re.compile("[\x7f-\x9f\u2028\u2029]")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Bounds(NamedTuple):
    """How much a text may hold: values (objects, lists, texts, numbers), and objects
    and lists inside each other.  `in_all`: values of all files together, for messages."""

    values: int = MAX_VALUES
    depth: int = MAX_DEPTH
    in_all: int = MAX_VALUES


class _Lost(Exception):
    """The text makes no sense from here on."""


class Scan:
    """What scanning gave.

    `text`: the clean JSON, or None where there is any mistake.
    `values`, `keys`: path -> offset of the value, of the key.
    `problems`: the mistakes, in the order of the text.
    """

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.source = source
        self.text: Optional[str] = None
        self.values: Dict[Path, int] = {}
        self.keys: Dict[Path, int] = {}
        self.problems: List[Problem] = []

    def place(self, offset: int) -> Place:
        """The line and column of an offset."""
        line = self.source.count("\n", 0, offset) + 1
        return Place(self.file, line, offset - self.source.rfind("\n", 0, offset))

    def string(self, path: Path) -> Optional[str]:
        """The text that stands at a path, also in a text with mistakes; None where none does."""
        offset = self.values.get(path)
        if offset is None or not self.source.startswith('"', offset):
            return None
        try:
            return scanstring(self.source, offset + 1)[0]
        except ValueError:
            return None


def scan(file: str, source: str, secrets: FrozenSet[str] = frozenset(),
         bounds: Bounds = Bounds()) -> Scan:
    """Scan a whole text whose lines end with LF.

    `file` is its name for messages; values of the keys `secrets` are not shown.
    """
    return _Scanner(file, source, secrets, bounds).scan()


class _Scanner:
    def __init__(self, file: str, source: str, secrets: FrozenSet[str], bounds: Bounds) -> None:
        self.source = source
        self.secrets = secrets
        self.bounds = bounds
        self.at = 1 if source.startswith("\ufeff") else 0
        self.result = Scan(file, source)
        self.out: List[str] = []

    def scan(self) -> Scan:
        # A text is never parsed that has a mistake: what is given out may be no JSON then.
        try:
            self._skip()
            self._value((), 0)
            self._skip()
            if self.at < len(self.source):
                self._lost((), "the end of the file here")
            if not self.result.problems:
                self.result.text = "".join(self.out)
        except _Lost:
            pass
        return self.result

    # Mistakes

    def _problem(self, path: Path, expected: str, at: Optional[int] = None,
                 value: Optional[str] = None, hint: str = "") -> None:
        place = self.result.place(self.at if at is None else at)
        if not self.secrets.isdisjoint(path):
            value = None
        self.result.problems.append(Problem(
            place.file, place.line, place.column, key_name(path), value, expected, hint))
        if len(self.result.problems) >= MAX_PROBLEMS:
            raise _Lost()

    def _lost(self, path: Path, expected: str, at: Optional[int] = None,
              hint: str = "") -> None:
        at = self.at if at is None else at
        found = shown(self.source[at]) if at < len(self.source) else "the end of the file"
        self._problem(path, expected, at, found, hint)
        raise _Lost()

    # Between the tokens

    def _skip(self) -> None:
        """Go on to the next token, over blanks and comments."""
        source = self.source
        while True:
            gap = _GAP.match(source, self.at)
            if gap:
                self.at = gap.end()
            elif source.startswith((";", "//"), self.at) and self._begins_line():
                self._to_line_end()
            elif source.startswith("/*", self.at) and self._begins_line():
                end = _COMMENT_END.search(source, self.at)
                if not end:
                    self._lost((), "a line that ends with */ after this")
                self.at = end.end()
            else:
                return

    def _begins_line(self) -> bool:
        start = self.source.rfind("\n", 0, self.at) + 1
        return not self.source[start:self.at].strip()

    def _to_line_end(self) -> None:
        end = self.source.find("\n", self.at)
        self.at = len(self.source) if end < 0 else end

    # Values

    def _value(self, path: Path, depth: int) -> None:
        values = self.result.values
        if len(values) >= self.bounds.values:
            self._lost(path, "at most %d values, included files counted" % self.bounds.in_all)
        values[path] = self.at
        first = self.source[self.at:self.at + 1]
        if first in ("{", "[") and depth > self.bounds.depth:
            self._lost(path, "at most %d objects and lists inside each other" % self.bounds.depth)
        if first == "{":
            self._object(path, depth)
        elif first == "[":
            self._list(path, depth)
        elif first == '"':
            self._string(path)
        else:
            self._word(path)

    def _word(self, path: Path) -> None:
        found = _WORD.match(self.source, self.at)
        if not found:
            self._lost(path, "a value")
        word = found.group()
        if word in ("true", "false", "null") or (len(word) <= 30 and _NUMBER.match(word)):
            self.out.append(word)
        else:
            hint = ""
            if word.lower() in ("true", "false", "null", "none", "yes", "no", "on", "off"):
                hint = "write true, false or null"
            elif word[0].isalpha() or word[0] in "'/":
                hint = "text stands in double quotes"
            self._problem(path, "a value", value=shown(word)[1:-1], hint=hint)
        self.at = found.end()

    def _list(self, path: Path, depth: int) -> None:
        start, count = self.at, 0
        self._open("[")
        while not self._closed("]", path, start):
            if count or not self._lonely_comma("]"):
                self._value(path + (count,), depth + 1)
                count += 1
                self._separate("]", path, path + (count - 1,))

    def _object(self, path: Path, depth: int) -> None:
        start = self.at
        self._open("{")
        seen: Dict[str, int] = {}
        while not self._closed("}", path, start):
            if not seen and self._lonely_comma("}"):
                continue
            key = self._key(path, seen)
            self._colon(path + (key,))
            self._value(path + (key,), depth + 1)
            self._separate("}", path, path + (key,))

    def _open(self, bracket: str) -> None:
        self.out.append(bracket)
        self.at += 1

    def _closed(self, bracket: str, path: Path, start: int) -> bool:
        self._skip()
        if self.source.startswith(bracket, self.at):
            self.at += 1
            self.out.append(bracket)
            return True
        if self.at >= len(self.source):
            opened = self.source[start]
            self._problem(path, 'a "%s" that closes this "%s"' % (bracket, opened), start)
            raise _Lost()
        return False

    def _lonely_comma(self, bracket: str) -> bool:
        """Pass over the comma of `[,]`, which jsoncomment takes for `[]`."""
        if self.source[self.at] != ",":
            return False
        comma = self.at
        self.at += 1
        self._skip()
        if self.source.startswith(bracket, self.at):
            return True
        self.at = comma
        return False

    def _separate(self, bracket: str, path: Path, item: Path) -> None:
        """Read the comma after a member, or go on as if it were there."""
        end = self.at
        self._skip()
        following = self.source[self.at:self.at + 1]
        if following == ",":
            comma = self.at
            self.at += 1
            self._skip()
            if self.source[self.at:self.at + 1] != bracket:
                self.out.append(",")
            if self.source.startswith(",", self.at):
                self._problem(path, "one comma", value="two", hint="the first is at %d:%d"
                              % self.result.place(comma)[1:])
                raise _Lost()
        elif following and following not in "]}:":
            # The mistake is where the comma belongs, right after the value.
            line = self.result.place(self.at).line
            self._problem(item, 'a comma or "%s" after this value' % bracket, end,
                          hint="the next one begins at line %d" % line)
            self.out.append(",")
        elif following and following != bracket:
            self._lost(item, 'a comma or "%s"' % bracket)

    def _key(self, path: Path, seen: Dict[str, int]) -> str:
        start = self.at
        if self.source.startswith('"', start):
            key = self._string(path)
        else:
            word = _WORD.match(self.source, start)
            if not word:
                self._lost(path, "a key in double quotes")
            key = word.group()
            self._problem(path, "a key in double quotes", value=shown(key)[1:-1])
            self.at = word.end()
        if key in seen:
            place = self.result.place(seen[key])
            self._problem(path + (key,), "each key once in an object", start,
                          hint="it is already at line %d, column %d" % place[1:])
        seen.setdefault(key, start)
        self.result.keys[path + (key,)] = start
        self._skip()
        return key

    def _colon(self, path: Path) -> None:
        if not self.source.startswith(":", self.at):
            if self.source[self.at:self.at + 1] in ("", "}", "]", ","):
                self._lost(path, "a colon and a value after this key")
            self._problem(path, "a colon after the key")
        else:
            self.at += 1
        self.out.append(":")
        self._skip()

    # Strings

    def _string(self, path: Path) -> str:
        """Read a string and give its text; what is given out is safe for every parser."""
        start = self.at
        if self.source.startswith('"""', start):
            written = '"%s"' % self._long_string(path)
            value = scanstring(written, 1)[0]
        else:
            try:
                value, self.at = scanstring(self.source, start + 1)
            except ValueError:
                return self._wrong_string(path)
            written = self.source[start:self.at]
        if _LONE_SURROGATE.search(value):
            self._problem(path, "whole characters", start,
                          hint="a \\ud800 to \\udfff stands alone")
            raise _Lost()
        if _SPLITS_LINES.search(written):
            written = encode_basestring_ascii(value)
        self.out.append(written.replace(",]", ",\\u005d").replace(",}", ",\\u007d"))
        return value

    def _wrong_string(self, path: Path) -> str:
        """Tell what is wrong in a string; behind wrong escapes alone it goes on."""
        start = self.at
        for found in _IN_STRING.finditer(self.source, start + 1):
            sign, wrong = found.group(), found.group(1)
            if sign == '"':
                self.at = found.end()
                return ""
            control = wrong if wrong is not None else sign
            if control == "\n" or sign == "\\":
                break
            if control and control < " ":
                self._problem(path, "no control character in a string", found.end() - 1,
                              "\\u%04x" % ord(control), "write a tab as \\t")
                raise _Lost()
            if wrong is not None:
                self._problem(path, 'an escape of JSON (\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u1234)',
                              found.start(), sign, "write \\\\ for a backslash")
        self._problem(path, "a closing quote on the same line", start)
        raise _Lost()

    def _long_string(self, path: Path) -> str:
        """What stands between three quotes, as it would between one."""
        start = self.at
        end = self.source.find('"""', start + 3)
        if end < 0:
            self._problem(path, 'a closing """', start)
            raise _Lost()
        if self.source.count("\n", start, end) >= MAX_LINES:
            self._problem(path, "at most %d lines in a string" % MAX_LINES, start)
            raise _Lost()
        text = _joined(self.source[start + 3:end].split("\n"))
        self.at = end + 3
        wrong = _wrong_in_long(text)
        if wrong is not None:
            self._problem(path, wrong[0], start, hint=wrong[1])
            raise _Lost()
        return text


def _wrong_in_long(text: str) -> Optional[Tuple[str, str]]:
    """What hinders the text of a long string from standing between quotes: (expected, hint)."""
    try:
        if scanstring('"%s"' % text, 1)[1] == len(text) + 2:
            return None
    except ValueError:
        pass
    for found in _IN_STRING.finditer(text):
        if found.group(1):
            return ('an escape of JSON (\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u1234)',
                    "write \\\\ for a backslash")
    return 'no bare quote and no control character between """', 'write \\" for a quote'


def _joined(lines: List[str]) -> str:
    """Join the lines of a long string as jsoncomment does."""
    joined = []
    last = len(lines) - 1
    for number, line in enumerate(lines):
        if number and number < last and not line.strip():
            continue
        kept = " " if number < last and line.endswith(" ") else ""
        if number:
            line = line.lstrip()
        if number < last:
            line = line.rstrip()
        joined.append(line + kept)
    return "".join(joined)
