"""One delivery attempt: a message at one destination, from the claim to the state that is written.

RFC 5321 4.5.4.1 (retries) and 6.1 (bounces), RFC 3461 5.2 (delivery status notifications). It
knows neither threads nor turns. `queue.retry` decides what a reply means for a recipient, and
`queue.bounces` which reports senders get.

What a crash leaves:

- A server took the message, but its state does not say so yet: the message is sent again (RFC 1047:
  a repeat, never a loss).
- The state says that the sender is owed a report, but the report is not written: it is written
  after the next start.
- The report is written, but the state still says that it is owed: it is written again, with the
  same Message-ID.
"""
import logging
from typing import Callable, Dict, NamedTuple, Optional

from .model import WAITING, Reply, Unreachable
from .retry import after_failure, after_success, is_due, is_forced
from .spool import Broken, Busy, NoSuchMessage, SpoolError

REPORTS = "(reports)"  # the "destination" of messages that owe a report; no domain looks like it

# What an attempt taught about its destination: it gave a final answer, it gave none, or no
# connection could be made.
ANSWERED, TEMPORARY, DOWN = "answered", "temporary", "down"

_BUSY = 5.0  # seconds until the next look at a message that another process has claimed
_TROUBLE = 60.0  # the same after trouble on this server: a full disk, a report nobody accepts
_FAULT = 1800.0  # the same after an error in the program: it may send and then fail to write that

_OURS = Reply(451, "4.3.0", "Internal error of this server; it will retry, and its log says more")

log = logging.getLogger("phenmail.relay")


class Outcome(NamedTuple):
    """`due`: {destination: time of the next attempt} of what the message still needs, here and for
    reports. `lesson`: ANSWERED, TEMPORARY, DOWN, or None where the destination was not asked;
    `reply`: the last one, unless it is None. `is_broken`: the courier raised an exception and must
    not be used again."""
    due: Dict[str, float]
    lesson: Optional[str] = None
    reply: Optional[Reply] = None
    is_broken: bool = False


class Target(NamedTuple):
    """A destination and the way to it.

    `connect()` gives a courier (see `queue.worker`), or None when the server is stopping.
    `is_cut()`: whether the stop aborted all couriers. `refusal`: the Reply for all messages while
    the destination is down, or None. `back_since`: the destination was down before this time, so
    recipients that were tried last before it need not wait.
    """
    name: str
    connect: Callable
    is_cut: Callable[[], bool]
    refusal: Optional[Reply] = None
    back_since: float = 0.0


