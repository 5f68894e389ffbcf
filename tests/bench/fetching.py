"""Fetching from a Dovecot on the loopback: messages a second beside getmail and mbsync, memory,
accounts that wait with IDLE, and how soon a new message is here."""
import json
import os
import time

from . import messages
from .clients import large
from .clients.imap import Imap
from .peers.dovecot import Dovecot
from .peers.fetchers import Getmail, Mbsync
from .peers.phenmail import Phenmail
from .peers.process import Missing
from .table import Row, alone, beside, median

MEGABYTE = 1e6
SIZE = 100 * 1000 * 1000  # octets of the large message
MEMORY_BAR = 6.0  # megabytes
ACCOUNTS = 50
ACCOUNTS_BAR = 10.0  # megabytes
DELIVERIES = 20
LATENCY_BAR = 200.0  # milliseconds
WARMING = 100
_PATIENCE = 600.0  # seconds
_WAYS = (("IMAP", "imap", (Getmail, Mbsync)), ("POP3", "pop", (Getmail,)))
_PORTS = {"pop": "pop3"}  # a protocol of the fetcher's file -> the name of its port


class Lost(Exception):
    """A message did not arrive, or arrived twice."""


def run(bench):
    """Rows of all that is measured; one that says so where Dovecot is missing."""
    try:
        source = Dovecot(bench.folder("dovecot"))
    except Missing as missing:
        yield Row("fetching", "%s missing" % missing)
        return
    _fill(bench, source)
    source.start()
    try:
        for way in _WAYS:
            yield from _rates(bench, source, *way)
        yield from _memory(bench, source)
        yield from _idlers(bench, source)
        yield from _latency(bench, source)
    finally:
        source.stop()


def _fill(bench, source):
    """All mailboxes of the source."""
    bench.say("writing %d messages" % bench.messages)
    counts = {"warm": WARMING}
    counts.update(("idle%d" % number, 1) for number in range(ACCOUNTS))
    for user, count in counts.items():
        messages.fill_new(source.maildir_of(user), count)
        source.own(source.maildir_of(user))
    messages.fill_new(source.maildir, bench.messages)


def account(source, protocol, user, **more):
    """An account of the fetcher's file."""
    return dict({"name": user, "server": "127.0.0.1", "protocol": protocol,
                 "port": source.ports[_PORTS.get(protocol, protocol)], "username": user,
                 "passphrase": messages.PASSPHRASE, "first-time": "download-all", "period": "1 h"},
                **more)


def configure(server, accounts):
    """Write the fetcher's file, in one step."""
    folder = os.path.join(server.root, messages.USER, "system", "config")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "mail-fetcher.jcfg")
    with open(path + ".new", "w") as file:
        json.dump({"accounts": accounts}, file)
    os.rename(path + ".new", path)


def await_count(server, count):
    """Wait until so many messages are in our mailbox -> time.monotonic() then."""
    began, end = time.monotonic(), time.monotonic() + _PATIENCE
    first = _count(server)
    while True:
        found, now = _count(server), time.monotonic()
        if found >= count:
            return now
        if now > end:
            raise Lost("%d of %d messages arrived" % (found, count))
        server.child.check()
        # Looking takes time from the server: the more messages are missing, the rarer.
        left = (now - began) * (count - found) / (found - first) if found > first else 0.0
        time.sleep(min(0.5, max(0.005, left / 3)))


def _count(server):
    try:
        return messages.count(server.maildir)
    except FileNotFoundError:  # the first message makes the folders
        return 0


def _check(maildir, count):
    found = messages.serials(maildir)
    if len(found) != count or len(set(found)) != count:
        raise Lost("%d messages of %d arrived, %d of them different" % (
            len(found), count, len(set(found))))


# Messages a second


def _rates(bench, source, way, protocol, peers):
    """Rows of one protocol: ours beside each peer."""
    _warm(source, protocol)
    turns = [(Phenmail.name, lambda: _ours(bench, source, protocol))]
    for peer in peers if bench.peers else ():
        turns.append((peer.name, lambda peer=peer: _peer(bench, source, protocol, peer)))
    values, processor = {name: [] for name, _ in turns}, []
    for number in range(bench.rounds):
        for name, turn in turns if number % 2 else turns[::-1]:
            try:
                seconds, used = turn()
            except Missing:
                continue
            values[name].append(bench.messages / seconds)
            bench.say("fetch over %s, %s: %.0f/s" % (way, name, values[name][-1]))
            if name == Phenmail.name:
                processor.append(used / bench.messages)
    ours, text = median(values[Phenmail.name]), "fetch %d messages over %s" % (bench.messages, way)
    for peer in peers:
        found = values.get(peer.name)
        yield beside(text, ours, peer.name, median(found) if found else None, "%.0f/s", at_least=1)
    yield Row("  processor time a message", "%.0f us" % (1e6 * median(processor)))


def _warm(source, protocol):
    """Let Dovecot make its indexes before anybody is measured."""
    if protocol == "imap":
        client = Imap(source.ports["imap"]).login()
        client.command(b"SELECT INBOX")
        client.command(b"FETCH 1:* (UID RFC822.SIZE INTERNALDATE)")
        client.close()


