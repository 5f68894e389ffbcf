"""The message that warns users whose mailboxes are nearly full.

RFC 3834 section 5 (Auto-Submitted), RFC 5322.
"""
import logging
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
get it back if there is still no room after some days. To make room, delete
messages that you no longer need, and empty the trash.
"""
log = logging.getLogger("phenmail.delivery")


def warn(account, address, host, usage, limit):
    """Put the warning into the INBOX of a store.account.Account.

    The quota does not apply to it, and it passes no filter and no queue. So it cannot be refused,
    and it cannot cause another message. `address`: the user's Address; `host`: this server's name;
    `usage`, `limit`: store.model.Usage and config.settings.Quota. Raises StoreError.
    """
    amounts = " and ".join(_amounts(usage, limit))
    log.warning("%s: nearly full: %s; warning the user", account.folder, amounts)
    staged = account.stage()
    try:
        staged.write(return_path(None) + _message(address, host, amounts, int(time.time())))
        account.deliver(INBOX, staged, in_quota=False)
    finally:
        staged.discard()


def _message(address, host, amounts, now):
    """The warning's octets in wire form; `now`: epoch seconds."""
    form, body = text_part(_TEXT % amounts)
    return b"".join([
        field("From", "Mail server <postmaster@%s>" % ascii_domain(host)),
        field("To", "<%s>" % str(plain(address)), utf8=True),
        field("Subject", "Your mailboxes are nearly full"),
        field("Date", dates.format_header(now, dates.local_zone(now))),
        field("Message-ID", "<quota.%x.%s@%s>" % (now, os.urandom(8).hex(), ascii_domain(host))),
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
