"""One message on its way in: check, filter, deliver, queue, reply.

An `Incoming` takes the message's bytes as they come (CRLF line ends). `finish` returns a reply for
each recipient. `router` decides where addresses lead.

From the final dot of DATA to the 250, in this order; lines in brackets only where they apply:

    smtp/handler.py        Handler.read_data            the Unstuffer (net/dots.py) finds the dot
    smtp/session.py        Session.content_ended
    smtp/transaction.py    Transaction.finish
    delivery/incoming.py   Incoming.finish
                             _check
    delivery/mailboxes.py      Mailboxes.prepare        NUL bytes, loops
    [delivery/outgoing.py      Outgoing.prepare         the queue's file is synced]
    [authentication/judging.py Judge.judge              SPF, DKIM, DMARC]
                             _filter
    [filters/screening.py      Screening.verdict        for each user who has filters]
    delivery/mailboxes.py    Mailboxes.deliver          first links the copies of further mailboxes
    store/account.py           Account.deliver          file and directory entry are on the disk
                             _queue
    [delivery/outgoing.py      Outgoing.commit
     dkim/signing.py             Signer.sign
     queue/spool.py              Arriving.commit        message and state are on the disk]
                             _notify                    users' logs, vacation, notices of success
    smtp/transaction.py    _worst                       one reply for all recipients; LMTP: one each
    smtp/replies.py        wire
    protocol/output.py     Output.flush                 net/connection.py writes the 250

The promises (accepted mail is not lost, and every recipient's mail has a known fate):

1. A recipient gets 250 only after the store's `deliver` returned for it: the file and its directory
   are on the disk. Recipients elsewhere: only after the queue's `commit` returned.
2. Nothing becomes visible in any mailbox, and nothing leaves, before every copy is complete and
   synced. So a full disk, a loop, an oversize header or a lost connection leave nothing behind.
3. Recipients whose addresses lead to one folder with one tag share one copy; each still has their
   own reply. Another tag is another copy, because filters may file it elsewhere. All recipients
   elsewhere share one message in the queue, and so do those whose mail goes to a program, a plugin
   or another address: everything that can wait or fail is done from there.
4. SMTP has one reply for all recipients. If a mailbox fails after others have the message (a
   rename or an index row failed, although the file is safe), delivery stops with a temporary reply:
   the sender repeats the message for all, and those who have it get it twice. Stopping at once
   keeps these few; going on would add to them, and a 250 would lose mail. The queue comes last, so
   that recipients elsewhere get no copy twice. LMTP has a reply for each recipient
   (`finish(apart=True)`), so there a failure stops only its own recipient.
5. Users' filters run before anything is delivered. A recipient whose copy a filter sends elsewhere
   gets 250 only when the queue has it.
6. A recipient who is over quota does not hold up the others: SMTP refuses them after RCPT. If only
   the whole message shows that it does not fit, the queue delivers their copy later.
"""
import logging

from ..mail.reply import Outcome, Reply
from ..queue.model import LOCAL, TO
from ..queue.spool import SpoolError
from ..store.errors import StoreError
from . import recipient_replies, submission, trace
from .mailboxes import Mailboxes
from .outgoing import Outgoing
from .recipient_replies import MessageRefused

# A header is held back until it is complete, up to this size in bytes.
HEADER_LIMIT = 256 * 1024
# Kinds of destination whose mail waits in the queue for destinations.local_delivery.
QUEUED_LOCALLY = frozenset(("agent", "forward", "plugin"))

# What is done with the header: a submission is completed and signed; the rest of the mail is
# checked (SPF, DKIM, DMARC) if it comes from outside. Another server has checked fetched mail.
_SUBMITTED, _OUTSIDE, _INSIDE, _FETCHED = "submitted", "outside", "inside", "fetched"

log = logging.getLogger("phenmail.delivery")


