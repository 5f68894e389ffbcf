"""The envelope of a message in transit: its sender and its recipients.

It holds what MAIL FROM and RCPT TO said (RFC 5321 section 2.3.1, RFC 3461 for DSN), never what the
header says. It does not know how the message came nor where it goes.
"""
from typing import NamedTuple, Optional, Tuple

from .address import Address


class Recipient(NamedTuple):
    """One RCPT TO.

    `notify`: any of NEVER, SUCCESS, FAILURE, DELAY, in the order given; empty if not given.
    `orcpt`: the ORCPT parameter with its address type, decoded from xtext (RFC 3461 section 4.2),
    such as "rfc822;user@example.org".
    """
    address: Address
    notify: Tuple[str, ...] = ()
    orcpt: Optional[str] = None


class Envelope(NamedTuple):
    """One MAIL FROM with its recipients.

    `sender`: None is the null sender <>. `ret`: "FULL", "HDRS" or None (RFC 3461 section 4.3).
    `envid`: decoded from xtext. `body`: "7BIT", "8BITMIME" or None (RFC 6152).
    """
    sender: Optional[Address]
    recipients: Tuple[Recipient, ...] = ()
    ret: Optional[str] = None
    envid: Optional[str] = None
    smtputf8: bool = False
    body: Optional[str] = None
