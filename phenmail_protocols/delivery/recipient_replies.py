"""The replies of delivery, and the one table that turns errors of store and queue into replies.

RFC 5321 4.2 (reply codes), RFC 3463 (enhanced status codes).
"""
from ..mail.reply import Reply
from ..queue import spool
from ..store import errors


class MessageRefused(Exception):
    """The whole message is refused; `reply` says why."""

    def __init__(self, reply):
        super().__init__(reply.text)
        self.reply = reply


class PluginRefused(Exception):
    """Raised by a plugin: the message bounces, with `text` (one line) as the reason."""

    def __init__(self, text="The message was refused"):
        super().__init__(text)
        self.text = text


FAILED = Reply(451, "4.3.0", "The message could not be stored, try again later")
LOOP = Reply(554, "5.4.6", "Mail loop detected")
HAS_NUL = Reply(550, "5.6.0", "The message contains NUL octets (RFC 5322 2.2)")
HEADER_TOO_LARGE = Reply(552, "5.3.4", "The message header is too large")
NO_AUTHOR = Reply(550, "5.6.0", "The From field contains no address")
UNCLEAR_AUTHOR = Reply(
    550, "5.6.0", "From, Sender or Resent-From is not a list of addresses "
    "like Name <user@example.org> (RFC 5322 3.6.2)")
TOO_MANY_AUTHORS = Reply(
    550, "5.6.0", "From, Sender and Resent-From contain more than 1000 addresses")
NOT_THE_AUTHOR = Reply(
    550, "5.7.1", "From, Sender or Resent-From contains an address that is not yours")

NOT_YOURS = Reply(550, "5.7.1", "You may not send from this address")
LOG_IN_FIRST = Reply(550, "5.7.1", "Authentication is required to send from this domain")
NO_RELAY = Reply(550, "5.7.1", "Relaying denied")
RELAY_CLOSED = Reply(550, "5.7.1", "This server does not relay to other servers")
NO_QUEUE = Reply(451, "4.3.2",
                 "The server cannot queue mail for other servers now, try again later")
NO_SUCH_DOMAIN = Reply(553, "5.1.2", "Invalid recipient domain")
USER_UNKNOWN = Reply(550, "5.1.1", "No such user here")
DISABLED = Reply(550, "5.2.1", "This address is disabled")
BROKEN = Reply(451, "4.3.5", "The configuration of this address cannot be read, try again later")

NO_SPACE = Reply(452, "4.3.1", "Insufficient disk space, try again later")
OVER_QUOTA = Reply(452, "4.2.2", "The recipient's mailbox is full, try again later")

_STORAGE = (
    ((errors.NoSpace, spool.NoSpace), NO_SPACE),
    (errors.OverQuota, OVER_QUOTA),
    (errors.TooBig, Reply(552, "5.3.4", "The message is too large")),
    (errors.InUse, Reply(451, "4.2.0", "The mailbox is in use, try again later")),
    ((errors.StoreError, spool.SpoolError), FAILED),
)


def by_filter(reason):
    """The Reply if a recipient's own filter refuses a message; `reason`: its text or ""."""
    return Reply(550, "5.7.1", reason or "The recipient refuses this message")


def of_storage_error(error):
    """A StoreError or SpoolError -> Reply."""
    return next(reply for kind, reply in _STORAGE if isinstance(error, kind))
