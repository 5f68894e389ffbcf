"""One message at one destination: from the claim to what is written down of it.

It knows no thread and no turn; couriers are others' and so is what is said to senders.  RFC 5321 4.5.4.1 and 6.1, RFC 3461 5.2.

What a crash leaves.  A server took the message, the state does not say so yet: it goes out again (RFC 1047: a repeat, never a
loss).  The state says that the sender is owed a report, the report is not written: it is, after the next start.  The report is
written, the state still says owed: it is written again, with the same Message-ID.
"""
import logging
from typing import Dict, NamedTuple, Optional

from .model import WAITING, Reply, Unreachable
from .schedule import after_failure, after_success, is_due, is_ordered
from .spool import Broken, Busy, NoSuchMessage, SpoolError

REPORTS = "(reports)"  # the "destination" of messages whose sender is owed something; no domain looks like it

# What an attempt taught of its destination: it answered for good, it had no final answer, it could not be had.
ANSWERED, TEMPORARY, DOWN = "answered", "temporary", "down"

_BUSY = 5.0      # seconds until a message is looked at again that another process has in hand
_TROUBLE = 60.0  # the same after trouble of our own: a full disk, a report that nobody takes
_FAULT = 1800.0  # the same after an error in the program: perhaps it sends, and fails to write that down

_OURS = Reply(451, "4.3.0", "An error of this server, told in its log; it will try again")

_log = logging.getLogger("phenmail.relay")


class Outcome(NamedTuple):
    """`dues`: {destination: moment} of what still waits of the message, here and for reports.  `lesson`: one of the above, or
    None where nobody was asked; `reply` goes with the last two.  `is_broken`: the courier failed in a way of its own and is not
    to be used again."""
    dues: Dict[str, float]
    lesson: Optional[str] = None
    reply: Optional[Reply] = None
    is_broken: bool = False


class Call(NamedTuple):
    """How a destination is to be dealt with: its name; `connect()` -> a courier for it, or None: the server is stopping;
    `is_cut()`: whether couriers were aborted; `refusal`: the Reply that answers for it just now, or None; `back_since`: who was
    tried last before this moment need not wait."""
    name: str
    connect: object
    is_cut: object
    refusal: Optional[Reply] = None
    back_since: float = 0.0


