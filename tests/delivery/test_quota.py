"""A quota in the configuration, and mail that arrives over SMTP and LMTP."""
import logging
import smtplib

import pytest

from phenmail_protocols.config.settings import Quota

from ..destinations.frontdoor import ALICE, AUTHOR, BOB, FRIEND, LETTER

LMTP = {"lmtp": {"host": "127.0.0.1", "port": 0}}
FULL = "452 4.2.2 The recipient's mailbox is full, try again later"
BIG = LETTER + b"x" * 3000 + b"\r\n"


def fill(mail, user=ALICE, messages=1):
    """A user's quota is as many messages as they have; they were warned."""
    for _ in range(messages):
        mail.deliver(LETTER, user)
    mail.configure(user, quota={"messages": messages})
    assert mail.send(user) == FULL


def accepted(mail, user, most=10):
    """How many messages a user gets until the quota is used up, a warning included."""
    for number in range(most):
        if mail.send(user) == FULL:
            break
    return len(mail.messages(user))


def test_the_servers_quota(front):
    mail = front({"al": ":alice", "carol": "/carol/mail"}, quota={
        "messages": 20, "users": {ALICE: {"messages": 3}, "carol@example.org": {}}})
    assert accepted(mail, "al@example.org") == 4 and mail.send(ALICE) == FULL
    assert accepted(mail, BOB) == accepted(mail, "carol@example.org") == 10


@pytest.mark.parametrize("own, most", [
    ({}, 4), ({"messages": 10 ** 12}, 4), ({"bytes": "1 GB"}, 4), ({"messages": 2}, 3)])
def test_users_can_lower_their_quota_but_not_raise_it(front, own, most):
    mail = front(quota={"messages": 3})
    mail.configure(ALICE, quota=own)
    assert accepted(mail, ALICE) == most


@pytest.mark.parametrize("own", ["{", '{"quota": {"bytes": -1}}', '{"quota": {"messages": "x"}}',
                                 '{"quota": {"users": {"alice@example.org": {}}}}'])
def test_a_user_cannot_evade_it_by_an_error(front, own):
    mail = front(quota={"messages": 1})
    mail.write(ALICE, "mail.jcfg", own)
    directory = mail.server.directory
    assert directory.quota(mail.folder(ALICE)) == Quota(messages=1)
    assert mail.send(ALICE)[:3] == "451"


def test_a_full_recipient_does_not_hold_up_the_others(front):
    mail = front()
    fill(mail)
    with smtplib.SMTP(*mail.smtp) as client:
        assert client.sendmail(AUTHOR, [ALICE, BOB], LETTER) == {ALICE: (452, FULL[4:].encode())}
    assert len(mail.messages(ALICE)) == 2 and len(mail.messages(BOB)) == 1


def test_the_announced_size_counts(front):
    mail = front()
    mail.configure(ALICE, quota={"bytes": 2000})
    with smtplib.SMTP(*mail.smtp) as client:
        client.ehlo()
        client.mail(AUTHOR, ["SIZE=2001"])
        assert client.rcpt(ALICE)[0] == 452 and client.rcpt(BOB)[0] == 250
        client.rset()
        client.mail(AUTHOR, ["SIZE=1000"])
        assert client.rcpt(ALICE)[0] == 250


def test_a_single_recipient_after_the_data(front):
    mail = front()
    mail.configure(ALICE, quota={"bytes": 2000})
    with smtplib.SMTP(*mail.smtp) as client:
        client.ehlo()
        client.mail(AUTHOR)
        client.rcpt(ALICE)
        assert client.data(BIG) == (452, FULL[4:].encode())
    assert mail.messages(ALICE) == [] and mail.is_done()


def test_lmtp_replies_for_each(front):
    mail = front(**LMTP)
    mail.configure(ALICE, quota={"bytes": 2000})
    first, second = mail.send(ALICE, BOB, message=BIG, service="lmtp")
    assert first == FULL and second.startswith("250 ")
    assert mail.messages(ALICE) == [] and len(mail.messages(BOB)) == 1
    assert mail.is_done()


def send_without_size(mail, *recipients):
    with smtplib.SMTP(*mail.smtp) as client:
        client.ehlo()
        client.mail(AUTHOR)
        for recipient in recipients:
            assert client.rcpt(recipient)[0] == 250
        return client.data(BIG)[0]


