"""One SMTP connection as a client, from the banner to QUIT: the only file that names `smtplib`, which is loaded with the first
one.

`smtplib.SMTP` says EHLO and HELO and reads what is offered; octets, replies and deadlines are `relay.wire`'s (smtplib reads
replies without end and counts a timeout anew with each octet), transactions `relay.transaction`'s (smtplib's `mail` and `rcpt`
do not pipeline, its `data` copies the message, its `auth` knows ASCII only). It must not know how a host was chosen, what a
queue is, or where a policy comes from. RFC 5321 3.1-3.3, RFC 3207 (STARTTLS), RFC 8314 (implicit TLS), RFC 4954 (AUTH),
RFC 7672.
"""
import logging
import threading
import time

from ..mail.reply import Reply
from ..net import tlsclient
from ..queue.model import Unreachable
from . import login
from .commands import Offer, offer_of
from .policies import OPPORTUNISTIC, peer_complaint
from .replies import Garbled, reply_of
from .transaction import Transaction
from .wire import Deadlines, HandshakeFailed, Lost, Wire, later

_log = logging.getLogger("phenmail.relay")


class UpstreamLoginFailed(Unreachable):
    """The server does not let us in with this user name and password: somebody has to look at the settings."""


class Unverified(Unreachable):
    """The server's certificate is not the one that the policy asks for."""


