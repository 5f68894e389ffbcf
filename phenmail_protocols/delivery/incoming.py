"""One message on its way in: each recipient to its end, whoever brings it.

An `Incoming` takes the message's octets as they come (CRLF line ends), and at `finish` has an answer for each recipient; what the
store and the queue raise ends here.  Where addresses end is `router`'s.

What is promised ("All or told", "Accepted means kept"):

1. 250 for a recipient only after the store's `deliver` returned for it: its file
   and its directory are on the disk.
   Recipients elsewhere: only after the queue's `commit` returned.
2. Nothing becomes visible in any mailbox, nor leaves, before every copy is whole and
   synced.  So a full disk, a loop, an oversize header or a lost connection leave nothing.
3. Recipients whose addresses end in one folder with one tag share one copy; each of
   them has its own answer.  Another tag is another copy, since filters may file it
   elsewhere.  All recipients elsewhere share one message of the queue, and so do those
   whose mail a program, a plugin or another address gets: all that can wait or fail is
   done from there.
4. Where the sender gets one answer for all (SMTP) and a mailbox fails while others
   have the message already (a rename or an index row failed, although the bytes are
   safe), delivery stops there and the answer is temporary: the sender repeats for
   all, and those who have it get it twice.  Stopping at once keeps these few; going
   on would add to them, and 250 would lose mail.  The queue comes last: what is repeated
   is repeated here, and not to strangers.  Where each recipient has its own
   answer (LMTP, `finish(apart=True)`), each is delivered for itself.
5. Users' filters are asked before the first of all this, when the whole message is there.  A copy that
   goes elsewhere by a filter is answered for when the queue has it.
"""
import logging
import os

from ..mail import headers
from ..queue.model import LOCAL, TO
from ..store.errors import StoreError
from . import answers, submission, trace
from .answers import Answer, Outcome, Refused
from .mailboxes import Mailboxes
from .outgoing import Outgoing

# A header block is held back until it is whole, up to this size.
HEADER_LIMIT = 256 * 1024
# Kinds of destination whose mail is handed over by the relay's worker (destinations.local).
HANDED_OVER = frozenset(("agent", "forward", "plugin"))

_END = b"\r\n\r\n"
_CHUNK = 131072

log = logging.getLogger("phenmail.delivery")


