"""What to send next: the queue as the worker holds it in memory.

An entry is a message at one destination; all its recipients there get it together. An entry is
only a reason to look at the message: another process may have changed it, so each attempt reads its
state again. Only identities and times are held, about 250 octets a message and 500 a destination.
A crash loses nothing, because the next start reads the spool again.

States of an entry, and what moves it:

    later    not due yet; it is in the heap, ordered by time
                 -> ready   `promote`, when its time has come
                 -> ready   `answered`, when its destination is back
    ready    due; it is in its destination's list until that gets a slot
                 -> taken   `choose` for a new slot, `take` for one that goes on
    taken    a thread works on it
                 -> later, ready or gone   `finish`, by what the attempt left to do

`place` sets the entries of a message that was read from the spool: later, ready or gone. It leaves
taken entries alone; their `finish` then tells the worker to read the message again.

A slot is a connection to one destination, or the right to make one. Who gets one:

1. The number of slots is limited, in all and for one destination. Destinations stand in line:
   first come, first served. One that gives a slot back goes to the end of the line.
2. A destination is trusted (it answered when it was last tried), doubtful (it failed), or unknown.
   A slot that has worked on one message for longer than `LONG` counts as doubtful.
3. Doubtful destinations have at most half of the slots; doubtful and unknown ones together have at
   most three quarters. So mail for servers that answer finds a slot, however many others hang.
4. A destination that is down has one slot: one connection can find out whether it is back.
5. A slot is given back after `SLICE` if another destination may have it.
6. Delivery on this server has its own slots, under the same rules, because a user's program may run
   for minutes. Neither kind waits for the other.

One thread at a time. `now` is in epoch seconds; `tick` is in seconds of a clock that never goes
back.
"""
import heapq
from collections import OrderedDict

LONG = 10.0  # seconds at one message; nearly every attempt at a server that answers takes less
SLICE = 5.0  # seconds with one destination while others wait
REMEMBERED = 2000  # destinations that answered

TRUSTED, UNKNOWN, DOUBTFUL = range(3)

_READY = 0.0  # in Destination.waits, in place of a time
_STALE = 1000  # heap items out of date that are not worth a sweep


class Destination:
    """The entries that wait for one destination, and how its last attempts ended.

    `waits`: {identity: time, or _READY}. `ready`: identities in order (a list, because an empty
    deque takes 600 octets). `active`: its slots. `line`: the one of its pool where it stands, or
    None. `reply`: what the last attempt brought if that was no final answer, else None.
    `down_since`: no connection could be made since then, or None. `refused_at`: when that was last
    found, or None once the next message may try. `back_since`: when it last came back.
    """
    __slots__ = ("name", "pool", "waits", "ready", "active", "line", "reply", "down_since",
                 "refused_at", "back_since")

    def __init__(self, name, pool):
        self.name, self.pool = name, pool
        self.waits, self.ready = {}, []
        self.active = 0
        self.line = self.reply = self.down_since = self.refused_at = None
        self.back_since = 0.0

    def refusal(self, now, window):
        """The Reply for a message that comes within `window` seconds after no connection could be
        made, or None: try it."""
        if self.refused_at is None or not 0 <= now - self.refused_at < window:
            return None
        return self.reply

    def fail(self, reply, now, is_down):
        """An attempt ended with a temporary Reply -> whether the destination is newly down.

        `is_down`: no connection could be made, so no message was tried.
        """
        self.reply = reply
        self.refused_at = now if is_down else None
        is_news = is_down and self.down_since is None
        if is_news:
            self.down_since = now
        return is_news

    def answer(self, now):
        """The destination gave a final answer -> for how many seconds it had been down, or None."""
        self.reply = self.refused_at = None
        if self.down_since is None:
            return None
        seconds, self.down_since, self.back_since = max(0.0, now - self.down_since), None, now
        return seconds


class Slot:
    """A connection to one destination, or the right to make one.

    `identity`: the message that its thread works on; `courier`: the connection, or None; `since`:
    when it was given; `began`: when work on its present message began (ticks).
    """
    __slots__ = ("destination", "identity", "courier", "since", "began")

    def __init__(self, destination, identity, tick):
        self.destination, self.identity, self.courier = destination, identity, None
        self.since = self.began = tick


