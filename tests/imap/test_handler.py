"""The connection: order of responses, limits, timeouts, stopping, TLS."""
import logging
from types import SimpleNamespace

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.imap import handler, table
from phenmail_protocols.imap.view import View
from phenmail_protocols.net.connection import Connection
from phenmail_protocols.net.errors import Overdue
from phenmail_protocols.net.fair_turns import TURN

from . import wire

FAR = ("192.0.2.7", 4711)


def test_pipelined_commands_are_answered_in_order(client):
    client.send(b"".join(b"p%d NOOP\r\n" % number for number in range(50)))
    assert [client.line() for _ in range(50)] == [b"p%d OK NOOP completed" % number
                                                  for number in range(50)]


def test_pipelined_commands_take_turns(client):
    """A client that never waits must not delay others more than long work does."""
    taken = []
    client.connection._turn._turns = SimpleNamespace(
        take=lambda seconds, taker: taken.append(seconds) or 0)
    client.send(b"a NOOP\r\n" * 20000 + b"b NOOP\r\n")
    client.until(b"b OK")
    assert taken and max(taken) < 6 * TURN


def test_byte_by_byte(client):
    for octet in b"x APPEND INBOX {5+}\r\nA: b\n\r\nx1 NOOP\r\n":
        client.send(bytes((octet,)))
    assert b"OK [APPENDUID" in client.until(b"x ")[-1]
    client.until(b"x1 OK")


@pytest.mark.parametrize("junk, answer", [
    (b"\r\n", b"* BAD "), (b"a\r\n", b"a BAD "), (b"a b c\r\n", b"a BAD "),
    (b"\x00\xff\r\n", b"* BAD "),
    (b"a UID\r\n", b"a BAD "), (b"a FETCH\r\n", b"a BAD "), (b"a LOGIN x y\r\n", b"a BAD "),
    (b"a NOOP x\r\n", b"a BAD "), (b"a APPEND INBOX {3+}\r\n\0\0\0\r\n", b"a BAD "),
    (b"a APPEND INBOX (\\Foo) {3+}\r\nabc\r\n", b"a BAD "), (b"GET / HTTP/1.1\r\n", b"GET BAD "),
])
def test_junk_gets_bad_and_the_stream_stays_in_step(client, junk, answer):
    client.send(junk)
    assert client.line().startswith(answer)
    client.ok("NOOP")


def test_ten_errors_end_the_connection(client):
    client.send(b"a b\r\n" * 12)
    lines = client.until(b"* BYE")
    assert len(lines) == 11
    assert client.line() == b""


def test_errors_may_be_fewer_than_the_commands(client):
    for _ in range(9):
        assert client.ask("FOO")[-1].startswith(b"BAD")
    for _ in range(20):
        assert client.ask("SELECT nowhere")[-1].startswith(b"NO [NONEXISTENT]")
    client.ok("NOOP")


def test_news_that_break_leave_no_command_unanswered(client, monkeypatch):
    def broken(view, may_expunge):
        raise ZeroDivisionError("secret detail")
    with monkeypatch.context() as patch:
        patch.setattr(View, "announce", broken)
        assert client.ask("NOOP")[-1].startswith(b"NO [SERVERBUG]")
    client.ok("NOOP")


@pytest.mark.parametrize("command, answer", [
    (b"long SEARCH SUBJECT %s\r\n", b"long NO [LIMIT] "), (
        b"( SEARCH SUBJECT %s\r\n", b"* BAD [LIMIT] ")])
def test_a_long_command_that_gets_no_turn_is_refused(client, monkeypatch, command, answer):
    def overdue(connection, seconds):
        raise Overdue()
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "await_turn", overdue)
        client.send(command % (b"x" * handler.LONG))
        assert client.line().startswith(answer)
    client.ok("NOOP")


def test_an_unforeseen_error_is_ours_and_temporary(client, monkeypatch, caplog):
    def broken(session, arguments):
        raise ZeroDivisionError("secret detail")
    monkeypatch.setitem(table.TABLE, "NOOP", table.TABLE["NOOP"]._replace(run=broken))
    with caplog.at_level(logging.ERROR, "phenmail.imap"):
        answer, = client.ask("NOOP")
    assert answer.startswith(b"NO [SERVERBUG]") and b"secret" not in answer
    assert "ZeroDivisionError" in caplog.text
    client.ok("CHECK")


