"""What is new in a POP3 maildrop: keys, large maildrops, and lists that lie."""
import tracemalloc

import pytest

from phenmail_protocols.fetch import connecting, pop_listing
from phenmail_protocols.fetch.source import BoxGone, FetchError, RemoteMessage
from tests.fetch.pop_server import (
    CAPABILITIES,
    CLOSE,
    HANG,
    PopServer,
    commands,
    fetch,
    mail,
    mails,
    nothing,
)

WITHOUT_UIDL = (b"TOP", b"USER", b"PIPELINING")
NO_UIDL = {b"UIDL": b"-ERR unknown command\r\n"}
NO_TOP = {b"UIDL": b"-ERR unknown command\r\n", b"TOP": b"-ERR unknown command\r\n"}

NO_CAPA = dict(NO_TOP)
NO_CAPA[b"CAPA"] = b"-ERR unknown command\r\n"


@pytest.mark.parametrize("capabilities", [CAPABILITIES, (b"TOP", b"UIDL", b"USER"), ()])
def test_new_messages_come_in_order(capabilities):
    messages = mails(70)
    with PopServer(messages, capabilities=capabilities) as server:
        found = fetch(server)
        assert [message for _, message in found] == messages
        assert [key for key, _ in found] == ["u%d" % number for number in range(1, 71)]
        del server.commands[:]
        known = {key for key, _ in found} - {"u7", "u70"}
        assert fetch(server, known) == [("u7", messages[6]), ("u70", messages[69])]
        assert len(commands(server, b"RETR")) == 2
        assert fetch(server, [key for key, _ in found]) == []


def test_what_is_told_of_a_message():
    with PopServer([mail(1), mail(2, b"x" * 1000 + b"\r\n")]) as server:
        with server.source() as source:
            assert source.list_boxes() == ("",)
            assert source.open("").count == 2
            assert list(source.new(0, nothing)) == [
                RemoteMessage("u1", len(mail(1)), (), None, 1),
                RemoteMessage("u2", len(mail(2)) + 996, (), None, 2)]
            assert not source.can_wait
            assert list(source.changed_flags(0)) == []
        assert commands(server, b"RETR") == []


def test_an_empty_maildrop():
    with PopServer() as server:
        assert fetch(server) == []
        assert commands(server, b"UIDL") == []


def test_there_is_only_the_inbox():
    with PopServer() as server, server.source() as source:
        assert source.open("Inbox").name == ""
        with pytest.raises(BoxGone, match="only the Inbox"):
            source.open("Archive")


def test_large_maildrops_come_in_batches(monkeypatch):
    monkeypatch.setattr(pop_listing, "BATCH", 7)
    with PopServer(mails(30)) as server:
        found = fetch(server, ["u3", "u15", "u16"])
        assert len(found) == 27
        assert [message for _, message in found] == [
            mail(number) for number in range(1, 31) if number not in (3, 15, 16)]
        assert len(commands(server, b"UIDL")) == 4


def test_memory_does_not_grow_with_the_maildrop(monkeypatch):
    monkeypatch.setattr(pop_listing, "BATCH", 2000)
    count = 10000

    def listed(form):
        lines = [form % (number, number) for number in range(1, count + 1)]
        return [b"+OK\r\n", b"".join(lines), b".\r\n"]
    replies = {b"STAT": b"+OK %d 1\r\n" % count, b"LIST": listed(b"%d %d\r\n"),
               b"UIDL": listed(b"%d " + b"x" * 40 + b"%d\r\n")}
    with PopServer(replies=replies) as server, server.source() as source:
        source.open("")
        tracemalloc.start()
        try:
            seen = sum(1 for _ in source.new(0, nothing))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert seen == count
        assert peak < 700 * 1024  # the UIDLs as a list would need 1.2 MB


@pytest.mark.parametrize("uidl", [b"", b"x" * 71, b"with space", b"\xff", b"top:" + b"0" * 64])
def test_a_uidl_that_breaks_the_rules_is_no_key(uidl):
    with PopServer([(uidl, mail(1)), (b"good", mail(2))]) as server:
        found = fetch(server)
        assert [message for _, message in found] == [mail(1), mail(2)]
        key = found[0][0]
        assert key != uidl.decode("latin-1") and len(key) <= 70
        assert all("!" <= char <= "~" for char in key)
        assert fetch(server, [key, "good"]) == []


def test_messages_that_share_a_uidl_are_all_fetched():
    messages = [(b"a", mail(1)), (b"same", mail(2)), (b"b", mail(3)), (b"same", mail(4))]
    with PopServer(messages) as server:
        found = fetch(server)
        assert [message for _, message in found] == [each for _, each in messages]
        keys = [key for key, _ in found]
        assert (keys[0], keys[2]) == ("a", "b")
        assert keys[1].startswith("top:") and keys[3].startswith("top:") and keys[1] != keys[3]
        assert fetch(server, keys) == []
        # A message that came later with a UIDL that is known.
        assert fetch(server, ["a", "b", "same"]) == [found[1], found[3]]


