"""Who may have a connection: counts in all, per network and per protocol, so that strangers lock
nobody out. Shared by all listeners of a server; any thread may call it.

A stranger is a connection that has not logged in. Each protocol has a share for its strangers, so
they fill neither the other protocols nor the slots of those who log in. A full share does not
refuse the newcomer: that would let whoever came first keep everybody out. Instead a stranger is
closed that waits for its own client:

1. of the network that has the most connections there. An attacker with few addresses therefore
   only displaces itself, and a newcomer from elsewhere always gets in.
2. the oldest, where the networks are equal. An attacker with as many addresses as there are slots
   must then open a whole share of connections in the few milliseconds that a login takes.

Among equals nobody is closed in its first second, so that a crowd of honest clients (all of them
come back after a power cut) does not push itself out: then the last ones are refused. An SMTP
transaction weighs half and has ten seconds, since closing it costs a retry.

Who has logged in is not closed for others. But one user's connections are at most an eighth of all:
beyond that the user's oldest one is closed for the new one.
"""

import threading
from collections import Counter
from time import monotonic

from .address import network

GRACE = 1.0         # seconds in which a stranger is not closed for an equal
TRANSACTION = 10.0  # the same for a client that gave MAIL
WORK = 5.0          # the same where the server works or a wrong passphrase is held back
LIGHT = 0.5         # what such a connection weighs
USERS = 8           # who share all connections at the least
LEAST = 10          # connections of one user that are always let in
LEAVING = 32        # displaced connections whose threads have not ended yet; more would be no bound


class Visit(object):
    """An admitted connection, as its handler sees it. Without a gate it means nothing.

    `busy`: in an SMTP transaction; the handler sets it. `is_displaced`: it was closed for another.
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
        self.user = None  # who has logged in

    def logged_in(self, user):
        """It is no stranger any more, but this user's (any name). May be called again."""
        if self.gate is not None and self.user is None:
            self.gate.logged_in(self, user)

    def served(self):
        """A message came: its age counts from now."""
        self.since = monotonic()

    def begin_handshake(self):
        """True with one of the places for TLS handshakes; False: try again soon."""
        return self.gate is None or self.gate.begin_handshake(self)

    def end_handshake(self):
        """Gives the place back."""
        if self.gate is not None:
            self.gate.end_handshake(self)

    def leave(self):
        """The connection is over. To be called once."""
        if self.gate is not None:
            self.gate.leave(self)


class Gate(object):
    """`total`: connections in all. `per_address`: from one IPv4 address or IPv6 /48; a Unix socket
    has none. `strangers`: in each share, before login. `handshakes`: TLS handshakes at one time.
    None is no limit."""

    def __init__(self, total=None, per_address=None, strangers=None, handshakes=None,
                 clock=monotonic):
        self._limits = total, per_address, strangers, handshakes
        self._clock = clock
        self._lock = threading.Lock()
        self._visits = set()       # all whose connections are open, the displaced ones too
        self._leaving = 0          # displaced ones among them
        self._strangers = {}       # share -> set of Visits
        self._by_network = {}      # network -> number of Visits that are not displaced
        self._handshakes = {}      # Visit -> when it began
        self._by_user = {}         # user -> Visits that are not displaced, the oldest first
        self._per_user = None if total is None else max(total // USERS, LEAST)

    @property
    def inside(self):
        """How many connections there are."""
        return len(self._visits)

    def enter(self, host, share="", connection=None):
        """-> Visit, or None where there is no room for one more from `host`.

        connection: has `waits`, whether it waits for its peer, and `abort()`.
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
        """The strangers of whom one must go for this visit, or None where there is room."""
        total, per_address, strangers, _ = self._limits
        share, crowd = self._strangers.get(visit.share, ()), None
        if total is not None and len(self._visits) - self._leaving >= total:
            crowd = [other for each in self._strangers.values() for other in each]
        if strangers is not None and len(share) >= strangers:
            crowd = share
        here = self._by_network.get(visit.network, 0)
        if per_address is not None and visit.network and here >= per_address:
            if crowd is None:
                crowd = [other for each in self._strangers.values() for other in each]
            crowd = [other for other in crowd if other.network == visit.network]
        return crowd

    def _victim(self, visit, crowd):
        """Who is closed for `visit`, of (Visit, since when it is there) pairs -> Visit or None."""
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
        self._forget(victim.network)
        self._forget_user(victim)

    def _forget(self, key):
        here = self._by_network[key] - 1
        if here:
            self._by_network[key] = here
        else:
            del self._by_network[key]

    def _forget_user(self, visit):
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
                self._forget(visit.network)
                self._forget_user(visit)

    # Each handshake under way holds some 50 KB, three times what an idle connection has.

    def begin_handshake(self, visit):
        """See Visit.begin_handshake."""
        most, victim = self._limits[3], None
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
