"""Mail from this server itself or from the program that embeds it: `send_mail`, and notices.

Knows what callers may pass and what they get; the router delivers it like any other mail.
"""
from ..mail.address import Address
from ..mail.envelope import Envelope, Recipient
from ..queue.model import Unreachable

_PIECE = 256 * 1024  # bytes in one write


class MailRefused(Exception):
    """Some recipient was refused; `outcomes`: a mail.reply.Outcome for each recipient."""

    def __init__(self, text, outcomes=()):
        super().__init__(text)
        self.outcomes = outcomes


class Sending:
    """Sends messages through a Router. Any thread may call it."""

    def __init__(self, router):
        self._router = router

    def send_mail(self, sender, recipients, message):
        """As MailServer.send_mail -> list of the ids of queued messages. Raises MailRefused."""
        envelope = Envelope(self._sender(sender), tuple(
            Recipient(Address.parse(address)) for address in _addresses(recipients)), smtputf8=True)
        incoming, outcomes = self._deliver(envelope, _pieces(_wire(message)))
        refused = [outcome for outcome in outcomes if not outcome.reply.delivered]
        if refused:
            raise MailRefused("; ".join(["%s: %s" % (outcome.recipient, outcome.reply.text)
                                         for outcome in refused]), outcomes)
        return [incoming.identity.decode("ascii")] if incoming.is_queued else []

    def keep_notice(self, envelope, chunks):
        """For queue.bounces: store a notice durably. Raises Unreachable."""
        _, outcomes = self._deliver(envelope, chunks, may_refuse=False)
        for _, reply in outcomes:
            if not reply.delivered:
                raise Unreachable(reply)

    def _sender(self, text):
        if text is None:
            settings = self._router.directory.settings
            named = settings.hosted.username if settings.hosted is not None else None
            text = named if named and "@" in named else "postmaster@" + settings.sender_domain
        return Address.parse(text) if text else None

    def _deliver(self, envelope, chunks, may_refuse=True):
        incoming = self._router.begin(envelope, may_refuse=may_refuse)
        try:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming, incoming.finish(apart=True)
        except BaseException:
            incoming.abort()
            raise


def _addresses(recipients):
    """An address, or several -> list of str."""
    found = [recipients] if isinstance(recipients, str) else list(recipients)
    if not found:
        raise ValueError("expected at least one recipient")
    for address in found:
        if not isinstance(address, str):
            raise TypeError("expected an address like user@example.org, not %r" % (address,))
    return found


def octets(message):
    """A message (bytes, str, email.message.Message) -> bytes, any line ends. Raises TypeError."""
    if hasattr(message, "as_bytes"):
        message = message.as_bytes()
    elif isinstance(message, str):
        message = message.encode("utf-8")
    elif not isinstance(message, (bytes, bytearray, memoryview)):
        raise TypeError("expected a message as bytes, str or email.message.Message, not %s"
                        % type(message).__name__)
    return bytes(message)


def _wire(message):
    """The message's bytes with CRLF line ends."""
    # Servers disagree whether a bare CR or LF ends a line, which permits smuggling.
    lines = octets(message).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return lines.replace(b"\n", b"\r\n")


def _pieces(octets):
    return [octets[start:start + _PIECE] for start in range(0, len(octets), _PIECE)]
