"""On a full disk mail can still be read, flagged and removed, and no number is used twice."""
import os
import sqlite3

import pytest

from phenmail_protocols.pop3.maildrop import open_maildrop
from phenmail_protocols.store import errors
from phenmail_protocols.store.indexing import index
from phenmail_protocols.store.maildir import spool
from phenmail_protocols.store.model import DELETED
from phenmail_protocols.store.rescanning import shares
from tests import small_disk
from tests.small_disk import mounted

from .conftest import House, drop_foreign, drop_index, uids, whole


@pytest.fixture
def small(tmp_path):
    """A house on a file system of 4 MB."""
    with mounted(tmp_path, 4):
        house = House(tmp_path)
        yield house
        house.close()


def fill(house):
    small_disk.fill(os.path.dirname(house.folder))


@pytest.mark.parametrize("opened", ["before", "afterwards"])
def test_messages_can_be_removed_on_a_full_disk(small, opened):
    for number in range(6):
        small.put("m%d" % number, flags=["\\Seen"] if number % 2 else [])
    small.account.create("Box")
    small.put("there", "Box")
    inbox = small.account.open("INBOX")
    before = whole(inbox)
    state = inbox.state()
    validity, numbers, highest = inbox.uidvalidity, uids(inbox), state.highestmodseq
    if opened == "afterwards":
        inbox.close()
        small.close()
    fill(small)
    if opened == "afterwards":
        small.open()
        inbox = small.account.open("INBOX")
    fill(small)
    account = small.account
    assert whole(inbox) == before and inbox.uidvalidity == validity
    with pytest.raises(errors.NoSpace):
        small.put("x" * 100000)
    assert inbox.change_flags(numbers[:3], "add", [DELETED]).changed == numbers[:3]
    assert inbox.state().highestmodseq > highest
    assert inbox.expunge(numbers[:1]) == numbers[:1]
    assert inbox.expunge() == numbers[1:3]
    assert uids(inbox) == numbers[3:]
    fill(small)
    drop = open_maildrop(small.store, small.folder)
    drop.delete(1)
    assert drop.update() == (1, 0)
    drop.close()
    fill(small)
    account.delete("Box")
    assert "Box" not in [info.name for info in account.mailboxes()]
    account.delete("Junk")  # which nobody ever looked into
    assert "Junk" not in [info.name for info in account.mailboxes()]
    left = {uid: before[uid] for uid in numbers[4:]}
    assert whole(inbox) == left
    top = inbox.state().highestmodseq
    os.unlink(os.path.join(os.path.dirname(small.folder), "ballast"))
    small.open()
    put = small.put("later")
    inbox = small.account.open("INBOX")
    assert inbox.uidvalidity == validity and put.uid > numbers[-1]
    assert {uid: each for uid, each in whole(inbox).items() if uid != put.uid} == left
    assert inbox.state().highestmodseq > top
    assert os.path.exists(os.path.join(small.folder, index.FILE))


def test_the_index_returns_to_the_disk_once_there_is_room(small):
    first = small.put()
    inbox = small.account.open("INBOX")
    fill(small)
    inbox.change_flags([first.uid], "add", ["\\Flagged"])
    path = os.path.join(small.folder, index.FILE)
    assert not os.path.exists(path)
    os.unlink(os.path.join(os.path.dirname(small.folder), "ballast"))
    second = small.put()
    other = small.another()  # another process: it makes the index anew
    third = small.put(account=other.account(small.folder))
    fourth = small.put()
    other.close()
    assert os.path.exists(path)
    assert first.uid < second.uid < third.uid < fourth.uid
    assert uids(inbox) == [each.uid for each in (first, second, third, fourth)]
    inbox.close()


@pytest.mark.parametrize("error", ["database or disk is full", "disk I/O error"])
@pytest.mark.parametrize("statement", ["BEGIN", "UPDATE", "DELETE", "COMMIT"])
def test_what_the_index_cannot_record_is_found_in_the_files(house, statement, error):
    """No statement of the index decides whether a message is gone."""
    for number in range(3):
        house.put(flags=[DELETED])
    inbox = house.account.open("INBOX")

    class Failing:
        def __init__(self, database):
            self._database = database

        def execute(self, sql, *arguments):
            if sql.startswith(statement):
                raise sqlite3.OperationalError(error)
            return self._database.execute(sql, *arguments)

        def executemany(self, sql, *arguments):
            if sql.startswith(statement):
                raise sqlite3.OperationalError(error)
            return self._database.executemany(sql, *arguments)

        def __getattr__(self, name):
            return getattr(self._database, name)
    database = house.account.index._database
    house.account.index._database = Failing(database)
    try:
        gone = inbox.expunge([1, 2])
    except errors.StoreError:
        gone = []
    if house.account.index is not None and not house.account.index.in_memory:
        house.account.index._database = database
    assert gone or error != "database or disk is full"
    assert uids(inbox) == [uid for uid in (1, 2, 3) if uid not in gone]
    house.open()
    inbox = house.account.open("INBOX")
    assert uids(inbox) == [uid for uid in (1, 2, 3) if uid not in gone]
    inbox.close()


def test_a_large_mailbox_is_opened_first_on_a_full_disk(small, monkeypatch):
    """Its names go through memory instead of temporary files."""
    monkeypatch.setattr(shares, "MOST", 50)
    monkeypatch.setattr(spool, "_RUN", 16)
    small.account.status("INBOX")
    for number in range(200):
        drop_foreign(small, "%d.M1P1.elsewhere:2," % (1700000000 + number), "cur")
    before = uids(small.account.open("INBOX"))
    small.close()
    drop_index(small)
    fill(small)
    small.open()
    inbox = small.account.open("INBOX")
    assert len(whole(inbox)) == 200
    assert uids(inbox) == before
