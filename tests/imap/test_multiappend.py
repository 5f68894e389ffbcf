"""MULTIAPPEND (RFC 3502): several messages in one APPEND, all or none."""
import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.imap import reader
from phenmail_protocols.imap.commands import append
from phenmail_protocols.net.connection import Connection
from phenmail_protocols.net.errors import Overdue
from phenmail_protocols.store import errors
from phenmail_protocols.store.mailbox import Mailbox
from phenmail_protocols.store.maildir.staged import Staged

DATE = b'" 1-Feb-2020 12:00:00 +0000"'


def part(text, flags=b"", mark=b"{%d+}"):
    message = b"Subject: %s\r\n\r\n" % text
    return b" " + b" ".join(word for word in (flags, mark % len(message)) if word) + b"\r\n" + message


def empty(tmp_path):
    return not list((tmp_path / "mail" / "tmp").iterdir())


def refused(client, tmp_path, command, answer):
    """The command is refused, nothing is appended, and the next command is read."""
    client.send(b"a APPEND INBOX" + command + b"\r\n")
    line = client.until(b"a ")[-1]
    assert line.startswith(b"a " + answer), line
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    assert empty(tmp_path)


def test_it_is_offered(client):
    assert b" MULTIAPPEND" in client.ok("CAPABILITY")[0]


def test_flags_and_dates_of_each(client, tmp_path):
    lines = client.ask(b"APPEND INBOX" + part(b"a", b"(\\Seen)") + part(b"b") + part(b"c", DATE)
                       + part(b"d", b"(Work \\Flagged) " + DATE))
    assert lines[0] == b"* 4 EXISTS"
    validity = client.ok("STATUS INBOX (UIDVALIDITY)")[0].split()[-1][:-1]
    assert lines[-1] == b"OK [APPENDUID %s 1:4] APPEND completed" % validity
    fetched = client.ok("FETCH 1:* (FLAGS INTERNALDATE BODY.PEEK[])")
    assert [line.split(b"Subject: ")[1][:1] for line in fetched] == [b"a", b"b", b"c", b"d"]
    assert [line.split(b"FLAGS (")[1].split(b")")[0] for line in fetched] == [
        b"\\Seen \\Recent", b"\\Recent", b"\\Recent", b"\\Flagged \\Recent Work"]
    assert [b"01-Feb-2020" in line for line in fetched] == [False, False, True, True]
    assert empty(tmp_path)


def test_a_client_that_waits(client):
    client.send(b"a APPEND INBOX {7}\r\n")
    assert client.line().startswith(b"+ ")
    client.send(b"A: b\r\n\n (\\Seen) {7}\r\n")
    assert client.line().startswith(b"+ ")
    client.send(b"A: c\r\n\n\r\n")
    assert client.until(b"a ")[-1].startswith(b"a OK [APPENDUID")
    assert client.ok("STATUS INBOX (MESSAGES UNSEEN)") == [b"* STATUS INBOX (MESSAGES 2 UNSEEN 1)"]


def test_others_see_all_at_once(client, connect):
    other = connect()
    other.send(b"i IDLE\r\n")
    assert other.line().startswith(b"+ ")
    client.ok(b"APPEND INBOX" + part(b"a") + part(b"b", b"(\\Seen)") + part(b"c"))
    assert other.line() == b"* 3 EXISTS"
    other.send(b"DONE\r\n")
    other.until(b"i OK")


def test_all_forms_in_one_command(connect):
    client = connect(login=False)
    client.log_in()
    client.ok("ENABLE UTF8=ACCEPT")
    client.ok(b"APPEND INBOX" + part(b"a") + part(b"\xc3\xa4", b"(x)", b"UTF8 (~{%d+}") + b")"
              + part(b"\xc3\xb6", b"", b"UTF8 (~{%d+}") + b")" + part(b"b"))
    client.ok("SELECT INBOX")
    assert client.ok('SEARCH SUBJECT "\u00e4"') == [b"* SEARCH 2"]


def test_an_empty_message_cancels(client, tmp_path):
    refused(client, tmp_path, part(b"a") + b" {0+}\r\n", b"NO")
    refused(client, tmp_path, part(b"a") + part(b"b") + b" {0}", b"NO")
    refused(client, tmp_path, part(b"a") + b" {0+}\r\n" + part(b"b"), b"NO")


@pytest.mark.parametrize("middle, answer", [
    (b" (\\Foo) {5+}\r\nA: b\n", b"BAD"), (b' "now" {5+}\r\nA: b\n', b"BAD"), (b"x", b"BAD"),
    (b" x", b"BAD"), (b" (x", b"BAD"), (b" (\\Seen) (x)", b"BAD"), (b"   {5+}\r\nA: b\n", b"BAD"),
    (b"{5+}\r\nA: b\n", b"BAD"), (b") {5+}\r\nA: b\n", b"BAD"), (b" " + b"x" * 70000, b"BAD"),
    (b" {5+}\r\nA: \0\n", b"BAD"), (b" UTF8 (~{5+}\r\n\xff: a\n)", b"NO [CANNOT]"),
    (b" UTF8 (~{5+}\r\nA: b\n", b"BAD"), (b" INBOX {5+}\r\nA: b\n", b"BAD")])
