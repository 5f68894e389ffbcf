"""Patterns of mailbox names, as LIST and LSUB have them: "*" is anything, "%" anything without the
separator (RFC 3501 6.3.8).

Pure. All patterns of a command are followed through a name at once, as bits of one number, a
character of the name at a time: the time for a name grows with its length, whatever the patterns
are, and nothing is ever tried again.
"""
import re

from ..store.model import INBOX, SEPARATOR

#: No mailbox has a name of more characters, so that no pattern needs more of its own.
NAME_CHARACTERS = 255

_WILDCARDS = re.compile(r"[*%]{2,}")


class Patterns:
    """`fits(name)`: whether any of `patterns` matches the whole name."""

    def __init__(self, patterns):
        self._automaton = _Automaton(patterns)

    def fits(self, name):
        # INBOX in any case is INBOX, also above other names (RFC 3501 5.1).
        is_inbox = name.partition(SEPARATOR)[0] == INBOX
        return self._automaton.fits(name, len(INBOX) if is_inbox else 0)


class _Automaton:
    """Bit n stands for a place between two characters of a pattern; the patterns lie one behind the
    other.

    `_any`, `_level`: the places before "*" and "%", which stay where they are; `_wild`: both, which
    may be passed at once. `_before`: {character: the places before it}; `_sure`: those before a "*"
    at the end, which fit whatever follows.
    """

    def __init__(self, patterns):
        self._start = self._end = self._any = self._level = self._sure = 0
        self._before = {}
        place = 0
        for pattern in {_WILDCARDS.sub(_one_wildcard, pattern) for pattern in patterns}:
            if len(pattern) - pattern.count("*") - pattern.count("%") > NAME_CHARACTERS:
                continue
            self._start |= 1 << place
            for character in pattern:
                self._add(character, 1 << place)
                place += 1
            self._end |= 1 << place
            place += 1
            if pattern.endswith("*"):
                self._sure |= self._end >> 1 & self._any
        self._wild = self._any | self._level
        self._start |= (self._start & self._wild) << 1

    def _add(self, character, bit):
        if character == "*":
            self._any |= bit
        elif character == "%":
            self._level |= bit
        else:
            self._before[character] = self._before.get(character, 0) | bit

    def fits(self, name, folded):
        """`folded`: so many characters at the beginning, capitals, match in either case."""
        places, wild, before = self._start, self._wild, self._before
        for number, character in enumerate(name):
            if places & self._sure:
                return True
            marks = before.get(character, 0)
            if number < folded:
                marks |= before.get(character.lower(), 0)
            stays = self._any if character == SEPARATOR else wild
            places = places & stays | (places & marks) << 1
            if not places:
                return False
            places |= (places & wild) << 1
        return bool(places & self._end)


def _one_wildcard(run):
    return "*" if "*" in run.group() else "%"
