"""What an operator can do with queued messages.

Each change takes the message's claim and is then announced to the server, if one is running.
"""
import time
from typing import NamedTuple

from ..mail.reply import Reply
from ..queue import retry as retries
from ..queue.model import DONE, WAITING
from ..queue.spool import Busy, SpoolError
from .queue_text import why

DROPPED = Reply(550, "5.7.1", "An administrator removed this message from the queue")
ALL = "all"

_PATIENCE = 2.0  # seconds to wait for a message that is being sent


class Result(NamedTuple):
    """The outcome of an order for one message. `done`: whether it was carried out; `text`: a line
    for people."""
    identity: str
    done: bool
    text: str


def retry(spool, which):
    """Retry one message now, or ALL that are not held -> list of Result.

    Raises SpoolError if the queue cannot be read.
    """
    if which != ALL:
        return [_order(spool, which, _due_now, "will be retried now",
                       held="is held; release it first")]
    identities = [message.identity for message in spool.messages() if not message.held]
    # A message that is being sent needs no retry, so this does not wait for it.
    return [_order(spool, identity, _due_now, "will be retried now", patience=0)
            for identity in identities]


def hold(spool, identity):
    """Do not send a message until it is released -> [Result]."""
    return [_order(spool, identity, lambda message: message._replace(held=True), "is held")]


def release(spool, identity):
    """Resume a held message -> [Result]."""
    return [_order(spool, identity, lambda message: message._replace(held=False), "is released")]


def drop(spool, identity, bounce, clock=time.time):
    """Give up a message for all recipients who still wait for it -> [Result].

    `bounce`: the sender gets a bounce, unless they declined it (RFC 3461 4.1). Otherwise they
    learn nothing, not even of earlier failures.
    """
    if not bounce:
        return [_order(spool, identity, _forget, "was removed")]
    now = clock()
    return [_order(spool, identity, lambda message: _give_up(message, now),
                   "was removed; the sender gets a bounce")]


def _due_now(message):
    return message._replace(recipients=tuple(
        each._replace(next=0.0) if each.status == WAITING else each for each in message.recipients))


def _forget(message):
    return message._replace(recipients=tuple(
        each._replace(status=DONE, owed="") for each in message.recipients))


def _give_up(message, now):
    """The message is also released, because a held one sends no bounce."""
    return message._replace(held=False, recipients=tuple(
        _refused(each, now) if each.status == WAITING else each for each in message.recipients))


def _refused(recipient, now):
    """The bounce follows the rules of any failure, but there was no attempt."""
    failed = retries.after_failure(recipient, DROPPED, now, retries.Policy(), 0.5)
    return failed._replace(attempts=recipient.attempts, last=recipient.last,
                           waited=recipient.waited)


def _order(spool, identity, change, text, patience=None, held=None):
    """Change one message and announce it -> Result.

    `held`: why nothing is done if the message is held; None: it is done nevertheless.
    """
    try:
        with spool.claim(identity, timeout=_PATIENCE if patience is None else patience) as claim:
            if held and claim.message.held:
                return Result(identity, False, "%s %s" % (identity, held))
            claim.update(change)
    except Busy:
        return Result(identity, False, "%s is being sent now; try again later" % identity)
    except SpoolError as error:
        return Result(identity, False, why(spool, identity, error))
    try:
        spool.changed(identity)
    except SpoolError as error:
        return Result(identity, True, "%s %s, but a running server will notice it later: %s"
                      % (identity, text, error))
    return Result(identity, True, "%s %s" % (identity, text))
