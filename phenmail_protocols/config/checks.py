"""Kinds of values: each turns what was written into a clean value.

A kind has `expected`, the words that complete "expected …", and `read(reader, path, value)`,
which returns the clean value, or a stand-in after reporting to the reader what is wrong. Simple
kinds only define `clean(value)`. No kind knows which key it serves.
"""

from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..mail.address import AddressError
from .addresses import host_name, is_digits, why_invalid
from .documents import Document
from .problems import MAX_PROBLEMS, Path, Problem, did_you_mean, key_name, shown
from .root_folder import InvalidPath, Root
from .scanner import MAX_VALUES


class Reader:
    """What the kinds need to know, and where they report errors and warnings.

    `owner`: the identity that [user-identity] stands for. `folder`: what relative paths are
    relative to. `allow_outside`: whether file:/… may lead out of the root.
    """

    def __init__(self, document: Document, root: Root, owner: Optional[str] = None,
                 folder: Optional[str] = None, allow_outside: bool = False) -> None:
        self.document = document
        self.root = root
        self.owner = owner
        self.folder = folder
        self.allow_outside = allow_outside
        self.problems: List[Problem] = []
        self.warnings: List[Problem] = []
        self.secret: set = set()  # paths whose values are never shown
        self.patterns = 0  # characters of regular expressions so far

    def problem(self, path: Path, expected: str, value: Any = None, hint: str = "",
                key: bool = False) -> None:
        """Report an error at a value, or at its key."""
        if not self.is_full:
            self.problems.append(self._problem(path, expected, value, hint, key))

    @property
    def is_full(self) -> bool:
        """Whether so many errors were found that no more are reported."""
        return len(self.problems) >= MAX_PROBLEMS

    def warn(self, path: Path, expected: str, hint: str = "", key: bool = False) -> None:
        """Report what is not an error but should be different."""
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(self._problem(path, expected, None, hint, key))

    def _problem(self, path: Path, expected: str, value: Any, hint: str, key: bool) -> Problem:
        place = self.document.place(path, key)
        hidden = any(path[:length] in self.secret for length in range(len(path) + 1))
        text = None if value is None or hidden else shown(value)
        return Problem(place.file, place.line, place.column, key_name(path), text, expected, hint)

    def written(self, path: Path) -> Any:
        """The value as written at a path, or None."""
        value: Any = self.document.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def path(self, path: Path, text: str, owner: Optional[str] = None) -> Optional[str]:
        """Resolve a file system path; None after reporting what is wrong with it."""
        try:
            return self.root.resolve(text, owner or self.owner, self.allow_outside, self.folder)
        except InvalidPath as refused:
            self.problem(path, str(refused), text)
            return None


class Kind:
    """A kind of value."""

    expected = "a value"
    types: Tuple[type, ...] = ()

    def clean(self, value: Any) -> Any:
        """The clean value, or None if it is not of this kind."""
        return value if isinstance(value, self.types) else None

    def hint(self, value: Any) -> str:
        """What else to say about a value that is not of this kind."""
        return ""

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        clean = self.clean(value)
        # Hints take time, so there are none for errors that are not reported any more.
        if clean is None and not reader.is_full:
            reader.problem(path, self.expected, value, self.hint(value), key)
        return clean


class Bool(Kind):
    expected = "true or false"
    types = (bool,)


class Integer(Kind):
    def __init__(self, low: int, high: int, what: str = "a whole number") -> None:
        self.low, self.high = low, high
        self.expected = "%s from %d to %d" % (what, low, high)

    def clean(self, value: Any) -> Optional[int]:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return value if is_number and self.low <= value <= self.high else None


class Text(Kind):
    """Text of `least` to `limit` characters that `check` accepts; one line unless `lines`."""

    def __init__(self, expected: str = "text", check: Optional[Callable[[str], bool]] = None,
                 limit: int = 1000, lines: bool = False, least: int = 1) -> None:
        self.expected, self.check, self.lines = expected, check, lines
        self.limit, self.least = limit, least

    def clean(self, value: Any) -> Optional[str]:
        fits = (isinstance(value, str) and self.least <= len(value) <= self.limit
                and (self.lines and "\0" not in value or is_one_line(value))
                and (self.check is None or self.check(value)))
        return value if fits else None


