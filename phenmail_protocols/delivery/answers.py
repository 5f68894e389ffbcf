"""What became of a message or a recipient, in the codes that mail systems share.

RFC 5321 4.2 (reply codes), RFC 3463 (enhanced codes).  Here stands the one table
that translates the store's errors for everything that brings new mail.
"""
from typing import NamedTuple

from ..mail.address import Address
from ..store import errors


class Answer(NamedTuple):
    """`code` 250, 4xx (try again) or 5xx (never); `enhanced` as in "5.1.1"; `text` for people."""
    code: int
    enhanced: str
    text: str


class Outcome(NamedTuple):
    """The answer for one recipient of a message."""
    recipient: Address
    code: int
    enhanced: str
    text: str


class Refused(Exception):
    """The whole message is refused; `answer` says why."""

    def __init__(self, answer):
        super().__init__(answer.text)
        self.answer = answer


class PluginRefused(Exception):
    """Raised by a plugin: the message goes back to its sender, who reads ``text`` (one line)."""

    def __init__(self, text="The message was refused"):
        super().__init__(text)
        self.text = text


FAILED = Answer(451, "4.3.0", "The message could not be kept, try again later")
LOOP = Answer(554, "5.4.6", "The message goes round in circles")
HAS_NUL = Answer(550, "5.6.0", "The message has NUL octets (RFC 5322 2.2)")
HEADER_TOO_LARGE = Answer(552, "5.3.4", "The header of the message is too large")
NO_AUTHOR = Answer(550, "5.6.0", "The From field names no address")
UNCLEAR_AUTHOR = Answer(
    550, "5.6.0", "From, Sender or Resent-From is not a list of addresses like Name <user@example.org> "
    "(RFC 5322 3.6.2)")
TOO_MANY_AUTHORS = Answer(
    550, "5.6.0", "From, Sender and Resent-From have more than 1000 addresses")
NOT_THE_AUTHOR = Answer(
    550, "5.7.1", "From, Sender or Resent-From has an address that is not one of yours")

NOT_YOURS = Answer(550, "5.7.1", "This is not one of your addresses")
LOG_IN_FIRST = Answer(550, "5.7.1", "Mail from this domain is taken from its users only, log in first")
NO_RELAY = Answer(550, "5.7.1", "Relaying is denied, this address is not of this server")
RELAY_CLOSED = Answer(550, "5.7.1", "This server does not relay to other servers")
NO_QUEUE = Answer(451, "4.3.2", "This server can not send to other servers now, try again later")
NO_SUCH_DOMAIN = Answer(553, "5.1.2", "There can be no such domain, name@domain.example was expected")
UNKNOWN = Answer(550, "5.1.1", "There is no such address here")
DISABLED = Answer(550, "5.2.1", "This address is disabled")
BROKEN = Answer(451, "4.3.5", "The settings of this address can not be read, try again later")

NO_SPACE = Answer(452, "4.3.1", "There is no room left on the disk, try again later")

_STORE = (
    (errors.NoSpace, NO_SPACE),
    (errors.TooBig, Answer(552, "5.3.4", "The message is larger than what is kept here")),
    (errors.InUse, Answer(451, "4.2.0", "The mailbox is in use, try again later")),
    (errors.StoreError, FAILED),
)


def by_filter(reason):
    """The Answer where a recipient's own rule refuses a message; `reason`: its words, or ""."""
    return Answer(550, "5.7.1", reason or "The recipient does not take this message")


def of_store_error(error):
    """A store.errors.StoreError -> Answer."""
    for kind, answer in _STORE:
        if isinstance(error, kind):
            return answer
    return FAILED
