"""Hands over what waits in the queue for users here: to their programs, to plugins, to other addresses.

The relay's worker asks for a courier, as for another server, and gives it a message and recipients whose `via` is not "".  Each
is looked up again at this moment, for the settings may have changed since it was queued, and is answered for itself: 250 it was
handed over, 4xx it is tried again, 5xx its sender is told.  What is raised on the way is a 451 with a traceback in the log.

Sending on.  The message that goes on begins with `Delivered-To: <the user>`; who comes round again to a user is refused by it
(554 5.4.6, one bounce).  The rest of it is untouched and gets no signature of ours, so its author's stays valid.  An envelope's
sender who is one of ours stays, <> stays, any other is rewritten (`mail.srs`; `srs`), since other servers ask his domain
whether this server may send for it.  RFC 3461 5.2.7: NOTIFY, RET and ENVID go on with it, and ORCPT, which is made where there
is none, so that a notice names the address that its reader knows.  So who asked for a notice of success has it from there, not
from here.  A user's filter that refuses what was sent on discards it: nobody could be told who knows that address.

What a crash leaves.  Killed between a program's, a plugin's or the queue's taking the message and the line in the queue's state
that says so: it is handed over again.  At least once, like all mail.

RFC 5321 3.9 (forwarding), RFC 3461.
"""
import logging
import os
import time

from ..delivery import trace
from ..delivery.replies import BROKEN, LOOP
from ..mail import srs
from ..mail.address import Address
from ..mail.envelope import Envelope, Recipient
from ..mail.reply import STOPPING, Reply
from ..mail.writing import is_ascii
from ..queue.model import LOCAL, TO
from .srs import WayBack

_PIECE = 256 * 1024
# Octets in which a Delivered-To is looked for, and that are read at once for it; the router takes headers of a quarter of that.
_MOST_HEADER, _LOOK = 1024 * 1024, 64 * 1024

_FAULT = Reply(451, "4.3.0", "Internal error, see the server's log; it will try again")
_UNREADABLE = Reply(451, "4.3.5", "The queue entry names no known destination")

log = logging.getLogger("phenmail.delivery")


