"""A configuration file merged with the files that it includes, and where each value was written.

`"include": [files]` at the top level of a file merges others into it, and the including file
wins; with `"include-overwrite"` the included files win. Objects are merged key by key, any other
value replaces the one before.
"""

import os
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple

from .problems import MAX_PROBLEMS, ConfigError, Path, Place, Problem, key_name, shown
from .scanner import MAX_DEPTH, MAX_VALUES, Scan, scan

INCLUDES = ("include", "include-overwrite")

Resolve = Callable[[str, str], str]
Fetch = Callable[[str, int], bytes]
Parse = Callable[[str], Any]


class Bounds(NamedTuple):
    """How much a file and all that it includes may hold.

    `depth`: of objects and lists inside each other. `files`: included ones.
    """

    octets: int
    values: int
    depth: int
    files: int


# A user's bounds are lower, because a stranger's mail makes the server read the file.
SERVER = Bounds(4 * 1024 * 1024, MAX_VALUES, MAX_DEPTH, 50)
USER = Bounds(256 * 1024, 6000, 10, 10)


class TooLarge(OSError):
    """A file with more octets than allowed."""


class Mark(NamedTuple):
    """A position; its line and column are computed only for messages."""

    scan: Scan
    offset: int


class Document:
    """The merged values of a file, and where each was written.

    `name` stands for the file in messages.
    """

    def __init__(self, name: str, values: Dict[str, Any]) -> None:
        self.name = name
        self.values = values
        self.value_marks: Dict[Path, Mark] = {}
        self.key_marks: Dict[Path, Mark] = {}

    def place(self, path: Path, key: bool = False) -> Place:
        """Where a value (or its key) was written; for a missing one, the object around it."""
        marks = self.key_marks if key else self.value_marks
        mark = marks.get(path)
        while mark is None and path:
            path = path[:-1]
            mark = self.value_marks.get(path)
        return mark.scan.place(mark.offset) if mark else Place(self.name)


