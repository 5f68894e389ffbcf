"""Waiting until a descriptor is readable or writable: with poll, or with select on Windows.

Never select on POSIX: it fails for descriptors above 1023.
"""
import select
import socket
import sys

LONGEST = 86400.0  # seconds: poll takes a C int of milliseconds


class PollReadiness:
    """For descriptors that are fixed when this is made. One thread at a time."""

    __slots__ = ("_poll",)

    def __init__(self, readable=(), writable=()):
        self._poll = select.poll()
        for descriptor in readable:
            self._poll.register(descriptor, select.POLLIN)
        for descriptor in writable:
            self._poll.register(descriptor, select.POLLOUT)

    def wait(self, seconds=LONGEST):
        """-> list of (descriptor, event) that are ready, broken or hung up; empty after `seconds`.

        At most a day.
        """
        return self._poll.poll(min(seconds, LONGEST) * 1000)


class SelectorReadiness:
    """The same for systems without poll."""

    __slots__ = ("_selector",)

    def __init__(self, readable=(), writable=()):
        import selectors
        self._selector = selectors.SelectSelector()
        for descriptor in readable:
            self._selector.register(descriptor, selectors.EVENT_READ)
        for descriptor in writable:
            self._selector.register(descriptor, selectors.EVENT_WRITE)

    def wait(self, seconds=LONGEST):
        """As PollReadiness.wait."""
        ready = self._selector.select(min(seconds, LONGEST))
        return [(key.fd, events) for key, events in ready]


Readiness = PollReadiness if hasattr(select, "poll") else SelectorReadiness

# CPython before 3.7 lacks the name.
_PEER_CLOSED = getattr(select, "POLLRDHUP", 0x2000 if sys.platform.startswith("linux") else 0)

STAYS, HALF_CLOSED, GONE = "stays", "half closed", "gone"
# Seconds of work for a peer that has closed its half: mostly it is gone, but a script may read on.
HALF_CLOSED_FOR = 1.0


class Presence:
    """Whether a peer is worth more work; one object for each connection."""

    __slots__ = ("_half_closed",)

    def __init__(self):
        self._half_closed = None  # when the peer was first seen to have closed its half

    def is_over(self, sock, now):
        """Whether the peer is gone, or has closed its half long ago; `now`: monotonic seconds."""
        seen = presence(sock)
        if seen == STAYS:
            return False
        if self._half_closed is None:
            self._half_closed = now
        return seen == GONE or now >= self._half_closed + HALF_CLOSED_FOR


def presence(sock):
    """Whether the peer of a connected stream socket is still there, without reading.

    -> STAYS; HALF_CLOSED: it sends nothing more; GONE: the connection is broken. A peer whose
    program ended looks half closed until something is sent to it. On systems without such an
    event, unread input hides the end.
    """
    if _PEER_CLOSED:
        poll = select.poll()
        poll.register(sock.fileno(), _PEER_CLOSED)
        event = sum(events for _, events in poll.poll(0))
        if event & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
            return GONE
        return HALF_CLOSED if event else STAYS
    try:
        # The base class's method, because it looks below TLS.
        return STAYS if socket.socket.recv(sock, 1, socket.MSG_PEEK) else HALF_CLOSED
    except BlockingIOError:
        return STAYS
    except (OSError, ValueError):
        return GONE
