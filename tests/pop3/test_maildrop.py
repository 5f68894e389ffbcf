"""A maildrop on a real store: coherent whatever happens beside it, and removed from only by
`update`."""
import os

import pytest

from phenmail_protocols.disk.locks import FileLock
from phenmail_protocols.pop3 import maildrop as maildrop_module
from phenmail_protocols.pop3.maildrop import LOCK, open_maildrop
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore


@pytest.fixture
def store():
    made = FileStore()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "mail")


def deliver(store, folder, *texts):
    account = store.account(folder)
    account.open("INBOX").close()  # makes the tree
    for text in texts:
        with account.stage() as staged:
            staged.write(b"Subject: x\r\n\r\n" + text)
            account.deliver("INBOX", staged)


def whole(drop, number):
    with drop.content(number) as content:
        return content.whole()


def test_what_it_holds(store, folder):
    deliver(store, folder, b"one\r\n", b"two\r\n.\r\n", b"3\r\n")
    drop = open_maildrop(store, folder)
    try:
        assert len(drop) == 3 and list(drop.numbers()) == [1, 2, 3]
        assert [drop.size(number) for number in drop.numbers()] == [19, 22,
                                                                    17] and drop.count() == (3, 58)
        assert [len(whole(drop, number)) for number in (1, 2, 3)] == [19, 22, 17]
        drop.delete(2)
        assert drop.is_deleted(2) and list(drop.numbers()) == [1, 3] and drop.count() == (2, 36)
        drop.undelete()
        assert list(drop.numbers()) == [1, 2, 3] and drop.count() == (3, 58)
    finally:
        drop.close()
        drop.close()


def test_unique_ids_last_and_are_no_two_messages(store, folder):
    deliver(store, folder, b"one\r\n", b"two\r\n")
    drop = open_maildrop(store, folder)
    first, second = drop.unique_id(1), drop.unique_id(2)
    drop.delete(1)
    assert drop.update() == (1, 0)
    drop.close()
    deliver(store, folder, b"three\r\n")
    drop = open_maildrop(store, folder)
    assert drop.unique_id(1) == second and drop.unique_id(2) not in (first, second)
    # RFC 1939 7: one to 70 characters from 0x21 to 0x7E; this form is the one that Dovecot gives
    uidvalidity = store.account(folder).status("INBOX").uidvalidity
    assert second == "%08x%08x" % (2, uidvalidity)
    drop.close()


def test_closing_removes_nothing(store, folder):
    deliver(store, folder, b"one\r\n")
    drop = open_maildrop(store, folder)
    drop.delete(1)
    drop.close()
    assert store.account(folder).status("INBOX").messages == 1


def test_it_stays_as_it_was_at_login(store, folder):
    deliver(store, folder, b"one\r\n", b"two\r\n", b"three\r\n")
    drop = open_maildrop(store, folder)
    deliver(store, folder, b"four\r\n")
    other = FileStore()  # as another process has it
    beside = other.account(folder).open("INBOX")
    beside.remove([beside.state().uids[1]])
    beside.close()
    other.close()
    assert list(drop.numbers()) == [1, 2, 3] and drop.size(2) == 19
    assert whole(drop, 3).endswith(b"three\r\n")
    with pytest.raises(errors.Expunged):
        drop.content(2)
    drop.delete(2)
    drop.delete(3)
    assert drop.update() == (2, 0)
    drop.close()
    assert store.account(folder).status("INBOX").messages == 2


def test_uids_of_another_uidvalidity_are_other_messages(store, folder, monkeypatch):
    deliver(store, folder, b"one\r\n")
    drop = open_maildrop(store, folder)
    drop.delete(1)
    monkeypatch.setattr(drop, "_uidvalidity", drop._uidvalidity - 1)
    with pytest.raises(errors.Expunged):
        drop.content(1)
    assert drop.update() == (1, 0)
    drop.close()
    assert store.account(folder).status("INBOX").messages == 1, (
        "a message was removed that the session never saw")


def test_one_session_at_a_time_also_across_processes(store, folder):
    deliver(store, folder, b"one\r\n")
    drop = open_maildrop(store, folder)
    with pytest.raises(errors.InUse):
        open_maildrop(store, folder, patience=0)
    drop.close()
    open_maildrop(store, folder, patience=0).close()
    with FileLock(os.path.join(folder, LOCK), 0):
        with pytest.raises(errors.InUse):
            open_maildrop(store, folder, patience=0)
    assert not store.account(folder).in_use, "a refused session still has the mailbox open"


def test_a_lock_that_cannot_be_made(store, folder, monkeypatch):
    deliver(store, folder, b"one\r\n")
    monkeypatch.setattr(maildrop_module, "LOCK", "no/such/folder")
    with pytest.raises(errors.Unavailable):
        open_maildrop(store, folder)


def test_what_cannot_be_removed_stays_and_is_counted(store, folder, monkeypatch):
    monkeypatch.setattr(maildrop_module, "BATCH", 2)
    deliver(store, folder, b"1\r\n", b"2\r\n", b"3\r\n", b"4\r\n", b"5\r\n")
    drop = open_maildrop(store, folder)
    for number in (5, 3, 2, 1):
        drop.delete(number)
    remove = drop._mailbox.remove

    def failing(uids):
        if uids[0] == 3:
            raise errors.Unavailable()
        return remove(uids)
    monkeypatch.setattr(drop._mailbox, "remove", failing)
    assert drop.update() == (2, 2)
    drop.close()
    drop = open_maildrop(store, folder)
    assert [whole(drop, number)[-3:-2] for number in drop.numbers()] == [b"3", b"4", b"5"]
    drop.close()


def test_reading_and_removing_set_no_flag(store, folder):
    deliver(store, folder, b"one\r\n", b"two\r\n")
    drop = open_maildrop(store, folder)
    whole(drop, 1)
    drop.delete(2)
    drop.update()
    drop.close()
    mailbox = store.account(folder).open("INBOX")
    assert list(mailbox.rows(mailbox.state().uids).flags) == [
        frozenset()] and mailbox.first_recent() == 1
    mailbox.close()
