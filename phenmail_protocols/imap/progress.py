"""Untagged OK responses while the server does long work, such as listing a large mailbox.

Without a response for a long time, clients give up. Such work must be done once, so it goes on when
the client has left and when the command's deadline has passed (a slow disk may exceed it).
Otherwise the next client would have to wait for the same work.
"""
from time import monotonic

from . import responses

INTERVAL = 5.0  # seconds


class Progress:
    """A `look` for the store. It takes turns with other long work, and sends an untagged OK every
    INTERVAL seconds, which is allowed during any command (RFC 3501 7.1.1)."""

    __slots__ = ("_session", "_began", "_next")

    def __init__(self, session):
        self._session = session
        self._began = monotonic()
        self._next = self._began + INTERVAL

    def __call__(self):
        now = monotonic()
        if now >= self._next:
            self._next = now + INTERVAL
            text = b"Still reading the mailbox's folder, after %d seconds" % (now - self._began)
            self._session.tell_now(responses.untagged_status(b"OK", text), 2 * INTERVAL)
        self._session.look(False)
