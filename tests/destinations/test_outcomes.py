"""Every action through the real SMTP port: a message that is accepted, deferred, or refused.

Mailboxes, and what the queue delivers to programs and other addresses. Plugins, filters, and all
the other ways (logins, drop folders, the way back, judgement) have a file each beside this one.
"""
import functools
import os

import pytest

from phenmail_protocols.accounts.authorization import EXTERNAL_MDA
from phenmail_protocols.destinations import programs
from phenmail_protocols.disk.locks import FileLock
from phenmail_protocols.store import transaction

from .frontdoor import ALICE, AUTHOR, BOB, FRIEND, LETTER, connect, parsed, transact

# Each ends in alice's mailbox.
TO_ALICE = {"mailbox": ALICE, "alias": "sales@example.org", "tag": "alice+work@example.org",
            "catch-all": "whoever@example.org"}
ACTIONS = {"sales": ":alice", "*": ":sales", "gone": "-moved to the moon"}


# -- mailbox, alias


@pytest.mark.parametrize("recipient", sorted(TO_ALICE.values()))
def test_mailbox_success(front, recipient):
    mail = front(ACTIONS)
    assert mail.send(recipient).startswith("250 2.0.0")
    message, = mail.messages(ALICE)
    assert message.get_content().split() == ["one", ".", "two"]
    assert message["Return-Path"] == "<%s>" % AUTHOR and recipient in message["Received"]
    assert mail.messages(BOB) == [] and mail.is_done() and mail.sent == []


def test_mailbox_success_for_several_of_one_folder_is_one_copy(front):
    mail = front(ACTIONS)
    assert mail.send(ALICE, "sales@example.org", "whoever@example.org", BOB).startswith("250")
    assert len(mail.messages(ALICE)) == len(mail.messages(BOB)) == 1


@pytest.mark.parametrize("recipient", sorted(TO_ALICE.values()))
def test_mailbox_temporary_failure_full(front, recipient):
    mail = front(ACTIONS)
    with connect(mail) as client:
        with mail.full_disk():
            assert transact(client, [recipient]).startswith("452 4.3.1")
        assert mail.messages(ALICE) == [] and mail.is_done()
        assert transact(client, [recipient]).startswith("250")
    assert len(mail.messages(ALICE)) == 1 and mail.bounces() == []


@pytest.mark.parametrize("recipient", sorted(TO_ALICE.values()))
def test_mailbox_temporary_failure_in_use(front, monkeypatch, recipient):
    monkeypatch.setattr(transaction, "_LOCK_SECONDS", 0.1)
    mail = front(ACTIONS)
    with connect(mail) as client:
        with FileLock(os.path.join(mail.folder(ALICE), "phenmail.lock"), 0):
            assert transact(client, [recipient]).startswith("451 4.2.0")
        assert transact(client, [recipient]).startswith("250")
    assert len(mail.messages(ALICE)) == 1


def test_mailbox_temporary_failure_settings_that_cannot_be_read(front):
    mail = front(ACTIONS)
    with open(os.path.join(mail.folder(ALICE), "mail.jcfg")) as file:
        right = file.read()
    mail.write(ALICE, "mail.jcfg", '{"delivery": ')
    assert mail.send(ALICE).startswith("451 4.3.5")
    mail.write(ALICE, "mail.jcfg", right)
    assert mail.send(ALICE).startswith("250")


@pytest.mark.parametrize("recipient", sorted(TO_ALICE.values()))
def test_mailbox_permanent_failure_too_large(front, recipient):
    mail = front(ACTIONS, limits={"message-size": 65536})
    with connect(mail) as client:
        client.ehlo()
        assert client.mail(AUTHOR, ["SIZE=70000"])[0] == 552, "it was announced"
        assert transact(client, [recipient],
                        message=LETTER + b"x" * 998 + b"\r\n").startswith("250")
        assert transact(client, [recipient],
                        message=LETTER + b"xxxxxxxx\r\n" * 7000).startswith("552 5.3.4")
    assert len(mail.messages(ALICE)) == 1


