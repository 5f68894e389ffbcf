"""Regular expressions without backtracking: whether one occurs in a text, in time that grows with the text alone.

Takes the tree that Python's own parser makes, so what is meant is what `re` means; each single-character item is left to
`re` itself.  It says yes or no and knows no groups.  What is not regular (back references, looking around, possessive
repeats) raises NotRegular.

How: Thompson's construction, all states of the automaton at once, and the sets that occurred are remembered (a lazy DFA).
"""
import re

try:
    from re import (
        _parser as parser,  # where the parser lies since 3.11; nothing public gives the tree
    )
except ImportError:
    import sre_parse as parser

_MOST_STATES = 2000  # of an automaton: a{1000} has a thousand
_MOST_KEPT = 400  # steps that are remembered from one text to the next
_STEPS_BETWEEN_LOOKS = 64  # at the time

_CHARACTER, _SPLIT, _PLACE, _END = range(4)
# What stands before or behind a place: nothing, a line end, a letter or digit (of ASCII, of others), anything else.
_NOTHING, _NEWLINE, _ASCII_WORD, _OTHER_WORD, _OTHER = range(5)
_LAST_NEWLINE = "\n$"  # the line end at the end of a text, before which $ holds
_NO_MORE = ""
_CATEGORIES = {"CATEGORY_DIGIT": r"\d", "CATEGORY_NOT_DIGIT": r"\D", "CATEGORY_SPACE": r"\s", "CATEGORY_NOT_SPACE": r"\S",
               "CATEGORY_WORD": r"\w", "CATEGORY_NOT_WORD": r"\W"}


class NotRegular(ValueError):
    """The pattern has something that no automaton can do, or it would need too many states."""


class Automaton:
    """`pattern`: a regular expression; `flags`: those of its compiled form.  Raises NotRegular, RecursionError."""

    def __init__(self, pattern, flags):
        self._states = [(_END, None, None)]
        self._start = self._sequence(parser.parse(pattern, flags), flags, 0)
        self._tests = {}  # (class of a character, flags) -> {character: whether it fits}
        self._sets = {}
        self._kept = 0

    # Building: from the end to the beginning, each item knows the state that follows it

    def _add(self, kind, what, following):
        if len(self._states) >= _MOST_STATES:
            raise NotRegular("too many repeats")
        self._states.append((kind, what, following))
        return len(self._states) - 1

    def _sequence(self, items, flags, following):
        for name, argument in reversed([(str(operator), argument) for operator, argument in items]):
            following = self._item(name, argument, flags, following)
        return following

    def _item(self, name, argument, flags, following):
        if name in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
            return self._add(_CHARACTER, (_character_class(name, argument), _relevant(flags)), following)
        if name == "AT":
            return self._add(_PLACE, (str(argument), flags), following)
        if name == "BRANCH":
            return self._either([self._sequence(branch, flags, following) for branch in argument[1]])
        if name == "SUBPATTERN":
            _, added, removed, items = argument
            return self._sequence(items, _scoped(flags, added, removed), following)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            return self._repeat(argument, flags, following)
        raise NotRegular(name.lower().replace("_", " "))

    def _either(self, starts):
        state = starts[-1]
        for other in starts[-2::-1]:
            state = self._add(_SPLIT, other, state)
        return state

    def _repeat(self, argument, flags, following):
        least, most, items = argument
        if most is parser.MAXREPEAT or most == parser.MAXREPEAT:
            state = self._add(_SPLIT, None, following)
            self._states[state] = (_SPLIT, self._sequence(items, flags, state), following)
        else:
            state = following
            for _ in range(most - least):
                state = self._add(_SPLIT, self._sequence(items, flags, state), following)
        for _ in range(least):
            before = len(self._states)
            state = self._sequence(items, flags, state)
            if len(self._states) == before:
                break  # nothing, however often
        return state

    # Searching

    def search(self, text, look=None):
        """Whether the pattern occurs in a text.  `look()` is called now and then and may raise, which ends it."""
        current = self._set(frozenset(), _NOTHING)
        steps = 0
        last = len(text) - 1
        for position, character in enumerate(text):
            if character == "\n" and position == last:
                character = _LAST_NEWLINE
            following = current.following.get(character)
            if following is None:
                steps += 1
                if look is not None and steps % _STEPS_BETWEEN_LOOKS == 0:
                    look()
                following = self._step(current, character)
            if following is True:
                return True
            current = following
        following = current.following.get(_NO_MORE)
        return (self._step(current, _NO_MORE) if following is None else following) is True

    def _set(self, states, before):
        key = (states, before)
        found = self._sets.get(key)
        if found is None:
            found = self._sets[key] = _Set(states, before)
        return found

    def _step(self, current, character):
        """The set behind one more character, or True where the pattern has occurred; remembered."""
        after = _kind_of(character)
        reached = self._reached(current, character, after)
        if reached is not True:
            reached = self._set(reached, after)
        self._kept += 1
        if self._kept > _MOST_KEPT:
            # Other threads may be on their way through the old ones, which then live as long as these need them.
            self._kept, self._sets = 0, {}
            return reached
        current.following[character] = reached
        return reached

    def _reached(self, current, character, after):
        waiting, seen, reached = [self._start], set(current.states), set()
        waiting.extend(current.states)
        seen.add(self._start)
        while waiting:
            kind, what, following = self._states[waiting.pop()]
            if kind == _END:
                return True
            if kind == _CHARACTER:
                if after != _NOTHING and self._fits(what, character[0]):
                    reached.add(following)
                continue
            if kind == _PLACE and not _is_at(what, current.before, after, character):
                continue
            for state in (following, what) if kind == _SPLIT else (following,):
                if state not in seen:
                    seen.add(state)
                    waiting.append(state)
        return frozenset(reached)

    def _fits(self, test, character):
        known = self._tests.get(test)
        if known is None or len(known) > _MOST_KEPT:
            known = self._tests[test] = {}
        fits = known.get(character)
        if fits is None:
            fits = known[character] = re.match(test[0], character, test[1]) is not None
        return fits


