"""Mail on its way out: the queue drained into smtp-sink beside Postfix's; with signatures; 100 MB
of it; behind a dead destination.

Filled while it can't leave, then let go; the clock runs from the first message that the sink has to
the last one.
"""
import json
import os
import socket
import subprocess
import time

from .clients import large
from .clients.one_message import OneMessage
from .clients.senders import send
from .large import GROWTH_BAR, MEGABYTE, SIZE, WAIT_BAR, Bystander
from .memory import receive_and_read
from .messages import ADDRESS, DOMAIN, FAR, message
from .peers.phenmail import Phenmail
from .peers.postfix import PostfixQueue
from .peers.process import Missing, free_port
from .peers.sink import Sink
from .table import Row, alone, beside, median

CONNECTIONS = 10
SIGNED_BAR = 0.8  # of what dkimpy's signing alone allows
SIGNED_MEMORY_BAR = 38.0  # megabytes, after the first signed message left
DEAD = "someone@dead.example"
DEAD_MESSAGES = 5  # times the messages of one turn: 10 000
DEAD_GROWTH_BAR = 20.0  # megabytes
LIVE_BAR = 1.0  # seconds
PATIENCE = 120.0
RETRY = 60  # seconds: longer than filling takes
GIVEN_BACK = 35  # seconds
SILENT = "127.0.0.2"  # takes connections and says nothing
_ZONE = """\
far.example. IN MX 10 mx.far.example.
mx.far.example. IN A 127.0.0.1
dead.example. IN MX 10 mx.dead.example.
mx.dead.example. IN A %s
""" % SILENT


class Lost(Exception):
    """What was accepted did not arrive, or arrived twice."""


class Ours:
    """Phenmail, a name server and the port of the next hop, which stands on it while a `Sink` is
    started there."""

    name = Phenmail.name

    def __init__(self, bench, signed):
        try:
            from tests.net.nameserver import NameServer
        except ImportError as error:
            raise Missing("dnspython (%s)" % error) from None
        self.folder = bench.folder(self.name)
        self.next_hop = free_port()
        self._names = NameServer(_ZONE)
        self._names.__enter__()
        plain = {"host": "127.0.0.1", "port": 0, "tls": "starttls"}
        self._server = Phenmail(self.folder, bench.python, {
            "resolver": {"nameservers": ["%s:%d" % self._names.address]},
            "relay": {"listen": [plain], "remote-port": self.next_hop, "private-addresses": True},
            "limits": {"retry-first": RETRY}})
        if not signed:  # a key that is none
            with open(os.path.join(self._server.system, "dkim.key"), "w"):
                pass

    def start(self):
        self._server.start()
        return self

    def start_again(self):
        self._server.stop()
        self._server.start()

    @property
    def key(self):
        return os.path.join(self._server.system, "dkim.key")

    @property
    def child(self):
        return self._server.child

    @property
    def ports(self):
        return self._server.ports

    def fill(self, count, prefix, recipient=FAR):
        """Submit so many messages: what the sender tells of it."""
        return _accepted(send(self.ports["submission"], count, CONNECTIONS, 0, prefix, recipient),
                         count)

    def hold(self):
        """While nobody listens at the next hop nothing can leave."""

    def get_ready(self):
        """Wait until an unreachable destination is retried for new mail."""
        time.sleep(RETRY / 5 + 1)

    def flush(self):
        """One more message: when it is through, all that waits for the same destination follows.
        How many messages that took."""
        self.fill(1, "flush")
        return 1

    def waiting(self):
        """How many messages are in the queue."""
        return len(json.loads(self._server.words("queue", "list", "--json").decode("utf-8")))

    def stop(self):
        self._server.stop()
        self._names.__exit__()


class Theirs(PostfixQueue):
    """Postfix in the same place."""

    def __init__(self, bench):
        self.folder = bench.folder(self.name)
        self.next_hop = free_port()
        super().__init__(self.folder, self.next_hop)

    def get_ready(self):
        """It is."""

    def fill(self, count, prefix):
        return _accepted(send(self.smtp, count, CONNECTIONS, 0, prefix), count)


def _accepted(done, count):
    if done["refused"] or done["accepted"] != count:
        raise Lost("accepted %d of %d: %s" % (done["accepted"], count, done["refused"][:3]))
    return done


