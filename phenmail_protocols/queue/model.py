"""The values of the relay: a queued message, its recipients, and what was said of them.

Immutable: a change makes a new value (`_replace`), and `queue.spool` writes it.  Knows no file, socket or clock;
times are epoch seconds (float).
"""
from typing import NamedTuple, Optional, Tuple

from ..mail.address import Address


class Reply(NamedTuple):
    """What was said of a recipient, or of all: by a server in its answer to a command, or by ourselves.

    `code` 250, 4xx (later) or 5xx (never); `enhanced` as in "4.2.1" (RFC 3463), never empty; `text` is one line for people
    without the codes, printable, at most 1000 characters; `host`: the name of the server that said it,
    "" for ourselves; `said`: its words as they were, codes and all (RFC 3464 2.3.6), printable and
    at most 1000 characters; "" where they are ours.
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
    def permanent(self):
        return self.code >= 500


class Unreachable(Exception):
    """A destination can't be had now: no message for it was tried. `reply` (4xx or 5xx) says why, for all that wait for it."""

    def __init__(self, reply):
        super().__init__(reply.text)
        self.reply = reply


# Where a recipient stands.
WAITING = "waiting"  # another attempt will be made
DONE = "done"  # a server took it, or the sender was told, or an operator dropped it; nothing more happens

# What the sender is still owed about a recipient (RFC 3464 2.3.3, the values of Action); "" is nothing.
FAILED, DELAYED, RELAYED, DELIVERED, EXPANDED = "failed", "delayed", "relayed", "delivered", "expanded"


# Who takes a recipient's message to its end (`via`), where that is no other mail server.
LOCAL = "local"  # this server, as its directory says of the address at that moment
TO = "to "  # and an address behind it: a rule of the user at the recipient's address sends it on to that one


class Recipient(NamedTuple):
    """One recipient of a queued message.

    `notify`, `orcpt`: as in mail.envelope.Recipient.  `status`: WAITING or DONE.  `reply`: the last one, or None before the
    first attempt.  `attempts`: how many were made; `next`: not before this moment; `last`: the last attempt's moment, 0.0 before
    the first; `waited`: seconds that the attempts really spanned, which is what expires (a clock that jumps counts for little).
    `owed`: what the sender has yet to be told; a recipient that is DONE and owes nothing is over.  `warned`: the sender knows that
    it is late.  `via`: who takes it to its end: "" is another mail server; else LOCAL, or TO and an address.
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
    """One queued message: all but its octets.

    `identity`: its name in the queue, in Received and in the log.  `sender` None is <>.  `arrived`: when it was queued.
    `head`: header fields (wire octets, whole lines) that stand before the file's octets: signatures and the like, made when
    it was queued.  `size`: octets of head and file together, wire form.  `eight_bit`: there are octets over 127 (RFC 6152);
    `smtputf8`: its header or an address needs RFC 6531.  `ret`, `envid`: RFC 3461.  `held`: an operator stopped it.
    `signed_as`: the domain whose DKIM signature is in `head`, "" for none (`queue show` prints it).
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
        """Nobody is waited for and nobody is owed anything."""
        return all(recipient.over for recipient in self.recipients)


STOPPING = Reply(451, "4.3.2", "The server is stopping")
