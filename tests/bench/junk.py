"""10 000 connections of nonsense: what they leave behind in memory, and whether mail still
flows."""
import time

from . import messages
from .clients import junk
from .clients.one_message import OneMessage
from .memory import receive_and_read
from .peers.phenmail import Phenmail
from .table import Row, alone

MEGABYTE = 1e6
COUNT = 10000
BAR = 5.0
PATIENCE = 40.0  # seconds


def run(bench):
    """Memory after against before, and a message delivered in between."""
    server = Phenmail(bench.folder("phenmail"), bench.python).start()
    try:
        receive_and_read(server)
        before = server.child.memory()
        ports = {"tls": [server.ports[name] for name in ("imaps", "submissions")],
                 "plain": [server.ports[name] for name in ("smtp", "imap")]}
        began = time.monotonic()
        junk.run(ports, COUNT)
        yield Row("%d junk connections took" % COUNT, "%.0f s" % (time.monotonic() - began))
        yield Row("  a message right after them took", "%.0f ms" % (1e3 * _message(server)))
        _settle(server)
        growth = (server.child.memory() - before) / MEGABYTE
        yield alone("%d junk connections leave" % COUNT, growth, "%.1f MB", at_most=BAR,
                    about="%.1f MB at most" % ((server.child.most_memory() - before) / MEGABYTE))
    finally:
        server.stop()


def _message(server):
    began = time.monotonic()
    sender = OneMessage(server.ports["smtp"], b"EHLO")
    sender.send(messages.message(1, "after-junk"))
    sender.close()
    return time.monotonic() - began


def _settle(server):
    """Until the server's memory has not shrunk for a while: it gives back at its leisure."""
    least, since = server.child.memory(), time.monotonic()
    while time.monotonic() - since < PATIENCE:
        time.sleep(1)
        now = server.child.memory()
        if now < least:
            least, since = now, time.monotonic()
