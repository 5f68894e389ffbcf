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
No expression here can go back over its input more than once.
"""

import re
from bisect import bisect_right
from typing import Dict, FrozenSet, List, Optional, Set, Tuple

from .problems import Path, Place, Problem, key_name, shown

MAX_DEPTH = 50
MAX_PROBLEMS = 100

_BLANK = re.compile(r"\s+")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*"')
_STRING_PART = re.compile(r'"[^"\\\x00-\x1f]*(?:\\[^\x00-\x1f][^"\\\x00-\x1f]*)*')
_ESCAPE = re.compile(r'\\(?:["\\/bfnrt]|u([0-9a-fA-F]{4})|(.?))', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_WORD = re.compile(r'[^\s,:\[\]{}"#]+')
_COMMENT_END = re.compile(r"\*/[^\S\n]*(?:\n|\Z)")
_SPLITS_LINES = re.compile("[\x7f-\x9f\u2028\u2029]")


class _Lost(Exception):
    """The text makes no sense from here on."""


class Scan:
    """What scanning gave.

    `text`: the clean JSON, or None where the mistakes leave none.
    `values`, `keys`: path -> offset of the value, of the key.
    `broken`: paths whose value stands for something unreadable.
    `problems`: the mistakes, in the order of the text.
    """

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.text = None  # type: Optional[str]
        self.values = {}  # type: Dict[Path, int]
        self.keys = {}  # type: Dict[Path, int]
        self.broken = set()  # type: Set[Path]
        self.problems = []  # type: List[Problem]
        self._starts = [0]
        end = source.find("\n")
        while end >= 0:
            self._starts.append(end + 1)
            end = source.find("\n", end + 1)

    def place(self, offset: int) -> Place:
        """The line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return Place(self.file, line, offset - self._starts[line - 1] + 1)


def scan(file: str, source: str, secrets: FrozenSet[str] = frozenset()) -> Scan:
    """Scan a whole text whose lines end with LF.

    `file` is its name for messages; values of the keys `secrets` are not shown.
    """
    return _Scanner(file, source, secrets).scan()


class _Scanner:
    def __init__(self, file: str, source: str, secrets: FrozenSet[str]) -> None:
        self.source = source
        self.secrets = secrets
        self.at = 1 if source.startswith("\ufeff") else 0
        self.result = Scan(file, source)
        self.out = []  # type: List[str]

    def scan(self) -> Scan:
        try:
            self._skip()
            self._value((), 0)
            self._skip()
            if self.at < len(self.source):
                self._lost((), "the end of the file here")
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
            blank = _BLANK.match(source, self.at)
            if blank:
                self.at = blank.end()
            if source.startswith("#", self.at):
                self._to_line_end()
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
        self.result.values[path] = self.at
        first = self.source[self.at:self.at + 1]
        if depth > MAX_DEPTH:
            self._lost(path, "at most %d objects and lists inside each other" % MAX_DEPTH)
        if first == "{":
            self._object(path, depth)
        elif first == "[":
            self._list(path, depth)
        elif first == '"':
            self.out.append(self._string(path))
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
            self.result.broken.add(path)
            self.out.append("null")
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
        seen = {}  # type: Dict[str, int]
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
        if not self.source.startswith('"', start):
            word = _WORD.match(self.source, start)
            if not word:
                self._lost(path, "a key in double quotes")
            self._problem(path, "a key in double quotes", value=shown(word.group())[1:-1])
            self.at = word.end()
            key = word.group()
            text = '"%s"' % key.replace("\\", "\\\\")
            self.result.broken.add(path + (key,))
        else:
            text = self._string(path)
            key = _decoded(text)
        if key in seen:
            place = self.result.place(seen[key])
            self._problem(path + (key,), "each key once in an object", start,
                          hint="it is already at line %d, column %d" % place[1:])
        seen.setdefault(key, start)
        self.result.keys[path + (key,)] = start
        self.out.append(text)
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
        """Read a string; its text with quotes, safe for every parser."""
        start = self.at
        if self.source.startswith('"""', start):
            text, offset = self._long_string(path), None  # type: str, Optional[int]
        else:
            found = _STRING.match(self.source, start)
            if not found:
                self._unclosed(path)
            text, offset = found.group(), start
            self.at = found.end()
        if "\\" in text:
            text = self._escapes(path, text, start, offset)
        text = text.replace(",]", ",\\u005d").replace(",}", ",\\u007d")
        return _SPLITS_LINES.sub(lambda c: "\\u%04x" % ord(c.group()), text)

    def _unclosed(self, path: Path) -> None:
        end = _STRING_PART.match(self.source, self.at).end()
        if self.source.startswith("\\", end):
            end += 1
        if end >= len(self.source) or self.source[end] == "\n":
            self._problem(path, "a closing quote on the same line", self.at)
            raise _Lost()
        self._problem(path, "no control character in a string", end,
                      "\\u%04x" % ord(self.source[end]), "write a tab as \\t")
        raise _Lost()

    def _long_string(self, path: Path) -> str:
        start = self.at
        end = self.source.find('"""', start + 3)
        if end < 0:
            self._problem(path, 'a closing """', start)
            raise _Lost()
        text = _joined(self.source[start + 3:end].split("\n"))
        found = _STRING.match('"' + text + '"')
        if not found or found.end() != len(text) + 2:
            self._problem(path, 'no bare quote and no control character between """', start,
                          hint='write \\" for a quote')
            raise _Lost()
        self.at = end + 3
        return '"' + text + '"'

    def _escapes(self, path: Path, text: str, start: int, offset: Optional[int]) -> str:
        """Check the escapes; a wrong one becomes text so that reading goes on."""
        good, wrong = [], False
        last = 0
        for escape in _ESCAPE.finditer(text):
            if escape.group(2) is not None:
                wrong = True
                self._problem(path, 'an escape of JSON (\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u1234)',
                              start if offset is None else offset + escape.start(),
                              escape.group(), "write \\\\ for a backslash")
                good.append(text[last:escape.start()] + "\\" + escape.group())
                last = escape.end()
        if wrong:
            self.result.broken.add(path)
            text = "".join(good) + text[last:]
        if any("\ud800" <= c <= "\udfff" for c in _decoded(text)):
            self._problem(path, "whole characters", start,
                          hint="a \\ud800 to \\udfff stands alone")
            raise _Lost()
        return text


def _decoded(text: str) -> str:
    if "\\" not in text:
        return text[1:-1]
    import json

    return json.loads(text)


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
