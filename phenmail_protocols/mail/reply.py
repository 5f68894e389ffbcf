"""A reply: what a mail system says of a message or a recipient.

RFC 5321 4.2 (reply codes), RFC 3463 (enhanced status codes).  SMTP, delivery, the queue, the relay,
destinations and plugins share this one value; how it looks on the wire is `smtp.replies`' business.
"""
from typing import NamedTuple

from .address import Address


class Reply(NamedTuple):
    """`code`: 2xx, 4xx (temporary) or 5xx (permanent).  `enhanced`: as in "4.2.1"; "" only in
    SMTP's replies that have none (the greeting, EHLO, 334, 354).  `text`: one line for people,
    without the codes.

    Of another server's reply, the queue also keeps `host`, the name of that server, and `said`, the
    words as they came, codes included (RFC 3464 2.3.6).  Both are "" for our own replies.  There,
    `text` and `said` are printable and have at most 1000 characters.
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


# The server is asked to stop while it works on a queued message: the next start tries again.
STOPPING = Reply(451, "4.3.2", "The server is shutting down")


class Outcome(NamedTuple):
    """The reply for one recipient (mail.address.Address) of a message."""
    recipient: Address
    reply: Reply
