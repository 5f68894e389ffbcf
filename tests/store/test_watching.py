"""Watching an account: who calls the watchers, and what they compare with."""
import os
import shutil

import pytest

from phenmail_protocols.store import errors, watching


@pytest.fixture
def calls(house, monkeypatch):
    """A list that grows with each call of a watcher."""
    monkeypatch.setattr(watching, "GRAIN", 0)
    made = []
    house.put()
    watch = house.account.watch(lambda: made.append(1))
    watch.names = frozenset(("INBOX", "Sent"))
    for _ in range(2):  # the first one makes files in the mail folder
        house.account.look()
    del made[:]
    yield made
    watch.close()


def stamp(account, name):
    return account.stamps([name]).get(name)


def test_changes_by_this_process(house, calls):
    account = house.account
    for change in (lambda: house.put(name="Sent"), lambda: account.create("a"),
                   lambda: account.rename("a", "b"), lambda: account.delete("b"),
                   lambda: account.subscribe("x"), lambda: account.unsubscribe("x")):
        before = len(calls)
        change()
        assert len(calls) > before


def test_no_calls_without_a_change_or_after_close(house, calls):
    house.account.look()
    house.account.stamps(["INBOX", "Sent"])
    house.account.names_for_watchers(lambda: None)
    assert not calls
    house.account.watches[0].close()
    house.put()
    assert not calls and not house.account.in_use


def test_stamps_follow_every_change(house, calls):
    account = house.account
    first = stamp(account, "Sent")
    uid = house.put(name="Sent").uid
    second = stamp(account, "Sent")
    assert second.uidnext == uid + 1 and second.uidvalidity == first.uidvalidity
    mailbox = account.open("Sent")
    mailbox.change_flags([uid], "add", ["\\Seen"])
    third = stamp(account, "Sent")
    assert third.modseq > second.modseq
    mailbox.close()
    account.rename("Sent", "Old")
    assert stamp(account, "Old") == third and stamp(account, "Sent") is None
    account.create("Sent")
    assert stamp(account, "Sent").uidvalidity > third.uidvalidity


def test_stamps_of_names_that_no_mailbox_has(house, calls):
    assert house.account.stamps(["no", "a//b", "Sent"]).keys() == {"Sent"}


def test_the_index_is_read_once_for_all_watchers(house, calls, monkeypatch):
    account, reads = house.account, []
    stamp(account, "Sent")
    mailboxes = account.index.mailboxes
    monkeypatch.setattr(account.index, "mailboxes", lambda: reads.append(1) or mailboxes())
    for _ in range(3):
        stamp(account, "Sent")
    assert not reads
    house.put()
    for _ in range(3):
        stamp(account, "Sent")
    assert len(reads) == 1


def test_a_failed_change_leaves_no_stamp(house, calls, monkeypatch):
    account = house.account
    before = stamp(account, "Sent")

    def fail(*_):
        raise OSError("no")
    monkeypatch.setattr(account.index, "commit", fail)
    with pytest.raises(errors.StoreError):
        house.put(name="Sent")
    monkeypatch.undo()
    assert stamp(account, "Sent") == before
    house.put(name="Sent")
    assert stamp(account, "Sent").uidnext > before.uidnext


def test_another_process_is_noticed_through_the_index(house, calls):
    other = house.another()
    before = stamp(house.account, "Sent")
    house.put(name="Sent", account=other.account(house.folder))
    house.account.look()
    assert calls and stamp(house.account, "Sent").uidnext == before.uidnext + 1
    other.account(house.folder).create("new")
    house.account.look()
    assert "new" in [info.name for info in house.account.names_for_watchers(lambda: None)]
    other.close()


def test_names_are_read_again_once_the_poller_had_stopped(house):
    account = house.account
    watch = account.watch(lambda: None)
    account.names_for_watchers(lambda: None)
    watch.close()
    assert not account.watches
    shutil.rmtree(os.path.join(house.folder, ".Sent"))
    watch = account.watch(lambda: None)
    assert "Sent" not in [info.name for info in account.names_for_watchers(lambda: None)]
    watch.close()


def test_files_of_other_programs_are_found_a_part_at_a_time(house, monkeypatch):
    monkeypatch.setattr(watching, "POLLED", 2)
    account = house.account
    names = ["INBOX"] + ["box%d" % number for number in range(5)]
    for name in names[1:]:
        account.create(name)
    watch = account.watch(lambda: None)
    watch.names = frozenset(names)
    looked = []
    monkeypatch.setattr(watching, "_look_at", lambda _, name: looked.append(name))
    for _ in range(6):
        account.look()
    assert set(looked) == set(names) and looked.count("INBOX") == 6
    assert max([looked.count(name) for name in names[1:]]) == 2
    watch.close()


def test_a_watched_mailbox_that_is_gone_stops_nothing(house, calls):
    shutil.rmtree(os.path.join(house.folder, ".Sent"))
    path = os.path.join(house.folder, "new", "1700000000.1.host")
    with open(path, "w") as file:
        file.write("A: b\n\nx\n")
    before = stamp(house.account, "INBOX")
    house.account.look()
    assert stamp(house.account, "INBOX").uidnext == before.uidnext + 1
