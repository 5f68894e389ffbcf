"""A POP3 maildrop as a source of mail: reading, removing, and servers that fail."""
import pytest

from phenmail_protocols.fetch import connecting
from phenmail_protocols.fetch.pop.client import PopClient
from phenmail_protocols.fetch.source import FetchError, MessageGone, Throttled
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
    opened,
    stuffed,
)
from tests.net.peer import own_thread


@pytest.mark.parametrize("capabilities", [CAPABILITIES, (b"USER", b"UIDL")])
def test_reading_from_an_offset(capabilities):
    message = mail(1, b"0123456789" * 30000 + b"\r\n")
    with PopServer([message, mail(2)], capabilities=capabilities) as server:
        with server.source() as source:
            first, second = opened(source).new(0, nothing)
            for offset in (0, 1, 65000, 70000, len(message) - 1, len(message), 1 << 40):
                assert b"".join(source.read(first, offset)) == message[offset:]
            assert b"".join(source.read(second)) == mail(2)


def test_reading_in_any_order():
    with PopServer(mails(100)) as server:
        with server.source() as source:
            listed = list(opened(source).new(0, nothing))
            order = list(range(20)) + [22, 23, 24, 30, 5, 4, 3] + list(range(40, 100)) + [99, 0]
            for index in order:
                assert b"".join(source.read(listed[index])) == mail(index + 1)


def test_reading_may_be_given_up():
    big = mail(2, b"x" * 200000 + b"\r\n")
    with PopServer([mail(1), big] + mails(9)[2:]) as server:
        with server.source() as source:
            for message in opened(source).new(0, nothing):
                pieces = source.read(message)
                if message.number == 2:
                    assert big.startswith(next(pieces))
                    pieces.close()
                elif message.number % 3:
                    assert b"".join(pieces) == mail(message.number)


def test_a_fetcher_that_skips_messages_asks_for_few_of_them():
    with PopServer(mails(60)) as server:
        with server.source() as source:
            for message in opened(source).new(0, nothing):
                if message.number % 10 == 0:
                    assert b"".join(source.read(message)) == mail(message.number)
        assert len(commands(server, b"RETR")) == 6


def test_messages_are_asked_for_ahead_within_bounds(monkeypatch):
    most = []
    sent = PopClient.send

    def send(client, *lines, **options):
        sent(client, *lines, **options)
        most.append(len(client._awaited))
    monkeypatch.setattr(PopClient, "send", send)
    with PopServer(mails(300)) as server:
        assert len(fetch(server)) == 300
    assert 20 < max(most) <= 32
    del most[:]
    with PopServer([mail(number, b"x" * 100000 + b"\r\n") for number in range(8)]) as server:
        assert len(fetch(server)) == 8
    assert max(most) == 2
    del most[:]
    with PopServer(mails(50), capabilities=(b"USER", b"UIDL")) as server:
        assert len(fetch(server)) == 50
    assert max(most) == 1


def test_messages_over_the_limit_are_not_asked_for_ahead():
    messages = mails(4) + [mail(5, b"x" * 5000)] + mails(7)[5:]
    with PopServer(messages) as server:
        with server.source(limit=1000) as source:
            for message in opened(source).new(0, nothing):
                if message.size < 1000:
                    assert b"".join(source.read(message)) == messages[message.number - 1]
        assert b"RETR 5" not in server.commands


def test_a_message_that_is_gone():
    with PopServer(mails(20), {b"RETR 9": b"-ERR no such message\r\n"}) as server:
        with server.source() as source:
            found = []
            for message in opened(source).new(0, nothing):
                try:
                    found.append(b"".join(source.read(message)))
                except MessageGone as gone:
                    assert message.number == 9
                    assert "no such message" in str(gone)
        assert found == mails(8) + mails(20)[9:]


@pytest.mark.parametrize("answer, kind", [
    (b"-ERR [SYS/TEMP] slow down\r\n", Throttled), (b"-ERR [SYS/PERM] broken\r\n", FetchError)])
def test_a_server_that_cannot_give_a_message(answer, kind):
    with PopServer(mails(3), {b"RETR 2": answer}) as server:
        with pytest.raises(kind) as caught:
            fetch(server)
        assert not isinstance(caught.value, MessageGone)


@pytest.mark.parametrize("answer", [
    [b"+OK\r\nSubject: 2", CLOSE], [b"+OK\r\n" + stuffed(mail(2))[:-1], CLOSE],
    [b"+OK\r\nSubject: 2\r\n", HANG], b"+OK\r\n" + stuffed(mail(2, b"x" * 70000 + b"\r\n")),
    b"* OK IMAP\r\n", [CLOSE]], ids=lambda value: repr(value)[:30])
def test_a_server_that_fails_within_a_message(monkeypatch, answer):
    monkeypatch.setattr(connecting, "SILENCE", 0.3)
    with PopServer(mails(5), {b"RETR 2": answer}) as server:
        source = server.source(limit=50000)
        whole = []
        with pytest.raises(FetchError) as caught:
            for message in opened(source).new(0, nothing):
                whole.append(b"".join(source.read(message)))
        assert not isinstance(caught.value, MessageGone)
        assert whole == mails(1)
        with pytest.raises(FetchError):  # the connection is useless
            list(source.read(message))
        source.close()


