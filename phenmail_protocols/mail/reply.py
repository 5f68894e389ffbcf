"""A reply: what a mail system says about a message or a recipient.

SMTP, delivery, the queue, the relay, destinations and plugins share this one value; `smtp.replies`
writes it on the wire. RFC 5321 section 4.2 (reply codes), RFC 3463 (enhanced status codes).
"""
from typing import NamedTuple

from .address import Address


class Reply(NamedTuple):
    """`code`: 2xx, 4xx (temporary) or 5xx (permanent). `enhanced`: such as "4.2.1"; "" only for
    SMTP's replies that have none (the greeting, EHLO, 334, 354). `text`: one line for people,
    without the codes.

    For another server's reply, the queue also keeps `host`, that server's name, and `said`, its
    exact words with the codes (RFC 3464 section 2.3.6); `text` and `said` are then printable and
    have at most 1000 characters. Both are "" for our own replies.
    """
    code: int
    enhanced: str
    text: str
    host: str = ""
    said: str = ""

    @property
    def delivered(self):
        return self.code < 400

    @property
    def temporary(self):
        return 400 <= self.code < 500

    @property
    def permanent(self):
        return self.code >= 500


# For a queued message on which the server works when it is stopped: the next start tries again.
STOPPING = Reply(451, "4.3.2", "The server is shutting down")


class Outcome(NamedTuple):
    """The reply for one recipient (mail.address.Address) of a message."""
    recipient: Address
    reply: Reply
