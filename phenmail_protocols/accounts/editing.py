"""Changing one thing in a configuration's text and leaving all else, comments too.

Pure: text in, text out.  `config.scanner` says where everything stands; each
change is read again afterwards and given out only if it means what was wanted.
"""

import re
from typing import Any, Callable, Iterator, Tuple, Union

from ..config.loader import parse
from ..config.scanner import Scan, scan

Path = Tuple[Union[str, int], ...]

STEP = "  "

# The tokens of config.scanner's grammar; comments are tokens here, blanks are not.
_TOKEN = re.compile(
    r'"""[\s\S]*?"""|"[^"\\]*(?:\\.[^"\\]*)*"'
    r"|#[^\n]*|^[^\S\n]*(?:;|//)[^\n]*|^[^\S\n]*/\*[\s\S]*?\*/[^\S\n]*$"
    r'|[\[\]{},:]|[^\s,:\[\]{}"#]+', re.MULTILINE)


class EditError(ValueError):
    """The text cannot be changed by a program; str() says why."""


def read(source: str) -> Any:
    """The values of a text.  Raises EditError."""
    return _read(source)[1]


def add_member(source: str, path: Path, key: str, value: Any) -> str:
    """Put a new member at the end of the object at `path`.  Raises EditError."""
    import json
    entry = "%s: %s" % (json.dumps(key, ensure_ascii=False), _json(value))

    def change(values: Any) -> None:
        members = _at(values, path)
        if key in members:
            raise EditError("%r is already there" % key)
        members[key] = value
    return _checked(source, _insert(source, path, "{", entry), change)


def add_item(source: str, path: Path, value: Any) -> str:
    """Put a new item at the end of the list at `path`.  Raises EditError."""
    return _checked(source, _insert(source, path, "[", _json(value)),
                    lambda values: _at(values, path).append(value))


def set_member(source: str, path: Path, value: Any) -> str:
    """Give a member a value, a new member where there is none.  Raises EditError."""
    found, values = _read(source)
    if path not in found.values:
        return add_member(source, path[:-1], str(path[-1]), value)
    start = found.values[path]
    edited = source[:start] + _json(value) + source[_value_end(source, start):]

    def change(values: Any) -> None:
        _at(values, path[:-1])[path[-1]] = value
    return _checked(source, edited, change)


def remove(source: str, path: Path) -> str:
    """Take a member or an item away; a comment behind it stays.  Raises EditError."""
    found, _ = _read(source)
    if path not in found.values:
        raise EditError("there is nothing to remove")
    start = found.keys.get(path, found.values[path])
    end = _value_end(source, found.values[path])
    edited = source
    comma = _comma_after(source, end)
    if comma >= 0:
        edited = edited[:comma] + edited[comma + 1:]
    edited = edited[:start] + edited[end:]
    edited = _without_empty_line(edited, start)

    def change(values: Any) -> None:
        del _at(values, path[:-1])[path[-1]]
    return _checked(source, edited, change)


def _read(source: str) -> Tuple[Scan, Any]:
    found = scan("", source)
    if found.problems or found.text is None:
        raise EditError("it has mistakes: %s" % "; ".join(str(each) for each in found.problems))
    values = parse(found.text)
    if not isinstance(values, dict):
        raise EditError("it is no object")
    return found, values


def _checked(source: str, edited: str, change: Callable[[Any], None]) -> str:
    """The edited text, if it means the old one with the change and nothing else."""
    expected = read(source)
    change(expected)
    if read(edited) != expected:
        raise EditError("its form is too unusual for a program; change it by hand")
    return edited


def _at(values: Any, path: Path) -> Any:
    for part in path:
        values = values[part]
    return values


def _insert(source: str, path: Path, bracket: str, entry: str) -> str:
    """Put an entry before the closing bracket of the object or list at `path`."""
    found, _ = _read(source)
    start = found.values.get(path)
    if start is None or source[start] != bracket:
        raise EditError("there is no place for it")
    closing = _value_end(source, start) - 1
    last, indent = -1, _indent(source, closing) + STEP
    for child, offset in found.values.items():
        if len(child) == len(path) + 1 and child[:-1] == path and offset > last:
            last = offset
            begin = found.keys.get(child, offset)
            if _begins_line(source, begin):
                indent = _indent(source, begin)
    if _begins_line(source, closing):
        line = source.rfind("\n", 0, closing) + 1
        edited = "%s%s%s\n%s" % (source[:line], indent, entry, source[line:])
    else:
        before = source[:closing].rstrip(" \t")
        space = "" if before.endswith(bracket) and last < 0 else " "
        edited = before + space + entry + source[len(before):]
    if last >= 0:
        end = _value_end(source, last)
        if _comma_after(source, end) < 0:
            edited = edited[:end] + "," + edited[end:]
    return edited


def _tokens(source: str, start: int) -> Iterator[Tuple[int, int, str]]:
    """(start, end, text) of the tokens from an offset on, without comments."""
    for token in _TOKEN.finditer(source, start):
        text = token.group()
        if not text.lstrip().startswith(("#", ";", "//", "/*")):
            yield token.start(), token.end(), text


def _value_end(source: str, start: int) -> int:
    """The offset behind a value that begins at `start`."""
    depth = 0
    for _, end, text in _tokens(source, start):
        depth += (text in ("{", "[")) - (text in ("}", "]"))
        if depth == 0:
            return end
    raise EditError("a value has no end")


def _comma_after(source: str, end: int) -> int:
    """The offset of the comma that follows a value, -1 where there is none."""
    for start, _, text in _tokens(source, end):
        return start if text == "," else -1
    return -1


def _begins_line(source: str, offset: int) -> bool:
    return not source[source.rfind("\n", 0, offset) + 1:offset].strip()


def _indent(source: str, offset: int) -> str:
    """The blanks at the beginning of the line in which an offset lies."""
    line = source[source.rfind("\n", 0, offset) + 1:offset]
    return line[:len(line) - len(line.lstrip())]


def _without_empty_line(source: str, offset: int) -> str:
    """Take out the line of an offset if a removal left nothing in it."""
    begin = source.rfind("\n", 0, offset) + 1
    end = source.find("\n", offset)
    if end < 0 or source[begin:end].strip():
        return source
    return source[:begin] + source[end + 1:]


def _json(value: Any) -> str:
    import json  # late: seldom needed
    return json.dumps(value, ensure_ascii=False)