class _Pool:
    """A number of slots, and the destinations in line for one.

    `most`: rule 3, the slots for destinations that are at most so trusted. `lines`: by trust,
    {Destination: the number that it drew}, lowest number first.
    """
    __slots__ = ("most", "lines", "used")

    def __init__(self, slots):
        self.most = (slots, max(1, slots * 3 // 4), max(1, slots // 2))
        self.lines = (OrderedDict(), OrderedDict(), OrderedDict())
        self.used = set()


class Schedule:
    """All entries and all slots of a queue."""

    def __init__(self, connections=20, per_destination=2, is_here=lambda name: False):
        """`connections`: slots for other servers; `is_here(name)`: whether a destination is this
        server, for which there are half as many."""
        self._per_destination = per_destination
        self._is_here = is_here
        self._elsewhere, self._here = _Pool(connections), _Pool(max(1, connections // 2))
        self._numbers = 0  # that destinations drew so far
        self._trusted = OrderedDict()  # names, the one that answered last at the end
        self._destinations = {}  # name -> Destination; only those with an entry or a slot
        self._messages = {}  # identity -> names of the destinations where it has an entry
        self._taken = {}  # (identity, name) -> whether the message was placed anew meanwhile
        self._later = []  # heap of (time, identity, name); out of date where `waits` says otherwise
        self._count = 0  # entries that are later or ready

    def __len__(self):
        """How many messages there are."""
        return len(self._messages)

    def destinations(self):
        return list(self._destinations.values())

    def slots(self):
        """The slots in use."""
        return list(self._elsewhere.used | self._here.used)

    # Entries.

    def place(self, identity, due, now):
        """Set the entries of a message: `due` is {destination: time of the next attempt}, {} for a
        message that is gone or held."""
        names = list(due)
        for name in self._messages.get(identity, ()):
            if name in due:
                continue
            if (identity, name) in self._taken:
                self._taken[identity, name] = True
                names.append(name)
            else:
                destination = self._destinations[name]
                del destination.waits[identity]
                self._count -= 1
                self._prune(destination)
        for name, when in due.items():
            self._put(identity, name, when, now)
        self._note(identity, names)

    def take(self, destination):
        """The next message that is ready -> its identity, now taken; or None."""
        while destination.ready:
            identity = destination.ready.pop(0)
            if destination.waits.get(identity) == _READY:  # else it was put off, or taken already
                del destination.waits[identity]
                self._count -= 1
                self._taken[identity, destination.name] = False
                return identity
        return None

    def finish(self, destination, identity, due, now):
        """An attempt ended -> whether the message was placed meanwhile, so must be read again.

        `due`: as for `place`, but only of the destinations that the attempt knows about. If its
        own is missing, nothing is left to do there.
        """
        again = self._taken.pop((identity, destination.name), False)
        names = [name for name in self._messages.get(identity, ()) if name != destination.name]
        for name, when in due.items():
            self._put(identity, name, when, now)
        self._note(identity, names + [name for name in due if name not in names])
        self._prune(destination)
        return again

    def promote(self, now):
        """Make ready what is due."""
        while self._later and self._later[0][0] <= now:
            when, identity, name = heapq.heappop(self._later)
            destination = self._destinations.get(name)
            if destination is not None and destination.waits.get(identity) == when:
                self._make_ready(destination, identity)

    def next_time(self):
        """The time of the next entry that is not ready yet, or None. It may be out of date."""
        return self._later[0][0] if self._later else None

    def _put(self, identity, name, when, now):
        if (identity, name) in self._taken:
            self._taken[identity, name] = True
            return
        destination = self._destination(name)
        old = destination.waits.get(identity)
        self._count += old is None
        if when <= now:
            if old != _READY:
                self._make_ready(destination, identity)
        elif old != when:
            destination.waits[identity] = when
            heapq.heappush(self._later, (when, identity, destination.name))
            self._sweep()

    def _make_ready(self, destination, identity):
        destination.waits[identity] = _READY
        destination.ready.append(identity)
        self._line_up(destination)

    def _note(self, identity, names):
        """Remember where a message has entries."""
        if names:  # the names of the Destinations, which messages share
            self._messages[identity] = tuple(self._destination(name).name for name in names)
        else:
            self._messages.pop(identity, None)

    def _destination(self, name):
        destination = self._destinations.get(name)
        if destination is None:
            pool = self._here if self._is_here(name) else self._elsewhere
            destination = self._destinations[name] = Destination(name, pool)
        return destination

    def _prune(self, destination):
        """Forget a destination that has neither entries nor slots."""
        if not destination.waits and not destination.active:
            self._destinations.pop(destination.name, None)

    def _sweep(self):
        """Rebuild the heap when most of it is out of date."""
        if len(self._later) > 2 * self._count + _STALE:
            self._later = [(when, identity, each.name) for each in self._destinations.values()
                           for identity, when in each.waits.items() if when != _READY]
            heapq.heapify(self._later)

    # Slots.

    def trust(self, name):
        """A destination answered."""
        self._trusted[name] = None
        self._trusted.move_to_end(name)
        if len(self._trusted) > REMEMBERED:
            self._trusted.popitem(last=False)

    def answered(self, destination, now):
        """A destination gave a final answer -> for how many seconds it had been down, or None.

        If it is back, all its entries become ready.
        """
        self.trust(destination.name)
        seconds = destination.answer(now)
        if seconds is not None:
            for identity in [each for each, when in destination.waits.items() if when != _READY]:
                self._make_ready(destination, identity)
            self._sweep()
            self._line_up(destination)
        return seconds

    def choose(self, tick):
        """Give a Slot and a message to the destination whose turn it is -> Slot, or None."""
        for pool in (self._elsewhere, self._here):
            slot = self._choose(pool, tick)
            if slot is not None:
                return slot
        return None

    def is_over(self, slot, tick):
        """Whether a Slot is to be given back, by rule 4 or 5."""
        destination = slot.destination
        if destination.active > self._limit(destination):
            return True
        pool = destination.pool
        return tick - slot.since >= SLICE and self._next_line(
            pool, pool.used - {slot}, tick, destination) is not None

    def release(self, slot):
        """The Slot's thread is done with it."""
        destination = slot.destination
        destination.pool.used.discard(slot)
        destination.active -= 1
        if destination.line is not None:
            del destination.line[destination]
            destination.line = None
        self._line_up(destination)
        self._prune(destination)

    def _limit(self, destination):
        return self._per_destination if destination.down_since is None else 1

    def _trust_of(self, destination):
        if destination.reply is not None:
            return DOUBTFUL
        return TRUSTED if destination.name in self._trusted else UNKNOWN

    def _line_up(self, destination):
        """Put a destination in line for a slot, if it can use one."""
        if (destination.ready and destination.line is None
                and destination.active < self._limit(destination)):
            self._numbers += 1
            destination.line = destination.pool.lines[self._trust_of(destination)]
            destination.line[destination] = self._numbers

    def _choose(self, pool, tick):
        while True:
            line = self._next_line(pool, pool.used, tick)
            if line is None:
                return None
            destination, number = line.popitem(last=False)
            destination.line = pool.lines[self._trust_of(destination)]
            if destination.line is not line:  # its trust changed meanwhile: it keeps its number
                destination.line[destination] = number
                destination.line.move_to_end(destination, last=False)
                continue
            destination.line = None
            if destination.active < self._limit(destination):
                identity = self.take(destination)
                if identity is not None:
                    slot = Slot(destination, identity, tick)
                    destination.active += 1
                    pool.used.add(slot)
                    self._line_up(destination)
                    return slot

    def _next_line(self, pool, used, tick, but=None):
        """The line of `pool` whose first destination has waited longest among those that may have
        a slot beside the `used` ones; `but`: a Destination that does not count. Or None."""
        if not any(pool.lines):
            return None
        counts = [0, 0, 0]
        for slot in used:
            is_slow = tick - slot.began > LONG
            counts[DOUBTFUL if is_slow else self._trust_of(slot.destination)] += 1
        waiting = []
        for trust, line in enumerate(pool.lines):
            if sum(counts[trust:]) >= pool.most[trust]:
                break  # and the less trusted may not have one either
            if any(each is not but for each in line):
                waiting.append(line)
        return min(waiting, key=lambda line: next(iter(line.values())), default=None)
