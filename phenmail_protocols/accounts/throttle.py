"""How long somebody who guesses passphrases has to wait.

Pure but for the clock it is given.  Two brakes, of different kinds:

1. An *address* (IPv4; IPv6 its /64, and more loosely its /48) that failed often
   is refused without a look at the passphrase, for 1, 2, 4 … 300 seconds, and
   each grant starts the next wait.
2. A *user* who is guessed at from many addresses: an answer to an address that
   never logged in as that user is held back, for at most 8 seconds.  It is
   never refused, so nobody can be locked out from elsewhere.

A pair of address and user that once got in stands outside both: only its own
failures count, so neither a guesser elsewhere nor a neighbour behind the same
router hinders it.  The same wrong passphrase again (a telephone that was not
told of the new one) counts once.  Failures are forgotten, one each 300 seconds;
all tables are bounded.

An attempt counts from its admission until it ends.  No more attempts are looked
at at once than would be free if all of them failed; the others wait for one to
end, so parallel guesses gain nothing, and neighbours who are right get in one
after the other.  Attempts with the same passphrase for the same user from the
same address are one guess: the programs of one user do not wait for each other.
"""

import threading
import time
from typing import Callable, List, Optional, Tuple, Union

from .recent import Recent

ADDRESS_FREE = 10           # failures before the first wait
NETWORK_FREE = 100          # the same for an IPv6 /48
PAIR_FREE = 10
USER_FREE = 20
LONGEST_WAIT = 300.0
LONGEST_HOLD = 8.0
FORGET_ONE = 300.0          # seconds in which one failure is forgotten
REPEATED = 3600.0           # how long a wrong passphrase is the same one
PATIENCE = 10.0             # seconds to wait until other attempts have ended
CAPACITY = 4096

Peer = Union[None, str, Tuple]


class Attempt:
    """One login attempt that was admitted, or refused (then nothing is counted).

    `wait` > 0: refused for so many seconds; else answer after `hold` seconds.
    `busy`: refused because others have not ended.  Say `failed` or `succeeded`
    once; leaving the `with` block without either gives the count back, since
    nobody was told whether the passphrase was right.
    """

    __slots__ = ("wait", "hold", "busy", "_throttle", "_peer", "_user", "_guess", "_counted")

    def __init__(self, throttle: "Throttle", peer: Peer, user: str, guess: Optional[bytes]) -> None:
        self.wait = self.hold = 0.0
        self.busy = False
        self._throttle, self._peer, self._user, self._guess = throttle, peer, user, guess
        self._counted: Optional[_Flight] = None

    def failed(self) -> None:
        """The passphrase was wrong."""
        self._throttle._failed(self._peer, self._user, self._guess)
        self._end()

    def succeeded(self) -> None:
        """The user got in."""
        self._throttle._succeeded(self._peer, self._user)
        self._end()

    def _end(self) -> None:
        counted, self._counted = self._counted, None
        if counted is not None:
            self._throttle._land(counted)

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()


class _Flight:
    """Attempts that are looked at now and count as one: `places` are (tallies, key)."""

    __slots__ = ("name", "places", "hold", "attempts")

    def __init__(self, name: Optional[Tuple], places: List[Tuple], hold: float) -> None:
        self.name, self.places, self.hold = name, places, hold
        self.attempts = 1


