"""Who gets which report, what is returned, and what happens when a report cannot be kept."""
import email
import email.policy
import io
import logging

import pytest

from phenmail_protocols.config.settings import Bounce
from phenmail_protocols.mail import envelope as envelopes
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.bounces import RETURNED_WHOLE, Reporter
from phenmail_protocols.queue.model import (
    DELAYED,
    DELIVERED,
    DONE,
    EXPANDED,
    FAILED,
    RELAYED,
    WAITING,
    Message,
    Recipient,
    Unreachable,
)

NOW = 1720000000.0
ANN, BOB, POSTMASTER = (
    Address("ann", "example.com"), Address("bob", "example.net"),
    Address("postmaster", "mail.example.org"))
HEADER = b"From: ann@example.com\r\nSubject: Lunch?\r\nMessage-ID: <one@example.com>\r\n\r\n"
REFUSED = Recipient(
    BOB, (), None,
    DONE,
    Reply(550, "5.1.1", "No such user", "mx.example.net", "550 5.1.1 No such user"), 1,
    last=NOW - 60, owed=FAILED)
BUSY = Unreachable(Reply(451, "4.3.1", "No room"))
REFUSED_HERE = Unreachable(Reply(550, "5.2.1", "This address is disabled"))


class Configuration:
    """What of the settings a Reporter asks for."""
    sender_domain = "mail.example.org"
    bounce = Bounce()


class House:
    """A Reporter and what it sent: (envelope, message as Python's email reads it, octets) each."""

    def __init__(self, *answers):
        """`answers`: for each notice None, or what its delivery raises."""
        self.sent = []
        self._answers = list(answers)
        self.configuration = Configuration()
        self.reporter = Reporter(lambda: self.configuration, self._send, lambda: NOW)

    def _send(self, envelope, chunks):
        answer = self._answers.pop(0) if self._answers else None
        if answer is not None:
            raise answer
        data = b"".join(chunks)
        self.sent.append(
            (envelope, email.message_from_bytes(data, policy=email.policy.default), data))

    def report(self, recipients=(REFUSED,), content=HEADER + b"At noon.\r\n", **changes):
        """Reports and gives the one notice; `changes` are the Message's."""
        head = changes.pop("head", b"")
        message = Message("5f.1", ANN, (), NOW - 3600, head, len(head) + len(content))._replace(
            **changes)
        body = io.BytesIO(content)
        body.seek(7)  # wherever it stands
        self.reporter.report(message, recipients, body)
        assert not body.closed
        return self.sent[-1] if self.sent else None


def about(notice):
    """The fields of the first recipient."""
    return dict(list(notice[1].iter_parts())[1].get_payload(1).items())


def returned(notice):
    return list(notice[1].iter_parts())[2]


def test_a_failure_goes_to_the_sender_from_nobody():
    notice = House().report()
    assert notice[0] == envelopes.Envelope(None, (envelopes.Recipient(ANN),))
    assert notice[1]["To"].addresses[0].addr_spec == "ann@example.com"
    assert notice[1]["From"].addresses[0].addr_spec == "postmaster@mail.example.org"
    assert (
        notice[1]["Date"].datetime.timestamp() == NOW
        and notice[1]["In-Reply-To"] == "<one@example.com>")
    assert (about(notice)["Status"], about(notice)["Diagnostic-Code"]) == (
        "5.1.1", "smtp; 550 5.1.1 No such user")


@pytest.mark.parametrize(
    "reply, expected",
    [
        (Reply(554, "5.0.0", "no", "mx.example.net", "554 no"), "smtp; 554 no"),
        (
            Reply(550, "5.1.1", "a b", "mx.example.net", "550-5.1.1 a 550 5.1.1 b"),
            "smtp; 550-5.1.1 a 550 5.1.1 b"),
        (
            Reply(554, "5.0.0", "caf\u00e9", "mx.example.net", "554 caf\u00e9 \ufffd"),
            "smtp; 554 caf? ?"),
        (Reply(554, "5.6.3", "8-bit"), "X-phenmail; 554 5.6.3 8-bit"),
        (
            Reply(454, "4.7.0", "refuses the login", "mx.example.net"),
            "X-phenmail; 454 4.7.0 refuses the login")])
def test_the_servers_own_words(reply, expected):
    """RFC 3464 2.3.6."""
    assert about(House().report((REFUSED._replace(reply=reply),)))["Diagnostic-Code"] == expected


