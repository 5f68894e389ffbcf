"""The built-in plugin `mail`: it answers people, with their message, and never answers itself."""
import email
import email.policy
import io
import types

import pytest

from phenmail_protocols.delivery.sending import MailRefused
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Outcome, Reply
from phenmail_protocols.plugins import email_message
from phenmail_protocols.plugins.answer_rate import IN_ALL, TO_ONE, AnswerRate
from phenmail_protocols.plugins.echo import Echo
from phenmail_protocols.queue.model import Message
from tests.plugins.pluginhouse import BOB, LETTER, NOW, ROBOT, House


def echoed(**changes):
    """What a message is answered with: (its envelope's sender and recipient, the parsed answer), or
    None."""
    house = House()
    assert house.hand("mail", **changes).code == 250
    if not house.server.sent:
        return None
    (sender, recipient, octets), = house.server.sent
    return sender, recipient, email.message_from_bytes(octets, policy=email.policy.default)


def test_an_acknowledgment_contains_the_message():
    sender, recipient, answer = echoed()
    assert (sender, recipient) == ("", "bob@example.net")
    assert answer["From"] == "robot@example.org" and answer["To"] == "bob@example.net"
    assert answer["Subject"] == "Auto: Grüße" and answer["Auto-Submitted"] == "auto-replied"
    assert answer["In-Reply-To"] == answer["References"] == "<1@example.net>"
    text, original = answer.iter_parts()
    assert "robot@example.org" in text.get_content()
    assert original.get_content_type() == "message/rfc822"
    content = original.get_content()
    assert content["Message-ID"] == "<1@example.net>"
    assert content.get_content() == "Hello,\nrobot.\n"


def test_a_large_message_comes_back_as_its_header():
    _, _, answer = echoed(content=LETTER + b"x" * 70 + b"\r\n" + b"y" * 300000)
    _, original = answer.iter_parts()
    assert original.get_content_type() == "text/rfc822-headers"
    assert "<1@example.net>" in original.get_content()


@pytest.mark.parametrize("content",
                         [LETTER + b"\xc3\xbc\r\n", b"Subject: \xc3\xbc\r\n\r\n\xff\r\n", b"",
                          b"no header\r\n", b"\r\n"])
def test_whatever_comes_is_echoed(content):
    _, _, answer = echoed(content=content, smtputf8=True)
    text, original = answer.iter_parts()
    assert original.get_content_maintype() == "message" and "arrived" in text.get_content()


def test_addresses_outside_ascii_stay_readable():
    _, recipient, answer = echoed(sender=Address("bob", "bücher.example"),
                                  recipient=Address("büro", "example.org"))
    assert recipient == "bob@bücher.example" and answer["To"] == "bob@xn--bcher-kva.example"
    assert "büro@example.org" in next(answer.iter_parts()).get_content()


@pytest.mark.parametrize("changes", [
    dict(sender=None), dict(sender=ROBOT), dict(sender=Address("ROBOT", "example.org")),
    dict(sender=Address("owner-list", "example.net")),
    dict(content=b"Auto-Submitted: auto-replied\r\n" + LETTER),
    dict(content=b"Precedence: bulk\r\n" + LETTER),
    dict(content=b"List-Id: <a.b>\r\n" + LETTER)])
def test_programs_are_not_answered(changes):
    assert echoed(**changes) is None


def test_its_own_answer_is_not_answered():
    _, _, answer = echoed()
    wire = answer.as_bytes().replace(b"\n", b"\r\n")
    assert echoed(content=wire) is None
    assert echoed(content=wire, sender=None) is None


def test_a_message_whose_header_hides_the_mark_behind_many_fields_is_still_known():
    assert echoed(content=b"X-Fill: " + b"x" * 200000 + b"\r\nAuto-Submitted: auto-replied\r\n"
                  + LETTER) is None


def answered(house, times, **changes):
    """How many of so many messages are answered; each has its name, as `number` of the changes'
    functions has it."""
    before = len(house.server.sent)
    for number in range(times):
        values = {key: value(number) for key, value in changes.items()}
        values.setdefault("identity", "6-%d" % len(house.server.sent) + "-%d" % number)
        assert house.hand("mail", **values).code == 250
    return len(house.server.sent) - before


def tagged(number, domain="example.net", local="v"):
    return Address("%s+%d" % (local, number), domain)


@pytest.mark.parametrize("changes", [
    {}, dict(sender=lambda number: tagged(number)),
    dict(recipient=lambda number: tagged(number, "example.org", "robot")),
    dict(sender=lambda number: Address("bOb"[:2] + "bB"[number % 2], "example.net")),
    dict(sender=lambda number: Address("bob",
                                       ("xn--bcher-kva.example", "bücher.example")[number % 2])),
    dict(recipient=lambda number: Address("any%d" % number, "example.org"))])
def test_a_sender_gets_few_answers_in_an_hour_whatever_the_tags_are(changes):
    house = House()
    assert answered(house, 30, **changes) == TO_ONE


def test_all_senders_together_have_a_bound_and_an_hour_later_it_goes_on():
    now = [0.0]
    house = House(clock=lambda: now[0])
    assert answered(house, IN_ALL + 30,
                    sender=lambda number: Address("user%d" % number, "example.net")) == IN_ALL
    now[0] += 3601.0
    assert answered(house, 30,
                    sender=lambda number: Address("user%d" % number, "example.net")) == 30


def test_a_message_that_comes_again_counts_once():
    house = House()
    # what it answered before is not known
    assert answered(house, 30, identity=lambda number: "6-1") == 30
    assert answered(house, 30, identity=lambda number: "7-%d" % number) == TO_ONE - 1


def test_what_is_remembered_of_answers_is_bounded():
    rate = AnswerRate(lambda: 0.0)
    for number in range(100000):
        rate.take("responder %d" % (number % 1000), "sender%d@example.net" % number,
                  "6-%d" % number)
    assert len(rate._answers) <= 256 and max(map(len, rate._answers.values())) <= IN_ALL


def test_an_address_does_not_answer_itself_under_another_tag():
    assert echoed(sender=Address("Robot+x", "example.org"),
                  recipient=Address("robot+y", "example.org")) is None


@pytest.mark.parametrize("code, again", [(451, True), (553, False)])
def test_whom_mail_can_not_reach(code, again):
    def send_mail(*_):
        raise MailRefused("no", [Outcome(BOB, Reply(code, "%d.0.0" % (code // 100), "no"))])

    echo = Echo()
    echo.start(types.SimpleNamespace(send_mail=send_mail))
    letter = email_message.read(Message("6-1", BOB, (), NOW), io.BytesIO(LETTER), ROBOT, None)
    if again:
        with pytest.raises(MailRefused):
            echo.mail_received(*letter, parameters="")
    else:
        echo.mail_received(*letter, parameters="")
