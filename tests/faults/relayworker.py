"""A whole mail server in a process that is there to be killed, forked from a process that has
everything loaded.

It speaks as `worker` does: reads a job (a line of JSON: root, orders, forget), forks a process for
it, which starts the server, prints {"ready": true, "port": …} and then does what it is told at the
Unix socket `orders`, a line each: {"do": "send", …} calls send_mail, "drop" leaves a message in a
drop folder, "settle" waits until there is nothing to do at this moment of the clock, "wake" has it
look at the clock, "stop" ends the server.
"""
import faulthandler
import json
import logging
import os
import socket
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols.app import MailRefused, MailServer  # noqa: E402
from phenmail_protocols.config.settings import Relay  # noqa: E402
from phenmail_protocols.disk.atomic import sync_directory  # noqa: E402
from phenmail_protocols.dkim import signing  # noqa: E402, F401
from phenmail_protocols.net.resolver import load_types  # noqa: E402
from phenmail_protocols.relay import courier, mx_routes, smtp_client, tls_policy  # noqa: E402, F401

from .worker import _Told, forget_to_sync, say, serve  # noqa: E402

SETTLED = 20.0  # seconds in which a queue comes to rest
RESTED = 5.0    # how old a message is that is left in a drop folder


def load(key):
    """What the first message that leaves would load; a process that is forked afterwards has it."""
    import smtplib  # noqa: F401
    load_types(("A", "AAAA", "MX", "TXT"))
    signing.Signer(Relay(key, "all", "", 25), lambda: ["example.org"],
                   "example.org").sign(b"From: a@example.org\r\n\r\n", b"0" * 32)


def settle(server, folders=()):
    """Wait until there is nothing to do now: the identities that are still queued, and the names in
    those drop folders."""
    worker, end = server.relay.worker, time.monotonic() + SETTLED
    while left_in(folders) and time.monotonic() < end:
        time.sleep(0.001)
    while not worker.status().is_quiet and time.monotonic() < end:
        time.sleep(0.001)
    say(settled=server.relay.queue.identities() + left_in(folders),
        broken=server.relay.queue.broken(), quiet=worker.status().is_quiet)


def left_in(folders):
    """Names of messages in drop folders."""
    return [name for folder in folders for name in os.listdir(folder) if not name.startswith(".")]


def drop(folder, message):
    """Leaves a message (text) in a drop folder, as another program would: under a name with a dot,
    synced, then renamed.

    It has been written a while ago, so that it need not rest. (That the name is young the clock
    does not know, which is ahead.)
    """
    name = "%d.%d" % (time.time() * 1000000, os.getpid())
    temporary = os.path.join(folder, "." + name)
    with open(temporary, "wb") as file:
        file.write(message.encode("ascii"))
        file.flush()
        os.utime(temporary, (time.time() - RESTED, time.time() - RESTED))
        os.fsync(file.fileno())
    os.rename(temporary, os.path.join(folder, name))
    sync_directory(folder)
    say(dropped=name)


def send(server, order):
    """send_mail as the program would call it that holds the server."""
    try:
        say(sent=server.send_mail(order["sender"], order["recipients"],
                                  order["message"].encode("ascii")))
    except MailRefused as error:
        say(refused=[outcome.reply.code for outcome in error.outcomes])


def work(job, **more):
    """One life of the server. `more`: for MailServer."""
    if "forget" in job:
        forget_to_sync(job["forget"])
    with socket.socket(socket.AF_UNIX) as orders:
        orders.connect(job["orders"])  # before the first operation that it may be killed at
        server = MailServer(job["root"], **more)
        server.start()
        server.relay.worker.wake()
        say(ready=True, port=server.listening[0].port)
        for line in orders.makefile("r"):
            obey(server, json.loads(line))


def obey(server, order):
    """One order."""
    if order["do"] == "send":
        send(server, order)
    elif order["do"] == "drop":
        drop(order["folder"], order["message"])
    elif order["do"] == "settle":
        settle(server, order.get("folders", ()))
    elif order["do"] == "wake":
        server.relay.worker.wake()
        say(woken=True)
    else:
        server.stop()
        say(stopped=True)


if __name__ == "__main__":
    faulthandler.enable()  # a server that hangs is aborted, and says where
    logging.getLogger("phenmail").addHandler(_Told())
    load(sys.argv[1])
    serve(work)
