"""The first open of a huge mailbox: ten times the messages of the others, all of which are links to
a few files."""
import os
import time

from .. import messages
from ..clients.bystander import Bystander
from ..clients.imap import Imap
from ..table import Row, alone
from . import side_by_side

TIMES = 10
LINKS = 30000  # to one file; most file systems allow 65 000
SECONDS, MEGABYTES, WAIT, SILENCE = 60.0, 40.0, 50.0, 15.0  # the bars; SILENCE in seconds
HUGE = "Huge"


def run(bench):
    """Rows of our server; Dovecot's figures beside them."""
    servers = side_by_side.start(bench, bench.original(), kept=0)
    try:
        count = TIMES * bench.mailbox
        found = [_first_open(server, bench, count) for server in servers]
    finally:
        for server in servers:
            server.stop()
    (seconds, silence, wait, growth), peer = found[0], found[1] if len(found) > 1 else None

    def about(form, position):
        return "" if peer is None else "Dovecot " + form % peer[position]
    name = "SELECT of %d, the first of all" % count
    yield alone(name, seconds, "%.1f s", at_most=SECONDS, about=about("%.1f s", 0))
    yield alone("  longest silence", silence, "%.1f s", at_most=SILENCE, about=about("%.1f s", 1))
    yield alone("  NOOP of another user", wait, "%.1f ms", at_most=WAIT, about=about("%.1f ms", 2))
    if growth is not None:
        yield alone("  memory", growth, "%.1f MB", at_most=MEGABYTES)
    else:
        yield Row("  memory", "not told")


def _first_open(server, bench, count):
    """(seconds, longest silence in seconds, 99th percentile of another user's NOOP in
    milliseconds, megabytes that memory grew by, or None)."""
    _fill(os.path.join(server.maildir, "." + HUGE), bench.folder("seeds"), count)
    server.own(server.maildir)
    bystander = Bystander(server.ports["imap"], messages.NEIGHBOUR)
    client = Imap(server.ports["imap"]).login()
    client.command(b"STATUS INBOX (MESSAGES)")
    ours = server.name == "phenmail"
    if ours:
        server.child.forget_most_memory()
        before = server.child.memory()
    bystander.start()
    seconds, silence = _select(client)
    bystander.stop()
    growth = (server.child.most_memory() - before) / 1e6 if ours else None
    client.close()
    wait = 1e3 * bystander.percentile(99)
    bench.say("%s: %d messages, %.1f s, silent for %.1f s, NOOP %.1f ms%s" % (
        server.name, count, seconds, silence, wait, ", %.1f MB" % growth if ours else ""))
    return seconds, silence, wait, growth


def _select(client):
    """(seconds, longest silence)"""
    began = last = time.perf_counter()
    silence, data = 0.0, b""
    client.socket.sendall(b"huge SELECT " + HUGE.encode("ascii") + b"\r\n")
    while b"huge OK" not in data:
        data += client.socket.recv(65536)
        now = time.perf_counter()
        silence, last = max(silence, now - last), now
    return last - began, silence


def _fill(folder, seeds, count):
    messages.make(folder)
    open(os.path.join(folder, "maildirfolder"), "w").close()
    data = messages.message(1, "huge", 1200).replace(b"\r\n", b"\n")
    sizes = len(data), len(data) + data.count(b"\n")
    for number in range(count):
        if number % LINKS == 0:
            seed = os.path.join(seeds, "%d" % number)
            with open(seed, "wb") as file:
                file.write(data)
            os.chmod(seed, 0o644)
        os.link(seed, "%s/cur/%d.M%06dP7Q%d.bench,S=%d,W=%d:2,%s" % (
            folder, 1700000000 + number, number % 1000000, number, *sizes,
            "" if number % 10 == 0 else "S"))
