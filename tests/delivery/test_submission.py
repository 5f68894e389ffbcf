"""What a mail program sent, made complete (RFC 6409), and in whose name it may be."""
import email
import email.policy
import email.utils

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.delivery import recipient_replies, submission
from phenmail_protocols.delivery.recipient_replies import MessageRefused
from phenmail_protocols.mail.address import Address, ascii_domain

ANNA = Address("anna", "example.org")
OURS = ("example.org", "xn--bcher-kva.example")
DATE = b"Thu, 01 Jan 1970 00:00:00 +0000"
WHOLE = b"From: anna@example.org\r\nDate: x\r\nMessage-ID: <y>\r\n"


def whose(address, mine=(ANNA,)):
    if address in mine:
        return submission.OWN
    return submission.NEIGHBOURS if ascii_domain(address.domain) in OURS else submission.FOREIGN


def checked(header, sender=ANNA, mine=(ANNA,)):
    """(the header as it is kept, whether it may be signed)"""
    return submission.complete(header, sender, b"1.2", "example.org", DATE,
                               None if mine is None else lambda address: whose(address, mine))


def complete(*arguments, **options):
    return checked(*arguments, **options)[0]


def test_a_whole_header_stays_as_it_is():
    assert complete(
        WHOLE + b"Odd Line\r\nTo:\r\n x\r\n\r\n") == WHOLE + b"Odd Line\r\nTo:\r\n x\r\n\r\n"


def test_what_is_missing_is_added():
    assert complete(b"Subject: x\r\n\r\n") == (
        b"From: <anna@example.org>\r\nDate: " + DATE
        + b"\r\nMessage-ID: <1.2@example.org>\r\nSubject: x\r\n\r\n")
    assert b"From:" not in complete(b"\r\n", sender=None)
    assert complete(b"date: x\r\nFROM: anna@example.org\r\nmessage-id : z\r\n\r\n").startswith(
        b"date: x")


@pytest.mark.parametrize("field",
                         [b"Bcc: x@y\r\n", b"bcc:x@y,\r\n\tz@y\r\n", b"Resent-Bcc: x@y\r\n",
                          b"BCC : x@y\r\n", b"Return-Path: <x@y>\r\n"])
@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_who_was_told_in_secret_stays_secret(field, end):
    assert complete(field + WHOLE + field + b"To: z@y\r\n" + field
                    + end) == WHOLE + b"To: z@y\r\n" + end


@pytest.mark.parametrize("fields", [
    b"From: anna@example.org\r\n", b"From: =?utf-8?q?Anna?= <anna@EXAMPLE.org>\r\n",
    b"From: Us: anna@example.org, Anna <anna@example.org>;\r\n",
    b"From:\r\n anna@example.org (me)\r\n",
    b"Resent-From: anna@example.org\r\nFrom: other@example.net\r\n", b"",
])
def test_own_names(fields):
    assert complete(fields + b"\r\n")


@pytest.mark.parametrize("fields, answer", [
    (b"From: bert@example.org\r\n", recipient_replies.NOT_THE_AUTHOR),
    (b"From: anna@example.org, bert@example.org\r\n", recipient_replies.NOT_THE_AUTHOR),
    (b"From: anna@example.org\r\nfrom : bert@example.org\r\n", recipient_replies.NOT_THE_AUTHOR),
    (b"From: x: anna@example.org, bert@example.org;\r\n", recipient_replies.NOT_THE_AUTHOR),
    (b'From: "anna@example.org" <bert@example.org>\r\n', recipient_replies.NOT_THE_AUTHOR),
    (b"Sender: anna@example.org\r\nFrom: bert@example.org\r\n", recipient_replies.NOT_THE_AUTHOR),
    (b"Resent-From: bert@example.org\r\nFrom: anna@example.org\r\n",
     recipient_replies.NOT_THE_AUTHOR),
    (b"From: anna\r\n", recipient_replies.NOT_THE_AUTHOR),
    (b"From:\r\n", recipient_replies.NO_AUTHOR),
    (b"From: nobody:;\r\n", recipient_replies.NO_AUTHOR),
    # Where one program reads the first address and another the second, nobody knows in whose name
    # it is.
    (b"From: anna@example.org <bert@example.org>\r\n", recipient_replies.UNCLEAR_AUTHOR),
    (b"From: anna@example.org\r\n <bert@example.org>\r\n", recipient_replies.UNCLEAR_AUTHOR),
    (b"From: <anna@example.org> <bert@example.org>\r\n", recipient_replies.UNCLEAR_AUTHOR),
    (b"From: anna@example.org; bert@example.org\r\n", recipient_replies.UNCLEAR_AUTHOR),
    (b"From: anna@example.org) , bert@example.org\r\n", recipient_replies.UNCLEAR_AUTHOR),
    (b"From: Us: anna@example.org <bert@example.org>;\r\n", recipient_replies.UNCLEAR_AUTHOR),
    (b"From: <@bert@example.org:anna@example.org>\r\n", recipient_replies.UNCLEAR_AUTHOR),
])
def test_foreign_names(fields, answer):
    with pytest.raises(MessageRefused) as refused:
        complete(fields + b"\r\n")
    assert refused.value.reply is answer
    assert complete(fields + b"\r\n",
                    mine=None), "a program that holds the server may write in any name"


