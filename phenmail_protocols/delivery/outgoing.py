"""The copy of one message that waits in the queue, for recipients elsewhere.

It takes the message's octets as they come; its signature is made when the last one is there (the body's hash grows
with it), and stands with the recipients in the queue's state, before the octets.  RFC 5321 4.5.4, RFC 6376.
Raises MessageRefused only; what the queue raises is translated here.
"""
import logging

from ..dkim.signing import BodyHash
from ..mail.reply import Reply
from ..mail.writing import is_ascii
from ..queue import spool
from ..queue.model import Message, Recipient
from . import replies
from .replies import MessageRefused

log = logging.getLogger("phenmail.delivery")

_SPOOL = ((spool.NoSpace, replies.NO_SPACE), (spool.SpoolError, replies.FAILED))


class Outgoing:
    """`queue`: queue.spool.Spool; `signer`: dkim.signing.Signer, or None: it leaves as it came; `identity`: str."""

    __slots__ = ("reply", "head", "_queue", "_signer", "_envelope", "_identity", "_recipients", "_arriving", "_header", "_hash",
                 "_eight_bit")

    def __init__(self, queue, signer, envelope, identity):
        self.reply = None  # Reply, the same for all
        self.head = b""  # whole fields that are to stand before the message, once it is there
        self._queue = queue
        self._signer = signer
        self._envelope = envelope
        self._identity = identity
        self._recipients = {}  # (address, via) -> (queue.model.Recipient, whose copy it is)
        self._arriving = None
        self._header = b""
        self._hash = None
        self._eight_bit = False

    def __len__(self):
        return len(self._recipients)

    def add(self, recipient, via="", key=None):
        """`recipient`: mail.envelope.Recipient, who gets it once however often he is named; `via`: as in queue.model.Recipient;
        `key`: whose copy in a mailbox it goes with, as Mailboxes.add gave it."""
        self._recipients.setdefault((recipient.address, via), (
            Recipient(recipient.address, recipient.notify, recipient.orcpt, via=via), key))

    def leave_out(self, keys):
        """Those get it when their mailbox does: it is brought once more, and would come to them each time."""
        self._recipients = {who: each for who, each in self._recipients.items() if each[1] is None or each[1] not in keys}

    def leave_unsigned(self):
        """Before `open`: its author is somebody else than who brings it."""
        self._signer = None

    def open(self, header):
        """The message begins with this block, Received included."""
        self._header = header
        if self._signer is not None:
            self._hash = BodyHash()
            self._signer.ensure_key()
        try:
            self._arriving = self._queue.begin(self._identity)
            self._take(header)
        except spool.SpoolError as error:
            raise self._refused(error)

    def write(self, data):
        """Octets of the body."""
        if self._hash is not None:
            self._hash.update(data)
        try:
            self._take(data)
        except spool.SpoolError as error:
            raise self._refused(error)

    def _take(self, data):
        if b"\0" in data:
            raise MessageRefused(replies.HAS_NUL)
        self._eight_bit = self._eight_bit or not is_ascii(data)
        self._arriving.write(data)

    def _refused(self, error):
        log.warning("%s: %r", self._identity, error)
        return MessageRefused(next(answer for kind, answer in _SPOOL if isinstance(error, kind)))

    @property
    def path(self):
        """Where the message's octets can be read, once it is open; CRLF line ends."""
        return self._arriving.path

    def prepare(self, _apart):
        """The message is whole: its octets are on the disk, but nobody sends it yet."""
        try:
            self._arriving.sync()
        except spool.SpoolError as error:
            raise self._refused(error)

    def commit(self, now):
        """Into the queue; `now`: epoch seconds.  Durable when it returns."""
        envelope, head, signed_as = self._envelope, self.head, ""
        if self._hash is not None:
            signature = self._signer.sign(self._header, self._hash.digest(), envelope.sender)
            signed_as = self._signer.domain_for(self._header, envelope.sender) if signature else ""
            head += signature
        message = Message(
            identity=self._identity, sender=envelope.sender,
            recipients=tuple([each for each, _ in self._recipients.values()]),
            arrived=now, head=head, eight_bit=self._eight_bit,
            smtputf8=envelope.smtputf8 and self._needs_smtputf8(), ret=envelope.ret, envid=envelope.envid,
            signed_as=signed_as)
        try:
            self._arriving.commit(message)
        except spool.SpoolError as error:
            raise self._refused(error)
        self.reply = Reply(250, "2.0.0", "Ok, queued as %s" % self._identity)

    def _needs_smtputf8(self):
        """Whether a peer without RFC 6531 could not take it; domains alone are sent as A-labels."""
        addresses = [address for address, _ in self._recipients]
        if self._envelope.sender is not None:
            addresses.append(self._envelope.sender)
        return not is_ascii(self._header) or any(not is_ascii(each.local.encode("utf-8")) for each in addresses)

    def discard(self):
        """What was not committed is removed.  May be called at any time and again."""
        if self._arriving is not None:
            self._arriving.discard()
