"""Vacation answers: who gets none (RFC 3834), who gets one, how often, and what it looks like."""
import email
import email.policy
import os
import tracemalloc

import pytest

from phenmail_protocols.config.settings import Vacation
from phenmail_protocols.filters import vacation
from phenmail_protocols.filters.rules import FilteredMessage
from phenmail_protocols.filters.vacation import FILE, Answers, obstacle
from phenmail_protocols.mail.address import Address

NOW = 1782000000.0
DAY = 86400.0
BOB, ALICE = Address("bob", "example.net"), Address("alice", "example.org")
AWAY = Vacation("I am away.\nAlice")
FIELDS = (b"From: Bob <bob@example.net>\r\nTo: Alice <Alice@Example.org>\r\n"
          b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.net>\r\n")


def letter(extra=b"", fields=FIELDS, **changes):
    values = dict(header=fields + extra + b"\r\n", sender=BOB, recipient=ALICE)
    values.update(changes)
    return FilteredMessage(**values)


def test_a_person_who_writes_to_the_user_is_answered():
    assert obstacle(AWAY, letter(), NOW) == ""
    assert obstacle(AWAY, letter(b"Auto-Submitted: no; why=not\r\nPrecedence: first-class\r\n"),
                    NOW) == ""


@pytest.mark.parametrize("extra", [
    "Auto-Submitted: auto-replied", "Auto-Submitted: auto-generated (cron)",
    "List-Id: <dev.example.net>", "List-Unsubscribe: <mailto:x@y.z>",
    "Mailing-List: x", "Precedence: Bulk", "precedence: list", "Precedence: junk",
    "X-Auto-Response-Suppress: DR, OOF", "X-Spam-Flag: YES",
    "X-Loop: alice@example.org"])
def test_what_programs_and_lists_send_is_not_answered(extra):
    assert obstacle(AWAY, letter(extra.encode() + b"\r\n"), NOW) != ""


@pytest.mark.parametrize("local", [
    "MAILER-DAEMON", "owner-dev", "dev-owner", "dev-request", "dev-bounces",
    "bounces+alice=example.org", "no-reply", "noreply+x", "listserv", "majordomo"])
def test_programs_are_known_by_their_names(local):
    assert "program" in obstacle(AWAY, letter(sender=Address(local, "example.net")), NOW)


def test_no_sender_and_oneself_are_not_answered():
    assert "no sender" in obstacle(AWAY, letter(sender=None), NOW)
    assert "own" in obstacle(AWAY, letter(sender=Address("ALICE", "example.org")), NOW)
    assert "own" in obstacle(AWAY._replace(addresses=("bob@example.net",)), letter(), NOW)


@pytest.mark.parametrize("auth, answered", [
    ("spf=pass dkim=pass dmarc=pass", True), ("spf=fail dkim=pass dmarc=pass", True),
    ("spf=fail dkim=none dmarc=none", False),
    ("spf=pass dkim=none dmarc=fail", False), ("", True)])
def test_who_may_be_forged_is_not_answered(auth, answered):
    assert (obstacle(AWAY, letter(auth=auth), NOW) == "") is answered


@pytest.mark.parametrize("fields, answered", [
    (b"To: dan@example.com\r\nCc: x@y.z,\r\n \"Alice\" <alice@example.org>\r\n", True),
    (b"Resent-To: alice@example.org\r\n", True),
    (b"To: undisclosed-recipients:;\r\n", False), (b"", False),
    (b"Subject: alice@example.org\r\n", False),
    (b"To: alice@example.org.evil.example\r\n", False), (b"To: alice@example.com\r\n", True),
    (b"To: Sales <alice+sales@example.org>\r\n", True)])
def test_only_mail_that_names_the_user_is_answered(fields, answered):
    words = AWAY._replace(addresses=("Alice@example.com",))
    of = letter(fields=fields, recipient=Address("alice+sales", "example.org"), tag="sales")
    assert (obstacle(words, of, NOW) == "") is answered


@pytest.mark.parametrize("since, until, answered", [
    (None, None, True), (NOW, None, True), (NOW + 1, None, False), (None, NOW, False),
    (None, NOW + 1, True), (NOW - 1, NOW + 1, True)])
def test_from_and_until(since, until, answered):
    assert (obstacle(AWAY._replace(since=since, until=until), letter(), NOW) == "") is answered


def test_a_clock_that_is_wrong_answers_nobody():
    assert "clock" in obstacle(AWAY, letter(), 1000.0)


# Once in a period


class House:
    def __init__(self, folder):
        self.folder = folder
        self.now = NOW
        self.answers = Answers(lambda: "mx.example.org", lambda: self.now)

    def answered(self, words=AWAY, **changes):
        return self.answers.answer(self.folder, words, letter(**changes)) is not None


@pytest.fixture
def house(tmp_path):
    return House(str(tmp_path))


def test_once_in_a_period(house):
    assert [house.answered() for _ in range(3)] == [True, False, False]
    house.now += 7 * DAY - 1
    assert not house.answered() and not house.answered(sender=Address("BOB", "example.net"))
    house.now += 1
    assert [house.answered() for _ in range(2)] == [True, False]


def test_each_sender_and_each_text_counts_for_itself(house):
    assert house.answered() and house.answered(sender=Address("dan", "example.com"))
    assert house.answered(AWAY._replace(text="Gone again")) and not house.answered()
    assert not house.answered(AWAY._replace(until=NOW + DAY))


def test_a_senders_own_tags_make_no_other_sender(house):
    assert [house.answered(sender=Address("v+%d" % number, "Example.net".lower()))
            for number in range(30)] == [True] + [False] * 29
    assert not house.answered(sender=Address("V", "example.net"))


def test_the_users_own_tags_and_aliases_make_no_other_user(house):
    assert [house.answered(recipient=Address("alice+%d" % number, "example.org"), tag=str(number))
            for number in range(30)].count(True) == 1
    words = AWAY._replace(addresses=("sales@example.org",))
    assert not house.answered(words, recipient=Address("sales", "example.org"))


def test_all_senders_together_have_a_bound_that_outlives_a_restart(house):
    def write(house, begin):
        return [house.answered(sender=Address("user%d" % number, "example.net"))
                for number in range(begin, begin + 100)].count(True)
    assert write(house, 0) == vacation._MOST_ANSWERS
    again = House(house.folder)
    assert write(again, 100) == 0
    again.now += 3600
    assert write(again, 200) == vacation._MOST_ANSWERS


def test_it_outlives_a_restart_and_names_nobody(house):
    assert house.answered()
    assert not House(house.folder).answered()
    with open(os.path.join(house.folder, FILE), "rb") as file:
        assert b"bob" not in file.read()


def test_who_is_not_answered_is_not_remembered(house):
    assert not house.answered(extra=b"List-Id: <x>\r\n")
    assert not os.path.exists(os.path.join(house.folder, FILE)) and house.answered()


def test_a_clock_that_was_ahead_does_not_silence_for_years(house):
    house.now += 3650 * DAY
    assert house.answered()
    house.now -= 3650 * DAY
    assert [house.answered() for _ in range(2)] == [True, False]


def test_what_is_remembered_is_bounded(house, monkeypatch):
    monkeypatch.setattr(vacation, "_MOST_REMEMBERED", 20)
    for number in range(50):
        house.now += 1
        assert house.answered(sender=Address("user%d" % number, "example.net"))
    with open(os.path.join(house.folder, FILE), "rb") as file:
        assert file.read().count(b"\n") == 20
    assert not house.answered(sender=Address("user49", "example.net"))


@pytest.mark.parametrize("data", [b"", b"\0\xff\n\n 5", b"x" * 100000,
                                  b"99999999999999999999 " + b"0" * 32,
                                  b"12 \xff" + b"0" * 31 + b"\n", b"-1 " + b"0" * 32])
def test_a_broken_memory_is_made_anew(house, data):
    with open(os.path.join(house.folder, FILE), "wb") as file:
        file.write(data)
    assert [house.answered() for _ in range(2)] == [True, False]


def test_of_a_large_memory_little_is_read(house):
    path = os.path.join(house.folder, FILE)
    with open(path, "wb") as file:
        file.truncate(400 << 20)
    tracemalloc.start()
    try:
        assert house.answered()
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert os.path.getsize(path) < 1000 and not house.answered()


@pytest.mark.parametrize("make", [lambda path: os.symlink("/etc/passwd", path), os.mkfifo,
                                  os.mkdir], ids=["link", "pipe", "folder"])
def test_what_is_no_memory_means_no_answer(house, make):
    make(os.path.join(house.folder, FILE))
    assert not house.answered()


def test_where_nothing_can_be_noted_nobody_is_answered(house):
    house.folder = os.path.join(house.folder, "gone")
    assert not house.answered()


# The answer


def answer(words=AWAY, **changes):
    made = vacation.made(words, letter(**changes), "mx.example.org", NOW)
    data = b"".join(made.chunks)
    assert data.replace(b"\r\n", b"").count(b"\n") == data.replace(b"\r\n", b"").count(b"\r") == 0
    return made.envelope, email.message_from_bytes(data, policy=email.policy.SMTP)


def test_the_answer():
    envelope, found = answer()
    assert envelope.sender is None and not envelope.smtputf8
    assert [(each.address, each.notify) for each in envelope.recipients] == [(BOB, ("NEVER",))]
    assert {name: found[name] for name in ("From", "To", "Subject", "Auto-Submitted", "In-Reply-To",
                                           "References")} == {
        "From": "alice@example.org", "To": "bob@example.net", "Subject": "Auto: Grüße",
        "Auto-Submitted": "auto-replied",
        "In-Reply-To": "<1@example.net>", "References": "<1@example.net>"}
    assert found["Date"] and found["Message-ID"].endswith("@mx.example.org>")
    assert found.get_content().replace("\r\n", "\n") == "I am away.\nAlice\n"


def test_words_in_any_language():
    _, found = answer(Vacation("Ich bin weg.\r\n" + "ü" * 2000 + "\r.", "Bin weg – bis März"))
    assert found["Subject"] == "Bin weg – bis März"
    assert found.get_content().replace("\r\n", "\n") == "Ich bin weg.\n" + "ü" * 2000 + "\n.\n"
    assert max(map(len, found.as_bytes().split(b"\r\n"))) < 999


def test_a_subject_of_strangers_stays_one_field():
    for subject in (b"=?utf-8?q?a=0D=0ABcc:_x@y.z?=", b"", b"x" * 5000):
        _, found = answer(fields=b"To: alice@example.org\r\nSubject: " + subject + b"\r\n")
        assert found["Bcc"] is None and len(found["Subject"]) < 260
        assert found["Subject"].startswith("Auto: ")
    _, found = answer(fields=b"To: alice@example.org\r\n")
    assert found["Subject"] == "Auto: your message" and found["In-Reply-To"] is None


def test_international_addresses():
    envelope, _ = answer(sender=Address("bøb", "exämple.net"))
    assert envelope.smtputf8
    envelope, found = answer(sender=Address("bob", "exämple.net"))
    assert not envelope.smtputf8 and found["To"] == "bob@xn--exmple-cua.net"
