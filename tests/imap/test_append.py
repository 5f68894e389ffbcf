"""APPEND: stored byte for byte; refused before or after the message, with the next command read."""
import imaplib
import socket
import time

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.store import errors
from phenmail_protocols.store.account import Account
from phenmail_protocols.store.maildir.staged import Staged

from . import running

MESSAGE = b"From: a@b\r\n\r\nhello\r\n"


def body(client, number=1):
    line, = client.ok("FETCH %d BODY.PEEK[]" % number)
    return line.partition(b"\r\n")[2][:-1]


def test_flags_and_date(client):
    lines = client.append(MESSAGE, flags="(\\Seen $Work \\Answered)",
                          date='" 1-Feb-2020 12:00:00 +0100"')
    assert lines[:2] == [b"* 1 EXISTS", b"* 1 RECENT"] and b"* FLAGS" in lines[2]
    assert lines[-1].startswith(b"OK [APPENDUID ") and lines[-1].split(b"]")[0].endswith(b" 1")
    assert client.ok("FETCH 1 (FLAGS INTERNALDATE RFC822.SIZE)") == [
        rb'* 1 FETCH (FLAGS (\Answered \Seen \Recent $Work) '
        rb'INTERNALDATE "01-Feb-2020 11:00:00 +0000" RFC822.SIZE %d)' % len(MESSAGE)]
    assert body(client) == MESSAGE


@pytest.mark.parametrize("date", ['"01-Jan-0001 00:00:00 +1400"', '"31-Dec-9999 23:59:59 -1400"'])
def test_a_date_beyond_all_dates_hinders_nobody(client, date):
    assert client.append(MESSAGE, date=date)[-1].startswith(b"OK")
    assert b'INTERNALDATE "' in client.ok("FETCH 1 INTERNALDATE")[0]


def test_a_client_that_waits(client):
    client.send(b"a APPEND INBOX {%d}\r\n" % len(MESSAGE))
    assert client.line().startswith(b"+ ")
    client.send(MESSAGE + b"\r\n")
    assert b"OK [APPENDUID" in client.until(b"a ")[-1]


@pytest.mark.parametrize("sent, kept", [
    (b"A: b\n\nx\n", b"A: b\r\n\r\nx\r\n"), (b"A: b\r\n\r\nno end", b"A: b\r\n\r\nno end"),
    (b"A: b\r\n\r\nx\ry", b"A: b\r\n\r\nx\r\ny"),
    (b"A: b\r\n\r\n\xff\xfe8-bit \x80\r\n", b"A: b\r\n\r\n\xff\xfe8-bit \x80\r\n"),
])
def test_bytes(client, sent, kept):
    client.append(sent)
    assert body(client) == kept
    assert client.ok("FETCH 1 RFC822.SIZE") == [b"* 1 FETCH (RFC822.SIZE %d)" % len(kept)]


def refused(client, command, literal, answer):
    """Before the message is asked for, or after it was dropped; then the next command is read."""
    client.send(b"a %s {%d}\r\n" % (command, len(literal)))
    assert client.line().startswith(b"a " + answer)
    client.ok("NOOP")
    client.send(b"a %s {%d+}\r\n%s\r\n" % (command, len(literal), literal))
    assert client.line().startswith(b"a " + answer)
    client.ok("NOOP")


@pytest.mark.parametrize("command, answer", [(b"APPEND nowhere", b"NO [TRYCREATE]"),
                                             (b"APPEND &nonsense", b"NO [CANNOT]")])
def test_refusals(client, command, answer):
    refused(client, command, MESSAGE, answer)


@pytest.mark.parametrize("command", [b"APPEND INBOX (\\Nonsense)", b'APPEND INBOX "yesterday"',
                                     b"APPEND INBOX"])
def test_syntax_errors(client, command):
    client.send(b"a %s {%d+}\r\n%s \0\r\n" % (command, len(MESSAGE), MESSAGE))
    assert client.line().startswith(b"a BAD")
    client.ok("NOOP")


def test_too_big(server, connect):
    client = connect(server=server._replace(limits=Limits(message_size=10)))
    refused(client, b"APPEND INBOX", b"12345678901", b"NO [TOOBIG]")


def test_absurdly_big(server, connect):
    client = connect(server=server._replace(limits=Limits(message_size=10)))
    client.send(b"a APPEND INBOX {999999999999+}\r\n")
    assert client.until(b"* BYE")[-1].startswith(b"* BYE [TOOBIG]")


def test_empty(client):
    refused(client, b"APPEND INBOX", b"", b"NO")


def test_nul_is_refused_after_it_came(client):
    assert client.append(b"A: b\r\n\r\n\0\r\n")[-1].startswith(b"BAD")
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


def test_the_disk_fills_up_in_the_middle(client, monkeypatch, tmp_path):
    def full(self, data):
        raise errors.NoSpace()
    with monkeypatch.context() as patch:
        patch.setattr(Staged, "write", full)
        assert client.append(MESSAGE)[-1].startswith(b"NO [OVERQUOTA]")
    assert not list((tmp_path / "mail" / "tmp").iterdir())
    assert client.append(MESSAGE)[-1].startswith(b"OK")


def test_the_mailbox_goes_while_the_message_comes(client, connect, tmp_path):
    client.ok("CREATE gone")
    client.send(b"a APPEND gone {%d}\r\n" % len(MESSAGE))
    assert client.line().startswith(b"+ ")
    connect().ok("DELETE gone")
    client.send(MESSAGE + b"\r\n")
    assert client.until(b"a ")[-1].startswith(b"a NO [TRYCREATE]")
    assert not list((tmp_path / "mail" / "tmp").iterdir())


def test_a_name_as_literal(client):
    client.send(b"a APPEND {5+}\r\nINBOX (\\Seen) {5+}\r\nA: b\n\r\n")
    assert b"OK [APPENDUID" in client.until(b"a ")[-1]


@pytest.mark.parametrize("error, code", [
    (errors.NotFound, b"TRYCREATE"), (errors.NoSpace, b"OVERQUOTA"),
    (errors.Unavailable, b"UNAVAILABLE"),
    (errors.InUse, b"INUSE"), (errors.TooBig, b"TOOBIG"), (errors.StoreError, b"UNAVAILABLE"),
])
def test_errors_of_the_store(client, monkeypatch, error, code):
    def fails(self, *arguments):
        raise error()
    monkeypatch.setattr(Account, "deliver_all", fails)
    assert client.append(MESSAGE)[-1].startswith(b"NO [" + code + b"]")


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="only Linux can be told to")
def test_a_line_end_in_a_segment_of_its_own_does_not_wait(tmp_path):
    """Python's imaplib sends it so, and its system waits until the literal is acknowledged."""
    with running.server(tmp_path) as server:
        client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
        client.login("alice", "secret")
        began = time.monotonic()
        for _ in range(10):
            assert client.append("INBOX", None, None, MESSAGE)[0] == "OK"
        assert time.monotonic() - began < 10 * 0.035  # a delayed acknowledgement takes 40 ms
        client.logout()
