"""Who may have a connection: bounds in all, for a network and for a protocol.

Strangers must not lock out others. A stranger is a connection that has not logged in. Each
protocol has a share for its strangers, so they fill neither the other protocols nor the slots of
those who log in. If a share is full, the newcomer is not refused, because then the first comers
could keep everybody out. Instead a stranger is closed that waits for its own client:

1. one of the network with the most connections. So an attacker with few addresses displaces only
   itself, and a newcomer from elsewhere always gets in.
2. the oldest, if the networks are equal. An attacker with as many addresses as there are slots
   must then open a whole share of connections in the few milliseconds that a login takes.

Among equals nobody is closed in its first second, so that a crowd of honest clients (after a power
cut, all come back) does not displace itself: then the last ones are refused. An SMTP transaction
counts half and has ten seconds, because closing it costs a retry.

A connection with a login is not closed for others. But one user's connections are at most an
eighth of all: beyond that, the user's oldest connection is closed for the new one.
"""
import threading
from collections import Counter
from time import monotonic

from .address import network

GRACE = 1.0  # seconds in which a stranger is not closed for an equal
TRANSACTION = 10.0  # the same for a client that gave MAIL
WORK = 5.0  # the same while the server works, or delays the reply to a wrong passphrase
LIGHT = 0.5  # the weight of a client that gave MAIL
USERS = 8  # one user may have an eighth of all connections
LEAST = 10  # connections of one user that are always admitted
LEAVING = 32  # the most displaced connections whose threads have not ended: a bound on all


class Visit:
    """An admitted connection, as its handler sees it. Without a gate it means nothing.

    `busy`: an SMTP transaction is under way; the handler sets it. `is_displaced`: it was closed
    for another.
    """

    __slots__ = ("gate", "share", "network", "connection", "since", "busy", "is_displaced", "user")

    def __init__(self, gate=None, share="", network="", connection=None, since=0.0):
        self.gate = gate
        self.share = share
        self.network = network
        self.connection = connection
        self.since = since
        self.busy = False
        self.is_displaced = False
        self.user = None  # who logged in

    def logged_in(self, user):
        """The client logged in as this user (any name). May be called again."""
        if self.gate is not None and self.user is None:
            self.gate.logged_in(self, user)

    def served(self):
        """A message came: count the connection's age from now."""
        self.since = monotonic()

    def begin_handshake(self):
        """-> whether there is a place for a TLS handshake. If not, try again soon."""
        return self.gate is None or self.gate.begin_handshake(self)

    def end_handshake(self):
        """Release the place."""
        if self.gate is not None:
            self.gate.end_handshake(self)

    def leave(self):
        """The connection is over. To be called once."""
        if self.gate is not None:
            self.gate.leave(self)


