"""SASL exchanges and failed logins, without a protocol."""
import base64

import pytest

from phenmail_protocols.accounts import sasl
from phenmail_protocols.accounts.login import Account, LoginFailed
from phenmail_protocols.config.settings import Limits
from phenmail_protocols.net.errors import CertificateError
from phenmail_protocols.protocol import session
from phenmail_protocols.protocol.session import CANCELLED, TOO_LONG, Session

ANNA = Account("anna@example.org", "/anna/mail", frozenset(), "anna")
RIGHT, WRONG = b"\0anna\0x y", b"\0anna\0wrong"


class Directory:
    """Knows anna, whose passphrase is "x y"; "slow" has to wait."""

    def everyone_has(self, secret, sending=False):
        return False

    def login(self, peer, sending=False):
        self.sending = sending
        return self

    def plain(self, name, passphrase):
        if name == "slow":
            raise LoginFailed("not now", temporary=True)
        if (name, passphrase) != ("anna", "x y"):
            raise LoginFailed("wrong")
        return ANNA


class Service:
    def __init__(self, limits=Limits(), tls_context=None, plaintext_auth=False):
        self.directory, self.limits, self.host = Directory(), limits, "example.org"
        self.tls_context, self.plaintext_auth = tls_context, plaintext_auth


class Client(Session):
    """Its steps are ("challenge", octets), ("in", account) and ("out", kind of failure)."""

    def challenge(self, challenge):
        return "challenge", base64.b64decode(challenge)

    def logged_in(self, account):
        self.account = account
        return "in", account

    def login_failed(self, failure):
        assert failure.text
        return "out", failure.kind


def client(loopback=True, tls=None, **options):
    return Client(Service(**options), ("192.0.2.1", 5), loopback, tls)


@pytest.mark.parametrize("initial, step", [
    (None, ("challenge", b"")), (RIGHT, ("in", ANNA)), (WRONG, ("out", sasl.REFUSED)),
    (b"\0slow\0x", ("out", sasl.TEMPORARY)), (b"", ("out", sasl.SYNTAX)),
    (b"x", ("out", sasl.SYNTAX)),
    (b"x" * 100000, ("out", sasl.SYNTAX))])
def test_an_initial_response(initial, step):
    made = client()
    assert made.start_login("PLAIN", initial) == step
    assert (made.dialogue is not None) == (initial is None)


@pytest.mark.parametrize("line, step", [
    (base64.b64encode(RIGHT), ("in", ANNA)), (base64.b64encode(WRONG), ("out", sasl.REFUSED)),
    (b"*", ("out", CANCELLED)), (b"* ", ("out", sasl.SYNTAX)), (b"abc", ("out", sasl.SYNTAX)),
    (b"AGE=AGE=", ("out", sasl.SYNTAX)), (b"=", ("out", sasl.SYNTAX)), (b"", ("out", sasl.SYNTAX)),
    (b"!!!", ("out", sasl.SYNTAX)), (b"\0", ("out", sasl.SYNTAX))])
def test_a_response(line, step):
    made = client()
    made.start_login("PLAIN", None)
    assert made.response(line) == step
    assert made.dialogue is None


def test_several_challenges():
    made = client()
    assert made.start_login("LOGIN", None) == ("challenge", b"Username:")
    assert made.response(base64.b64encode(b"anna")) == ("challenge", b"Password:")
    assert made.response(base64.b64encode(b"x y")) == ("in", ANNA)


def test_a_response_that_is_too_long_ends_the_exchange():
    made = client()
    made.start_login("PLAIN", None)
    assert made.response_too_long() == ("out", TOO_LONG) and made.dialogue is None


@pytest.mark.parametrize("name, passphrase, step", [
    ("anna", "x y", ("in", ANNA)), ("anna", "x", ("out", sasl.REFUSED)),
    ("slow", "", ("out", sasl.TEMPORARY))])
def test_a_name_and_a_passphrase(name, passphrase, step):
    assert client().log_in(name, passphrase) == step


def test_failed_logins_are_counted_and_mistakes_are_not():
    made = client(limits=Limits(login_failures=3))
    made.start_login("PLAIN", b"x")
    made.start_login("PLAIN", None)
    made.response(b"*")
    assert made.failed_logins == 0
    made.start_login("PLAIN", WRONG)
    made.log_in("slow", "")
    assert not made.has_too_many_failed_logins
    made.log_in("anna", "x")
    assert made.has_too_many_failed_logins


@pytest.mark.parametrize("options, mechanisms", [
    ({"loopback": False}, ()), ({"loopback": True}, ("PLAIN", "LOGIN")),
    ({"loopback": False, "tls": ("TLSv1.3", "x")}, ("PLAIN", "LOGIN")),
    ({"loopback": False, "plaintext_auth": True}, ("PLAIN", "LOGIN"))])
def test_where_a_passphrase_may_be_sent(options, mechanisms):
    made = client(**options)
    assert made.mechanisms() == mechanisms and made.may_send_secrets == bool(mechanisms)
    assert made.is_offered_over_tls("PLAIN") and not made.is_offered_over_tls("GSSAPI")


def test_who_only_sends_may_log_in_to_send():
    made = client()
    made.credentials()
    assert made.service.directory.sending is False
    made.__class__ = type("Sender", (Client,), {"sending": True})
    made.credentials()
    assert made.service.directory.sending is True


def test_without_a_certificate_there_is_no_tls(caplog):
    def broken():
        raise CertificateError("no file")
    assert not client().prepare_tls() and not caplog.records
    assert not client(tls_context=broken).prepare_tls() and "no file" in caplog.text
    made = client(tls_context=lambda: "context")
    assert made.prepare_tls() and made.tls_context == "context"


def test_the_name_in_the_log():
    made = client()
    assert made.who == "-@192.0.2.1"
    made.log_in("anna", "x y")
    assert made.who == "anna@example.org@192.0.2.1"


def test_a_reply_that_cannot_be_completed_ends_the_connection():
    assert issubclass(session.OutOfStep, session.Disconnected)
