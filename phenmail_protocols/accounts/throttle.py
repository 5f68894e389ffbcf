"""How long a client that guesses passphrases has to wait.

1. A login *from an address* that failed often (IPv4; an IPv6 /64, and with a higher limit its /48)
   is refused without looking at the passphrase, for 1, 2, 4 … 300 seconds. Each attempt that is
   admitted starts the next wait.
2. A login *as a user* who is guessed at from many addresses is delayed by at most 8 seconds. It
   is never refused, so nobody can lock a user out from elsewhere.
3. A pair of address and user that once logged in is exempt from both; only its own failures
   count. So neither a guesser elsewhere nor a neighbour behind the same router gets in its way.
4. The same wrong passphrase again counts once: the telephone may not know the new one yet.
5. Failures are forgotten, one each 300 seconds, and all tables are bounded.
6. An attempt counts from its admission until it ends. Only as many attempts run at once as would
   be admitted if all of them failed; the others wait for one to end. So parallel guesses gain
   nothing, and neighbours with the right passphrase get in one after the other.
7. Attempts with the same passphrase for the same user from the same address are one guess: the
   programs of one user do not wait for each other.

Pure except for the clock and the waiting.
"""

import socket
import threading
import time
from typing import Callable, Hashable, List, Optional, Tuple, Union

from ..net.address import normalised
from .expiring import ExpiringDict

# Failures before the first wait or delay, and times in seconds.
ADDRESS_FREE = 10
NETWORK_FREE = 100          # of an IPv6 /48
PAIR_FREE = 10
USER_FREE = 20
LONGEST_WAIT = 300.0
LONGEST_HOLD = 8.0
FORGET_ONE = 300.0          # until one failure is forgotten
REPEATED = 3600.0           # how long the same wrong passphrase counts once
PATIENCE = 10.0             # to wait for other attempts to end
CAPACITY = 4096

Peer = Union[None, str, Tuple]


class Attempt:
    """A login attempt that was admitted, or refused and not counted.

    `wait` > 0: it is refused for so many seconds. `busy`: because others have not ended.
    Otherwise answer after `hold` seconds, and call `failed` or `succeeded` once. Leaving the
    `with` block without either takes the count back, because the client did not learn whether the
    passphrase was right.
    """

    __slots__ = ("wait", "hold", "busy", "throttle", "networks", "user", "pair", "guess",
                 "running")

    def __init__(self, throttle: "Throttle", peer: Peer, user: str, guess: Optional[bytes]) -> None:
        self.wait = self.hold = 0.0
        self.busy = False
        self.throttle, self.user = throttle, user
        self.networks = _networks(peer)
        self.pair = (self.networks[0][0] if self.networks else None, user)
        self.guess = None if guess is None else (self.pair, guess)
        self.running: Optional[_Running] = None  # until the attempt has ended

    def failed(self) -> None:
        """The passphrase was wrong."""
        self.throttle.failed(self)
        self.throttle.end(self)

    def succeeded(self) -> None:
        """The user is logged in."""
        self.throttle.succeeded(self)
        self.throttle.end(self)

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, *exception: object) -> None:
        self.throttle.end(self)


class _Running:
    """Running attempts that count as one guess; `places`: where they count, as (table, key)."""

    __slots__ = ("places", "hold", "attempts")

    def __init__(self, places: List[Tuple], hold: float) -> None:
        self.places, self.hold = places, hold
        self.attempts = 1