class Attempts:
    """Makes attempts, in any thread; the spool's claims keep them apart."""

    def __init__(self, spool, policy, destination_of, reporter, clock, jitter):
        """`destination_of(Recipient)` -> str; `clock()`: epoch seconds; `jitter()`: 0 <= x < 1."""
        self._spool, self._policy, self._destination_of = spool, policy, destination_of
        self._reporter, self._clock, self._jitter = reporter, clock, jitter

    def due(self, message, now):
        """When a Message is to be tried where -> {destination: time}; the past for what is due now,
        {} for a held message."""
        times = {}
        for recipient in () if message.held else message.recipients:
            if recipient.owed:
                times[REPORTS] = 0.0
            if recipient.status == WAITING:
                name = self._destination(recipient)
                when = 0.0 if is_due(recipient, now, self._policy) else recipient.next
                times[name] = min(when, times.get(name, when))
        return times

    def due_on_disk(self, message, now):
        """As `due`, for a Message as it was read from the disk.

        If memory has a newer state that the disk did not take, the next attempt waits until that
        may be written: a full disk must not make the queue send the same message again and again.
        """
        times = self.due(message, now)
        if self._spool.is_unsaved(message.identity):
            return {name: max(when, now + _TROUBLE) for name, when in times.items()}
        return times

    def make(self, identity, target):
        """Do what a message needs at a Target -> Outcome. Raises nothing."""
        def later(seconds):
            return Outcome({target.name: self._clock() + seconds})

        try:
            with self._spool.claim(identity, target.name) as claim:
                if self._spool.is_unsaved(identity):
                    self._write(claim, lambda message: message)
                send = self._report if target.name == REPORTS else self._send
                outcome = send(claim, target)
            if self._spool.is_unsaved(identity):
                outcome.due.update(later(_TROUBLE).due)
            return outcome
        except (NoSuchMessage, Broken):
            return Outcome({})
        except Busy:
            return later(_BUSY)
        except SpoolError as error:
            log.error("%s for %s: cannot read the queue, retrying in %d s: %s",
                      identity, target.name, _TROUBLE, error)
            return later(_TROUBLE)
        except Exception:
            log.exception("%s for %s: internal error, retrying in %d s",
                          identity, target.name, _FAULT)
            return later(_FAULT)

    # Sending.

    def _send(self, claim, target):
        message, now = claim.message, self._clock()
        chosen = self._chosen(message, target, now)
        if not chosen:
            return Outcome(self.due(message, now))
        recipients = [message.recipients[index] for index in chosen]
        outcome, peer_dsn = Outcome({}), False
        if target.refusal is None or any(map(is_forced, recipients)):
            replies, outcome, peer_dsn = self._ask(claim, message, recipients, target)
            now = self._clock()
        else:
            replies = [target.refusal] * len(chosen)
        # An attempt that the stop cut short was never made; a final answer that came still counts.
        answers = {index: reply for index, reply in zip(chosen, replies)
                   if not target.is_cut() or not reply.temporary}
        if not answers:
            return Outcome({target.name: 0.0})
        self._write_answers(claim, answers, peer_dsn, now)
        self._log_answers(claim.message, answers, target.name, now)
        return outcome._replace(due=self._left(claim, target.name, now))

    def _chosen(self, message, target, now):
        """The indexes of the recipients to send to: all at the destination, once one is due."""
        if message.held:
            return []
        waiting = [index for index, recipient in enumerate(message.recipients)
                   if recipient.status == WAITING and self._destination(recipient) == target.name]
        for index in waiting:
            recipient = message.recipients[index]
            if (is_due(recipient, now, self._policy)
                    or 0 < recipient.last < target.back_since):
                return waiting
        return []

    def _ask(self, claim, message, recipients, target):
        """Send -> (a Reply for each recipient, Outcome without `due`, whether the peer reports
        success itself)."""
        try:
            courier = target.connect()
            if courier is None:
                return [], Outcome({}), False
            with claim.body() as body:
                replies = courier.deliver(message, tuple(recipients), body)
            if len(replies) != len(recipients):
                raise ValueError("%d replies for %d recipients" % (len(replies), len(recipients)))
            lesson = TEMPORARY if all(reply.temporary for reply in replies) else ANSWERED
            return replies, Outcome({}, lesson, replies[-1]), bool(courier.dsn)
        except Unreachable as error:
            reply, lesson = error.reply, TEMPORARY if error.reply.permanent else DOWN
            return [reply] * len(recipients), Outcome({}, lesson, reply), False
        except Exception:
            log.exception("%s for %s: internal error while sending", message.identity, target.name)
            outcome = Outcome({}, TEMPORARY, _OURS, is_broken=True)
            return [_OURS] * len(recipients), outcome, False

    def _write_answers(self, claim, answers, peer_dsn, now):
        """Write what `answers` ({index: Reply}) mean for the recipients."""
        jitter = self._jitter()  # one for all recipients, so that they stay together

        def change(message):
            recipients, null_sender = list(message.recipients), message.sender is None
            for index, reply in answers.items():
                recipient = recipients[index]
                if recipient.status != WAITING:  # an operator dropped it meanwhile
                    continue
                if reply.delivered:
                    recipients[index] = after_success(recipient, reply, now, peer_dsn, null_sender)
                else:
                    recipients[index] = after_failure(recipient, reply, now, self._policy, jitter,
                                                      null_sender)
            return message._replace(recipients=tuple(recipients))

        # Power loss may bring back the state before this one. The message is then sent again.
        self._write(claim, change, durable=False)

    def _write(self, claim, change, durable=True):
        """Change a message's state. What the disk does not take holds in memory (see `Spool`)."""
        try:
            claim.update(change, durable)
        except NoSuchMessage:
            raise
        except SpoolError as error:
            log.error("%s: cannot write its state, which stays in memory; retrying in %d s: %s",
                      claim.identity, _TROUBLE, error)

    def _left(self, claim, name, now):
        """What the message still needs here and for reports. Other threads have the rest."""
        return {place: when for place, when in self.due(claim.message, now).items()
                if place in (name, REPORTS)}

    def _destination(self, recipient):
        try:
            return self._destination_of(recipient)
        except ValueError:  # a domain without an ASCII form; the courier finds that it has no host
            return recipient.address.domain

    def _log_answers(self, message, answers, name, now):
        for index, reply in answers.items():
            recipient = message.recipients[index]
            if reply.delivered:
                status = "sent"
            elif recipient.status == WAITING:
                status = "deferred for %d s" % (recipient.next - now)
            else:
                status = "failed" if reply.permanent else "given up"
            log.info("%s: to=<%s> destination=%s host=%s code=%d %s attempts=%d delay=%.1f %s: %s",
                     message.identity, recipient.address, name, reply.host or "-", reply.code,
                     reply.enhanced, recipient.attempts, max(0.0, now - message.arrived), status,
                     reply.text)

    # Reports.

    def _report(self, claim, target):
        """Send the sender what is owed, one report for each kind. Only then write that it was."""
        while not claim.message.held:
            message = claim.message
            kind = next((recipient.owed for recipient in message.recipients if recipient.owed), "")
            if not kind:
                break
            told = {index for index, recipient in enumerate(message.recipients)
                    if recipient.owed == kind}
            try:
                with claim.body() as body:
                    self._reporter.report(
                        message, tuple(message.recipients[index] for index in sorted(told)), body)
            except Unreachable as error:
                log.warning("%s: cannot send the report (%s), retrying in %d s: %s",
                            message.identity, kind, _TROUBLE, error)
                return Outcome({REPORTS: self._clock() + _TROUBLE})
            self._write(claim, lambda newer: _without_owed(newer, told, kind))
        return Outcome(self._left(claim, REPORTS, self._clock()), ANSWERED)


def _without_owed(message, indexes, kind):
    """The Message whose recipients at `indexes` owe no report of that kind any more; what another
    thread wrote meanwhile stays owed."""
    return message._replace(recipients=tuple(
        recipient._replace(owed="") if index in indexes and recipient.owed == kind else recipient
        for index, recipient in enumerate(message.recipients)))