class Contexts(object):
    """The TLS contexts that all connections share: the one that verifies costs 1.3 MB and 25 ms. For any number of threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._made = {}

    def of(self, verify):
        """The context that verifies certificates, or the one that does not. Raises OSError."""
        with self._lock:
            if verify not in self._made:
                self._made[verify] = tlsclient.client_context(verify)
            return self._made[verify]


class Connection(object):
    """A connection to `ip`:`port`, which is the host `host_name`; for one thread, `abort` aside.

    `helo`: our name. `requirement`: policies.Requirement, what TLS it has to have. `implicit`: TLS from the first octet.
    `login`: (user name, password) in clear text, or None; it goes out in the clear only where the requirement asks for no TLS.
    `must_login`: not without it, even where the server offers no AUTH.
    `contexts`: shared `Contexts`. `deadlines`, `clock`: seconds, and the clock that counts them.
    """

    def __init__(self, host_name, ip, port, helo, requirement=OPPORTUNISTIC, *, implicit=False, login=None, must_login=True,
                 contexts=None, deadlines=Deadlines(), clock=time.monotonic):
        self.host_name = host_name
        self.ip = ip
        self._port = port
        self._helo = helo
        self._requirement = requirement
        self._implicit = implicit
        self._login = login
        self._must_login = must_login
        self._contexts = contexts or Contexts()
        self._deadlines = deadlines
        self._clock = clock
        self._peer = "%s [%s]:%d" % (host_name, ip, port)
        self._wire = Wire(self._peer, clock)
        self._aborted = False
        self._heard = None  # the last answer to EHLO or HELO
        self.offer = Offer()

    # -- opening -----------------------------------------------------------------------------------------------------------------

    def open(self):
        """Banner, EHLO or HELO, TLS, login. A handshake that fails is followed by a new connection in the clear, unless TLS is
        required. Raises Unreachable (UpstreamLoginFailed, Unverified are such); the connection is then closed."""
        required = self._implicit or self._requirement.required
        try:
            try:
                self._begin(True, required)
            except HandshakeFailed as failed:
                if required or self._aborted:
                    raise
                _log.info("%s; mail goes in the clear", failed)
                self._restart()
                self._begin(False, required)
        except Unreachable:
            self.close()
            raise
        except Lost as lost:
            self._wire.close()
            raise (Unverified if getattr(lost, "unverified", False) else Unreachable)(lost.reply)

    def _restart(self):
        self._wire.close()
        self._wire = Wire(self._peer, self._clock)
        if self._aborted:
            self._wire.abort()

    def _begin(self, with_tls, required):
        wire, deadlines = self._wire, self._deadlines
        wire.connect(self.ip, self._port, deadlines.connect)
        if self._implicit:
            self._secure()
        banner = wire.read_reply(deadlines.greeting)
        if banner.code != 220:
            raise self._refused(banner, "does not want to talk")
        self._greet()
        if with_tls and not wire.secure and self.offer.starttls:
            try:
                self._start_tls()
            except HandshakeFailed:
                raise
            except Lost as lost:  # in TLS 1.3 the server's refusal comes after the client's end of the handshake
                raise HandshakeFailed("TLS fails: %s" % lost)
        if required and not wire.secure:
            raise Unreachable(later("4.7.4", "%s has no TLS for us, and that is required: %s" % (
                self._peer, self._requirement.why)))
        if self._login is not None and (self._must_login or self.offer.auth):
            self._log_in()

    def _refused(self, answer, what):
        """An answer that ends the attempt: 3xx and a misplaced 2xx are no answers at all."""
        if answer.code < 400:
            return Unreachable(later("4.5.0", "%s answers with %d where that cannot be" % (self._peer, answer.code)))
        reply = reply_of(answer, self.host_name)
        return Unreachable(reply if reply.text else reply._replace(text="%s %s" % (self._peer, what)))

    def _greet(self):
        """EHLO, and HELO where that is unknown; sets `offer`."""
        import smtplib
        smtp = smtplib.SMTP(local_hostname=self._helo)
        smtp.send, smtp.getreply = self._say, self._hear
        code, _ = smtp.ehlo()
        if 500 <= code < 600:
            code, _ = smtp.helo()
        if code != 250:
            raise self._refused(self._heard, "refuses HELO %s" % self._helo)
        self.offer = offer_of(smtp.esmtp_features)

    def _say(self, line):
        """For smtplib: a line as str or bytes."""
        self._wire.send(line.encode("ascii") if isinstance(line, str) else line, self._deadlines.command)

    def _hear(self):
        """For smtplib: (code, lines joined by LF)."""
        self._heard = self._wire.read_reply(self._deadlines.command)
        return self._heard.code, b"\n".join(self._heard.lines)

    # -- TLS ---------------------------------------------------------------------------------------------------------------------

    def _start_tls(self):
        """STARTTLS, and EHLO anew. A server that offers TLS and then refuses it is used in the clear, as one that offers none."""
        self._wire.send(b"STARTTLS\r\n", self._deadlines.command)
        answer = self._wire.read_reply(self._deadlines.command)
        if answer.code == 220:
            self._secure()
            self._greet()
        elif answer.code == 421 or answer.code < 400:
            raise HandshakeFailed("%s answers STARTTLS with %d" % (self._peer, answer.code))
        else:
            _log.info("%s refuses the TLS that it offers: %s", self._peer, reply_of(answer, self.host_name).text)

    def _secure(self):
        """The handshake, and whether the certificate is what the requirement asks for. Raises HandshakeFailed."""
        requirement = self._requirement
        try:
            context = self._contexts.of(requirement.verify)
        except OSError as error:
            raise HandshakeFailed("TLS cannot be had here: %s" % error)
        name = requirement.name or self.host_name.rstrip(".")
        complaint = peer_complaint(requirement, self._wire.start_tls(context, name, self._deadlines.handshake))
        if complaint:
            raise HandshakeFailed("%s is not the server that it should be: %s (%s)" % (
                self._peer, complaint, requirement.why), unverified=True)

    # -- login -------------------------------------------------------------------------------------------------------------------

    def _log_in(self):
        """AUTH by the mechanisms that both know, the next one where one is refused for good. Raises UpstreamLoginFailed (always 4xx)."""
        mechanisms = login.usable(self.offer.auth)
        if not mechanisms:
            raise UpstreamLoginFailed(later("4.7.0", "%s offers no login that this server knows (it offers: %s)" % (
                self._peer, " ".join(self.offer.auth) or "none")))
        for mechanism in mechanisms:
            answer = self._authenticate(mechanism)
            if answer.code == 235:
                return
            if answer.code == 421:
                raise Unreachable(reply_of(answer, self.host_name))
            if answer.code < 500:
                break
        reply = reply_of(answer, self.host_name)
        raise UpstreamLoginFailed(Reply(454, "4.7.0", "%s refuses the login as %s: %d %s %s" % (
            self._peer, self._login[0], reply.code, reply.enhanced, reply.text), self.host_name))

    def _authenticate(self, mechanism):
        """One AUTH dialogue -> the answer that ended it."""
        steps = login.dialogue(mechanism, *self._login)
        line = next(steps)
        try:
            while True:
                self._wire.send(line + b"\r\n", self._deadlines.command)
                answer = self._wire.read_reply(self._deadlines.command)
                if answer.code != 334:
                    return answer
                line = steps.send(answer.lines[-1])
        except (StopIteration, Garbled) as error:
            raise Lost(later("4.7.0", "%s asks for more than %s has to say: %s" % (self._peer, mechanism, error)))

    # -- sending -----------------------------------------------------------------------------------------------------------------

    @property
    def dsn(self):
        """Whether the server takes over the promises of RFC 3461."""
        return self.offer.dsn

    def send(self, message, recipients, body):
        """One message (model.Message) -> a tuple with the Reply for each of `recipients` (model.Recipient, in order). `body`: its
        file.

        It has no 8-bit octets where `offer.eight_bit` is not set. Recipients that are too many for
        one transaction (452 4.5.3) get another one at once, as long as each brings somebody's mail away. Raises Unreachable where the
        server did not even answer MAIL, or with 421: nothing was tried.
        """
        refusal = self._refusal(message)
        if refusal is not None:
            return (refusal,) * len(recipients)
        replies, waiting = [None] * len(recipients), range(len(recipients))
        while waiting:
            try:
                said = Transaction(self._wire, self.host_name, self.offer, self._deadlines, message).run(
                    [recipients[index] for index in waiting], body)
            except Lost as lost:
                if replies[0] is None:
                    raise Unreachable(lost.reply)
                break
            for index, reply in zip(waiting, said):
                replies[index] = reply
            if not self._wire.is_open or not any(reply.delivered for reply in said):
                break
            waiting = [index for index, reply in zip(waiting, said) if _is_too_many(reply)]
        return tuple(replies)

    def _refusal(self, message):
        """The Reply for a message that the server said it does not take, or None."""
        if self.offer.size and message.size > self.offer.size:
            return Reply(552, "5.3.4", "the message has %d octets, and %s takes at most %d" % (
                message.size, self.host_name, self.offer.size))
        if message.smtputf8 and not self.offer.smtputf8:
            return Reply(553, "5.6.7", "the message needs internationalized mail (SMTPUTF8), which %s does not take" % (
                self.host_name,))
        return None

    def usable(self):
        """Whether the next message can go this way, as far as can be told without asking: the server has neither closed nor said
        its goodbye. Does not wait."""
        return self._wire.is_quiet()

    # -- the end -----------------------------------------------------------------------------------------------------------------

    def close(self):
        """QUIT, with a short deadline, and closes. May be called again."""
        if self._wire.is_open:
            try:
                self._wire.send(b"QUIT\r\n", self._deadlines.quit)
                self._wire.read_reply(self._deadlines.quit)
            except Lost:
                pass
            self._wire.close()

    def abort(self):
        """From any thread: whatever waits on this connection ends at once, with 4xx for those that it was for."""
        self._aborted = True
        self._wire.abort()


def _is_too_many(reply):
    """RFC 5321 section 4.5.3.1.10; 452 without enhanced code says nothing else of a recipient."""
    return reply.code == 452 and reply.enhanced in ("4.5.3", "4.0.0")