class Attempts:
    """Any thread may make an attempt; the spool's claims keep them apart."""

    def __init__(self, spool, policy, destination_of, reporter, clock, random):
        """`destination_of(Recipient)` -> str; `clock()`: epoch seconds; `random()`: 0 <= x < 1."""
        self._spool, self._policy, self._destination_of = spool, policy, destination_of
        self._reporter, self._clock, self._random = reporter, clock, random
        self._unwritten = set()  # (identity, destination): the spool has a change in memory that the disk did not take

    def dues(self, message, now):
        """What waits of a Message -> {destination: moment}, for what is due one in the past; held messages wait for nothing."""
        moments = {}
        for recipient in () if message.held else message.recipients:
            if recipient.owed:
                moments[REPORTS] = 0.0
            if recipient.status == WAITING:
                name = self._destination(recipient)
                when = 0.0 if is_due(recipient, now, self._policy) else recipient.next
                moments[name] = min(when, moments.get(name, when))
        return moments

    def dues_on_disk(self, message, now):
        """As `dues`, of a Message as it was read.  Where memory knows better than the disk, it waits until that can be written: what is
        due by the disk alone would be tried again and again, as long as there is no room."""
        dues = self.dues(message, now)
        if any((message.identity, name) in self._unwritten for name in list(dues) + [REPORTS]):
            return {name: max(when, now + _TROUBLE) for name, when in dues.items()}
        return dues

    def make(self, identity, call):
        """Do what is to be done for a message -> Outcome. Raises nothing."""
        try:
            with self._spool.claim(identity, call.name) as claim:
                if (identity, call.name) in self._unwritten:
                    self._write(claim, lambda message: message)
                outcome = self._report(claim) if call.name == REPORTS else self._send(claim, call)
            if (identity, call.name) in self._unwritten:
                outcome.dues[call.name] = self._clock() + _TROUBLE
            return outcome
        except (NoSuchMessage, Broken):
            self._unwritten.discard((identity, call.name))
            return Outcome({})
        except Busy:
            return Outcome({call.name: self._clock() + _BUSY})
        except SpoolError as error:
            _log.error("%s for %s: the queue can't be read: %s", identity, call.name, error)
            return Outcome({call.name: self._clock() + _TROUBLE})
        except Exception:
            _log.exception("%s for %s failed", identity, call.name)
            return Outcome({call.name: self._clock() + _FAULT})

    # Sending.

    def _send(self, claim, call):
        message, now = claim.message, self._clock()
        chosen = self._chosen(message, call, now)
        if not chosen:
            return Outcome(self.dues(message, now))
        recipients = [message.recipients[index] for index in chosen]
        if call.refusal is None or any(map(is_ordered, recipients)):
            replies, outcome, peer_dsn = self._ask(claim, message, recipients, call)
            now = self._clock()
        else:
            replies, outcome, peer_dsn = [call.refusal] * len(chosen), Outcome({}), False
        said = {index: reply for index, reply in zip(chosen, replies)
                if not call.is_cut() or reply.delivered or reply.permanent}  # an attempt that the stop cut short never was
        if not said:
            return Outcome({call.name: 0.0})
        message = self._write_replies(claim, said, peer_dsn, now)
        self._log_replies(message, said, call.name, now)
        return outcome._replace(dues=self._left(claim, call.name, now))

    def _chosen(self, message, call, now):
        """The places of the recipients to be sent to: all that wait for the destination, once one of them is due."""
        if message.held:
            return []
        waiting = [index for index, recipient in enumerate(message.recipients)
                   if recipient.status == WAITING and self._destination(recipient) == call.name]
        for index in waiting:
            recipient = message.recipients[index]
            if is_due(recipient, now, self._policy) or 0 < recipient.last < call.back_since:
                return waiting
        return []

    def _ask(self, claim, message, recipients, call):
        """-> (a Reply for each, Outcome without dues, whether the peer reports itself)."""
        try:
            courier = call.connect()
            if courier is None:
                return [], Outcome({}), False
            with claim.body() as body:
                replies = courier.deliver(message, tuple(recipients), body)
            if len(replies) != len(recipients):
                raise ValueError("%d replies for %d recipients" % (len(replies), len(recipients)))
            return replies, _lesson(replies), bool(courier.dsn)
        except Unreachable as error:
            reply = error.reply
            return [reply] * len(recipients), Outcome({}, TEMPORARY if reply.permanent else DOWN, reply), False
        except Exception:
            _log.exception("%s for %s: sending failed", message.identity, call.name)
            return [_OURS] * len(recipients), Outcome({}, TEMPORARY, _OURS, is_broken=True), False

    def _write_replies(self, claim, said, peer_dsn, now):
        """-> the Message as it is then."""
        dice = self._random()  # one for all, so that they stay together

        def change(message):
            recipients, nobody = list(message.recipients), message.sender is None
            for index, reply in said.items():
                if recipients[index].status != WAITING:  # an operator dropped it meanwhile
                    continue
                if reply.delivered:
                    recipients[index] = after_success(recipients[index], reply, now, peer_dsn, nobody)
                else:
                    recipients[index] = after_failure(recipients[index], reply, now, self._policy, lambda: dice, nobody)
            return message._replace(recipients=tuple(recipients))

        # Power loss may bring back a state before this one: then it is sent again, as after a crash.
        self._write(claim, change, durable=False)
        return claim.message

    def _write(self, claim, change, durable=True):
        """Change a message's state. Where the disk does not take it, it holds in memory, and is to be written later."""
        key = (claim.identity, claim.destination)
        try:
            claim.update(change, durable)
            self._unwritten.discard(key)
        except NoSuchMessage:
            raise
        except SpoolError as error:
            _log.error("%s: its state can't be written, and is kept in memory: %s", claim.identity, error)
            self._unwritten.add(key)

    def _left(self, claim, name, now):
        """What an attempt leaves to do here and for reports; other destinations are in others' hands."""
        return {place: when for place, when in self.dues(claim.message, now).items() if place in (name, REPORTS)}

    def _destination(self, recipient):
        try:
            return self._destination_of(recipient)
        except ValueError:  # a domain without an ASCII form: nobody has it, which the courier will find
            return recipient.address.domain

    def _log_replies(self, message, said, name, now):
        """One line a recipient, for who asks what became of a message."""
        for index, reply in said.items():
            recipient = message.recipients[index]
            if reply.delivered:
                fate = "sent"
            elif recipient.status == WAITING:
                fate = "deferred for %d s" % (recipient.next - now)
            else:
                fate = "failed" if reply.permanent else "given up"
            _log.info("%s: to=<%s> destination=%s host=%s code=%d %s attempts=%d delay=%.1f %s: %s",
                      message.identity, recipient.address, name, reply.host or "-", reply.code, reply.enhanced,
                      recipient.attempts, max(0.0, now - message.arrived), fate, reply.text)

    # Reports.

    def _report(self, claim):
        """Tell the sender what it is owed; first tell, then write that it was told."""
        while not claim.message.held:
            message = claim.message
            kind = next((recipient.owed for recipient in message.recipients if recipient.owed), "")
            if not kind:
                break
            told = {index: recipient for index, recipient in enumerate(message.recipients) if recipient.owed == kind}
            try:
                with claim.body() as body:
                    self._reporter.report(message, tuple(told.values()), body)
            except Unreachable as error:
                _log.warning("%s: its sender can't be told now what was %s: %s", message.identity, kind, error)
                return Outcome({REPORTS: self._clock() + _TROUBLE})
            self._write(claim, lambda now: _told(now, told))
        return Outcome(self._left(claim, REPORTS, self._clock()), ANSWERED)


def _lesson(replies):
    """What replies teach of who gave them -> Outcome without dues."""
    last = replies[-1]
    if all(not reply.delivered and not reply.permanent for reply in replies):
        return Outcome({}, TEMPORARY, last)
    return Outcome({}, ANSWERED, last)


def _told(message, told):
    """A Message whose recipients `told` ({index: Recipient}) are owed no more what they were owed then."""
    return message._replace(recipients=tuple(
        recipient._replace(owed="") if index in told and recipient.owed == told[index].owed else recipient
        for index, recipient in enumerate(message.recipients)))
