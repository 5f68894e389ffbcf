"""The process that judges what came in: exec'ed by `judging`, with one socket to the server and nothing else of it.

It loads the packages (as whoever the server is: their files need not be readable for others), becomes an ordinary user, says
"ready\\n", and then takes requests as `child` sends them: REQUEST, beside it a socket for the answer and the staged
message, open for reading; over that socket then a Case in JSON.  Each request has a thread; how many there are at once is the server's
business.  The answer is "begun PID\\n" and an Opinion in JSON, or a text: what went wrong.  Ends at the end of its input.
"""
import array
import json
import os
import socket
import threading

from ..children.child import REQUEST
from .checks import Authentication, Case

DESCRIPTORS = 128
MEMORY = 1024 * 1024 * 1024
_ROUND = 60.0  # seconds for what is between two processes of one machine


def main(words):
    """`words`: UID and GID to become, or none. Returns at the end of input."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    _settle()
    authentication = Authentication()
    _touch_what_comes_late()
    if words:
        _become(*(int(word) for word in words))
    control.sendall(b"ready\n")
    while _take(control, authentication):
        pass


def _settle():
    """The server keeps to one processor, which is its own business; and what goes wrong here stays here."""
    import resource
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        except OSError:
            pass
    for name, value in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", DESCRIPTORS), ("RLIMIT_AS", MEMORY)):
        number = getattr(resource, name, None)
        if number is not None:
            highest = resource.getrlimit(number)[1]
            value = value if highest == resource.RLIM_INFINITY else min(value, highest)
            resource.setrlimit(number, (value, value))


def _become(uid, gid):
    """Be that user, with no other group and no way back. Raises OSError."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        raise OSError("still root")


def _touch_what_comes_late():
    """Modules that are loaded with the first use, by somebody who may no longer read them then."""
    from ..mail.address import ascii_domain
    from ..net import resolver
    resolver.load_types(("A", "AAAA", "CNAME", "MX", "NS", "PTR", "SOA", "TXT", "OPT"))
    ascii_domain("\u00fc.example")
    socket.getaddrinfo("127.0.0.1", 53, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)


def _take(control, authentication):
    """One request; False at the end of input."""
    space = socket.CMSG_SPACE(2 * array.array("i").itemsize)
    head, beside, _, _ = control.recvmsg(REQUEST.size, space)
    descriptors = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
    if len(head) != REQUEST.size or len(descriptors) != 2:
        for descriptor in descriptors:
            os.close(descriptor)
        return False
    _, size, _ = REQUEST.unpack(head)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptors[0])
    try:
        threading.Thread(target=_answer, args=(channel, descriptors[1], size, authentication), daemon=True).start()
    except RuntimeError:  # no thread to be had: the server sees that nothing begins
        channel.close()
        os.close(descriptors[1])
    return True


def _answer(channel, file, size, authentication):
    try:
        channel.settimeout(_ROUND)
        channel.sendall(b"begun %d\n" % os.getpid())
        data = b""
        while len(data) < size:
            more = channel.recv(size - len(data))
            if not more:
                return
            data += more
        values = json.loads(data.decode("utf-8"))
        values["nameservers"] = tuple(tuple(each) for each in values["nameservers"])
        channel.sendall(json.dumps(authentication.judge(Case(**values), file)).encode("ascii"))
    except OSError:
        pass  # nobody waits for it any more
    except Exception as error:
        channel.sendall(json.dumps(repr(error)).encode("ascii"))
    finally:
        channel.close()
        os.close(file)