def test_numbers_of_another_connection_do_not_count():
    """Somebody else has removed a message between two connections."""
    with PopServer(mails(4)) as server:
        with server.source() as source:
            before = list(opened(source).new(0, nothing))
        del server.messages[0]
        with server.source() as source:
            with pytest.raises(MessageGone):
                list(source.read(before[1]))
            opened(source)
            with pytest.raises(MessageGone):
                list(source.read(before[1]))
            after = list(source.new(0, nothing))
            assert b"".join(source.read(after[0])) == mail(2)
            source.remove(before + after[1:2])
        assert [each for _, each in server.messages] == [mail(2), mail(4)]


def test_a_source_can_be_aborted():
    with PopServer(mails(2), {b"RETR 2": [b"+OK\r\nSubject: 2\r\n", HANG]}) as server:
        source = server.source()
        first, second = opened(source).new(0, nothing)
        pieces = source.read(second)
        next(pieces)
        aborted = own_thread(lambda: source.abort())
        with pytest.raises(FetchError, match="stopped"):
            list(pieces)
        aborted()
        source.close()


def test_the_reader_sees_that_a_message_exceeds_the_limit():
    big = mail(1, b"x" * 200000 + b"\r\n")
    with PopServer([big, mail(2)], {b"LIST": b"+OK\r\n1 10\r\n2 10\r\n.\r\n"}) as server:
        with server.source(limit=100000) as source:
            first, second = opened(source).new(0, nothing)
            octets = 0
            for piece in source.read(first):
                octets += len(piece)
                if octets > 100000:
                    break
            assert octets > 100000
            with pytest.raises(FetchError, match="more than 100000 octets"):
                for piece in source.read(first):
                    pass


# Removing


@pytest.mark.parametrize("capabilities", [CAPABILITIES, (b"USER", b"UIDL")])
def test_removing(capabilities):
    with PopServer(mails(250), capabilities=capabilities) as server:
        with server.source() as source:
            for message in opened(source).new(0, nothing):
                b"".join(source.read(message))
                if message.number not in (1, 200):
                    source.remove([message])
            assert len(server.messages) == 250
        assert [each for _, each in server.messages] == [mail(1), mail(200)]


def test_nothing_is_removed_unless_asked_for():
    with PopServer(mails(3)) as server:
        fetch(server)
        assert commands(server, b"DELE") == []
        assert server.commands[-1] == b"QUIT"


def removed(server):
    source = server.source()
    messages = list(opened(source).new(0, nothing))
    assert [b"".join(source.read(each)) for each in messages] == mails(3)
    source.remove(messages)
    source.close()


@pytest.mark.parametrize("replies", [
    {b"DELE 2": b"-ERR locked\r\n"}, {b"DELE 1": [CLOSE]}, {b"QUIT": b"-ERR some are left\r\n"},
    {b"QUIT": [CLOSE]}, {b"QUIT": [b"+OK\r", CLOSE]}, {b"QUIT": [HANG]}, {b"DELE 3": b"?\r\n"}],
    ids=repr)
def test_what_is_not_confirmed_is_an_error(monkeypatch, replies):
    monkeypatch.setattr(connecting, "SILENCE", 0.3)
    with PopServer(mails(3), replies) as server:
        with pytest.raises(FetchError):
            removed(server)
        if b"DELE 2" in replies:
            assert [each for _, each in server.messages] == [mail(2)]


def test_a_lost_connection_removes_nothing():
    with PopServer(mails(3), {b"RETR 2": [CLOSE]}) as server:
        source = server.source()
        with pytest.raises(FetchError):
            for message in opened(source).new(0, nothing):
                b"".join(source.read(message))
                source.remove([message])
        with pytest.raises(FetchError, match="lost before it removed 1"):
            source.close()
        source.close()  # again
        assert len(server.messages) == 3


def test_the_first_problem_is_the_one_that_is_told():
    with PopServer(mails(3), {b"RETR 2": [b"+OK\r\nx", CLOSE]}) as server:
        with pytest.raises(FetchError, match="closed"), server.source() as source:
            for message in opened(source).new(0, nothing):
                b"".join(source.read(message))
                source.remove([message])


def test_a_message_that_was_given_up_does_not_keep_others_from_removal():
    with PopServer([mail(1), mail(2, b"x" * 300000 + b"\r\n")] + mails(30)[2:]) as server:
        with server.source() as source:
            first, second = list(opened(source).new(0, nothing))[:2]
            b"".join(source.read(first))
            source.remove([first])
            next(source.read(second))
        assert len(server.messages) == 29


def test_quit_that_is_not_answered_is_no_problem(monkeypatch):
    monkeypatch.setattr(connecting, "SILENCE", 0.3)
    for answer in ([HANG], [CLOSE], b"-ERR\r\n", b"what\r\n"):
        with PopServer(mails(2), {b"QUIT": answer}) as server:
            assert len(fetch(server)) == 2


EXPIRING = CAPABILITIES + (b"EXPIRE 0",)


def test_a_server_that_removes_what_was_read_is_left_without_quit():
    with PopServer(mails(40), capabilities=EXPIRING) as server:
        assert len(fetch(server)) == 40
        assert b"QUIT" not in server.commands
        with server.source() as source:
            first, second, third = list(opened(source).new(0, nothing))[:3]
            assert b"".join(source.read(first)) == mail(1)
            b"".join(source.read(second))
            source.remove([first])
            with pytest.raises(FetchError, match="stay"):
                source.close()
        assert b"QUIT" not in server.commands
        del server.commands[:]
        with server.source() as source:
            messages = list(opened(source).new(0, nothing))
            for message in messages[:10]:
                b"".join(source.read(message))
            assert len(commands(server, b"RETR")) == 10  # nothing is asked ahead
            source.remove(messages[:10])
        assert server.commands[-1] == b"QUIT"
        assert len(server.messages) == 30
