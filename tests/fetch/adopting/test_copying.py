"""Copying from a server of memory into a real store: nothing is lost, nothing is there twice."""
import errno
import os
import subprocess

import pytest

from phenmail_protocols.fetch.adopting import copying
from phenmail_protocols.fetch.adopting.allowance import Allowance
from phenmail_protocols.fetch.adopting.connection import Stopped
from phenmail_protocols.fetch.source import LoginRefused, Throttled, Unreadable
from phenmail_protocols.store import errors

from .conftest import Desk, cut, message


def all_whole(desk, afresh=False):
    rows = desk.rows(afresh)
    assert all(row.is_whole for row in rows), rows
    return rows


def test_octets_flags_keywords_dates(desk):
    for number in range(150):
        desk.server.put("Lists/dev", message(number), ["\\Seen", "$Forwarded", "\\Strange", "Own"],
                        1400000000 + number)
    desk.server.put("INBOX", message(200), ["\\deleted", "\\ANSWERED"])
    desk.copy()
    assert desk.here("Lists/dev") == [message(number) for number in range(150)]
    assert desk.flags("Lists/dev") == [({"\\Seen", "$Forwarded", "Own"}, 1400000000 + number)
                                       for number in range(150)]
    assert desk.flags("INBOX") == [({"\\Deleted", "\\Answered"}, 1500000000)]
    assert "Lists/dev" in desk.house.account.subscriptions()
    assert [(row.source, row.there, row.here, row.identical) for row in all_whole(desk)] == [
        ("INBOX", 1, 1, 1), ("Lists/dev", 150, 150, 150)]
    desk.server.read = []
    all_whole(desk)
    assert desk.server.read == []  # the ledgers know the hashes
    all_whole(desk, afresh=True)
    assert len(desk.server.read) == 151
    desk.server.read = []
    desk.copy()
    assert desk.server.read == [] and len(desk.here("Lists/dev")) == 150


def test_a_message_that_the_server_refuses_is_named_and_the_others_come(desk):
    desk.server.put("INBOX", message(1, size=10000))
    desk.server.put("INBOX", message(2))

    def refuse(verb, at):
        if verb == "piece" and at == 8192:
            raise Unreadable("the server refused FETCH")
    desk.server.faults = refuse
    desk.copy()
    assert desk.here("INBOX") == [message(2)]
    for afresh in False, True:
        row, = desk.rows(afresh)
        assert (row.there, row.here, row.identical) == (2, 1, 1)
        assert row.differing == (("<1@there>", "not in INBOX: the server refused FETCH"),)
    desk.server.faults = lambda verb, what: None
    desk.copy()
    assert len(all_whole(desk)) == 1 and len(desk.here("INBOX")) == 2
    desk.server.faults = refuse
    row, = desk.rows(True)
    assert row.differing == (("<1@there>", "it cannot be read there"),)


class Killed(BaseException):
    """Like kill -9: no handler of ours catches it."""


@pytest.mark.parametrize("place", ["deliver", "delivered", "ledger", "read"])
def test_a_process_that_ends_anywhere_leaves_no_second_copy(desk, monkeypatch, place):
    for number in range(200):
        desk.server.put("INBOX", message(number))
    real = desk.house.account.deliver_all
    calls = []

    def deliver_all(name, messages):
        calls.append(name)
        if place == "deliver" and len(calls) in (2, 4):
            raise Killed()
        done = real(name, messages)
        if place == "delivered" and len(calls) in (2, 4):
            raise Killed()
        return done

    def ledger_add(ledger, lines):
        if place == "ledger" and lines and lines[0].digest != "?":
            calls.append("add")
            if len(calls) in (2, 4):
                raise Killed()
        real_add(ledger, lines)

    def fault(verb, what):
        if place == "read" and verb == "entry" and what in (70, 140) and what not in calls:
            calls.append(what)
            raise Killed()

    real_add = copying.Ledger.add
    monkeypatch.setattr(copying.Ledger, "add", ledger_add)
    monkeypatch.setattr(desk.house.account, "deliver_all", deliver_all, raising=False)
    desk.server.faults = fault
    for _ in range(2):
        with pytest.raises(Killed):
            desk.copy()
    desk.copy()
    assert desk.here("INBOX") == [message(number) for number in range(200)]
    all_whole(desk)
    assert os.listdir(desk.house.folder + "/tmp") == []


