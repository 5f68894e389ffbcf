"""Rounds: each message of a source comes into the right mailbox exactly once, and nothing is
removed there before."""
import json
import os

import pytest

from phenmail_protocols.delivery.outgoing import Outgoing
from phenmail_protocols.fetch.keeping import known, notes
from phenmail_protocols.fetch.keeping import state as state_file
from phenmail_protocols.fetch.source import FetchError, Throttled
from phenmail_protocols.mail.dates import format_header
from phenmail_protocols.queue.spool import SpoolError
from phenmail_protocols.store import errors
from phenmail_protocols.store.account import Account as Folder
from phenmail_protocols.store.filestore import FileStore

from .scripted import DATE, Account, House, Scripted, account, subject, text


@pytest.fixture
def remote():
    return Account()


@pytest.fixture
def house(tmp_path, remote):
    house = House(tmp_path / "root", remote)
    yield house
    house.close()


PROTOCOLS = pytest.mark.parametrize("protocol", ["imaps", "pops"])


@PROTOCOLS
def test_new_mail_comes_once(house, remote, protocol):
    house.configure(account(protocol=protocol))
    remote.put(1)
    remote.put(2)
    assert house.look() == ""
    assert house.subjects() == ["m1", "m2"]
    remote.put(3)
    assert house.look() == "" and house.look() == ""
    assert house.subjects() == ["m1", "m2", "m3"]
    house.close()
    house.open()
    assert house.look() == ""
    assert house.subjects() == ["m1", "m2", "m3"]
    assert remote.removed == []


@PROTOCOLS
def test_old_mail_is_ignored_by_default(house, remote, protocol):
    remote.put(1)
    remote.put(2)
    settings = account(protocol=protocol)
    del settings["first-time"]
    house.configure(settings)
    assert house.look() == "" and house.subjects() == []
    remote.put(3)
    house.close()
    house.open()
    assert house.look() == "" and house.subjects() == ["m3"]


@PROTOCOLS
def test_ignoring_that_is_interrupted_begins_again(house, remote, protocol):
    for number in range(5):
        remote.put(number)
    house.configure(account(protocol=protocol, **{"first-time": "ignore-all"}))
    before = remote.before

    def fail(step):
        if step == ("list" if protocol == "pops" else "open"):
            raise FetchError("lost the connection")
    remote.before = fail
    assert house.look() == "lost the connection"
    remote.before = before
    assert house.look() == "" and house.subjects() == []
    remote.put("new")
    assert house.look() == "" and house.subjects() == ["mnew"]


def test_what_a_message_looks_like(house, remote):
    remote.put(1, extra="Return-Path: <sender@example.net>\r\n", flags=("\\Seen", "Work"))
    house.configure(account())
    assert house.look() == ""
    data, = house.messages()
    lines = data.split(b"\r\n")
    assert lines[:3] == [b"Return-Path: <sender@example.net>", b"Delivered-To: alice@example.org",
                         b"Received: from imap.example.net"]
    assert lines[3].startswith(b"\tby example.org (phenmail) with IMAPS id ")
    assert data.count(b"Return-Path") == 1
    assert data.endswith(text(1)[-20:])
    mailbox = house.store.account(house.path("alice", "mail")).open("INBOX")
    rows = mailbox.rows([1])
    assert list(rows.dates) == [DATE] and [set(flags) for flags in rows.flags] == [set()]
    mailbox.close()


def test_flags_are_kept_if_the_user_wants(house, remote):
    remote.put(1, flags=("\\Seen", "\\Deleted", "\\Recent", "Work", "bad word", "\\flagged"))
    house.configure(account(**{"keep-flags": True}))
    assert house.look() == ""
    mailbox = house.store.account(house.path("alice", "mail")).open("INBOX")
    assert [set(flags) for flags in mailbox.rows([1]).flags] == [{"\\Seen", "Work", "\\Flagged"}]
    mailbox.close()


