"""What is wrong in a configuration file, and where: the values behind each error message."""

from typing import Any, List, NamedTuple, Optional, Sequence, Tuple, Union

Path = Tuple[Union[str, int], ...]

MAX_PROBLEMS = 100      # kept for one file and all that it includes
MAX_SHOWN = 60          # characters of a value in a message
MAX_KNOWN = 1000        # words that a misspelt one is compared with
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


class Place(NamedTuple):
    """Where something was written; line and column count from 1, and 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0


class Problem(NamedTuple):
    """One error or warning.

    `key`: the dotted name of the setting, "" for the whole file. `value`: what was written,
    ready to be shown, or None if nothing was written or it is secret. `expected` completes
    "expected …"; it is "" if `hint` is the whole message.
    """

    file: str
    line: int
    column: int
    key: str
    value: Optional[str]
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        place = "%s:%d:%d" % (self.file, self.line, self.column) if self.line else self.file
        text = "expected " + self.expected if self.expected else ""
        if self.value is not None:
            text += ", not " + self.value
        if self.hint:
            text += "; " + self.hint if text else self.hint
        return "%s: %s%s" % (place, self.key + ": " if self.key else "", text)


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` are all errors that were found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    def brief(self, most: int = 5) -> List[str]:
        """The first problems, one a line, and a line that counts the rest."""
        return brief([str(problem) for problem in self.problems], most)


def brief(lines: Sequence[str], most: int = 5) -> List[str]:
    """The first lines, and a line that counts the rest."""
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
    """Show a value as it would be written in the file, in one short line."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    import json  # late: only needed if something is wrong

    if isinstance(value, str):
        value = value[:MAX_SHOWN]   # encoding the rest would cost time for nothing
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return "a value of type %s" % type(value).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) > MAX_SHOWN:
        text = text[:MAX_SHOWN - 2] + '…"'
    return text


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`did you mean "…"?` with the most similar known word, or "" if none is similar."""
    import difflib  # late: costs memory, and only needed if something is wrong

    wanted = word[:100].replace("_", "-").lower()
    folded = {name.lower(): name for name in known[:MAX_KNOWN]}
    found = difflib.get_close_matches(wanted, sorted(folded), 1)
    return "did you mean %s?" % shown(folded[found[0]]) if found else ""
