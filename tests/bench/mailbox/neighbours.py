"""How long another user's NOOP takes while one user runs an expensive command."""
from .. import messages
from ..clients import large, one_command
from ..clients.bystander import Bystander
from ..clients.imap import Imap
from ..table import Row, alone
from . import side_by_side

BAR = 50.0  # milliseconds, of the 99th percentile
SIZE = 100 * 1000 * 1000
PARTS = 20000  # of the MIME bomb
# (name, mailbox, command); each mailbox is one that nobody has read yet. No command: SELECT itself.
COMMANDS = (
    ("SELECT, cold", "Select", ""),
    ("SEARCH TEXT without an index", "Search", "SEARCH TEXT kraken"),
    ("SORT (SUBJECT), cold", "Sort", "SORT (SUBJECT) UTF-8 ALL"),
    ("THREAD REFERENCES, cold", "Thread", "THREAD REFERENCES UTF-8 ALL"),
    ("FETCH 1:* BODYSTRUCTURE, cold", "Structure", "FETCH 1:* (BODYSTRUCTURE)"),
    ("FETCH 1:* ENVELOPE, cold", "Envelope", "FETCH 1:* (ENVELOPE)"),
    ("COPY 1:*", "Copy", "COPY 1:* Copies"),
    ("STORE 1:*", "Copy", "STORE 1:* +FLAGS (\\Flagged)"),
    ("MIME bomb, BODYSTRUCTURE", "Bomb", "FETCH 1:* (BODYSTRUCTURE)"),
)


def run(bench):
    """A row for each command; the peer's percentile beside ours."""
    original = bench.original()
    servers = side_by_side.start(bench, original, [], 0)
    try:
        found = {server: dict(_measured(server, original, bench)) for server in servers}
        for name in found[servers[0]]:
            yield from _rows(name, *[found[server].get(name) for server in servers])
    finally:
        for server in servers:
            server.stop()


def _rows(name, ours, peer=None):
    yield alone("NOOP during %s" % name, ours[0], "%.1f ms", at_most=BAR,
                about="" if peer is None else "Dovecot %.1f ms" % peer[0])
    yield Row("  the command itself", "%.2f s" % ours[1],
              "" if peer is None else "Dovecot %.2f s" % peer[1],
              None if peer is None else ours[1] / peer[1])


def _measured(server, original, bench):
    """(name, (milliseconds of the 99th percentile, seconds of the command))."""
    client = Imap(server.ports["imap"]).login()
    for name in (b"Copies", b"Bomb", b"Large"):
        client.command(b"CREATE " + name)
    client.append(b"Bomb", bomb())
    client.close()
    for number, (name, mailbox, command) in enumerate(COMMANDS):
        if mailbox not in [each[1] for each in COMMANDS[:number]] and mailbox != "Bomb":
            side_by_side.place(server, original, mailbox)
            server.own(server.maildir)
        yield name, _beside(server, bench, name, lambda: one_command.seconds(
            one_command.start(server.ports["imap"], mailbox, command)))
    yield "APPEND of 100 MB", _beside(
        server, bench, "APPEND of 100 MB",
        lambda: large.result(large.start("append", server.ports["imap"], SIZE))["seconds"])


def _beside(server, bench, name, work):
    bystander = Bystander(server.ports["imap"], messages.NEIGHBOUR)
    bystander.start()
    seconds = work()
    bystander.stop()
    p99 = 1e3 * bystander.percentile(99)
    bench.say("%s: %s: p99 %.1f ms, most %.1f ms, of %d; %.2f s" % (
        server.name, name, p99, 1e3 * max(bystander.times), len(bystander.times), seconds))
    return p99, seconds


def bomb():
    """A message of about 1 MB with as many MIME parts as possible: some deep, most side by side."""
    lines = ["Subject: bomb", "MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b0",
             ""]
    for depth in range(PARTS // 200):
        lines += ["--b%d" % depth, "Content-Type: multipart/mixed; boundary=b%d" % (depth + 1), ""]
    lines += ["--b%d" % (PARTS // 200), "", "x"] * PARTS
    return "\r\n".join(lines + [""]).encode("ascii")