def test_boxes_and_their_actions(house, remote):
    remote.boxes.update(List={}, Spam={}, Other={}, Elsewhere={})
    for number, box in enumerate(remote.boxes):
        remote.put(number, box)
    with open(house.path("alice", "mail", "filters.jcfg"), "w") as file:
        json.dump({"filters": [{"type": "match", "content": "m", "action": "accept:Filtered"}]},
                  file)
    house.configure(
        account(boxes=["Inbox", {"List": "accept:Lists/dev"}, {"Spam": "delete"},
                       {"Other": "accept:archive:Old"}, {"Elsewhere": "filter:archive"}]),
        **{"mail-folders": {"mail": "/alice/mail", "archive": "/alice/archive"}})
    assert house.look() == ""
    assert house.subjects("Filtered") == ["m0"] and house.subjects("Lists/dev") == ["m1"]
    assert remote.boxes["Spam"] == {} and len(remote.boxes["INBOX"]) == 1
    assert house.subjects("Old", folder="archive") == ["m3"]
    assert house.subjects(folder="archive") == ["m4"]
    assert house.look() == "" and house.subjects("Filtered") == ["m0"]


def test_a_box_that_is_gone_is_named_and_others_go_on(house, remote):
    remote.put(1)
    house.configure(account(boxes=["Gone", "Inbox"]))
    assert house.look() == ""
    assert house.subjects() == ["m1"]
    assert house.job().status.problems == ["there is no mailbox Gone"]


def test_an_impossible_mailbox_is_named(house, remote):
    remote.put(1)
    house.configure(account(boxes=[{"Inbox": "accept:a/../b"}]))
    assert house.look() == "" and "no mailbox here can have the name" in (
        house.job().status.problems[0])
    assert len(remote.boxes["INBOX"]) == 1


@PROTOCOLS
def test_removal_follows_delivery(house, remote, protocol):
    for number in range(250):
        remote.put(number)
    steps = []
    remote.before = steps.append
    house.configure(account(protocol=protocol, remove=True))
    assert house.look() == ""
    assert len(house.messages()) == 250 and remote.boxes["INBOX"] == {}
    assert sorted(remote.removed) == list(range(1, 251))
    assert 2 <= steps.count("remove") <= 6
    assert house.look() == "" and len(house.messages()) == 250


@PROTOCOLS
def test_removal_after_days(house, remote, protocol):
    house.now = 1.8e9
    remote.put(1)
    house.configure(account(protocol=protocol, remove=3))
    assert house.look() == ""
    house.now += 2 * 86400
    remote.put(2)
    assert house.look() == "" and remote.removed == []
    house.close()
    house.open()
    house.now += 86400
    assert house.look() == "" and remote.removed == [1]
    house.now += 2 * 86400
    assert house.look() == "" and remote.removed == [1, 2]
    assert house.look() == "" and remote.removed == [1, 2]
    assert house.subjects() == ["m1", "m2"]


@PROTOCOLS
def test_a_wrong_clock_removes_nothing_after_days(house, remote, protocol):
    house.now = 1e6
    remote.put(1)
    house.configure(account(protocol=protocol, remove=3))
    assert house.look() == ""
    house.now += 30 * 86400
    assert house.look() == "" and remote.removed == []


@PROTOCOLS
def test_a_clock_that_was_wrong_removes_nothing_early(house, remote, protocol):
    house.configure(account(protocol=protocol, remove=3))
    for number, now in enumerate((1.8e9, 1e6, 1.8e9 + 2 * 86400)):
        house.now = now
        remote.put(number)
        assert house.look() == "" and remote.removed == []
    house.now = 1.8e9 + 3 * 86400
    assert house.look() == "" and remote.removed == [1]
    house.now = 1.8e9 + 5 * 86400
    assert house.look() == ""
    assert remote.removed == ([1, 2, 3] if protocol == "imaps" else [1, 3])


def test_a_mailbox_with_many_gaps(house, remote, monkeypatch):
    monkeypatch.setattr(notes, "_MANY", 5)
    monkeypatch.setattr(known, "MOST_RANGES", 60)
    for number in range(120):
        remote.put(number)
        remote.next_uid["INBOX"] += 1
    remote.unreadable = {99}
    house.configure(account())
    for _ in range(2):
        assert "could not be read" in house.look()
        assert len(house.messages()) == 119
        house.close()
        house.open()
    remote.unreadable = set()
    assert house.look() == "" and len(house.messages()) == 120


