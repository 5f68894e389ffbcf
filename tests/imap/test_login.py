"""LOGIN and AUTHENTICATE, right and wrong, with and without an initial response."""
import base64

import pytest

from phenmail_protocols.accounts.login import LoginFailed

GOOD, BAD = base64.b64encode(b"\0u\0p").decode(), base64.b64encode(b"\0u\0wrong").decode()


@pytest.fixture
def stranger(connect):
    return connect(login=False)


@pytest.mark.parametrize("command, answer", [
    ("LOGIN u p", b"OK [CAPABILITY IMAP4rev1 "), ('LOGIN "u" "p"', b"OK"),
    ("LOGIN u wrong", b"NO [AUTHENTICATIONFAILED]"),
    ("LOGIN nobody p", b"NO [AUTHENTICATIONFAILED]"), ("LOGIN u", b"BAD"),
    ("LOGIN u \"\\\"\"", b"NO"),
    ("AUTHENTICATE PLAIN " + GOOD, b"OK [CAPABILITY"), ("authenticate plain " + GOOD, b"OK"),
    ("AUTHENTICATE PLAIN " + BAD, b"NO [AUTHENTICATIONFAILED]"), ("AUTHENTICATE PLAIN =", b"BAD"),
    ("AUTHENTICATE PLAIN abc", b"BAD"),
    ("AUTHENTICATE GSSAPI", b"NO [CANNOT]"), ("AUTHENTICATE CRAM-MD5", b"NO [CANNOT]"),
    ("LOGIN {1+}\r\nu {1+}\r\np", b"OK"),
])
def test_logins(stranger, command, answer):
    assert stranger.ask(command)[-1].startswith(answer)
    assert stranger.ask("STATUS INBOX (MESSAGES)")[-1].startswith(
        b"OK" if answer.startswith(b"OK") else b"BAD")


@pytest.mark.parametrize("response, answer", [
    (GOOD, b"a OK"), (BAD, b"a NO"), ("*", b"a BAD"), ("!!!", b"a BAD"), ("", b"a BAD"),
    ("x" * 20000, b"a BAD"), ("x" * 70000, b"a BAD"),
])
def test_a_dialogue(stranger, response, answer):
    stranger.send(b"a AUTHENTICATE PLAIN\r\n")
    assert stranger.line() == b"+ "
    stranger.send(response.encode() + b"\r\n")
    assert stranger.line().startswith(answer)
    stranger.ok("NOOP")


def test_three_failures_end_the_connection(stranger):
    for command in ("LOGIN u x", "AUTHENTICATE PLAIN " + BAD, "LOGIN x p"):
        assert stranger.ask(command)[-1].startswith(b"NO")
    assert stranger.line().startswith(b"* BYE")
    assert stranger.line() == b""


def test_the_login_mechanism(stranger):
    stranger.send(b"a AUTHENTICATE LOGIN\r\n")
    for question, word in ((b"Username:", b"u"), (b"Password:", b"p")):
        assert stranger.line() == b"+ " + base64.b64encode(question)
        stranger.send(base64.b64encode(word) + b"\r\n")
    assert stranger.line().startswith(b"a OK")


def test_a_temporary_failure_says_so(stranger, server, monkeypatch):
    def refuse(*arguments):
        raise LoginFailed("later", temporary=True)
    monkeypatch.setattr(server.directory, "plain", refuse)
    assert stranger.ask("LOGIN u p")[-1] == b"NO [UNAVAILABLE] later"
    assert stranger.ask("AUTHENTICATE PLAIN " + GOOD)[-1] == b"NO [UNAVAILABLE] later"


def test_once_is_enough(client):
    assert client.ask("LOGIN u p")[-1].startswith(b"BAD")
    assert client.ask("AUTHENTICATE PLAIN " + GOOD)[-1].startswith(b"BAD")


@pytest.mark.parametrize("command", ["SELECT INBOX", "LIST \"\" *", "FETCH 1 FLAGS", "IDLE",
                                     "ENABLE X", "CLOSE", "NAMESPACE"])
def test_nothing_before_login(stranger, command):
    assert stranger.ask(command)[-1].startswith(b"BAD")


def test_what_is_open_to_everybody(stranger):
    assert b"AUTH=PLAIN" in stranger.ok("CAPABILITY")[0]
    stranger.ok("ID NIL")
    assert stranger.ask("LOGOUT")[0].startswith(b"* BYE")
    assert stranger.line() == b""
