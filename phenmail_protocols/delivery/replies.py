"""The replies that delivery itself gives, and the one table that turns the store's errors into replies.

RFC 5321 4.2 (reply codes), RFC 3463 (enhanced status codes).
"""
from ..mail.reply import Reply
from ..store import errors


class MessageRefused(Exception):
    """The whole message is refused; `reply` says why."""

    def __init__(self, reply):
        super().__init__(reply.text)
        self.reply = reply


class PluginRefused(Exception):
    """Raised by a plugin: the message goes back to its sender, who reads ``text`` (one line)."""

    def __init__(self, text="The message was refused"):
        super().__init__(text)
        self.text = text


FAILED = Reply(451, "4.3.0", "The message could not be kept, try again later")
LOOP = Reply(554, "5.4.6", "The message goes round in circles")
HAS_NUL = Reply(550, "5.6.0", "The message has NUL octets (RFC 5322 2.2)")
HEADER_TOO_LARGE = Reply(552, "5.3.4", "The header of the message is too large")
NO_AUTHOR = Reply(550, "5.6.0", "The From field names no address")
UNCLEAR_AUTHOR = Reply(
    550, "5.6.0", "From, Sender or Resent-From is not a list of addresses like Name <user@example.org> "
    "(RFC 5322 3.6.2)")
NOT_THE_AUTHOR = Reply(
    550, "5.7.1", "From, Sender or Resent-From has an address that is not one of yours")

NOT_YOURS = Reply(550, "5.7.1", "This is not one of your addresses")
LOG_IN_FIRST = Reply(550, "5.7.1", "Mail from this domain is taken from its users only, log in first")
NO_RELAY = Reply(550, "5.7.1", "Relaying is denied, this address is not of this server")
RELAY_CLOSED = Reply(550, "5.7.1", "This server does not relay to other servers")
NO_QUEUE = Reply(451, "4.3.2", "This server can not send to other servers now, try again later")
NO_SUCH_DOMAIN = Reply(553, "5.1.2", "There can be no such domain, name@domain.example was expected")
UNKNOWN = Reply(550, "5.1.1", "There is no such address here")
DISABLED = Reply(550, "5.2.1", "This address is disabled")
BROKEN = Reply(451, "4.3.5", "The settings of this address can not be read, try again later")

NO_SPACE = Reply(452, "4.3.1", "There is no room left on the disk, try again later")

_STORE = (
    (errors.NoSpace, NO_SPACE),
    (errors.TooBig, Reply(552, "5.3.4", "The message is larger than what is kept here")),
    (errors.InUse, Reply(451, "4.2.0", "The mailbox is in use, try again later")),
    (errors.StoreError, FAILED),
)


def by_filter(reason):
    """The Reply where a recipient's own rule refuses a message; `reason`: its words, or ""."""
    return Reply(550, "5.7.1", reason or "The recipient does not take this message")


def of_store_error(error):
    """A store.errors.StoreError -> Reply."""
    for kind, reply in _STORE:
        if isinstance(error, kind):
            return reply
    return FAILED
