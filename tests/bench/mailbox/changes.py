"""STORE, COPY, MOVE, EXPUNGE, APPEND, and how soon IDLE announces a delivery."""
import time

from .. import messages
from ..clients.imap import Imap
from ..clients.one_message import OneMessage
from ..table import median
from .side_by_side import Question, compare, selected

APPENDS = 200
STORE, COPY, MOVE, EXPUNGE = "STORE 1:*", "COPY of 1000", "MOVE of 1000", "EXPUNGE of 1000"
APPEND, IDLE = "APPEND, 2 KB, one after another", "a delivery announced to IDLE"
QUESTIONS = (
    Question(STORE, at_most=1.2), Question(COPY, at_most=1.1), Question(MOVE, at_most=1.1),
    Question(EXPUNGE, at_most=1.1), Question(APPEND, at_least=1 / 0.9),
    Question(IDLE, milliseconds=15.0))


def run(bench):
    return compare(bench, QUESTIONS, _turn)


def _turn(server, number, bench):
    client = selected(server)
    yield STORE, median([client.timed(b"STORE 1:* %bFLAGS (\\Flagged)" % sign)[0]
                         for sign in (b"+", b"-", b"+", b"-")])
    yield from _move_about(client, number, min(bench.mailbox, 1000))
    client.close()
    yield APPEND, _append(server)
    yield IDLE, _idle(server)


def _move_about(client, number, count):
    for name in (b"Copies%d", b"Moved%d"):
        client.command(b"CREATE " + name % number)
    yield COPY, client.timed(b"COPY 1:%d Copies%d" % (count, number))[0]
    client.command(b"SELECT Copies%d" % number)
    yield MOVE, client.timed(b"MOVE 1:%d Moved%d" % (count, number))[0]
    client.command(b"SELECT Moved%d" % number)
    client.command(b"STORE 1:* +FLAGS.SILENT (\\Deleted)")
    yield EXPUNGE, client.timed(b"EXPUNGE")[0]


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
    client = selected(server, "INBOX")
    lmtp = server.ports.get("lmtp")
    sender = OneMessage(lmtp, b"LHLO") if lmtp else OneMessage(server.ports["smtp"], b"EHLO")
    client.idle()
    times = []
    for number in range(15):
        accepted = sender.send(messages.message(number, "idle-%d" % number))
        news = b""
        while b" EXISTS\r\n" not in news:
            news += client.until(b"\r\n")
        times.append(max(0.0, time.perf_counter() - accepted))
    client.done()
    client.close()
    sender.close()
    return median(times)
