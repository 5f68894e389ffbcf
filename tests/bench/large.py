"""A message of 100 MB on every way in and out: how the server's memory grows, and how long others
wait meanwhile."""
from .clients import large
from .clients.bystander import Bystander
from .peers.phenmail import Phenmail
from .table import Row, alone, median

MEGABYTE = 1e6
SIZE = 100 * 1000 * 1000
GROWTH_BAR = 10.0  # megabytes
WAIT_BAR = 50.0  # milliseconds
WAYS = (("data", "smtp", "DATA"), ("append", "imap", "APPEND"),
        ("structure", "imap", "FETCH BODYSTRUCTURE"),
        ("fetch", "imap", "FETCH BODY[]"), ("pieces", "imap", "FETCH in pieces of 64 KB"),
        ("retr", "pop3", "RETR"))


def run(bench):
    """Three rows for every way; one for a service that is not there."""
    server = Phenmail(bench.folder("phenmail"), bench.python).start()
    try:
        measured = {}
        large.result(large.start("data", server.smtp, 100000))
        for number in range(bench.rounds):
            for way, service, name in WAYS:
                if service in server.ports:
                    measured.setdefault(name, []).append(_measure(server, way, service))
                    bench.say("%s: %.1f s, %.1f MB more, %.0f ms at most, %.1f ms usually" % (
                        (name,) + measured[name][-1]))
        for _, service, name in WAYS:
            if name not in measured:
                yield Row("100 MB, %s" % name, "not there")
                continue
            seconds, growth, worst, usual = zip(*measured[name])
            yield alone("100 MB, %s: memory" % name, max(growth), "%.1f MB", at_most=GROWTH_BAR)
            yield alone("100 MB, %s: NOOP elsewhere, at most" % name, median(worst), "%.0f ms",
                        at_most=WAIT_BAR,
                        about="usually %.1f ms" % median(usual))
            yield Row("100 MB, %s: time" % name, "%.1f s" % median(seconds))
    finally:
        server.stop()


def _measure(server, way, service):
    """(seconds, megabytes that memory grew by, longest and median NOOP elsewhere in
    milliseconds)."""
    bystander = Bystander(server.ports["imap"], mailbox=b"Drafts")
    server.child.forget_most_memory()
    before = server.child.memory()
    bystander.start()
    done = large.result(large.start(way, server.ports[service], SIZE))
    bystander.stop()
    if way != "structure" and not 0.999 * SIZE < done["octets"] < 1.001 * SIZE:
        raise AssertionError("%d octets of %d came through" % (done["octets"], SIZE))
    growth = (server.child.most_memory() - before) / MEGABYTE
    return done["seconds"], growth, 1e3 * max(bystander.times), 1e3 * median(bystander.times)