@PROTOCOLS
def test_a_message_that_is_too_large_stays(house, remote, protocol):
    remote.put(1)
    remote.put("large", data=text("large") + b"x" * 70000)
    remote.put(3)
    house.settings["limits"] = {"message-size": 65536}
    house.close()
    house.open()
    house.configure(account(protocol=protocol, remove=True))
    assert house.look() == ""
    assert house.subjects() == ["m1", "m3"] and sorted(remote.removed) == [1, 3]
    left, = house.job().status.left
    assert "more than 65536 octets" in left
    assert house.look() == "" and house.job().status.left == [left]


@PROTOCOLS
def test_a_lie_about_the_size_changes_nothing(house, remote, protocol):
    house.settings["limits"] = {"message-size": 65536}
    house.close()
    house.open()
    remote.put("large", data=text("large") + b"x" * 70000)
    remote.put(2)
    remote.lie = 10
    house.configure(account(protocol=protocol))
    assert house.look() == ""
    assert house.subjects() == ["m2"]
    assert "more than 65536 octets" in house.job().status.left[0]
    assert os.listdir(house.path("alice", "mail", "tmp")) == []


@pytest.mark.parametrize("extra, why", [
    ("Delivered-To: alice@example.org\r\nReceived: from x\r\n\tby example.org (phenmail) with "
     "ESMTP id 1; x\r\n", "loop"),
    ("Received: x\r\n" * 60, "loop")])
def test_a_loop_is_named_and_stays(house, remote, extra, why):
    remote.put(1, extra=extra)
    remote.put(2, extra="Delivered-To: alice@example.org\r\n")  # by another server
    house.configure(account(remove=True))
    assert house.look() == "" and house.subjects() == ["m2"]
    assert why in house.job().status.left[0] and remote.removed == [2]


@PROTOCOLS
def test_a_message_that_cannot_be_kept_waits(house, remote, protocol, monkeypatch):
    for number in range(3):
        remote.put(number)
    house.configure(account(protocol=protocol, remove=True))
    kept = Folder.deliver

    def deliver(self, name, staged, *arguments, **options):
        staged.flush()
        with open(staged.path, "rb") as file:
            if b"Subject: m1" in file.read():
                raise errors.NoSpace()
        return kept(self, name, staged, *arguments, **options)
    monkeypatch.setattr(Folder, "deliver", deliver)
    assert "could not be kept: Insufficient disk space" in house.look()
    assert house.subjects() == [] or house.subjects() == ["m0", "m2"]
    monkeypatch.undo()
    house.look()
    assert sorted(house.subjects()) == ["m0", "m1", "m2"] and sorted(remote.removed) == [1, 2, 3]


@PROTOCOLS
def test_a_full_disk_ends_the_round(house, remote, protocol, monkeypatch):
    for number in range(5):
        remote.put(number)
    house.configure(account(protocol=protocol, remove=True))

    def stage(self, *arguments, **options):
        raise errors.NoSpace()
    monkeypatch.setattr(Folder, "stage", stage)
    steps = []
    remote.before = steps.append
    assert "Insufficient disk space" in house.look()
    assert steps.count("read") <= 5 and "remove" not in steps
    monkeypatch.undo()
    assert house.look() == ""
    assert len(house.subjects()) == 5 and len(remote.removed) == 5


def test_a_message_over_quota_waits(house, remote):
    for number in range(5):
        remote.put(number)
    house.close()
    house.settings["quota"] = {"messages": 3}
    house.open()
    house.store.close()
    house.store = house.router.store = FileStore(limit_of=house.directory.quota)
    house.fetching._store = house.store
    house.configure(account())
    assert "full" in house.look()
    assert house.subjects() == ["m0", "m1", "m2"]


@PROTOCOLS
@pytest.mark.parametrize("cut", [30, 60, 90, 120])
def test_a_message_that_is_cut_goes_on(house, remote, protocol, cut):
    data = text(1) + b"line of text\r\n" * 60
    remote.put(1, data=data)
    remote.put(2)
    remote.cut_after = cut
    house.configure(account(protocol=protocol))
    assert house.look() == ""
    assert house.subjects() == ["m1", "m2"] and house.messages()[0].endswith(data[20:])
    assert remote.logins > 3


