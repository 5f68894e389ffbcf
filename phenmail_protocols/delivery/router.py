"""Where mail for an address goes, and who may send it. All new mail passes through here.

`Router.recipient` accepts or refuses an address; `Router.begin` returns an `Incoming`
(delivery.incoming) for one message. Knows no protocol: its replies are `mail.reply.Reply`.
"""
import itertools
import os
import time

from ..net.address import is_outside
from ..store.errors import StoreError
from . import recipient_replies, trace
from .incoming import QUEUED_LOCALLY, Incoming

# The most mailboxes for one message, because each is one more file name to sync before the reply.
# RFC 5321 4.5.3.1.8 requires 100 recipients.
MAILBOXES_A_MESSAGE = 100

_REFUSALS = {"disabled": recipient_replies.DISABLED, "unknown": recipient_replies.USER_UNKNOWN,
             "broken": recipient_replies.BROKEN}
# RFC 6761 6.4, RFC 2606: this domain never exists.
_NEVER = ".invalid"


class Router:
    """Knows where addresses lead, and delivers messages there. Any thread may call it."""

    def __init__(self, directory, store, queue=None, signer=None, clock=time.time, screening=None,
                 resolve=None):
        """`directory`: accounts.directory.Directory, which has the current settings; `store`:
        store.filestore.FileStore; `queue`: queue.spool.Spool, None: nothing can leave; `signer`:
        dkim.signing.Signer or None; `clock()` -> epoch seconds; `screening`:
        filters.screening.Screening, None: no filters; `resolve(Address)` -> Destination, for
        recipients; None: the directory's.
        """
        self.directory = directory
        self.store = store
        self.queue = queue
        self.signer = signer
        self.screening = screening
        self.judge = None  # authentication.judging.Judge.judge; None: no mail is checked
        self.is_outside = is_outside  # is_outside(IP address): whether its mail is checked
        self._resolve = directory.resolve if resolve is None else resolve
        self.notify = None  # queue.bounces.Reporter.delivered; None: no notices of success
        self.faults = None  # for tests: faults("recipient" or "message") -> Reply or None
        self.stamp = trace.Stamp(clock)
        self._numbers = itertools.count(int.from_bytes(os.urandom(3), "big"))

    @property
    def notifies(self):
        """Whether notices of success (RFC 3461) are sent, so that SMTP may offer DSN."""
        return self.notify is not None

    @property
    def host(self):
        """The name of this server (str, A-labels), which is also the domain of <postmaster>."""
        return self.directory.settings.sender_domain

    def at_home(self, address):
        """As Directory.at_home."""
        return self.directory.at_home(address)

    def sender(self, address, account=None):
        """Whether a client may send from an Address -> None, or a Reply that refuses.

        `account`: the accounts.directory.Account that is logged in, or None. An account may send
        from its own addresses (RFC 6409 6.1), other clients only from addresses elsewhere. Anybody
        may send from <>, which is not asked here.
        """
        if account is not None:
            return None if self.directory.may_send_as(account,
                                                      address) else recipient_replies.NOT_YOURS
        return None if self.directory.resolve(
            address).kind == "remote" else recipient_replies.LOG_IN_FIRST

    def recipient(self, address, account=None, own=False, size=None):
        """Where mail for an Address goes -> a Destination, or a Reply that refuses.

        The Destination has kind "mailbox", "agent", "forward", "plugin" or "remote". `account`: as
        in `sender`. `own`: the sender is this server or the program that embeds it, which may send
        anywhere. `size`: the octets that the sender announced (RFC 1870), None if unknown.
        """
        failure = None if own or self.faults is None else self.faults("recipient")
        if failure is not None:
            return failure
        destination = self._resolve(address)
        kind = destination.kind
        if kind == "mailbox":
            return self._full(destination, size or 1) or destination
        if kind == "remote":
            return self._elsewhere(destination, account, own)
        if kind in QUEUED_LOCALLY:
            return destination if self.queue is not None else recipient_replies.NO_QUEUE
        return _REFUSALS[kind]

    def _full(self, destination, size):
        """A Reply if this mailbox has no room for a message of this size, else None.

        Refused here, the recipient does not hold up the others of the message.
        """
        try:
            self.store.require_room(destination.folder, size)
        except StoreError as error:
            return recipient_replies.of_storage_error(error)
        return None

    def _elsewhere(self, destination, account, own):
        if not own:
            if account is None:
                return recipient_replies.NO_RELAY
            if self.directory.settings.relay.disabled:
                return recipient_replies.RELAY_CLOSED
        domain = destination.address.domain
        if domain[:1] != "[" and ("." not in domain.strip(".") or domain.endswith(_NEVER)):
            return recipient_replies.NO_SUCH_DOMAIN
        return destination if self.queue is not None else recipient_replies.NO_QUEUE

    def begin(self, envelope, origin=None, destinations=None, submitter=None, may_refuse=True,
              was_here=False, placing=None):
        """Begin a message -> Incoming.

        `envelope`: mail.envelope.Envelope. `origin`: trace.Origin; None: the program that embeds
        this server wrote the message, which is completed like a submission, without a check of its
        author. `destinations`: what `recipient` returned for each recipient, if the caller has
        asked already. `submitter`: the Account whose mail program sends this; the message is
        completed and its author checked (RFC 6409). `may_refuse`: the sender can be told that a
        user's filter refuses the message; otherwise that copy is discarded. `was_here`: an earlier
        delivery to the same recipient is no loop, because the user's own program delivers it.
        `placing`: placing.Placing of a message that was fetched from another server.
        """
        if destinations is None:
            destinations = [self.recipient(each.address, submitter, origin is None)
                            for each in envelope.recipients]
        if self.faults is not None and origin is not None and origin.protocol:
            failure = self.faults("message")
            if failure is not None:
                destinations = [failure] * len(envelope.recipients)
        return Incoming(self, envelope, origin, destinations, submitter, may_refuse, was_here,
                        placing)

    def identity(self):
        """A new name for a message -> bytes, unique on this host."""
        return b"%x.%x" % (self.stamp.now()[0], next(self._numbers))
