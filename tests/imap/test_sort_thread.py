"""SORT, THREAD (RFC 5256, 5957), ESEARCH (RFC 4731), ESORT (RFC 5267) and SEARCHRES (RFC 5182)."""
import random
from types import SimpleNamespace

import pytest

from phenmail_protocols.imap.commands import sort_thread
from phenmail_protocols.imap.searching import search_result, sort_keys, stepwise
from phenmail_protocols.imap.syntax import values
from phenmail_protocols.store import errors
from phenmail_protocols.store.mailbox import Mailbox


def letter(subject="", sender="", date="", more="", to="", body="x"):
    fields = [("Subject", subject), ("From", sender), ("Date", date), ("To", to)]
    header = "".join("%s: %s\r\n" % field for field in fields if field[1])
    return (header + more + "\r\n" + body + "\r\n").encode()


LETTERS = (
    (letter("Re: beta", "Zoe <anna@b>", "Tue, 2 Jan 2001 00:00:00 +0000", to="m@b",
            more="Message-ID: <2@x>\r\nIn-Reply-To: <1@x>\r\n"), "03-Jan-2001 00:00:00 +0000"),
    (letter("alpha", "bob@b", "Mon, 1 Jan 2001 00:00:00 +0000", to="Al <z@b>", body="y" * 99,
            more="Message-ID: <3@x>\r\nCc: q@b\r\n"), "02-Jan-2001 00:00:00 +0000"),
    (letter("Beta", "=?utf-8?q?=C3=84rger?= <carl@b>", "Mon, 1 Jan 2001 00:00:00 -0100",
            more="Message-ID: <1@x>\r\n"), "01-Jan-2001 00:00:00 +0000"),
    (letter(), "01-Jan-2001 00:30:00 +0000"),
)


def seed(client):
    for message, date in LETTERS:
        client.append(message, date='"%s"' % date)


def numbers(client, command):
    line, = client.ok(command)
    name, star = line.split(b" ", 2)[1], line.split(b" ")[0]
    assert star == b"*" and name in (b"SORT", b"SEARCH")
    return [int(word) for word in line.split()[2:]]


@pytest.mark.parametrize("criteria, order", [
    ("ARRIVAL", [3, 4, 2, 1]), ("REVERSE ARRIVAL", [1, 2, 4, 3]),
    ("DATE", [2, 4, 3, 1]), ("REVERSE DATE", [1, 3, 4, 2]),
    ("SUBJECT", [4, 2, 1, 3]), ("SUBJECT DATE", [4, 2, 3, 1]),
    ("REVERSE SUBJECT", [1, 3, 2, 4]), ("REVERSE SUBJECT REVERSE DATE", [1, 3, 2, 4]),
    ("FROM", [4, 1, 2, 3]), ("TO", [3, 4, 1, 2]), ("CC", [1, 3, 4, 2]),
    ("DISPLAYFROM", [4, 3, 2, 1]), ("DISPLAYTO", [3, 4, 2, 1]),
    ("SIZE", [4, 3, 1, 2]), ("REVERSE SIZE", [2, 1, 3, 4]), ("TO SIZE", [4, 3, 1, 2]),
])
def test_sort(reading, criteria, order):
    assert numbers(reading, "SORT (%s) UTF-8 ALL" % criteria) == order
    assert numbers(reading, "SORT (%s) UTF-8 1:2" % criteria) == [n for n in order if n < 3]


def test_uids(seeded):
    seeded.ok("STORE 1 +FLAGS (\\Deleted)")
    seeded.ok("EXPUNGE")
    assert numbers(seeded, "SORT (SUBJECT) UTF-8 ALL") == [3, 1, 2]
    assert numbers(seeded, "UID SORT (SUBJECT) UTF-8 ALL") == [4, 2, 3]
    assert seeded.ok("UID THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (2)(4)(3)"]


def test_nothing_found(reading):
    assert reading.ok("SORT (SUBJECT) UTF-8 SEEN") == [b"* SORT"]
    assert reading.ok("THREAD REFERENCES US-ASCII SEEN") == [b"* THREAD"]
    assert reading.ask("SORT (SUBJECT) KLINGON ALL")[-1].startswith(b"NO [BADCHARSET (")


