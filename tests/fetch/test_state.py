"""The state of a fetched account: what is noted is known again, whatever happens to its file."""
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.disk.owned_folder import OwnedFolder
from phenmail_protocols.fetch.keeping import state as state_file
from phenmail_protocols.fetch.keeping.known import MOST_RANGES, Numbers, Ranges
from phenmail_protocols.fetch.keeping.state import State

NOW = 1700000000


class Place:
    def __init__(self, path):
        os.makedirs(str(path / "user"))
        self.base = os.path.realpath(str(path))
        self.file = os.path.join(self.base, "user", "states", "account")
        self.now = NOW
        self._states = []

    def close(self):
        for state in self._states:
            state.abandon()

    def open(self):
        return OwnedFolder(self.base, "user", "states")

    def state(self, removes=False):
        found = State(self.open, "account", removes, lambda: self.now)
        self._states.append(found)
        found.refresh()
        return found

    def text(self):
        with open(self.file, "rb") as file:
            return file.read()


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.close()


def test_what_was_noted_is_known_again(place):
    state = place.state(removes=True)
    assert state.doubt == 0  # there was no file, so only mailboxes say what was fetched
    state.settle()
    inbox = state.mailbox("Inbox", 7)
    assert inbox.ignored_until is None
    state.first_look(inbox, True)
    state.leave(inbox, 1, 9)
    state.begin()
    state.delivered(inbox, 10, 0xabc)
    sent = state.mailbox('S "ent" \u00fc', 8)
    state.delivered(sent, 3, 1)
    state.delivered(inbox, 12, 2)
    state.complete(inbox)
    state.delivered_key(0xfedcba9876543210)
    state.leave_key(5)
    state.count(100)
    state.end_round()
    state.close()
    again = place.state(removes=True)
    assert again.doubt is None
    inbox = again.mailbox("Inbox", 7)
    assert list(inbox.done) == [(1, 10), (12, 12)] and inbox.done.beginning == 10
    assert inbox.is_complete and inbox.ignored_until == NOW
    assert list(map(list, inbox.delivered)) == [[10, 12], [NOW, NOW]]
    assert list(again.mailbox('S "ent" \u00fc', 8).done) == [(3, 3)]
    assert again.keys.get(0xfedcba9876543210) == NOW and again.keys.get(5) == 0
    assert again.count(5) == 105
    place.now += 86400
    assert again.count(5) == 5


def test_what_was_removed_is_no_longer_waited_for(place):
    state = place.state(removes=True)
    inbox = state.mailbox("Inbox", 7)
    for uid in (4, 5, 9):
        state.delivered(inbox, uid, uid)
    state.removed(inbox, 2)
    assert list(inbox.delivered[0]) == [9]
    state.end_round()
    assert list(place.state(True).mailbox("Inbox", 7).delivered[0]) == [9]
    assert list(place.state(False).mailbox("Inbox", 7).delivered[0]) == []


def test_an_unclean_end_is_noticed(place):
    state = place.state()
    state.settle()
    state.begin()
    state.begin()
    assert place.text().count(b"+") == 1
    state.abandon()
    assert place.state().doubt == NOW - 86400
    place.now += 1000000
    again = place.state()
    again.begin()
    assert place.state().doubt == NOW - 86400  # of the first of both
    again.close()
    assert place.state().doubt == NOW - 86400, "what was in doubt was not settled"
    again.settle()
    again.close()
    assert place.state().doubt is None


def test_another_validity_keeps_the_content_keys(place):
    state = place.state()
    inbox = state.mailbox("Inbox", 7)
    state.first_look(inbox, True)
    state.delivered(inbox, 4, 44)
    state.delivered(state.mailbox("Other", 7), 4, 55)
    inbox = state.mailbox("Inbox", 8)
    assert list(inbox.done) == [] and not inbox.is_complete and inbox.ignored_until == NOW
    state.delivered(inbox, 1, 66)
    for one in (state, place.state()):
        known = one.contents(one.mailbox("Inbox", 8))
        assert 44 in known and 55 not in known and 66 not in known
        assert list(one.mailbox("Inbox", 8).done) == [(1, 1)]


def test_a_torn_line_harms_no_other(place):
    state = place.state()
    inbox = state.mailbox("Inbox", 7)
    state.delivered(inbox, 4, 44)
    state.end_round()
    with open(place.file, "ab") as file:
        file.write(b"U 5 00000000")
    again = place.state()
    again.delivered(again.mailbox("Inbox", 7), 6, 66)
    again.end_round()
    assert list(place.state().mailbox("Inbox", 7).done) == [(4, 4), (6, 6)]


@pytest.mark.parametrize("removes", [False, True])
def test_torn_numbers_are_none(place, removes):
    place.state().begin()
    with open(place.file, "ab") as file:
        file.write(b"B 7 \"Inbox\"\nU 5 0123456789abcdef 17")
    for _ in range(2):
        again = place.state(removes=removes)
        assert list(again.mailbox("Inbox", 7).done) == []
        again.leave(again.mailbox("Other", 7), 1)
        again.end_round()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(
    st.binary(max_size=30),
    st.sampled_from([b"+ 1", b"-", b"C", b'B 1 "x"', b"B 1 []", b'B 1 "', b"U 1 0123456789abcdef 5",
                     b"U 9999999999 0123456789abcdef 9999999999", b"L 1", b"L 9 3", b"R 1 9999999999",
                     b"L 0 0", b"R 5", b"K 0123456789abcdef 9999999999", b"I 4", b"T 1 1"]))))
