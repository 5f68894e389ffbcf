"""Delivers queued mail of local users to their programs, to plugins, and to forward addresses.

The queue's worker asks for a courier, as for another server, and gives it a message and recipients
whose `via` is not "". Each address is looked up again now, because the settings may have changed
since the message was queued. Each recipient gets its own reply: 250 delivered, 4xx retry, 5xx
bounce. An unexpected exception is a 451 with a traceback in the log.

Forwarding. The forwarded message begins with `Delivered-To: <the user>`; if it comes back to that
user, it is refused (554 5.4.6, one bounce). Otherwise it is unchanged and gets no signature of
ours, so that its author's stays valid. An envelope sender who is one of our users stays, and so
does <>; any other is rewritten (`srs`), because other servers check whether this server may
send for that domain. NOTIFY, RET and ENVID are kept, and ORCPT is added if there is none, so that
a bounce names the address that the sender knows (RFC 3461 5.2.7). Notices of success are therefore
sent by the next server, not by us. If a user's filter refuses forwarded mail, it is discarded:
nobody who knows that address could get the bounce.

After a crash between the delivery and the line in the queue's state that records it, the message is
delivered again. At least once, like all mail.

RFC 5321 3.9 (forwarding), RFC 3461 (DSN).
"""
import logging
import os
import time

from ..delivery import trace
from ..delivery.recipient_replies import BROKEN, LOOP
from ..mail.address import Address
from ..mail.envelope import Envelope, Recipient
from ..mail.reply import STOPPING, Reply
from ..mail.writing import is_ascii
from ..queue.model import LOCAL, TO
from . import srs

_PIECE = 256 * 1024
# Bytes in which a Delivered-To is searched, and bytes of each read. The router accepts headers of
# a quarter of that.
_MOST_HEADER, _HEADER_PIECE = 1024 * 1024, 64 * 1024

_INTERNAL_ERROR = Reply(451, "4.3.0", "Internal error, see the server's log; will retry")
_UNKNOWN_VIA = Reply(451, "4.3.5", "The queue entry has an unknown destination")

log = logging.getLogger("phenmail.destinations")


