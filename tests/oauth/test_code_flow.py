"""The authorization code flow with PKCE, by a browser on this machine or a pasted address."""
import contextlib
import os
import socket
import threading
from urllib.parse import parse_qs, urlsplit

import pytest

from phenmail_protocols.oauth import code_flow
from phenmail_protocols.oauth.errors import OAuthError
from tests.oauth.provider import get


@pytest.fixture
def listening(oauth2):
    with contextlib.closing(code_flow.listen(oauth2)) as sock:
        yield sock


@pytest.fixture
def login(oauth2, listening):
    return code_flow.begin(oauth2, listening)


@pytest.fixture
def pipe():
    """(a descriptor to read, a file to write without buffer)."""
    reader, writer = os.pipe()
    with open(writer, "wb", 0) as file:
        yield reader, file
    os.close(reader)


class Waiting(threading.Thread):
    """A wait in another thread; `result()` is its code, or raises what it raised."""

    def __init__(self, *arguments, **options):
        super().__init__(daemon=True)
        self._call, self.said = (arguments, options), []
        self._found = self._error = None
        self.start()

    def run(self):
        arguments, options = self._call
        try:
            self._found = code_flow.wait(*arguments, say=self.said.append, **options)
        except Exception as error:
            self._error = error

    def result(self):
        self.join(10)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._found


def test_a_browser_here(provider, oauth2, listening, login):
    waiting = Waiting(login, listening)
    target, page = provider.browse(login.address)
    assert b"Close this page" in page
    tokens = code_flow.tokens(oauth2, login, waiting.result())
    assert tokens.access in provider.access and tokens.refresh in provider.refresh
    assert "code_verifier" in provider.asked("/token")[0]


def test_the_address(oauth2, login, listening):
    parts = urlsplit(login.address)
    fields = {name: value[0] for name, value in parse_qs(parts.query).items()}
    assert fields["redirect_uri"] == "http://127.0.0.1:%d/" % listening.getsockname()[1]
    assert fields["response_type"] == "code" and fields["code_challenge_method"] == "S256"
    assert len(fields["code_challenge"]) == 43 and 43 <= len(login.verifier) <= 128
    assert login.verifier not in login.address and login.verifier not in repr(login)
    assert code_flow.begin(oauth2, listening).state != login.state


def test_what_a_provider_wants_besides(oauth2, listening):
    changed = oauth2._replace(parameters=(("prompt", "consent"),), redirect="localhost",
                              authorization_endpoint="https://x.example/a?tenant=1", scope="")
    login = code_flow.begin(changed, listening)
    assert login.address.startswith("https://x.example/a?tenant=1&response_type=code&")
    assert login.address.endswith("&prompt=consent") and "scope" not in login.address
    assert login.redirect.startswith("http://localhost:")


def test_the_example_of_rfc_7636(monkeypatch, oauth2):
    octets = [116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212,
              37, 77, 105, 214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121]
    monkeypatch.setattr(os, "urandom", lambda count: bytes(octets))
    login = code_flow.begin(oauth2)
    assert login.verifier == "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&" in login.address


def test_the_user_does_not_agree(provider, listening, login):
    waiting = Waiting(login, listening)
    _, page = provider.browse(login.address, agree=False)
    assert page == b"The login failed: the provider refuses: access_denied.\n"
    with pytest.raises(OAuthError, match="access_denied"):
        waiting.result()


def test_others_at_the_port_change_nothing(provider, listening, login, monkeypatch):
    """Another state, other paths, other methods, silence, octets."""
    monkeypatch.setattr(code_flow, "_REQUEST", 0.2)
    waiting = Waiting(login, listening)
    silent = socket.create_connection(listening.getsockname())
    for query in ("code=stolen&state=guess", "code=stolen", "error=x", "", "state=" + login.state):
        assert get(login.redirect + "?" + query)[0] == 404
    assert get(login.redirect + "favicon.ico")[0] == 404
    for octets in (b"POST / HTTP/1.1\r\n\r\n", b"\0\xff" * 10000, b"GET / HTTP/1.1\r\n" * 2000):
        with socket.create_connection(listening.getsockname()) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(octets)
    provider.browse(login.address)
    assert waiting.result().startswith("code-")
    silent.close()


