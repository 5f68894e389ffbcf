"""The copy of one message that waits in the queue, for recipients elsewhere.

It takes the message's bytes as they come and hashes the body meanwhile. When the message is
complete, it is signed; the signature is kept with the recipients in the queue's state, and belongs
before the bytes. RFC 5321 4.5.4, RFC 6376. Raises MessageRefused and SpoolError.
"""
from ..dkim.body_hash import BodyHash
from ..mail.reply import Reply
from ..mail.writing import is_ascii
from ..queue.model import Message, Recipient
from . import recipient_replies
from .recipient_replies import MessageRefused


class Outgoing:
    """`queue`: queue.spool.Spool; `signer`: dkim.signing.Signer or None; `identity`: str."""

    __slots__ = ("reply", "_queue", "_signer", "_envelope", "_identity", "_recipients", "_arriving",
                 "_message_at", "_header", "_head", "_hash", "_eight_bit")

    def __init__(self, queue, signer, envelope, identity):
        self.reply = None  # once it is queued: the Reply, the same for all
        self._queue = queue
        self._signer = signer
        self._envelope = envelope
        self._identity = identity
        self._recipients = {}  # (address, via) -> (queue.model.Recipient, whose copy it is)
        self._arriving = None
        self._message_at = 0  # the offset in the file where the message as it came begins
        self._header = b""
        self._head = b""  # whole fields that belong before the file
        self._hash = None
        self._eight_bit = False

    def __len__(self):
        return len(self._recipients)

    def add(self, recipient, via="", key=None):
        """One more recipient; the same one given twice gets the message once.

        `recipient`: mail.envelope.Recipient; `via`: as in queue.model.Recipient; `key`: of
        Mailboxes.add, if a user's filter sends the message on from there.
        """
        self._recipients.setdefault((recipient.address, via), (
            Recipient(recipient.address, recipient.notify, recipient.orcpt, via=via), key))

    def leave_out(self, keys):
        """Leave out what these keys of Mailboxes send on.

        Their own copies failed, so the sender repeats the message, and it is sent on then.
        """
        self._recipients = {who: each for who, each in self._recipients.items()
                            if each[1] is None or each[1] not in keys}

    def leave_unsigned(self):
        """Call before `open` if the message has an author other than its submitter."""
        self._signer = None

    def open(self, received, header):
        """Begin with our Received field and the message's header."""
        self._message_at = len(received)
        self._header = received + header
        if self._signer is not None:
            self._hash = BodyHash()
            self._signer.ensure_key()
        self._arriving = self._queue.begin(self._identity)
        self._take(self._header)

    def write(self, data):
        """Take bytes of the body."""
        if self._hash is not None:
            self._hash.update(data)
        self._take(data)

    def _take(self, data):
        if b"\0" in data:
            raise MessageRefused(recipient_replies.HAS_NUL)
        self._eight_bit = self._eight_bit or not is_ascii(data)
        self._arriving.write(data)

    def source(self):
        """-> (path of the file, offset in it where the message as it came begins)."""
        return self._arriving.path, self._message_at

    def add_field(self, field):
        """Put a whole field on top of the message."""
        self._head = field + self._head

    def prepare(self, _apart):
        """The message is complete: sync its file. It is not in the queue yet."""
        self._arriving.sync()

    def commit(self, now):
        """Put it into the queue; `now`: epoch seconds. Durable when this returns."""
        envelope, head, signed_as = self._envelope, self._head, ""
        if self._hash is not None:
            signature = self._signer.sign(self._header, self._hash.digest(), envelope.sender)
            if signature:
                signed_as = self._signer.domain_for(self._header, envelope.sender)
            head += signature
        message = Message(
            identity=self._identity, sender=envelope.sender,
            recipients=tuple([each for each, _ in self._recipients.values()]),
            arrived=now, head=head, eight_bit=self._eight_bit,
            smtputf8=envelope.smtputf8 and self._needs_smtputf8(),
            ret=envelope.ret, envid=envelope.envid, signed_as=signed_as)
        self._arriving.commit(message)
        self.reply = Reply(250, "2.0.0", "Ok, queued as %s" % self._identity)

    def _needs_smtputf8(self):
        """Whether a server must know RFC 6531 to take it; domains alone are sent as A-labels."""
        addresses = [address for address, _ in self._recipients]
        if self._envelope.sender is not None:
            addresses.append(self._envelope.sender)
        return not is_ascii(self._header) or any(
            not is_ascii(each.local.encode("utf-8")) for each in addresses)

    def discard(self):
        """Remove what was not committed. May be called at any time and again."""
        if self._arriving is not None:
            self._arriving.discard()
