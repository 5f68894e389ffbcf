"""Retries after 4xx replies: when to retry a recipient, when to warn the sender, when to give up,
and which report to send then.

Pure: the time, the policy and the jitter are passed in. RFC 5321 4.5.4.1 (retries), RFC 3461 4.1
and 5.2 (NOTIFY), RFC 3464 2.3.3 (actions).

States of a recipient (`status`, `owed`), and what moves it:

    WAITING            -> WAITING            4xx: retried at `next`
                       -> WAITING, DELAYED   4xx after `warn_after`, once: the sender is warned
                       -> DONE, FAILED       5xx, or 4xx after `give_up`: the sender gets a bounce
                       -> DONE, RELAYED      2xx, and the sender asked for NOTIFY=SUCCESS
                          or DELIVERED
                       -> DONE               2xx; or NOTIFY says that the sender wants no report
    ..., owed          -> ..., not owed      the report is written (`queue.attempt`)

A message whose recipients are all DONE and owed nothing is over, and the spool removes it.

Clocks: a machine without a battery boots in 1970 and jumps by decades once it has a network. So
what expires is not the time since a message arrived but `waited`, the time that the attempts really
spanned: the time between two attempts counts up to twice the planned interval. A machine that was
off for a week has not tried for a week.
"""
from typing import NamedTuple

from ..text.clock import EARLIEST
from .model import DELAYED, DELIVERED, DONE, FAILED, RELAYED, TO, WAITING

_JITTER = 0.2  # an interval varies by this part, so that what failed together is spread out
_MOST_DOUBLINGS = 60
# Seconds by which a retry passes the time of a warning or of giving up: a sum of rounded seconds
# must not end just before it.
_PAST = 1.0


class Policy(NamedTuple):
    """In seconds: the `first` interval, the `longest` one, when to warn the sender, and when to
    give up."""
    first: float = 300.0
    longest: float = 14400.0
    warn_after: float = 14400.0
    give_up: float = 432000.0


def after_failure(recipient, reply, now, policy, jitter, null_sender=False):
    """A Recipient got a 4xx or 5xx Reply -> the Recipient as it stands now.

    `now`: epoch seconds. `jitter`: a random 0 <= x < 1. `null_sender`: the sender is <>, who
    cannot be warned. Failure is owed even then, because the postmaster gets a report of a lost
    bounce. If the time is up after a 4xx reply, FAILED is owed and that reply is kept.
    """
    waited = recipient.waited + _counted(recipient, now, policy)
    tried = recipient._replace(reply=reply, attempts=recipient.attempts + 1, last=now,
                               waited=waited)
    # A clock before 2024 is wrong, so nothing expires by it.
    if reply.permanent or waited >= policy.give_up and now >= EARLIEST:
        return tried._replace(status=DONE, owed=FAILED if _wants_failure(recipient) else "")
    if waited >= policy.warn_after and _may_be_warned(recipient, null_sender):
        tried = tried._replace(owed=DELAYED, warned=True)
    return tried._replace(next=now + _pause(tried, policy, jitter, null_sender))


def after_success(recipient, reply, now, peer_dsn, null_sender=False):
    """A Recipient was accepted -> the Recipient, DONE.

    `peer_dsn`: the server that accepted it supports DSN and got NOTIFY, so it will report success
    itself (RFC 3461 5.2.2). Otherwise a sender who asked for SUCCESS is owed RELAYED, or DELIVERED
    if this server delivered it. Nothing is owed for mail that a user's rule sent on: its report
    comes from further on (RFC 3461 5.2.7). A warning that is still owed is dropped.
    """
    owed = ""
    if ("SUCCESS" in recipient.notify and not null_sender and not peer_dsn
            and not recipient.via.startswith(TO)):
        owed = DELIVERED if recipient.via else RELAYED
    return recipient._replace(status=DONE, reply=reply, attempts=recipient.attempts + 1, last=now,
                              owed=owed)


def is_due(recipient, now, policy):
    """Whether a Recipient is to be tried at the time `now`.

    It also is if its next attempt is further away than any interval: then the clock went back.
    """
    if recipient.status != WAITING:
        return False
    return (recipient.next <= now
            or recipient.next - now > policy.longest * (1 + _JITTER) + _PAST)


def is_forced(recipient):
    """Whether an operator wants a retry now, even if the destination is known to be down.

    The command `queue retry` sets `next` to 0, which `after_failure` never does.
    """
    return recipient.attempts > 0 and not recipient.next


def retried_until(recipient, now, policy):
    """When a WAITING Recipient will be given up, as far as can be said now -> epoch seconds."""
    return now + max(0.0, policy.give_up - recipient.waited)


def _interval(attempts, policy):
    """The planned seconds after so many attempts, without jitter; 0 before the first."""
    if not attempts:
        return 0.0
    return min(policy.first * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS), policy.longest)


def _counted(recipient, now, policy):
    """How much of the time since the last attempt counts as tried."""
    return max(0.0, min(now - recipient.last, 2 * _interval(recipient.attempts, policy)))


def _pause(recipient, policy, jitter, null_sender):
    """Seconds until the next attempt; it is not after the time when the sender is due a report."""
    pause = _interval(recipient.attempts, policy) * (1 - _JITTER + 2 * _JITTER * jitter)
    limits = [policy.give_up]
    if _may_be_warned(recipient, null_sender):
        limits.append(policy.warn_after)
    return min([pause] + [limit - recipient.waited + _PAST
                          for limit in limits if limit > recipient.waited])


def _wants_failure(recipient):
    """RFC 3461 4.1: without NOTIFY, failure is reported."""
    return not recipient.notify or "FAILURE" in recipient.notify


def _may_be_warned(recipient, null_sender):
    """RFC 3461 4.1: without NOTIFY, delay may be reported."""
    return not recipient.warned and not null_sender and (
        not recipient.notify or "DELAY" in recipient.notify)