def run(bench):
    """Rows of draining, of signing, of one large message, and of the dead destination; one where
    there is no smtp-sink."""
    try:
        yield from _drained(bench)
        yield from _signed(bench)
        yield from _beside_a_dead_one(bench)
    except Missing as missing:
        yield Row("relay", "without %s" % missing)


# The queue drained


def _drained(bench):
    Sink(bench.folder("sink"))  # Missing says so before anything is started
    servers, rates, costs = [], {}, {}
    try:
        servers.append(Ours(bench, signed=False).start())
        if bench.peers:
            try:
                servers.append(Theirs(bench).start())
            except Missing as missing:
                bench.say("without %s" % missing)
        for number in range(bench.rounds):
            for server in servers[number % len(servers):] + servers[:number % len(servers)]:
                rate, cost = _drain(server, bench.messages, str(number))
                bench.say("%s: %.0f/s" % (server.name, rate))
                rates.setdefault(server.name, []).append(rate)
                costs.setdefault(server.name, []).append(cost)
    finally:
        for server in servers:
            server.stop()
    peer = rates.get(PostfixQueue.name)
    yield beside("relay, %d queued messages drained" % bench.messages, median(rates[Ours.name]),
                 PostfixQueue.name,
                 median(peer) if peer else None, "%.0f/s", at_least=1.0)
    for name, seconds in sorted(costs.items()):
        yield Row("  processor time a message, " + name, "%.0f us" % (1e6 * median(seconds)))


def _drain(server, count, prefix):
    """(messages a second, seconds of processor time a message) of a queue that is full when the way
    is opened."""
    server.hold()
    server.fill(count, prefix)
    _until(lambda: server.waiting() >= count, "%s: %d messages in the queue" % (server.name, count))
    server.get_ready()
    sink = Sink(server.folder, server.next_hop).start()
    try:
        before = server.child.processor_seconds()
        count += server.flush()
        _until(lambda: sink.count() >= 1, "%s: the first message" % server.name)
        first, began = sink.count(), time.monotonic()
        ended = _all_arrived(server, sink, count)
        return (count - first) / (ended - began), (server.child.processor_seconds()
                                                   - before) / count
    finally:
        sink.stop()


def _all_arrived(server, sink, count):
    """Wait for so many messages in the sink, and for the queue's end; the moment of the last
    message."""
    ended = _until(lambda: sink.count() >= count,
                   "%s: %d messages in the sink" % (server.name, count))
    _until(lambda: not server.waiting(), "%s: an empty queue" % server.name)
    if sink.count() != count:
        raise Lost("%s sent %d messages, not %d" % (server.name, sink.count(), count))
    return ended


def _until(look, what):
    """Wait until `look()`; the moment."""
    end = time.monotonic() + PATIENCE
    while not look():
        if time.monotonic() > end:
            raise Lost("%s: not within %d s" % (what, PATIENCE))
        time.sleep(0.005)
    return time.monotonic()


# Signatures, and one large message

_SIGN = """
import sys, time, dkim
key, domain, count = open(sys.argv[1], "rb").read(), sys.argv[2].encode("ascii"), int(sys.argv[3])
message = sys.stdin.buffer.read()
began = time.perf_counter()
for _ in range(count):
    dkim.sign(message, b"all", domain, key, canonicalize=(b"relaxed", b"relaxed"))
print((time.perf_counter() - began) / count)
"""


def _signed(bench):
    """Submitted, signed and relayed, beside dkimpy that signs and does nothing else."""
    server = Ours(bench, signed=True).start()
    sink = Sink(server.folder, server.next_hop).start()
    try:
        _until(lambda: os.path.exists(server.key), "a key")
        server.start_again()  # the root has its keys now
        receive_and_read(server)
        arrived = _one(server, sink, "warm")
        memory = _at_rest(server) / MEGABYTE
        rates, alone_rates = [], []
        for number in range(bench.rounds):
            alone_rates.append(1 / _dkimpy(bench, server))
            began = server.fill(bench.messages, "signed-%d" % number)["began"]
            arrived += bench.messages
            rates.append(bench.messages / (_all_arrived(server, sink, arrived) - began))
            bench.say("signed: %.0f/s; dkimpy alone: %.0f/s" % (rates[-1], alone_rates[-1]))
        yield beside("relay, submitted, signed and sent", median(rates), "dkimpy",
                     median(alone_rates), "%.0f/s",
                     at_least=SIGNED_BAR)
        yield alone("relay: memory, a signed message left", memory, "%.1f MB",
                    at_most=SIGNED_MEMORY_BAR)
        yield from _large(bench, server, sink)
    finally:
        sink.stop()
        server.stop()