def read(path: str, name: str, resolve: Resolve, parse: Parse, fetch: Fetch,
         bounds: Bounds, secrets: FrozenSet[str],
         looked_for: Optional[Callable[[str], None]]) -> Document:
    """Read a file and all that it includes.

    In: its path and its name for messages. `resolve(text, file)` returns the path of an included
    file, as written in `file`, or raises ValueError. `parse` makes values from clean JSON.
    `fetch(path, most)` returns a file's octets; it raises OSError, and TooLarge if there are more
    than `most`. `secrets`: keys whose values are never shown. `looked_for` is called with the
    path of each file before it is opened.
    Raises ConfigError with all syntax errors in all the files (at most MAX_PROBLEMS), and OSError
    if the first file cannot be read.
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
        self.octets_left, self.values_left = bounds.octets, bounds.values
        self.problems: List[Problem] = []
        self.included = 0

    def problem(self, place: Place, path: Path, expected: str, value: Any = None,
                hint: str = "") -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(
                place.file, place.line, place.column, key_name(path),
                None if value is None else shown(value), expected, hint))

    def file(self, path: str, name: str, parents: Tuple[str, ...]) -> Document:
        """Read one file with its includes; syntax errors go to `problems`."""
        document = Document(name, {})
        if self.looked_for is not None:
            self.looked_for(path)
        text = self._text(path, name)
        if text is None:
            return document
        found = scan(name, text, self.secrets, self.values_left, self.bounds.depth,
                     self.bounds.values)
        self.values_left -= len(found.values)
        document.value_marks = {at: Mark(found, offset) for at, offset in found.values.items()}
        document.key_marks = {at: Mark(found, offset) for at, offset in found.keys.items()}
        document.values = self._values(document, found)
        return self._with_included(document, path, parents + (os.path.realpath(path),))

    def _text(self, path: str, name: str) -> Optional[str]:
        try:
            data = self.fetch(path, self.octets_left)
        except TooLarge:
            self.octets_left = 0    # for later files too
            self.problem(Place(name, 1, 1), (), "at most %d bytes, included files counted"
                         % self.bounds.octets)
            return None
        self.octets_left -= len(data)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            before = data[:error.start].decode("utf-8")
            place = Place(name, before.count("\n") + 1, len(before) - before.rfind("\n"))
            self.problem(place, (), "text in UTF-8",
                         hint="the byte 0x%02x is invalid" % data[error.start])
            return None
        # The scanner counts LF as line ends, and jsoncomment removes comments line by line.
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _values(self, document: Document, found: Scan) -> Dict[str, Any]:
        """The values of a text; of one with errors, only its includes."""
        self.problems.extend(found.problems[:MAX_PROBLEMS - len(self.problems)])
        if found.text is None:
            return _includes(found)
        try:
            values = self.parse(found.text)
        except (ValueError, RecursionError, MemoryError):
            self.problem(document.place(()), (), "JSON", hint="the JSON parser rejects it")
            return {}
        if not isinstance(values, dict):
            self.problem(document.place(()), (), "an object: { … }", values)
            return {}
        return values

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
                self.included += 1
                if self.included > self.bounds.files:
                    # Reported once; files that include two others double the count at each level.
                    if self.included == self.bounds.files + 1:
                        self.problem(document.place(at), at,
                                     "at most %d included files" % self.bounds.files)
                    break
                included = self._include(document.place(at), at, text, path, parents)
                if included is not None:
                    document = (_merged(included, document) if directive == "include"
                                else _merged(document, included))
        return document

    def _include(self, place: Place, at: Path, text: Any, path: str,
                 parents: Tuple[str, ...]) -> Optional[Document]:
        if not isinstance(text, str) or not text:
            self.problem(place, at, "the name of a file", text)
            return None
        try:
            target = self.resolve(text, path)
        except ValueError as refused:
            self.problem(place, at, str(refused), text)
            return None
        # A file may be included several times, but not by itself.
        if os.path.realpath(target) in parents:
            self.problem(place, at, "a file that does not include itself", text)
            return None
        try:
            return self.file(target, _name_beside(place.file, path, target), parents)
        except OSError as error:
            self.problem(place, at, "a file that can be read", text,
                         (error.strerror or "it cannot be opened").lower())
            return None


def _includes(found: Scan) -> Dict[str, Any]:
    """The includes of a text with errors, so that errors in the included files are found too."""
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
    if name == path or not path.endswith(name):
        return target if name == path else os.path.basename(target)
    root = path[:len(path) - len(name)]
    if target.startswith(root):
        return target[len(root):]
    return os.path.relpath(target, os.path.dirname(path))


def _merged(under: Document, over: Document) -> Document:
    """Both documents; if both have a value that is not an object, that of `over`."""
    result = Document(over.name, {})
    replaced: Set[Path] = set()
    result.values = _merge_values(under.values, over.values, (), replaced)
    result.value_marks = _merge_marks(under.value_marks, over.value_marks, replaced)
    result.key_marks = _merge_marks(under.key_marks, over.key_marks, replaced)
    return result


def _merge_values(under: Dict[str, Any], over: Dict[str, Any], path: Path,
                  replaced: Set[Path]) -> Dict[str, Any]:
    """Merge objects; the paths of replaced objects and lists are added to `replaced`."""
    result = dict(under)
    for key, value in over.items():
        before = result.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            result[key] = _merge_values(before, value, path + (key,), replaced)
        else:
            if isinstance(before, (dict, list)):
                replaced.add(path + (key,))
            result[key] = value
    return result


def _merge_marks(under: Dict[Path, Mark], over: Dict[Path, Mark],
                 replaced: Set[Path]) -> Dict[Path, Mark]:
    """All marks but those inside of replaced values."""
    marks = {path: mark for path, mark in under.items()
             if not replaced or not _is_below(path, replaced)}
    marks.update(over)
    return marks


def _is_below(path: Path, roots: Set[Path]) -> bool:
    return any(path[:length] in roots for length in range(1, len(path) + 1))
