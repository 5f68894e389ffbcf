"""The worked examples under conf/plugins: tickets, and a gateway to an object of the same
program."""
import importlib.util
import json
import os
import types

import pytest

from tests.plugins.pluginhouse import BOB, LETTER, House, Server

PLUGINS = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "conf", "plugins")
SUPPORT = "support@example.org"


def load(name):
    spec = importlib.util.spec_from_file_location("example_" + name,
                                                  os.path.join(PLUGINS, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def letter(subject, extra=b""):
    return (b"Subject: " + subject + b"\r\nMessage-ID: <9@example.net>\r\n" + extra
            + b"\r\nWords.\r\n")


# Tickets


class Desk:
    """A Ticket plugin over a folder; `sent` has what it sent as (sender, recipient, subject)."""

    def __init__(self, folder):
        self.server = Server(types.SimpleNamespace(mail_system=str(folder)))
        self.house = House({"ticket": load("ticket").Ticket()}, server=self.server)
        self.house.plugins.start()

    def hand(self, content, identity="6-1", **changes):
        return self.house.hand("ticket", SUPPORT, content, identity=identity, **changes).code

    @property
    def sent(self):
        return [(sender, recipient, str(message["Subject"])) for sender, recipient,
                message in self.server.sent]


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_each_message_gets_the_next_number(desk, tmp_path):
    assert desk.hand(LETTER, "6-1") == 250
    assert desk.sent == [("robot@example.org", SUPPORT, "[#1] Grüße"),
                         ("", "bob@example.net", "[#1] Grüße")]
    again = Desk(tmp_path)
    assert again.hand(letter(b"Two"), "6-2") == 250
    assert again.sent[0] == ("robot@example.org", SUPPORT, "[#2] Two")
    assert json.loads((tmp_path / "tickets.json").read_text()) == {"last": 2, "open": {}}


def test_the_answer_is_an_automatic_one_that_refers_to_the_message(desk):
    desk.hand(letter(b"One"))
    answer = desk.server.sent[1][2]
    assert answer["Auto-Submitted"] == "auto-replied" and answer["In-Reply-To"] == "<9@example.net>"
    assert answer.as_bytes().startswith(b"From: robot@example.org\nTo: bob@example.net\n")


def test_what_goes_on_is_the_message(desk):
    desk.hand(letter(b"One", b"X-Long: " + b"word " * 40 + b"\r\n"))
    octets = desk.server.sent[0][2].as_bytes()
    assert b"X-Long: " + b"word " * 40 + b"\n" in octets and octets.endswith(b"\n\nWords.\n")
    assert octets.count(b"Subject:") == 1


def test_a_reply_keeps_its_number_and_gets_no_other_answer(desk):
    desk.hand(letter(b"One"), "6-1")
    desk.server.sent.clear()
    desk.hand(letter(b"Re: [#1] One"), "6-2")
    assert desk.sent == [("robot@example.org", SUPPORT, "Re: [#1] One")]


@pytest.mark.parametrize("subject", [b"[#0] x", b"[#99] x", b"[#9999999999] x", b"[#x] x"])
def test_a_number_that_nobody_has_is_none(desk, subject):
    desk.hand(letter(subject))
    assert desk.sent[0][2] == "[#1] " + subject.decode()


@pytest.mark.parametrize("content, sender",
                         [(letter(b"One", b"Precedence: bulk\r\n"), BOB),
                          (letter(b"Bounce"), None)])
def test_programs_get_no_answer(desk, content, sender):
    desk.hand(content, sender=sender)
    assert [recipient for _, recipient, _ in desk.sent] == [SUPPORT]
    assert desk.sent[0][0] == ("robot@example.org" if sender else "")


def test_a_message_that_comes_again_gets_the_same_number(desk):
    def failing(*_):
        raise OSError("no room")

    desk.server.send_mail = failing
    assert desk.hand(letter(b"One"), "6-1") == 451
    del desk.server.send_mail
    assert desk.hand(letter(b"Two"), "6-2") == 250
    assert desk.hand(letter(b"One"), "6-1") == 250
    assert [sent[2] for sent in desk.sent] == ["[#2] Two", "[#2] Two", "[#1] One", "[#1] One"]


# The gateway


@pytest.fixture
def chat():
    module = load("gateway")
    room = module.Room()
    gateway = module.Gateway({"lobby": room})
    house = House({"chat": gateway})
    house.plugins.start()
    return types.SimpleNamespace(room=room, gateway=gateway, server=house.server,
                                 hand=lambda *values, **changes: house.hand(
                                     "chat", *values, **changes))


def test_mail_is_said_in_the_room(chat):
    assert chat.hand("lobby", LETTER + b"\r\n> quoted\r\n\r\n").code == 250
    assert chat.hand("", LETTER, tag="lobby").code == 250
    assert chat.room.said == [("bob@example.net", "Hello,\nrobot.")] * 2


@pytest.mark.parametrize("parameters, content, words", [
    ("attic", LETTER, "No such room"),
    ("lobby", b"Content-Type: text/html\r\n\r\n<p>x\r\n", "text"),
    ("lobby", b"Content-Type: text/plain; charset=nobodys\r\n\r\nx\r\n", "text"),
    ("lobby", b"\r\n> only quoted\r\n", "text")])
def test_what_can_not_be_said_goes_back(chat, parameters, content, words):
    reply = chat.hand(parameters, content)
    assert reply.code == 550 and words in reply.text and chat.room.said == []


def test_programs_do_not_talk(chat):
    assert chat.hand("lobby", LETTER, sender=None).code == 250 and chat.room.said == []


def test_what_is_said_goes_to_those_who_read_by_mail(chat):
    chat.gateway.send("lobby@example.org", ["bob@example.net"], "Alice", "Good morning.")
    (sender, recipients, message), = chat.server.sent
    assert (sender, recipients,
            message["Precedence"]) == ("lobby@example.org", ["bob@example.net"], "list")
    assert message.get_content() == "Good morning.\n"