def test_with_others_it_waits_in_the_queue(front):
    """Only the whole message shows that it does not fit."""
    mail = front({"far": ">" + FRIEND})
    mail.configure(ALICE, quota={"bytes": 2000})
    assert send_without_size(mail, ALICE, BOB, "far@example.org") == 250
    assert len(mail.messages(BOB)) == 1 and mail.messages(ALICE) == []
    assert mail.deferred() == FULL
    assert len(mail.onward()) == 1
    mail.configure(ALICE, quota={})
    mail.again()
    assert len(mail.messages(ALICE)) == len(mail.messages(BOB)) == 1 and mail.is_done()
    assert mail.messages(ALICE)[0].get_content() == mail.messages(BOB)[0].get_content()


def test_what_waits_too_long_bounces(front):
    mail = front()
    mail.configure(ALICE, quota={"bytes": 2000})
    assert send_without_size(mail, ALICE, BOB) == 250
    mail.settle()
    mail.days_later()
    assert mail.bounce().told() == {ALICE: "4.2.2"} and mail.messages(ALICE) == []


def test_a_users_filters_run_only_once(front):
    mail = front()
    mail.configure(ALICE, quota={"bytes": 2000})
    mail.filters({"type": "match", "header": "Subject", "content": "hello",
                  "action": ["forward:" + FRIEND, "accept:Box"]})
    assert send_without_size(mail, ALICE, BOB) == 250
    mail.settle()
    first = len(mail.onward())
    mail.configure(ALICE, quota={})
    mail.again()
    assert mail.is_done()
    assert len(mail.onward()) <= 1 and first <= 1


def test_everybody_is_full(front):
    mail = front()
    for user in ALICE, BOB:
        mail.configure(user, quota={"bytes": 2000})
    assert send_without_size(mail, ALICE, BOB) == 452
    assert mail.messages(ALICE) == mail.messages(BOB) == [] and mail.is_done()


@pytest.mark.parametrize("quota, words", [
    ({"messages": 10}, "9 of at most 10 messages"),
    ({"bytes": "20 KB", "messages": 10}, " KB of at most 20.0 KB and 9 of at most 10 messages")])
def test_the_user_is_warned(front, caplog, quota, words):
    mail = front()
    mail.configure(ALICE, quota=quota)
    with caplog.at_level(logging.WARNING):
        for _ in range(9):
            mail.deliver(LETTER, ALICE)
    warning = mail.messages(ALICE)[-1]
    assert len(mail.messages(ALICE)) == 10
    assert warning["Subject"] == "Your mailboxes are nearly full"
    assert warning["To"] == ALICE and warning["Auto-Submitted"] == "auto-generated"
    assert words in warning.get_content().replace("\n", " ")
    assert [record for record in caplog.records if "nearly full" in record.getMessage()]
    assert mail.send(ALICE) == FULL


WARNING = "Your mailboxes are nearly full"


def test_the_warning_is_never_refused_and_comes_once(front):
    mail = front()
    mail.configure(ALICE, quota={"messages": 1})
    mail.filters({"type": "match", "header": "Subject", "content": "full", "action": "discard"})
    assert mail.send(ALICE)[:3] == "250"
    assert mail.send(ALICE) == FULL and mail.send(ALICE) == FULL
    assert mail.subjects() == ["hello", WARNING] and mail.is_done()
    assert mail.messages(ALICE)[1]["Return-Path"] == "<>"


def test_the_warning_survives_a_restart(front):
    mail = front()
    mail.configure(ALICE, quota={"messages": 20})
    for _ in range(18):
        mail.deliver(LETTER, ALICE)
    mail.server.store.close()
    mail.server.store._accounts.clear()
    mail.server.store._recent.clear()
    assert mail.send(ALICE)[:3] == "250" and mail.send(ALICE) == FULL
    assert mail.subjects().count(WARNING) == 1


def test_a_lowered_limit_is_told_to_the_user(front):
    mail = front()
    for _ in range(3):
        mail.deliver(LETTER, ALICE)
    mail.configure(ALICE, quota={"messages": 2})
    assert mail.send(ALICE) == mail.send(ALICE) == FULL
    assert mail.subjects().count(WARNING) == 1
    assert "3 of at most 2 messages" in mail.messages(ALICE)[-1].get_content().replace("\n", " ")
