"""What a user's filters decide about a message, as a value for those who carry it out."""
from typing import NamedTuple, Optional, Tuple

from ..config.settings import Vacation
from ..mail.address import Address
from ..store.model import INBOX

ACCEPT, REJECT, DISCARD, FORWARD = "accept", "reject", "discard", "forward"


class Verdict(NamedTuple):
    """What to do with a message; without arguments: file it in INBOX.

    `kind`: ACCEPT, REJECT, DISCARD or FORWARD.  `mailbox`: where to file it, a name that the store
    takes; the mailbox may not exist yet.  `reason`: of a REJECT, one line, or "".  `flags`: as the
    store wants them.  `copies`: addresses that get a copy.  `forward`: who gets it instead of a
    mailbox.  `vacation`: the answer that the sender gets if `vacation.Answers` agrees.  `by`: the
    place of the filter that decided, "" if none did.  `log_lines`: for the user's log, about what
    went wrong; `rules.lines` adds the rest.
    """
    kind: str = ACCEPT
    mailbox: str = INBOX
    reason: str = ""
    flags: Tuple[str, ...] = ()
    copies: Tuple[Address, ...] = ()
    forward: Optional[Address] = None
    vacation: Optional[Vacation] = None
    by: str = ""
    log_lines: Tuple[str, ...] = ()