def _at_rest(server):
    """Bytes once the program has given back what loading its parts took for a moment, which it does
    twice a minute."""
    least, end = server.child.memory(), time.monotonic() + GIVEN_BACK
    while time.monotonic() < end:
        time.sleep(1.0)
        least = min(least, server.child.memory())
    return least


def _dkimpy(bench, server):
    """Seconds that dkimpy takes to sign one message with the server's key."""
    out = subprocess.run([bench.python, "-c", _SIGN, server.key, DOMAIN, "100"],
                         stdout=subprocess.PIPE, check=True,
                         input=message(1, "dkimpy", author=ADDRESS)).stdout
    return float(out)


def _one(server, sink, serial):
    """Send one message and wait for it: how many the sink has then."""
    before = sink.count()
    server.fill(1, serial)
    _until(lambda: sink.count() > before, "the message " + serial)
    return sink.count()


def _large(bench, server, sink):
    measured = []
    for _ in range(bench.rounds):
        before, octets = sink.count(), sink.octets()
        bystander = Bystander(server.ports["imap"])
        server.child.forget_most_memory()
        memory = server.child.memory()
        bystander.start()
        began = time.monotonic()
        large.result(large.start("submission", server.ports["submission"], SIZE))
        ended = _until(lambda: sink.count() > before, "100 MB in the sink")
        bystander.stop()
        if sink.octets() - octets < SIZE:
            raise Lost("the sink read %d octets of %d" % (sink.octets() - octets, SIZE))
        measured.append(((server.child.most_memory() - memory) / MEGABYTE,
                         1e3 * max(bystander.times),
                         1e3 * median(bystander.times), ended - began))
        bench.say("100 MB: %.1f MB more, %.0f ms at most, %.1f ms usually, %.1f s" % measured[-1])
    growth, worst, usual, seconds = zip(*measured)
    yield alone("100 MB, submitted, signed, relayed: memory", max(growth), "%.1f MB",
                at_most=GROWTH_BAR)
    yield alone("100 MB, submitted, signed, relayed: NOOP, at most", median(worst), "%.0f ms",
                at_most=WAIT_BAR,
                about="usually %.1f ms" % median(usual))
    yield Row("100 MB, submitted, signed, relayed: time", "%.1f s" % median(seconds))


# A dead destination


def _beside_a_dead_one(bench):
    """Mail for a server that takes connections and says nothing, and one message for another."""
    server = Ours(bench, signed=False).start()
    sink = Sink(server.folder, server.next_hop).start()
    dead = socket.socket()
    try:
        dead.bind((SILENT, server.next_hop))
        dead.listen(128)
        _one(server, sink, "warm")
        before = server.child.memory()
        count = DEAD_MESSAGES * bench.messages
        server.fill(count, "dead", DEAD)
        growth = (server.child.memory() - before) / MEGABYTE
        times = [_live(server, sink, number) for number in range(max(bench.rounds, 3))]
        if server.waiting() != count:
            raise Lost("%d messages in the queue, not %d" % (server.waiting(), count))
        yield alone("relay, %d messages for a dead one: memory" % count, growth, "%.1f MB",
                    at_most=DEAD_GROWTH_BAR)
        yield alone("relay, %d messages for a dead one: others' leave" % count, max(times),
                    "%.2f s", at_most=LIVE_BAR)
    finally:
        dead.close()
        sink.stop()
        server.stop()


def _live(server, sink, number):
    """Seconds from the acceptance of a message for another destination to its arrival there."""
    before = sink.count()
    sender = OneMessage(server.ports["submission"], b"EHLO", FAR)
    sender.send(message(number, "live-%d" % number, author=ADDRESS))
    accepted = time.monotonic()
    sender.close()
    return _until(lambda: sink.count() > before, "mail for a live destination") - accepted