@PROTOCOLS
def test_a_message_that_is_always_cut_is_not_kept(house, remote, protocol):
    remote.put(1)
    remote.cut_after = 0
    house.configure(account(protocol=protocol, remove=True))
    assert house.look().endswith("could not be read: lost the connection")
    assert house.subjects() == [] and remote.logins == 4 and remote.removed == []
    assert os.listdir(house.path("alice", "mail", "tmp")) == []
    remote.cut_after = None
    assert house.look() == "" and house.subjects() == ["m1"]


@PROTOCOLS
def test_an_unreadable_message_does_not_hold_up_others(house, remote, protocol):
    for number in range(5):
        remote.put(number)
    remote.unreadable = {2}
    house.configure(account(protocol=protocol, remove=True))
    for _ in range(2):
        assert "could not be read: lost the connection" in house.look()
        assert house.subjects() == ["m0", "m2", "m3", "m4"]
        assert sorted(remote.removed) == [1, 3, 4, 5]
    remote.put(5)
    remote.unreadable = set()
    assert house.look() == "" and house.subjects()[-2:] == ["m1", "m5"]


@PROTOCOLS
def test_messages_that_the_server_refuses_hold_up_no_others(house, remote, protocol):
    for number in range(30):
        remote.put(number)
    remote.refused = {2, 3, 9}
    house.configure(account(protocol=protocol, remove=True))
    for _ in range(2):
        logins = remote.logins
        assert "could not be read: the server refused FETCH" in house.look()
        assert len(house.messages()) == 27 and len(remote.removed) == 27
        assert remote.logins == logins + 1
    remote.refused = set(range(31, 60))
    for number in range(30, 60):
        remote.put(number)
    assert "could not be read" in house.look() and len(house.messages()) == 30
    remote.refused = set()
    assert house.look() == "" and len(house.messages()) == 60


def test_another_validity_brings_nothing_again(house, remote):
    for number in range(4):
        remote.put(number, date=DATE + number)
    remote.put("twin", data=text(1))  # as 1, but of another day
    house.configure(account())
    assert house.look() == "" and len(house.messages()) == 5
    remote.renumber()
    remote.put(9)
    assert house.look() == ""
    assert house.subjects() == ["m0", "m1", "m2", "m3", "m1", "m9"]
    remote.renumber()
    house.close()
    house.open()
    assert house.look() == "" and len(house.messages()) == 6


def test_another_validity_does_not_bring_ignored_mail(house, remote):
    remote.put(1)
    house.now = float(DATE + 500)
    house.configure(account(**{"first-time": "ignore-all"}))
    assert house.look() == ""
    remote.put(2, date=DATE + 600)
    assert house.look() == ""
    remote.renumber()
    remote.put(3, date=DATE + 700)
    assert house.look() == "" and house.subjects() == ["m2", "m3"]


def test_another_validity_does_not_delete_ignored_mail(house, remote):
    remote.put(1)
    house.now = float(DATE + 500)
    house.configure(account(boxes=[{"Inbox": "delete"}], **{"first-time": "ignore-all"}))
    assert house.look() == "" and len(remote.boxes["INBOX"]) == 1
    remote.put(2, date=DATE + 600)
    assert house.look() == "" and len(remote.boxes["INBOX"]) == 1
    remote.renumber()
    remote.put(3, date=DATE + 700)
    assert house.look() == ""
    assert [subject(data) for data, _, _ in remote.boxes["INBOX"].values()] == ["m1"]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("remove", [True, 3])
def test_a_server_that_gives_the_keys_of_removed_messages_again(house, remote, remove, again):
    house.now = 1.8e9
    house.configure(account(protocol="pops", remove=remove))
    for number in range(4):
        remote.next_uid["INBOX"] = 1
        remote.put(number)
        assert house.look() == ""
        house.now += 3 * 86400
        assert house.look() == "" and remote.boxes["INBOX"] == {}
        if again:
            house.close()
            house.open()
    assert house.subjects() == ["m0", "m1", "m2", "m3"]


def test_a_server_that_confirms_removals_and_removes_nothing(house, remote, monkeypatch):
    monkeypatch.setattr(Scripted, "_expunge", lambda self, messages: None)
    for number in range(3):
        remote.put(number)
    house.configure(account(protocol="pops", remove=True))
    for _ in range(3):
        assert house.look() == "" and house.subjects() == ["m0", "m1", "m2"]
    remote.put(3)
    assert house.look() == "" and house.subjects() == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize("remove", [False, 3])