class _Set:
    """States that the automaton is in at once, each about to read; `before`: the kind of what was read last."""

    __slots__ = ("states", "before", "following")

    def __init__(self, states, before):
        self.states = states
        self.before = before
        self.following = {}  # character -> _Set, or True: the pattern has occurred


def _relevant(flags):
    return flags & (re.IGNORECASE | re.DOTALL | re.ASCII)


def _scoped(flags, added, removed):
    """The flags inside of (?i-s:…)."""
    if added & (re.ASCII | re.UNICODE):
        flags &= ~(re.ASCII | re.UNICODE)
    return (flags | added) & ~removed


def _character_class(name, argument):
    """An item that takes one character, written so that `re` reads it again."""
    if name == "ANY":
        return "."
    if name in ("LITERAL", "NOT_LITERAL"):
        return "[%s\\U%08x]" % ("^" if name == "NOT_LITERAL" else "", argument)
    pieces = []
    for kind, value in argument:
        kind = str(kind)
        if kind == "NEGATE":
            pieces.append("^")
        elif kind == "LITERAL":
            pieces.append("\\U%08x" % value)
        elif kind == "RANGE":
            pieces.append("\\U%08x-\\U%08x" % tuple(value))
        elif kind == "CATEGORY" and str(value) in _CATEGORIES:
            pieces.append(_CATEGORIES[str(value)])
        else:
            raise NotRegular(kind.lower())
    return "[%s]" % "".join(pieces)


def _kind_of(character):
    if not character:
        return _NOTHING
    if character[0] == "\n":
        return _NEWLINE
    if character.isalnum() or character == "_":
        return _ASCII_WORD if character < "\x80" else _OTHER_WORD
    return _OTHER


def _is_at(place, before, after, character):
    """Whether a place between two characters is of a kind: ^, $, \\b and the like."""
    name, flags = place
    lines = flags & re.MULTILINE
    if name in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
        return before == _NOTHING or (name == "AT_BEGINNING" and bool(lines) and before == _NEWLINE)
    if name in ("AT_END", "AT_END_STRING"):
        return after == _NOTHING or (name == "AT_END" and (
            character == _LAST_NEWLINE or (bool(lines) and after == _NEWLINE)))
    if name in ("AT_BOUNDARY", "AT_NON_BOUNDARY"):
        words = (_ASCII_WORD,) if flags & re.ASCII else (_ASCII_WORD, _OTHER_WORD)
        return ((before in words) != (after in words)) == (name == "AT_BOUNDARY")
    raise NotRegular(name.lower())
