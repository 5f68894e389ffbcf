"""Opening a mailbox: without an index, again, and after other programs changed much of it."""
import re

from ..clients.imap import Imap
from ..table import median
from .side_by_side import KEPT, Question, compare, selected

COLD, WARM, RESYNC = "SELECT, the first of all", "SELECT, warm", "SELECT QRESYNC, 1000 changes"
QUESTIONS = (Question(COLD, at_most=2), Question(WARM, at_most=0.5), Question(RESYNC, at_most=1))
CHANGES = 1000


def run(bench):
    return compare(bench, QUESTIONS, _turn, mailboxes=("Cold",))


def _turn(server, number, bench):
    client = Imap(server.ports["imap"]).login()
    yield COLD, client.timed(b"SELECT Cold%d" % number)[0]
    client.close()
    selected(server).close()
    yield WARM, median([_seconds(server, KEPT) for _ in range(7)])
    yield RESYNC, _resync(server, "Cold%d" % number)


def _seconds(server, mailbox):
    client = Imap(server.ports["imap"]).login()
    seconds = client.timed(b"SELECT " + mailbox.encode("ascii"))[0]
    client.close()
    return seconds


def _resync(server, mailbox):
    """Seconds of a SELECT that sends 900 flags and 100 expunged UIDs."""
    name = mailbox.encode("ascii")
    client = Imap(server.ports["imap"]).login()
    client.command(b"ENABLE QRESYNC")
    answer = client.command(b"SELECT " + name)
    uidvalidity, modseq, count = [
        int(re.search(pattern, answer).group(1)) for pattern in (
            rb"\[UIDVALIDITY (\d+)", rb"\[HIGHESTMODSEQ (\d+)", rb"(\d+) EXISTS")]
    client.command(b"UNSELECT")
    other = selected(server, mailbox)
    changes = min(CHANGES, count)
    other.command(b"STORE 1:%d +FLAGS.SILENT (\\Answered)" % changes)
    other.command(b"STORE 1:%d +FLAGS.SILENT (\\Deleted)" % max(1, changes // 10))
    other.command(b"EXPUNGE")
    other.close()
    seconds = client.timed(b"SELECT %s (QRESYNC (%d %d))" % (name, uidvalidity, modseq))[0]
    client.close()
    return seconds