def test_a_source_that_was_restored_from_a_backup(house, remote, remove):
    house.now = 1.8e9
    for number in range(5):
        remote.put(number, date=DATE + number)
    house.configure(account(remove=remove))
    assert house.look() == ""
    del remote.boxes["INBOX"][4], remote.boxes["INBOX"][5]
    remote.next_uid["INBOX"] = 4
    for number in 7, 8:  # UIDs of messages that were fetched
        remote.put(number, date=DATE + number)
        assert house.look() == ""
    assert house.subjects() == ["m0", "m1", "m2", "m3", "m4", "m7", "m8"]
    house.close()
    house.open()
    house.now += 2 * 86400
    remote.put(9)
    assert house.look() == "" and house.subjects()[-2:] == ["m8", "m9"]
    assert remote.removed == []
    house.now += 86400
    assert house.look() == "" and len(remote.removed) == (5 if remove else 0)


@PROTOCOLS
def test_a_lost_state_brings_only_what_is_not_here(house, remote, protocol):
    for number in range(3):
        remote.put(number)
    house.configure(account(protocol=protocol))
    assert house.look() == ""
    house.close()
    states = house.path("alice", "system", "config", "mail-fetcher.state")
    for name in os.listdir(states):
        os.unlink(os.path.join(states, name))
    house.open()
    remote.put(3)
    assert house.look() == "" and house.subjects() == ["m0", "m1", "m2", "m3"]
    assert house.look() == "" and house.subjects() == ["m0", "m1", "m2", "m3"]


@PROTOCOLS
def test_a_note_that_is_lost_repeats_nothing(house, remote, protocol):
    for number in range(3):
        remote.put(number)
    house.configure(account(protocol=protocol, remove=7))
    assert house.look() == ""
    states = house.path("alice", "system", "config", "mail-fetcher.state")
    path = os.path.join(states, os.listdir(states)[0])
    with open(path, "rb") as file:
        lines = file.read().splitlines(True)
    with open(path, "wb") as file:
        file.write(b"".join(line for line in lines if line[:1] in b"+BI"))
    house.fetching = None
    house.store.close()
    house.open()
    remote.put(3)
    assert house.look() == "" and house.subjects() == ["m0", "m1", "m2", "m3"]


def test_the_daily_limit(house, remote):
    for number in range(4):
        remote.put(number, data=text(number) + b"x" * 30000)
    house.configure(account(limit=70000, remove=True))
    assert "the limit of 70000 octets a day" in house.look()
    assert house.subjects() == ["m0", "m1"] and remote.removed == [1, 2]
    house.close()
    house.open()
    assert "the limit" in house.look() and len(house.messages()) == 2
    house.now += 86400
    assert "the limit" in house.look() and len(house.messages()) == 4 or house.look() == ""
    assert house.subjects() == ["m0", "m1", "m2", "m3"]


@PROTOCOLS
def test_a_message_that_vanishes_is_passed_by(house, remote, protocol):
    remote.put(1)
    remote.put(2)

    def before(step):
        if step == "read":
            remote.boxes["INBOX"].pop(1, None)
    remote.before = before
    house.configure(account(protocol=protocol))
    assert house.look() == "" and house.subjects() == ["m2"]


def test_nonsense_uids_are_an_error(house, remote):
    remote.boxes["INBOX"][2 ** 40] = (text(1), (), DATE)
    remote.next_uid["INBOX"] = 2 ** 41
    house.configure(account())
    assert "sent a UID that is none" in house.look() and house.subjects() == []


def test_what_an_upstream_found_reaches_filters(house, remote):
    with open(house.path("alice", "mail", "filters.jcfg"), "w") as file:
        json.dump({"filters": [{"type": "match", "header": "*auth", "content": "dmarc=pass",
                                "action": "accept:Good"}]}, file)
    good = "Authentication-Results: mx.example.net; spf=pass; dmarc=pass (p=none)\r\n"
    other = "Authentication-Results: mx.other.example; dmarc=pass\r\n"
    ours = "Authentication-Results: example.org; dmarc=pass\r\n"
    remote.put(1, extra=good + ours)
    remote.put(2, extra=other)
    remote.put(3, extra=ours)
    house.configure(account(trust="mx.example.net"))
    assert house.look() == ""
    assert house.subjects("Good") == ["m1"] and house.subjects() == ["m2", "m3"]
    assert good.encode() in house.messages("Good")[0]
    assert ours.encode() not in house.messages("Good")[0] + house.messages()[1]


