"""Long commands end at their deadline, when the client leaves and when the server stops."""
import socket
import threading
import time

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.imap.commands import message_set
from phenmail_protocols.imap.mime_trees import Trees
from phenmail_protocols.net import connection
from phenmail_protocols.net.errors import Stopping

from . import wire

MESSAGE = b"From: a@b\r\nSubject: one\r\n\r\nhello\r\n"
#: Commands whose work their line does not bound; each looks once a message, name or step.
LONG = ["SEARCH TEXT hello", "UID SEARCH SUBJECT one", "SEARCH ALL", 'LIST "" *', 'LSUB "" *',
        'LIST "" * RETURN (STATUS (MESSAGES))',
        "FETCH 1:* FLAGS", "FETCH 1:* ENVELOPE", "FETCH 1:* BODY.PEEK[]", "FETCH 1:* BODYSTRUCTURE",
        "STORE 1:* +FLAGS (\\Flagged)",
        "STORE 1:* +FLAGS.SILENT (\\Answered)", "COPY 1:* Archive", "MOVE 1:* Archive", "EXPUNGE",
        "UID EXPUNGE 1:*", "CLOSE"]


@pytest.fixture
def three(client, monkeypatch):
    """A client whose mailbox has three messages, each a step of its own, all of them \\Deleted."""
    for _ in range(3):
        client.append(MESSAGE, flags="(\\Deleted)")
    client.ok("SELECT INBOX")
    monkeypatch.setattr(message_set, "AT_ONCE", 1)
    return client


class Looks:
    """Replaces Connection.look: after `calm` calls by a command it raises `error`."""

    def __init__(self, monkeypatch, error, calm=0):
        self.error, self.calm = error, calm
        monkeypatch.setattr(connection.Connection, "look", self)

    def __get__(self, instance, owner):
        return self

    def __call__(self, peer=True):
        if not peer:
            return  # before the command
        self.calm -= 1
        if self.calm < 0:
            raise self.error()


@pytest.mark.parametrize("command", LONG)
def test_each_ends_at_its_deadline_and_the_session_goes_on(three, monkeypatch, command):
    looks = Looks(monkeypatch, connection.Overdue)
    answer = three.ask(command)[-1]
    assert answer == b"NO [LIMIT] The command took too long; ask for less at a time"
    looks.calm = 1000
    assert three.ok("FETCH 1:* UID") == [b"* %d FETCH (UID %d)" % (n, n) for n in (1, 2, 3)]
    assert b"* STATUS Archive (MESSAGES 0)" in three.ok("STATUS Archive (MESSAGES)")


@pytest.mark.parametrize("command", LONG)
def test_each_ends_when_the_server_stops(three, monkeypatch, command):
    Looks(monkeypatch, Stopping)
    three.send(b"x " + command.encode() + b"\r\n")
    assert three.until(b"* BYE") == [b"* BYE [UNAVAILABLE] The server is shutting down"]
    three.thread.join(wire.PATIENCE)
    assert not three.thread.is_alive()


@pytest.mark.parametrize("command", LONG)
def test_each_ends_when_the_client_is_gone(three, monkeypatch, command):
    Looks(monkeypatch, connection.Disconnected)
    three.send(b"x " + command.encode() + b"\r\n")
    three.thread.join(wire.PATIENCE)
    assert not three.thread.is_alive()


def test_a_store_that_ends_early_tells_what_it_did(three, monkeypatch):
    looks = Looks(monkeypatch, connection.Overdue, 2)
    told = [b"* %d FETCH (FLAGS (\\Flagged \\Deleted))" % n for n in (1, 2)]
    assert three.ask("STORE 1:* +FLAGS (\\Flagged)")[:-1] == told
    looks.calm = 2
    assert three.ask("STORE 1:* -FLAGS.SILENT (\\Flagged)")[:-1] == [line.replace(
        b"\\Flagged ", b"") for line in told]
    looks.calm = 1000
    assert three.ok("STORE 1:* +FLAGS.SILENT (\\Flagged)") == []


def test_an_expunge_and_a_move_that_end_early_tell_what_they_did(three, monkeypatch):
    looks = Looks(monkeypatch, connection.Overdue, 1)
    assert three.ask("MOVE 1:* Archive")[:-1][1:] == [b"* 1 EXPUNGE"]
    looks.calm = 2
    assert three.ask("EXPUNGE") == [b"* 1 EXPUNGE",
                                    b"NO [LIMIT] The command took too long; ask for less at a time"]
    looks.calm = 1000
    assert three.ok("STATUS Archive (MESSAGES)") == [b"* STATUS Archive (MESSAGES 1)"]
    assert three.ok("FETCH 1:* UID") == [b"* 1 FETCH (UID 3)"]


