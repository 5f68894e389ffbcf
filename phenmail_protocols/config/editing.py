"""Changes one thing in the text of a configuration file and leaves the rest, comments too.

Text in, text out. `scanner` says where everything is. Each edited text is read again and
returned only if its values are the old ones with the wanted change.
"""

import json
from typing import Any, Tuple

from .loader import parse
from .problems import Path
from .scanner import Scan, begins_line, scan, skip

STEP = "  "     # by which members are indented in an empty object


class EditError(ValueError):
    """The text cannot be edited by a program; str() says why."""


def read(source: str) -> Any:
    """The values of a text. Raises EditError."""
    return _read(source)[1]


def add_member(source: str, path: Path, key: str, value: Any) -> str:
    """Put a new member at the end of the object at `path`. Raises EditError."""
    found, values = _read(source)
    edited = _insert(source, found, path, "{", "%s: %s" % (_json(key), _json(value)))
    members = _at(values, path)
    if key in members:
        raise EditError("%r already exists" % key)
    members[key] = value
    return _checked(edited, values)


def add_item(source: str, path: Path, value: Any) -> str:
    """Put a new item at the end of the list at `path`. Raises EditError."""
    found, values = _read(source)
    edited = _insert(source, found, path, "[", _json(value))
    _at(values, path).append(value)
    return _checked(edited, values)


def set_member(source: str, path: Path, value: Any) -> str:
    """Give a member a value; add it if it is missing. Raises EditError."""
    found, values = _read(source)
    if path not in found.values:
        return add_member(source, path[:-1], str(path[-1]), value)
    edited = source[:found.values[path]] + _json(value) + source[found.ends[path]:]
    _at(values, path[:-1])[path[-1]] = value
    return _checked(edited, values)


def remove(source: str, path: Path) -> str:
    """Remove a member or an item; a comment after it stays. Raises EditError."""
    found, values = _read(source)
    if path not in found.values:
        raise EditError("it does not exist")
    start, end = found.keys.get(path, found.values[path]), found.ends[path]
    comma = skip(source, end)
    behind = source[end:]
    if source.startswith(",", comma):
        behind = source[end:comma] + source[comma + 1:]
    edited = _without_empty_line(source[:start] + behind, start)
    del _at(values, path[:-1])[path[-1]]
    return _checked(edited, values)


def _read(source: str) -> Tuple[Scan, Any]:
    found = scan("", source)
    if found.text is None:
        raise EditError("it has errors: %s" % "; ".join(str(each) for each in found.problems))
    values = parse(found.text)
    if not isinstance(values, dict):
        raise EditError("it is not an object")
    return found, values


def _checked(edited: str, expected: Any) -> str:
    if read(edited) != expected:
        raise EditError("its form is too unusual for a program; change it by hand")
    return edited


def _at(values: Any, path: Path) -> Any:
    for part in path:
        values = values[part]
    return values


def _insert(source: str, found: Scan, path: Path, bracket: str, entry: str) -> str:
    """Put an entry before the closing bracket of the object or list at `path`."""
    start = found.values.get(path)
    if start is None or source[start] != bracket:
        raise EditError("it has no %s … at the expected place" % bracket)
    closing = found.ends[path] - 1
    last, indent = -1, _indent(source, closing) + STEP
    for child, offset in found.values.items():
        if len(child) == len(path) + 1 and child[:-1] == path and offset > last:
            last, end = offset, found.ends[child]
            begin = found.keys.get(child, offset)
            if begins_line(source, begin):
                indent = _indent(source, begin)
    if begins_line(source, closing):
        line = source.rfind("\n", 0, closing) + 1
        edited = "%s%s%s\n%s" % (source[:line], indent, entry, source[line:])
    else:
        before = source[:closing].rstrip(" \t")
        space = "" if before.endswith(bracket) and last < 0 else " "
        edited = before + space + entry + source[len(before):]
    if last >= 0 and not source.startswith(",", skip(source, end)):
        edited = edited[:end] + "," + edited[end:]
    return edited


def _indent(source: str, offset: int) -> str:
    """The blanks at the beginning of the line in which an offset lies."""
    line = source[source.rfind("\n", 0, offset) + 1:offset]
    return line[:len(line) - len(line.lstrip())]


def _without_empty_line(source: str, offset: int) -> str:
    """Remove the line of an offset if a removal has left nothing in it."""
    begin = source.rfind("\n", 0, offset) + 1
    end = source.find("\n", offset)
    if end < 0 or source[begin:end].strip():
        return source
    return source[:begin] + source[end + 1:]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