def test_a_message_that_was_moved_or_removed_here_is_not_copied_again(desk):
    for number in range(3):
        desk.server.put("INBOX", message(number))
    desk.copy()
    mailbox = desk.house.account.open("INBOX")
    mailbox.move([2], "Archive")
    mailbox.close()
    desk.server.put("INBOX", message(9))
    desk.copy()
    assert desk.here("INBOX") == [message(0), message(2), message(9)]
    row, = [row for row in desk.rows() if row.source == "INBOX"]
    assert (row.there, row.here, row.identical) == (4, 3, 3)
    assert row.differing == (("<1@there>", "not in INBOX: it was moved or removed here"),)


def test_a_lost_connection_is_opened_again(desk):
    for number in range(100):
        desk.server.put("INBOX", message(number))
    times = []

    def fault(verb, what):
        if verb in ("entry", "open") and len(times) < 4:
            times.append(what)
            cut()

    desk.server.faults = fault
    desk.copy()
    assert len(desk.here("INBOX")) == 100 and desk.server.connections >= 5
    assert any("the line is cut; continues at " in said for said in desk.said)


def test_it_gives_up_in_the_end(desk):
    desk.server.put("INBOX", message(1))
    desk.server.faults = lambda verb, what: verb == "open" and cut()
    with pytest.raises(Stopped, match="the line is cut. The same command goes on later"):
        desk.copy()

    def refuse(verb, what):
        if verb == "open":
            raise LoginRefused("wrong")
    desk.server.faults = refuse
    with pytest.raises(LoginRefused):
        desk.copy()


def test_a_large_message_goes_on_where_it_was_cut(desk, monkeypatch):
    monkeypatch.setattr(copying, "PIECE", 4096)
    big = message(1, 200000)
    desk.server.put("INBOX", big)
    seen = []

    def fault(verb, what):
        if verb == "piece":
            seen.append(what)
            if seen.count(what) == 1 and what and what % 65536 == 0:
                cut()

    desk.server.faults = fault
    desk.copy()
    assert desk.here("INBOX") == [big]
    assert max(seen.count(what) for what in seen) == 2  # those at which it was cut
    all_whole(desk)


def test_throttling_is_waited_for(desk):
    for number in range(100):
        desk.server.put("INBOX", message(number))
    begun, times = desk.now, []

    def fault(verb, what):
        if verb == "piece" and len(desk.server.read) in (70, 90) and len(times) < 2:
            times.append(desk.now)
            raise Throttled("too much today", 7200 if len(times) == 1 else None)

    desk.server.faults = fault
    desk.copy()
    assert len(desk.here("INBOX")) == 100 and desk.now - begun >= 7200 + 60
    assert any("too much today; continues at" in said and "(2.0 h)" in said for said in desk.said)
    all_whole(desk)


def test_the_days_limit(desk):
    for number in range(10):
        desk.server.put("INBOX", message(number, 1000))
    desk.server.put("INBOX", message(1))
    begun = desk.now
    path = str(desk.ledgers / "octets")
    desk.allowance = Allowance(path, 5000, lambda: desk.now)
    desk.copy()
    assert len(desk.here("INBOX")) == 11 and desk.now - begun >= 2 * 86400
    again = Allowance(path, 5000, lambda: desk.now)
    assert again._octets == desk.allowance._octets > 0  # a later run knows of it


def test_a_full_disk_is_waited_for(desk, monkeypatch):
    for number in range(3):
        desk.server.put("INBOX", message(number))
    real, begun = desk.house.account.stage, desk.now

    def stage(*arguments):
        if desk.now < begun + 200:
            raise errors.NoSpace()
        return real(*arguments)

    monkeypatch.setattr(desk.house.account, "stage", stage, raising=False)
    desk.copy()
    assert len(desk.here("INBOX")) == 3
    assert sum("The disk is full; continues at" in said for said in desk.said) >= 3


