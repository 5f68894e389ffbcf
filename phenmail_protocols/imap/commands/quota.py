"""GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208).

All mailboxes of a user share one quota root. Users without a quota have no quota root.
"""
from ...config.settings import Quota
from .. import responses
from ..command_row import AFTER_LOGIN, Row
from ..session import CommandFailed
from ..syntax import quota_grammar
from ..syntax.tokens import Scanner

ROOT = b"user"
_UNIT = 1024  # octets; STORAGE is counted in these


def get_quota(session, root):
    limit = _limit(session)
    if limit is None or root != ROOT:
        raise CommandFailed(b"No such quota root", b"NONEXISTENT")
    session.write(_quota(session.mail.quota.usage(session.look), limit))


def get_quota_root(session, name):
    """GETQUOTAROOT. The mailbox need not exist (RFC 9208 4.1.2)."""
    limit = _limit(session)
    roots = b"" if limit is None else b" " + ROOT
    session.write(b"* QUOTAROOT %b%b\r\n" % (responses.mailbox(name, session.utf8), roots))
    if limit is not None:
        session.write(_quota(session.mail.quota.usage(session.look), limit))


def _limit(session):
    """The Quota with the limits of those resources that are offered; None without a limit."""
    limit = session.mail.quota.limit() or Quota()
    if not session.offers("QUOTA=RES-STORAGE"):
        limit = limit._replace(bytes=None)
    if not session.offers("QUOTA=RES-MESSAGE"):
        limit = limit._replace(messages=None)
    return None if limit == Quota() else limit


def _quota(usage, limit):
    """The QUOTA response. A resource that it does not name has no limit (RFC 9208 4.2.1)."""
    resources = []
    if limit.bytes is not None:
        used = -(-usage.octets // _UNIT)
        resources.append(b"STORAGE %d %d" % (used, limit.bytes // _UNIT))
    if limit.messages is not None:
        resources.append(b"MESSAGE %d %d" % (usage.messages, limit.messages))
    return b"* QUOTA %b (%b)\r\n" % (ROOT, b" ".join(resources))


def set_quota(session, _):
    """Only the configuration sets quotas, and QUOTASET is not offered (RFC 9208 4.1.3)."""
    raise CommandFailed(b"Only the administrator can set quotas", b"NOPERM")


ROWS = (
    Row("GETQUOTA", AFTER_LOGIN, quota_grammar.root, get_quota, extension="QUOTA"),
    Row("GETQUOTAROOT", AFTER_LOGIN, Scanner.mailbox, get_quota_root, extension="QUOTA"),
    Row("SETQUOTA", AFTER_LOGIN, quota_grammar.set_quota, set_quota, extension="QUOTA"),
)
