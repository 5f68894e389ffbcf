"""What the sessions of SMTP, POP3 and IMAP share: the login, STARTTLS, and the count of failures.

SASL: RFC 4422 3; RFC 4954 (SMTP), RFC 5034 (POP3), RFC 3501 6.2.2 and RFC 4959 (IMAP). An exchange
begins with `start_login`; while `dialogue` is not None, the client's next line is a response. Its
end is one of two calls to the subclass: `logged_in` or `login_failed`.
"""
import logging

from ..accounts import sasl
from ..accounts.login import LoginFailed
from ..net.errors import CertificateError, Disconnected

# The first words of HTTP requests (cross-protocol scripting; "PRI" is HTTP/2's preface).
HTTP_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE",
                b"PATCH", b"PRI")

# Kinds of failures beside those of `sasl`: the client cancelled, or its response was too long.
CANCELLED, TOO_LONG = "cancelled", "too long"


class TooMuchInput(Exception):
    """The client sends far more than a limit allows; the rest is not read."""


class OutOfStep(Disconnected):
    """A reply was begun and cannot be completed.

    The connection is closed at once, because the client would take any further octets for the rest
    of the reply.
    """


class Session:
    """State of one connection.

    `service`: what the listener offers, with the fields `directory` (accounts.directory.Directory),
    `limits` (config.settings.Limits), `host` (our name in challenges), `plaintext_auth`, and
    `tls_context` (`() -> ssl.SSLContext`, or None without STARTTLS). `peer`: (host, port).
    `loopback`: whether the client is on this machine. `tls`: (version, cipher), or None.

    A subclass has `challenge(base64)`, `logged_in(account)` and `login_failed(sasl.Failure)`, which
    return its kind of step.
    """

    __slots__ = ("service", "peer", "tls", "tls_context", "loopback", "account", "dialogue",
                 "errors", "failed_logins")

    log = logging.getLogger("phenmail")  # a subclass has the logger of its room
    sending = False  # whether users without a mailbox may log in, to send only

    def __init__(self, service, peer, loopback=False, tls=None):
        self.service = service
        self.peer = peer
        self.loopback = loopback
        self.tls = tls
        self.tls_context = None  # for the handler, once STARTTLS is allowed
        self.account = None
        self.dialogue = None
        self.errors = 0  # in a row
        self.failed_logins = 0

    @property
    def who(self):
        """The client's name in the log."""
        return "%s@%s" % (self.account.name if self.account else "-", self.peer[0])

    # Login

    @property
    def may_send_secrets(self):
        """Whether the client may send its passphrase in plain text over this connection."""
        return bool(self.tls) or self.loopback or self.service.plaintext_auth

    def mechanisms(self):
        """The SASL mechanisms that are offered now -> tuple of names."""
        return sasl.mechanisms(
            self.service.directory, bool(self.tls), self.may_send_secrets, self.sending)

    def is_offered_over_tls(self, mechanism):
        """Whether a mechanism that is not offered now would be, after STARTTLS."""
        return mechanism in sasl.mechanisms(self.service.directory, True, sending=self.sending)

    def credentials(self):
        """The accounts.login.Login that checks this client's credentials."""
        return self.service.directory.login(self.peer, sending=self.sending)

    def start_login(self, mechanism, initial):
        """AUTH, AUTHENTICATE -> step. `initial`: the decoded initial response, or None."""
        dialogue = sasl.start(mechanism, self.credentials(), self.service.host)
        return self._exchange(dialogue, initial)

    def response(self, line):
        """The client's line in an exchange, without its line end -> step."""
        dialogue, self.dialogue = self.dialogue, None
        if line == b"*":
            return self.login_failed(sasl.Failure("Authentication cancelled", CANCELLED))
        try:
            response = sasl.decode(line)
        except sasl.Malformed:
            return self.login_failed(sasl.Failure("Expected base64 (RFC 4648)", sasl.SYNTAX))
        return self._exchange(dialogue, response)

    def response_too_long(self):
        """As `response`, for a line that exceeded every limit and was dropped (RFC 4954 4)."""
        self.dialogue = None
        return self.login_failed(sasl.Failure("Authentication response too long", TOO_LONG))

    def _exchange(self, dialogue, response):
        result = dialogue.step(response)
        if isinstance(result, sasl.Challenge):
            self.dialogue = dialogue
            return self.challenge(sasl.encode(result.data))
        return self.settle(result)

    def log_in(self, name, passphrase):
        """LOGIN of IMAP, PASS of POP3 -> step."""
        try:
            account = self.credentials().plain(name, passphrase)
        except LoginFailed as error:
            kind = sasl.TEMPORARY if error.temporary else sasl.REFUSED
            return self.settle(sasl.Failure(error.text, kind))
        return self.logged_in(account)

    def settle(self, result):
        """The end of a login: sasl.Success or sasl.Failure -> step."""
        if isinstance(result, sasl.Success):
            return self.logged_in(result.account)
        self.failed_logins += result.kind in (sasl.REFUSED, sasl.TEMPORARY)
        return self.login_failed(result)

    @property
    def has_too_many_failed_logins(self):
        """Whether to close the connection, so that guessing costs a connection every few tries."""
        return self.failed_logins >= self.service.limits.login_failures

    # STARTTLS

    def prepare_tls(self):
        """Load the certificate for STARTTLS -> whether there is one.

        Called before the positive reply: after it, the client expects the handshake.
        """
        try:
            self.tls_context = self.service.tls_context and self.service.tls_context()
        except CertificateError as error:
            self.log.error("STARTTLS from %s refused: %s", self.peer[0], error)
            self.tls_context = None
        return self.tls_context is not None

    def tls_started(self, tls):
        """TLS is active: (version, cipher). A subclass forgets what the client said before."""
        self.tls = tls
