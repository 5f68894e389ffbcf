"""The world outside: takes what it is given, as it is; refuses whom it is told to."""
import smtplib
import threading

import pytest

from phenmail_protocols.testing.catcher import Catcher


@pytest.fixture
def outside():
    catcher = Catcher()
    yield catcher
    catcher.close()
    assert [thread.name for thread in threading.enumerate() if "outside" in thread.name] == []


def test_what_is_sent_is_kept_as_it_was(outside):
    with smtplib.SMTP(*outside.address) as client:
        client.sendmail("me@example.org", ["you@far.example", "and@near.example"],
                        b"Subject: x\r\n\r\n.dot\r\n..two\r\n.\r\n\xff\r\n")
        client.sendmail("", ["you@far.example"], b"Subject: y\r\n\r\n")
    one, two = outside.sent
    assert one == ("me@example.org", ("you@far.example", "and@near.example"),
                   b"Subject: x\r\n\r\n.dot\r\n..two\r\n.\r\n\xff\r\n")
    assert (two.sender, two.recipients) == ("", ("you@far.example",))


def test_parameters_are_no_part_of_the_address(outside):
    with smtplib.SMTP(*outside.address) as client:
        assert client.ehlo()[0] == 250 and client.has_extn("smtputf8")
        assert client.has_extn("8bitmime")
        client.mail('"a>b"@example.org', ["BODY=8BITMIME", "SIZE=10"])
        client.rcpt("u@far.example")
        client.data(b"x: y\r\n\r\n")
    assert outside.sent[0].sender == '"a>b"@example.org'


def test_who_is_refused(outside):
    outside.answer("no@far.example", "550 5.1.1 No such user")
    with smtplib.SMTP(*outside.address) as client:
        assert client.sendmail("", ["NO@far.example", "yes@far.example"], b"a: b\r\n\r\n") == {
            "NO@far.example": (550, b"5.1.1 No such user")}
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("", ["no@far.example"], b"a: b\r\n\r\n")
        outside.answer("no@far.example", None)
        client.sendmail("", ["no@far.example"], b"a: b\r\n\r\n")
    assert [each.recipients for each in outside.sent] == [("yes@far.example",), ("no@far.example",)]


def test_odd_orders_do_no_harm(outside):
    with smtplib.SMTP(*outside.address) as client:
        assert client.docmd("DATA")[0] == 554
        assert client.docmd("NOOP")[0] == 250
        client.mail("x@example.org")
        client.rcpt("u@far.example")
        client.rset()
        assert client.docmd("DATA")[0] == 554
        client.mail("x@example.org")
        client.rcpt("u@far.example")
        assert client.docmd("DATA")[0] == 354
        client.send(b"half of a mess")
        client.close()
    assert outside.sent == []


def test_wait(outside):
    assert outside.wait(1, 0.01) == [] == outside.wait(0, 10)

    def send():
        with smtplib.SMTP(*outside.address) as client:
            client.sendmail("", ["u@far.example"], b"a: b\r\n\r\n")
    thread = threading.Thread(target=send)
    thread.start()
    assert len(outside.wait(1, 10)) == 1
    thread.join(5)