class Gate:
    """Shared by all listeners of a server. Any thread may call it.

    `total`: connections in all. `per_address`: from one IPv4 address or IPv6 /48 (a Unix socket
    has no address). `strangers`: in each share, without a login. `handshakes`: TLS handshakes at
    one time. None: no limit.
    """

    def __init__(self, total=None, per_address=None, strangers=None, handshakes=None,
                 clock=monotonic):
        self._total, self._per_address = total, per_address
        self._most_strangers, self._most_handshakes = strangers, handshakes
        self._clock = clock
        self._lock = threading.Lock()
        self._visits = set()  # all open connections, with the displaced ones
        self._leaving = 0  # the displaced ones among them
        self._strangers = {}  # share -> set of Visits
        self._by_network = {}  # network -> number of Visits that are not displaced
        self._handshakes = {}  # Visit -> when its handshake began
        self._by_user = {}  # user -> Visits that are not displaced, the oldest first
        self._per_user = None if total is None else max(total // USERS, LEAST)

    @property
    def inside(self):
        """How many connections there are."""
        return len(self._visits)

    def enter(self, host, share="", connection=None):
        """-> Visit, or None if there is no room for another connection from `host`.

        `connection` has `waits`, whether it waits for its peer, and `abort()`.
        """
        visit = Visit(self, share, network(host), connection, self._clock())
        victim = None
        with self._lock:
            crowd = self._crowd(visit)
            if crowd is not None:
                victim = self._victim(visit, ((other, other.since) for other in crowd))
                if victim is None:
                    return None
                self._displace(victim)
            self._visits.add(visit)
            self._strangers.setdefault(share, set()).add(visit)
            self._by_network[visit.network] = self._by_network.get(visit.network, 0) + 1
        if victim is not None:
            victim.connection.abort()
        return visit

    def _crowd(self, visit):
        """The strangers of whom one must go for this visit, or None if there is room."""
        share, crowd = self._strangers.get(visit.share, ()), None
        if self._total is not None and len(self._visits) - self._leaving >= self._total:
            crowd = self._all_strangers()
        if self._most_strangers is not None and len(share) >= self._most_strangers:
            crowd = share
        here = self._by_network.get(visit.network, 0)
        if self._per_address is not None and visit.network and here >= self._per_address:
            if crowd is None:
                crowd = self._all_strangers()
            crowd = [other for other in crowd if other.network == visit.network]
        return crowd

    def _all_strangers(self):
        return [visit for share in self._strangers.values() for visit in share]

    def _victim(self, visit, crowd):
        """Whom to close for `visit`, of pairs (Visit, its start) -> Visit or None."""
        if self._leaving >= LEAVING:
            return None
        crowd = list(crowd)
        counts, now = Counter(other.network for other, _ in crowd), self._clock()
        mine, victim, heaviest = counts[visit.network] + 1, None, (0.0, 0.0)
        for other, since in crowd:
            weight, age = counts[other.network] * (LIGHT if other.busy else 1), now - since
            may = weight > mine or age >= (TRANSACTION if other.busy else GRACE)
            is_idle = other.connection.waits or not other.busy and age >= WORK
            if may and is_idle and (weight, age) > heaviest:
                victim, heaviest = other, (weight, age)
        return victim

    def _displace(self, victim):
        victim.is_displaced = True
        self._leaving += 1
        self._strangers[victim.share].discard(victim)
        self._handshakes.pop(victim, None)
        self._uncount(victim)

    def _uncount(self, visit):
        here = self._by_network[visit.network] - 1
        if here:
            self._by_network[visit.network] = here
        else:
            del self._by_network[visit.network]
        theirs = self._by_user.get(visit.user)
        if theirs is not None:
            theirs.remove(visit)
            if not theirs:
                del self._by_user[visit.user]

    def logged_in(self, visit, user):
        """See Visit.logged_in."""
        victim = None
        with self._lock:
            self._strangers[visit.share].discard(visit)
            if visit.is_displaced:
                return
            visit.user = user
            theirs = self._by_user.setdefault(user, [])
            theirs.append(visit)
            if self._per_user is not None and len(theirs) > self._per_user:
                victim = theirs[0] if self._leaving < LEAVING else visit
                self._displace(victim)
        if victim is not None:
            victim.connection.abort()

    def leave(self, visit):
        """See Visit.leave."""
        with self._lock:
            self._visits.discard(visit)
            self._strangers[visit.share].discard(visit)
            self._handshakes.pop(visit, None)
            if visit.is_displaced:
                self._leaving -= 1
            else:
                self._uncount(visit)

    # A handshake under way takes some 50 KB, three times as much as an idle connection.

    def begin_handshake(self, visit):
        """See Visit.begin_handshake."""
        most, victim = self._most_handshakes, None
        with self._lock:
            if most is not None and len(self._handshakes) >= most:
                victim = self._victim(visit, self._handshakes.items())
                if victim is None:
                    return False
                self._displace(victim)
            self._handshakes[visit] = self._clock()
        if victim is not None:
            victim.connection.abort()
        return True

    def end_handshake(self, visit):
        """See Visit.end_handshake."""
        with self._lock:
            self._handshakes.pop(visit, None)
