"""Files of configuration with what they include, merged, positions kept.

`"include": [files]` at the top of a file merges others into it, the including
file wins; with `"include-overwrite"` the included ones win.  Objects are
merged key by key, everything else is taken whole.  Knows no key but these two.
"""

import errno
import os
import stat
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple

from .problems import ConfigError, Path, Place, Problem, key_name, shown
from .scanner import Scan, scan

MAX_SIZE = 4 * 1024 * 1024
MAX_FILES = 50
INCLUDES = ("include", "include-overwrite")

Resolve = Callable[[str, str], str]
Parse = Callable[[str], Any]


class Mark(NamedTuple):
    """A position that becomes a line and a column when somebody asks."""

    scan: Scan
    offset: int


class Document:
    """The merged values of a file, and where each was written.

    `values` a dict; `broken` paths about which enough has been said.
    """

    def __init__(self, name: str, values: Dict[str, Any]) -> None:
        self.name = name
        self.values = values
        self.value_marks = {}  # type: Dict[Path, Mark]
        self.key_marks = {}  # type: Dict[Path, Mark]
        self.broken = set()  # type: Set[Path]

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


def read(path: str, name: str, resolve: Resolve, parse: Parse,
         secrets: FrozenSet[str] = frozenset(), files: Optional[List[str]] = None) -> Document:
    """Read a file and all that it includes.

    In: its path and its name for messages; `resolve(text, file)` gives the
    path of an included file as written in `file`, and raises ValueError;
    `parse` makes values from clean JSON; `secrets` keys whose values nobody sees;
    `files` gets the path of each file that was looked for, also where it fails.
    Raises ConfigError with every mistake of grammar in all the files;
    OSError where the first file cannot be read.
    """
    reader = _Reader(resolve, parse, secrets, [] if files is None else files)
    document = reader.file(path, name, ())
    if reader.problems:
        raise ConfigError(reader.problems)
    return document


class _Reader:
    def __init__(self, resolve: Resolve, parse: Parse, secrets: FrozenSet[str],
                 files: List[str]) -> None:
        self.resolve = resolve
        self.secrets = secrets
        self.parse = parse
        self.files = files
        self.problems = []  # type: List[Problem]
        self.count = 0

    def problem(self, place: Place, path: Path, expected: str, value: Any = None,
                hint: str = "") -> None:
        self.problems.append(Problem(place.file, place.line, place.column, key_name(path),
                                     None if value is None else shown(value), expected, hint))

    def file(self, path: str, name: str, parents: Tuple[str, ...]) -> Document:
        """Read one file; its mistakes go to `problems`."""
        document = Document(name, {})
        self.files.append(path)
        text = self._text(path, name)
        if text is None:
            return document
        found = scan(name, text, self.secrets)
        self.problems.extend(found.problems)
        if found.text is None:
            return document
        values = self.parse(found.text)
        document.broken = found.broken
        document.value_marks = {at: Mark(found, offset) for at, offset in found.values.items()}
        document.key_marks = {at: Mark(found, offset) for at, offset in found.keys.items()}
        if not isinstance(values, dict):
            if () not in found.broken:
                self.problem(document.place(()), (), "an object: { … }", values)
            return document
        document.values = values
        return self._with_included(document, path, parents + (os.path.realpath(path),))

    def _text(self, path: str, name: str) -> Optional[str]:
        data = _content(path)
        if len(data) > MAX_SIZE:
            self.problem(Place(name), (), "a file of at most %d bytes" % MAX_SIZE)
            return None
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
                at = (directive, number)  # type: Path
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
        self.count += 1
        if self.count > MAX_FILES:
            if self.count == MAX_FILES + 1:
                self.problem(place, at, "at most %d included files" % MAX_FILES)
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


def _content(path: str) -> bytes:
    """What a file holds, up to one byte more than may be.

    Raises OSError, also where there is no regular file: a pipe would be waited
    for, and with it everybody whom the file's owner never meant to stop.
    """
    with open(path, "rb", opener=_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no regular file", path)
        return file.read(MAX_SIZE + 1)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


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
    result.broken = under.broken | over.broken
    replaced = []  # type: List[Path]
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
            if key in result:
                replaced.append(path + (key,))
            result[key] = value
    return result
