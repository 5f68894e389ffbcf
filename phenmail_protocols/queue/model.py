"""The values of the queue: a message, its recipients, and where each of them stands.

Immutable: a change makes a new value (`_replace`), which `queue.spool` writes. Times are in epoch
seconds (float).
"""
from typing import NamedTuple, Optional, Tuple

from ..mail.address import Address
from ..mail.reply import Reply


class Unreachable(Exception):
    """No connection to a destination could be made, so no message was tried. `reply` (4xx or 5xx)
    says why, for all recipients there."""

    def __init__(self, reply):
        super().__init__(reply.text)
        self.reply = reply


# Recipient.status
WAITING = "waiting"  # another attempt will be made
DONE = "done"  # accepted, failed, or dropped by an operator: no more attempts

# Recipient.owed: the report that the sender must still get (the actions of RFC 3464 2.3.3), or "".
FAILED, DELAYED, RELAYED, DELIVERED, EXPANDED = (
    "failed", "delayed", "relayed", "delivered", "expanded")

# Recipient.via: who delivers, if it is not another mail server.
LOCAL = "local"  # this server, where its directory says at the time of the attempt
TO = "to "  # followed by an address: a filter of the user here sends the message on to it


class Recipient(NamedTuple):
    """One recipient of a queued message. The states and their changes: `queue.retry`.

    `notify`, `orcpt`: as in mail.envelope.Recipient. `status`: WAITING or DONE. `reply`: the last
    one, or None. `attempts`: how many were made. `next`: no attempt before this time. `last`:
    the time of the last attempt, or 0.0. `waited`: seconds that the attempts really spanned, which
    decide when it expires. `owed`: the report that the sender must still get, or "". `warned`:
    the sender got a delay notice. `via`: "" for another mail server, LOCAL, or TO and an
    address.
    """
    address: Address
    notify: Tuple[str, ...] = ()
    orcpt: Optional[str] = None
    status: str = WAITING
    reply: Optional[Reply] = None
    attempts: int = 0
    next: float = 0.0
    last: float = 0.0
    waited: float = 0.0
    owed: str = ""
    warned: bool = False
    via: str = ""

    @property
    def over(self):
        return self.status == DONE and not self.owed


class Message(NamedTuple):
    """One queued message, without its body.

    `identity`: the queue ID, also in Received and in the log. `sender`: None is <>. `arrived`:
    when it was queued. `head`: header fields (octets in wire form, whole lines) that go before the
    file's octets: signatures and the like, made when it was queued. `size`: octets of head and
    file together, in wire form. `eight_bit`: there are octets over 127 (RFC 6152). `smtputf8`:
    the header or an address needs RFC 6531. `ret`, `envid`: RFC 3461. `held`: an operator stopped
    it. `signed_as`: the domain of the DKIM signature in `head`, or "".
    """
    identity: str
    sender: Optional[Address]
    recipients: Tuple[Recipient, ...]
    arrived: float
    head: bytes = b""
    size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: Optional[str] = None
    envid: Optional[str] = None
    held: bool = False
    signed_as: str = ""

    @property
    def over(self):
        """No recipient is waiting, and no report is owed."""
        return all(recipient.over for recipient in self.recipients)
