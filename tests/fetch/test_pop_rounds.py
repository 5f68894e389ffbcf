"""Rounds with a real POP3 connection: servers that cut, lie and change between two connections."""
import os
import random

import pytest

from phenmail_protocols.fetch.opening import open_source
from tests.fetch.pop_server import CAPABILITIES, CLOSE, PopServer, commands, mail, mails, stuffed
from tests.fetch.scripted import House, account


class Opening:
    """What House needs of a remote account."""

    @staticmethod
    def open_source(*arguments, **options):
        return open_source(*arguments, **options)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path / "root", Opening)
    yield house
    house.close()


def configure(house, server, **values):
    house.configure(account(server="localhost", port=server.port, protocol="pop", **values))


def numbers(house):
    return sorted(int(each) for each in house.subjects())


def test_a_round(house):
    messages = mails(50) + [mail(51, b"x" * 300000 + b"\r\n")]
    with PopServer(messages) as server:
        configure(house, server)
        assert house.look() == "" and numbers(house) == list(range(1, 52))
        assert all(found.endswith(sent) for found, sent in zip(house.messages(), messages))
        assert house.look() == "" and len(commands(server, b"RETR")) == 51
        assert len(server.messages) == 51
        configure(house, server, remove=True)
        assert house.look() == "" and server.messages == []
        assert len(commands(server, b"RETR")) == 51


class Cutting(PopServer):
    """Cuts a connection after some octets of messages, and loses the first message then: as if
    another program removed it."""

    def __init__(self, messages, chance, loses):
        PopServer.__init__(self, messages, {b"RETR": self.retrieve})
        self.chance, self.loses, self.lost = chance, loses, []
        self.cuts = 12

    def retrieve(self, session, command):
        wire = b"+OK\r\n" + stuffed(session.messages[int(command.split()[1]) - 1][1])
        if self.cuts and self.chance.random() < 0.3:
            self.cuts -= 1
            if self.loses and self.messages and self.chance.random() < 0.5:
                self.lost.append(self.messages.pop(0)[1])
            return [wire[:self.chance.randint(0, len(wire))], CLOSE]
        return wire


@pytest.mark.parametrize("remove", [False, True])
@pytest.mark.parametrize("loses", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_cut_connections(house, remove, loses, seed):
    messages = [mail(number, b"x" * 70 * (1 + number * 7 % 40) + b"\r\n") for number in range(1, 61)]
    with Cutting(messages, random.Random(seed), loses) as server:
        configure(house, server, remove=remove)
        for _ in range(20):
            if house.look() == "" and not server.cuts:
                break
        assert house.look() == ""
        here = house.messages()
        found = [message for message in messages if any(each.endswith(message) for each in here)]
        assert len(here) == len(found)  # each once
        missing = [message for message in messages if message not in found]
        assert all(message in server.lost for message in missing)
        assert (len(server.messages) == 0) is remove


def test_a_server_that_lies_about_sizes(house):
    """The message that is too large stays there, and the others come."""
    house.settings["limits"] = {"message-size": "200 KB"}
    house.close()
    house.open()
    messages = mails(3) + [mail(4, b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * 40000)] + mails(8)[4:]
    lie = b"+OK\r\n" + b"".join(b"%d 100\r\n" % number for number in range(1, 9)) + b".\r\n"
    with PopServer(messages, {b"LIST": lie}) as server:
        configure(house, server, remove=True)
        for _ in range(3):
            house.look()
        assert numbers(house) == [1, 2, 3, 5, 6, 7, 8]
        assert [each for _, each in server.messages] == [messages[3]]
        retrieved = len(commands(server, b"RETR"))
        assert house.look() == "" and len(commands(server, b"RETR")) == retrieved
        assert os.listdir(house.path("alice", "mail", "tmp")) == []


def test_a_message_that_the_server_refuses_is_tried_again(house):
    with PopServer(mails(3), {b"RETR 2": b"-ERR cannot read it\r\n"}) as server:
        configure(house, server, remove=True)
        house.look()
        assert numbers(house) == [1, 3] and [each for _, each in server.messages] == [mail(2)]
        server.replies.clear()
        assert house.look() == "" and numbers(house) == [1, 2, 3] and server.messages == []


def test_an_unconfirmed_removal_is_repeated(house):
    with PopServer(mails(3), {b"QUIT": [b"-ERR not now\r\n", CLOSE]}) as server:
        configure(house, server, remove=True)
        assert "not all messages could be removed" in house.look()
        assert numbers(house) == [1, 2, 3] and len(server.messages) == 3
        server.replies.clear()
        assert house.look() == "" and server.messages == []
        assert numbers(house) == [1, 2, 3]
        assert len(commands(server, b"RETR")) == 3


@pytest.mark.parametrize("capabilities, replies", [
    ((b"USER", b"TOP", b"PIPELINING"), {b"UIDL": b"-ERR unknown\r\n"}),
    ((b"USER",), {b"UIDL": b"-ERR unknown\r\n", b"TOP": b"-ERR unknown\r\n"})])
def test_without_uidl(house, capabilities, replies):
    with PopServer(mails(5), replies, capabilities) as server:
        configure(house, server)
        assert house.look() == "" and house.look() == "" and numbers(house) == [1, 2, 3, 4, 5]
        server.messages.append((b"", mail(6)))
        del server.messages[0]
        assert house.look() == "" and numbers(house) == [1, 2, 3, 4, 5, 6]
        configure(house, server, remove=True)
        assert house.look() == "" and server.messages == []


def test_shared_uidls(house):
    messages = [(b"same", mail(1)), (b"other", mail(2)), (b"same", mail(3))]
    with PopServer(messages) as server:
        configure(house, server)
        assert house.look() == "" and house.look() == "" and numbers(house) == [1, 2, 3]
        server.messages.append((b"other", mail(4)))
        house.look()
        # 2 may come again under its new key, but 4 must come.
        assert set(numbers(house)) == {1, 2, 3, 4}


def test_a_server_that_removes_what_it_sent(house):
    with PopServer(mails(40), capabilities=CAPABILITIES + (b"EXPIRE 0",)) as server:
        configure(house, server)
        assert house.look() == "" and numbers(house) == list(range(1, 41))
        assert b"QUIT" not in server.commands and len(server.messages) == 40
        configure(house, server, remove=True)
        assert house.look() == "" and server.messages == []