def _ours(bench, source, protocol):
    """(seconds from the start of our server to the last message, its processor seconds)."""
    server = Phenmail(bench.folder("phenmail"), bench.python)
    server.start().stop()  # the root has its keys now
    configure(server, [account(source, protocol, messages.USER)])
    began = time.monotonic()
    server.launch()
    try:
        seconds = await_count(server, bench.messages) - began
        used = server.child.processor_seconds()
    finally:
        server.stop()
    _check(server.maildir, bench.messages)
    return seconds, used


def _peer(bench, source, protocol, peer):
    """(seconds, None)."""
    port = source.ports[_PORTS.get(protocol, protocol)]
    fetcher = peer(bench.folder(peer.name), port, "POP3" if protocol == "pop" else "IMAP",
                   messages.USER)
    began = time.monotonic()
    fetcher.run()
    seconds = time.monotonic() - began
    _check(fetcher.maildir, bench.messages)
    return seconds, None


# Memory


def _memory(bench, source):
    """Growth while many messages arrive, and while a large one does."""
    server = Phenmail(bench.folder("phenmail"), bench.python, {
        "limits": {"message-size": 2 * SIZE}})
    configure(server, [account(source, "imap", "warm")])
    server.start()
    try:
        await_count(server, WARMING)
        growth = _growth(server, WARMING + bench.messages, lambda: _give_all(source, "warm"))
        yield alone("fetch %d messages: memory" % bench.messages, growth, "%.1f MB",
                    at_most=MEMORY_BAR)
        data = b"".join(large.octets(SIZE, b"large"))
        growth = _growth(server, WARMING + bench.messages + 1,
                         lambda: messages.put(source.maildir_of("warm"), 0, data))
        yield alone("fetch one message of %.0f MB: memory" % (SIZE / MEGABYTE), growth, "%.1f MB",
                    at_most=MEMORY_BAR)
    finally:
        server.stop()


def _growth(server, count, give):
    """Megabytes that our server needs more until it has `count` messages, after `give()`."""
    before = server.child.memory()
    server.child.forget_most_memory()
    give()
    await_count(server, count)
    return (server.child.most_memory() - before) / MEGABYTE


def _give_all(source, user):
    """Put all messages of the large mailbox into that of a user, at once."""
    maildir = source.maildir_of(user)
    for part in ("new", "cur"):
        for name in os.listdir(os.path.join(source.maildir, part)):
            os.link(os.path.join(source.maildir, part, name),
                    os.path.join(maildir, "new", "2" + name.partition(":")[0]))


def _idlers(bench, source):
    """Accounts that wait with IDLE: each has fetched one message, and gets one more."""
    server = Phenmail(bench.folder("phenmail"), bench.python)
    server.start()
    before = server.child.memory()
    server.stop()
    users = ["idle%d" % number for number in range(ACCOUNTS)]
    configure(server, [account(source, "imap", user) for user in users])
    server.start()
    try:
        await_count(server, ACCOUNTS)
        for user in users:
            messages.put(source.maildir_of(user), 2, messages.message(2, "second-" + user))
        await_count(server, 2 * ACCOUNTS)
        growth = (server.child.memory() - before) / MEGABYTE
        yield alone("%d accounts that wait with IDLE: memory" % ACCOUNTS, growth, "%.1f MB",
                    at_most=ACCOUNTS_BAR)
    finally:
        server.stop()


# Latency


def _latency(bench, source):
    """From phenmail; and from Dovecot, which announces a message only after half a second."""
    far = Phenmail(bench.folder("phenmail-far"), bench.python).start()
    try:
        whole, announced = _deliveries(bench, far)
        yield alone("a new message at phenmail is here", whole, "%.0f ms", at_most=LATENCY_BAR,
                    about="after its news %.0f ms" % announced)
    finally:
        far.stop()
    whole, announced = _deliveries(bench, source)
    yield alone("a new message at Dovecot is here after its news", announced, "%.0f ms",
                at_most=LATENCY_BAR, about="after its APPEND %.0f ms" % whole)


def _deliveries(bench, origin):
    """Medians of the milliseconds from the beginning of an APPEND, and from the moment when another
    client in IDLE is told of it, until the message is in our mailbox."""
    server = Phenmail(bench.folder("phenmail"), bench.python)
    configure(server, [account(origin, "imap", messages.NEIGHBOUR + "@" + messages.DOMAIN)])
    writer = Imap(origin.ports["imap"]).login(messages.NEIGHBOUR)
    writer.append(b"INBOX", messages.message(0, "latency-0"))
    watcher = Imap(origin.ports["imap"]).login(messages.NEIGHBOUR)
    watcher.command(b"SELECT INBOX")
    watcher.idle()
    server.start()
    whole, announced = [], []
    try:
        await_count(server, 1)
        for number in range(1, DELIVERIES + 1):
            began = time.monotonic()
            writer.append(b"INBOX", messages.message(number, "latency-%d" % number))
            _await_news(watcher, number + 1)
            told = time.monotonic()
            here = await_count(server, number + 1)
            whole.append(1e3 * (here - began))
            announced.append(1e3 * (here - told))
    finally:
        server.stop()
        writer.close()
        watcher.close()
    return median(whole), median(announced)


def _await_news(client, count):
    news = b""
    while b"* %d EXISTS\r\n" % count not in news:
        news += client.until(b"\r\n")