def test_silence_ends_the_session(server, connect):
    limits = Limits(imap_idle_timeout=0.05, login_timeout=5.0)
    client = connect(None, server=server._replace(limits=limits))
    assert client.line().startswith(b"* BYE")
    assert client.line() == b""


def test_silence_before_login_ends_sooner(server, connect):
    client = connect(login=False, server=server._replace(limits=Limits(login_timeout=0.05)))
    assert client.line().startswith(b"* BYE")


def test_who_talks_but_does_not_log_in_has_no_longer(server, connect):
    client = connect(login=False, server=server._replace(limits=Limits(login_timeout=0.2)))
    last = b""
    try:
        while not last.startswith(b"* BYE"):
            client.send(b"a NOOP\r\n")
            last = client.line()
    except OSError:  # it ended before it read this one
        last = client.line()
    assert last.startswith(b"* BYE")


def test_answers_do_not_wait_for_half_a_command(client):
    client.send(b"a NOOP\r\nb NO")
    assert client.line().startswith(b"a OK")
    client.send(b"OP\r\nc APPEND INBOX {8+}\r\nA: ")
    assert client.line().startswith(b"b OK")
    client.send(b"b\r\n\r\n\r\n")
    assert b"OK" in client.until(b"c ")[-1]


def test_a_command_has_a_time(server, connect):
    client = connect(login=False, server=server._replace(limits=Limits(command_timeout=0.1)))
    client.send(b"a NOOP")
    assert client.line().startswith(b"* BYE")


@pytest.mark.parametrize("waiting", [b"", b"a IDLE\r\n", b"a APPEND INBOX {100}\r\n", b"a AUTH"])
def test_a_stop_is_told(client, waiting):
    client.ok("NOOP")
    client.send(waiting)
    if b"\n" in waiting:
        client.until(b"+ ")
    client.connection.interrupt()
    assert client.line().startswith(b"* BYE")
    assert client.line() == b""


def test_who_leaves_in_the_middle_of_a_message_leaves_nothing(client, tmp_path):
    client.send(b"a APPEND INBOX {100}\r\n")
    client.until(b"+ ")
    client.send(b"From: a")
    client.close()
    assert not list((tmp_path / "mail" / "tmp").iterdir())


def test_debug_logs_commands_and_replies_without_secrets(server, connect, caplog):
    with caplog.at_level(logging.INFO, "phenmail.imap"):
        client = connect(server=server._replace(debug=True))
        client.ok("SELECT Sent")
        client.ask("SELECT")
    assert "SELECT" in caplog.text and "Sent" in caplog.text
    assert "OK [READ-WRITE] SELECT completed" in caplog.text and " BAD " in caplog.text
    assert "'p'" not in caplog.text


# -- TLS

def test_starttls(tls_server, connect, tls_client_context):
    client = connect(login=False, server=tls_server, peer=FAR)
    assert b" STARTTLS LOGINDISABLED" in client.greeting and b"AUTH=PLAIN" not in client.greeting
    assert client.ask("LOGIN u p")[-1].startswith(b"NO [PRIVACYREQUIRED]")
    # what follows STARTTLS in the same piece is plaintext: it must not be run
    client.send(b"s STARTTLS\r\ninjected NOOP\r\n")
    assert client.line().startswith(b"s OK")
    client.socket = tls_client_context.wrap_socket(client.socket)
    client._stream = client.socket.makefile("rb")
    capabilities = client.ok("CAPABILITY")[0]
    assert b"AUTH=PLAIN" in capabilities and b"STARTTLS" not in capabilities
    assert b"LOGINDISABLED" not in capabilities
    client.ok("LOGIN u p")
    assert client.ask("STARTTLS")[-1].startswith(b"BAD")


def test_starttls_is_not_offered_without_a_certificate(connect):
    client = connect(login=False, peer=FAR)
    assert b"STARTTLS" not in client.greeting and b"LOGINDISABLED" in client.greeting
    assert client.ask("STARTTLS")[-1].startswith(b"NO")
    client.ok("NOOP")


def test_a_plaintext_password_where_it_is_allowed(server, connect):
    client = connect(login=False, server=server._replace(plaintext_auth=True), peer=FAR)
    assert b"LOGINDISABLED" not in client.greeting
    client.ok("LOGIN u p")


def test_make_closes_nothing_and_returns(server):
    with wire.Client(server) as client:
        client.ok("LOGOUT")
        assert client.line() == b""
