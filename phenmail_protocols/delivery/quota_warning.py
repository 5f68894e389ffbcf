"""The message that warns users whose mailboxes are nearly full.

RFC 3834 section 5 (Auto-Submitted), RFC 5322.
"""
import os
import time

from ..mail import dates
from ..mail.address import ascii_domain
from ..mail.bounce import plain
from ..mail.writing import field, text_part
from ..store.model import INBOX
from .trace import return_path

_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))
_TEXT = """Your mailboxes are nearly full. They hold %s.

Once the limit is reached, new mail for you waits with its senders, and they
get it back if there is no room for some days. To make room, delete messages
that you no longer need, and empty the trash.
"""


def warn(account, address, host, usage, limit):
    """Put the warning into the INBOX of a store.account.Account.

    The quota does not apply to it, and it passes no filter and no queue. So it cannot be refused,
    and it cannot cause another message. `address`: the user's Address; `host`: this server's name;
    `usage`, `limit`: store.model.Usage and config.settings.Quota. Raises StoreError.
    """
    staged = account.stage()
    try:
        staged.write(return_path(None) + message(address, host, usage, limit, time.time()))
        account.deliver(INBOX, staged, in_quota=False)
    finally:
        staged.discard()


def message(address, host, usage, limit, now):
    """The warning's octets in wire form; `now`: epoch seconds."""
    form, body = text_part(_TEXT % " and ".join(_amounts(usage, limit)))
    moment = int(now)
    return b"".join([
        field("From", "Mail server <postmaster@%s>" % ascii_domain(host)),
        field("To", "<%s>" % str(plain(address)), utf8=True),
        field("Subject", "Your mailboxes are nearly full"),
        field("Date", dates.format_header(moment, dates.local_zone(moment))),
        field("Message-ID", "<quota.%x.%s@%s>" % (moment, os.urandom(8).hex(), ascii_domain(host))),
        field("Auto-Submitted", "auto-generated"),
        field("MIME-Version", "1.0"), form, b"\r\n", body])


def _amounts(usage, limit):
    """Yield a phrase for each limited resource."""
    if limit.bytes is not None:
        yield "%s of at most %s" % (_size(usage.octets), _size(limit.bytes))
    if limit.messages is not None:
        yield "%d of at most %d messages" % (usage.messages, limit.messages)


def _size(octets):
    for unit, name in _UNITS:
        if octets >= unit:
            return "%.1f %s" % (octets / unit, name)
    return "%d bytes" % octets
