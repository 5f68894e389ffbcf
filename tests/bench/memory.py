"""How small it is and how soon it is there; what a thousand idle IMAP connections over TLS add."""
import subprocess
import time

from . import messages
from .clients.idlers import Idlers, context
from .clients.imap import Imap
from .clients.one_message import OneMessage
from .peers.phenmail import Phenmail
from .peers.process import await_banner
from .table import Row, alone, median

MEGABYTE = 1e6
MEMORY_BAR = 32.0
BANNER_BAR = 0.4
IDLERS = 1000
IDLERS_BAR = 62.0
_VERSION = """
import sys
missing = []
for name in ("dns", "dkim", "jsoncomment"):
    try:
        __import__(name)
    except ImportError:
        missing.append(name)
print("%d.%d" % sys.version_info[:2] + (" without " + ", ".join(missing) if missing else ""))
"""


def run(bench):
    """Rows for every interpreter that was named."""
    for python in bench.pythons:
        yield from _rows(bench, python)


def _rows(bench, python):
    version = subprocess.check_output([python, "-c", _VERSION]).decode("ascii").strip()
    server = Phenmail(bench.folder("phenmail"), python)
    server.start().stop()  # the root has its keys now
    banners, ready, used = [], [], []
    for _ in range(max(bench.rounds, 3)):
        banner, memory, memory_used = _started(server)
        banners.append(banner)
        ready.append(memory)
        used.append(memory_used)
    yield alone("%s: first banner after" % version, median(banners), "%.2f s", at_most=BANNER_BAR)
    yield Row("%s: memory with all listeners" % version, "%.1f MB" % median(ready))
    yield alone("%s: memory, a message received and read" % version, median(used), "%.1f MB",
                at_most=MEMORY_BAR)
    for idle in (False, True):
        yield alone("%s: %d %s over TLS add, PSS" % (version, IDLERS,
                                                "in IDLE" if idle else "with INBOX open"),
                    _idlers(server, idle), "%.1f MB", at_most=IDLERS_BAR)


def _started(server):
    """(seconds to the first banner, megabytes when all is there, megabytes after a message was
    received and read)."""
    began = time.monotonic()
    server.launch()
    try:
        await_banner(server.child, server.ports["smtp"], 0.002)
        banner = time.monotonic() - began
        await_banner(server.child, server.ports["imap"])
        ready = server.child.memory()
        receive_and_read(server)
        return banner, ready / MEGABYTE, server.child.memory() / MEGABYTE
    finally:
        server.stop()


def receive_and_read(server):
    sender = OneMessage(server.ports["smtp"], b"EHLO")
    sender.send(messages.message(1, "read-1"))
    sender.close()
    client = Imap(server.ports["imaps"], context()).login()
    client.command(b"SELECT INBOX")
    client.command(b"FETCH * (FLAGS ENVELOPE BODYSTRUCTURE BODY[])")
    client.close()


def _idlers(server, idle):
    """Megabytes that the connections add."""
    server.start()
    try:
        receive_and_read(server)
        before = server.child.proportional_memory()
        with Idlers(server.ports["imaps"], IDLERS, idle):
            return (server.child.proportional_memory() - before) / MEGABYTE
    finally:
        server.stop()