def test_threads(reading):
    assert reading.ok("THREAD REFERENCES UTF-8 ALL") == [b"* THREAD (2)(4)(3 1)"]
    assert reading.ok("THREAD ORDEREDSUBJECT UTF-8 ALL") == [b"* THREAD (2)(4)(3 1)"]
    assert reading.ok("THREAD REFERENCES UTF-8 1") == [b"* THREAD (1)"]


@pytest.mark.parametrize("command, answer", [
    ("SEARCH RETURN () ALL", b"ALL 1:4"), ("SEARCH RETURN (MIN MAX) 2:3", b"MIN 2 MAX 3"),
    ("SEARCH RETURN (COUNT ALL) 1,3,4", b"COUNT 3 ALL 1,3:4"),
    ("SEARCH RETURN (MIN MAX ALL COUNT) SEEN", b"COUNT 0"),
    ("SORT RETURN (ALL) (ARRIVAL) UTF-8 ALL", b"ALL 3:4,2,1"),
    ("SORT RETURN (MIN MAX COUNT) (ARRIVAL) UTF-8 ALL", b"MIN 3 MAX 1 COUNT 4"),
])
def test_extended_results(reading, command, answer):
    line, = reading.ok(command)
    assert line.startswith(b'* ESEARCH (TAG "t') and line.endswith(b'") ' + answer)
    line, = reading.ok("UID " + command)
    assert line.endswith(b'") UID ' + answer)


def test_no_result_at_all(reading):
    line, = reading.ok("SEARCH RETURN (MIN) SEEN")
    assert line.startswith(b'* ESEARCH (TAG "t') and line.endswith(b'")')


def test_a_saved_result(seeded, connect):
    assert seeded.ok("FETCH $ UID") == []  # RFC 5182 2.1: empty after SELECT
    assert seeded.ok("SEARCH RETURN (SAVE) 2:4") == []
    assert len(seeded.ok("FETCH $ UID")) == 3 == len(seeded.ok("UID FETCH $ FLAGS"))
    assert numbers(seeded, "SEARCH $ SUBJECT beta") == [3]
    assert numbers(seeded, "UID SEARCH NOT $") == [1]
    assert numbers(seeded, "SORT (SUBJECT) UTF-8 $") == [4, 2, 3]
    other = connect()
    other.ok("STORE 3 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    seeded.ok("NOOP")
    assert numbers(seeded, "SEARCH UID 1:* $") == [2, 3]  # expunged messages leave the result
    assert len(seeded.ok("FETCH $ FLAGS")) == 2
    seeded.ok("COPY $ Sent")
    seeded.ok("UID STORE $ +FLAGS (\\Deleted)")
    seeded.ok("UID EXPUNGE $")
    assert seeded.ok("FETCH 1:* UID") == [b"* 1 FETCH (UID 1)"]
    seeded.ok("SELECT Sent")
    assert seeded.ok("FETCH $ UID") == []


def test_what_is_saved(seeded):
    seeded.ok("SEARCH RETURN (SAVE MIN) 2:4")
    assert numbers(seeded, "SEARCH $") == [2]
    seeded.ok("SEARCH RETURN (MAX SAVE MIN) 1:3")
    assert numbers(seeded, "SEARCH $") == [1, 3]
    line, = seeded.ok("SEARCH RETURN (SAVE COUNT MIN) 2:4")
    assert line.endswith(b"COUNT 3 MIN 2")
    assert numbers(seeded, "SEARCH $") == [2, 3, 4]
    seeded.ok("SEARCH RETURN (SAVE) $ 3")
    assert numbers(seeded, "SEARCH $") == [3]
    seeded.ok("SEARCH RETURN (SAVE) SEEN")
    assert numbers(seeded, "SEARCH $") == []


def test_a_search_that_fails_saves_nothing(seeded, monkeypatch):
    def broken(mailbox, uids):
        raise errors.Unavailable()
    seeded.ok("SEARCH RETURN (SAVE) ALL")
    assert seeded.ask("SEARCH RETURN (SAVE) FOO")[-1].startswith(b"BAD")
    assert numbers(seeded, "SEARCH $") == [1, 2, 3, 4]
    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "existing", broken)
        assert seeded.ask("SEARCH RETURN (SAVE) ALL")[-1].startswith(b"NO")
    assert numbers(seeded, "SEARCH $") == []


