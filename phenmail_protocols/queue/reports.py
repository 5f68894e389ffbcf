"""What senders are told: from what the queue knows of a message to a notice in the sender's mailbox.

Decides who reads a notice and what is returned with it; how it looks is `mail.notices`, and bringing it there is `send`'s, for a
notice is mail like any other.  It knows no spool, no connection and no thread.  RFC 3461 4.3, 5.2 and 6, RFC 3464 2,
RFC 5321 6.1.

Never a bounce for a bounce: notices have the null sender.  What fails with a null sender is told to <postmaster@sender-domain>,
once: that notice has NOTIFY=NEVER, and a message of the null sender to our postmaster is told to nobody.
"""
import hashlib
import io
import logging
import os
import time

from ..mail import headers, notices
from ..mail.address import Address, ascii_domain
from ..mail.envelope import Envelope
from ..mail.envelope import Recipient as Reader
from ..mail.reply import Reply
from .model import DELAYED, DELIVERED, DONE, FAILED, Message, Recipient, Unreachable
from .schedule import Policy, retried_until

# Octets of a message that are returned whole; of a larger one, and of a header, no more than these.
RETURNED_WHOLE = 50 * 1024

_DISK = Reply(451, "4.3.0", "A notice could not be written to the disk")

log = logging.getLogger("phenmail.relay")


class Reporter:
    """Writes notices and hands them to the delivery.  Any thread may call it."""

    def __init__(self, settings, send, clock=time.time, policy=Policy()):
        """`settings()` gives the config.settings.Settings in force; `clock()` epoch seconds; `policy`: the queue's.

        `send(envelope, chunks)` keeps a mail.envelope.Envelope and its message (tuple of wire octets) durably before it returns,
        or raises model.Unreachable: with a reply 4xx when it may be tried again, 5xx when the reader can't be had.
        """
        self._settings = settings
        self._send = send
        self._clock = clock
        self._policy = policy

    def report(self, message, recipients, body):
        """Tells of some recipients of a Message, in one notice; it is kept when this returns.

        `recipients`: Recipient values that owe the same (`owed`); `body`: the message's file (binary), left open.  To be called
        again after a crash: a repetition has the same Message-ID, so that mail programs show it once.
        Raises model.Unreachable when it can't be kept now.
        """
        kind = recipients[0].owed
        try:
            if message.sender is not None:
                self._tell_sender(kind, message, recipients, body)
            elif kind == FAILED:
                self._tell_postmaster(message, [each for each in recipients if not self._is_postmaster(each.address)], body)
        except OSError as error:
            log.error("%s: no notice of what was %s: %s", message.identity, kind, error)
            raise Unreachable(_DISK)

    def delivered(self, identity, envelope, readers, header, arrived):
        """Tells the sender of a message that was delivered on this server, where it asked for that (NOTIFY=SUCCESS).

        `envelope`: mail.envelope.Envelope; `readers`: those of its recipients that have it; `header`: the message's, bytes with
        CRLF; `arrived`: epoch seconds; `identity`: its name in Received and the log.  Raises model.Unreachable as `report`.
        """
        now, taken = self._clock(), Reply(250, "2.0.0", "Delivered to the mailbox")
        recipients = tuple(Recipient(each.address, each.notify, each.orcpt, DONE, taken, 1, last=now, owed=DELIVERED)
                           for each in readers if "SUCCESS" in each.notify)
        if recipients:
            message = Message(identity, envelope.sender, recipients, arrived, size=len(header), smtputf8=envelope.smtputf8,
                              ret=envelope.ret, envid=envelope.envid)
            self.report(message, recipients, io.BytesIO(header))

    def _tell_sender(self, kind, message, recipients, body):
        try:
            self._write(kind, message, recipients, body, message.sender)
        except Unreachable as refused:
            if not refused.reply.permanent:
                raise
            log.warning("%s: <%s> can't be told what was %s: %s", message.identity, message.sender, kind, refused)
            if kind == FAILED:
                self._tell_postmaster(message, recipients, body)

    def _tell_postmaster(self, message, recipients, body):
        """A double bounce.  Whom even the postmaster can't be told of is in the log."""
        try:
            if recipients:
                self._write(FAILED, message, recipients, body, self._postmaster(), to_postmaster=True)
                return
        except Unreachable as refused:
            if not refused.reply.permanent:
                raise
            log.error("%s: the postmaster can't be told: %s", message.identity, refused)
        log.error("%s: from=<%s> failed, and there is nobody to tell", message.identity, message.sender or "")

    def _write(self, kind, message, recipients, body, reader, to_postmaster=False):
        now = self._clock()
        notice = notices.build(kind, [self._fate(kind, each, now) for each in recipients], _original(kind, message, body),
                               self._cover(kind, message, recipients, reader, to_postmaster), now, to_postmaster)
        envelope = Envelope(None, (Reader(notices.plain(reader), ("NEVER",) if to_postmaster else ()),), smtputf8=notice.smtputf8,
                            body="8BITMIME" if notice.eight_bit else None)
        self._send(envelope, notice.chunks)
        log.info("%s: told <%s> what was %s: %s", message.identity, reader, kind,
                 ",".join(["<%s>" % str(each.address) for each in recipients]))

    def _host(self):
        return ascii_domain(self._settings().sender_domain)

    def _postmaster(self):
        return Address("postmaster", self._host())

    def _is_postmaster(self, address):
        return address.local.lower() == "postmaster" and address.domain in ("", self._host(), self._settings().sender_domain)

    def _cover(self, kind, message, recipients, reader, to_postmaster):
        """The Message-ID is made of the message, the kind and the recipients: what fails later is another notice."""
        named = "\n".join(sorted([str(each.address) for each in recipients])).encode("utf-8", "replace")
        identity = (("postmaster" if to_postmaster else kind), message.identity, hashlib.sha256(named).hexdigest()[:12])
        words = self._settings().bounce
        return notices.Cover(reader, self._host(), self._postmaster(), "%s.%s.%s" % identity, "notice" + os.urandom(15).hex(),
                             words.subject, words.warning)

    def _fate(self, kind, recipient, now):
        reply = recipient.reply
        said = host = ""
        if reply is not None:
            host = reply.host
            said = reply.said or ("%d %s %s" % (reply.code, reply.enhanced, reply.text)).rstrip()
        until = retried_until(recipient, now, self._policy) if kind == DELAYED else None
        return notices.Fate(recipient.address, _status(kind, reply), said, host, recipient.orcpt,
                            recipient.last or None, until, reply is not None and bool(reply.said))


def _status(kind, reply):
    """RFC 3464 2.3.4: the class fits the action, whatever the server wrote; the detail is the server's."""
    if kind == FAILED:
        first = "5" if reply is None or reply.permanent else "4"
    else:
        first = "4" if kind == DELAYED else "2"
    status = first + (".0.0" if reply is None else reply.enhanced[1:])
    # RFC 3463 3.5: delivery time expired, where nobody said anything better.
    return "4.4.7" if kind == FAILED and status == "4.0.0" else status


def _original(kind, message, body):
    """The message, or as much of its header as is returned.  RFC 3461 4.3: whole only for a failure, and unless RET=HDRS."""
    body.seek(0)
    content = message.head + body.read(RETURNED_WHOLE + 1)
    whole = kind == FAILED and message.ret != "HDRS" and len(content) <= RETURNED_WHOLE
    if not whole:
        content = headers.split_header(content)[0]
        if len(content) > RETURNED_WHOLE:
            content = content[:content.rfind(b"\n", 0, RETURNED_WHOLE) + 1]
    return notices.Original(content, whole, message.arrived, message.envid, message.smtputf8)
