"""Bounces and the other delivery reports: who gets one, and what of the message is returned.

The text of a bounce is in `mail.bounce`. Delivering it is the business of `send`, because a
report is mail like any other. RFC 3461 4.3, 5.2 and 6, RFC 3464 2, RFC 5321 6.1.

There is never a bounce for a bounce: reports have the null sender. If a message with the null
sender fails, the postmaster of the sender domain gets one report, with NOTIFY=NEVER. If a message
with the null sender to that postmaster fails, only the log says so.
"""
import hashlib
import io
import logging
import os
import time

from ..mail import bounce, headers
from ..mail.address import Address, ascii_domain
from ..mail.envelope import Envelope
from ..mail.envelope import Recipient as Reader
from ..mail.reply import Reply
from .model import DELAYED, DELIVERED, DONE, FAILED, Message, Recipient, Unreachable
from .retry import Policy, retried_until

# Octets. A larger message is returned without its body, and a larger header is cut.
RETURNED_WHOLE = 50 * 1024

_DISK = Reply(451, "4.3.0", "A report could not be written to the disk")

log = logging.getLogger("phenmail.relay")


class Reporter:
    """Writes reports and has them delivered. Any thread may call it."""

    def __init__(self, settings, send, clock=time.time, policy=Policy()):
        """`settings()` -> the config.settings.Settings in force; `clock()`: epoch seconds.

        `send(envelope, chunks)` keeps a mail.envelope.Envelope and its message (tuple of octets in
        wire form) durably before it returns, or raises model.Unreachable: with a 4xx reply if a
        retry may succeed, with a 5xx reply if that reader accepts no mail.
        """
        self._settings = settings
        self._send = send
        self._clock = clock
        self._policy = policy

    def report(self, message, recipients, body):
        """Send one report about `recipients` of a Message, who owe the same (`owed`). It is kept
        durably when this returns.

        `body`: the message's file (binary), which stays open. After a crash this is called again;
        the repeated report has the same Message-ID, so that mail programs show it once. Raises
        model.Unreachable if it cannot be kept now.
        """
        kind = recipients[0].owed
        try:
            if message.sender is not None:
                self._tell_sender(kind, message, recipients, body)
            elif kind == FAILED:
                others = [each for each in recipients if not self._is_postmaster(each.address)]
                self._tell_postmaster(message, others, body)
        except OSError as error:
            log.error("%s: cannot write the report (%s): %s",
                      message.identity, kind, error)
            raise Unreachable(_DISK)

    def delivered(self, identity, envelope, readers, header, arrived):
        """Report a delivery on this server to a sender who asked for that (NOTIFY=SUCCESS).

        `envelope`: mail.envelope.Envelope; `readers`: those of its recipients that have the
        message; `header`: the message's, octets with CRLF; `arrived`: epoch seconds; `identity`:
        the message's name in Received and the log. Raises model.Unreachable as `report`.
        """
        taken = Reply(250, "2.0.0", "Delivered to the mailbox")
        recipients = tuple(
            Recipient(each.address, each.notify, each.orcpt, DONE, taken, 1, last=self._clock(),
                      owed=DELIVERED)
            for each in readers if "SUCCESS" in each.notify)
        if recipients:
            message = Message(identity, envelope.sender, recipients, arrived, size=len(header),
                              smtputf8=envelope.smtputf8, ret=envelope.ret, envid=envelope.envid)
            self.report(message, recipients, io.BytesIO(header))

    def _tell_sender(self, kind, message, recipients, body):
        try:
            self._write(kind, message, recipients, body, message.sender)
        except Unreachable as refused:
            if not refused.reply.permanent:
                raise
            log.warning("%s: <%s> does not accept the report (%s): %s",
                        message.identity, message.sender, kind, refused)
            if kind == FAILED:
                self._tell_postmaster(message, recipients, body)

    def _tell_postmaster(self, message, recipients, body):
        """Send a double bounce. If the postmaster accepts none, the log has an error."""
        try:
            if recipients:
                self._write(FAILED, message, recipients, body, self._postmaster(),
                            to_postmaster=True)
                return
        except Unreachable as refused:
            if not refused.reply.permanent:
                raise
            log.error("%s: the postmaster does not accept the bounce: %s",
                      message.identity, refused)
        log.error("%s: from=<%s> failed, and nobody accepts a bounce",
                  message.identity, message.sender or "")

    def _write(self, kind, message, recipients, body, reader, to_postmaster=False):
        now = self._clock()
        notice = bounce.build(
            kind, [self._fate(kind, each, now) for each in recipients],
            _original(kind, message, body),
            self._cover(kind, message, recipients, reader, to_postmaster), now, to_postmaster)
        notify = ("NEVER",) if to_postmaster else ()
        envelope = Envelope(None, (Reader(bounce.plain(reader), notify),),
                            smtputf8=notice.smtputf8, body="8BITMIME" if notice.eight_bit else None)
        self._send(envelope, notice.chunks)
        log.info("%s: report (%s) for %s sent to <%s>", message.identity, kind,
                 ",".join("<%s>" % str(each.address) for each in recipients), reader)

    def _host(self):
        return ascii_domain(self._settings().sender_domain)

    def _postmaster(self):
        return Address("postmaster", self._host())

    def _is_postmaster(self, address):
        return address.local.lower() == "postmaster" and address.domain in (
            "", self._host(), self._settings().sender_domain)

    def _cover(self, kind, message, recipients, reader, to_postmaster):
        """The Message-ID is made of the message, the kind and the recipients. So a repetition has
        the same, and a report of what fails later another."""
        named = "\n".join(sorted(str(each.address) for each in recipients))
        digest = hashlib.sha256(named.encode("utf-8", "replace")).hexdigest()[:12]
        identity = "%s.%s.%s" % ("postmaster" if to_postmaster else kind, message.identity, digest)
        words = self._settings().bounce
        return bounce.Cover(reader, self._host(), self._postmaster(), identity,
                             "notice" + os.urandom(15).hex(), words.subject, words.warning)

    def _fate(self, kind, recipient, now):
        reply = recipient.reply
        said = host = ""
        if reply is not None:
            host = reply.host
            said = reply.said or ("%d %s %s" % (reply.code, reply.enhanced, reply.text)).rstrip()
        until = retried_until(recipient, now, self._policy) if kind == DELAYED else None
        return bounce.Fate(recipient.address, _status(kind, reply), said, host, recipient.orcpt,
                            recipient.last or None, until, reply is not None and bool(reply.said))


def _status(kind, reply):
    """RFC 3464 2.3.4: the class fits the action, whatever the server wrote; the rest is its own."""
    if kind == FAILED:
        first = "5" if reply is None or reply.permanent else "4"
    else:
        first = "4" if kind == DELAYED else "2"
    status = first + (".0.0" if reply is None else reply.enhanced[1:])
    # RFC 3463 3.5: delivery time expired, if no server said anything better.
    return "4.4.7" if kind == FAILED and status == "4.0.0" else status


def _original(kind, message, body):
    """What is returned. RFC 3461 4.3: the whole message only after a failure, and not with
    RET=HDRS; else the header."""
    body.seek(0)
    content = message.head + body.read(RETURNED_WHOLE + 1)
    whole = kind == FAILED and message.ret != "HDRS" and len(content) <= RETURNED_WHOLE
    if not whole:
        content = headers.split_header(content)[0]
        if len(content) > RETURNED_WHOLE:
            content = content[:content.rfind(b"\n", 0, RETURNED_WHOLE) + 1]
    return bounce.Original(content, whole, message.arrived, message.envid, message.smtputf8)
