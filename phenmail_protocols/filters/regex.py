"""Users' regular expressions: which of them the server may search itself, and in how long a text.

`re` cannot be interrupted and holds the interpreter lock while it matches, and some patterns take
exponential time: `(a+)+$` on 24 letters stops every thread for a second. So the pattern is scanned
once for the most work that it can cause, as a polynomial in the length of the text:

- Up to `longest` characters a search takes at most about 50 ms, so the server does it.
- A longer text is searched in a child process with a time limit (see `filters.python`).

The scanner knows the common constructs. For any other (a back reference, a repeated group that can
match in several ways, verbose mode) `longest` is -1, so the child always searches.
"""
import math
import re
from typing import NamedTuple

MOST_STEPS = 3e6  # of the matcher; each takes 5 to 15 ns
UNBOUNDED = float("inf")

_MOST_REPEATS = 1000
_MOST_GROUPS = 20  # inside each other
_MOST_DEGREE = 20

# `.*` at an end does not change whether a pattern occurs, but costs a degree.
_LEADING = re.compile(r"\A(?:\.\*\??(?!\+))+")
_TRAILING = re.compile(r"(?<!\\)(?:\.\*\??)+\Z")

_CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)
_GROUP = re.compile(r"\((?:\?(?::|P<\w+>|(?P<look><?[=!])|[aimsu]*(?:-[ims]+)?(?P<end>[:)])))?")
_ESCAPE = re.compile(r"\\(?:(?P<place>[bBAZ])|[dDsSwWtnrfva]|[^0-9A-Za-z])", re.DOTALL)
_QUANTIFIER = re.compile(
    r"(?:[*+?]|\{(?!\})(?P<least>\d*)(?P<range>,(?P<most>\d*))?\})(?P<mode>[?+]?)")


class Pattern:
    """A regular expression that ignores case. Raises re.error. Any thread may search.

    `text`: the expression (str); `longest`: see above.
    """

    __slots__ = ("text", "longest", "_compiled")

    def __init__(self, text):
        if "|" not in text:
            text = _TRAILING.sub("", _LEADING.sub("", text, 1))
        self.text = text
        self._compiled = re.compile(text, re.IGNORECASE)
        self.longest = _longest(text, self._compiled.flags)

    def search(self, text):
        """Whether it occurs in a text of at most `longest` characters."""
        return self._compiled.search(text) is not None


class _Cost(NamedTuple):
    """The cost of matching an item at one place: `ways` * n ** `degree` paths of `steps` each.

    n is the length of the text. The item matches `narrowest` to `widest` characters.
    """
    ways: float
    degree: float
    steps: float
    narrowest: float
    widest: float


class _Unknown(Exception):
    """The scanner does not know the construct, or its cost has no limit."""


_PLACE = _Cost(1.0, 0, 1.0, 0, 0)
_CHARACTER = _Cost(1.0, 0, 1.0, 1, 1)


def _longest(text, flags):
    try:
        cost = _Scanner(text).whole()
    except _Unknown:
        return -1
    anchored = text.startswith(("^", r"\A")) and "|" not in text and not flags & re.MULTILINE
    degree = cost.degree + (not anchored)
    room = MOST_STEPS / (cost.ways * cost.steps)
    if room < 1 or degree > _MOST_DEGREE:
        return -1
    if not degree:
        return 10 ** 9
    # The repeats of one path end at ascending places, so there are C(n + degree, degree) paths.
    return int((room * math.factorial(degree)) ** (1.0 / degree)) - degree


class _Scanner:
    """Reads a pattern that `re.compile` has accepted."""

    def __init__(self, text):
        self._text = text
        self._at = 0
        self._depth = 0

    def whole(self):
        """The _Cost of the pattern. Raises _Unknown."""
        cost = self._alternatives()
        if self._at < len(self._text):
            raise _Unknown
        return cost

    def _take(self, expression):
        found = expression.match(self._text, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _next(self):
        return self._text[self._at:self._at + 1]

    def _alternatives(self):
        branches = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            branches.append(self._sequence())
        if len(branches) == 1:
            return branches[0]
        ways, degrees, steps, narrowest, widest = zip(*branches)
        return _Cost(sum(ways) + 1, max(degrees), sum(steps), min(narrowest), max(widest))

    def _sequence(self):
        ways, degree, steps, narrowest, widest = 1.0, 0, 1.0, 0, 0
        while self._next() not in ("", "|", ")"):
            item = self._item()
            quantifier = self._take(_QUANTIFIER)
            if quantifier is not None:
                item = _repeated(item, *_bounds(quantifier))
            ways, degree, steps = ways * item.ways, degree + item.degree, steps + item.steps
            narrowest, widest = narrowest + item.narrowest, widest + item.widest
        return _Cost(ways, degree, steps, narrowest, widest)

    def _item(self):
        character = self._next()
        if character == "(":
            return self._group()
        if character == "[":
            found = self._take(_CLASS)
            return _CHARACTER._replace(steps=float(len(found.group())))
        if character == "\\":
            found = self._take(_ESCAPE)
            if found is None:
                raise _Unknown
            return _PLACE if found.group("place") else _CHARACTER
        self._at += 1
        return _PLACE if character in "^$" else _CHARACTER

    def _group(self):
        begun = self._take(_GROUP)
        if self._next() == "?" and begun.group() == "(":
            raise _Unknown
        if begun.group("end") == ")":  # flags for the whole pattern
            return _PLACE
        self._depth += 1
        if self._depth > _MOST_GROUPS:
            raise _Unknown
        cost = self._alternatives()
        if self._next() != ")":
            raise _Unknown
        self._at += 1
        self._depth -= 1
        return cost._replace(narrowest=0, widest=0) if begun.group("look") else cost


def _bounds(quantifier):
    """A _QUANTIFIER -> (least, most) repeats."""
    if quantifier.group("mode") == "+":  # possessive
        raise _Unknown
    if quantifier.group()[0] != "{":
        return {"*": (0, UNBOUNDED), "+": (1, UNBOUNDED), "?": (0, 1)}[quantifier.group()[0]]
    least = int(quantifier.group("least") or 0)
    if quantifier.group("range") is None:
        return least, least
    return least, int(quantifier.group("most")) if quantifier.group("most") else UNBOUNDED


def _repeated(item, least, most):
    """The _Cost of `least` to `most` items. Raises _Unknown."""
    if least > _MOST_REPEATS or _MOST_REPEATS < most < UNBOUNDED:
        raise _Unknown
    narrowest, widest = item.narrowest * least, item.widest * most if item.widest else 0
    steps = 1 + item.steps * max(least, 1)
    if item.ways == 1 and not item.degree and item.narrowest == item.widest > 0:
        if most == UNBOUNDED:
            return _Cost(1.0, 1, steps, narrowest, widest)
        return _Cost(most - least + 1.0, 0, steps, narrowest, widest)
    if most == 1:
        return _Cost(item.ways + 1, item.degree, steps, narrowest, widest)
    if most == UNBOUNDED or most * math.log(item.ways + 1) > 100:
        raise _Unknown
    return _Cost((most - least + 1) * item.ways ** most, item.degree * most,
                 item.steps * max(most, 1), narrowest, widest)