class Incoming:
    """One message on its way in.  One thread; ends with `finish` or `abort`."""

    __slots__ = ("size", "identity", "_router", "_envelope", "_origin", "_submitter", "_complete", "_keys", "_ends",
                 "_mailboxes", "_outgoing", "_held", "_failure", "_opened", "_header", "_may_refuse", "_body_at",
                 "_is_judged", "_received", "_auth", "_was_here")

    def __init__(self, router, envelope, origin, destinations, submitter, may_refuse, was_here=False):
        self.size = 0  # octets of the message so far, as it came
        self.identity = router.identity()
        self._router = router
        self._envelope = envelope
        self._origin = trace.Origin() if origin is None else origin
        self._submitter = submitter
        self._complete = submitter is not None or origin is None
        self._held = bytearray()  # the header block, until it is whole
        self._opened = False
        self._header = b""
        self._body_at = 0  # where in the mailboxes' file it begins
        self._may_refuse = may_refuse
        self._was_here = was_here
        self._is_judged = _comes_from_outside(router, self._origin, submitter)
        self._received = b""  # our field
        self._auth = ""  # how it was judged, for filters
        self._failure = None  # Answer for all who have none yet
        name = self.identity.decode("ascii")
        self._mailboxes = Mailboxes(router.store, envelope.sender, name)
        self._outgoing = Outgoing(router.queue, router.signer if self._complete else None, envelope, name)
        self._keys = [self._add(recipient, destination)
                      for recipient, destination in zip(envelope.recipients, destinations)]
        self._ends = [end for end in (self._mailboxes, self._outgoing) if len(end)]

    def _add(self, recipient, destination):
        """-> what `_answer` knows the recipient by: an Answer, a key of the mailboxes, or None (the queue)."""
        if isinstance(destination, Answer):
            return destination
        if destination.kind == "remote":
            self._outgoing.add(recipient._replace(address=destination.address))
            return None
        if destination.kind in HANDED_OVER:
            self._outgoing.add(recipient, LOCAL)
            return None
        return self._mailboxes.add(destination, recipient.address)

    @property
    def is_queued(self):
        """After `finish`: whether it waits in the queue, under its identity, for somebody elsewhere."""
        return self._outgoing.answer is not None

    def write(self, data):
        """Take the next octets, CRLF line ends, any cut.  Raises nothing: what fails is told by `finish`."""
        self.size += len(data)
        if self._failure is None and self._ends:
            self._guarded(self._take, data)

    def _guarded(self, action, *arguments):
        """Run it; what it raises becomes the answer for everybody."""
        try:
            return action(*arguments)
        except Refused as refused:
            self._fail(refused.answer)
        except StoreError as error:
            self._fail(answers.of_store_error(error), error)
        except Exception:
            log.exception("%s: failed", self.identity.decode())
            self._fail(answers.FAILED)

    def _fail(self, answer, error=None):
        if error is not None:
            log.warning("%s: %r", self.identity.decode(), error)
        self.abort()
        self._failure = answer

    def _take(self, data):
        if self._opened:
            for end in self._ends:
                end.write(data)
            return
        held = self._held
        searched = max(0, len(held) - 3)
        held += data
        end = _header_end(held, searched)
        if end:
            self._open(bytes(held[:end]), bytes(held[end:]))
        elif len(held) > HEADER_LIMIT:
            if self._complete or self._is_judged:  # what lies behind could not be completed, or cleared of forged results
                raise Refused(answers.HEADER_TOO_LARGE)
            cut = len(held) - held.endswith(b"\r")  # a line end is not cut in two
            self._open(bytes(held[:cut]), bytes(held[cut:]))

    def _open(self, header, body):
        """The header block is there: check it, and begin the copies."""
        self._held = bytearray()
        if not _begins_with_field(header):
            # RFC 5322 2.1: without an empty line, text that has no header would be read as part of ours.
            header, body = b"\r\n", header + body
        lowered = header.lower()
        if trace.hops(lowered) > trace.MOST_HOPS:
            raise Refused(answers.LOOP)
        if self._mailboxes and not self._was_here:
            self._mailboxes.look_for_loops(lowered)
        date = self._router.stamp.now()[1]
        header = self._completed(header, lowered, date)
        recipients = self._envelope.recipients
        only = recipients[0].address if len(recipients) == 1 else None
        self._received = trace.received(self._origin, self._router.host, self.identity, only, date)
        header = self._received + header
        self._opened = True
        self._header = header
        for end in self._ends:
            end.open(header)
        if self._mailboxes:
            self._body_at = self._mailboxes.staged.file_size
        if body:
            for end in self._ends:
                end.write(body)

    def _completed(self, header, lowered, date):
        if self._complete:
            header, may_sign = submission.complete(
                header, self._envelope.sender, self.identity, self._router.host, date,
                None if self._submitter is None else self._whose)
            if not may_sign:
                self._outgoing.leave_unsigned()
            return header
        if b"return-path:" in lowered:
            header = _without_return_path(header)
        if self._is_judged and b"authentication-results" in lowered:
            from ..authentication.results import without_ours
            header = without_ours(header, self._router.host)
        return header

    def _whose(self, address):
        """Whose an author's address is, as submission.complete asks."""
        directory = self._router.directory
        if directory.may_send_as(self._submitter, address):
            return submission.OWN
        is_foreign = directory.resolve(address).kind == "remote"
        return submission.FOREIGN if is_foreign else submission.NEIGHBOURS

    def finish(self, apart=False):
        """The message is whole: keep it -> list of Outcome, one for each recipient in order.

        `apart`: each recipient has its own answer (LMTP); otherwise those that could be delivered share theirs.
        """
        if self._failure is None and self._ends:
            self._guarded(self._keep, apart)
            self.abort()
        outcomes = [Outcome(recipient.address, *self._answer(key))
                    for recipient, key in zip(self._envelope.recipients, self._keys)]
        if log.isEnabledFor(logging.INFO):
            self._log(outcomes)
        return outcomes

    def _answer(self, key):
        if isinstance(key, Answer):
            return key
        answer = self._outgoing.answer if key is None else self._mailboxes.answers.get(key)
        return answer or self._failure or answers.FAILED

    def _keep(self, apart):
        if not self._opened:
            self._open(bytes(self._held), b"")
        mailboxes, outgoing, screening = self._mailboxes, self._outgoing, self._router.screening
        for end in self._ends:
            end.prepare(apart)
        if self._is_judged:
            self._judge()
        kept = Answer(250, "2.0.0", "Ok, kept as %s" % self.identity.decode("ascii"))
        if mailboxes:
            if screening is not None:
                mailboxes.ask(screening, self._letter, self._refusal(apart))
                self._send_on(mailboxes.onward())
            mailboxes.link(apart)
            mailboxes.deliver(kept, apart)
            outgoing.leave_out(mailboxes.failed())
        if mailboxes.stopped and not apart:
            return  # all of it is brought again
        try:
            if outgoing:
                outgoing.commit(self._router.stamp.now()[0])
                mailboxes.settle(kept)
        except Refused:
            if apart:
                self._finished()
            raise
        self._finished()

    def _finished(self):
        """Those have it for good who have it: rules' consequences, and notices."""
        if self._mailboxes and self._router.screening is not None:
            self._mailboxes.finished(self._router.screening)
        if self._router.notifies and any("SUCCESS" in each.notify for each in self._envelope.recipients):
            self._tell()

    def _judge(self):
        """Whether it is who it says (SPF, DKIM, DMARC), as a field on top and for filters.  Raises Refused, StoreError."""
        mailboxes, outgoing, origin = self._mailboxes, self._outgoing, self._origin
        if mailboxes:
            mailboxes.staged.flush()
            path, start = mailboxes.staged.path, mailboxes.start + len(self._received) - self._received.count(b"\n")
        else:
            path, start = outgoing.path, len(self._received)
        judgement = self._router.judge(origin.peer, origin.helo, self._envelope.sender, path, start)
        if judgement.reject:
            raise Refused(Answer(550, "5.7.26", judgement.reason))
        self._auth = judgement.auth
        if outgoing:
            outgoing.head = judgement.field
        if mailboxes:
            mailboxes.staged.insert(mailboxes.start, judgement.field)
            self._body_at += len(judgement.field) - judgement.field.count(b"\n")
        self._header = judgement.field + self._header

    def _refusal(self, apart):
        """Who can be told that a user's filter refuses the message, as Mailboxes.ask wants it."""
        if not self._may_refuse:
            return "none"
        return "each" if apart else "none" if self._outgoing else "all"

    def _letter(self, address, tag):
        """The message as the filters of one recipient see it."""
        from ..filters.rules import FilteredMessage
        return FilteredMessage(self._header, self._envelope.sender, address, tag, self.size, self._mailboxes.staged.descriptor,
                      self._auth)

    def _send_on(self, onward):
        """Users' rules give the message to others, too: into the queue with it, for what Mailboxes.onward says."""
        if not onward:
            return
        outgoing = self._outgoing
        is_new = not outgoing
        if is_new and self._router.queue is None:
            raise Refused(answers.NO_QUEUE)
        for key, is_copy, target in onward:
            outgoing.add(self._sent_on(key, is_copy), TO + str(target), key)
        if not is_new:
            return
        self._ends.append(outgoing)
        outgoing.open(self._header)
        staged = self._mailboxes.staged
        staged.flush()
        for offset in range(self._body_at, staged.file_size, _CHUNK):
            outgoing.write(os.pread(staged.descriptor, _CHUNK, offset).replace(b"\n", b"\r\n"))
        outgoing.prepare(False)

    def _sent_on(self, key, is_copy):
        """For whom a copy goes on -> Recipient, with what its sender wants to be told (RFC 3461 5.2.7): who wants no notice of failure
        gets none from further on either, so what bounces of a notice to the postmaster makes no other one.  A copy's arrival is
        nobody's business."""
        recipient = next(each for each, known in zip(self._envelope.recipients, self._keys) if known == key)
        if is_copy and recipient.notify:
            left = tuple([word for word in recipient.notify if word != "SUCCESS"])
            recipient = recipient._replace(notify=left or ("NEVER",))
        return recipient

    def _tell(self):
        """RFC 3461 5.2.6: who asked for it is told what arrived in a mailbox.  The message itself is safe already."""
        readers = [recipient for recipient, key in zip(self._envelope.recipients, self._keys)
                   if self._mailboxes.filed(key)]
        try:
            self._router.notify(self.identity.decode("ascii"), self._envelope, readers, self._header, self._router.stamp.now()[0])
        except Exception:
            log.exception("%s: the notice of success was not sent", self.identity.decode())

    def abort(self):
        """Nothing of it is kept.  May be called at any time and again."""
        self._held = bytearray()
        for end in self._ends:
            end.discard()

    def _log(self, outcomes):
        origin = self._origin
        log.info("%s: from=<%s> to=%s size=%d peer=%s with=%s%s", self.identity.decode(), self._envelope.sender or "",
                 ",".join(["<%s>=%d/%s" % (each.recipient, each.code, each.enhanced) for each in outcomes]), self.size,
                 origin.peer, origin.protocol, " user=%s" % origin.account if origin.account else "")


def _comes_from_outside(router, origin, submitter):
    """Whether a message is to be judged: the server in front of an LMTP server has done so."""
    return (router.judge is not None and submitter is None and origin.protocol != "" and "LMTP" not in origin.protocol
            and router.is_outside(origin.peer))


def _header_end(data, start):
    """The offset after the empty line that ends a header, looked for from `start` on; 0: not there yet."""
    if data[:2] == b"\r\n":
        return 2
    found = data.find(_END, start)
    return 0 if found < 0 else found + len(_END)


def _begins_with_field(header):
    """Whether the first line can be a field.  A leading "From " line (mbox) is left as it is: readers know it."""
    line = header[:header.find(b"\n") + 1]
    name, colon, _ = line.partition(b":")
    return not line or line == b"\r\n" or (colon and name and b" " not in name.rstrip(b" \t") and name[:1] > b" ") \
        or line.startswith(b"From ")


def _without_return_path(header):
    """RFC 5321 4.4: a message that is delivered has one Return-Path, ours."""
    return b"".join([field.raw for field in headers.fields(header)
                     if field.name.lower() != b"return-path"]) + (b"\r\n" if header.endswith(_END) else b"")
