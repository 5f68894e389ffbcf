"""The envelope of a message in transit: who sent it, who gets it, with which promises.

It is what MAIL FROM and RCPT TO said (RFC 5321 section 2.3.1, RFC 3461 for DSN), never what the header says. It must not know
how it was transmitted nor where it goes.
"""
from typing import NamedTuple, Optional, Tuple

from .address import Address


class Recipient(NamedTuple):
    """One RCPT TO. `notify` holds any of NEVER, SUCCESS, FAILURE, DELAY in the order given (empty: not given); `orcpt` is the
    ORCPT parameter with its address type, decoded from xtext (RFC 3461 section 4.2), as "rfc822;user@example.org"."""
    address: Address
    notify: Tuple[str, ...] = ()
    orcpt: Optional[str] = None


class Envelope(NamedTuple):
    """One MAIL FROM with its recipients. `sender` None is the null sender <>; `ret` is "FULL", "HDRS" or None (RFC 3461 section
    4.3); `body` is "7BIT", "8BITMIME" or None (RFC 6152)."""
    sender: Optional[Address]
    recipients: Tuple[Recipient, ...] = ()
    ret: Optional[str] = None
    envid: Optional[str] = None
    smtputf8: bool = False
    body: Optional[str] = None
