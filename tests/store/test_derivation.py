"""Deriving in idle moments: which messages, in which order, how far."""
import os

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.deriving import derivation
from phenmail_protocols.store.deriving.derivation import Derivation, Derived
from phenmail_protocols.store.indexing import index
from phenmail_protocols.store.indexing.derived_index import Holds, SentWithin

from .conftest import drop_foreign


class Derive:
    """A function for Derivation that notes its calls."""

    def __init__(self, error=None):
        self.uids, self.names = [], []
        self._error = error

    def __call__(self, row, content, names, look):
        self.uids.append(row.uid)
        self.names.append(names)
        if self._error is not None and row.uid == 2:
            raise self._error
        text = content.whole()
        return Derived({"ITEM": text[:20]}, {"subject": text[9:11], "day": row.uid})


def all_of(house, derive, version="1"):
    step = Derivation(derive, version, lambda: None)
    while step(house.account):
        pass
    return derive


def test_new_messages_first_and_the_last_one_first(house, monkeypatch):
    monkeypatch.setattr(derivation, "_MOST", 2)
    for number in range(5):
        house.put("m%d" % number)
    derive = all_of(house, Derive())
    assert derive.uids == [5, 4, 3, 2, 1]
    house.put("m5")
    house.put("m6")
    assert all_of(house, derive).uids[5:] == [6, 7]
    assert all_of(house, derive).uids[7:] == []


def test_new_messages_while_old_ones_are_left(house, monkeypatch):
    monkeypatch.setattr(derivation, "_MOST", 2)
    for number in range(4):
        house.put("m%d" % number)
    derive = Derive()
    step = Derivation(derive, "1", lambda: None)
    assert step(house.account)
    house.put("new")
    while step(house.account):
        pass
    assert derive.uids == [4, 3, 5, 2, 1]


def test_small_mailboxes_first(house):
    house.account.create("Box")
    for number in range(3):
        house.put("m%d" % number)
    house.put("x", "Box")
    house.put("y", "Box")
    assert all_of(house, Derive()).uids == [2, 1, 3, 2, 1]


def test_another_version(house):
    house.put()
    derive = all_of(house, Derive())
    assert all_of(house, derive, "2").uids == [1, 1]


@pytest.mark.parametrize("error", [ValueError("a bug"), errors.Unavailable()])
def test_a_message_that_fails_is_passed_over(house, error):
    for number in range(3):
        house.put("m%d" % number)
    derive = all_of(house, Derive(error))
    inbox = house.account.open("INBOX")
    assert derive.uids == [3, 2, 1] and set(inbox.cached("ITEM", [1, 2, 3])) == {1, 3}
    found = inbox.find(Holds("subject", b"m"), 1, 3)
    assert found.matching == {1, 3} and found.known == {1, 3}
    inbox.close()


def test_a_file_that_is_gone(house):
    house.put("m1")
    path = os.path.join(house.folder, "new", os.listdir(house.folder + "/new")[0])
    house.put("m2")
    os.unlink(path)
    assert all_of(house, Derive()).uids == [2]


def test_what_another_program_put_there(house):
    house.account.open("INBOX").close()
    drop_foreign(house)
    house.account.open("INBOX").close()
    assert all_of(house, Derive()).uids == [1]


def test_names_of_the_items_that_the_mailbox_has(house):
    house.put()
    inbox = house.account.open("INBOX")
    inbox.cache({"A": {1: b"x"}, "B": {1: b"y"}})
    assert all_of(house, Derive()).names == [["A", "B"]]
    inbox.close()


def test_a_deleted_mailbox(house):
    house.account.create("Box")
    house.put("x", "Box")
    step = Derivation(Derive(), "1", lambda: None)
    house.account.delete("Box")
    assert not step(house.account)


def test_an_index_in_memory_is_not_for_that(house):
    house.put()
    house.account._index.move_to_memory()
    assert all_of(house, Derive()).uids == []


def test_what_is_found(house):
    for text in "ab", "bc", "cd":
        house.put(text)
    all_of(house, Derive())
    inbox = house.account.open("INBOX")
    assert inbox.find(Holds("subject", b"b"), 1, 3) == ({1, 2}, None)
    assert inbox.find(Holds("subject", b"b"), 2, 3) == ({2}, None)
    assert inbox.find(Holds("subject", b""), 1, 3) == ({1, 2, 3}, None)
    assert inbox.find(Holds("cc", b""), 1, 3) == (set(), None)
    assert inbox.find(SentWithin(2, 3), 1, 1 << 31) == ({2, 3}, None)
    house.put("bb")
    assert inbox.find(Holds("subject", b"b"), 1, 9) == ({1, 2}, {1, 2, 3})
    inbox.remove([1])
    assert inbox.find(Holds("subject", b"b"), 1, 9) == ({2}, {2, 3})
    inbox.close()


def test_nothing_is_left_of_a_removed_mailbox(house):
    house.account.create("Box")
    house.put("x", "Box")
    all_of(house, Derive())
    house.account.delete("Box")
    run = house.account.index._database.execute
    for table in "item", "item_kind", "sent", "people", "other", "derived":
        left = run("SELECT COUNT(*) FROM %s" % table).fetchone()[0]
        assert left == (table == "derived" and run(
            "SELECT COUNT(*) FROM derived JOIN mailbox ON mailbox.id = mailbox").fetchone()[0])


def test_a_message_with_an_old_uid_is_derived(house):
    """The index is lost, and its folder is adopted with its UIDs."""
    for number in range(3):
        house.put("m%d" % number)
    all_of(house, Derive())
    os.unlink(os.path.join(house.folder, index.FILE))
    house.account.open("INBOX").close()
    assert all_of(house, Derive()).uids == [3, 2, 1]
