"""What a user's filters decide about a message, as a value for the delivery to carry out."""
from typing import NamedTuple, Optional, Tuple

from ..config.settings import Vacation
from ..mail.address import Address
from ..store.model import INBOX

ACCEPT, REJECT, DISCARD, FORWARD = "accept", "reject", "discard", "forward"


class Verdict(NamedTuple):
    """What to do with a message; by default file it in INBOX.

    `kind`: ACCEPT, REJECT, DISCARD or FORWARD. `mailbox`: where to file it, in the store's form;
    the mailbox may not exist yet. `reason`: of a REJECT, one line, or "". `flags`: in the store's
    form. `copies`: addresses that get a copy. `forward`: the address that gets it instead of a
    mailbox. `vacation`: the answer to the sender, if `vacation.Answers` agrees. `by`: the place
    of the filter that decided, "" for none. `log_lines`: what went wrong, for the user's log;
    `rules.lines` adds the rest.
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