def test_too_many_connections(listening, login, monkeypatch):
    monkeypatch.setattr(code_flow, "_CONNECTIONS", 3)
    waiting = Waiting(login, listening)
    for _ in range(3):
        with contextlib.suppress(OSError):
            get(login.redirect)
    with pytest.raises(OAuthError, match="too many connections"):
        waiting.result()


def test_a_pasted_address(provider, oauth2, listening, login, pipe):
    """The browser runs elsewhere: nobody answers at the redirection address there."""
    waiting = Waiting(login, listening, pipe[0])
    target, _ = code_from(provider, login)
    pipe[1].write(b"\nhello\n" + target.replace(login.state, "other").encode() + b"\n")
    pipe[1].write(target[:20].encode())
    pipe[1].write(target[20:].encode() + b"\r\n")
    tokens = code_flow.tokens(oauth2, login, waiting.result())
    assert tokens.access in provider.access
    assert waiting.said == ["This is not the address: there is no code in it.",
                            "This is not the address: it belongs to another login."]


def code_from(provider, login):
    """The redirection's address, without following it."""
    status, headers, _ = get(login.address + "&agreed=yes")
    assert status == 302
    return headers["Location"], None


def test_the_last_line_needs_no_end(provider, login, pipe):
    waiting = Waiting(login, None, pipe[0])
    pipe[1].write(code_from(provider, login)[0].encode())
    pipe[1].close()
    assert waiting.result().startswith("code-")


def test_no_browser_and_no_input(login, pipe):
    pipe[1].close()
    with pytest.raises(OAuthError, match="no address was pasted"):
        code_flow.wait(login, None, pipe[0])


def test_the_end_of_the_input_leaves_the_browser(provider, listening, login, pipe):
    pipe[1].close()
    waiting = Waiting(login, listening, pipe[0])
    provider.browse(login.address)
    assert waiting.result().startswith("code-")


def test_endless_lines(login, pipe):
    waiting = Waiting(login, None, pipe[0])
    for _ in range(20):
        pipe[1].write(b"x" * 4096)
    pipe[1].close()
    with pytest.raises(OAuthError, match="no address was pasted"):
        waiting.result()
    assert waiting.said == ["This is not the address: there is no code in it."]


def test_nothing_comes(listening, login):
    with pytest.raises(OAuthError, match="nothing came back within"):
        code_flow.wait(login, listening, seconds=0.05)


def test_a_provider_that_shows_the_code(provider, oauth2, pipe):
    oauth2 = oauth2._replace(redirect="oob")
    assert code_flow.listen(oauth2) is None
    login = code_flow.begin(oauth2)
    waiting = Waiting(login, None, pipe[0])
    target, page = provider.browse(login.address)
    assert page is None
    pipe[1].write(parse_qs(urlsplit(target).query)["code"][0].encode() + b"\n")
    assert code_flow.tokens(oauth2, login, waiting.result()).access in provider.access


def test_a_code_is_not_accepted_with_another_verifier(provider, oauth2, listening, login):
    waiting = Waiting(login, listening)
    provider.browse(login.address)
    other = login._replace(verifier="x" * 43)
    with pytest.raises(OAuthError, match="refuses the login: invalid_grant"):
        code_flow.tokens(oauth2, other, waiting.result())


@pytest.mark.parametrize("text", [
    "", "code=x", "?code=x", "?code=&state=%(state)s", "?code=a%%20b&state=%(state)s",
    "?code=%%00&state=%(state)s", "?state=%(state)s", "?code=x&state=", "?x=" + "&x=" * 10000])
def test_addresses_without_a_code(login, text):
    with pytest.raises(code_flow.WrongAddress):
        code_flow.code_of(login, text % {"state": login.state} if "%(" in text else text)


def test_the_provider_s_reason(login):
    with pytest.raises(OAuthError, match="refuses: server_error Try  later$"):
        code_flow.code_of(login, "/?error=server_error&error_description=Try%0d%0alater&state="
                          + login.state)
