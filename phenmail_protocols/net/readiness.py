"""Waiting until one of a few descriptors can be read or written: poll where there is one, select elsewhere (Windows).

Never select on POSIX: it dies at descriptor 1024.
"""

import select
import socket
import sys

LONGEST = 86400.0  # poll takes a C int of milliseconds: one wait is at most a day


class PollReadiness(object):
    """`wait` for descriptors that are fixed when this is made. One thread at a time."""

    __slots__ = ("_poll",)

    def __init__(self, readable=(), writable=()):
        self._poll = select.poll()
        for descriptor in readable:
            self._poll.register(descriptor, select.POLLIN)
        for descriptor in writable:
            self._poll.register(descriptor, select.POLLOUT)

    def wait(self, seconds=None):
        """The (descriptor, event) pairs that are ready, broken or hung up; empty when `seconds` passed. None waits up to a day."""
        if seconds is None or seconds > LONGEST:
            seconds = LONGEST
        return self._poll.poll(seconds * 1000)


class SelectorReadiness(object):
    """The same where there is no poll."""

    __slots__ = ("_selector",)

    def __init__(self, readable=(), writable=()):
        import selectors
        self._selector = selectors.SelectSelector()
        for descriptor in readable:
            self._selector.register(descriptor, selectors.EVENT_READ)
        for descriptor in writable:
            self._selector.register(descriptor, selectors.EVENT_WRITE)

    def wait(self, seconds=None):
        """As PollReadiness.wait."""
        if seconds is None or seconds > LONGEST:
            seconds = LONGEST
        return [(key.fd, events) for key, events in self._selector.select(seconds)]


# Older interpreters lack the name.
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0x2000 if sys.platform.startswith("linux") else 0)

STAYS, HALF_CLOSED, GONE = "stays", "half closed", "gone"


def presence(sock):
    """Whether the peer of a connected stream socket is still there, without reading what it sent:
    STAYS; HALF_CLOSED, it sends nothing more; or GONE, the connection is broken. A peer whose
    program ended looks half closed until something is sent to it.

    Where the system has no such event, input that nobody read hides the end.
    """
    if _PEER_CLOSED:
        poll = select.poll()
        poll.register(sock.fileno(), _PEER_CLOSED)
        event = sum(events for _, events in poll.poll(0))
        if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            return GONE
        return HALF_CLOSED if event else STAYS
    try:
        # the base class: under TLS the octets below it are looked at
        return STAYS if socket.socket.recv(sock, 1, socket.MSG_PEEK) else HALF_CLOSED
    except BlockingIOError:
        return STAYS
    except (OSError, ValueError):
        return GONE


Readiness = PollReadiness if hasattr(select, "poll") else SelectorReadiness