def test_all_that_failed_stand_in_one_notice():
    house = House()
    house.report(
        [REFUSED._replace(address=Address("user%d" % number, "example.net")) for number in range(5)]
    )
    (_, message, _), = house.sent
    assert len(list(message.iter_parts())[1].get_payload()) == 6


def test_the_configurations_words_are_asked_for_each_time():
    house = House()
    house.configuration.bounce = Bounce("Lost", "So sorry: {reason}")
    notice = house.report()
    assert notice[1]["Subject"] == "Lost" and "So sorry:   <bob@example.net>" in notice[2].decode()


@pytest.mark.parametrize(
    "owed, reply, status, action",
    [
        (FAILED, Reply(550, "5.2.1", "x"), "5.2.1", "failed"),
        (FAILED, Reply(550, "4.2.1", "x"), "5.2.1", "failed"),
        (FAILED, Reply(451, "4.2.2", "x"), "4.2.2", "failed"),
        (FAILED, Reply(451, "4.0.0", "x"), "4.4.7", "failed"), (FAILED, None, "5.0.0", "failed"),
        (DELAYED, Reply(451, "4.7.1", "x"), "4.7.1", "delayed"),
        (RELAYED, Reply(250, "2.1.5", "x"), "2.1.5", "relayed"),
        (DELIVERED, Reply(250, "2.0.0", "x"), "2.0.0", "delivered"),
        (EXPANDED, None, "2.0.0", "expanded")])
def test_the_status_fits_the_action(owed, reply, status, action):
    fields = about(House().report([REFUSED._replace(owed=owed, reply=reply)]))
    assert (fields["Status"], fields["Action"]) == (status, action)


def test_a_delay_says_until_when():
    greylisted = Reply(451, "4.7.1", "Greylisted", "mx.example.net")
    late = REFUSED._replace(status=WAITING, owed=DELAYED, waited=14400.0, reply=greylisted)
    until = email.utils.parsedate_to_datetime(
        about(House().report([late]))["Will-Retry-Until"]).timestamp()
    assert until == NOW + 5 * 86400 - 14400


@pytest.mark.parametrize(
    "owed, ret, size, media_type",
    [
        (FAILED, None, 200, "message/rfc822"), (FAILED, "FULL", 200, "message/rfc822"),
        (FAILED, "HDRS", 200, "text/rfc822-headers"),
        (FAILED, None, RETURNED_WHOLE, "message/rfc822"),
        (FAILED, "FULL", RETURNED_WHOLE + 1, "text/rfc822-headers"),
        (FAILED, None, 5000000, "text/rfc822-headers"),
        (DELAYED, "FULL", 200, "text/rfc822-headers"), (RELAYED, None, 200, "text/rfc822-headers")])
def test_what_is_returned(owed, ret, size, media_type):
    head = b"DKIM-Signature: v=1\r\n"
    content = HEADER + b"x" * (size - len(HEADER) - len(head))
    notice = House().report([REFUSED._replace(owed=owed)], content, ret=ret, head=head)
    part = returned(notice)
    assert part.get_content_type() == media_type
    assert head + HEADER in notice[2], "the fields that stand before the file are missing"
    assert (b"x" * 10 in notice[2]) == (media_type == "message/rfc822")
    assert len(notice[2]) < RETURNED_WHOLE + 5000


def test_a_header_without_end_is_cut_at_a_line():
    notice = House().report(content=b"Subject: x\r\n" * 100000)
    assert RETURNED_WHOLE - 12 <= len(returned(notice).get_content()) <= RETURNED_WHOLE
    assert notice[2].count(b"Subject: x") == RETURNED_WHOLE // 12
    assert returned(House().report(content=b"x" * 100000)).get_content() == ""


@pytest.mark.parametrize("content, smtputf8, sender, body, needs_utf8", [
    (HEADER, False, ANN, None, False), (HEADER + b"caf\xe9\r\n", False, ANN, "8BITMIME", False),
    (HEADER + b"\xc3\xa9\r\n", True, ANN, "8BITMIME", False),
    (HEADER, True, Address("\u00e4nn", "example.com"), "8BITMIME", True)])
def test_the_envelope_says_what_the_notice_needs(content, smtputf8, sender, body, needs_utf8):
    envelope = House().report(content=content, smtputf8=smtputf8, sender=sender)[0]
    assert (envelope.body, envelope.smtputf8) == (body, needs_utf8)


def test_a_sender_whose_domain_has_other_letters_is_reached_without_smtputf8():
    envelope = House().report(sender=Address("ann", "b\u00fccher.example"))[0]
    assert (
        envelope.recipients[0].address == Address("ann", "xn--bcher-kva.example")
        and not envelope.smtputf8)