class Throttle:
    """Counts failures per address and per user; any thread may call it.

    `peer`: (host, port, …), a host, or None without an address (a Unix socket, an embedding
    program): then only the user counts. `patience`: seconds to wait for other attempts to end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic,
                 capacity: int = CAPACITY, patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._ended = threading.Condition(threading.Lock())
        self._networks = _Failures(capacity)
        self._users = _Failures(capacity)
        self._known = _Failures(capacity, keep=True)
        self._wrong = ExpiringDict(capacity, REPEATED)
        self._running: dict = {}  # (pair, guess) -> _Running

    def admit(self, peer: Peer, user: str, guess: Optional[bytes] = None) -> Attempt:
        """Admit an attempt and count it, or refuse it.

        In: `guess`: equal for equal guesses (a keyed hash); None if the protocol does not show
        the passphrase. May block for `patience` seconds.
        """
        attempt = Attempt(self, peer, user, guess)
        end = time.monotonic() + self._patience
        with self._ended:
            while not self._decide(attempt):
                if not self._ended.wait(end - time.monotonic()):
                    attempt.wait, attempt.busy = 1.0, True
                    break
        return attempt

    def _decide(self, attempt: Attempt) -> bool:
        """Admit or refuse; False: ask again when another attempt has ended."""
        running = self._running.get(attempt.guess)
        if running is not None:
            running.attempts += 1
            attempt.running, attempt.hold = running, running.hold
            return True
        now, known = self._clock(), attempt.pair in self._known
        limits = ([(self._known, attempt.pair, PAIR_FREE)] if known
                  else [(self._networks, key, free) for key, free in attempt.networks])
        if not all(table.has_room(key, now, free) for table, key, free in limits):
            return False
        attempt.wait = max([table.wait(key, now, free) for table, key, free in limits] or [0.0])
        if attempt.wait > 0.0:
            return True
        for table, key, free in limits:
            table.grant(key, now, free)
        places = [(table, key) for table, key, _ in limits]
        if not known:
            over = self._users.counted(attempt.user, now) - USER_FREE
            attempt.hold = min(LONGEST_HOLD, 0.25 * 2.0 ** min(over, 10.0)) if over > -1 else 0.0
            places.append((self._users, attempt.user))
        attempt.running = _Running(places, attempt.hold)
        for table, key in places:
            table.begin(key)
        if attempt.guess is not None:
            self._running[attempt.guess] = attempt.running
        return True

    def failed(self, attempt: Attempt) -> None:
        """Count a failure."""
        now = self._clock()
        with self._ended:
            if attempt.guess is not None:
                if self._wrong.get(attempt.guess, now):
                    return
                self._wrong.put(attempt.guess, True, now)
            for key, free in attempt.networks:
                self._networks.add(key, now, free)
            if attempt.pair in self._known:
                self._known.add(attempt.pair, now, PAIR_FREE)
            else:
                self._users.add(attempt.user, now, USER_FREE)

    def succeeded(self, attempt: Attempt) -> None:
        """Remember that this user logged in from this address.

        The address's other failures stay: the owner of one account must not be able to reset
        the count of guesses at others.
        """
        if attempt.networks:
            with self._ended:
                self._known.clear(attempt.pair, self._clock())
                self._ended.notify_all()    # the user's other programs are now exempt

    def end(self, attempt: Attempt) -> None:
        """Take an attempt out of those that run, unless that was done before."""
        with self._ended:
            running, attempt.running = attempt.running, None
            if running is None:
                return
            running.attempts -= 1
            if running.attempts == 0:
                self._running.pop(attempt.guess, None)
                for table, key in running.places:
                    table.end(key)
                self._ended.notify_all()

    def __len__(self) -> int:
        """How many entries there are, to check the bound."""
        return sum(map(len, (self._networks, self._users, self._known, self._wrong)))


class _Failures:
    """Failure counts that decrease with time; if there are too many, the lowest are dropped.

    `keep`: entries without failures matter too, so the longest unused are dropped.
    """

    def __init__(self, capacity: int, keep: bool = False) -> None:
        self._capacity = capacity
        self._keep = keep
        self._entries: dict = {}  # key -> (level, time of that level, time of the last attempt)
        self._begun: dict = {}  # key -> running attempts

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def level(self, key: object, now: float) -> float:
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        return max(0.0, entry[0] - (now - entry[1]) / FORGET_ONE)

    def counted(self, key: object, now: float) -> float:
        """The level if all running attempts fail."""
        return self.level(key, now) + self._begun.get(key, 0)

    def has_room(self, key: object, now: float, free: int) -> bool:
        """Whether one more attempt may run beside the others."""
        return key not in self._begun or self.counted(key, now) + 1 <= free

    def begin(self, key: object) -> None:
        self._begun[key] = self._begun.get(key, 0) + 1

    def end(self, key: object) -> None:
        left = self._begun.pop(key) - 1
        if left:
            self._begun[key] = left

    def wait(self, key: object, now: float, free: int) -> float:
        # A partly forgotten failure leaves no room for a whole one.
        over = self.level(key, now) - free
        if over <= -1:
            return 0.0
        return max(0.0, self._entries[key][2] + min(LONGEST_WAIT, 2.0 ** over) - now)

    def grant(self, key: object, now: float, free: int) -> None:
        """The next wait begins now, if the free failures are used up."""
        if self.level(key, now) > free - 1:
            level, since, _ = self._entries[key]
            self._entries[key] = (level, since, now)

    def add(self, key: object, now: float, free: int) -> None:
        # Above this level the wait grows no more, so that all is forgotten in 90 minutes or so.
        level = min(self.level(key, now) + 1.0, free + 9.0)
        self._make_room(key, now)
        self._entries[key] = (level, now, now)

    def clear(self, key: object, now: float) -> None:
        self._entries.pop(key, None)        # re-inserted at the end, as the youngest
        self._make_room(key, now)
        self._entries[key] = (0.0, now, now)

    def _make_room(self, key: object, now: float) -> None:
        if key in self._entries or len(self._entries) < self._capacity:
            return
        if self._keep:
            dropped = list(self._entries)[:self._capacity // 4 + 1]
        else:
            by_level = sorted(self._entries, key=lambda each: self.level(each, now))
            dropped = by_level[:self._capacity // 4 + 1]
        for each in dropped:
            del self._entries[each]


def _networks(peer: Peer) -> Tuple[Tuple[Hashable, int], ...]:
    """What is counted for a peer: addresses and networks, each with its free failures."""
    host = peer[0] if isinstance(peer, tuple) and peer else peer
    if not host or not isinstance(host, str):
        return ()
    host = normalised((host, 0))[0].lower()
    try:
        octets = socket.inet_pton(socket.AF_INET6, host)
    except (OSError, ValueError):
        return ((host[:64], ADDRESS_FREE),)
    return ((octets[:8], ADDRESS_FREE), (octets[:6], NETWORK_FREE))
