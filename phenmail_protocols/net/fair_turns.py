"""Turns for long work: of many connections that compute, about one does so at a time.

The interpreter runs one thread at a time. A thread that computes gives way only after the switch
interval (5 ms by default), and a short command gives way at each system call; beside n such
threads, it waits some n intervals each time. So long work pauses now and then, the longer the more
of it there is, and meanwhile all others get their replies.

A turn is only a time at which to go on; nobody holds anything. Work that exceeds its turn overlaps
with the next, and gets a longer turn the next time.
"""
import threading
import time
from contextlib import contextmanager
from time import monotonic

TURN = 0.008  # seconds of work
LONGEST = 0.1  # seconds: the longest turn, for work that cannot stop earlier
WAIT = 0.1  # seconds between two looks while waiting for another thread
PAUSE = 0.0001  # seconds between two turns

_THREAD = getattr(time, "CLOCK_THREAD_CPUTIME_ID", None)


def computed():
    """Seconds that this thread has computed. Where the system does not say, waiting counts too."""
    return monotonic() if _THREAD is None else time.clock_gettime(_THREAD)


class Turns:
    """Shared by the connections of a server. Any thread may call it."""

    def __init__(self, clock=monotonic, taken=lambda: None):
        """`taken()` is called for each turn, so that less urgent work can wait."""
        self._clock = clock
        self._taken = taken
        self._lock = threading.Lock()
        self._free = 0.0  # when the last turn that was given out ends
        self._last = None  # who has it

    def take(self, seconds=TURN, taker=None):
        """Take a turn for about `seconds` of work -> seconds until it begins.

        `taker`: a number; who had the last turn has finished it, and need not wait for its end.
        """
        with self._lock:
            now = self._clock()
            is_alone = taker is not None and taker == self._last
            begins = (now if is_alone else max(now, self._free)) + PAUSE
            self._free, self._last = begins + seconds, taker
        self._taken()
        return begins - now


class Turn:
    """The turns of one connection. Only its thread calls this.

    `ends`: the time (monotonic) at which the present turn ends.
    """
    __slots__ = ("ends", "_turns", "_computed")

    def __init__(self, turns):
        """`turns`: a Turns."""
        self._turns = turns
        self.begin()

    def begin(self):
        """Begin a turn now, for a thread that has waited."""
        self.ends = monotonic() + TURN
        self._computed = computed()

    def next(self):
        """Call this when the turn ends -> seconds that the next one needs: as many as the thread
        has computed in this one. None if it has mostly waited; then the turn goes on."""
        spent = computed() - self._computed
        if spent >= TURN:
            return min(spent, LONGEST)
        self.ends = monotonic() + TURN - spent
        return None

    def take(self, seconds):
        """Take a turn for about `seconds` of work -> the time at which to `begin` it."""
        return monotonic() + self._turns.take(seconds, id(self))


class OneEach:
    """Admits one thread of each user at a time, for work that takes much memory or time.

    `most`: users at once; None: any number. Any thread may call it.
    """

    def __init__(self, most=None):
        self._most = most
        self._users = set()
        self._left = threading.Condition()
        self._is_open = False

    def enter(self, user, look=lambda: None):
        """Wait until no other thread of the user is inside.

        `look` is called while it waits, and may raise to end that.
        """
        while not self._entered(user):
            look()

    def _entered(self, user):
        with self._left:
            if self._has_room(user) or self._left.wait(WAIT) and self._has_room(user):
                self._users.add(user)
                return True
            return self._is_open

    def _has_room(self, user):
        return user not in self._users and (self._most is None or len(self._users) < self._most)

    def leave(self, user):
        """End what `enter` began."""
        with self._left:
            self._users.discard(user)
            self._left.notify_all()

    @contextmanager
    def alone(self, user, look):
        """Context manager: `enter` and `leave`."""
        self.enter(user, look)
        try:
            yield
        finally:
            self.leave(user)

    def open(self):
        """Let nobody wait from now on, because the server stops."""
        with self._left:
            self._is_open = True
            self._left.notify_all()
