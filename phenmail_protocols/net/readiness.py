"""Waiting until one of a few descriptors can be read or written: poll where there is one, select elsewhere (Windows).

Never select on POSIX: it dies at descriptor 1024.
"""

import select

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


Readiness = PollReadiness if hasattr(select, "poll") else SelectorReadiness