def test_keys_are_read_once(seeded, connect, monkeypatch):
    reads = []
    read = sort_keys.read
    monkeypatch.setattr(sort_keys, "read", lambda header: reads.append(1)
                        or read(header))
    for _ in range(2):
        numbers(seeded, "SORT (SUBJECT) UTF-8 ALL")
        seeded.ok("THREAD REFERENCES UTF-8 ALL")
    numbers(connect(), "SORT (DATE) UTF-8 ALL")
    assert len(reads) == 4


def test_batches(client, monkeypatch):
    monkeypatch.setattr(sort_thread, "BATCH", 3)
    subjects = ["%02d" % number for number in range(20)]
    random.Random(7).shuffle(subjects)
    for subject in subjects:
        client.append(letter(subject))
    client.ok("NOOP")
    found = numbers(client, "SORT (SUBJECT) UTF-8 ALL")
    assert [subjects[number - 1] for number in found] == sorted(subjects)


@pytest.mark.parametrize("command", ["SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL"])
def test_a_message_that_another_session_expunged(seeded, connect, command):
    other = connect()
    other.ok("STORE 2 +FLAGS (\\Deleted)")
    other.ok("EXPUNGE")
    lines = seeded.ask(command)
    assert lines[-1].startswith(b"OK [EXPUNGEISSUED]") and len(lines) == 2
    assert b"* 2 EXPUNGE" in seeded.ask("UID " + command)


def test_a_sorted_result_is_saved(seeded):
    assert seeded.ok("SORT RETURN (SAVE) (REVERSE DATE) UTF-8 2:4") == []
    assert numbers(seeded, "SEARCH $") == [2, 3, 4]
    line, = seeded.ok("UID SORT RETURN (SAVE MAX COUNT MAX) (REVERSE DATE) UTF-8 2:4")
    assert line.endswith(b"MAX 2 COUNT 3")
    seeded.ok("SORT RETURN (SAVE MAX) (REVERSE DATE) UTF-8 2:4")
    assert numbers(seeded, "SEARCH $") == [2]


def test_many_saved_results_in_one_search_share_their_memory(client):
    for _ in range(3):
        client.append(letter("x"))
    client.ok("SEARCH RETURN (SAVE) 1,3")
    assert numbers(client, "SEARCH " + "$ " * 4000 + "ALL") == [1, 3]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("count", [0, 1, 5, 6, 7, 50])
def test_sorting_in_steps_is_sorting(monkeypatch, count, reverse):
    monkeypatch.setattr(stepwise, "STEP", 6)
    dice, looks = random.Random(count), []
    items = [(dice.randint(0, 9), number) for number in range(count)]
    found = stepwise.sort(items, lambda item: item[0], lambda: looks.append(1), reverse)
    assert found == sorted(items, key=lambda item: item[0], reverse=reverse)
    assert len(looks) >= -(-count // 6) * (2 if count > 6 else 1), "sorting and merging"


@pytest.mark.parametrize("returns", [None, ("SAVE",), ("ALL",)])
def test_a_long_response_is_built_in_steps(monkeypatch, returns):
    """One formatting or sorting of a million numbers would hold the interpreter lock for 1 s."""
    monkeypatch.setattr(search_result, "BATCH", 2)
    monkeypatch.setattr(stepwise, "STEP", 2)
    looks, written, view = [], [], SimpleNamespace(
        numbers=lambda uids, look: [look() or uid - 10 for uid in uids])
    session = SimpleNamespace(look=lambda: looks.append(1), write=written.append, view=view,
                              tag=b"x")
    uids = [15, 11, 19, 12, 13, 14, 18, 17, 16]
    arguments = values.Search(values.And(()), False, returns)
    search_result.reply(session, b"SORT", uids, arguments)
    assert len(looks) >= 9
    if returns == ("SAVE",):
        assert list(view.saved) == sorted(uids) and not written
    else:
        assert written[0].endswith(b"* SORT 5 1 9 2 3 4 8 7 6\r\n" if returns is None
                                   else b" ALL 5,1,9,2:4,8,7,6\r\n")


def test_a_repeated_criterion_changes_nothing(reading):
    assert numbers(reading, "SORT (%s SUBJECT) UTF-8 ALL" % " ".join(["SUBJECT"] * 2000)) == [4, 2, 1, 3]