# bert is another user of this server.
AS_BERT = [
    b"From: bert@example.org", b"From: Bert <bert@example.org>", b"FROM: <bert@EXAMPLE.org>",
    b"from : bert@example.org",
    b"From\t:bert@example.org", b"From:bert@example.org", b"From: x@else.example, bert@example.org",
    b"From: Us: x@else.example, bert@example.org;", b"From: bert@example.org (anna@example.org)",
    b"From: (anna@example.org) bert@example.org", b'From: "bert"@example.org',
    b'From: "b\\ert"@example.org',
    b"From: bert (x) @ example . org", b"From:\r\n\tbert@example.org",
    b"From: =?utf-8?q?anna=40example.org?= <bert@example.org>",
    b"From: x@else.example\r\nFrom: bert@example.org",
    b"From: bert@example.org\r\nFrom: x@else.example",
    b"From: bert", b"From: Bert <bert>", b"From: <bert@>", b"From: <>",
    "From: bert@bücher.example".encode(),
    b"From: bert@xn--bcher-kva.example", "From: bert@BÜCHER.example".encode(),
    b"From: bert@example.org.",
    b"From: <@else.example:bert@example.org>", b"From: x@else.example <bert@example.org>",
    b"From: bert@example.org <x@else.example>",
    b"From: bert@example.org bert", b"From: <bert@example.org", b"From: Bert <bert@example.org> x",
    b"From: bert@example.org;",
    b"From: bert@example.org\x00", b"From: (bert@example.org",
    b"From: =?utf-8?q?bert=40example.org?=",
    b"From: <=?utf-8?q?bert=40example.org=00?=@else.example>", b"From:", b"From: Bert:;",
    b"From: b\xfcrt@example.org",
    b"From: bert@b\xfccher.example", b"Fro\x0bm: bert@example.org", b"From\x00: bert@example.org",
    b"\xef\xbb\xbfFrom: bert@example.org",
    b"From\xa0: bert@example.org", b"Fr om: bert@example.org", b"From\r\n : bert@example.org",
    b"Sender\r\n\t: bert@example.org",
    b"Sender: bert@example.org", b"SENDER : Bert <bert@example.org>",
    b"Sender: x@else.example\r\nSender: bert@example.org",
    b"Sender: bert", b"Sender: bert@example.org <x@else.example>", b"Resent-From: bert@example.org",
    b"Resent-Sender: bert@example.org", b"Resent-From: x@else.example, bert@example.org",
    b"resent-sender\t: <bert@example.org>",
]


@pytest.mark.parametrize("fields", AS_BERT)
@pytest.mark.parametrize("beside", [
    b"", b"From: anna@example.org\r\n", b"Resent-From: anna@example.org\r\n",
    b"Resent-From: anna@example.org\r\nResent-Sender: anna@example.org\r\n"
    b"From: anna@example.org\r\n"])
def test_nobody_writes_as_another_user(fields, beside):
    for header in (beside + fields + b"\r\n", fields + b"\r\n" + beside):
        with pytest.raises(MessageRefused):
            complete(header + b"To: z@y.example\r\n\r\n")
    assert complete(beside + fields + b"\r\n\r\n",
                    mine=None), "a program that holds the server may write in any name"


@pytest.mark.parametrize("length", [900, 1200, 100000])
def test_no_name_of_a_field_is_too_long_to_be_looked_at(length):
    with pytest.raises(MessageRefused) as refused:
        checked(b"%sFrom: bert@example.org\r\n" % (b"\1" * length) + WHOLE)
    assert refused.value.reply == recipient_replies.UNCLEAR_AUTHOR


@pytest.mark.parametrize("fields, is_taken", [
    (b"From: anna@example.org" + 999 * b",\r\n anna@example.org" + b"\r\n", True),
    (b"From: anna@example.org" + 1000 * b",\r\n anna@example.org" + b"\r\n", False),
    (b"From: anna@example.org\r\n" + 1000 * b"Sender:\r\n", False),
    (b"From: us: " + 9900 * b"anna@example.org," + b";\r\n", False),
    (b"From: x@elsewhere.example\r\n" + 1001 * b"Resent-From: anna@example.org\r\n", False),
    (b"From: anna@example.org\r\n" + 400 * b"Sender: a@elsewhere.example, b@elsewhere.example,"
     b"c@elsewhere.example\r\n", False)])
def test_so_many_authors_that_nobody_asks_whose_they_are(fields, is_taken):
    asked = []

    def whose_is(found):
        asked.append(found)
        return whose(found)
    try:
        submission.complete(fields + b"\r\n", ANNA, b"1.2", "example.org", DATE, whose_is)
    except MessageRefused as refused:
        assert refused.reply == recipient_replies.TOO_MANY_AUTHORS and not is_taken
    else:
        assert is_taken
    assert len(asked) <= 1000


