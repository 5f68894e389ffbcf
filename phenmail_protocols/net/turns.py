"""Turns at long work: of many connections that compute, about one does so at a time.

The interpreter runs one thread at a time. A thread that computes gives way only after the switch
interval (5 ms by default), and a short command gives way at each system call, so beside n such
threads it waits some n intervals at each of them. So who computes for long pauses now and then, and
so much longer the more there are of its kind: meanwhile all others get their answers.

Nobody holds anything during its turn, which is only a time at which to go on: who keeps its turn
too long overlaps with the next, and gets a longer one the next time.
"""
import threading
import time
from contextlib import contextmanager
from time import monotonic

TURN = 0.008    # seconds of work
LONGEST = 0.1   # seconds of work of which a part takes longer than a turn
WAIT = 0.1      # seconds between two looks of who waits for another thread
PAUSE = 0.0005  # seconds between two turns, which are nobody's

_THREAD = getattr(time, "CLOCK_THREAD_CPUTIME_ID", None)


def computed():
    """Seconds that this thread has computed; where the system does not say, its waiting counts."""
    return monotonic() if _THREAD is None else time.clock_gettime(_THREAD)


class Turns(object):
    """Shared by the connections of a server; any thread may call it."""

    def __init__(self, clock=monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._free = 0.0  # when the last turn that was given out ends

    def take(self, seconds=TURN):
        """Seconds until the caller's turn, for about `seconds` of work; later ones come behind."""
        with self._lock:
            now = self._clock()
            begins = max(now, self._free) + PAUSE
            self._free = begins + seconds
        return begins - now


class OneEach(object):
    """For work that takes much memory or time: one thread of each user does it at a time, and of
    `most` users at once (None: of any number). Any thread may call it."""

    def __init__(self, most=None):
        self._most = most
        self._users = set()
        self._left = threading.Condition()
        self._is_open = False

    def enter(self, user, look=lambda: None):
        """Returns when the user has nobody else inside. `look` is called while it waits and may
        raise to end that."""
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
        """Gives the place back."""
        with self._left:
            self._users.discard(user)
            self._left.notify_all()

    @contextmanager
    def alone(self, user, look):
        """`enter` and `leave` around a block."""
        self.enter(user, look)
        try:
            yield
        finally:
            self.leave(user)

    def open(self):
        """From now on nobody waits: the server stops."""
        with self._left:
            self._is_open = True
            self._left.notify_all()
