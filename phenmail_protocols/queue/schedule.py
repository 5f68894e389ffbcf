"""When a recipient is tried again, when its sender is warned, when it is given up, and who is owed a notice.

Pure: values in, values out; the moment, the policy and the dice are passed in.  It knows no file, thread, network or text.
RFC 5321 4.5.4.1 (retries), RFC 3461 4.1 and 5.2 (NOTIFY), RFC 3464 2.3.3 (actions).

Clocks: a machine without a battery boots in 1970 and jumps by decades when the network comes.  So what expires is not the time
since a message came but `waited`, the time that the attempts really spanned: of the time between two attempts at most twice
the planned interval counts.  A machine that was off for a week has not tried for a week.
"""
from typing import NamedTuple

from ..text.clock import EARLIEST
from .model import DELAYED, DELIVERED, DONE, FAILED, RELAYED, TO, WAITING

_JITTER = 0.2  # each interval is up to this part shorter or longer, so that what failed together is not tried together
_MOST_DOUBLINGS = 60
# A planned moment is passed by this much: the sum of rounded seconds must not stay a hair below it.
_PAST = 1.0


class Policy(NamedTuple):
    """All in seconds: the `first` interval, the `longest` one, when to warn the sender, and when to give up."""
    first: float = 300.0
    longest: float = 14400.0
    warn_after: float = 14400.0
    give_up: float = 432000.0


def after_failure(recipient, reply, now, policy, random, null_sender=False):
    """An attempt for a Recipient failed -> the Recipient as it stands now.

    `reply`: the Reply, 4xx or 5xx.  `now`: epoch seconds.  `random()` gives 0 <= x < 1.  `null_sender`: the message's sender
    is <>, whom nobody can warn; what fails of his is owed all the same, for a lost notice is told to the postmaster.
    The reply is kept when the time is over too: `owed` FAILED with a 4xx reply means "tried until now".
    """
    waited = recipient.waited + _counted(recipient, now, policy)
    tried = recipient._replace(reply=reply, attempts=recipient.attempts + 1, last=now, waited=waited)
    if reply.permanent or waited >= policy.give_up and now >= EARLIEST:
        return tried._replace(status=DONE, owed=FAILED if _wants_failure(recipient) else "")
    if waited >= policy.warn_after and _may_be_warned(recipient, null_sender):
        tried = tried._replace(owed=DELAYED, warned=True)
    return tried._replace(next=now + _pause(tried, policy, random, null_sender))


def after_success(recipient, reply, now, peer_dsn, null_sender=False):
    """A Recipient was taken -> the Recipient, DONE.

    `peer_dsn`: the server that took it speaks RFC 3461 and was told NOTIFY, so it will report (RFC 3461 5.2.2).  Without it a
    sender who asked for SUCCESS is owed RELAYED, or DELIVERED where it came to its end here (`via`); nothing yet where it was
    only sent on, with all that the sender asked for (RFC 3461 5.2.7).  A warning that is still owed is not sent any more.
    """
    owed = ""
    if "SUCCESS" in recipient.notify and not null_sender and not peer_dsn and not recipient.via.startswith(TO):
        owed = DELIVERED if recipient.via else RELAYED
    return recipient._replace(status=DONE, reply=reply, attempts=recipient.attempts + 1, last=now, owed=owed)


def is_due(recipient, now, policy):
    """Whether a WAITING Recipient is to be tried at the moment `now` -> bool.

    Also when it would be due later than any interval allows: then the clock went back.
    """
    if recipient.status != WAITING:
        return False
    return recipient.next <= now or recipient.next - now > policy.longest * (1 + _JITTER) + _PAST


def is_ordered(recipient):
    """Whether somebody wants a WAITING Recipient, which failed before, to be tried now whatever is known of its destination: the
    queue's words leave no moment for its next attempt, and the schedule always does."""
    return recipient.attempts > 0 and not recipient.next


def retried_until(recipient, now, policy):
    """The moment when a WAITING Recipient will be given up, as far as can be said at `now` -> epoch seconds."""
    return now + max(0.0, policy.give_up - recipient.waited)


def _interval(attempts, policy):
    """The planned seconds after so many attempts, without jitter; none before the first."""
    if not attempts:
        return 0.0
    return min(policy.first * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS), policy.longest)


def _counted(recipient, now, policy):
    """Seconds since the last attempt, as far as they count."""
    return max(0.0, min(now - recipient.last, 2 * _interval(recipient.attempts, policy)))


def _pause(recipient, policy, random, null_sender):
    """Seconds until the next attempt: doubled, with jitter, and not beyond the moment when the sender is to hear something."""
    pause = _interval(recipient.attempts, policy) * (1 - _JITTER + 2 * _JITTER * random())
    moments = [policy.give_up]
    if _may_be_warned(recipient, null_sender):
        moments.append(policy.warn_after)
    return min([pause] + [moment - recipient.waited + _PAST for moment in moments if moment > recipient.waited])


def _wants_failure(recipient):
    """RFC 3461 4.1: without NOTIFY, failures are told."""
    return not recipient.notify or "FAILURE" in recipient.notify


def _may_be_warned(recipient, null_sender):
    """RFC 3461 4.1: without NOTIFY, a delay may be told."""
    return not recipient.warned and not null_sender and (not recipient.notify or "DELAY" in recipient.notify)