@pytest.mark.parametrize("calm", range(6))
def test_a_copy_that_ends_early_copies_nothing(three, monkeypatch, calm):
    looks = Looks(monkeypatch, connection.Overdue, calm)
    assert three.ask("COPY 1:* Archive")[-1].startswith(b"NO [LIMIT]")
    looks.calm = 1000
    assert three.ok("STATUS Archive (MESSAGES)") == [b"* STATUS Archive (MESSAGES 0)"]
    three.ok("COPY 1:* Archive")
    assert three.ok("STATUS Archive (MESSAGES)") == [b"* STATUS Archive (MESSAGES 3)"]


def test_a_delete_that_ends_early_has_deleted(three, monkeypatch):
    three.ok("COPY 1:* Junk")
    looks = Looks(monkeypatch, connection.Overdue)
    three.ok("DELETE Junk")
    looks.calm = 1000
    assert three.ask("STATUS Junk (MESSAGES)")[-1].startswith(b"NO [NONEXISTENT]")


# With the real Connection.look.


def busy(client):
    """Send a search of a minute or so; returns when it has begun."""
    begun, original = threading.Event(), connection.Connection.look

    def look(self, peer=True):
        if peer:  # not the one before the command
            begun.set()
        original(self, peer)
    part = b"--b\r\nContent-Type: text/plain\r\n\r\n" + b"words and more words " * 10 + b"\r\n"
    client.append(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + part * 1500 + b"--b--\r\n")
    for _ in range(8):
        client.ok("NOOP")
        client.ok("COPY 1:* INBOX")
    client.ok("NOOP")
    connection.Connection.look = look
    try:
        client.send(b"x SEARCH " + b" ".join([b"NOT TEXT nothing%d" % n for n in range(400)])
                    + b"\r\n")
        assert begun.wait(wire.PATIENCE)
    finally:
        connection.Connection.look = original
    return client


def ends_within(client, seconds):
    client.thread.join(seconds)
    return not client.thread.is_alive()


def test_a_search_ends_when_the_client_closes(connect):
    client = busy(connect())
    client._stream.close()
    client.socket.close()
    assert ends_within(client, 5.0)


def test_a_search_ends_when_the_client_shuts_its_side_behind_more_commands(connect):
    client = busy(connect())
    client.send(b"y NOOP\r\n" * 100)
    client.socket.shutdown(socket.SHUT_WR)
    assert ends_within(client, 5.0) and client.line() == b""


def test_a_search_ends_at_the_servers_stop(connect):
    client = busy(connect())
    client.connection.interrupt()
    assert client.until(b"* BYE")[
        -1] == b"* BYE [UNAVAILABLE] The server is shutting down" and ends_within(client, 5.0)


def test_a_search_ends_at_its_deadline(connect, store, tmp_path):
    client = busy(connect(server=wire.server(store, tmp_path / "mail",
                                             limits=Limits()._replace(command_timeout=1.0))))
    assert client.until(b"x ")[-1].startswith(b"x NO [LIMIT]")
    client.ok("NOOP")


def test_a_short_command_is_answered_to_who_sends_nothing_more(connect):
    client = connect()
    client.append(MESSAGE)
    client.send(b"x SEARCH TEXT hello\r\ny FETCH 1 FLAGS\r\n")
    client.socket.shutdown(socket.SHUT_WR)
    assert client.until(b"y ")[0] == b"* SEARCH 1"


def test_a_look_costs_next_to_nothing(connect):
    look = connect().connection.look
    start = time.perf_counter()
    for _ in range(20000):
        look()
    assert time.perf_counter() - start < 0.2


@pytest.mark.parametrize("command", ["FETCH 1 BODYSTRUCTURE", "FETCH 1 BODY.PEEK[90]",
                                     "SEARCH TEXT nowhere"])
def test_one_message_of_many_parts_looks_at_each(client, monkeypatch, command):
    parts = b"".join(b"--b\r\n\r\n=?caf\xc3\xa9\r\n" for _ in range(100))
    client.append(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n")
    client.ok("SELECT INBOX")
    looks = Looks(monkeypatch, connection.Overdue, 50)
    assert client.ask(command)[-1].startswith(b"NO [LIMIT]")
    looks.calm = 1000
    client.ok("NOOP")


def test_a_search_of_many_keys_looks_before_it_reads_a_message(client, monkeypatch):
    client.ok("SELECT INBOX")
    looks = Looks(monkeypatch, connection.Overdue, 50)
    assert client.ask("SEARCH " + " ".join("NOT TEXT %d" % n
                                           for n in range(100)))[-1].startswith(b"NO [LIMIT]")
    looks.calm = 1000
    client.ok("NOOP")


@pytest.mark.parametrize("command", ['LIST "" *', "FETCH 1 BODYSTRUCTURE", "SEARCH TEXT nowhere"])
def test_large_work_is_done_by_one_session_of_a_user_at_a_time(
        client, server, monkeypatch, command):
    client.append(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n=?x\r\n--b--\r\n")
    client.ok("SELECT INBOX")
    asked = []
    monkeypatch.setattr(Trees, "alone", lambda self, user, look,
                        alone=Trees.alone: asked.append(user) or alone(self, user, look))
    client.ok(command)
    assert asked == ["u"]
