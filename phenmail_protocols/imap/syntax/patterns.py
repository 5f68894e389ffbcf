"""Patterns of mailbox names in LIST and LSUB (RFC 3501 6.3.8): "*" matches anything, "%" anything
without the separator.

Pure. All patterns of a command form one automaton, whose set of current places is the bits of one
number. It reads a name once, character by character, and never goes back, so the time for a name
depends on its length and not on how the wildcards are arranged.
"""
import re

from ...store.model import INBOX, SEPARATOR

#: The longest mailbox name. A pattern with more characters beside its wildcards matches nothing.
NAME_CHARACTERS = 255

_WILDCARDS = re.compile(r"[*%]{2,}")


class Patterns:
    """`fits(name)`: whether any of `patterns` matches the whole name.

    Bit n is the place before character n of the patterns, which are laid end to end with one more
    place behind each.

    _start, _end       the first and the last place of each pattern
    _before            {character: the places before it}
    _any, _level       the places before "*" and before "%"
    _wild              both: a wildcard may stay at its place, or be passed without reading
    _sure              the places before a "*" that ends its pattern: any rest of a name matches
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

    def fits(self, name):
        # INBOX in any case is INBOX, also as the parent of other mailboxes (RFC 3501 5.1).
        folded = len(INBOX) if name.partition(SEPARATOR)[0] == INBOX else 0
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
