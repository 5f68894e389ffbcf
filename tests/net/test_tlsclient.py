"""TLS of a client over socket pairs: who is trusted, and what is seen of the server."""

import socket
import ssl

import pytest

from phenmail_protocols.net import tlsclient
from phenmail_protocols.net.tlsclient import Unverified

from .authority import authority  # noqa: F401 - a fixture
from .peer import PATIENCE, own_thread

NAME = "mx.example.org"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def shake(pair, context, name=NAME, server=None):
    """A client socket that has shaken hands with a server that has this certificate."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(PATIENCE)

    def serve():
        try:
            with (server or pair.server_context()).wrap_socket(theirs, server_side=True) as secure:
                secure.recv(1)
        except OSError:
            theirs.close()

    ended = own_thread(serve)
    secure = tlsclient.client_side(ours, context, name)
    try:
        tlsclient.handshake(secure)
        return secure
    except BaseException:
        secure.close()
        ended()
        raise


@pytest.fixture
def trusting(authority, monkeypatch):  # noqa: F811
    """A context that verifies, on a system whose CA store holds our root."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.root.certificate)
    return tlsclient.client_context(True)


@pytest.mark.parametrize("kind", ["ec", "rsa", "ed25519"])
def test_a_right_certificate(authority, trusting, kind):  # noqa: F811
    pair = authority.issue("kind-" + kind, key=kind)
    with shake(pair, trusting) as secure:
        assert secure.version() in ("TLSv1.2", "TLSv1.3")
        assert tlsclient.peer_certificate(secure) == pair.der


def test_a_right_certificate_for_an_international_name(authority, trusting):  # noqa: F811
    pair = authority.issue("international", ("xn--bcher-kva.example",))
    shake(pair, trusting, "xn--bcher-kva.example").close()
    with pytest.raises(Unverified):
        shake(pair, trusting, "xn--bcher-kvb.example")


def test_without_verification_any_certificate_does(authority):  # noqa: F811
    expired = authority.issue("expired", ("elsewhere.example",), days=-1)
    with shake(expired, tlsclient.client_context(False)) as secure:
        assert tlsclient.peer_certificate(secure) == expired.der


@pytest.mark.parametrize("name, hosts, days",
                         [("elsewhere", ("elsewhere.example",), 30), ("over", (NAME,), -1),
                          ("sub", ("*.mx.example.org",), 30)])
def test_a_wrong_certificate(authority, trusting, name, hosts, days):  # noqa: F811
    with pytest.raises(Unverified) as said:
        shake(authority.issue("wrong-" + name, hosts, days=days), trusting)
    assert str(said.value)


def test_a_certificate_of_nobody_known(authority, monkeypatch):  # noqa: F811
    monkeypatch.setenv("SSL_CERT_FILE", authority.issue("kind-ec").certificate)
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    with pytest.raises(Unverified):
        shake(authority.issue("kind-rsa", key="rsa"), tlsclient.client_context(True))


def test_the_store_of_this_system_is_used(monkeypatch):
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    reference = ssl.create_default_context().cert_store_stats()
    assert tlsclient.client_context(True).cert_store_stats() == reference
    assert tlsclient.client_context(False).cert_store_stats()["x509"] == 0


@pytest.mark.parametrize("name, told", [
    (NAME, NAME), ("[192.0.2.1]", None), ("192.0.2.1", None), ("2001:db8::1", None),
    (".example.org", None), ("", None), (None, None),
    ("a" * 64 + ".example", None)])
def test_which_name_the_server_is_told(authority, name, told):  # noqa: F811
    seen = []
    server = authority.issue("kind-ec").server_context()
    if hasattr(server, "sni_callback"):
        server.sni_callback = lambda _, host, __: seen.append(host)
    else:
        server.set_servername_callback(lambda _, host, __: seen.append(host))
    shake(None, tlsclient.client_context(False), name, server).close()
    assert seen == [told]


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".example.org", ""])
def test_a_name_that_nobody_can_have_is_not_verified(trusting, name):
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Unverified):
        tlsclient.client_side(ours, trusting, name)


@pytest.mark.parametrize("verify", [True, False])
def test_nothing_older_than_tls_1_2(authority, verify):  # noqa: F811
    server = authority.issue("kind-ec").server_context()
    server.options |= ssl.OP_NO_TLSv1_2 | getattr(ssl, "OP_NO_TLSv1_3", 0)
    if hasattr(ssl, "TLSVersion"):
        server.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    server.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(OSError) as said:
        shake(None, tlsclient.client_context(verify), server=server)
    assert not isinstance(said.value, Unverified)


def test_short_diffie_hellman_is_better_than_none(authority, tmp_path, program):  # noqa: F811
    """1024 bits, as old mail servers have: refused where certificates are verified, taken where
    anything does."""
    import subprocess
    group = str(tmp_path / "group")
    subprocess.run([program("openssl"), "dhparam", "-dsaparam", "-out", group, "1024"], check=True,
                   stderr=subprocess.DEVNULL)
    server = authority.issue("kind-rsa", key="rsa").server_context()
    server.options |= getattr(ssl, "OP_NO_TLSv1_3", 0)
    server.set_ciphers("DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    server.load_dh_params(group)
    with shake(None, tlsclient.client_context(False), server=server) as secure:
        assert secure.cipher()[0] == "DHE-RSA-AES128-GCM-SHA256"
    with pytest.raises(OSError):
        shake(None, tlsclient.client_context(True), server=server)


def test_a_server_that_speaks_no_tls():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"220 what do you mean?\r\n")
        with tlsclient.client_side(ours, tlsclient.client_context(False),
                                   NAME) as secure, pytest.raises(OSError):
            tlsclient.handshake(secure)


def test_a_server_that_says_nothing():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.05)
    with theirs, tlsclient.client_side(ours, tlsclient.client_context(False),
                                       NAME) as secure, pytest.raises(OSError):
        tlsclient.handshake(secure)
