"""A mailbox of 10 000 messages beside Dovecot, on copies of the same Maildir content."""
import os
import time

from . import messages
from .clients.imap import Imap
from .clients.one_message import OneMessage
from .peers.dovecot import Dovecot
from .peers.phenmail import Phenmail
from .peers.process import Missing
from .table import alone, beside, median

BAR = 2.0
IDLE_BAR = 20.0  # milliseconds
APPENDS = 100
MAIL_PROGRAM = (
    b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (DATE FROM SENDER "
    b"SUBJECT TO CC "
    b"MESSAGE-ID REFERENCES CONTENT-TYPE IN-REPLY-TO REPLY-TO)])")


def run(bench):
    """A row for each question, ours beside Dovecot's."""
    original = os.path.join(bench.folder("original"), "mail")
    messages.fill(original, bench.mailbox)
    servers = _servers(bench)
    try:
        for server in servers:
            _place(server, original, bench.rounds)
            server.start()
        times = {server: {} for server in servers}
        for number in range(bench.rounds):
            for server in servers if number % 2 else servers[::-1]:
                bench.say("%s, turn %d" % (server.name, number + 1))
                for name, seconds in _turn(server, number, bench):
                    times[server].setdefault(name, []).append(seconds)
        for name in times[servers[0]]:
            yield _row(name, *[median(times[server][name]) for server in servers])
    finally:
        for server in servers:
            server.stop()


def _row(name, ours, peer=None):
    if name == _APPEND:
        return beside(name, ours, "Dovecot", peer, "%.0f/s", at_least=1 / BAR)
    if name == _IDLE:
        return alone(name, 1e3 * ours, "%.1f ms", at_most=IDLE_BAR,
                     about="" if peer is None else "Dovecot %.1f ms" % (1e3 * peer))
    bar = None if name in _TOLD else BAR
    return beside(name, 1e3 * ours, "Dovecot", None if peer is None else 1e3 * peer, "%.1f ms",
                  at_most=bar)


_COLD_SELECT = "SELECT, the first of all"
_APPEND = "APPEND, 2 KB, one connection"
_IDLE = "a delivery announced to IDLE"
_SEARCH_FLAGS = "SEARCH UNSEEN"
_TOLD = (_COLD_SELECT, _SEARCH_FLAGS)  # of interest, without a bar


def _servers(bench):
    servers = [Phenmail(bench.folder("phenmail"), bench.python)]
    if bench.peers:
        try:
            servers.append(Dovecot(bench.folder("dovecot")))
        except Missing as missing:
            bench.say("without %s" % missing)
    return servers


def _place(server, original, rounds):
    """A mailbox that stays for all turns, and for each turn one that nobody has read yet."""
    for name in [".Kept"] + [".Cold%d" % number for number in range(rounds)]:
        path = os.path.join(server.maildir, name)
        messages.copy(original, path)
        open(os.path.join(path, "maildirfolder"), "w").close()


def _turn(server, number, bench):
    """(name, seconds) of every question; APPEND's is a rate."""
    client = Imap(server.ports["imap"]).login()
    yield _COLD_SELECT, client.timed(b"SELECT Cold%d" % number)[0]
    seconds, answer = client.timed(MAIL_PROGRAM)
    _expect(answer, bench.mailbox)
    yield "what a mail program fetches, cold", seconds
    client.close()
    client = Imap(server.ports["imap"]).login()
    client.command(b"SELECT Kept")
    if not number:
        client.command(MAIL_PROGRAM)
    for name, command in _questions(bench.mailbox):
        yield name, median([client.timed(command)[0] for _ in range(5)])
    yield "STORE 1:*", median(
        [client.timed(b"STORE 1:* %sFLAGS (\\Flagged)" % sign)[0] for sign in (b"+", b"-")])
    client.close()
    yield "SELECT, warm", _select(server)
    yield _APPEND, _append(server)
    yield _IDLE, _idle(server)


def _questions(count):
    return (
        ("FETCH 1:* (UID FLAGS)", b"FETCH 1:* (UID FLAGS)"),
        ("what a mail program fetches, warm", MAIL_PROGRAM),
        ("1000 bodies", b"FETCH 1:%d (BODY.PEEK[])" % min(count, 1000)),
        ("SEARCH TEXT", b"SEARCH TEXT " + messages.NEEDLE.encode("ascii")),
        (_SEARCH_FLAGS, b"SEARCH UNSEEN"),
    )


def _expect(answer, count):
    found = answer.count(b" FETCH (")
    if found != count:
        raise AssertionError("%d messages were told of %d" % (found, count))


def _select(server):
    """SELECT of a known mailbox on new connections."""
    times = []
    for _ in range(7):
        client = Imap(server.ports["imap"]).login()
        times.append(client.timed(b"SELECT Kept")[0])
        client.close()
    return median(times)


def _append(server):
    """Messages a second into INBOX."""
    client = Imap(server.ports["imap"]).login()
    bodies = [messages.message(number, "append-%d" % number) for number in range(APPENDS)]
    began = time.perf_counter()
    for body in bodies:
        client.append(b"INBOX", body)
    seconds = time.perf_counter() - began
    client.close()
    return APPENDS / seconds


def _idle(server):
    """Seconds from the answer to a message to its announcement (which may come before it)."""
    client = Imap(server.ports["imap"]).login()
    client.command(b"SELECT INBOX")
    lmtp = server.ports.get("lmtp")
    sender = OneMessage(lmtp, b"LHLO") if lmtp else OneMessage(server.ports["smtp"], b"EHLO")
    client.idle()
    times = []
    for number in range(5):
        accepted = sender.send(messages.message(number, "idle-%d" % number))
        news = b""
        while b" EXISTS\r\n" not in news:
            news += client.until(b"\r\n")
        times.append(max(0.0, time.perf_counter() - accepted))
    client.done()
    client.close()
    sender.close()
    return median(times)
