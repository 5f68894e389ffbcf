"""Durable local delivery of 2 KB messages over 10 connections, beside Postfix, aiosmtpd and a
server that does nothing else."""
import time

from . import messages
from .clients.senders import send
from .peers.aiosmtpd_maildir import Aiosmtpd
from .peers.phenmail import Phenmail
from .peers.postfix import Postfix
from .peers.process import Missing
from .peers.trivial import Trivial
from .table import Row, beside, median

CONNECTIONS = 10
WAYS = (("one message a connection", 1, 1.2), ("many a connection", 0, 1.5))
AIOSMTPD_BAR = 2.0
WARMING = 50


class Lost(Exception):
    """Accepted and not in the Maildir: the worst that a mail server can do."""


def run(bench):
    """Rows of both ways of sending, each beside every peer."""
    servers = started(bench)
    try:
        ours = servers[0]
        rates, costs, expected = _measured(servers, bench)
        for server in servers:
            _check(server, expected[server.name])
        for way, _, bar in WAYS:
            for name, bar in (("Postfix", bar), ("aiosmtpd", AIOSMTPD_BAR), ("trivial", None)):
                peer = rates.get((name, way))
                yield beside("delivery, " + way, median(rates[ours.name, way]), name,
                             median(peer) if peer else None, "%.0f/s", at_least=bar)
            for name, seconds in sorted(costs[way].items()):
                yield Row("  processor time a message, " + name,
                          "%.0f us" % (1e6 * median(seconds)))
    finally:
        for server in servers:
            server.stop()


def started(bench):
    """All that are here, ours first."""
    servers = []
    try:
        for make in (Phenmail, Postfix, Aiosmtpd, Trivial) if bench.peers else (Phenmail,):
            try:
                servers.append(make(bench.folder(make.name), bench.python))
            except Missing as missing:
                bench.say("without %s" % missing)
            else:
                servers[-1].start()
    except BaseException:
        for server in servers:
            server.stop()
        raise
    return servers


def _measured(servers, bench):
    rates, costs = {}, {way: {} for way, _, _ in WAYS}
    expected = {server.name: set() for server in servers}
    for server in servers:
        _one(server, WARMING, 1, "warm", expected)
    for number in range(bench.rounds):
        for way, each, _ in WAYS:
            for server in servers[number % len(servers):] + servers[:number % len(servers)]:
                before = server.child.processor_seconds()
                rate, share = _one(server, bench.messages, each, "%d-%d" % (number, each), expected)
                bench.say("%s, %s: %.0f/s" % (server.name, way, rate))
                rates.setdefault((server.name, way), []).append(rate)
                costs[way].setdefault(server.name, []).append(
                    (server.child.processor_seconds() - before) / bench.messages)
                costs[way].setdefault("the client", []).append(share)
    return rates, costs, expected


def _one(server, count, each, prefix, expected):
    """Send `count` messages: (messages a second until the last one arrived, generator's seconds a
    message)."""
    expected[server.name].update("%s-%d" % (prefix, number) for number in range(count))
    done = send(server.smtp, count, CONNECTIONS, each, prefix)
    if done["refused"] or done["accepted"] != count:
        raise Lost("%s accepted %d of %d: %s" % (server.name, done["accepted"], count,
                                                 done["refused"][:3]))
    ended = done["ended"]
    if server.waits:
        ended = _arrived(server, len(expected[server.name]))
    return count / (ended - done["began"]), done["processor"] / count


def _arrived(server, count):
    """Wait until so many messages lie in the Maildir; the moment."""
    end = time.monotonic() + 60
    while messages.count(server.maildir) < count:
        if time.monotonic() > end:
            raise Lost("%s: %d of %d messages arrived" % (server.name,
                                                          messages.count(server.maildir), count))
        time.sleep(0.005)
    return time.monotonic()


def _check(server, expected):
    """Every accepted message is in the Maildir, once."""
    found = messages.serials(server.maildir)
    missing, twice = expected.difference(found), len(found) - len(set(found))
    if missing or twice:
        raise Lost("%s: %d messages are missing (%s), %d are there twice" % (
            server.name, len(missing), sorted(missing)[:3], twice))
