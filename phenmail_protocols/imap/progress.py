"""Signs of life while the server does what must be done once, such as listing a large mailbox.

The client would wait for the command's responses in silence, and give up. If it does, the work goes
on nevertheless: the next client would have to wait for it again. So it does not end at the
command's deadline either, which a slow disk may exceed.
"""
from time import monotonic

from . import responses

INTERVAL = 5.0  # seconds


class Progress:
    """A `look` for the store: takes turns with other long work, and now and then sends an untagged
    OK, which any command may have (RFC 3501 7.1.1)."""

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
