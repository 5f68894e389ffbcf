"""The child process that judges incoming mail, started by `judging`.

It loads the packages as the server's user, because other users may not be able to read their files.
Then it becomes an ordinary user, sends READY and takes requests as children.child sends them: each
with a socket for the answer and the staged message, open for reading. A Case in JSON follows over
that socket. Each request has a thread; the server bounds their number. The answer is
"begun PID\\n" and a Verdict in JSON, or a text that says what went wrong. The process ends at the
end of its input.
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

_DESCRIPTORS = 128
_MEMORY = 1024 * 1024 * 1024
_SOCKET_SECONDS = 60.0  # for what passes between two processes of one machine


def main(words):
    """`words`: uid and gid to become, or none. Returns at the end of input."""
    control = take_control()
    settle(ignored=(signal.SIGPIPE, signal.SIGXFSZ))  # they become exceptions
    for name, value in (("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", _DESCRIPTORS),
                        ("RLIMIT_AS", _MEMORY)):
        set_limit(name, value)
    authentication = Authentication()
    _load_lazy_modules()
    if words:
        become(*[int(word) for word in words])
    control.sendall(READY)
    while _take(control, authentication):
        pass


def _load_lazy_modules():
    """Load modules that are imported on first use, before the user changes."""
    from ..mail.address import ascii_domain
    from ..net import resolver
    resolver.load_types(("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "TXT", "OPT"))
    ascii_domain("\u00fc.example")
    socket.getaddrinfo("127.0.0.1", 53, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)


def _take(control, authentication):
    """Begin one request -> False at the end of input."""
    request = receive_request(control, 2)
    if request is None:
        return False
    _, size, _, channel, (file,) = request
    try:
        threading.Thread(target=_answer, args=(channel, file, size, authentication),
                         daemon=True).start()
    except RuntimeError:  # no thread is available: the server notices that nothing begins
        channel.close()
        os.close(file)
    return True


def _answer(channel, file, size, authentication):
    try:
        channel.settimeout(_SOCKET_SECONDS)
        channel.sendall(b"begun %d\n" % os.getpid())
        values = json.loads(receive_exactly(channel, size).decode("utf-8"))
        values["nameservers"] = tuple(tuple(each) for each in values["nameservers"])
        channel.sendall(json.dumps(authentication.judge(Case(**values), file)).encode("ascii"))
    except (OSError, EOFError):
        pass  # the server no longer waits for the answer
    except Exception as error:
        channel.sendall(json.dumps(repr(error)).encode("ascii"))
    finally:
        channel.close()
        os.close(file)