@pytest.mark.parametrize("fields, may_sign", [
    (b"From: anna@example.org\r\n", True),
    (b"From: anna@example.org\r\nSender: anna@example.org\r\n", True),
    (b"From: anna@example.org\r\nSender: anna@laptop.example\r\n", True),
    (b"From: anna@example.org\r\nResent-From: anna@example.org\r\n", True),
    (b"Resent-From: anna@example.org\r\n", True),
    (b"From: x@else.example\r\nResent-From: anna@example.org\r\n", False),
    (b"From: x@else.example\r\nSender: y@else.example\r\nResent-From: anna@example.org\r\n", False),
    (b"From: anna@example.org, x@else.example\r\nResent-From: anna@example.org\r\n", False),
    (b"From: anna@example.org\r\nFrom: x@else.example\r\nResent-From: anna@example.org\r\n", False),
    (b"From: x@sub.example.org\r\nResent-From: anna@example.org\r\n", False),
    (b"From: x@else.example\r\nResent-From: anna@example.org\r\nResent-From: y@else.example\r\n",
     False),
])
def test_an_author_from_elsewhere_may_be_sent_on_but_is_not_signed(fields, may_sign):
    assert checked(fields + b"\r\n")[1] is may_sign
    assert checked(fields + b"\r\n", mine=None)[1]


@pytest.mark.parametrize("fields", [
    b"From: x@else.example\r\n", b"From: x@sub.example.org\r\n",
    b"From: x@else.example\r\nSender: anna@example.org\r\n",
    b"From: x@else.example\r\nResent-Sender: anna@example.org\r\n",
    b"From: x@else.example\r\nResent-From: y@else.example\r\n",
    b"From: x@else.example\r\nResent-From: y@else.example\r\nResent-From: anna@example.org\r\n",
    b"From: x@else.example\r\nResent-From:\r\n",
    b"From: x@else.example\r\nResent-From: anna@example.org, y@else.example\r\n",
])
def test_only_who_sends_it_on_may_bring_an_author_from_elsewhere(fields):
    with pytest.raises(MessageRefused):
        complete(fields + b"\r\n")


PIECES = st.lists(st.sampled_from([
    b"From:", b"From :", b"Sender:", b"Resent-From:", b"Resent-Sender: ", b"\r\n", b"\r\n ", b" ",
    b"<", b">", b",", b";", b":", b"(", b")",
    b'"', b"\\", b"@", b".", b"bert", b"anna", b"example.org", b"bert@example.org",
    b"<bert@example.org>", b"anna@example.org",
    b"<anna@example.org>", b"=?utf-8?q?bert=40example.org?=", b"x@else.example", b"\xc3\xbc", b"[",
    b"]", b"\0", b"\x0b"]), max_size=24)


@given(PIECES, st.booleans())
@settings(max_examples=600, deadline=None)
def test_no_other_reader_sees_another_user(pieces, is_resent):
    """Whatever is let through, Python's own readers find no address of another user in it."""
    resent = b"Resent-From: anna@example.org\r\n" * is_resent
    header = resent + b"From:" + b"".join(pieces) + b"\r\n\r\n"
    header = header[:header.find(b"\r\n\r\n") + 4]
    try:
        kept = complete(header)
    except MessageRefused:
        return
    for policy in (email.policy.compat32, email.policy.default):
        assert "bert@example.org" not in _read_by_python(kept, policy), kept


def _read_by_python(header, policy):
    found = set()
    message = email.message_from_bytes(header, policy=policy)
    for name in ("From", "Sender", "Resent-From", "Resent-Sender"):
        try:
            for value in message.get_all(name, ()):
                if policy is email.policy.default:
                    found |= {each.addr_spec for each in value.addresses}
                else:
                    found |= {spec for _, spec in email.utils.getaddresses([str(value)])}
        except Exception:  # the package fails at some input, in each version at another
            pass
    return found


@pytest.mark.parametrize("fields, sender, added", [
    (b"From: anna@example.org\r\n", ANNA, False),
    (b"From: info@EXAMPLE.ORG\r\n", ANNA, False),
    (b"From: anna@example.org, info@example.org\r\n", ANNA, True),
    (b"From: somebody@elsewhere.example\r\n", ANNA, True),
    (b"From: somebody@elsewhere.example\r\nSENDER: x@y.example\r\n", ANNA, False),
    (b"From: somebody@elsewhere.example\r\nResent-From: anna@example.org\r\n", ANNA, False),
    (b"From: somebody@elsewhere.example\r\n", None, False),
    (b"From: anna@example.org <x@elsewhere.example>\r\n", ANNA, False),
    (b"", ANNA, False),
])
def test_who_sent_it_is_added_where_the_author_is_somebody_else(fields, sender, added):
    assert complete(fields + b"\r\n", sender,
                    mine=None).startswith(b"Sender: <anna@example.org>\r\n") is added
