"""Sources that log in with access tokens, at a Gmail-like server and a POP3 server."""
import base64

import pytest

from phenmail_protocols.config.settings import FetchAccount
from phenmail_protocols.fetch.opening import open_source
from phenmail_protocols.fetch.source import FetchError, LoginRefused
from phenmail_protocols.oauth.token_requests import Tokens
from phenmail_protocols.oauth.token_store import TokenFile
from tests.fetch.gmail import Gmail
from tests.fetch.pop_server import PopServer
from tests.oauth.provider import USER, Provider

MESSAGE = b"Subject: a\r\n\r\nhello\r\n"
LONG_AGO, LATER = 1.0, 4e9


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture
def gmail(provider):
    with Gmail(USER) as running:
        running.tokens[USER] = provider.access
        running.add(MESSAGE, ["\\Inbox"])
        yield running


@pytest.fixture
def connect(provider, tmp_path):
    """`connect(server)` -> Source; the tokens of the first login are there."""
    oauth2 = provider.oauth2(str(tmp_path))
    provider.refresh.add("refresh-0")
    keep(oauth2, Tokens("access-0", "refresh-0", LATER))

    def open_it(server, protocol="imap", **changes):
        account = FetchAccount("localhost", server.port, protocol, False, USER, "", 300.0,
                               "ignore-all", (("INBOX", "filter"),), True, False, auth="oauth2",
                               provider=oauth2._replace(**changes))
        return open_source(account, "", 1 << 20)
    open_it.oauth2 = oauth2
    return open_it


def keep(oauth2, tokens):
    file = TokenFile(oauth2)
    with file.locked():
        file.write(tokens)


def read_all(source):
    source.open("INBOX")
    message, = source.new(0, lambda key: False)
    return b"".join(source.read(message))


def test_a_valid_token(provider, gmail, connect):
    provider.access.add("access-0")
    with connect(gmail) as source:
        assert read_all(source) == MESSAGE
    assert provider.requests == [] and any("OAUTHBEARER" in each for each in gmail.commands)


def test_an_expired_token_is_refreshed_before_it_is_sent(provider, gmail, connect):
    keep(connect.oauth2, Tokens("access-0", "refresh-0", LONG_AGO))
    with connect(gmail) as source:
        assert read_all(source) == MESSAGE
    assert sum("AUTHENTICATE" in each for each in gmail.commands) == 1


def test_a_token_that_the_server_refuses_is_refreshed_once(provider, gmail, connect):
    with connect(gmail) as source:
        assert read_all(source) == MESSAGE
    assert len(provider.asked("/token")) == 1
    gmail.tokens[USER] = ()
    with pytest.raises(LoginRefused, match="Invalid credentials"):
        connect(gmail)
    assert len(provider.asked("/token")) == 2


def test_a_token_that_expires_in_the_middle(provider, gmail, connect):
    for bye in (False, True):
        with connect(gmail) as source:
            source.open("INBOX")
            for token in list(provider.access):
                gmail.expire(token, bye)
            with pytest.raises(FetchError):
                list(source.new(0, lambda key: False))
    with connect(gmail) as source:
        assert read_all(source) == MESSAGE


def test_a_revoked_login(provider, gmail, connect):
    provider.refresh.clear()
    with pytest.raises(LoginRefused, match="log in again: phenmail fetch login gmail"):
        connect(gmail)


def test_a_provider_that_is_down(provider, gmail, connect):
    provider.answers["/token"] = [(503, b"")]
    with pytest.raises(FetchError, match="status 503") as told:
        connect(gmail)
    assert not isinstance(told.value, LoginRefused)


@pytest.mark.parametrize("mechanism, pattern, last", [
    (b"OAUTHBEARER", "n,a=%s,\1host=localhost\1port=%d\1auth=Bearer %s\1\1", b"AQ=="),
    (b"XOAUTH2", "user=%s\1auth=Bearer %s\1\1", b"")])
def test_pop3(provider, connect, mechanism, pattern, last):
    def authenticate(session, command):
        session.sock.sendall(b"+ \r\n")
        response = base64.b64decode(session.line()).decode()
        for token in provider.access:
            if response == pattern % ((USER, session.server.port, token)
                                      if mechanism == b"OAUTHBEARER" else (USER, token)):
                return b"+OK\r\n"
        session.sock.sendall(b"+ " + base64.b64encode(b'{"status":"400"}') + b"\r\n")
        assert session.line() == last
        return b"-ERR [AUTH] Invalid credentials\r\n"

    with PopServer([MESSAGE], {b"AUTH": authenticate},
                   (b"UIDL", b"TOP", b"AUTH-RESP-CODE", b"SASL PLAIN " + mechanism)) as server:
        with connect(server, "pop") as source:
            source.open("")
            message, = source.new(0, lambda key: False)
            assert b"".join(source.read(message)) == MESSAGE
    assert server.sessions == 2 and len(provider.asked("/token")) == 1