class Throttle:
    """Counts failures per address and per user; any thread may call it.

    `peer` is (host, port, …), a host, or None for who has no address (a Unix
    socket, an embedding program): then only the user counts.
    `patience`: real seconds in which other attempts have to end.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic,
                 capacity: int = CAPACITY, patience: float = PATIENCE) -> None:
        self._clock = clock
        self._patience = patience
        self._landed = threading.Condition(threading.Lock())
        self._networks = _Tallies(capacity)
        self._users = _Tallies(capacity)
        self._known = _Tallies(capacity, keep=True)
        self._wrong = Recent(capacity, REPEATED)
        self._flights: dict = {}  # (pair, guess) -> _Flight

    def admit(self, peer: Peer, user: str, guess: Optional[bytes] = None) -> Attempt:
        """Admit an attempt and count it, or refuse it; a grant uses up the wait.

        `guess` is something that is equal for equal guesses (a keyed hash),
        None where the protocol shows no passphrase.  May block for `patience`
        seconds while other attempts from there are looked at.
        """
        attempt = Attempt(self, peer, user, guess)
        networks = _networks(peer)
        end = time.monotonic() + self._patience
        with self._landed:
            while not self._decide(attempt, (_host(networks), user), networks):
                if not self._landed.wait(end - time.monotonic()):
                    attempt.wait, attempt.busy = 1.0, True
                    break
        return attempt

    def _decide(self, attempt: Attempt, pair: Tuple, networks: Tuple) -> bool:
        """Admit or refuse now, or say that it is to be asked again when one has ended."""
        name = None if attempt._guess is None else (pair, attempt._guess)
        flight = self._flights.get(name) if name is not None else None
        if flight is not None:
            flight.attempts += 1
            attempt._counted, attempt.hold = flight, flight.hold
            return True
        now, known = self._clock(), pair in self._known
        braked = ([(self._known, pair, PAIR_FREE)] if known
                  else [(self._networks, key, free) for key, free in networks])
        if not all(tallies.has_room(key, now, free) for tallies, key, free in braked):
            return False
        attempt.wait = max([tallies.wait(key, now, free) for tallies, key, free in braked] or [0.0])
        if attempt.wait > 0.0:
            return True
        for tallies, key, free in braked:
            tallies.grant(key, now, free)
        places = [(tallies, key) for tallies, key, _ in braked]
        if not known:
            over = self._users.counted(attempt._user, now) - USER_FREE
            attempt.hold = min(LONGEST_HOLD, 0.25 * 2.0 ** min(over, 10.0)) if over > -1 else 0.0
            places.append((self._users, attempt._user))
        flight = attempt._counted = _Flight(name, places, attempt.hold)
        for tallies, key in places:
            tallies.begin(key)
        if name is not None:
            self._flights[name] = flight
        return True

    def _land(self, flight: _Flight) -> None:
        with self._landed:
            flight.attempts -= 1
            if flight.attempts:
                return
            if flight.name is not None:
                del self._flights[flight.name]
            for tallies, key in flight.places:
                tallies.end(key)
            self._landed.notify_all()

    def _failed(self, peer: Peer, user: str, guess: Optional[bytes]) -> None:
        networks, now = _networks(peer), self._clock()
        pair = (_host(networks), user)
        with self._landed:
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

    def _succeeded(self, peer: Peer, user: str) -> None:
        """Remember that this user got in from this address.

        The address's other failures stay: who has one account must not wash
        off the guesses at others with it.
        """
        networks = _networks(peer)
        if not networks:
            return
        with self._landed:
            self._known.clear((_host(networks), user), self._clock())
            self._landed.notify_all()       # the user's other programs need not wait any more

    def __len__(self) -> int:
        """How many things are remembered, for watching the bound."""
        return sum(map(len, (self._networks, self._users, self._known, self._wrong)))


class _Tallies:
    """Failure counts that leak away; bounded, the lightest are dropped first."""

    def __init__(self, capacity: int, keep: bool = False) -> None:
        self._capacity = capacity
        self._keep = keep       # an entry without failures means something too
        self._entries: dict = {}  # key -> (level, counted at, last try)
        self._begun: dict = {}  # key -> attempts that have not ended

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
        """The level that it would have if all attempts failed that have not ended."""
        return self.level(key, now) + self._begun.get(key, 0)

    def has_room(self, key: object, now: float, free: int) -> bool:
        """Whether one more attempt may be looked at beside those that have not ended."""
        return key not in self._begun or self.counted(key, now) + 1 <= free

    def begin(self, key: object) -> None:
        self._begun[key] = self._begun.get(key, 0) + 1

    def end(self, key: object) -> None:
        left = self._begun.pop(key) - 1
        if left:
            self._begun[key] = left

    def wait(self, key: object, now: float, free: int) -> float:
        # A failure that is forgotten in part leaves no room for a whole one.
        over = self.level(key, now) - free
        if over <= -1:
            return 0.0
        return max(0.0, self._entries[key][2] + min(LONGEST_WAIT, 2.0 ** over) - now)

    def grant(self, key: object, now: float, free: int) -> None:
        """Where the free failures are used up, the next wait begins now."""
        if self.level(key, now) > free - 1:
            level, since, _ = self._entries[key]
            self._entries[key] = (level, since, now)

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
