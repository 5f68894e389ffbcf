"""Two servers over the same messages, which take turns at the same questions."""
import os
from typing import NamedTuple, Optional

from .. import messages
from ..clients.imap import Imap
from ..peers.dovecot import Dovecot
from ..peers.phenmail import Phenmail
from ..peers.process import Missing
from ..table import alone, beside, median

KEPT = "Kept"  # stays for all turns


class Question(NamedTuple):
    """What is measured. Values are seconds, or a rate if there is `at_least`.

    `at_most`, `at_least`: the bar, a ratio of ours to Dovecot's. `milliseconds`: the bar of a
    question that has a figure of its own.
    """
    name: str
    at_most: Optional[float] = None
    at_least: Optional[float] = None
    milliseconds: Optional[float] = None

    def row(self, ours, peer=None):
        if self.at_least is not None:
            return beside(self.name, ours, "Dovecot", peer, "%.0f/s", at_least=self.at_least)
        if self.milliseconds is not None:
            return alone(self.name, 1e3 * ours, "%.1f ms", at_most=self.milliseconds,
                         about="" if peer is None else "Dovecot %.1f ms" % (1e3 * peer))
        return beside(self.name, 1e3 * ours, "Dovecot", None if peer is None else 1e3 * peer,
                      "%.1f ms", at_most=self.at_most)


def compare(bench, questions, turn, kept=None, mailboxes=(), prepare=None):
    """Rows of all `questions`: medians over the bench's turns.

    `turn(server, number, bench)` yields (name of a question, value); `kept`: how many messages
    the mailbox Kept has (default: all); `mailboxes`: names of more copies of all messages, each of
    which every turn gets anew, with its number behind the name. `prepare(server)` runs before the
    server starts.
    """
    original = bench.original()
    servers = start(bench, original, mailboxes, kept, prepare)
    try:
        values = {server: {} for server in servers}
        for number in range(bench.rounds):
            for server in servers if number % 2 else servers[::-1]:
                bench.say("%s, turn %d" % (server.name, number + 1))
                for name, value in turn(server, number, bench):
                    bench.say("  %-45s %10.4f" % (name, value))
                    values[server].setdefault(name, []).append(value)
    finally:
        for server in servers:
            server.stop()
    for question in questions:
        yield question.row(*[median(values[server][question.name]) for server in servers
                             if question.name in values[server]])


def start(bench, original, mailboxes=(), kept=None, prepare=None):
    """Our server and, if it is here, Dovecot, with their mailboxes."""
    servers = [Phenmail(bench.folder("phenmail"), bench.python)]
    if bench.peers:
        try:
            servers.append(Dovecot(bench.folder("dovecot")))
        except Missing as missing:
            bench.say("without %s" % missing)
    for server in servers:
        place(server, original, KEPT, kept)
        for number in range(bench.rounds):
            for name in mailboxes:
                place(server, original, "%s%d" % (name, number))
        if prepare is not None:
            prepare(server)
        server.start()
    return servers


def place(server, original, name, count=None):
    """Copy the first `count` messages (default: all) into a mailbox that nobody has read yet."""
    path = os.path.join(server.maildir, "." + name)
    messages.copy(original, path, count)
    open(os.path.join(path, "maildirfolder"), "w").close()


def selected(server, mailbox=KEPT):
    """A connection that has just selected `mailbox`."""
    client = Imap(server.ports["imap"]).login()
    client.command(b"SELECT " + mailbox.encode("ascii"))
    return client


def first_and_warm(client, command, times=5):
    """(seconds of the command the first time, median of later times)."""
    first = client.timed(command)[0]
    return first, median([client.timed(command)[0] for _ in range(times)])