def test_any_file_is_read(tmp_path_factory, lines):
    place = Place(tmp_path_factory.mktemp("any"))
    place.state().begin()
    with open(place.file, "wb") as file:
        file.write(b"\n".join(lines))
    state = place.state(removes=True)
    state.delivered(state.mailbox("x", 1), 77, 1)
    state.end_round()
    state._rewrite()
    again = place.state(removes=True)
    assert 77 in again.mailbox("x", 1).done
    assert list(again.mailbox("x", 1).done) == list(state.mailbox("x", 1).done)
    assert again.mailbox("x", 1).ignored_until == state.mailbox("x", 1).ignored_until
    place.close()


@pytest.mark.parametrize("put", ["link", "pipe", "folder", "huge", "hard link"])
def test_what_is_no_usable_file_is_set_aside(place, put, caplog, monkeypatch):
    state = place.state()
    state.begin()
    state.end_round()
    other = os.path.join(place.base, "other")
    with open(other, "wb") as file:
        file.write(b"untouched")
    os.unlink(place.file)
    if put == "link":
        os.symlink(other, place.file)
    elif put == "pipe":
        os.mkfifo(place.file)
    elif put == "folder":
        os.mkdir(place.file)
    elif put == "huge":
        with open(place.file, "wb") as file:
            file.truncate(4 * 1024 ** 3)
    else:
        os.link(other, place.file)
    with pytest.raises(OSError):
        state.begin()
        state._open()
    state.refresh()
    assert state.doubt == 0 and "set aside" in caplog.text
    assert os.path.lexists(place.file + ".unusable")
    state.begin()
    state.end_round()
    assert place.text().strip() == b"+ %d" % NOW
    with open(other, "rb") as file:
        assert file.read() == b"untouched"


def test_a_link_in_the_folders_place_is_refused(place):
    os.makedirs(os.path.join(place.base, "elsewhere"))
    os.symlink(os.path.join(place.base, "elsewhere"), os.path.join(place.base, "user", "states"))
    with pytest.raises(OSError):
        place.state()


def test_a_file_that_was_replaced_is_read_again(place):
    state = place.state()
    inbox = state.mailbox("Inbox", 7)
    state.delivered(inbox, 4, 44)
    state.end_round()
    os.unlink(place.file)
    with pytest.raises(OSError):
        state.delivered(inbox, 5, 55)
    state.abandon()
    state.refresh()
    assert list(state.mailbox("Inbox", 7).done) == [] and state.doubt is not None


def test_a_note_that_fails_leaves_a_doubt(place, monkeypatch):
    state = place.state()
    state.settle()
    state.begin()
    inbox = state.mailbox("Inbox", 7)

    def fail(descriptor, data):
        os.write(descriptor, data[:3])
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(state_file, "write_all", fail)
    with pytest.raises(OSError):
        state.delivered(inbox, 4, 44)
    assert 4 in inbox.done
    monkeypatch.undo()
    state.abandon()
    state.close()
    assert place.state().doubt is not None


def test_a_file_that_grew_is_rewritten(place, monkeypatch):
    monkeypatch.setattr(state_file, "_SMALL", 2000)
    state = place.state(removes=True)
    state.settle()
    inbox = state.mailbox("Inbox", 7)
    state.first_look(inbox, False)
    state.begin()
    for uid in range(1, 201):
        state.delivered(inbox, uid, uid)
        state.leave(state.mailbox("Other", 1), uid)
        if uid % 50 == 0:
            state.removed(inbox, 50)
            state.end_round()
    state.delivered(inbox, 300, 300)
    state.end_round()
    assert len(place.text()) < 4000
    again = place.state(removes=True)
    assert list(again.mailbox("Inbox", 7).done) == [(1, 200), (300, 300)]
    assert list(again.mailbox("Inbox", 7).delivered[0]) == [300]
    assert again.mailbox("Inbox", 7).ignored_until == 0
    assert list(again.mailbox("Other", 1).done) == [(1, 200)]
    assert again.doubt is not None
    state.close()
    assert place.state().doubt is None


def test_a_rewrite_keeps_the_last_notes(place, monkeypatch):
    monkeypatch.setattr(state_file, "_MOST_NOTES", 5)
    state = place.state()
    state.settle()
    inbox = state.mailbox("Inbox", 7)
    for uid in range(1, 11):
        state.delivered(inbox, uid, uid)
    state.end_round()
    state._rewrite()
    again = place.state()
    assert list(again.mailbox("Inbox", 7).done) == [(1, 10)]
    known = again.contents(again.mailbox("Inbox", 8))
    assert [number for number in range(12) if number in known] == [6, 7, 8, 9, 10]


def test_ranges_are_a_set():
    chance = random.Random(5)
    for _ in range(200):
        ranges, plain = Ranges(), set()
        for _ in range(40):
            first = chance.randint(1, 60)
            last = first + chance.choice([0, 0, 1, 5])
            ranges.add(first, last)
            plain.update(range(first, last + 1))
        assert {number for number in range(70) if number in ranges} == plain
        assert all(later[0] > earlier[1] + 1
                   for earlier, later in zip(list(ranges), list(ranges)[1:]))
        beginning = 0
        while beginning + 1 in plain:
            beginning += 1
        assert ranges.beginning == beginning


def test_ranges_are_bounded():
    ranges = Ranges()
    ranges._starts.extend(range(1, 2 * MOST_RANGES, 2))
    ranges._ends.extend(range(1, 2 * MOST_RANGES, 2))
    with pytest.raises(ValueError):
        ranges.add(5 * MOST_RANGES)
    ranges.add(2)


def test_numbers_are_a_table():
    numbers = Numbers()
    for number in (1, 4097, 2 ** 64 - 1, 1):
        numbers[number] = number % 100
    assert len(numbers) == 3 and 4097 in numbers and 8193 not in numbers
    assert [numbers.get(number) for number in (1, 4097, 2 ** 64 - 1, 8193)] == [1, 97, 15, None]
