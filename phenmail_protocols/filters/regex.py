"""Users' regular expressions, with a bound on the time that each takes.

`re` can't be interrupted, holds the interpreter all the while, and takes for ever with some patterns and texts
(`(a+)+$`): one user's filter would stop the whole server.  So before it is asked, the work that it might have is
estimated from the pattern's tree and the text's length:

- little (nearly always: subjects are short): `re` searches;
- much: an automaton searches, which never goes back, and which may be stopped at any time;
- much, and the pattern is not regular (back references, looking around): `re` searches in the beginning of the text,
  as much of it as is safe; where that would be next to nothing, the pattern is refused from the start.

The bound: about 0.05 s of `re` at a time; the automaton looks at the caller's clock.
"""
import re

from .automaton import Automaton, NotRegular, parser

_MOST_WORK = 2e6  # states that `re` may have to try; some 20 ns each
_LEAST_TEXT = 100  # characters of a text that can be searched, or the pattern is refused
_ENDLESS = float("inf")
_TOO_OFTEN = 1000  # repeats of a fixed number


class PatternRefused(ValueError):
    """It could take for ever; str() says what it is about the pattern."""


class Pattern:
    """One regular expression, which `re.compile` takes; upper and lower case are the same.  Raises PatternRefused.

    Any thread may search.
    """

    __slots__ = ("text", "_compiled", "_effort", "_automaton", "_longest")

    def __init__(self, text):
        self.text = text
        try:
            self._compiled = re.compile(text, re.IGNORECASE)
            self._effort = _Effort(text, self._compiled.flags)
        except (re.error, RecursionError, OverflowError, MemoryError):
            raise PatternRefused("it is no regular expression, or too complex")
        self._longest = self._effort.longest()
        self._automaton = None
        if self._longest < _LEAST_TEXT and self._machine() is None:
            self._check()

    def _check(self, why=""):
        if self._longest < _LEAST_TEXT:
            raise PatternRefused("it could take for ever, with repeats inside or after each other together with "
                                 + (why or "back references, or looking ahead or behind"))

    def search(self, text, look=None):
        """Whether it occurs in a text.  `look()` is called now and then where it takes long, and may raise."""
        if len(text) <= self._longest:
            return self._compiled.search(text) is not None
        automaton = self._machine()
        if automaton is None:
            return self._compiled.search(text[:self._longest]) is not None
        return automaton.search(text, look)

    def _machine(self):
        if self._automaton is None and self._effort.regular:
            try:
                self._automaton = Automaton(self.text, self._compiled.flags)
            except (NotRegular, RecursionError) as error:
                self._effort.regular = False
                self._check(str(error))
        return self._automaton


class _Effort:
    """How much `re` may have to try: at most `ways` * n ** `degree` paths through the pattern, each of `size` steps, from each
    of a text's n beginnings (from one, where `anchored`)."""

    def __init__(self, pattern, flags):
        self.regular = True
        self._groups = {}
        tree = parser.parse(pattern, flags)
        self.ways, self.degree, self.size = self._sequence(tree)
        self.anchored = _is_anchored(tree, flags)

    def longest(self):
        """How many characters a text may have."""
        if self.ways == _ENDLESS or self.degree == _ENDLESS:
            return 0
        degree = self.degree + (not self.anchored)
        room = _MOST_WORK / (self.ways * self.size)
        if room < 1:
            return 0
        return int(min(room, 1e9) if not degree else min(room ** (1.0 / degree), 1e9))

    def _sequence(self, items):
        ways, degree, size = 1.0, 0, 1.0
        for operator, argument in items:
            more = self._item(str(operator), argument)
            ways, degree, size = ways * more[0], degree + more[1], size + more[2]
        return ways, degree, size

    def _item(self, name, argument):
        if name in ("LITERAL", "NOT_LITERAL", "ANY", "AT"):
            return 1.0, 0, 1.0
        if name == "IN":
            return 1.0, 0, 1.0 + len(argument)
        if name == "BRANCH":
            return self._either(argument[1])
        if name == "SUBPATTERN":
            if argument[0] is not None:
                self._groups[argument[0]] = _widest(argument[-1])
            return self._sequence(argument[-1])
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(*argument)
        self.regular = False
        return self._irregular(name, argument)

    def _irregular(self, name, argument):
        if name in ("ASSERT", "ASSERT_NOT"):
            return self._sequence(argument[1])
        if name == "ATOMIC_GROUP":
            return self._sequence(argument)
        if name == "POSSESSIVE_REPEAT":
            return self._repeat(*argument)
        if name == "GROUPREF":
            width = self._groups.get(argument, _ENDLESS)
            return (1.0, 0, 1.0 + width) if width <= _TOO_OFTEN else (1.0, 1, 1.0)
        if name == "GROUPREF_EXISTS":
            return self._either([part for part in argument[1:] if part is not None])
        return _ENDLESS, _ENDLESS, 1.0  # something that came after this was written

    def _either(self, branches):
        found = [self._sequence(branch) for branch in branches]
        # A branch may be nothing, and then it is one way more.
        return (sum([each[0] for each in found]) + 1.0, max([each[1] for each in found]),
                sum([each[2] for each in found]))

    def _repeat(self, least, most, items):
        ways, degree, size = self._sequence(items)
        endless = most == parser.MAXREPEAT
        if least > _TOO_OFTEN or (not endless and most > _TOO_OFTEN):
            return _ENDLESS, _ENDLESS, size
        size = 1.0 + size * max(least, 1)
        if ways == 1.0 and not degree and _narrowest(items) == _widest(items) > 0:
            return (1.0, 1, size) if endless else (float(most - least + 1), 0, size)
        if most == 1:
            return ways + (least == 0), degree, size
        if endless or (ways > 1.0 and most * len(repr(ways)) > 300):
            return _ENDLESS, _ENDLESS, size
        return (most - least + 1) * ways ** most, degree * most, size * most


def _narrowest(items):
    return items.getwidth()[0]


def _widest(items):
    return items.getwidth()[1]


def _is_anchored(tree, flags):
    return (len(tree) > 0 and str(tree[0][0]) == "AT"
            and (str(tree[0][1]) == "AT_BEGINNING_STRING"
                 or (str(tree[0][1]) == "AT_BEGINNING" and not flags & re.MULTILINE)))