def test_a_disk_that_is_really_full(tmp_path):
    try:
        subprocess.check_output(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)],
                                stderr=subprocess.STDOUT)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip("no small file system can be mounted: %s" % error)
    desk = Desk(tmp_path)
    try:
        sent = [message(number, 20000) for number in range(1, 60)]
        for octets in sent:
            desk.server.put("INBOX", octets)
        ballast = tmp_path / "ballast"
        ballast.write_bytes(bytes(3300000))
        real = desk.sleep

        def sleep(seconds):
            if desk.now > begun + 300 and ballast.exists():
                ballast.unlink()
            real(seconds)

        desk.sleep, begun = sleep, desk.now
        desk.copy()
        assert any("The disk is full; continues at" in said for said in desk.said)
        assert desk.here("INBOX") == sent
        all_whole(desk)
    finally:
        desk.house.close()
        subprocess.check_call(["umount", str(tmp_path)])


def test_what_changes_there_meanwhile(desk):
    for number in range(130):
        desk.server.put("INBOX", message(number))
    desk.server.put("Gone", message(500))
    messages = desk.server.boxes["INBOX"].messages

    def fault(verb, what):
        if verb == "entry" and what == 100 and 120 in messages:
            del messages[120]  # before it was listed
            desk.server.put("INBOX", message(300))
        if verb == "piece" and 30 in messages and len(desk.server.read) == 5:
            del messages[30]  # listed already
            desk.server.boxes.pop("Gone", None)

    desk.server.faults = fault
    plan = desk.plan()
    copier = desk.copier()
    copier.run(plan)
    assert len(desk.here("INBOX")) == 129
    assert message(300) in desk.here("INBOX")
    assert "Gone does not exist there any more\n" in desk.said
    row, = desk.rows()
    assert row.is_whole and row.there == len(messages)


def test_a_new_uidvalidity_does_not_mean_everything_again(desk):
    for number in range(5):
        desk.server.put("INBOX", message(number))
    desk.server.put("INBOX", message(0))  # an equal message, which counts
    desk.copy()
    box = desk.server.boxes["INBOX"]
    box.validity = 2
    box.messages = {uid + 10: (octets, entry._replace(uid=uid + 10))
                    for uid, (octets, entry) in box.messages.items()}
    desk.server.put("INBOX", message(0))
    desk.server.put("INBOX", message(7))
    desk.copy()
    desk.copy()
    assert desk.here("INBOX") == [message(number) for number in (0, 1, 2, 3, 4, 0, 0, 7)]
    all_whole(desk, afresh=True)


def test_a_virtual_mailbox_adds_only_what_no_other_one_has(desk):
    desk.server.put("INBOX", message(1))
    desk.server.put("Old", message(2))
    desk.server.box("Everything", "\\all")
    for number in (1, 2, 3):
        desk.server.put("Everything", message(number))
    desk.copy()
    assert desk.here("Archive") == [message(3)] and desk.here("Old") == [message(2)]
    all_whole(desk)


def test_gmail(desk):
    desk.server.has_labels = True
    for name, use in [("INBOX", ""), ("All", "\\all"), ("Junk mail", "\\junk"), ("Work", "")]:
        desk.server.box(name, use)
    desk.server.put("All", message(1), ["\\Seen"], 1400000001, "11", ["\\Inbox", "Work"])
    desk.server.put("All", message(2), [], 1400000002, "12", ["\\Starred"])
    desk.server.put("All", message(3), [], 1400000003, "13", ["\\Sent"])
    desk.server.put("INBOX", message(1), ["\\Seen"], 1400000001, "11", ["Work"])
    desk.server.put("Junk mail", message(4), [], 1400000004, "14", [])
    desk.copy()
    desk.copy()
    assert desk.here("INBOX") == desk.here("Work") == [message(1)]
    assert desk.here("Archive") == [message(2)] and desk.here("Sent") == [message(3)]
    assert desk.here("Junk") == [message(4)]
    assert desk.flags("Archive") == [({"\\Flagged"}, 1400000002)]
    assert len([uid for name, uid in desk.server.read if name == "All"]) == 3
    inodes = {os.stat(os.path.join(desk.house.folder, folder, "cur", name)).st_ino
              for folder in ("", ".Work")
              for name in os.listdir(os.path.join(desk.house.folder, folder, "cur"))}
    assert len(inodes) == 1  # two mailboxes, one file
    all_whole(desk, afresh=True)
    # after an interruption between the two mailboxes
    desk.server.put("All", message(5), [], 1400000005, "15", ["\\Inbox", "Work"])
    real = desk.house.account.deliver_all
    calls = []

    def deliver_all(name, messages):
        calls.append(name)
        if len(calls) == 2:
            raise Killed()
        return real(name, messages)

    desk.house.account.deliver_all = deliver_all
    with pytest.raises(Killed):
        desk.copy()
    desk.copy()
    assert desk.here("INBOX") == desk.here("Work") == [message(1), message(5)]
    # the UIDVALIDITY of All Mail changes
    desk.server.boxes["All"].validity = 9
    desk.server.read = []
    desk.copy()
    assert desk.server.read == [] and desk.here("INBOX") == [message(1), message(5)]


