"""The built-in plugin `mail`: it answers people, with their message, and never answers itself."""
import email
import email.policy
import io
import types

import pytest

from phenmail_protocols.delivery import pluginmail
from phenmail_protocols.delivery.answers import Outcome
from phenmail_protocols.delivery.echo import Echo
from phenmail_protocols.delivery.sending import MailRefused
from phenmail_protocols.mail.address import Address
from phenmail_protocols.relay.model import Message
from tests.delivery.pluginhouse import BOB, LETTER, NOW, ROBOT, House


def echoed(**changes):
    """What a message is answered with: (its envelope's sender and recipient, the parsed answer), or None."""
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
    assert content["Message-ID"] == "<1@example.net>" and content.get_content() == "Hello,\nrobot.\n"


def test_a_large_message_comes_back_as_its_header():
    _, _, answer = echoed(content=LETTER + b"x" * 70 + b"\r\n" + b"y" * 300000)
    _, original = answer.iter_parts()
    assert original.get_content_type() == "text/rfc822-headers" and "<1@example.net>" in original.get_content()


@pytest.mark.parametrize("content", [LETTER + b"\xc3\xbc\r\n", b"Subject: \xc3\xbc\r\n\r\n\xff\r\n", b"", b"no header\r\n", b"\r\n"])
def test_whatever_comes_is_echoed(content):
    _, _, answer = echoed(content=content, smtputf8=True)
    text, original = answer.iter_parts()
    assert original.get_content_maintype() == "message" and "arrived" in text.get_content()


def test_addresses_outside_ascii_stay_readable():
    _, recipient, answer = echoed(sender=Address("bob", "bücher.example"), recipient=Address("büro", "example.org"))
    assert recipient == "bob@bücher.example" and answer["To"] == "bob@xn--bcher-kva.example"
    assert "büro@example.org" in next(answer.iter_parts()).get_content()


@pytest.mark.parametrize("changes", [
    dict(sender=None), dict(sender=ROBOT), dict(sender=Address("ROBOT", "example.org")), dict(sender=Address("owner-list", "example.net")),
    dict(content=b"Auto-Submitted: auto-replied\r\n" + LETTER), dict(content=b"Precedence: bulk\r\n" + LETTER),
    dict(content=b"List-Id: <a.b>\r\n" + LETTER)])
def test_programs_are_not_answered(changes):
    assert echoed(**changes) is None


def test_its_own_answer_is_not_answered():
    _, _, answer = echoed()
    wire = answer.as_bytes().replace(b"\n", b"\r\n")
    assert echoed(content=wire) is None
    assert echoed(content=wire, sender=None) is None


def test_a_message_whose_header_hides_the_mark_behind_many_fields_is_still_known():
    assert echoed(content=b"X-Fill: " + b"x" * 200000 + b"\r\nAuto-Submitted: auto-replied\r\n" + LETTER) is None


@pytest.mark.parametrize("code, again", [(451, True), (553, False)])
def test_whom_mail_can_not_reach(code, again):
    def send_mail(*_):
        raise MailRefused("no", [Outcome(BOB, code, "%d.0.0" % (code // 100), "no")])

    echo = Echo()
    echo.start(types.SimpleNamespace(send_mail=send_mail))
    letter = pluginmail.read(Message("6-1", BOB, (), NOW), io.BytesIO(LETTER), ROBOT, None)
    if again:
        with pytest.raises(MailRefused):
            echo.mail_received(*letter, parameters="")
    else:
        echo.mail_received(*letter, parameters="")
