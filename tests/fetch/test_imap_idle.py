"""Waiting for new mail with IDLE."""
import threading
import time

import pytest

from phenmail_protocols.fetch import connecting, imap_idle
from phenmail_protocols.fetch.imap_source import ImapSource
from phenmail_protocols.fetch.source import FetchError, Throttled
from phenmail_protocols.net.waker import Waker
from tests.fetch.conftest import PASSPHRASE
from tests.fetch.imap_server import CAPABILITIES, Close, Message

LIMIT = 50 << 20


@pytest.fixture
def server(imap_server):
    return imap_server([Message(1, b"a"), Message(2, b"b")])


@pytest.fixture
def source(server, imap_account):
    with ImapSource(imap_account(server), PASSPHRASE, LIMIT) as one:
        one.open("Inbox")
        list(one.new(0, lambda key: False))
        yield one


@pytest.fixture
def waker():
    one = Waker()
    yield one
    one.close()


def idle(server, *lines):
    """The server's IDLE sends these lines -> when each was sent (a list that fills)."""
    sent = []

    def run(session, tag, _):
        session.send(b"+ idling\r\n")
        for line in lines:
            sent.append(time.monotonic())
            session.send(line)
        if session.file.readline() == b"DONE\r\n":
            session.tagged(tag)
    server.answers[b"IDLE"] = run
    return sent


def test_new_mail_ends_it_at_once(server, source, waker):
    sent = idle(server, b"* OK Still here\r\n", b"* 3 EXISTS\r\n")
    assert source.can_wait
    assert source.wait(20, waker)
    assert time.monotonic() - sent[-1] < 0.2
    server.messages.append(Message(3, b"c"))
    assert [m.key for m in source.new(2, lambda key: False)] == ["3"]
    idle(server)
    assert not source.wait(0, waker)


def test_the_waker_ends_it(server, source, waker):
    idle(server)
    server_waits = threading.Event()
    run = server.answers[b"IDLE"]

    def waited(session, tag, arguments):
        server_waits.set()
        run(session, tag, arguments)
    server.answers[b"IDLE"] = waited
    thread = threading.Thread(target=lambda: server_waits.wait(10) and waker.set())
    thread.start()
    begun = time.monotonic()
    assert not source.wait(20, waker)
    assert time.monotonic() - begun < 2
    thread.join()
    assert not source.wait(20, waker)  # it is still set


def test_the_time_ends_it(server, source, waker):
    idle(server)
    begun = time.monotonic()
    assert not source.wait(0.1, waker)
    assert 0.1 <= time.monotonic() - begun < 2


def test_it_is_renewed(server, source, waker, monkeypatch):
    monkeypatch.setattr(imap_idle, "RENEW", 0.05)
    idle(server)
    assert not source.wait(0.3, waker)
    assert server.names().count(b"IDLE") >= 4


def test_mail_that_came_before_it_is_noticed(server, source, waker):
    def noop(session, tag, _):
        session.send(b"* 3 EXISTS\r\n")
        session.tagged(tag)
    server.answers[b"NOOP"] = noop
    source.client.run("noop")
    assert source.wait(20, waker)
    assert b"IDLE" not in server.names()


@pytest.mark.parametrize("lines, is_new", [
    ((b"* 1 EXPUNGE\r\n", b"* 1 EXISTS\r\n"), False),
    ((b"* 1 EXPUNGE\r\n", b"* 2 EXISTS\r\n"), True),
    ((b"* 1 EXPUNGE\r\n", b"* 1 EXPUNGE\r\n", b"* 1 EXISTS\r\n"), True),
    ((b"* 1 FETCH (FLAGS (\\Seen))\r\n", b"* 0 RECENT\r\n"), False)])
def test_expunged_messages_are_not_counted(server, source, waker, lines, is_new):
    idle(server, *lines)
    assert source.wait(0.2, waker) == is_new


def test_a_piece_of_a_line_does_not_block(server, source, waker):
    def run(session, tag, _):
        session.send(b"+ idling\r\n* OK par")
        session.file.readline()
        session.send(b"tial\r\n")
        session.tagged(tag)
    server.answers[b"IDLE"] = run
    begun = time.monotonic()
    assert not source.wait(0.1, waker)
    assert time.monotonic() - begun < 2


def test_over_tls(imap_server, imap_account, wrap, fingerprint, waker):
    server = imap_server([Message(1, b"a")], CAPABILITIES + b" STARTTLS", wrap=wrap)
    account = imap_account(server, starttls=True, fingerprint=fingerprint)
    with ImapSource(account, PASSPHRASE, LIMIT) as source:
        source.open("Inbox")
        idle(server)
        assert not source.wait(0.05, waker)  # TLS 1.3 sends its tickets here
        sent = idle(server, b"* OK x\r\n* 2 EXISTS\r\n")
        assert source.wait(20, waker)
        assert time.monotonic() - sent[-1] < 0.2
        # A line that is in the middle of a TLS record, behind octets that were read already.
        wire = source.client.wire
        wire.set_deadline(10)
        server.sessions[-1].send(b"abc* OK more\r\n")
        assert wire.read(3) == b"abc"
        assert wire.wait_line(10, waker, 100)
        assert wire.read_line(100) == b"* OK more\r\n"


@pytest.mark.parametrize("line, kind, text", [
    (b"* BYE shutting down\r\n", FetchError, "shutting down"),
    (b"* BYE [THROTTLED] slower\r\n", Throttled, "slower"),
    (b"what?\r\n", FetchError, "invalid answer to IDLE")])
def test_the_servers_end_is_told(server, source, waker, line, kind, text):
    idle(server, line)
    with pytest.raises(kind, match=text):
        source.wait(20, waker)


def test_a_closed_connection_is_noticed(server, source, waker):
    def run(session, tag, _):
        session.send(b"+ idling\r\n")
        raise Close
    server.answers[b"IDLE"] = run
    with pytest.raises(FetchError, match="localhost closed the connection"):
        source.wait(20, waker)


def test_no_answer_to_done_is_a_dead_connection(server, source, waker, monkeypatch):
    monkeypatch.setattr(connecting, "SILENCE", 0.2)

    def run(session, tag, _):
        session.send(b"+ idling\r\n")
        session.file.readline()
        session.file.readline()
    server.answers[b"IDLE"] = run
    with pytest.raises(FetchError, match="sent nothing in time"):
        source.wait(0.05, waker)


def test_endless_lines_and_floods_end(server, source, waker):
    def run(session, tag, _):
        session.send(b"+ idling\r\n")
        while True:
            session.send(b"x" * 65536)
    server.answers[b"IDLE"] = run
    with pytest.raises(FetchError, match="more than"):
        source.wait(20, waker)


def test_without_idle(imap_server, imap_account, waker):
    server = imap_server([Message(1, b"a")], b"IMAP4rev1 AUTH=PLAIN")
    with ImapSource(imap_account(server), PASSPHRASE, LIMIT) as source:
        assert not source.can_wait
        with pytest.raises(NotImplementedError):
            source.wait(1, waker)


def test_a_server_that_refuses_it_is_not_asked_again(server, source, waker):
    server.answers[b"IDLE"] = lambda session, tag, _: session.tagged(tag, b"NO not here")
    with pytest.raises(NotImplementedError):
        source.wait(1, waker)
    assert not source.can_wait
