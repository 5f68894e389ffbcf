"""What a mail program sent, made complete (RFC 6409), and in whose name it may be."""
import pytest

from phenmail_protocols.delivery import answers, submission
from phenmail_protocols.delivery.answers import Refused
from phenmail_protocols.mail.address import Address

ANNA = Address("anna", "example.org")
DATE = b"Thu, 01 Jan 1970 00:00:00 +0000"
WHOLE = b"From: anna@example.org\r\nDate: x\r\nMessage-ID: <y>\r\n"


def complete(header, sender=ANNA, mine=(ANNA,)):
    return submission.complete(header, sender, b"1.2", "example.org", DATE, None if mine is None else lambda address: address in mine)


def test_a_whole_header_stays_as_it_is():
    assert complete(WHOLE + b"Odd Line\r\nTo:\r\n x\r\n\r\n") == WHOLE + b"Odd Line\r\nTo:\r\n x\r\n\r\n"


def test_what_is_missing_is_added():
    assert complete(b"Subject: x\r\n\r\n") == (
        b"From: <anna@example.org>\r\nDate: " + DATE + b"\r\nMessage-ID: <1.2@example.org>\r\nSubject: x\r\n\r\n")
    assert b"From:" not in complete(b"\r\n", sender=None)
    assert complete(b"date: x\r\nFROM: anna@example.org\r\nmessage-id : z\r\n\r\n").startswith(b"date: x")


@pytest.mark.parametrize("field", [b"Bcc: x@y\r\n", b"bcc:x@y,\r\n\tz@y\r\n", b"Resent-Bcc: x@y\r\n", b"BCC : x@y\r\n", b"Return-Path: <x@y>\r\n"])
@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_who_was_told_in_secret_stays_secret(field, end):
    assert complete(field + WHOLE + field + b"To: z@y\r\n" + field + end) == WHOLE + b"To: z@y\r\n" + end


@pytest.mark.parametrize("fields", [
    b"From: anna@example.org\r\n", b"From: =?utf-8?q?Anna?= <anna@EXAMPLE.org>\r\n", b"From: Us: anna@example.org, Anna <anna@example.org>;\r\n",
    b"From:\r\n anna@example.org (me)\r\n", b"Resent-From: anna@example.org\r\nFrom: other@example.net\r\n", b"",
])
def test_own_names(fields):
    assert complete(fields + b"\r\n")


@pytest.mark.parametrize("fields, answer", [
    (b"From: bert@example.org\r\n", answers.NOT_THE_AUTHOR),
    (b"From: anna@example.org, bert@example.org\r\n", answers.NOT_THE_AUTHOR),
    (b"From: anna@example.org\r\nfrom : bert@example.org\r\n", answers.NOT_THE_AUTHOR),
    (b"From: x: anna@example.org, bert@example.org;\r\n", answers.NOT_THE_AUTHOR),
    (b'From: "anna@example.org" <bert@example.org>\r\n', answers.NOT_THE_AUTHOR),
    (b"Sender: anna@example.org\r\nFrom: bert@example.org\r\n", answers.NOT_THE_AUTHOR),
    (b"Resent-From: bert@example.org\r\nFrom: anna@example.org\r\n", answers.NOT_THE_AUTHOR),
    (b"From: anna\r\n", answers.NOT_THE_AUTHOR),
    (b"From:\r\n", answers.NO_AUTHOR),
    (b"From: nobody:;\r\n", answers.NO_AUTHOR),
    # Where one program reads the first address and another the second, nobody knows in whose name it is.
    (b"From: anna@example.org <bert@example.org>\r\n", answers.UNCLEAR_AUTHOR),
    (b"From: anna@example.org\r\n <bert@example.org>\r\n", answers.UNCLEAR_AUTHOR),
    (b"From: <anna@example.org> <bert@example.org>\r\n", answers.UNCLEAR_AUTHOR),
    (b"From: anna@example.org; bert@example.org\r\n", answers.UNCLEAR_AUTHOR),
    (b"From: anna@example.org) , bert@example.org\r\n", answers.UNCLEAR_AUTHOR),
    (b"From: Us: anna@example.org <bert@example.org>;\r\n", answers.UNCLEAR_AUTHOR),
    (b"From: <@bert@example.org:anna@example.org>\r\n", answers.UNCLEAR_AUTHOR),
])
def test_foreign_names(fields, answer):
    with pytest.raises(Refused) as refused:
        complete(fields + b"\r\n")
    assert refused.value.answer is answer
    assert complete(fields + b"\r\n", mine=None), "a program that holds the server may write in any name"


@pytest.mark.parametrize("fields, sender, added", [
    (b"From: anna@example.org\r\n", ANNA, False),
    (b"From: info@EXAMPLE.ORG\r\n", ANNA, False),
    (b"From: anna@example.org, info@example.org\r\n", ANNA, True),
    (b"From: somebody@elsewhere.example\r\n", ANNA, True),
    (b"From: somebody@elsewhere.example\r\nSENDER: x@y.example\r\n", ANNA, False),
    (b"From: somebody@elsewhere.example\r\n", None, False),
    (b"From: anna@example.org <x@elsewhere.example>\r\n", ANNA, False),
    (b"", ANNA, False),
])
def test_who_sent_it_is_added_where_the_author_is_somebody_else(fields, sender, added):
    assert complete(fields + b"\r\n", sender, mine=None).startswith(b"Sender: <anna@example.org>\r\n") is added