@pytest.mark.parametrize("recipient", sorted(TO_ALICE.values()))
def test_mailbox_permanent_failure_nul(front, recipient):
    mail = front(ACTIONS)
    assert mail.send(recipient, message=LETTER + b"a\0b\r\n").startswith("550 5.6.0")
    assert mail.messages(ALICE) == []


def test_mailbox_permanent_failure_a_sender_of_ours_who_has_not_logged_in(front):
    mail = front(ACTIONS)
    for sender in (ALICE, BOB, "whoever@example.org"):
        assert mail.send(ALICE, sender=sender).startswith("550 5.7.1")
    assert mail.messages(ALICE) == []


# -- disabled, unknown


def test_disabled_permanent_failure(front):
    mail = front(ACTIONS)
    assert mail.send("gone@example.org").startswith("550 5.2.1")
    assert mail.send("gone@example.org", BOB).startswith("250"), "the others have theirs"
    assert len(mail.messages(BOB)) == 1 and mail.bounces() == []


def test_unknown_permanent_failure(front):
    mail = front()
    assert mail.send("whoever@example.org").startswith("550 5.1.1")
    assert mail.send(FRIEND).startswith("550 5.7.1"), "nobody relays through us"
    assert mail.send("whoever@example.org", BOB).startswith("250")
    assert len(mail.messages(BOB)) == 1 and mail.bounces() == []


# -- programs

ROBOT = "robot@example.org"
AGENT = {"robot": ">SHARED/program {FROM} {TO} {USER}"}
TAKE = 'echo "$@" > words; cat > taken.new; mv taken.new taken'


def test_agent_success(front):
    mail = front(AGENT)
    mail.program(TAKE)
    assert mail.send("robot+tag@example.org").startswith("250")
    assert mail.is_done() and mail.bounces() == []
    assert mail.given("words").split() == [AUTHOR.encode(), b"robot+tag@example.org", b"robot"]
    assert mail.given("taken").startswith(
        b"Return-Path: <%s>\nDelivered-To: robot+tag@example.org\n" % AUTHOR.encode())
    assert mail.given("taken").endswith(LETTER.replace(b"\r\n", b"\n"))


# How a program fails temporarily -> what the queue records.
LATER = {
    "exit 75": ("cat > /dev/null; echo the disk is full; exit 75",
                "status 75 (try again later): the disk is full"),
    "not found": ("no-such-program", "status 127 (not found)"),
    "killed": ("kill -9 $$", "killed by signal 9"),
    "too slow": ("exec sleep 100", "did not exit within 0.5 seconds"),
}


@pytest.fixture
def impatient(monkeypatch):
    """Programs have a time limit of half a second."""
    monkeypatch.setattr(programs, "Programs",
                        functools.partial(programs.Programs, seconds=0.5, grace=0.1))


@pytest.mark.parametrize("how", sorted(LATER))
def test_agent_temporary_failure(front, impatient, how):
    script, told = LATER[how]
    mail = front(AGENT)
    mail.program(script)
    assert mail.send(ROBOT).startswith("250")
    reply = mail.deferred()
    assert reply.startswith("451 4.3.0") and told in reply
    mail.program(TAKE)
    mail.again()
    assert mail.given("taken").endswith(b"two\n")
    assert mail.is_done() and mail.bounces() == []


