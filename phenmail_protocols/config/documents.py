"""Files of configuration with what they include, merged, positions kept.

`"include": [files]` at the top of a file merges others into it, the including
file wins; with `"include-overwrite"` the included ones win.  Objects are
merged key by key, everything else is taken whole.  Knows no key but these two.
"""

import os
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple

from . import scanner
from .problems import MAX_PROBLEMS, ConfigError, Path, Place, Problem, key_name, shown
from .scanner import Scan, scan

INCLUDES = ("include", "include-overwrite")

Resolve = Callable[[str, str], str]
Fetch = Callable[[str, int], bytes]
Parse = Callable[[str], Any]


class Bounds(NamedTuple):
    """How much a file may hold together with all that it includes: octets, values, objects
    and lists inside each other, further files."""

    octets: int
    values: int
    depth: int
    files: int


# What the administrator writes, and what a user does: every stranger's mail makes us read that.
SERVER = Bounds(4 * 1024 * 1024, scanner.MAX_VALUES, scanner.MAX_DEPTH, 50)
USER = Bounds(256 * 1024, 6000, 10, 10)


class TooLarge(OSError):
    """A file with more octets than there may be."""


class Mark(NamedTuple):
    """A position that becomes a line and a column when somebody asks."""

    scan: Scan
    offset: int


class Document:
    """The merged values of a file, and where each was written.

    `values` is a dict.
    """

    def __init__(self, name: str, values: Dict[str, Any]) -> None:
        self.name = name
        self.values = values
        self.value_marks: Dict[Path, Mark] = {}
        self.key_marks: Dict[Path, Mark] = {}

    def place(self, path: Path, key: bool = False) -> Place:
        """Where a value (or its key) was written, or what it should be in."""
        marks = self.key_marks if key else self.value_marks
        mark = marks.get(path)
        while mark is None and path:
            path = path[:-1]
            mark = self.value_marks.get(path)
        return mark.scan.place(mark.offset) if mark else Place(self.name)


def from_values(values: Dict[str, Any], name: str = "settings") -> Document:
    """A document that was never a file; messages call it `name`."""
    return Document(name, values)


def read(path: str, name: str, resolve: Resolve, parse: Parse, fetch: Fetch,
         bounds: Bounds = SERVER, secrets: FrozenSet[str] = frozenset(),
         looked_for: Optional[Callable[[str], None]] = None) -> Document:
    """Read a file and all that it includes.

    In: its path and its name for messages; `resolve(text, file)` gives the
    path of an included file as written in `file`, and raises ValueError;
    `parse` makes values from clean JSON; `fetch(path, most)` gives a file's
    octets and raises OSError, TooLarge where there are more than `most`;
    `secrets` keys whose values nobody sees; `looked_for` is called with the
    path of each file before it is opened.
    Raises ConfigError with every mistake of grammar in all the files (at most
    MAX_PROBLEMS); OSError where the first file cannot be read.
    """
    reader = _Reader(resolve, parse, fetch, bounds, secrets, looked_for)
    document = reader.file(path, name, ())
    if reader.problems:
        raise ConfigError(reader.problems)
    return document