class HostName(Kind):
    """The name of a host or domain in any spelling, or a text that `other` accepts.

    Returns the name in A-labels, and such a text unchanged.
    """

    def __init__(self, expected: str = "a host name",
                 other: Optional[Callable[[str], bool]] = None) -> None:
        self.expected, self.other = expected, other

    def clean(self, value: Any) -> Optional[str]:
        if not isinstance(value, str):
            return None
        if self.other is not None and self.other(value):
            return value
        try:
            return host_name(value)
        except AddressError:
            return None

    def hint(self, value: Any) -> str:
        return why_invalid(value, host_name) if isinstance(value, str) else ""


class Choice(Kind):
    def __init__(self, *words: str, expected: str = "") -> None:
        self.words = words
        self.expected = expected or "one of %s" % ", ".join(shown(word) for word in words)

    def clean(self, value: Any) -> Optional[str]:
        return value if isinstance(value, str) and value in self.words else None

    def hint(self, value: Any) -> str:
        return did_you_mean(value, self.words) if isinstance(value, str) else ""


class Unit(Kind):
    """A number of the smallest unit, or text with a unit; returns a number."""

    def __init__(self, units: Dict[str, int], expected: str, low: float, high: float,
                 number: Callable[[Any], Any]) -> None:
        self.units, self.expected = units, expected
        self.low, self.high, self.number = low, high, number

    def clean(self, value: Any) -> Any:
        if isinstance(value, str):
            value = self._parse(value)
        if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        # The range comes first: int() of NaN or infinity raises.
        if not self.low <= value <= self.high or self.number(value) != value:
            return None
        return self.number(value)

    def _parse(self, text: str) -> Optional[int]:
        # int() of very many digits takes long.
        text = text.strip() if len(text) <= 40 else ""
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
        unit = text[len(digits):].strip().lower()
        return int(digits) * self.units[unit] if is_digits(digits) and unit in self.units else None


def seconds(low: float = 1, high: float = 366 * 86400) -> Unit:
    """A time: seconds, or text such as "5 min"."""
    units = {"": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1,
             "min": 60, "minute": 60, "minutes": 60,
             "h": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400}
    return Unit(units, 'a time of at least %g s: seconds, or "5 min", "1 h", "2 d"' % low,
                low, high, float)


def size(low: int, high: int = 2 ** 40) -> Unit:
    """A size: bytes, or text such as "50 MB" (1024 * 1024)."""
    units = {"": 1, "b": 1, "kb": 1024, "mb": 1024 ** 2, "gb": 1024 ** 3}
    return Unit(units, 'a size of at least %d: bytes, or "64 KB", "50 MB"' % low, low, high, int)


class PathTo(Kind):
    """A file system path; returns it as absolute path."""

    def __init__(self, what: str) -> None:
        self.expected = "the path of %s" % what

    def clean(self, value: Any) -> Optional[str]:
        return value if isinstance(value, str) and value and is_one_line(value) else None

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Optional[str]:
        clean = super().read(reader, path, value, key)
        return None if clean is None else reader.path(path, clean)


class ListOf(Kind):
    """A list of one kind with at most `most` items; returns a tuple without the wrong ones."""

    types = (list, tuple)

    def __init__(self, kind: Kind, what: str, most: int = MAX_VALUES) -> None:
        self.kind, self.what, self.most = kind, what, most
        self.expected = "a list of %s: [ … ]" % what

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Tuple[Any, ...]:
        if super().read(reader, path, value) is None or _are_too_many(reader, path, value, self):
            return ()
        items = [self.kind.read(reader, path + (number,), item)
                 for number, item in enumerate(value)]
        return tuple(item for item in items if item is not None)


