"""Dovecot judges our logins with access tokens: it asks the provider of the tests about each token
(RFC 7662), as IMAP, POP3 and submission server."""
import os
import shutil
import tempfile

import pytest

from phenmail_protocols.config.settings import FetchAccount, Hosted
from phenmail_protocols.fetch.opening import open_source
from phenmail_protocols.fetch.source import LoginRefused
from phenmail_protocols.oauth.token_requests import Tokens
from phenmail_protocols.oauth.token_store import TokenFile, TokenSource
from phenmail_protocols.relay.smarthost import SmarthostCourier
from tests.bench.messages import PASSPHRASE
from tests.bench.peers.dovecot import Dovecot
from tests.bench.peers.process import Missing, free_port
from tests.oauth.provider import CLIENT, SECRET, USER, Provider
from tests.relay.peers import Peer, smtp
from tests.relay.test_courier import Routes, deliver, unreachable

MESSAGE = b"From: a@example.org\nSubject: a\n\nhello\n"
MECHANISMS = ("oauthbearer", "xoauth2")
SUBMISSION = "/usr/lib/dovecot/submission-login"  # a package of its own
_OAUTH2 = """\
introspection_mode = post
introspection_url = %s
client_id = %s
client_secret = %s
username_attribute = username
active_attribute = active
active_value = true
"""
_AUTH = """
auth_mechanisms = %s
auth_failure_delay = 0 secs
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""
_SUBMISSION = """
protocols = imap pop3 lmtp submission
hostname = smart.example
submission_relay_host = 127.0.0.1
submission_relay_port = %d
service submission-login {
  %s
  inet_listener submission {
    port = %d
  }
}
"""


class OAuthDovecot(Dovecot):
    """Dovecot whose only passwords are access tokens of `provider`; it relays to `relay_port`."""

    def __init__(self, folder, provider, mechanism, relay_port):
        self._provider, self._mechanism, self._relay_port = provider, mechanism, relay_port
        super().__init__(folder)

    def _prepare(self):
        super()._prepare()
        self.ports["submission"] = free_port()
        tokens = os.path.join(self._folder, "oauth2.conf")
        with open(tokens, "w") as file:
            file.write(_OAUTH2 % (self._provider.url("/introspect"), CLIENT, SECRET))
        path = os.path.join(self._folder, "dovecot.conf")
        with open(path) as file:
            text = file.read()
        text = text.replace("driver = static\n  args = password=" + PASSPHRASE,
                            "driver = oauth2\n  mechanisms = %s\n  args = %s" % (
                                self._mechanism, tokens))
        assert "driver = oauth2" in text
        text += _AUTH % self._mechanism
        if os.path.exists(SUBMISSION):
            text += _SUBMISSION % (self._relay_port, "" if os.geteuid() == 0 else "chroot =",
                                   self.ports["submission"])
        with open(path, "w") as file:
            file.write(text)


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def peer():
    """The server to which Dovecot relays."""
    with Peer(smtp()) as running:
        yield running


@pytest.fixture(scope="module", params=MECHANISMS)
def dovecot(request, provider, peer):
    """Started once for each mechanism; None without the program."""
    folder = tempfile.mkdtemp()  # pytest's own folders are closed to the user of Dovecot's processes
    try:
        server = OAuthDovecot(folder, provider, request.param, peer.port)
    except Missing:
        server = None
    if server is not None:
        new = os.path.join(folder, USER.partition("@")[0], "mail", "new")
        os.makedirs(new)
        with open(os.path.join(new, "1.one.host"), "wb") as file:
            file.write(MESSAGE)
        server.own(os.path.join(folder, USER.partition("@")[0]))
        server.start()
    yield server
    if server is not None:
        server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def oauth2(provider, dovecot, program, tmp_path):
    """The user has logged in at the provider; the first access token has expired there."""
    program("dovecot")
    found = provider.oauth2(str(tmp_path))
    token = provider.new_name("refresh")
    provider.refresh.add(token)
    keep(found, Tokens("access-expired", token, 4e9))
    return found


def keep(oauth2, tokens):
    file = TokenFile(oauth2)
    with file.locked():
        file.write(tokens)


def account(dovecot, oauth2, protocol):
    return FetchAccount("127.0.0.1", dovecot.ports["imap" if protocol == "imap" else "pop3"],
                        protocol, False, USER, "", 300.0, "ignore-all", (("INBOX", "filter"),),
                        True, False, auth="oauth2", provider=oauth2)


@pytest.mark.parametrize("protocol", ["imap", "pop"])
def test_mail_is_fetched(dovecot, oauth2, provider, protocol):
    """The expired token is refused; it is refreshed, and the login succeeds."""
    before = len(provider.asked("/token"))
    with open_source(account(dovecot, oauth2, protocol), "", 1 << 20) as source:
        source.open("INBOX" if protocol == "imap" else "")
        message, = source.new(0, lambda key: False)
        assert b"".join(source.read(message)) == MESSAGE.replace(b"\n", b"\r\n")
    assert len(provider.asked("/token")) == before + 1
    assert [each["token"] for each in provider.asked("/introspect")[-2:]] == [
        "access-expired", TokenSource(oauth2)()]


@pytest.mark.parametrize("protocol", ["imap", "pop"])
def test_the_login_of_another_user_is_refused(dovecot, oauth2, protocol):
    other = account(dovecot, oauth2, protocol)._replace(username="other@gmail.example")
    with pytest.raises(LoginRefused):
        open_source(other, "", 1 << 20)


def test_mail_is_sent_through_the_smarthost(dovecot, oauth2, peer, absent):
    if not os.path.exists(SUBMISSION):
        absent("dovecot-submissiond")
    hosted = Hosted("localhost", dovecot.ports["submission"], USER, None, require_tls=False,
                    require_authentication=True, auth="oauth2", provider=oauth2)
    routes = Routes({"localhost": ["127.0.0.1"]})
    courier = SmarthostCourier(hosted, routes, "me.example.org", TokenSource(oauth2))
    before = len(peer.messages)
    reply, = deliver(courier)
    courier.close()
    assert reply.startswith("250 ") and len(peer.messages) == before + 1
    courier = SmarthostCourier(hosted._replace(username="other@gmail.example"), routes,
                               "me.example.org", TokenSource(oauth2))
    refusal = unreachable(courier)
    assert refusal.code == 454 and "refuses the login" in refusal.text
