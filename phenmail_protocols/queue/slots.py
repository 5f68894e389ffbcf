"""Who may have a connection now: so many in all, so many to one destination, in turn, not all of them for the dead and the slow.

Pure: no thread, lock or clock; `tick` is a moment of a clock that never goes back, in seconds.

Destinations are trusted, unknown or doubtful.  A trusted one answered when it was last tried and may have any slot.  A doubtful
one failed when it was last tried, or has been at one message for long: these hold at most half of the slots.  Nobody knows of an
unknown one whether it will hang for minutes, so both together hold at most three quarters.  Mail for the living finds a slot.

What is handed over on this server (a user's program may run for minutes) has slots of its own, under the same rules (`Apart`):
other servers' mail never waits for it, nor it for theirs, nor one user's for what others' programs do.
"""
from collections import OrderedDict, deque

TRUSTED, UNKNOWN, DOUBTFUL = range(3)

LONG = 10.0      # seconds at one message: longer than nearly every attempt where somebody answers
SLICE = 5.0      # seconds with one destination, while others wait for a slot
REMEMBERED = 2000  # destinations that answered


class Slot:
    """A connection to one destination, or the right to make one.

    `identity`: the message that its thread works on; `courier`: the connection, or None; `since`: when it was given, `began`:
    when its present message was begun (ticks).
    """
    __slots__ = ("line", "identity", "courier", "since", "began")

    def __init__(self, line, identity, tick):
        self.line, self.identity, self.courier, self.since, self.began = line, identity, None, tick, tick


class Slots:
    """The slots in use, and the lines that wait for one. One thread at a time."""

    def __init__(self, connections, per_destination):
        self._connections, self._per_destination = connections, per_destination
        self._most = {TRUSTED: connections, UNKNOWN: max(1, connections * 3 // 4), DOUBTFUL: max(1, connections // 2)}
        self._turns = [deque(), deque(), deque()]  # of (number, line), by trust; true only where Line.turn is the number
        self._number = 0
        self._trusted = OrderedDict()  # names, the one that answered last at the end
        self._used = set()

    def __len__(self):
        """How many are in use."""
        return len(self._used)

    def __iter__(self):
        return iter(list(self._used))

    def trust(self, name):
        """A destination answered."""
        self._trusted[name] = None
        self._trusted.move_to_end(name)
        if len(self._trusted) > REMEMBERED:
            self._trusted.popitem(last=False)

    def queue(self, line):
        """A Line has something ready: it will be given a slot in its turn, unless it has all that it may have."""
        if line.ready and not line.turn and line.active < self._limit(line):
            self._number += 1
            line.turn = self._number
            self._turns[self._class(line)].append((line.turn, line))

    def choose(self, take, tick):
        """The Line whose turn it is gets a Slot with a message -> Slot, or None: nobody may have one now.  `take(line)` -> the next
        identity of a Line, or None."""
        while True:
            turn = self._next_turn(self._used, tick)
            if turn is None:
                return None
            number, line = turn.popleft()
            if self._turns[self._class(line)] is not turn:  # it fared well or badly since; it keeps its number
                self._turns[self._class(line)].appendleft((number, line))
                continue
            line.turn = 0
            identity = take(line) if line.active < self._limit(line) else None
            if identity is not None:
                slot = Slot(line, identity, tick)
                line.active += 1
                self._used.add(slot)
                self.queue(line)
                return slot

    def is_over(self, slot, tick):
        """Whether a Slot is to be given back: its destination went down and has another, or it was used for long enough while
        others wait that may have it."""
        if slot.line.active > self._limit(slot.line):
            return True
        return tick - slot.since >= SLICE and self._next_turn(self._used - {slot}, tick, slot.line) is not None

    def release(self, slot):
        """The Slot's thread is done with it. The destination had its turn, and is the last to have another."""
        self._used.discard(slot)
        slot.line.active -= 1
        slot.line.turn = 0
        self.queue(slot.line)

    def _limit(self, line):
        """A destination that is down is looked for by one."""
        return self._per_destination if line.down_since is None else 1

    def _class(self, line):
        if line.has_failed:
            return DOUBTFUL
        return TRUSTED if line.name in self._trusted else UNKNOWN

    def _next_turn(self, used, tick, but=None):
        """The deque whose first line (other than `but`) has waited longest among those that may have one slot more, or None."""
        if len(used) >= self._connections or not any(self._turns):
            return None
        counts = [0, 0, 0]
        for slot in used:
            counts[DOUBTFUL if tick - slot.began > LONG else self._class(slot.line)] += 1
        allowed = [self._turns[TRUSTED]]
        if counts[DOUBTFUL] + counts[UNKNOWN] < self._most[UNKNOWN]:
            allowed.append(self._turns[UNKNOWN])
        if counts[DOUBTFUL] < self._most[DOUBTFUL]:
            allowed.append(self._turns[DOUBTFUL])
        for turn in allowed:
            while turn and turn[0][0] != turn[0][1].turn:
                turn.popleft()
        waiting = [turn for turn in allowed if any(line.turn == number and line is not but for number, line in turn)]
        return min(waiting, key=lambda turn: turn[0][0]) if waiting else None


class Apart:
    """Slots of two kinds as one, which take nothing from each other; to be used as Slots are."""

    def __init__(self, slots, others, is_other):
        """`slots`, `others`: Slots; `is_other(name)`: whether a destination has one of the others."""
        self._both = slots, others
        self._is_other = is_other

    def _of(self, name):
        return self._both[1 if self._is_other(name) else 0]

    def __len__(self):
        return len(self._both[0]) + len(self._both[1])

    def __iter__(self):
        return iter([slot for slots in self._both for slot in slots])

    def trust(self, name):
        self._of(name).trust(name)

    def queue(self, line):
        self._of(line.name).queue(line)

    def choose(self, take, tick):
        for slots in self._both:
            slot = slots.choose(take, tick)
            if slot is not None:
                return slot
        return None

    def is_over(self, slot, tick):
        return self._of(slot.line.name).is_over(slot, tick)

    def release(self, slot):
        self._of(slot.line.name).release(slot)