class MapOf(Kind):
    """An object with at most `most` keys of the user's choice.

    Returns a read-only mapping without the wrong members.
    """

    types = (dict,)

    def __init__(self, key: Kind, kind: Kind, what: str, most: int = MAX_VALUES) -> None:
        self.key, self.kind, self.what, self.most = key, kind, what, most
        self.expected = "an object of %s: { … }" % what

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Mapping[str, Any]:
        result: Dict[str, Any] = {}
        if (super().read(reader, path, value) is None
                or _are_too_many(reader, path, value, self)):
            value = {}
        for name, item in value.items():
            if self.key.read(reader, path + (name,), name, key=True) is not None:
                item = self.kind.read(reader, path + (name,), item)
                if item is not None:
                    result[name] = item
        return MappingProxyType(result)


def _are_too_many(reader: Reader, path: Path, value: Any, kind: Any) -> bool:
    too_many = len(value) > kind.most
    if too_many:
        reader.problem(path, "at most %d %s" % (kind.most, kind.what),
                       hint="there are %d" % len(value))
    return too_many


class Option(NamedTuple):
    """One row of a table of options.

    `default`: the clean value if the key is missing; None if the code that builds the settings
    chooses it.
    """

    key: str
    kind: Kind
    default: Any
    help: str
    secret: bool = False
    required: bool = False

    @property
    def field(self) -> str:
        """The name of the key in the settings."""
        return self.key.lower().replace("-", "_")


class Section(Kind):
    """An object with known keys.

    `gives`: the type of the clean value; it is called with one keyword argument an option, by
    `Option.field`. `check(reader, path, clean)` reports errors that concern several keys.
    """

    expected = "an object: { … }"
    types = (dict,)

    def __init__(self, *options: Option, gives: Callable[..., Any] = dict,
                 check: Optional[Callable[[Reader, Path, Any], None]] = None) -> None:
        self.options, self.gives, self.check = options, gives, check

    def defaults(self, **fields: Any) -> Any:
        """The clean value of an empty object, except for some fields."""
        return self.gives(**dict({option.field: option.default for option in self.options},
                                 **fields))

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        if super().read(reader, path, value) is None:
            return self.defaults()
        known = [option.key for option in self.options]
        # A misspelt key would otherwise silently leave its default in force.
        for name in value:
            if name not in known and not reader.is_full:
                hint = did_you_mean(str(name), known) or "known keys: " + ", ".join(known)
                reader.problem(path + (name,), "", hint="unknown key; " + hint, key=True)
        clean = self.gives(**{option.field: _read_option(reader, path, option, value)
                              for option in self.options})
        if self.check is not None:
            self.check(reader, path, clean)
        return clean


def _read_option(reader: Reader, path: Path, option: Option, section: Dict[str, Any]) -> Any:
    if option.key not in section:
        if option.required:
            reader.problem(path, "", hint="missing %s: %s" % (shown(option.key), option.help))
        return option.default
    at = path + (option.key,)
    # Before reading, so that no message shows a secret or a part of it.
    if option.secret:
        reader.secret.add(at)
    clean = option.kind.read(reader, at, section[option.key])
    # After an error the default lets the other checks go on; the settings are not used then.
    return option.default if clean is None else clean


class Switch(Section):
    """A section with the option "disabled" that can also be written as true or false."""

    expected = "true, false or an object: { … }"

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        if isinstance(value, bool):
            return self.defaults(disabled=not value)
        return super().read(reader, path, value)


class ByType(Kind):
    """An object whose key "type" selects its table of options."""

    expected = "an object: { … }"
    types = (dict,)

    def __init__(self, **sections: Section) -> None:
        self.sections = sections
        self.type = Choice(*sections)

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        if super().read(reader, path, value) is None:
            return None
        kind = self.type.read(reader, path + ("type",), value.get("type"))
        return None if kind is None else self.sections[kind].read(reader, path, value)


class OneOfForms(Kind):
    """A value of several forms, distinguished by their JSON type."""

    def __init__(self, expected: str, forms: Dict[type, Kind]) -> None:
        self.expected, self.forms = expected, forms

    def clean(self, value: Any) -> Optional[Kind]:
        return self.forms.get(tuple if isinstance(value, list) else type(value))

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        kind = super().read(reader, path, value)
        return None if kind is None else kind.read(reader, path, value)


def is_one_line(text: str) -> bool:
    """Whether text has no control character and no line separator."""
    return not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in text)