def test_what_cannot_be_kept_is_named(desk):
    crooked = b"Message-ID: <crooked@there>\r\n\r\nbare\nLF and bare\rCR\r\n"
    desk.server.put("INBOX", crooked)
    desk.server.put("INBOX", b"Message-ID: <nul@there>\r\n\r\na\0b\r\n")
    desk.server.put("INBOX", message(1), ["k%d" % number for number in range(30)])
    desk.server.put("INBOX", message(2, 5000))
    desk.server.put("INBOX", b"")
    desk.server.put("INBOX", b"no line end\r")
    desk.largest = 4000
    desk.copy()
    row, = desk.rows()
    assert (row.there, row.here, row.identical) == (6, 5, 3)
    named = dict(row.differing)
    assert named["<crooked@there>"].startswith("some of its lines end in a bare LF or CR there")
    assert named["<2@there>"] == "not in INBOX: larger than the limit of 4000 octets (message-size)"
    assert named["UID 6, without Message-ID"].startswith("some of its lines")
    with copying.Ledger(str(desk.ledgers), "me@there", "INBOX", 1, "") as ledger:
        assert ledger.line(3).reason.startswith("keywords not kept: k26 k27")
        with open(ledger._path, "rb") as file:
            assert len([line for line in file if b"message-size" in line]) == 2  # one in each round
    assert b"\0" in desk.here("INBOX")[1]
    desk.largest = 1 << 20  # now it may come
    desk.copy()
    assert {row.here for row in desk.rows()} == {6}


def test_the_receipt_survives_a_lost_connection(desk):
    for name in "INBOX", "Other":
        for number in range(3):
            desk.server.put(name, message(number))
    desk.copy()
    times = []

    def fault(verb, what):
        if verb == "entry" and len(times) < 3:
            times.append(what)
            cut()

    desk.server.faults = fault
    assert [(row.source, row.there, row.identical) for row in desk.rows()] == [
        ("INBOX", 3, 3), ("Other", 3, 3)]


def test_a_ledger_on_a_full_disk(desk, monkeypatch):
    for number in range(70):
        desk.server.put("INBOX", message(number))
    real, times = copying.Ledger.add, []

    def add(ledger, lines):
        if lines and len(times) < 2:
            times.append(1)
            ledger._file.write(b"5 10 ")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(ledger, lines)

    monkeypatch.setattr(copying.Ledger, "add", add)
    desk.copy()
    assert len(desk.here("INBOX")) == 70
    all_whole(desk)


def test_a_server_that_names_two_messages_alike(desk):
    desk.server.has_labels = True
    desk.server.box("All", "\\all")
    for number in 1, 2:
        desk.server.put("All", message(number), [], 1400000000, "11", ["\\Inbox"])
    desk.copy()
    assert desk.here("INBOX") == [message(1)]
    row, = desk.rows()
    assert row.here == 2 and row.identical == 1 and "<2@there>" in dict(row.differing)


def test_the_quota(desk, monkeypatch):
    desk.server.put("INBOX", message(1))

    def deliver_all(name, messages):
        raise errors.OverQuota()

    monkeypatch.setattr(desk.house.account, "deliver_all", deliver_all, raising=False)
    with pytest.raises(Stopped, match="Raise the user's quota; the same command goes on"):
        desk.copy()
