"""The smarthost with an access token instead of a password."""
import io
import logging

import pytest

from phenmail_protocols.config.loader import server_from_dict
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.mail.address import Address
from phenmail_protocols.oauth.errors import LoginNeeded, Temporary
from phenmail_protocols.oauth.token_requests import Tokens
from phenmail_protocols.oauth.token_store import TokenFile
from phenmail_protocols.queue.model import Message, Recipient
from phenmail_protocols.relay import smtp_login
from phenmail_protocols.relay.service import SMARTHOST, Relay
from tests.oauth.provider import Provider
from tests.relay.peers import Peer, smtp
from tests.relay.test_courier import LOGIN, deliver, smarthost, tls, unreachable  # noqa: F401

MECHANISMS = ["AUTH PLAIN OAUTHBEARER XOAUTH2", "AUTH LOGIN XOAUTH2"]


class Source(object):
    """Gives these tokens one after the other, as `refuse` asks for another; or raises."""

    def __init__(self, *tokens):
        self.tokens, self.refused = list(tokens), []

    def __call__(self):
        if isinstance(self.tokens[0], Exception):
            raise self.tokens[0]
        return self.tokens[0]

    def refuse(self, token):
        self.refused.append(token)
        if len(self.tokens) > 1 and self.tokens[0] == token:
            del self.tokens[0]


def with_token(peer, source, **changes):
    courier = smarthost(peer, password=None, **changes)
    courier._token = source
    return courier


def auth(peer):
    return [line for line in peer.lines if line.startswith("AUTH")]


@pytest.mark.parametrize("token", ["short", "x" * 3000], ids=["short", "long"])
@pytest.mark.parametrize("mechanisms", MECHANISMS)
def test_it_logs_in(tls, mechanisms, token):  # noqa: F811
    """A long response has a line of its own."""
    with Peer(smtp([mechanisms], tls=tls.context(), login=LOGIN, tokens=[token])) as peer:
        courier = with_token(peer, Source(token))
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()
    assert len(auth(peer)) == 1 and (token == "short") == (len(auth(peer)[0].split()) == 3)
    assert "PLAIN" not in auth(peer)[0]


@pytest.mark.parametrize("mechanisms", MECHANISMS)
def test_a_refused_token_is_refreshed_once(tls, mechanisms):  # noqa: F811
    with Peer(smtp([mechanisms], tls=tls.context(), login=LOGIN, tokens=["new"])) as peer:
        source = Source("old", "new")
        courier = with_token(peer, source)
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()
        courier = with_token(peer, Source("bad", "worse", "new"))
        reply = unreachable(courier)
    assert source.refused == ["old"]
    assert reply[:2] == (454, "4.7.0") and "this token is invalid" in reply.text
    assert len(auth(peer)) == 4 and "worse" not in reply.text


@pytest.mark.parametrize("error, level, words", [
    (LoginNeeded("log in: phenmail fetch login hosted"), logging.ERROR, "until the settings"),
    (Temporary("the provider is down"), logging.WARNING, "mail waits")])
def test_without_a_token_mail_waits(tls, caplog, error, level, words):  # noqa: F811
    with Peer(smtp([MECHANISMS[0]], tls=tls.context(), login=LOGIN)) as peer:
        reply = unreachable(with_token(peer, Source(error), ips=[peer.ip, peer.ip]))
    assert not reply.permanent and str(error) in reply.text
    assert caplog.records[-1].levelno == level and words in caplog.text
    assert auth(peer) == []


def test_the_server_must_know_a_mechanism(tls):  # noqa: F811
    with Peer(smtp(["AUTH PLAIN LOGIN"], tls=tls.context(), login=LOGIN)) as peer:
        reply = unreachable(with_token(peer, Source("good")))
    assert "no known login mechanism for OAuth2 (offered: PLAIN LOGIN)" in reply.text
    assert auth(peer) == []


def test_never_without_tls_except_on_this_machine(monkeypatch):
    with Peer(smtp([MECHANISMS[0]], login=LOGIN, tokens=["good"])) as peer:
        courier = with_token(peer, Source("good"), require_tls=False)
        assert deliver(courier) == ["250 2.0.0"]
        courier.close()
        monkeypatch.setattr(smtp_login, "is_loopback", lambda ip: False)
        reply = unreachable(with_token(peer, Source("good"), require_tls=False))
    assert "no access token is sent" in reply.text and len(auth(peer)) == 1


@pytest.mark.parametrize("answer", ["334 ", "421 4.3.2 closing", "454 4.7.0 later", "999 x"])
def test_a_server_that_talks_nonsense(tls, answer):  # noqa: F811
    with Peer(smtp([MECHANISMS[0]], tls=tls.context(), login=LOGIN,
                   answers={"AUTH": answer, "AQ==": answer})) as peer:
        source = Source("good")
        assert not unreachable(with_token(peer, source)).permanent
    assert len(auth(peer)) == 1 and source.refused == []


def test_from_the_configuration_to_the_peer(tmp_path):
    """The relay's own tokens: of the file, refreshed when they have expired."""
    with Provider() as provider:
        with Peer(smtp([MECHANISMS[0]], login=LOGIN, tokens=provider.access)) as peer:
            settings = server_from_dict({
                "sender-domain": "example.org", "limits": {"disk-reserve": 0},
                "hosted": {"server": "127.0.0.1", "port": peer.port, "username": LOGIN[0],
                           "require-tls": False, "auth": "oauth2",
                           "provider": provider.options()}}, Root(str(tmp_path)))
            file = TokenFile(settings.hosted.provider)
            Root(str(tmp_path)).create()
            relay = Relay(lambda: settings, str(tmp_path), frozenset, None, None, make_keys=False)
            assert "fetch login hosted" in unreachable(relay._courier_for(SMARTHOST)).text
            provider.refresh.add("refresh-0")
            with file.locked():
                file.write(Tokens("access-0", "refresh-0", 1.0))
            for _ in range(2):
                courier = relay._courier_for(SMARTHOST)
                message = Message("id", Address("a", "example.org"), (), 0.0, b"", 3)
                reply, = courier.deliver(message, (Recipient(Address("b", "example.net")),),
                                         io.BytesIO(b"x\r\n"))
                assert reply.delivered
                courier.close()
            relay.stop()
    assert len(provider.asked("/token")) == 1, "couriers share the token"