def test_too_many_shared_uidls(monkeypatch):
    monkeypatch.setattr(pop_listing, "_MOST_REPEATS", 3)
    messages = [(b"u%d" % (number // 2), mail(number)) for number in range(10)]
    with PopServer(messages) as server:
        found = fetch(server)
        assert [message for _, message in found] == [each for _, each in messages]
        assert fetch(server, [key for key, _ in found]) == []
        assert fetch(server, ["u%d" % number for number in range(5)]) == found


@pytest.mark.parametrize("capabilities, replies", [
    (WITHOUT_UIDL, NO_UIDL), ((b"TOP",), NO_UIDL), ((), NO_UIDL), ((b"USER",), NO_TOP),
    ((), NO_CAPA), (WITHOUT_UIDL[1:], NO_TOP)])
def test_without_uidl_headers_are_the_keys(capabilities, replies):
    messages = mails(5)
    if b"USER" not in capabilities:
        capabilities += (b"USER",)
    with PopServer(messages, dict(replies), capabilities) as server:
        found = fetch(server)
        assert [message for _, message in found] == messages
        assert all(key.startswith("top:") and len(key) == 68 for key, _ in found)
        assert fetch(server, [key for key, _ in found]) == []
        assert fetch(server, [key for key, _ in found[1:]]) == found[:1]
        server.messages = [(b"", mail(9))] + server.messages[2:]
        assert [message for _, message in fetch(server, [key for key, _ in found])] == [mail(9)]


def test_without_top_a_message_over_the_limit_is_left_out():
    messages = [mail(1), mail(2, b"x" * 5000 + b"\r\n"), mail(3)]
    with PopServer(messages, NO_TOP, (b"USER",)) as server:
        assert [each for _, each in fetch(server, limit=1000)] == [mail(1), mail(3)]


def test_a_status_that_the_server_adds_does_not_change_the_key():
    with PopServer([mail(1)], NO_UIDL, WITHOUT_UIDL) as server:
        key = fetch(server)[0][0]
        server.messages = [(b"", b"Status: RO\r\nX-UIDL: 1\r\n" + mail(1))]
        assert fetch(server, [key]) == []


def test_messages_with_the_same_header_are_two_if_their_sizes_differ():
    messages = [mail(1), mail(1, b"another body\r\n")]
    with PopServer(messages, NO_UIDL, WITHOUT_UIDL) as server:
        found = fetch(server)
        assert [message for _, message in found] == messages
        assert fetch(server, [found[0][0]]) == [found[1]]


def test_a_long_header_counts_in_part():
    long = b"X: y\r\n" * 40000
    with PopServer([long + mail(1), b"A: b\r\n" + long], NO_UIDL, WITHOUT_UIDL) as server:
        assert len({key for key, _ in fetch(server)}) == 2


@pytest.mark.parametrize("answer", [b"-ERR [SYS/TEMP] later\r\n", b"-ERR\r\n"])
def test_a_refused_uidl_does_not_make_everything_new(answer):
    with PopServer(mails(3), {b"UIDL": answer}) as server:
        with pytest.raises(FetchError, match="UIDL"):
            fetch(server)
        assert commands(server, b"TOP") == []


@pytest.mark.parametrize("command, answer", [
    (b"STAT", b"+OK\r\n"), (b"STAT", b"+OK many\r\n"), (b"STAT", b"+OK 1" + b"0" * 4000 + b"\r\n"),
    (b"STAT", b"+OK 2000000 1\r\n"), (b"STAT", b"-ERR no\r\n"), (b"LIST", b"-ERR no\r\n"),
    (b"UIDL", b"+OK\r\n2 a\r\n1 b\r\n.\r\n"), (b"UIDL", b"+OK\r\n1 a\r\n1 b\r\n.\r\n"),
    (b"UIDL", b"+OK\r\n\r\n.\r\n"), (b"UIDL", b"+OK\r\n-1 a\r\n.\r\n"),
    (b"UIDL", b"+OK\r\n" + b"9" * 5000 + b" a\r\n.\r\n"), (b"UIDL", b"+OK\r\n0 a\r\n.\r\n"),
    (b"UIDL", b"+OK\r\n1 " + b"a" * 9000 + b"\r\n.\r\n"), (b"UIDL", b"+OK\n1 a\n.\n"),
    (b"UIDL", b"+OK\r\n" + b"".join(b"%d a\r\n" % n for n in range(1, 1100)) + b".\r\n"),
    (b"LIST", b"+OK\r\n1 big\r\n.\r\n"), (b"LIST", b"+OK\r\n1 " + b"9" * 21 + b"\r\n.\r\n"),
    (b"UIDL", [b"+OK\r\n1 a\r\n", CLOSE]), (b"UIDL", [b"+OK\r\n1 a\r\n", HANG])],
    ids=lambda value: repr(value)[:30])
def test_bad_lists(monkeypatch, command, answer):
    monkeypatch.setattr(connecting, "SILENCE", 0.3)
    with PopServer(mails(3), {command: answer}) as server:
        with pytest.raises(FetchError):
            fetch(server)


def test_lists_that_lie():
    replies = {b"LIST": b"+OK\r\n1 4000000000\r\n3 0 and more\r\n9 9\r\n.\r\n"}
    with PopServer(mails(4), replies) as server:
        assert [message for _, message in fetch(server)] == mails(4)