@PROTOCOLS
def test_old_mail_gets_no_vacation_answer(house, remote, protocol):
    with open(house.path("alice", "mail", "filters.jcfg"), "w") as file:
        json.dump({"filters": [{"type": "vacation", "text": "away"}]}, file)
    house.now = 1.8e9
    for number, age in ((1, 30 * 86400), (2, 60)):
        remote.put(number, date=house.now - age, extra=(
            "To: alice@example.org\r\nReturn-Path: <s%d@example.net>\r\nDate: %s\r\n" % (
                number, format_header(house.now - age))))
    remote.put(3, extra="To: alice@example.org\r\nReturn-Path: <s3@example.net>\r\n")
    house.configure(account(protocol=protocol))
    assert house.look() == ""
    assert [str(envelope.recipients[0].address) for envelope in house.answers] == [
        "s2@example.net"]


def test_what_a_filter_rejects_is_done(house, remote):
    with open(house.path("alice", "mail", "filters.jcfg"), "w") as file:
        json.dump({"filters": [{"type": "match", "content": "m1", "action": "reject"}]}, file)
    remote.put(1)
    remote.put(2)
    house.configure(account(remove=True))
    assert house.look() == "" and house.subjects() == ["m2"] and remote.removed == [1, 2]


def test_what_goes_elsewhere_is_queued(house, remote):
    with open(house.path("alice", "mail", "filters.jcfg"), "w") as file:
        json.dump({"filters": [
            {"type": "match", "content": "m1", "action": "forward:x@far.example"}]}, file)
    remote.put(1)
    remote.put(2)
    house.configure(account(remove=True))
    assert house.look() == "" and house.subjects() == ["m2"] and remote.removed == [1, 2]
    queued, = house.queue.messages()
    assert [str(each.address) for each in queued.recipients] == ["alice@example.org"]


@pytest.mark.parametrize("admin", [True, False])
def test_an_external_mda_gets_fetched_mail(house, remote, admin):
    house.close()
    house.settings["admin"] = ["alice"] if admin else []
    house.open()
    with open(house.path("alice", "mail", "mail.jcfg"), "w") as file:
        json.dump({"external-MDA": ">x@far.example"}, file)
    remote.boxes["Box"] = {}
    remote.put(1)
    remote.put(2, "Box")
    house.configure(account(boxes=["Inbox", {"Box": "accept:Here"}]))
    assert house.look() == "" and house.subjects("Here") == ["m2"]
    assert house.subjects() == ([] if admin else ["m1"])
    assert len(list(house.queue.messages())) == admin


def test_a_broken_configuration_of_its_owner_lets_mail_wait(house, remote):
    with open(house.path("alice", "mail", "mail.jcfg"), "w") as file:
        file.write("{")
    remote.put(1)
    house.configure(account())
    assert "try again later" in house.look() and house.subjects() == []
    os.unlink(house.path("alice", "mail", "mail.jcfg"))
    assert house.look() == "" and house.subjects() == ["m1"]


def test_throttling_and_refusals_wait(house, remote):
    house.configure(account(), account(username="bert", passphrase="wrong"))
    remote.error = Throttled("too much", 7777)
    assert house.look() == "too much"
    assert abs(house.job().status.next_try - house.now - 7777) < 800
    assert "refused the login" in house.look(1)
    assert house.job(1).status.next_try - house.now > 800
    remote.error = None
    assert house.look() == ""


class Killed(BaseException):
    """As kill -9: nothing after it is done."""


STEPS = 60


