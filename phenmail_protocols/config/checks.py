"""Kinds of values: each takes what was written and gives a clean value.

A kind has `expected`, the words that complete "expected …", and
`read(reader, path, value)`, which returns the clean value, or None after
telling the reader what is wrong.  No kind knows which key it serves.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..mail.address import Address, AddressError, ascii_domain
from .documents import Document
from .problems import MAX_PROBLEMS, Path, Problem, key_name, nearest, shown
from .root import InvalidPath, Root
from .scanner import MAX_VALUES


class Reader:
    """What the kinds need to know and where they put what they find.

    `owner` is whom [user-identity] means, `folder` what relative paths are
    based on, `allow_outside` whether file:/… may lead out of the root.
    """

    def __init__(self, document: Document, root: Root, owner: Optional[str] = None,
                 folder: Optional[str] = None, allow_outside: bool = False) -> None:
        self.document = document
        self.root = root
        self.owner = owner
        self.folder = folder
        self.allow_outside = allow_outside
        self.problems: List[Problem] = []
        self.complaints: List[Problem] = []
        self.secret: set = set()
        self.patterns = 0  # characters of regular expressions so far

    def problem(self, path: Path, expected: str, value: Any = None, hint: str = "",
                key: bool = False) -> None:
        """Tell a mistake at a value, or at its key; secrets are never shown."""
        if not self.is_full:
            self.problems.append(self._made(path, expected, value, hint, key))

    @property
    def is_full(self) -> bool:
        """Whether there are so many mistakes that no more are told."""
        return len(self.problems) >= MAX_PROBLEMS

    def complain(self, path: Path, expected: str, hint: str = "", key: bool = False) -> None:
        """Tell what is no error, but should be otherwise."""
        if len(self.complaints) < MAX_PROBLEMS:
            self.complaints.append(self._made(path, expected, None, hint, key))

    def _made(self, path: Path, expected: str, value: Any, hint: str, key: bool) -> Problem:
        place = self.document.place(path, key)
        hidden = any(path[:length] in self.secret for length in range(len(path) + 1))
        text = None if value is None or hidden else shown(value)
        return Problem(place.file, place.line, place.column, key_name(path),
                       text, expected, hint)

    def written(self, path: Path) -> Any:
        """The value that stands at a path, or None."""
        value: Any = self.document.values
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def path(self, path: Path, text: str, owner: Optional[str] = None) -> Optional[str]:
        """Resolve a path, telling what is wrong with it."""
        try:
            return self.root.resolve(text, owner or self.owner, self.allow_outside, self.folder)
        except InvalidPath as refused:
            self.problem(path, str(refused), text)
            return None


class Kind:
    """A kind of value; `accepts` is enough for the simple ones."""

    expected = "a value"

    def accepts(self, value: Any) -> bool:
        raise NotImplementedError

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if self.accepts(value):
            return value
        reader.problem(path, self.expected, value)
        return None


class Bool(Kind):
    expected = "true or false"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, bool)


class Integer(Kind):
    def __init__(self, low: int, high: int, what: str = "a whole number") -> None:
        self.low, self.high = low, high
        self.expected = "%s from %d to %d" % (what, low, high)

    def accepts(self, value: Any) -> bool:
        return (isinstance(value, int) and not isinstance(value, bool)
                and self.low <= value <= self.high)


class Text(Kind):
    """Text of one line; `check` says more about it."""

    def __init__(self, expected: str = "a text", check: Optional[Callable[[str], bool]] = None,
                 limit: int = 1000, lines: bool = False, least: int = 1) -> None:
        self.expected, self.check, self.limit, self.lines, self.least = expected, check, limit, lines, least

    def accepts(self, value: Any) -> bool:
        return (isinstance(value, str) and self.least <= len(value) <= self.limit
                and (self.lines and "\0" not in value or is_one_line(value))
                and (self.check is None or self.check(value)))


class HostName(Kind):
    """The name of a host or a domain in any spelling, or a text that `other` takes; gives A-labels,
    and such a text as it is."""

    def __init__(self, expected: str = "a host name",
                 other: Optional[Callable[[str], bool]] = None) -> None:
        self.expected, self.other = expected, other

    def read(self, reader: Reader, path: Path, value: Any, key: bool = False) -> Any:
        if not isinstance(value, str):
            reader.problem(path, self.expected, value, key=key)
            return None
        if self.other is not None and self.other(value):
            return value
        try:
            return host_name(value)
        except AddressError as error:
            reader.problem(path, self.expected, value, beyond_ascii(value, error), key)
            return None


class Choice(Kind):
    def __init__(self, *words: str) -> None:
        self.words = words
        self.expected = "one of %s" % ", ".join(shown(word) for word in words)

    def accepts(self, value: Any) -> bool:
        return value in self.words if isinstance(value, str) else False

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if self.accepts(value):
            return value
        hint = nearest(value, self.words) if isinstance(value, str) and not reader.is_full else ""
        reader.problem(path, self.expected, value, hint if hint.startswith("nearest") else "")
        return None


class Unit(Kind):
    """A number with a unit, as text, or of the smallest unit; gives a number."""

    def __init__(self, units: Dict[str, int], expected: str, low: float, high: float,
                 whole: bool = False) -> None:
        self.units, self.expected = units, expected
        self.low, self.high, self.whole = low, high, whole

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        number = self._number(value)
        if number is not None and self.low <= number <= self.high:
            return int(number) if self.whole else float(number)
        reader.problem(path, self.expected, value)
        return None

    def _number(self, value: Any) -> Optional[float]:
        if isinstance(value, bool):
            return None
        if isinstance(value, (int, float)):
            whole = isinstance(value, int) or value.is_integer()
            return value if whole or not self.whole else None
        if not isinstance(value, str) or len(value) > 40:
            return None
        digits = value.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
        unit = value.strip()[len(digits):].strip().lower()
        if not _is_digits(digits):
            return None
        return int(digits) * self.units[unit] if unit in self.units else None


def seconds(low: float = 1, high: float = 366 * 86400) -> Unit:
    """A time: seconds, or text such as "5 min"."""
    units = {"": 1, "s": 1, "sec": 1, "second": 1, "seconds": 1,
             "min": 60, "minute": 60, "minutes": 60,
             "h": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400}
    return Unit(units, 'a time of at least %g s: seconds, or "5 min", "1 h", "2 d"' % low, low, high)


def size(low: int, high: int = 2 ** 40) -> Unit:
    """A size: bytes, or text such as "50 MB" (1024 * 1024)."""
    units = {"": 1, "b": 1, "kb": 1024, "mb": 1024 ** 2, "gb": 1024 ** 3}
    return Unit(units, 'a size of at least %d: bytes, or "64 KB", "50 MB"' % low, low, high, True)


class PathTo(Kind):
    """A path; gives the absolute one."""

    def __init__(self, what: str) -> None:
        self.expected = "the path of %s" % what

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if not isinstance(value, str) or not is_one_line(value) or not value:
            reader.problem(path, self.expected, value)
            return None
        return reader.path(path, value)


class ListOf(Kind):
    """A list of one kind with at most `most` items; gives a tuple without the wrong ones."""

    def __init__(self, kind: Kind, what: str, most: int = MAX_VALUES) -> None:
        self.kind, self.what, self.most = kind, what, most
        self.expected = "a list of %s: [ … ]" % what

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            reader.problem(path, self.expected, value)
            return ()
        if _are_too_many(reader, path, value, self.most, self.what):
            return ()
        items = [self.kind.read(reader, path + (number,), item)
                 for number, item in enumerate(value)]
        return tuple(item for item in items if item is not None)


def _are_too_many(reader: Reader, path: Path, value: Any, most: int, what: str) -> bool:
    if len(value) > most:
        reader.problem(path, "at most %d %s" % (most, what), value, "there are %d" % len(value))
    return len(value) > most


class MapOf(Kind):
    """An object with at most `most` keys, which are free; gives a dict without the wrong ones."""

    def __init__(self, key: Kind, kind: Kind, what: str, most: int = MAX_VALUES) -> None:
        self.key, self.kind, self.what, self.most = key, kind, what, most
        self.expected = "an object of %s: { … }" % what

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if not isinstance(value, dict):
            reader.problem(path, self.expected, value)
            return {}
        if _are_too_many(reader, path, value, self.most, self.what):
            return {}
        result = {}
        for name, item in value.items():
            if not self.key.accepts(name):
                reader.problem(path + (name,), self.key.expected, name, key=True)
                continue
            item = self.kind.read(reader, path + (name,), item)
            if item is not None:
                result[name] = item
        return result


class Option(NamedTuple):
    """One row of a table of options.

    `default` None: nothing, or what the place that builds the value says.
    """

    key: str
    kind: Kind
    default: Any
    help: str
    secret: bool = False
    required: bool = False


class Section(Kind):
    """An object with known keys; gives a dict with every key of the table."""

    expected = "an object: { … }"

    def __init__(self, *options: Option) -> None:
        self.options = options

    def keys(self) -> Sequence[str]:
        return [option.key for option in self.options]

    def defaults(self) -> Dict[str, Any]:
        return {option.key: option.default for option in self.options}

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if not isinstance(value, dict):
            reader.problem(path, self.expected, value)
            return self.defaults()
        self._unknown(reader, path, value)
        return {option.key: self._option(reader, path, option, value)
                for option in self.options}

    def _unknown(self, reader: Reader, path: Path, value: Dict[str, Any]) -> None:
        known = self.keys()
        for key in value:
            if reader.is_full:
                break
            if key not in known:
                reader.problem(path + (key,), "a known key", key=True,
                               hint=nearest(str(key), known))

    def _option(self, reader: Reader, path: Path, option: Option, value: Dict[str, Any]) -> Any:
        if option.key not in value:
            if option.required:
                reader.problem(path, "the key %s here: %s" % (shown(option.key), option.help))
            return option.default
        at = path + (option.key,)
        if option.secret:
            reader.secret.add(at)
        clean = option.kind.read(reader, at, value[option.key])
        return option.default if clean is None else clean


class Switch(Section):
    """true, false, or the object itself, which `disabled` switches off.

    Gives the dict of a section whose "disabled" says whether it is off.
    """

    expected = "true, false or an object: { … }"

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if isinstance(value, bool):
            return dict(self.defaults(), disabled=not value)
        return super().read(reader, path, value)


class ByType(Kind):
    """An object whose key `type` says which table of options it follows."""

    expected = 'an object with a "type"'

    def __init__(self, **sections: Section) -> None:
        self.sections = sections

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        if not isinstance(value, dict):
            reader.problem(path, "an object: { … }", value)
            return None
        kind = value.get("type")
        section = self.sections.get(kind) if isinstance(kind, str) else None
        if section is None:
            reader.problem(path + ("type",), 'a "type" that is one of '
                           + ", ".join(shown(name) for name in self.sections), kind)
            return None
        return section.read(reader, path, value)


class OneOfForms(Kind):
    """A value of several forms, told apart by their JSON type."""

    def __init__(self, expected: str, forms: Dict[type, Kind]) -> None:
        self.expected, self.forms = expected, forms

    def read(self, reader: Reader, path: Path, value: Any) -> Any:
        kind = self.forms.get(tuple if isinstance(value, list) else type(value))
        if kind is None:
            reader.problem(path, self.expected, value)
            return None
        return kind.read(reader, path, value)


def is_one_line(text: str) -> bool:
    """Whether text has no control character, so that it can stand in one line."""
    return not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in text)


def host_name(text: str) -> str:
    """The name of a host or a domain in any spelling -> its A-labels (RFC 1123, RFC 5890).  Raises
    AddressError."""
    name = ascii_domain(text)
    if text[-1:] == "." or not all(_is_label(label) for label in name.split(".")):
        raise AddressError("no host name")
    return name


def beyond_ascii(text: str, error: AddressError) -> str:
    """Why it is no name or no address; "" for ASCII, of which anybody sees that."""
    return "" if all(c < "\x80" for c in text) else str(error)


def is_host_name(text: str) -> bool:
    """Whether text can be the name of a host or a domain."""
    try:
        return bool(host_name(text))
    except AddressError:
        return False


def _is_label(label: str) -> bool:
    return (label != "" and label[0] != "-" and label[-1] != "-"
            and all(c == "-" or c == "_" or c.isalnum() for c in label))


def is_ip_address(text: str) -> bool:
    """Whether text is an IPv4 or IPv6 address without brackets."""
    import ipaddress  # late: seldom needed

    try:
        ipaddress.ip_address(text.split("%", 1)[0])
    except ValueError:
        return False
    return True


def is_mail_address(text: str) -> bool:
    """Whether text is a mail address, user@example.org, to which mail can go."""
    try:
        return text[-1:] != "]" and bool(Address.parse(text))
    except AddressError:
        return False


def _is_digits(text: str) -> bool:
    return bool(text) and all("0" <= c <= "9" for c in text)


def split_port(text: str, port: int) -> Optional[Tuple[str, int]]:
    """`address`, `address:port` or `[v6]:port` -> (address, port), or None."""
    address, rest = text, ""
    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            return None
        rest = rest[1:]
    elif text.count(":") == 1:
        address, _, rest = text.partition(":")
        if not rest:
            return None
    if rest:
        if not _is_digits(rest) or len(rest) > 5 or not 0 < int(rest) <= 65535:
            return None
        port = int(rest)
    return (address, port) if is_ip_address(address) else None
