"""The child process that judges incoming mail, started by `judging`.

It loads the packages as the server's user (other users may not be able to read their files),
becomes an ordinary user, says READY and takes requests as children.child sends them: with a socket
for the answer and the staged message, open for reading.  A Case in JSON follows over that socket.
Each request has a thread; the server bounds their number.  The answer is "begun PID\\n" and an
Opinion in JSON, or a text that says what went wrong.  The process ends at the end of its input.
"""
import json
import os
import signal
import socket
import threading

from ..children.child_side import (
    READY,
    become,
    receive_exactly,
    receive_request,
    set_limit,
    settle,
    take_control,
)
from .checks import Authentication, Case

DESCRIPTORS = 128
MEMORY = 1024 * 1024 * 1024
_ROUND = 60.0  # seconds for what is between two processes of one machine


def main(words):
    """`words`: UID and GID to become, or none.  Returns at the end of input."""
    control = take_control()
    settle(ignored=(signal.SIGPIPE, signal.SIGXFSZ))  # they become exceptions
    for name, value in (("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", DESCRIPTORS), ("RLIMIT_AS", MEMORY)):
        set_limit(name, value)
    authentication = Authentication()
    _load_what_comes_late()
    if words:
        become(*[int(word) for word in words])
    control.sendall(READY)
    while _take(control, authentication):
        pass


def _load_what_comes_late():
    """Load modules that are imported on first use, before the user changes."""
    from ..mail.address import ascii_domain
    from ..net import resolver
    resolver.load_types(("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "TXT", "OPT"))
    ascii_domain("\u00fc.example")
    socket.getaddrinfo("127.0.0.1", 53, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)


def _take(control, authentication):
    """Begin one request; False at the end of input."""
    request = receive_request(control, 2)
    if request is None:
        return False
    _, size, _, channel, (file,) = request
    try:
        threading.Thread(target=_answer, args=(channel, file, size, authentication),
                         daemon=True).start()
    except RuntimeError:  # no thread to be had: the server sees that nothing begins
        channel.close()
        os.close(file)
    return True


def _answer(channel, file, size, authentication):
    try:
        channel.settimeout(_ROUND)
        channel.sendall(b"begun %d\n" % os.getpid())
        values = json.loads(receive_exactly(channel, size).decode("utf-8"))
        values["nameservers"] = tuple(tuple(each) for each in values["nameservers"])
        channel.sendall(json.dumps(authentication.judge(Case(**values), file)).encode("ascii"))
    except (OSError, EOFError):
        pass  # nobody waits for the answer any more
    except Exception as error:
        channel.sendall(json.dumps(repr(error)).encode("ascii"))
    finally:
        channel.close()
        os.close(file)
