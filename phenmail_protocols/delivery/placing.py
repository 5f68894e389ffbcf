"""How a message that was fetched from another server is filed: what is already known about it."""
from typing import Any, NamedTuple, Optional, Tuple


class Placing(NamedTuple):
    """`key`: 32 hex digits, which its file's name in the mailbox shows (Account.arrival_keys).
    `mailbox`: where to file it, without asking the user's filters; None: as the filters say.
    `flags`: in the store's form, added to those of filters. `date`: its INTERNALDATE (epoch
    seconds), None: now. `trust`: the authserv-id whose Authentication-Results filters may believe,
    or None. `quiet`: send no vacation answer, because the message is old. `turn`: as for
    Account.deliver. `is_here`: it is in a mailbox already, but what filters send elsewhere may not
    be in the queue; only that is done.
    """
    key: str
    mailbox: Optional[str] = None
    flags: Tuple[str, ...] = ()
    date: Optional[float] = None
    trust: Optional[str] = None
    quiet: bool = False
    turn: Any = None
    is_here: bool = False
