"""Who waits for which destination, and until when: the queue as the worker holds it in memory.

Pure: no thread, lock, file or clock; the moment is passed in.  It holds names and times only, about 250 bytes a message and 500 a
destination; what a message is, `queue.spool` knows.  It may be wrong about a message (another process changed it): an entry is a
reason to look, not a promise that there is something to do.

An entry is a message at a destination.  It is later (in the heap), ready (in its line) or taken (somebody works on it).
"""
import heapq

_READY = 0.0     # what stands in Line.waits in the place of a moment
_GARBAGE = 1000  # heap items that mean nothing any more and are left alone


class Line:
    """What waits for one destination, and how it fared there.

    `waits`: {identity: moment, or _READY}; `ready`: identities, or None (a deque would cost 600 bytes a destination, and taking
    the first of 10 000 costs 3 microseconds); `active`: connections.
    `has_failed`: the last attempt brought no final answer.  `down_since`: the destination could not be had from then on, or None;
    `refused_at`: when that was last found, None when the next message is to find out.  `back_since`: the moment when it was had
    again after that.  `reply`: the last failure's.  `turn`: belongs to `queue.slots`.
    """
    __slots__ = ("name", "alone", "waits", "ready", "active", "turn", "has_failed", "down_since", "refused_at", "back_since",
                 "reply")

    def __init__(self, name):
        self.name = name
        self.alone = (name,)
        self.waits = {}
        self.ready = None
        self.active = self.turn = 0
        self.has_failed = False
        self.down_since = self.refused_at = self.reply = None
        self.back_since = 0.0

    def refusal(self, now, window):
        """The Reply for whoever comes within `window` seconds after the destination could not be had, or None: try it."""
        if self.refused_at is None or not 0 <= now - self.refused_at < window:
            return None
        return self.reply

    def fail(self, reply, now, is_down):
        """An attempt ended with a temporary Reply. `is_down`: no message was tried -> whether that is news."""
        self.has_failed, self.reply = True, reply
        self.refused_at = now if is_down else None
        is_news = is_down and self.down_since is None
        if is_news:
            self.down_since = now
        return is_news

    def answer(self, now):
        """The destination gave a final answer -> seconds for which it had been down, or None."""
        self.has_failed, self.reply, self.refused_at = False, None, None
        if self.down_since is None:
            return None
        seconds, self.down_since, self.back_since = max(0.0, now - self.down_since), None, now
        return seconds


class Agenda:
    """Entries, by message and by destination. One thread at a time."""

    def __init__(self, told):
        """`told(line)` is called when a Line has something ready."""
        self._told = told
        self._lines = {}   # destination -> Line
        self._places = {}  # identity -> tuple of destinations
        self._taken = {}   # (identity, destination) -> whether to look at the message again afterwards
        self._later = []   # heap of (moment, identity, destination); true only where Line.waits says the same
        self._count = 0    # entries in Line.waits

    def __len__(self):
        """How many messages there are."""
        return len(self._places)

    def lines(self):
        return list(self._lines.values())

    def place(self, identity, dues, now):
        """All that is known of a message: `dues` is {destination: moment from which on it is to be tried}; {}: nothing waits."""
        kept = ()
        for name in self._places.get(identity, ()):
            if name not in dues:
                if (identity, name) in self._taken:
                    self._taken[identity, name] = True
                    kept += (name,)
                else:
                    self._remove(identity, name)
        for name, when in dues.items():
            self._put(identity, name, when, now)
        self._settle(identity, kept + tuple(dues))

    def take(self, line):
        """The next message that is ready at a Line -> its identity, now taken; or None."""
        while line.ready:
            identity = line.ready.pop(0)
            if line.waits.get(identity) == _READY:  # otherwise it was put off, or taken already
                del line.waits[identity]
                self._count -= 1
                self._taken[identity, line.name] = False
                return identity
        line.ready = None
        return None

    def finish(self, line, identity, dues, now):
        """A taken message is no longer worked on; `dues` as for `place`, but only of destinations that there is something to say
        of. -> whether the message is to be looked at again, for it was placed meanwhile."""
        again = self._taken.pop((identity, line.name), False)
        if line.name not in dues:
            self._settle(identity, [name for name in self._places.get(identity, ()) if name != line.name])
            self.prune(line)
        for name, when in dues.items():
            self._put(identity, name, when, now)
        places = self._places.get(identity, ())
        new = [name for name in dues if name not in places]
        if new:
            self._settle(identity, places + tuple(new))
        return again

    def promote(self, now):
        """What is due becomes ready."""
        while self._later and self._later[0][0] <= now:
            when, identity, name = heapq.heappop(self._later)
            line = self._lines.get(name)
            if line is not None and line.waits.get(identity) == when:
                self._make_ready(line, identity)

    def hurry(self, line):
        """All that waits for a destination becomes ready."""
        for identity in [identity for identity, when in line.waits.items() if when != _READY]:
            self._make_ready(line, identity)
        self._sweep()

    def next_moment(self):
        """The moment of the next entry that is not ready yet (it may mean nothing any more), or None."""
        return self._later[0][0] if self._later else None

    def prune(self, line):
        """Nothing is remembered of a destination that nobody waits for."""
        if not line.waits and not line.active and self._lines.get(line.name) is line:
            del self._lines[line.name]

    def _line(self, name):
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = Line(name)
        return line

    def _put(self, identity, name, when, now):
        """One entry gets its moment."""
        if (identity, name) in self._taken:
            self._taken[identity, name] = True
            return
        line = self._line(name)
        old = line.waits.get(identity)
        if when <= now:
            if old != _READY:
                self._count += old is None
                self._make_ready(line, identity)
        elif old != when:
            self._count += old is None
            line.waits[identity] = when
            heapq.heappush(self._later, (when, identity, line.name))
            self._sweep()

    def _make_ready(self, line, identity):
        line.waits[identity] = _READY
        if line.ready is None:
            line.ready = []
        line.ready.append(identity)
        self._told(line)

    def _remove(self, identity, name):
        line = self._lines.get(name)
        if line is not None and line.waits.pop(identity, None) is not None:
            self._count -= 1
            self.prune(line)

    def _settle(self, identity, names):
        """Write down the destinations of a message; those with the same single one share the tuple."""
        if not names:
            self._places.pop(identity, None)
        elif len(names) == 1:
            self._places[identity] = self._line(names[0]).alone
        else:
            self._places[identity] = tuple(self._line(name).name for name in names)

    def _sweep(self):
        """The heap without its garbage, when that is most of it."""
        if len(self._later) > 2 * self._count + _GARBAGE:
            self._later = [(when, identity, line.name) for line in self._lines.values()
                           for identity, when in line.waits.items() if when != _READY]
            heapq.heapify(self._later)
