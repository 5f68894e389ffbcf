"""A queue with a Worker for tests: the real spool in a folder, couriers that behave as the test
wants, a clock that tests move."""
import threading

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.model import Message, Recipient, Unreachable
from phenmail_protocols.queue.retry import Policy
from phenmail_protocols.queue.spool import Spool
from phenmail_protocols.queue.worker import Worker

NOW = 1.8e9  # in 2027
DEADLINE = 20.0

TAKEN = Reply(250, "2.0.0", "taken", "mx.example.org")
LATER = Reply(451, "4.2.0", "greylisted", "mx.example.org")
NEVER = Reply(550, "5.1.1", "no such user", "mx.example.org")
DOWN = Unreachable(Reply(451, "4.4.1", "nobody there"))
STOPS = Reply(451, "4.3.2", "this server stops")


class Clock:
    """Wall clock and monotonic clock in one. Both stand still until a test moves them."""

    def __init__(self):
        self.now, self.tick = NOW, 0.0

    def __call__(self):
        return self.now

    def monotonic(self):
        return self.tick

    def advance(self, seconds):
        self.now += seconds
        self.tick += seconds


class Courier:
    """Does what its destination's behaviour says: a Reply for all recipients, a tuple of Replies,
    an exception, or a function of (courier, message) that returns one of these."""

    dsn = False

    def __init__(self, world, destination):
        self.world, self.destination = world, destination
        self.is_closed, self.aborted = False, threading.Event()

    def deliver(self, message, recipients, body):
        assert not self.is_closed
        with self.world.changed:
            self.world.active[self] = message.identity
            self.world.most = max(self.world.most, len(self.world.active))
            addresses = tuple(str(each.address) for each in recipients)
            self.world.attempts.append((self.destination, message.identity, addresses, body.read()))
            self.world.changed.notify_all()
        try:
            answer = self.world.behaviour.get(self.destination, TAKEN)
            if callable(answer) and not isinstance(answer, tuple):
                answer = answer(self, message)
            if isinstance(answer, Exception):
                raise answer
            return (answer,) * len(recipients) if isinstance(answer, Reply) else answer
        finally:
            with self.world.changed:
                del self.world.active[self]
                self.world.changed.notify_all()

    def close(self):
        self.is_closed = True

    def abort(self):
        self.aborted.set()


class World:
    """All other servers. `behaviour`: {destination: see Courier}; the rest accept everything."""

    def __init__(self):
        self.changed = threading.Condition()
        self.behaviour, self.attempts, self.couriers = {}, [], []
        self.active, self.most = {}, 0  # couriers in deliver, and how many at once there were

    def courier_for(self, destination):
        courier = Courier(self, destination)
        with self.changed:
            self.couriers.append(courier)
        return courier

    def until(self, condition, what):
        """Wait for something that an attempt changes."""
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE), "%s: %r" % (what, self.attempts[-5:])

    def identities(self, destination=None):
        return [attempt[1] for attempt in self.attempts if destination in (None, attempt[0])]


class Gate:
    """A behaviour: `deliver` waits until the gate opens or the courier is aborted."""

    def __init__(self, answer=TAKEN):
        self.answer, self.is_open = answer, threading.Event()

    def __call__(self, courier, message):
        end = DEADLINE * 100
        while not self.is_open.is_set() and end:
            if courier.aborted.wait(0.01):
                return STOPS
            end -= 1
        return self.answer


class Reporter:
    """Keeps the reports: (identity, kind, addresses). `trouble`: exceptions to raise first;
    `look(message)` is called before."""

    def __init__(self):
        self.told, self.trouble, self.look = [], [], lambda message: None

    def report(self, message, recipients, body):
        self.look(message)
        if self.trouble:
            raise self.trouble.pop(0)
        assert body.read() and len({recipient.owed for recipient in recipients}) == 1
        self.told.append(
            (
                message.identity, recipients[0].owed,
                tuple(str(recipient.address) for recipient in recipients)))


class House:
    """The queue of a server."""

    def __init__(self, folder, policy=Policy(), spool=None, world=None, clock=None, **options):
        self.clock = clock or Clock()
        self.spool = spool or Spool(str(folder))
        self.world, self.reporter = world or World(), Reporter()
        self.quiet = threading.Event()
        self.worker = Worker(
            self.spool, policy, lambda recipient: recipient.address.domain, self.world.courier_for,
            self.reporter, self.clock, self.clock.monotonic, jitter=lambda: 0.5, wait=self._wait,
            **options)

    def _wait(self, event, seconds):
        """How the queue's thread waits: until it is called."""
        if self.worker.status().is_quiet:
            self.quiet.set()
        event.wait(DEADLINE)

    def add(self, identity, *addresses, **values):
        """Queue a message, as another thread of the server does."""
        sender = values.pop("sender", Address("me", "home.example"))
        recipients = tuple(
            each if isinstance(each, Recipient) else Recipient(Address.parse(each))
            for each in addresses)
        with self.spool.begin(identity) as arriving:
            arriving.write(b"Subject: " + identity.encode() + b"\r\n\r\nhello\r\n")
            arriving.commit(Message(identity, sender, recipients, self.clock(), **values))

    def settle(self):
        """Wait until nothing is to be done at this time of the clock."""
        self.quiet.clear()
        self.worker.wake()
        assert self.quiet.wait(DEADLINE), "the queue is never quiet: %r" % (self.worker.status(),)

    def advance(self, seconds=None):
        """Move the clock, by default to the next planned attempt."""
        moment = self.worker.status().next
        self.clock.advance(max(0.0, moment - self.clock()) if seconds is None else seconds)
        self.settle()

    def state(self, identity):
        return self.spool.read(identity)
