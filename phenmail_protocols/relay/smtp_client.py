"""The SMTP client: one connection, from the greeting to QUIT.

`Connection.open` connects, says EHLO, starts TLS and logs in; `send` runs one mail transaction
(`smtp_transaction`) and can be called again; `close` says QUIT. smtplib says EHLO or HELO and
parses the reply. The rest is our own, because smtplib reads replies without a bound, starts its
timeout anew with each byte, and logs in with ASCII passwords only.

Which host to use and what TLS it must have is decided elsewhere (`mx_routes`, `tls_policy`).
RFC 5321 3.1-3.3, RFC 3207 (STARTTLS), RFC 8314 (implicit TLS), RFC 7672 (DANE).
"""
import logging
import threading

from ..mail.reply import Reply
from ..net import tlsclient
from ..queue.model import Unreachable
from .smtp_login import Server, log_in
from .smtp_replies import reply_of
from .smtp_transaction import Extensions, Transaction, read_extensions
from .smtp_wire import Deadlines, HandshakeFailed, Lost, Unverified, Wire, temporary
from .tls_policy import OPPORTUNISTIC, peer_complaint

log = logging.getLogger("phenmail.relay")


class TlsContexts:
    """The TLS contexts that all connections share: the verifying one costs 1.3 MB and 25 ms.

    Thread-safe.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._made = {}

    def get(self, verify):
        """The context that verifies certificates, or the one that does not. Raises OSError."""
        with self._lock:
            if verify not in self._made:
                self._made[verify] = tlsclient.client_context(verify)
            return self._made[verify]


class Connection:
    """A connection to the host `host_name` at `ip`:`port`. For one thread, except `abort`.

    `helo`: our name; `requirement`: tls_policy.Requirement; `implicit`: TLS from the first byte;
    `login`: (user name, password) in clear text, or None. It is sent without TLS only if the
    requirement does not ask for TLS. `must_login`: fail if the server offers no AUTH. `token`:
    oauth.token_store.TokenSource, which is used instead of the password, but never without TLS,
    except on this machine.
    """

    def __init__(self, host_name, ip, port, helo, requirement=OPPORTUNISTIC, *, implicit=False,
                 login=None, must_login=True, token=None, contexts=None, deadlines=Deadlines()):
        self.host_name = host_name
        self.extensions = Extensions()
        self._address = ip, port
        self._helo = helo
        self._requirement = requirement
        self._implicit = implicit
        self._login = login
        self._must_login = must_login
        self._token = token
        self._contexts = contexts or TlsContexts()
        self._deadlines = deadlines
        self._peer = "%s [%s]:%d" % (host_name, ip, port)
        self._wire = Wire(self._peer)
        self._greeting = None  # the last reply to EHLO or HELO

    # -- opening

    def open(self):
        """Connect, EHLO, TLS, login.

        After a failed handshake a new connection is made without TLS, unless TLS is required.
        Raises Unreachable (Lost, Unverified, UpstreamLoginFailed), with the connection closed.
        """
        is_required = self._implicit or self._requirement.required
        try:
            try:
                self._begin(True, is_required)
            except HandshakeFailed as error:
                if is_required or self._wire.is_aborted:
                    raise
                log.info("%s; sending without TLS", error)
                self._wire.close()
                self._begin(False, is_required)
        except Lost:
            self._wire.close()
            raise
        except Unreachable:
            self.close()
            raise

    def _begin(self, with_tls, is_required):
        wire = self._wire
        wire.connect(*self._address, self._deadlines.connect)
        if self._implicit:
            self._secure()
        banner = wire.read_reply(self._deadlines.greeting)
        if banner.code != 220:
            raise self._refused(banner, "refuses connections")
        self._greet()
        if with_tls and not wire.secure and self.extensions.starttls:
            try:
                self._start_tls()
            except HandshakeFailed:
                raise
            except Lost as lost:
                # In TLS 1.3 the server's refusal arrives after the client's end of the handshake.
                raise HandshakeFailed("TLS failed: %s" % lost)
        if is_required and not wire.secure:
            raise Unreachable(temporary("4.7.4", "%s offers no TLS, but it is required: %s" % (
                self._peer, self._requirement.why)))
        if self._login is not None and (self._must_login or self.extensions.auth):
            self._log_in()

    def _refused(self, raw, default):
        """-> Unreachable for a RawReply that ends the attempt; `default`: text if it has none."""
        if raw.code < 400:
            return Unreachable(temporary("4.5.0", "unexpected reply %d from %s" % (
                raw.code, self._peer)))
        reply = reply_of(raw, self.host_name)
        return Unreachable(reply if reply.text else reply._replace(
            text="%s %s" % (self._peer, default)))

    def _greet(self):
        """EHLO, or HELO if that is unknown; sets `extensions`."""
        import smtplib
        smtp = smtplib.SMTP(local_hostname=self._helo)  # without a host it does not connect
        smtp.send, smtp.getreply = self._send_for_smtplib, self._reply_for_smtplib
        code, _ = smtp.ehlo()
        if 500 <= code < 600:
            code, _ = smtp.helo()
        if code != 250:
            raise self._refused(self._greeting, "refuses HELO %s" % self._helo)
        self.extensions = read_extensions(smtp.esmtp_features)

    def _send_for_smtplib(self, line):
        """`line`: str or bytes, depending on the version of Python."""
        self._wire.send(line.encode("ascii") if isinstance(line, str) else line,
                        self._deadlines.command)

    def _reply_for_smtplib(self):
        self._greeting = self._wire.read_reply(self._deadlines.command)
        return self._greeting.code, b"\n".join(self._greeting.lines)

    def _ask(self, line):
        """Send a command (bytes without line end) -> RawReply. Raises Lost."""
        self._wire.send(line + b"\r\n", self._deadlines.command)
        return self._wire.read_reply(self._deadlines.command)

    # -- TLS

    def _start_tls(self):
        """STARTTLS and a second EHLO.

        A server that offers TLS and then refuses it is used without TLS, like one that offers none.
        """
        answer = self._ask(b"STARTTLS")
        if answer.code == 220:
            self._secure()
            self._greet()
        elif answer.code == 421 or answer.code < 400:
            raise HandshakeFailed("%s replies %d to STARTTLS" % (self._peer, answer.code))
        else:
            log.info("%s offers STARTTLS but refuses it: %s", self._peer,
                     reply_of(answer, self.host_name).text)

    def _secure(self):
        """The handshake, and a check of the certificate. Raises HandshakeFailed, Unverified."""
        requirement = self._requirement
        try:
            context = self._contexts.get(requirement.verify)
        except OSError as error:
            raise HandshakeFailed("cannot use TLS: %s" % error)
        name = requirement.name or self.host_name.rstrip(".")
        complaint = peer_complaint(
            requirement, self._wire.start_tls(context, name, self._deadlines.handshake))
        if complaint:
            raise Unverified("%s has the wrong certificate: %s (%s)" % (
                self._peer, complaint, requirement.why))

    # -- login

    def _log_in(self):
        ip, port = self._address
        log_in(self._ask, Server(self.host_name, ip, port, self._peer, self._wire.secure,
                                 self.extensions.auth), self._login, self._token)

    # -- sending

    def send(self, message, recipients, body):
        """Send a queue.model.Message -> a tuple with the Reply for each of `recipients`.

        `body`: its file, without 8-bit bytes if `extensions.eight_bit` is not set. Recipients that
        are too many for one transaction (452 4.5.3) go into another at once, as long as each
        transaction delivers to somebody. Raises Unreachable if the server did not answer MAIL, or
        answered 421: then nothing was tried.
        """
        refusal = self._refusal(message)
        if refusal is not None:
            return (refusal,) * len(recipients)
        replies, waiting = [None] * len(recipients), range(len(recipients))
        while waiting:
            transaction = Transaction(self._wire, self.host_name, self.extensions,
                                      self._deadlines, message)
            try:
                found = transaction.run([recipients[index] for index in waiting], body)
            except Lost:
                if replies[0] is None:
                    raise
                break
            for index, reply in zip(waiting, found):
                replies[index] = reply
            if not self._wire.is_open or not any(reply.delivered for reply in found):
                break
            waiting = [index for index, reply in zip(waiting, found) if _is_too_many(reply)]
        return tuple(replies)

    def _refusal(self, message):
        """The Reply for a message that the server announced not to take, or None."""
        # The server would refuse it, perhaps only after the whole message (RFC 1870).
        if self.extensions.size and message.size > self.extensions.size:
            return Reply(552, "5.3.4", "the message has %d bytes, but %s accepts at most %d" % (
                message.size, self.host_name, self.extensions.size))
        if message.smtputf8 and not self.extensions.smtputf8:
            return Reply(553, "5.6.7", "the message needs internationalized mail (SMTPUTF8), which "
                         "%s does not support" % self.host_name)
        return None

    def is_usable(self):
        """Whether the connection is open and no 421 reply came; does not wait."""
        return self._wire.is_quiet()

    # -- the end

    def close(self):
        """QUIT, with a short deadline, and close. May be called again."""
        if self._wire.is_open:
            try:
                self._wire.send(b"QUIT\r\n", self._deadlines.quit)
                self._wire.read_reply(self._deadlines.quit)
            except Lost:
                pass
            self._wire.close()

    def abort(self):
        """From any thread: end all waiting on this connection; its recipients get 4xx."""
        self._wire.abort()


def _is_too_many(reply):
    """RFC 5321 4.5.3.1.10; 452 to RCPT without an enhanced code has no other meaning."""
    return reply.code == 452 and reply.enhanced in ("4.5.3", "4.0.0")
