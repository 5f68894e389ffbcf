"""How long somebody who guesses passphrases has to wait.

Pure but for the clock it is given.  Two brakes, of different kinds:

1. An *address* (IPv4; IPv6 its /64, and more loosely its /48) that failed often
   is refused without a look at the passphrase, for 1, 2, 4 … 300 seconds, and
   each grant starts the next wait, so that parallel connections gain nothing.
2. A *user* who is guessed at from many addresses: an answer to an address that
   never logged in as that user is held back, for at most 8 seconds.  It is
   never refused, so nobody can be locked out from elsewhere.

A pair of address and user that once got in stands outside both: only its own
failures count, so neither a guesser elsewhere nor a neighbour behind the same
router hinders it.  The same wrong passphrase again (a telephone that was not
told of the new one) counts once.  Failures are forgotten, one each 300 seconds;
all tables are bounded.
"""

import threading
import time
from typing import Callable, NamedTuple, Optional, Tuple, Union

from .recent import Recent

ADDRESS_FREE = 10           # failures before the first wait
NETWORK_FREE = 100          # the same for an IPv6 /48
PAIR_FREE = 10
USER_FREE = 20
LONGEST_WAIT = 300.0
LONGEST_HOLD = 8.0
FORGET_ONE = 300.0          # seconds in which one failure is forgotten
REPEATED = 3600.0           # how long a wrong passphrase is the same one
CAPACITY = 4096

Peer = Union[None, str, Tuple]


class Admission(NamedTuple):
    """`wait` > 0: refused for so many seconds; else answer after `hold` seconds."""

    wait: float
    hold: float


class Throttle:
    """Counts failures per address and per user; any thread may call it.

    `peer` is (host, port, …), a host, or None for who has no address (a Unix
    socket, an embedding program): then only the user counts.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic,
                 capacity: int = CAPACITY) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._networks = _Tallies(capacity)
        self._users = _Tallies(capacity)
        self._known = _Tallies(capacity, keep=True)
        self._wrong = Recent(capacity, REPEATED)

    def admit(self, peer: Peer, user: str) -> Admission:
        """Say whether an attempt may be made now; a grant uses up the wait."""
        networks, now = _networks(peer), self._clock()
        pair = (_host(networks), user)
        with self._lock:
            if pair in self._known:
                return Admission(self._known.grant(pair, now, PAIR_FREE), 0.0)
            wait = max([self._networks.wait(key, now, free) for key, free in networks] or [0.0])
            if wait <= 0.0:
                for key, free in networks:
                    self._networks.grant(key, now, free)
            over = self._users.level(user, now) - USER_FREE
        hold = min(LONGEST_HOLD, 0.25 * 2.0 ** over) if over >= 0 else 0.0
        return Admission(wait, hold)

    def delay(self, peer: Peer, user: str) -> float:
        """Seconds that an attempt would be refused for now; counts nothing."""
        networks, now = _networks(peer), self._clock()
        pair = (_host(networks), user)
        with self._lock:
            if pair in self._known:
                return self._known.wait(pair, now, PAIR_FREE)
            return max([self._networks.wait(key, now, free) for key, free in networks] or [0.0])

    def failed(self, peer: Peer, user: str, guess: Optional[bytes] = None) -> None:
        """Count a failure; `guess` is something that is equal for equal guesses
        (a keyed hash), None where the protocol shows no passphrase."""
        networks, now = _networks(peer), self._clock()
        pair = (_host(networks), user)
        with self._lock:
            if guess is not None:
                if self._wrong.has((pair, guess), now):
                    return
                self._wrong.add((pair, guess), now)
            for key, free in networks:
                self._networks.add(key, now, free)
            if pair in self._known:
                self._known.add(pair, now, PAIR_FREE)
            else:
                self._users.add(user, now, USER_FREE)

    def succeeded(self, peer: Peer, user: str) -> None:
        """Remember that this user got in from this address.

        The address's other failures stay: who has one account must not wash
        off the guesses at others with it.
        """
        networks = _networks(peer)
        if not networks:
            return
        with self._lock:
            self._known.clear((_host(networks), user), self._clock())

    def __len__(self) -> int:
        """How many things are remembered, for watching the bound."""
        return sum(map(len, (self._networks, self._users, self._known, self._wrong)))


class _Tallies:
    """Failure counts that leak away; bounded, the lightest are dropped first."""

    def __init__(self, capacity: int, keep: bool = False) -> None:
        self._capacity = capacity
        self._keep = keep       # an entry without failures means something too
        self._entries = {}      # type: dict  # key -> (level, counted at, last try)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def level(self, key: object, now: float) -> float:
        entry = self._entries.get(key)
        if entry is None:
            return 0.0
        return max(0.0, entry[0] - (now - entry[1]) / FORGET_ONE)

    def wait(self, key: object, now: float, free: int) -> float:
        over = self.level(key, now) - free
        if over < 0:
            return 0.0
        return max(0.0, self._entries[key][2] + min(LONGEST_WAIT, 2.0 ** over) - now)

    def grant(self, key: object, now: float, free: int) -> float:
        """Return the wait; where there is none, the next one begins now."""
        wait = self.wait(key, now, free)
        if wait <= 0.0 and self.level(key, now) >= free:
            level, since, _ = self._entries[key]
            self._entries[key] = (level, since, now)
        return wait

    def add(self, key: object, now: float, free: int) -> None:
        # The level ends where the wait is the longest: what is to be
        # forgotten must be forgotten within about an hour and a half.
        level = min(self.level(key, now) + 1.0, free + 9.0)
        self._make_room(key, now)
        self._entries[key] = (level, now, now)

    def clear(self, key: object, now: float) -> None:
        self._entries.pop(key, None)        # and to the end: the youngest
        self._make_room(key, now)
        self._entries[key] = (0.0, now, now)

    def _make_room(self, key: object, now: float) -> None:
        if key in self._entries or len(self._entries) < self._capacity:
            return
        if self._keep:                      # the longest not used go first
            dropped = list(self._entries)[:self._capacity // 4 + 1]
        else:
            by_level = sorted(self._entries, key=lambda each: self.level(each, now))
            dropped = by_level[:self._capacity // 4 + 1]
        for each in dropped:
            del self._entries[each]


def _host(networks: Tuple) -> Optional[str]:
    return networks[0][0] if networks else None


def _networks(peer: Peer) -> Tuple[Tuple[str, int], ...]:
    """What is counted for a peer: names of networks with their free failures."""
    host = peer[0] if isinstance(peer, tuple) and peer else peer
    if not host or not isinstance(host, str):
        return ()
    host = host.partition("%")[0].lower()
    if host.startswith("::ffff:") and "." in host:
        host = host[len("::ffff:"):]
    if ":" not in host:
        return ((host[:64], ADDRESS_FREE),)
    groups = _ipv6_groups(host)
    return ((":".join(groups[:4]) + "/64", ADDRESS_FREE),
            (":".join(groups[:3]) + "/48", NETWORK_FREE))


def _ipv6_groups(host: str) -> Tuple[str, ...]:
    """The eight groups of an IPv6 address (RFC 4291 section 2.2), without leading zeros."""
    head, double, tail = host.partition("::")
    first = head.split(":") if head else []
    last = tail.split(":") if tail else []
    middle = ["0"] * (8 - len(first) - len(last)) if double else []
    return tuple(group.lstrip("0") or "0" for group in first + middle + last)
