"""The process that judges what came in: exec'ed by `judging`, with one socket to the server and nothing else of it.

It loads the packages (as whoever the server is: their files need not be readable for others), becomes an ordinary user, says
"ready\\n", and then takes requests as `child` sends them: REQUEST, beside it a socket for the answer and the staged
message, open for reading; over that socket then a Case in JSON.  Each request has a thread; how many there are at once is the server's
business.  The answer is "begun PID\\n" and an Opinion in JSON, or a text: what went wrong.  Ends at the end of its input.
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
    """`words`: UID and GID to become, or none. Returns at the end of input."""
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
    """Modules that are loaded with the first use, by somebody who may no longer read them then."""
    from ..mail.address import ascii_domain
    from ..net import resolver
    resolver.load_types(("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "TXT", "OPT"))
    ascii_domain("\u00fc.example")
    socket.getaddrinfo("127.0.0.1", 53, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)


def _take(control, authentication):
    """One request; False at the end of input."""
    request = receive_request(control, 2)
    if request is None:
        return False
    _, size, _, channel, (file,) = request
    try:
        threading.Thread(target=_answer, args=(channel, file, size, authentication), daemon=True).start()
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
