"""JSON with comments -> JSON that every parser reads alike, and the position of each value.

The scanner reads the whole grammar (RFC 8259) itself, so that it can report several errors at
once, each with line and column. A JSON parser then makes the values from the text that it
returns. Beyond RFC 8259 it accepts what jsoncomment accepts:

- `#` comments anywhere outside strings; lines that begin with `;` or `//`, and `/* … */` that
  fills whole lines;
- one trailing comma before `]` or `}`;
- strings between three quotes, over several lines: the lines are stripped and joined (one blank
  at the end of a line stays), and empty lines are left out. A line in it that begins with `#` is
  text, as everywhere in a string.

The returned text has none of this, stands on one line, and has nothing in its strings that
jsoncomment would change. Duplicate keys are errors.

Time and memory are linear in the length of the text, and the bounds hold for any text.
"""

import re
from json.decoder import scanstring
from json.encoder import encode_basestring_ascii
from typing import Dict, FrozenSet, List, Optional, Tuple

from .problems import MAX_PROBLEMS, Path, Place, Problem, key_name, shown

MAX_DEPTH = 50          # JSON parsers recurse: far below Python's limit
MAX_VALUES = 100000
MAX_LINES = 2000        # in a string between three quotes

# At most 500 at once, because the matcher keeps a state for each repetition.
_GAP = re.compile(r"(?:\s*\n[^\S\n]*(?:;|//)[^\n]*|\s+|#[^\n]*){1,500}")
# The end of a string, its escapes, and what is invalid in it; an invalid escape has group 1.
_IN_STRING = re.compile(r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}|(.?))|["\x00-\x1f]', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_WORD = re.compile(r'[^\s,:\[\]{}"#]+')
_COMMENT_END = re.compile(r"\*/[^\S\n]*(?:\n|\Z)")
_SPLITS_LINES = re.compile("[\x7f-\x9f\u2028\u2029]")
_ESCAPES = 'an escape of JSON (\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u1234)'
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class _Lost(Exception):
    """The rest of the text cannot be read."""


class Scan:
    """The result of a scan.

    `text`: the clean JSON, or None after any error. `values`, `ends`, `keys`: path -> offset
    of the value, of what follows it, of its key. `problems`: the errors, in the order of the
    text.
    """

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.source = source
        self.text: Optional[str] = None
        self.values: Dict[Path, int] = {}
        self.ends: Dict[Path, int] = {}
        self.keys: Dict[Path, int] = {}
        self.problems: List[Problem] = []

    def place(self, offset: int) -> Place:
        """The line and column of an offset."""
        line = self.source.count("\n", 0, offset) + 1
        return Place(self.file, line, offset - self.source.rfind("\n", 0, offset))

    def string(self, path: Path) -> Optional[str]:
        """The string at a path, even in a text with errors; None if there is no string."""
        offset = self.values.get(path)
        if offset is None or not self.source.startswith('"', offset):
            return None
        try:
            return scanstring(self.source, offset + 1)[0]
        except ValueError:
            return None


def scan(file: str, source: str, secrets: FrozenSet[str] = frozenset(),
         values: int = MAX_VALUES, depth: int = MAX_DEPTH, in_all: int = MAX_VALUES) -> Scan:
    """Scan a whole text whose lines end with LF.

    In: `file`: its name for messages. `secrets`: keys whose values are never shown. `values`:
    how many objects, lists, strings and other values it may hold, and `in_all`: it and the files
    that include it, for messages. `depth`: of objects and lists inside each other.
    """
    return _Scanner(file, source, secrets, values, depth, in_all).scan()


def skip(source: str, at: int) -> int:
    """The offset of the next token, after blanks and comments, or of an unclosed comment."""
    while True:
        gap = _GAP.match(source, at)
        if gap:
            at = gap.end()
        elif source.startswith((";", "//"), at) and begins_line(source, at):
            end = source.find("\n", at)
            at = len(source) if end < 0 else end
        elif source.startswith("/*", at) and begins_line(source, at):
            comment = _COMMENT_END.search(source, at)
            if not comment:
                return at
            at = comment.end()
        else:
            return at


def begins_line(source: str, offset: int) -> bool:
    """Whether only blanks precede an offset in its line."""
    return not source[source.rfind("\n", 0, offset) + 1:offset].strip()


class _Scanner:
    def __init__(self, file: str, source: str, secrets: FrozenSet[str], values: int, depth: int,
                 in_all: int) -> None:
        self.source = source
        self.secrets = secrets
        self.most_values, self.most_depth, self.in_all = values, depth, in_all
        self.at = 1 if source.startswith("\ufeff") else 0
        self.result = Scan(file, source)
        self.out: List[str] = []

    def scan(self) -> Scan:
        try:
            self._skip()
            self._value((), 0)
            self._skip()
            if self.at < len(self.source):
                self._lost((), "the end of the file")
            # After an error the output may not be JSON.
            if not self.result.problems:
                self.result.text = "".join(self.out)
        except _Lost:
            pass
        return self.result

    # Errors

    def _problem(self, path: Path, expected: str, at: Optional[int] = None,
                 value: Optional[str] = None, hint: str = "") -> None:
        place = self.result.place(self.at if at is None else at)
        if not self.secrets.isdisjoint(path):
            value = None    # a passphrase without quotes, for example
        self.result.problems.append(Problem(
            place.file, place.line, place.column, key_name(path), value, expected, hint))
        if len(self.result.problems) >= MAX_PROBLEMS:
            raise _Lost()

    def _lost(self, path: Path, expected: str) -> None:
        rest = self.source[self.at:self.at + 1]
        self._fatal(path, expected, value=shown(rest) if rest else "the end of the file")

    def _fatal(self, path: Path, expected: str, at: Optional[int] = None,
               value: Optional[str] = None, hint: str = "") -> None:
        self._problem(path, expected, at, value, hint)
        raise _Lost()

    # Between the tokens

    def _skip(self) -> None:
        """Skip blanks and comments."""
        self.at = skip(self.source, self.at)
        if self.source.startswith("/*", self.at) and begins_line(self.source, self.at):
            self._lost((), "a line that ends with */ after this")

    # Values

    def _value(self, path: Path, depth: int) -> None:
        values = self.result.values
        if len(values) >= self.most_values:
            self._lost(path, "at most %d values, included files counted" % self.in_all)
        values[path] = self.at
        first = self.source[self.at:self.at + 1]
        if first in ("{", "[") and depth > self.most_depth:
            self._lost(path, "at most %d objects and lists inside each other" % self.most_depth)
        if first == "{":
            self._object(path, depth)
        elif first == "[":
            self._list(path, depth)
        elif first == '"':
            self._string(path)
        else:
            self._word(path)
        self.result.ends[path] = self.at

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
                hint = "put text in double quotes"
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
            self._fatal(path, 'a "%s" that closes this "%s"' % (bracket, self.source[start]), start)
        return False

    def _lonely_comma(self, bracket: str) -> bool:
        """Skip the comma of `[,]`, which jsoncomment reads as `[]`."""
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
        """Read the comma after a member; a missing one is reported and added."""
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
                self._fatal(path, "one comma", value="two", hint="the first is at %d:%d"
                            % self.result.place(comma)[1:])
        elif following and following not in "]}:":
            # The error is where the comma belongs, right after the value.
            line = self.result.place(self.at).line
            self._problem(item, 'a comma or "%s" after this value' % bracket, end,
                          hint="the next value begins at line %d" % line)
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
            # Go on as if it had quotes, to find the other errors.
            key = word.group()
            self._problem(path, "a key in double quotes", value=shown(key)[1:-1])
            self.at = word.end()
        if key in seen:
            place = self.result.place(seen[key])
            self._problem(path + (key,), "", start,
                          hint="duplicate key: already at line %d, column %d" % place[1:])
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
        """Read a string and return its text; the output is safe for every parser."""
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
            self._fatal(path, "complete characters", start,
                        hint="\\ud800 to \\udfff are valid in pairs only")
        # jsoncomment splits the text at all that str.splitlines takes for a line end, and removes
        # a comma before a bracket even inside strings.
        if _SPLITS_LINES.search(written):
            written = encode_basestring_ascii(value)
        self.out.append(written.replace(",]", ",\\u005d").replace(",}", ",\\u007d"))
        return value

    def _wrong_string(self, path: Path) -> str:
        """Report what is wrong in a string; reading goes on if only escapes are invalid."""
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
                self._fatal(path, "no control character in a string", found.end() - 1,
                            "\\u%04x" % ord(control), "write a tab as \\t")
            if wrong is not None:
                self._problem(path, _ESCAPES, found.start(), sign, "write \\\\ for a backslash")
        self._fatal(path, "a closing quote on the same line", start)

    def _long_string(self, path: Path) -> str:
        """The content of a string between three quotes, as it would be between single ones."""
        start = self.at
        end = self.source.find('"""', start + 3)
        if end < 0:
            self._fatal(path, 'a closing """', start)
        if self.source.count("\n", start, end) >= MAX_LINES:
            self._fatal(path, "at most %d lines in a string" % MAX_LINES, start)
        text = _joined(self.source[start + 3:end].split("\n"))
        self.at = end + 3
        wrong = _wrong_in_long(text)
        if wrong is not None:
            self._fatal(path, wrong[0], start, hint=wrong[1])
        return text


def _wrong_in_long(text: str) -> Optional[Tuple[str, str]]:
    """Why the content of a long string is invalid between quotes: (expected, hint), or None."""
    try:
        if scanstring('"%s"' % text, 1)[1] == len(text) + 2:
            return None
    except ValueError:
        pass
    for found in _IN_STRING.finditer(text):
        if found.group(1):
            return _ESCAPES, "write \\\\ for a backslash"
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