class Incoming:
    """One message on its way in. For one thread; ends with `finish` or `abort`."""

    __slots__ = ("size", "identity", "_router", "_envelope", "_origin", "_submitter", "_kind",
                 "_may_refuse", "_was_here", "_placing", "_auth", "_keys", "_mailboxes",
                 "_outgoing", "_held", "_header", "_failure")

    def __init__(self, router, envelope, origin, destinations, submitter, may_refuse, was_here,
                 placing=None):
        """The arguments are those of Router.begin."""
        self.size = 0  # bytes of the message so far, as they came
        self.identity = router.identity()
        self._router = router
        self._envelope = envelope
        self._origin = trace.Origin() if origin is None else origin
        self._submitter = submitter
        if submitter is not None or origin is None:
            self._kind = _SUBMITTED
        elif placing is not None:
            self._kind = _FETCHED
        else:
            self._kind = _OUTSIDE if _comes_from_outside(router, origin) else _INSIDE
        self._may_refuse = may_refuse
        self._was_here = was_here
        self._placing = placing
        self._auth = ""  # a fetched message: what a server that the user trusts found
        self._held = bytearray()  # the header until it is complete, then None
        self._header = b""  # with the fields added here; of a larger one HEADER_LIMIT bytes
        self._failure = None  # the Reply for all recipients that have none yet
        name = self.identity.decode("ascii")
        self._mailboxes = Mailboxes(router.store, envelope.sender, name, placing)
        self._outgoing = Outgoing(
            router.queue, router.signer if self._kind == _SUBMITTED else None, envelope, name)
        self._keys = [self._add(recipient, destination)
                      for recipient, destination in zip(envelope.recipients, destinations)]

    def _add(self, recipient, destination):
        """-> how `_reply` finds a recipient's reply: a Reply, a key of Mailboxes, None (queue)."""
        if isinstance(destination, Reply):
            return destination
        if destination.kind == "remote":
            self._outgoing.add(recipient._replace(address=destination.address))
            return None
        if destination.kind in QUEUED_LOCALLY:
            self._outgoing.add(recipient, LOCAL)
            return None
        return self._mailboxes.add(destination, recipient.address)

    @property
    def _copies(self):
        return [copy for copy in (self._mailboxes, self._outgoing) if copy]

    @property
    def is_queued(self):
        """After `finish`: whether the message is in the queue, under its identity."""
        return self._outgoing.reply is not None

    def write(self, data):
        """Take the next bytes; CRLF line ends, cut anywhere. Raises nothing; see `finish`."""
        self.size += len(data)
        if self._failure is None and self._copies:
            try:
                if self._held is not None:
                    self._hold(data)
                else:
                    for copy in self._copies:
                        copy.write(data)
            except Exception as error:
                self._fail(error)

    def finish(self, apart=False):
        """The message is complete: keep it -> list of Outcome, one for each recipient in order.

        `apart`: each recipient has their own reply (LMTP); otherwise one failure fails all.
        """
        if self._failure is None and self._copies:
            try:
                auth = self._check(apart)
                self._filter(apart, auth)
                waiting = self._waiting(apart)
                self._send_on(self._mailboxes.onward() + waiting)
                if self._mailboxes:
                    self._mailboxes.deliver(self._kept(), apart)
                self._queue(apart)
                self._notify()
            except Exception as error:
                self._fail(error)
        self.abort()
        outcomes = [Outcome(recipient.address, self._reply(key))
                    for recipient, key in zip(self._envelope.recipients, self._keys)]
        if log.isEnabledFor(logging.INFO):
            self._log(outcomes)
        return outcomes

    def abort(self):
        """Discard what was not delivered. May be called at any time and again."""
        if self._held:
            self._held = bytearray()
        self._mailboxes.discard()
        self._outgoing.discard()

    def _fail(self, error):
        """An exception -> the reply for all who have none yet."""
        if isinstance(error, MessageRefused):
            self._failure = error.reply
        elif isinstance(error, (StoreError, SpoolError)):
            log.warning("%s: %r", self.identity.decode(), error)
            self._failure = recipient_replies.of_storage_error(error)
        else:
            log.error("%s: delivery failed, the sender is asked to retry", self.identity.decode(),
                      exc_info=error)
            self._failure = recipient_replies.FAILED
        self.abort()

    def _reply(self, key):
        if isinstance(key, Reply):
            return key
        reply = self._outgoing.reply if key is None else self._mailboxes.replies.get(key)
        return reply or self._failure or recipient_replies.FAILED

    def _kept(self):
        return Reply(250, "2.0.0", "Ok, kept as %s" % self.identity.decode("ascii"))

    def _log(self, outcomes):
        origin = self._origin
        log.info("%s: from=<%s> to=%s size=%d peer=%s with=%s%s", self.identity.decode(),
                 self._envelope.sender or "",
                 ",".join(["<%s>=%d/%s" % (recipient, reply.code, reply.enhanced)
                           for recipient, reply in outcomes]), self.size, origin.peer,
                 origin.protocol, " user=%s" % origin.account if origin.account else "")

    # The header

    def _hold(self, data):
        """Take bytes of a header that is not complete yet."""
        held = self._held
        searched = max(0, len(held) - 3)
        held += data
        end = trace.header_end(held, searched)
        if end:
            self._open(bytes(held[:end]), bytes(held[end:]))
        elif len(held) > HEADER_LIMIT:
            if self._kind != _INSIDE:
                # What is behind the limit could be neither completed nor searched for forgeries.
                raise MessageRefused(recipient_replies.HEADER_TOO_LARGE)
            cut = len(held) - held.endswith(b"\r")  # do not split a line end
            self._open(bytes(held[:cut]), bytes(held[cut:]))

    def _open(self, header, body):
        """The header is complete: check it, and begin the copies."""
        self._held = None
        if not trace.begins_with_field(header):
            # RFC 5322 2.1: without an empty line, text without a header would extend our own.
            header, body = b"\r\n", header + body
        lowered = header.lower()
        if trace.hops(lowered) > trace.MOST_HOPS:
            raise MessageRefused(recipient_replies.LOOP)
        # Another server may have delivered mail of the same address before: a fetched message is a
        # loop only if it was here.
        may_loop = self._kind != _FETCHED or trace.was_received(lowered, self._router.host)
        if self._mailboxes and not self._was_here and may_loop:
            self._mailboxes.look_for_loops(lowered)
        date = self._router.stamp.now()[1]
        header = self._rewritten(header, lowered, date)
        recipients = self._envelope.recipients
        only = recipients[0].address if len(recipients) == 1 else None
        received = trace.received(self._origin, self._router.host, self.identity, only, date)
        self._header = received + header
        for copy in self._copies:
            copy.open(received, header)
            if body:
                copy.write(body)

    def _rewritten(self, header, lowered, date):
        """What the sender wrote -> what is kept: completed, or without fields only we may write."""
        if self._kind == _SUBMITTED:
            header, may_sign = submission.complete(
                header, self._envelope.sender, self.identity, self._router.host, date,
                None if self._submitter is None else self._whose)
            if not may_sign:
                self._outgoing.leave_unsigned()
            return header
        if b"return-path:" in lowered:
            header = trace.without_return_path(header)
        if self._kind in (_OUTSIDE, _FETCHED) and b"authentication-results" in lowered:
            from ..authentication import results
            if self._kind == _FETCHED and self._placing.trust:
                self._auth = results.summary(results.of_server(header, self._placing.trust))
            header = results.without_ours(header, self._router.host)
        return header

    def _whose(self, address):
        """Whose an author's address is, as submission.complete asks."""
        directory = self._router.directory
        if directory.may_send_as(self._submitter, address):
            return submission.OWN
        is_foreign = directory.resolve(address).kind == "remote"
        return submission.FOREIGN if is_foreign else submission.NEIGHBOURS

    # The steps of `finish`. Each may raise MessageRefused, StoreError or SpoolError.

    def _check(self, apart):
        """-> the judgement of SPF, DKIM and DMARC for filters, "" if there is none."""
        if self._held is not None:
            self._open(bytes(self._held), b"")
        for copy in self._copies:
            copy.prepare(apart)
        return self._judge() if self._kind == _OUTSIDE else self._auth

    def _judge(self):
        """Judge the message, and put the result on top as a field -> the result for filters."""
        origin = self._origin
        path, start = self._copies[0].source()
        judgement = self._router.judge(origin.peer, origin.helo, self._envelope.sender, path, start)
        if judgement.reject:
            raise MessageRefused(Reply(550, "5.7.26", judgement.reason))
        for copy in self._copies:
            copy.add_field(judgement.field)
        self._header = judgement.field + self._header
        return judgement.auth

    def _filter(self, apart, auth):
        screening = self._router.screening
        if not self._mailboxes or screening is None:
            return
        if self._placing is not None and self._placing.mailbox is not None:
            return
        if not self._may_refuse or self._outgoing and not apart:
            refusal = "none"
        else:
            refusal = "each" if apart else "all"
        self._mailboxes.filter(
            screening, lambda address, tag: self._filtered(address, tag, auth), refusal)

    def _filtered(self, address, tag, auth):
        """The message as the filters of one recipient see it."""
        from ..filters.rules import FilteredMessage
        header, staged = self._header, self._mailboxes.staged
        if not header.endswith(b"\r\n\r\n"):  # it is larger than HEADER_LIMIT
            from ..filters.matching import read_header
            staged.flush()
            header = read_header(staged.descriptor, self._mailboxes.top)
        return FilteredMessage(header, self._envelope.sender, address, tag, self.size,
                               staged.descriptor, auth)

    def _waiting(self, apart):
        """The copies that wait in the queue, because they do not fit into their users' quotas and
        others of this message can be delivered -> as Mailboxes.onward, with None for the target."""
        if apart or len(set(self._keys)) < 2 or self._router.queue is None:
            return []
        full = self._mailboxes.over_quota()
        if not self._outgoing and len(full) == len(self._mailboxes):
            return []
        for key in full:
            self._mailboxes.let_wait(key)
        return [(key, False, None) for key in full]

    def _send_on(self, onward):
        """Add to the queue what users' filters send elsewhere, and what waits there."""
        if not onward:
            return
        outgoing = self._outgoing
        if self._router.queue is None:
            raise MessageRefused(recipient_replies.NO_QUEUE)
        is_open = bool(outgoing)
        for key, is_copy, target in onward:
            via = LOCAL if target is None else TO + str(target)
            outgoing.add(self._recipient_of(key, is_copy), via, key)
        if not is_open:
            outgoing.open(b"", self._header)
            for piece in self._mailboxes.body():
                outgoing.write(piece)
            outgoing.prepare(False)

    def _recipient_of(self, key, is_copy):
        """The Recipient whose filter sends the message on, with the notices its sender wants.

        RFC 3461 5.2.7. With NOTIFY=NEVER the other server sends no notice of failure either, so a
        bounce of a notice to the postmaster causes no further one. The arrival of a copy is not
        reported.
        """
        recipient = next(each for each, known in zip(self._envelope.recipients, self._keys)
                         if known == key)
        if is_copy and recipient.notify:
            left = tuple([word for word in recipient.notify if word != "SUCCESS"])
            recipient = recipient._replace(notify=left or ("NEVER",))
        return recipient

    def _queue(self, apart):
        outgoing = self._outgoing
        outgoing.leave_out(self._mailboxes.failed())
        if not outgoing:
            return
        try:
            outgoing.commit(self._router.stamp.now()[0])
        except SpoolError as error:
            if not apart:
                raise
            self._fail(error)  # for recipients elsewhere; the others have their copies
        else:
            self._mailboxes.settle(self._kept())

    def _notify(self):
        """Write users' logs, run vacation, and send notices of success (RFC 3461 5.2.6)."""
        router = self._router
        if router.screening is not None:
            self._mailboxes.finished(router.screening)
        if not (router.notifies and any("SUCCESS" in each.notify
                                        for each in self._envelope.recipients)):
            return
        filed = [recipient for recipient, key in zip(self._envelope.recipients, self._keys)
                 if self._mailboxes.filed(key)]
        try:
            router.notify(self.identity.decode("ascii"), self._envelope, filed, self._header,
                          router.stamp.now()[0])
        except Exception:
            log.exception("%s: the notice of success was not sent", self.identity.decode())


def _comes_from_outside(router, origin):
    """Whether to judge a message. The server in front of an LMTP server has done so already."""
    return (router.judge is not None and origin.protocol != "" and "LMTP" not in origin.protocol
            and router.is_outside(origin.peer))