class LocalDelivery:
    """Delivers to each destination. Thread-safe.

    `directory`: accounts.directory.Directory; `router`: delivery.router.Router; `programs`:
    programs.Programs; `plugins`: plugins.calling.Plugins; `srs_key()` -> bytes; `clock()`: epoch
    seconds.
    """

    def __init__(self, directory, router, programs, plugins, srs_key, clock=time.time):
        self._directory = directory
        self._router = router
        self._programs = programs
        self._plugins = plugins
        self._srs_key = srs_key
        self._clock = clock
        self._resolve = srs.SrsResolver(directory, srs_key, clock).resolve

    def courier(self):
        """-> a LocalCourier for one thread; cheap."""
        return LocalCourier(self)

    def deliver(self, message, recipient, body, is_aborted):
        """Deliver to one recipient -> (Reply, whether the next server sends the notice of success).

        `message`, `recipient`: of queue.model; `body`: the message's bytes after its head, a binary
        file; `is_aborted()`: whether to stop soon.
        """
        body.seek(0)
        address = recipient.address
        if recipient.via.startswith(TO):
            target = Address.parse(recipient.via[len(TO):])
            return self._forward(message, recipient, target, body, is_aborted)
        if recipient.via != LOCAL:
            log.error("%s: <%s> waits, its queue entry has the unknown destination %r",
                      message.identity, address, recipient.via)
            return _UNKNOWN_VIA, False
        end = self._resolve(address)
        if end.kind == "agent":
            return self._programs.run(end.value, message, body, address, self._user(end),
                                      end.folder, end.tag), False
        if end.kind == "plugin":
            name, _, parameters = end.value.partition(" ")
            return self._plugins.hand(name, parameters, message, body, address, end.tag), False
        if end.kind == "forward":
            return self._forward(message, recipient, Address.parse(end.value), body, is_aborted)
        if end.kind == "broken":
            return BROKEN, False
        # The address became another user's or nobody's after the message was queued.
        own = Recipient(address, recipient.notify, recipient.orcpt)
        envelope = Envelope(message.sender, (own,), message.ret, message.envid, message.smtputf8)
        return self._route(envelope, message.head, body, is_aborted)

    def interrupt(self):
        """End running programs now, because the server stops."""
        self._programs.interrupt()

    def _user(self, end):
        """The identity for which a program runs."""
        root = self._directory.root
        if os.path.realpath(end.folder) == os.path.realpath(root.mail_system):
            return end.address.local  # a line of `domains` without a user's folder
        return root.identity_named(end.folder) or end.address.local

    def _forward(self, message, recipient, target, body, is_aborted):
        """Forward the mail of `recipient` to the Address `target`; as `deliver`."""
        address = recipient.address
        if trace.delivered_already(_header(message.head, body).lower(), address):
            return LOOP, False
        kind = "rfc822" if is_ascii(str(address).encode("utf-8")) else "utf-8"
        orcpt = recipient.orcpt or "%s;%s" % (kind, address)
        sender = message.sender
        if self._resolve(target).kind == "remote":  # only other servers check SPF
            sender = self._rewritten(sender, address)
        smtputf8 = message.smtputf8 or not is_ascii(target.local.encode("utf-8"))
        envelope = Envelope(sender, (Recipient(target, recipient.notify, orcpt),),
                            message.ret, message.envid, smtputf8)
        head = trace.delivered_to(address) + message.head
        reply, is_told = self._route(envelope, head, body, is_aborted)
        if not reply.delivered:
            reply = reply._replace(text="Forwarding to another address failed: " + reply.text)
        return reply, is_told

    def _rewritten(self, sender, address):
        """The envelope sender of mail that is forwarded from `address`."""
        if sender is None or self._directory.resolve(sender).kind != "remote":
            return sender
        # An address literal would mean another server to the next one.
        ours = address.domain
        if ours[:1] in ("", "["):
            ours = self._directory.settings.sender_domain
        return srs.forward(sender, ours, self._srs_key(), self._clock())

    def _route(self, envelope, head, body, is_aborted):
        """Deliver to the envelope's one recipient by the router; as `deliver`."""
        router = self._router
        destination = router.recipient(envelope.recipients[0].address, own=True)
        if isinstance(destination, Reply):
            return destination, False
        # The sender got their reply long ago, so a filter that refuses this copy discards it.
        incoming = router.begin(envelope, trace.Origin(), [destination], may_refuse=False)
        try:
            incoming.write(head)
            body.seek(0)
            for piece in iter(lambda: body.read(_PIECE), b""):
                if is_aborted():
                    return STOPPING, False
                incoming.write(piece)
            (_, reply), = incoming.finish(apart=True)
        finally:
            incoming.abort()
        return reply, reply.delivered


class LocalCourier:
    """A courier as queue.worker needs it. For one thread, except `abort`."""

    def __init__(self, delivery):
        self._delivery = delivery
        self._is_aborted = False
        self.dsn = False  # whether the next servers send the notices of success

    def deliver(self, message, recipients, body):
        """-> a Reply for each recipient; raises nothing."""
        found = [self._deliver(message, recipient, body) for recipient in recipients]
        self.dsn = all([is_told for reply, is_told in found if reply.delivered])
        return tuple([reply for reply, _ in found])

    def _deliver(self, message, recipient, body):
        if self._is_aborted:
            return STOPPING, False
        try:
            return self._delivery.deliver(message, recipient, body, lambda: self._is_aborted)
        except Exception:
            log.exception("%s: cannot deliver to <%s>, will retry", message.identity,
                          recipient.address)
            return _INTERNAL_ERROR, False

    def close(self):
        """Nothing is open."""

    def abort(self):
        """From any thread: end the current delivery soon, with temporary replies, and start no
        other."""
        self._is_aborted = True
        self._delivery.interrupt()


def _header(head, body):
    """The header block, up to _MOST_HEADER; `body`: the file after `head`, at its beginning."""
    found = head
    while True:
        start = max(0, len(found) - 3)
        piece = body.read(_HEADER_PIECE)
        found += piece
        end = found.find(b"\r\n\r\n", start)
        if end >= 0:
            return found[:end + 2]
        if not piece or len(found) >= _MOST_HEADER:
            return found