def test_a_repetition_has_the_same_name_and_another_notice_another():
    def name(*arguments, **changes):
        return House().report(*arguments, **changes)[1]["Message-ID"]
    eve = REFUSED._replace(address=Address("eve", "example.net"))
    assert name([REFUSED, eve]) == name([eve, REFUSED])
    assert (
        len(
            {
                name([REFUSED]), name([eve]), name([REFUSED._replace(owed=DELAYED)]),
                name([REFUSED], identity="5f.2"), name([REFUSED], sender=None)})
        == 5)
    assert name(identity="../x y\r\n") == name(identity="../x y\r\n")


def test_the_boundary_cannot_be_foreseen():
    assert House().report()[1].get_boundary() != House().report()[1].get_boundary()


def test_a_bounce_that_fails_is_told_to_the_postmaster():
    notice = House().report(sender=None)
    assert notice[0] == envelopes.Envelope(None, (envelopes.Recipient(POSTMASTER, ("NEVER",)),))
    assert notice[1]["Subject"] == "Notice not delivered: Lunch?"


@pytest.mark.parametrize("owed", [DELAYED, RELAYED, DELIVERED, EXPANDED])
def test_the_null_sender_hears_of_nothing_else(owed):
    assert House().report([REFUSED._replace(owed=owed)], sender=None) is None


@pytest.mark.parametrize(
    "address", [POSTMASTER, Address("Postmaster", "mail.example.org"), Address("postmaster", "")])
def test_a_double_bounce_that_fails_is_told_to_nobody(address, caplog):
    with caplog.at_level(logging.ERROR, "phenmail.relay"):
        assert House().report([REFUSED._replace(address=address)], sender=None) is None
    assert "nobody accepts a bounce" in caplog.text


def test_a_notice_that_finds_no_room_now_is_owed_still():
    house = House(BUSY)
    with pytest.raises(Unreachable) as caught:
        house.report()
    assert caught.value is BUSY and not house.sent


def test_a_disk_that_fails_is_no_reason_to_forget():
    with pytest.raises(Unreachable) as caught:
        House(OSError(5, "Input/output error")).report()
    assert caught.value.reply.code == 451


def test_a_sender_who_takes_no_mail_has_a_postmaster():
    house = House(REFUSED_HERE)
    notice = house.report()
    assert notice[0].recipients[0].address == POSTMASTER and len(house.sent) == 1
    assert House(REFUSED_HERE).report([REFUSED._replace(owed=DELAYED)]) is None


def test_the_postmaster_may_be_busy_too():
    house = House(REFUSED_HERE, BUSY)
    with pytest.raises(Unreachable):
        house.report()


def test_where_nobody_takes_it_the_log_does(caplog):
    with caplog.at_level(logging.ERROR, "phenmail.relay"):
        assert House(REFUSED_HERE, REFUSED_HERE).report() is None
    assert (
        "the postmaster does not accept the bounce" in caplog.text
        and "nobody accepts a bounce" in caplog.text)


def test_what_is_delivered_here_is_told_to_who_asked():
    house = House()
    readers = (envelopes.Recipient(BOB, ("SUCCESS",), "rfc822;bob@example.net"),
               envelopes.Recipient(Address("eve", "example.net"), ("FAILURE",)))
    arriving = envelopes.Envelope(ANN, readers, "FULL", "QQ314")
    house.reporter.delivered("5f.1", arriving, readers, HEADER, NOW - 1)
    (envelope, message, _), = house.sent
    assert envelope.recipients[0].address == ANN and message["Subject"] == "Delivered: Lunch?"
    status = list(message.iter_parts())[1].get_payload()
    assert len(status) == 2 and status[0]["Original-Envelope-Id"] == "QQ314"
    assert (
        status[1]["Action"] == "delivered"
        and status[1]["Original-Recipient"] == "rfc822; bob@example.net")
    assert returned(house.sent[0]).get_content_type() == "text/rfc822-headers"


def test_nobody_hears_of_a_delivery_who_did_not_ask():
    house = House()
    asked, did_not = envelopes.Recipient(BOB, ("SUCCESS",)), envelopes.Recipient(BOB)
    house.reporter.delivered("5f.1", envelopes.Envelope(ANN, (did_not,)), (did_not,), HEADER, NOW)
    house.reporter.delivered("5f.1", envelopes.Envelope(None, (asked,)), (asked,), HEADER, NOW)
    assert not house.sent
