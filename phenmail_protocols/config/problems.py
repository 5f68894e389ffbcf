"""What is wrong in a configuration, and where.

Knows neither files nor keys: only how a complaint is kept and told.
"""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple, Union

Path = Tuple[Union[str, int], ...]

MAX_SHOWN = 60
MAX_KNOWN = 1000        # words that a wrong one is compared with
MAX_PROBLEMS = 100     # that are kept of one file and all that it includes
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class Place(NamedTuple):
    """Where something was written; line and column count from 1, 0 is unknown."""

    file: str
    line: int = 0
    column: int = 0


class Problem(NamedTuple):
    """One complaint.

    `key` the dotted name of the setting ("" for the whole file); `value` what
    stands there, ready to be shown, or None where nothing does or where it is
    secret; `expected` completes "expected …", or is "" where `hint` says all;
    `hint` a further half-sentence.
    """

    file: str
    line: int
    column: int
    key: str
    value: Optional[str]
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place = "%s:%d:%d" % (self.file, self.line, self.column)
        text = "expected " + self.expected if self.expected else ""
        if self.value is not None:
            text += ", not " + self.value
        if self.hint:
            text += "; " + self.hint if text else self.hint
        return "%s: %s%s" % (place, self.key + ": " if self.key else "", text)


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` are all that were found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def brief(self, most: int = 5) -> List[str]:
        """The first problems, a line each, and one that says how many more there are."""
        return brief([str(problem) for problem in self.problems], most)


def brief(lines: Sequence[str], most: int = 5) -> List[str]:
    """The first lines, and one that says how many more there are."""
    more = len(lines) - most
    return list(lines[:most]) + (["and %d more" % more] if more > 0 else [])


def key_name(path: Path) -> str:
    """Write a path as people do: `domains."example.com".alice`, `receivers[0]`."""
    name = ""
    for part in path:
        if isinstance(part, int):
            name += "[%d]" % part
            continue
        is_plain = 0 < len(part) <= MAX_SHOWN and PLAIN.issuperset(part)
        word = part if is_plain else shown(part)
        name += "." + word if name else word
    return name


def shown(value: Any) -> str:
    """Show a value as it would stand in the file, in one short line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    import json  # late: only where something is wrong

    if isinstance(value, str):
        value = value[:MAX_SHOWN]   # the rest would be cut off after much work
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return "a value of type %s" % type(value).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) > MAX_SHOWN:
        text = text[:MAX_SHOWN - 2] + '…"'
    return text


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint that names the nearest known word, or all of them; "" without any."""
    import difflib  # late: costs memory, and only a mistake needs it

    wanted = word[:100].replace("_", "-").lower()
    folded = {name.lower(): name for name in known[:MAX_KNOWN]}
    found = difflib.get_close_matches(wanted, sorted(folded), 1)
    if found:
        return "nearest: %s" % shown(folded[found[0]])
    return "known here: " + ", ".join(known[:MAX_SHOWN]) if known else ""