@PROTOCOLS
@pytest.mark.parametrize("remove", [False, True])
def test_a_kill_at_any_step_loses_and_repeats_nothing(tmp_path, remote, protocol, remove,
                                                      monkeypatch):
    for number in range(4):
        remote.put(number)
    place = tmp_path / "root"
    left = [0]

    def step(name="", *_):
        left[0] -= 1
        if left[0] == 0:
            raise Killed(name)

    def stepping(call, name):
        def called(*arguments, **options):
            step(name + " before")
            result = call(*arguments, **options)
            step(name + " after")
            return result
        return called
    monkeypatch.setattr(state_file, "write_all", stepping(state_file.write_all, "note"))
    monkeypatch.setattr(Folder, "deliver", stepping(Folder.deliver, "deliver"))
    remote.before = step
    kills, number = 0, 4
    for at in range(200):
        house = House(place, remote)
        house.configure(account(protocol=protocol, remove=remove))
        left[0] = 3 + at % 37
        try:
            house.look()
        except Killed:
            kills += 1
        left[0] = 10 ** 9
        seen = house.subjects()
        assert len(seen) == len(set(seen)), (at, seen)
        there = {subject(data) for data, _, _ in remote.boxes["INBOX"].values()}
        assert there | set(seen) == {"m%d" % each for each in range(number)}, at
        remote.before = lambda name: None
        for _ in range(2):
            remote.put(number)
            number += 1
        remote.before = step
        house.store.close()
        if kills >= STEPS:
            break
    assert kills == STEPS
    house = House(place, remote)
    assert house.look() == ""
    assert sorted(house.subjects()) == sorted("m%d" % each for each in range(number))
    house.close()


def copy_on(house, text="m1"):
    """The user's filters send a copy of some messages elsewhere."""
    with open(house.path("alice", "mail", "filters.jcfg"), "w") as file:
        json.dump({"filters": [{"type": "match", "content": text,
                                "action": "copy:x@far.example"}]}, file)


@PROTOCOLS
def test_a_kill_between_mailbox_and_queue_loses_no_copy(tmp_path, remote, protocol, monkeypatch):
    remote.put(1)
    remote.put(2)
    house = House(tmp_path / "root", remote)
    house.configure(account(protocol=protocol, remove=True))
    copy_on(house)

    def killed(*_):
        raise Killed
    with monkeypatch.context() as patched:
        patched.setattr(Outgoing, "commit", killed)
        with pytest.raises(Killed):
            house.look()
    assert "m1" in house.subjects() and not list(house.queue.messages())
    house.store.close()
    house = House(tmp_path / "root", remote)
    assert house.look() == ""
    assert sorted(house.subjects()) == ["m1", "m2"]
    assert len(list(house.queue.messages())) == 1
    assert not remote.boxes["INBOX"]
    house.close()


@PROTOCOLS
def test_a_queue_that_fails_repeats_no_message(house, remote, protocol, monkeypatch):
    remote.put(1)
    house.configure(account(protocol=protocol, remove=True))
    copy_on(house)

    def full(*_):
        raise SpoolError("the disk is full")
    with monkeypatch.context() as patched:
        patched.setattr(Outgoing, "commit", full)
        for _ in range(3):
            assert "could not be kept" in house.look()
            assert house.subjects() == ["m1"]
    assert remote.boxes["INBOX"]
    assert house.look() == ""
    assert house.subjects() == ["m1"] and len(list(house.queue.messages())) == 1
    assert not remote.boxes["INBOX"]


@PROTOCOLS
def test_messages_that_the_server_does_not_give_stay_there(house, remote, protocol):
    for number in range(1, 7):
        remote.put(number)
    remote.unreadable = {2, 3}
    house.configure(account(protocol=protocol))
    for _ in range(6):
        house.look()
    assert house.subjects() == ["m1", "m4", "m5", "m6"]
    assert house.look() == ""
    assert len([line for line in house.job().status.left if "does not give it" in line]) == 2


def test_a_mailbox_that_fails_does_not_keep_the_others_from_it(house, remote, monkeypatch, caplog):
    remote.boxes["A"], remote.boxes["B"] = {}, {}
    remote.put(1, "B")
    remote.put(2)
    house.configure(account(boxes=["Inbox", "A", "B"]))
    really = Scripted.open

    def opened(source, name):
        if name == "A":
            raise FetchError("the server gives the messages no lasting UIDs")
        return really(source, name)
    monkeypatch.setattr(Scripted, "open", opened)
    assert house.look() == ""
    assert sorted(house.subjects()) == ["m1", "m2"]
    assert any("A: the server gives" in line for line in house.job().status.problems)
    assert house.look() == ""
    assert caplog.text.count("A: the server gives") == 1
