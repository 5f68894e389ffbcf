"""What every child process does for itself: limits, user, signals, processors, its sockets.

Runs in children only and needs the standard library alone. Load every module before `become`:
the new user may not be able to read the interpreter's files.
"""
import array
import os
import signal
import socket
import struct

# A request: the lengths of code, envelope and message, with its descriptors beside it; then code.
REQUEST = struct.Struct("!III")
READY = b"ready\n"  # the child's first line: it takes requests
LAUNCHED = b"launched"  # `program_child` writes it just before its exec


def settle(ignored=()):
    """Undo what the server set: ignored and blocked signals, one processor, core files.

    `ignored`: signals to ignore, so that they become exceptions.
    """
    for number in range(1, signal.NSIG):
        handler = signal.SIG_IGN if number in ignored else signal.SIG_DFL
        try:
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        except (OSError, ValueError):
            pass  # no such signal, or it cannot be set
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        except OSError:
            pass
    set_limit("RLIMIT_CORE", 0)


def set_limit(name, soft, hard=None):
    """Set a resource limit if this system has it; a lower one stays. `hard`: default `soft`."""
    import resource
    number = getattr(resource, name, None)
    if number is None:
        return
    hard = soft if hard is None else hard
    highest = resource.getrlimit(number)[1]
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    resource.setrlimit(number, (soft, hard))


def become(uid, gid):
    """Become that user for good, with no other group. Raises OSError, also for root."""
    if 0 in (uid, gid):
        raise PermissionError("refusing to run as root")
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if (os.getuid(), os.geteuid(), os.getgid(), os.getegid()) != (uid, uid, gid, gid):
        raise PermissionError("the system did not switch to the user")


def take_control():
    """The socket to the server, which was descriptor 0; the standard streams become /dev/null."""
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    return control


def receive_request(control, count):
    """The next request -> (code, size of the envelope, size of the message, socket for the answer,
    further descriptors), or None at the end of input.

    `count`: descriptors of a request. Raises EOFError for half a request.
    """
    space = socket.CMSG_SPACE(count * array.array("i").itemsize)
    head, beside, _, _ = control.recvmsg(REQUEST.size, space)
    if not head:
        return None
    descriptors = array.array("i")
    for level, kind, data in beside:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
    head += receive_exactly(control, REQUEST.size - len(head))
    if len(descriptors) != count:
        raise EOFError("a request without its descriptors")
    code_size, envelope_size, message_size = REQUEST.unpack(head)
    code = receive_exactly(control, code_size)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptors[0])
    return code, envelope_size, message_size, channel, list(descriptors[1:])


def receive_exactly(channel, size):
    """That many bytes. Raises EOFError."""
    parts = []
    while size:
        data = channel.recv(min(size, 262144))
        if not data:
            raise EOFError("the other side closed the connection")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)
