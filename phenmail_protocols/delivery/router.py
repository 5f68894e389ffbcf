"""Where mail for an address goes, and who may bring it: the only way into a mailbox for new mail.

`Router.recipient` says whether an address is taken; `Router.begin` gives an `Incoming` (delivery.incoming), which takes the message's
octets as they come and at `finish` has an answer for each recipient.  Knows no protocol: answers are codes that mail systems share
(`replies`).
"""
import itertools
import os
import time

from ..net.address import is_outside
from . import replies, trace
from .incoming import HANDED_OVER, Incoming

# Mailboxes that one message goes to; RFC 5321 4.5.3.1.8 asks for 100 recipients.
# Each is one more name to sync before anyone is answered.
MAILBOXES_A_MESSAGE = 100

_REFUSALS = {"disabled": replies.DISABLED, "unknown": replies.UNKNOWN, "broken": replies.BROKEN}
# RFC 6761 6.4, RFC 2606: nobody will ever have a name there.
_NEVER = ".invalid"


class Router:
    """Knows where addresses end, and brings messages there.  Any thread may call it."""

    def __init__(self, directory, store, queue=None, signer=None, clock=time.time, screening=None, resolve=None):
        """`directory`: accounts.directory.Directory, whose settings are the ones in force; `store`:
        store.filestore.FileStore; `queue`: queue.spool.Spool, None where nothing can leave; `signer`:
        dkim.signing.Signer or None; `clock()` gives epoch seconds; `screening`: screening.Screening, None: nobody has filters;
        `resolve(Address)`: as Directory.resolve, which it is where None, for recipients."""
        self.directory = directory
        self.store = store
        self.queue = queue
        self.signer = signer
        self.screening = screening
        self.judge = None  # judging.Judge.judge; None: nothing is judged
        self.is_outside = is_outside  # whose mail is judged, by the address
        self._resolve = directory.resolve if resolve is None else resolve
        self.notify = None  # queue.reports.Reporter.delivered; None: nobody is told of success
        self.faults = None  # for tests: faults("recipient" or "message") -> the Reply to give, or None
        self.stamp = trace.Stamp(clock)
        self._numbers = itertools.count(int.from_bytes(os.urandom(3), "big"))

    @property
    def notifies(self):
        """Whether notices of success (RFC 3461) are sent, so that they may be promised."""
        return self.notify is not None

    @property
    def host(self):
        """The name of this server (str, A-labels): in greetings, Received and a made Message-ID, and the domain of <postmaster>."""
        return self.directory.settings.sender_domain

    def at_home(self, address):
        """As Directory.at_home, of a recipient's Address."""
        return self.directory.at_home(address)

    def sender(self, address, account=None):
        """Whether somebody may send as an address (not <>, which anybody may) -> a Reply that refuses, or None.

        Who is logged in sends as its own addresses (RFC 6409 6.1), anybody else never as one of ours.
        """
        if account is not None:
            return None if self.directory.may_send_as(account, address) else replies.NOT_YOURS
        return None if self.directory.resolve(address).kind == "remote" else replies.LOG_IN_FIRST

    def recipient(self, address, account=None, own=False):
        """Where mail for an address goes -> a Destination of kind "mailbox", "agent", "forward", "plugin" or "remote", or a Reply that
        refuses.

        `account`: the accounts.directory.Account of who is logged in, or None.  `own`: it is this server itself that
        sends, or the program that holds it; they may send anywhere.
        """
        failure = None if own or self.faults is None else self.faults("recipient")
        if failure is not None:
            return failure
        destination = self._resolve(address)
        kind = destination.kind
        if kind == "mailbox":
            return destination
        if kind == "remote":
            return self._elsewhere(destination, account, own)
        if kind in HANDED_OVER:
            return destination if self.queue is not None else replies.NO_QUEUE
        return _REFUSALS[kind]

    def _elsewhere(self, destination, account, own):
        if not own:
            if account is None:
                return replies.NO_RELAY
            if self.directory.settings.relay is None:
                return replies.RELAY_CLOSED
        domain = destination.address.domain
        if domain[:1] != "[" and ("." not in domain.strip(".") or domain.endswith(_NEVER)):
            return replies.NO_SUCH_DOMAIN
        return destination if self.queue is not None else replies.NO_QUEUE

    def begin(self, envelope, origin=None, destinations=None, submitter=None, may_refuse=True, was_here=False):
        """A message comes -> Incoming.

        `envelope`: mail.envelope.Envelope; `origin`: trace.Origin, None where a program that holds this server
        wrote it (it is then completed like a submission, and nobody's name is checked).  `destinations`: what `recipient` gave
        for each of the envelope's recipients, when the caller has asked already.  `submitter`: the Account
        whose mail program sends this; its message is completed and its author checked (RFC 6409).  `may_refuse`: somebody can be
        told that a user's filter refuses it; else such a copy is discarded.  `was_here`: that it was delivered to its recipient
        before is no loop, for the recipient's own program brings it.
        """
        if destinations is None:
            destinations = [self.recipient(each.address, submitter, origin is None)
                            for each in envelope.recipients]
        if self.faults is not None and origin is not None and origin.protocol:
            failure = self.faults("message")
            if failure is not None:
                destinations = [failure] * len(envelope.recipients)
        return Incoming(self, envelope, origin, destinations, submitter, may_refuse, was_here)

    def identity(self):
        """A new name for a message, for Received, logs, the queue and answers -> bytes; unique on this host."""
        return b"%x.%x" % (self.stamp.now()[0], next(self._numbers))