class Handing:
    """Knows who takes what.  Any thread may call it."""

    def __init__(self, directory, router, agents, plugins, srs_key, clock=time.time):
        """`directory`: accounts.directory.Directory; `router`: router.Router; `programs`: programs.Programs; `plugins`: plugins.calling.Plugins;
        `srs_key()` -> bytes; `clock()`: epoch seconds."""
        self._directory = directory
        self._router = router
        self._agents = agents
        self._plugins = plugins
        self._srs_key = srs_key
        self._clock = clock
        self._resolve = WayBack(directory, srs_key, clock).resolve

    def courier(self):
        """-> a Courier for one thread; cheap."""
        return Courier(self)

    def hand(self, message, recipient, body, is_cut):
        """One recipient of a message is brought to its end -> (Reply, whether who asked for a notice of success has it from others).

        `message`, `recipient`: of queue.model; `body`: the message's octets behind its head, a binary file; `is_cut()`: whether to
        make an end soon.
        """
        body.seek(0)
        address = recipient.address
        if recipient.via.startswith(TO):
            return self._send_on(message, recipient, Address.parse(recipient.via[len(TO):]), body, is_cut)
        if recipient.via != LOCAL:
            log.error("%s: <%s> waits, for it is to go %r", message.identity, address, recipient.via)
            return _UNREADABLE, False
        end = self._resolve(address)
        if end.kind == "agent":
            return self._agents.run(end.value, message, body, address, self._user(end), end.folder, end.tag), False
        if end.kind == "plugin":
            name, _, parameters = end.value.partition(" ")
            return self._plugins.hand(name, parameters, message, body, address, end.tag), False
        if end.kind == "forward":
            return self._send_on(message, recipient, Address.parse(end.value), body, is_cut)
        if end.kind == "broken":
            return BROKEN, False
        # It is another's since it was queued, or nobody's: the router says which.
        envelope = Envelope(message.sender, (_reader(recipient),), message.ret, message.envid, message.smtputf8)
        return self._bring(envelope, message.head, body, is_cut)

    def interrupt(self):
        """What runs has to end now, for the server stops."""
        self._agents.interrupt()

    def _user(self, end):
        """The identity for whom a program runs."""
        root = self._directory.root
        if os.path.realpath(end.folder) == os.path.realpath(root.mail_system):
            return end.address.local  # a line of `domains` without a user's folder
        return root.identity_named(end.folder) or end.address.local

    def _send_on(self, message, recipient, target, body, is_cut):
        """What goes to `recipient` goes on to an Address; as `hand`."""
        address = recipient.address
        if trace.delivered_already(_header(message.head, body).lower(), address):
            return LOOP, False
        known = recipient.orcpt or "%s;%s" % ("rfc822" if is_ascii(str(address).encode("utf-8")) else "utf-8", address)
        sender = message.sender
        if self._resolve(target).kind == "remote":  # nobody else asks whether we may send for its domain (SPF)
            sender = self._sender(sender, address)
        envelope = Envelope(sender, (Recipient(target, recipient.notify, known),),
                            message.ret, message.envid, message.smtputf8 or not is_ascii(target.local.encode("utf-8")))
        reply, is_told = self._bring(envelope, trace.delivered_to(address) + message.head, body, is_cut)
        if not reply.delivered:
            reply = reply._replace(text="Forwarding to another address failed: " + reply.text)
        return reply, is_told

    def _sender(self, sender, address):
        """Who sends what goes on from `address`."""
        if sender is None or self._directory.resolve(sender).kind != "remote":
            return sender
        # A literal means another server, seen from there.
        ours = address.domain
        if ours[:1] in ("", "["):
            ours = self._directory.settings.sender_domain
        return srs.forward(sender, ours, self._srs_key(), self._clock())

    def _bring(self, envelope, head, body, is_cut):
        """A message to its one recipient, by the router; as `hand`."""
        router = self._router
        destination = router.recipient(envelope.recipients[0].address, own=True)
        if isinstance(destination, Reply):
            return destination, False
        incoming = router.begin(envelope, trace.Origin(), [destination], may_refuse=False)
        try:
            incoming.write(head)
            body.seek(0)
            for piece in iter(lambda: body.read(_PIECE), b""):
                if is_cut():
                    return STOPPING, False
                incoming.write(piece)
            (_, reply), = incoming.finish(apart=True)
        finally:
            incoming.abort()
        return reply, reply.delivered


class Courier:
    """What queue.worker takes for a destination's courier.  One thread, but for `abort`."""

    def __init__(self, handing):
        self._handing = handing
        self._is_cut = False
        self.dsn = False  # whether those who asked for notices of success have them from others

    def deliver(self, message, recipients, body):
        """-> a Reply for each recipient; raises nothing."""
        taken = [self._deliver(message, recipient, body) for recipient in recipients]
        self.dsn = all([is_told for reply, is_told in taken if reply.delivered])
        return tuple([reply for reply, _ in taken])

    def _deliver(self, message, recipient, body):
        if self._is_cut:
            return STOPPING, False
        try:
            return self._handing.hand(message, recipient, body, lambda: self._is_cut)
        except Exception:
            log.exception("%s: <%s> could not be handed over", message.identity, recipient.address)
            return _FAULT, False

    def close(self):
        """Nothing is kept open."""

    def abort(self):
        """From any thread: the delivery that is under way ends soon, with temporary replies, and there are no more."""
        self._is_cut = True
        self._handing.interrupt()


def _reader(recipient):
    """A queue.model.Recipient as the envelope names it."""
    return Recipient(recipient.address, recipient.notify, recipient.orcpt)


def _header(head, body):
    """The header block of a message, as far as it is looked at; `body`: its file behind `head`, at its beginning."""
    found = head
    while True:
        start = max(0, len(found) - 3)
        piece = body.read(_LOOK)
        found += piece
        end = found.find(b"\r\n\r\n", start)
        if end >= 0:
            return found[:end + 2]
        if not piece or len(found) >= _MOST_HEADER:
            return found
