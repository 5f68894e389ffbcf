"""One message from MAIL to its reply: RFC 5321 3.3, RFC 2033 4.2, RFC 3030.

Knows the envelope, the size limit and the forbidden octets; `delivery.router` decides where the
message goes, and stores it. Knows no socket: octets go in, replies come out. Once a message is
refused, its remaining octets are counted and dropped, to stay in step with the client.
"""
from ..mail.envelope import Envelope
from ..protocol.session import TooMuchInput
from . import replies

DRAINED = 64 << 20  # octets over the limit that are read before the connection is closed


class Transaction:
    """`mail`: grammar.Mail; `limit`: octets of the largest message."""

    __slots__ = ("mail", "limit", "recipients", "destinations", "mailboxes", "last", "size",
                 "refusal", "_incoming", "_half")

    def __init__(self, mail, limit):
        self.mail = mail
        self.limit = limit
        self.recipients = []  # mail.envelope.Recipient
        self.destinations = []  # where each of them leads
        self.mailboxes = set()  # (folder, tag): each is one more copy
        self.last = False  # BDAT … LAST came
        self.size = 0
        self.refusal = None  # Reply
        self._incoming = None
        self._half = False  # the last octet of BDAT was a CR

    def add(self, recipient, destination):
        self.recipients.append(recipient)
        self.destinations.append(destination)
        self.mailboxes.add((destination.folder, destination.tag))

    def begin(self, router, origin, account):
        """The message follows; `account`: who submits it, or None."""
        mail = self.mail
        envelope = Envelope(mail.sender, tuple(self.recipients), mail.ret, mail.envid,
                            mail.smtputf8, mail.body)
        self._incoming = router.begin(envelope, origin, self.destinations, account)

    def has_begun(self):
        return self._incoming is not None

    def content(self, data):
        """The next octets of the message, CRLF line ends, cut anywhere. Raises TooMuchInput."""
        self.size += len(data)
        if self.size <= self.limit:
            if self.refusal is None:
                self._incoming.write(data)
        else:
            self.refuse(replies.TOO_LARGE)
            if self.size > self.limit + DRAINED:
                raise TooMuchInput()

    def octets(self, data):
        """As `content`, for octets that may contain a bare CR or LF (BDAT)."""
        text = b"\r" + data if self._half else data
        self._half = text[-1:] == b"\r"
        pairs = text.count(b"\r\n")
        if text.count(b"\n") != pairs or text.count(b"\r") != pairs + self._half:
            self.refuse(replies.BARE_LINE_END)
        self.content(data)

    def refuse(self, reply):
        """Give this reply at the end, unless an earlier one stands; nothing is kept."""
        if self.refusal is None:
            self.refusal = reply
            self.abort()

    def finish(self, apart):
        """The message is complete -> list of Reply: one, or one a recipient (`apart`, LMTP)."""
        if self._half:
            self.refuse(replies.BARE_LINE_END)
        if self.refusal is not None:
            return [self.refusal] * (len(self.recipients) if apart else 1)
        outcomes = self._incoming.finish(apart)
        if apart:
            return [reply for _, reply in outcomes]
        return [_worst([reply for _, reply in outcomes])]

    def abort(self):
        if self._incoming is not None:
            self._incoming.abort()


def _worst(replies):
    """SMTP's one reply for all: 4xx before 5xx before 2xx, so that no recipient's mail is lost."""
    return min(replies, key=lambda reply: (4, 5, 2).index(reply.code // 100))