class _Reader:
    def __init__(self, resolve: Resolve, parse: Parse, fetch: Fetch, bounds: Bounds,
                 secrets: FrozenSet[str], looked_for: Optional[Callable[[str], None]]) -> None:
        self.resolve = resolve
        self.fetch = fetch
        self.secrets = secrets
        self.parse = parse
        self.looked_for = looked_for
        self.bounds = bounds
        self.octets, self.values = bounds.octets, bounds.values     # that are left
        self.problems: List[Problem] = []
        self.count = 0

    def problem(self, place: Place, path: Path, expected: str, value: Any = None,
                hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(
                place.file, place.line, place.column, key_name(path),
                None if value is None else shown(value), expected, hint))

    def file(self, path: str, name: str, parents: Tuple[str, ...]) -> Document:
        """Read one file; its mistakes go to `problems`."""
        document = Document(name, {})
        if self.looked_for is not None:
            self.looked_for(path)
        text = self._text(path, name)
        if text is None:
            return document
        found = scan(name, text, self.secrets,
                     scanner.Bounds(self.values, self.bounds.depth, self.bounds.values))
        self.values -= len(found.values)
        document.value_marks = {at: Mark(found, offset) for at, offset in found.values.items()}
        document.key_marks = {at: Mark(found, offset) for at, offset in found.keys.items()}
        document.values = self._values(document, found)
        return self._with_included(document, path, parents + (os.path.realpath(path),))

    def _values(self, document: Document, found: Scan) -> Dict[str, Any]:
        """The values of a text; of one with mistakes only what it includes."""
        self.problems.extend(found.problems[:MAX_PROBLEMS - len(self.problems)])
        if found.text is None:
            return _includes(found)
        try:
            values = self.parse(found.text)
        except (ValueError, RecursionError, MemoryError):
            self.problem(document.place(()), (), "JSON", hint="the parser refuses it")
            return {}
        if not isinstance(values, dict):
            self.problem(document.place(()), (), "an object: { … }", values)
            return {}
        return values

    def _text(self, path: str, name: str) -> Optional[str]:
        try:
            data = self.fetch(path, self.octets)
        except TooLarge:
            self.octets = 0
            self.problem(Place(name, 1, 1), (), "at most %d bytes, included files counted"
                         % self.bounds.octets)
            return None
        self.octets -= len(data)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[:error.start].decode("utf-8")
            line = before.count("\n") + 1
            column = len(before) - (before.rfind("\n") + 1) + 1
            self.problem(Place(name, line, column), (), "text in UTF-8",
                         hint="the byte 0x%02x is none" % data[error.start])
            return None
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _with_included(self, document: Document, path: str,
                       parents: Tuple[str, ...]) -> Document:
        for directive in INCLUDES:
            files = document.values.pop(directive, [])
            if not isinstance(files, list):
                self.problem(document.place((directive,)), (directive,),
                             "a list of file names", files)
                continue
            for number, text in enumerate(files):
                at: Path = (directive, number)
                self.count += 1
                if self.count > self.bounds.files:
                    if self.count == self.bounds.files + 1:
                        self.problem(document.place(at), at,
                                     "at most %d included files" % self.bounds.files)
                    break
                included = self._included(document.place(at), at, text, path, parents)
                if included is None:
                    continue
                if directive == "include":
                    document = _merged(included, document)
                else:
                    document = _merged(document, included)
        return document

    def _included(self, place: Place, at: Path, text: Any, path: str,
                  parents: Tuple[str, ...]) -> Optional[Document]:
        if not isinstance(text, str) or not text:
            self.problem(place, at, "the name of a file", text)
            return None
        try:
            target = self.resolve(text, path)
        except ValueError as refused:
            self.problem(place, at, str(refused), text)
            return None
        if os.path.realpath(target) in parents:
            self.problem(place, at, "a file that does not include itself again", text)
            return None
        try:
            return self.file(target, _name_beside(place.file, path, target), parents)
        except OSError as error:
            self.problem(place, at, "a file that can be read", text,
                         (error.strerror or "it cannot be opened").lower())
            return None


def _includes(found: Scan) -> Dict[str, Any]:
    """What a text with mistakes includes, so that those of the included files are told too."""
    values: Dict[str, Any] = {}
    for directive in INCLUDES:
        texts = []
        while (directive, len(texts)) in found.values:
            texts.append(found.string((directive, len(texts))))
        if texts and None not in texts:
            values[directive] = texts
    return values


def _name_beside(name: str, path: str, target: str) -> str:
    """Name an included file in the way the including one was named."""
    folder = os.path.dirname(path)
    if name == path or not path.endswith(name):
        return target if name == path else os.path.basename(target)
    root = path[:len(path) - len(name)]
    return target[len(root):] if target.startswith(root) else os.path.relpath(target, folder)


def _merged(under: Document, over: Document) -> Document:
    """Both, and where both say something that is no object, `over`."""
    result = Document(over.name, {})
    result.value_marks = dict(under.value_marks)
    result.key_marks = dict(under.key_marks)
    replaced: List[Path] = []
    result.values = _merge_values(under.values, over.values, (), replaced)
    if replaced:
        gone = set(replaced)
        for marks in (result.value_marks, result.key_marks):
            for path in [path for path in marks if _is_below(path, gone)]:
                del marks[path]
    result.value_marks.update(over.value_marks)
    result.key_marks.update(over.key_marks)
    return result


def _is_below(path: Path, roots: Set[Path]) -> bool:
    return any(path[:length] in roots for length in range(1, len(path) + 1))


def _merge_values(under: Dict[str, Any], over: Dict[str, Any], path: Path,
                  replaced: List[Path]) -> Dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merge_values(result[key], value, path + (key,), replaced)
        else:
            if isinstance(result.get(key), (dict, list)):
                replaced.append(path + (key,))
            result[key] = value
    return result