def test_agent_temporary_failure_of_a_command_that_does_not_exist(front):
    mail = front({"robot": ">SHARED/none"})
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred().startswith("451 4.3.0")
    mail.days_later()
    assert mail.bounce().told() == {ROBOT: "4.3.0"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could run it as root")
def test_agent_temporary_failure_nobody_to_run_it_as(front):
    mail = front({"robot": ">SHARED/program"}, **{"run-as": "there-is-no-such-user"})
    mail.program(TAKE)
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred().startswith("451 4.3.5")
    assert not os.path.exists(os.path.join(mail.shared, "taken"))


def test_agent_temporary_failure_until_the_queue_gives_up(front):
    mail = front(AGENT)
    mail.program("echo the disk is full; exit 75")
    assert mail.send(ROBOT).startswith("250")
    mail.deferred()
    mail.days_later()
    bounce = mail.bounce()
    assert bounce.told() == {ROBOT: "4.3.0"} and "the disk is full" in bounce.prose


@pytest.mark.parametrize("status, enhanced", [(1, "5.3.0"), (64, "5.3.5"), (65, "5.6.0"),
                                              (67, "5.1.1"), (77, "5.7.1"), (100, "5.3.0")])
def test_agent_permanent_failure(front, status, enhanced):
    mail = front(AGENT)
    mail.program("seq 20; echo Not with me; exit %d" % status)
    assert mail.send(ROBOT).startswith("250")
    bounce = mail.bounce()
    assert bounce.told() == {ROBOT: enhanced}
    assert "17 / 18 / 19 / 20 / Not with me" in bounce.prose and " 15 " not in bounce.prose, (
        "the last lines")


# -- forwards

FORWARD = {"robot": ">" + FRIEND}


def test_forward_success(front):
    mail = front(FORWARD)
    assert mail.send(ROBOT).startswith("250")
    sent, = mail.onward()
    assert sent.recipients == (FRIEND,) and sent.data.endswith(
        LETTER) and b"Delivered-To: robot@example.org\r\n" in sent.data
    assert sent.sender.startswith("SRS0=") and sent.sender.endswith(
        "=elsewhere.example=author@example.org")
    assert mail.is_done() and mail.bounces() == []


def test_forward_success_keeps_the_null_sender(front):
    mail = front(FORWARD)
    assert mail.send(ROBOT, sender="").startswith("250")
    sent, = mail.onward()
    assert sent.sender == "" and sent.recipients == (FRIEND,)


def test_forward_success_to_a_mailbox_here(front):
    mail = front({"robot": ">" + ALICE})
    assert mail.send(ROBOT).startswith("250")
    mail.settle()
    assert mail.subjects() == ["hello"] and mail.sent == []


def test_forward_temporary_failure(front):
    mail = front(FORWARD)
    mail.outside_answers(FRIEND, "451 4.2.0 Mailbox busy")
    assert mail.send(ROBOT).startswith("250")
    assert mail.deferred() == "451 4.2.0 Mailbox busy"
    mail.outside_answers(FRIEND, None)
    mail.again()
    assert [each.recipients for each in mail.onward()] == [(FRIEND,)]
    assert mail.is_done() and mail.bounces() == []


def test_forward_temporary_failure_until_the_queue_gives_up(front):
    mail = front(FORWARD)
    mail.outside_answers(FRIEND, "451 4.2.0 Mailbox busy")
    assert mail.send(ROBOT).startswith("250")
    mail.deferred()
    mail.days_later()
    assert mail.bounce().told() == {FRIEND: "4.2.0"}


def test_forward_permanent_failure_goes_back_by_the_rewritten_sender(front):
    mail = front(FORWARD)
    mail.outside_answers(FRIEND, "550 5.1.1 Nobody of that name")
    assert mail.send(ROBOT).startswith("250")
    bounce = mail.bounce()
    assert bounce.told() == {FRIEND: "5.1.1"} and "Nobody of that name" in bounce.prose


def test_forward_permanent_failure_loop(front):
    mail = front({"robot": ">other@example.org", "other": ">" + ROBOT})
    assert mail.send(ROBOT).startswith("250")
    assert mail.bounce().told() == {ROBOT: "5.4.6"}


# -- all of them


def test_one_message_for_every_kind_of_destination(front):
    """Each recipient has its own outcome; a failure at one delays no other."""
    taken = []
    mail = front({"robot": ">SHARED/program", "sent": ">" + FRIEND, "plugin": ".it",
                  "sales": ":alice", "gone": "-away",
                  "never": ">SHARED/never"}, {"it": lambda *given: taken.append(given)})
    mail.program("exit 75")
    mail.program("exit 67", "never")
    names = ["robot", "sent", "plugin", "sales", "gone", "never", "nobody"]
    assert mail.send(ALICE, *[name + "@example.org" for name in names]).startswith("250")
    waits, = mail.waiting()
    assert str(waits.address) == ROBOT and len(taken) == 1 and mail.subjects() == ["hello"]
    assert [each.recipients for each in mail.onward()] == [(FRIEND,)]
    assert [each.told() for each in mail.bounces()] == [{"never@example.org": "5.1.1"}]
    mail.program(TAKE)
    mail.again()
    assert mail.is_done() and mail.given("taken") and len(mail.sent) == 2 and len(taken) == len(
        mail.messages()) == 1


# -- external-MDA


def outward(mail, text, is_authorized=True, **more):
    text = text.replace("SHARED", mail.shared)
    mail.configure(ALICE, external_MDA=text,
                   authorization=mail.sign(ALICE, EXTERNAL_MDA,
                                           text if is_authorized else "another"))


COMMAND = ">SHARED/program {FROM} {TO} {USER}"


def test_external_mda_success_command(front):
    mail = front()
    outward(mail, COMMAND)
    mail.program(TAKE)
    assert mail.send(ALICE).startswith("250")
    assert mail.is_done() and mail.messages(ALICE) == []
    assert mail.given("words").split() == [AUTHOR.encode(), ALICE.encode(), ALICE.encode()]
    assert parsed(mail.given("taken"))["Subject"] == "hello"


def test_external_mda_success_address(front):
    mail = front()
    outward(mail, ">" + FRIEND)
    assert mail.send(ALICE).startswith("250")
    sent, = mail.onward()
    assert sent.recipients == (FRIEND,
                               ) and sent.sender.startswith("SRS0=") and mail.messages(ALICE) == []


@pytest.mark.parametrize("authorization", [None, "0" * 64, "another user's", "another text's"])
def test_external_mda_without_authorization_is_the_mailbox(front, authorization, caplog):
    mail = front()
    text = COMMAND.replace("SHARED", mail.shared)
    given = {"another user's": mail.sign(BOB, EXTERNAL_MDA, text),
             "another text's": mail.sign(ALICE, EXTERNAL_MDA, text + " ")}
    more = {} if authorization is None else {
        "authorization": given.get(authorization, authorization)}
    mail.configure(ALICE, external_MDA=text, **more)
    mail.program(TAKE)
    assert mail.send(ALICE).startswith("250")
    assert mail.subjects() == ["hello"] and mail.is_done()
    assert os.listdir(mail.shared) == ["program"]
    assert "external-MDA is not used" in caplog.text


def test_external_mda_temporary_failure(front):
    mail = front()
    outward(mail, COMMAND)
    mail.program("exit 75")
    assert mail.send(ALICE).startswith("250")
    assert mail.deferred().startswith("451 4.3.0")
    mail.program(TAKE)
    mail.again()
    assert mail.is_done() and mail.given("taken")


def test_external_mda_temporary_failure_may_end_in_the_mailbox(front):
    """Queued mail goes where the settings at that moment say."""
    mail = front()
    outward(mail, COMMAND)
    mail.program("exit 75")
    assert mail.send(ALICE).startswith("250")
    mail.deferred()
    outward(mail, COMMAND + " more", is_authorized=False)
    mail.again()
    assert mail.subjects() == ["hello"] and mail.is_done()


def test_external_mda_permanent_failure(front):
    mail = front()
    outward(mail, COMMAND)
    mail.program("echo Not with me; exit 67")
    assert mail.send(ALICE).startswith("250")
    bounce = mail.bounce()
    assert bounce.told() == {ALICE: "5.1.1"} and "Not with me" in bounce.prose and mail.messages(
        ALICE) == []