def test_errors_in_the_middle_discard_all(client, tmp_path, middle, answer):
    refused(client, tmp_path, part(b"a") + middle + part(b"c"), answer)
    refused(client, tmp_path, part(b"a") + middle, answer)


def test_too_big_a_message_in_the_middle(server, connect, tmp_path):
    client = connect(server=server._replace(limits=Limits(message_size=100)))
    refused(client, tmp_path, part(b"a") + part(b"x" * 100) + part(b"c"), b"NO [TOOBIG]")
    client.send(b"a APPEND INBOX" + part(b"a") + b" {101}\r\n")  # it waits, and hears the answer
    assert client.line().startswith(b"a NO [TOOBIG]")
    client.ok("NOOP")


def test_too_many_messages(client, tmp_path, monkeypatch):
    monkeypatch.setattr(append, "MESSAGES", 3)
    refused(client, tmp_path, part(b"a") * 4, b"NO [LIMIT]")
    client.ok(b"APPEND INBOX" + part(b"a") * 3)


def test_too_many_octets(server, connect, tmp_path):
    client = connect(server=server._replace(limits=Limits(message_size=20)))
    assert len(part(b"12345").split(b"\r\n", 1)[1]) == 18
    refused(client, tmp_path, part(b"12345") * 9, b"NO [LIMIT]")
    client.ok(b"APPEND INBOX" + part(b"12345") * 8)


def test_too_many_flags(client, tmp_path):
    """What stands between the messages is bounded like any other command."""
    flags = b"(%s)" % b" ".join(b"k%d" % number for number in range(9000))
    assert len(flags) < reader.LINE
    refused(client, tmp_path, part(b"a", flags) * 6, b"NO [LIMIT]")
    client.ok(b"APPEND INBOX" + part(b"a", flags) * 4)


def test_it_looks_for_each_message(client, tmp_path, monkeypatch):
    """The messages may all be there at once, so that nothing waits for the next."""
    calls = []

    def look(self, peer=True):
        calls.append(peer)
        if len(calls) > 3:
            raise Overdue()
    monkeypatch.setattr(Connection, "look", look)
    client.send(b"a APPEND INBOX" + part(b"a") * 9 + b"\r\n")
    assert client.until(b"a ")[-1].startswith(b"a NO [LIMIT]")
    monkeypatch.undo()
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    assert empty(tmp_path)


def test_the_most_messages(client):
    client.ok(b"APPEND INBOX" + part(b"a", b"(\\Seen $Forwarded)") * append.MESSAGES)
    assert client.ok("SEARCH RETURN (COUNT) SEEN")[0].endswith(b"COUNT %d" % append.MESSAGES)


def test_the_mailbox_goes_while_messages_come(client, connect, tmp_path):
    client.ok("CREATE gone")
    client.send(b"a APPEND gone" + part(b"a") + b" {7}\r\n")
    assert client.line().startswith(b"+ ")
    connect().ok("DELETE gone")
    client.send(b"A: b\r\n\n\r\n")
    assert client.until(b"a ")[-1].startswith(b"a NO [TRYCREATE]")
    assert empty(tmp_path)


def test_to_nowhere(client):
    client.send(b"a APPEND nowhere" + part(b"a") + part(b"b") + b"\r\n")
    assert client.line().startswith(b"a NO [TRYCREATE]")
    client.ok("NOOP")


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("method", ["__init__", "write", "sync"])
def test_the_disk_is_full(client, tmp_path, monkeypatch, method, nth):
    calls, real = [], getattr(Staged, method)

    def full(self, *arguments):
        calls.append(1)
        if len(calls) == nth:
            raise errors.NoSpace()
        return real(self, *arguments)
    with monkeypatch.context() as patch:
        patch.setattr(Staged, method, full)
        refused(client, tmp_path, part(b"a") + part(b"b") + part(b"c"), b"NO [OVERQUOTA]")
    client.ok(b"APPEND INBOX" + part(b"a") + part(b"b"))


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_the_folder_cannot_be_synced(client, tmp_path, monkeypatch, nth):
    calls, real = [], Mailbox.sync

    def fails(self, fresh):
        calls.append(1)
        if len(calls) >= nth:
            raise errors.Unavailable()
        real(self, fresh)
    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "sync", fails)
        refused(client, tmp_path, part(b"a") + part(b"b", b"(\\Seen)"), b"NO [UNAVAILABLE]")
    client.ok(b"APPEND INBOX" + part(b"a") + part(b"b"))


def test_a_client_that_disconnects_leaves_nothing(connect, tmp_path):
    client = connect()
    client.send(b"a APPEND INBOX" + part(b"a") + part(b"b") + b" {100}\r\n")
    assert client.line().startswith(b"+ ")
    client.send(b"some octets")
    client.close()
    assert empty(tmp_path)
    assert connect().ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


def test_an_unexpected_error_leaves_nothing(client, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(append, "sequence", None)
        patch.setattr(Staged, "sync", None)
        refused(client, tmp_path, part(b"a") + part(b"b"), b"NO [SERVERBUG]")
