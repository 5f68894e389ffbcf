"""The index may be damaged, deleted, unwritable or half built at any time: searches stay right."""
import os
import random
import signal
import sqlite3
import subprocess
import sys
from types import SimpleNamespace

import pytest

from phenmail_protocols.search import database
from phenmail_protocols.search.indexes import Indexes
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.idle_work import IdleWork, Stopped
from phenmail_protocols.store.maildir import space
from tests.imap import wire

pytestmark = pytest.mark.skipif(not database.is_available(), reason="SQLite without trigrams")
COUNT = 40
WORDS = ("anchor", "buoy", "cable", "dredger")
SUFFIXES = ("", "-wal", "-shm")


class Office:
    """A server with a mailbox whose message n has the word n modulo 4 and "all"."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.path = os.path.join(self.folder, database.FILE)
        self.store = FileStore(poll=3600, boot_id="boot")
        self.idle = IdleWork(None)  # never woken: `build` calls the step
        self.indexes = Indexes(self.idle)
        self.server = wire.server(self.store, self.folder, search_indexes=self.indexes)
        self.account = self.store.account(self.folder)
        self.count = 0

    def deliver(self, count=COUNT):
        for number in range(self.count, self.count + count):
            with self.account.stage() as staged:
                staged.write(letter(number))
                self.account.deliver("INBOX", staged)
        self.count += count

    def build(self):
        while self.indexes.step(self.account):
            pass

    def check(self):
        with wire.Client(self.server) as client:
            client.log_in("INBOX")
            for number, word in enumerate(WORDS):
                assert uids(client, "TEXT " + word) == [
                    each + 1 for each in range(self.count) if each % len(WORDS) == number]
            assert uids(client, "BODY all") == list(range(1, self.count + 1))
            assert uids(client, "BODY nowhere") == []
            assert uids(client, "NOT TEXT nowhere") == list(range(1, self.count + 1))

    def answers(self):
        """Does the index itself know that nothing has this word?"""
        mailbox = self.account.open("INBOX")
        try:
            needle = SimpleNamespace(key="nowhere", in_field="nowhere", header=True)
            found = self.indexes.candidates(mailbox, needle, 10)
            return found is not None and found[1] == set()
        finally:
            mailbox.close()

    def close(self):
        self.store.close()
        self.indexes.close()


def letter(number):
    return ("From: me\r\nSubject: %d\r\n\r\nthe %s is for all of us\r\n" % (
        number, WORDS[number % len(WORDS)])).encode()


def uids(client, keys):
    return list(map(int, client.ok("UID SEARCH " + keys)[0].split()[2:]))


@pytest.fixture
def office(tmp_path):
    office = Office(tmp_path / "mail")
    office.deliver()
    office.build()
    yield office
    office.close()


def test_answers_once_it_is_built(office):
    assert office.answers()
    office.check()


def truncate(length):
    def run(path):
        with open(path, "r+b") as file:
            file.truncate(length)
    return run


def zero(path):
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.write(bytes(size))


def scribble(path):
    chance, size = random.Random(7), os.path.getsize(path)
    with open(path, "r+b") as file:
        for start in range(0, size, 4096):
            file.seek(start)
            file.write(bytes(chance.randrange(256) for _ in range(64)))


def another_database(path):
    os.unlink(path)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE box (id)")
    other.close()


def a_folder(path):
    os.unlink(path)
    os.mkdir(path)


def all_files(path):
    for suffix in SUFFIXES:
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)


DAMAGES = {
    "deleted": os.unlink, "all deleted": all_files, "emptied": truncate(0),
    "short": truncate(100), "one page": truncate(4096), "no whole page": truncate(10000),
    "zeros": zero, "scribbled": scribble, "another database": another_database,
    "a folder": a_folder,
    "log emptied": lambda path: truncate(0)(path + "-wal"),
    "log scribbled": lambda path: scribble(path + "-wal"),
}


@pytest.mark.parametrize("is_running", (True, False))
@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_damaged(office, damage, is_running):
    if "log" in damage:
        office.deliver(1)
        office.indexes.step(office.account)  # so that there is a log
        with open(office.path + "-wal", "rb") as file:
            wal = file.read()
    if not is_running:
        office.close()
        if "log" in damage:
            with open(office.path + "-wal", "wb") as file:
                file.write(wal)
    DAMAGES[damage](office.path)
    if not is_running:
        count, office = office.count, Office(office.folder)
        office.count = count
    office.check()
    for _ in range(20):  # some steps fail before the damage is found
        try:
            office.build()
            break
        except errors.StoreError:
            pass
    office.check()
    office.deliver(3)
    if damage != "a folder":
        office.build()
        assert office.answers()
    office.check()
    office.close()


def test_full_disk(office, monkeypatch):
    prepare = database.Database._prepare

    def small(self):
        prepare(self)
        self._run("PRAGMA max_page_count = 1")  # no page more
    monkeypatch.setattr(database.Database, "_prepare", small)
    office.indexes.close()
    office.deliver(COUNT)
    with pytest.raises(errors.NoSpace):
        office.build()
    office.check()
    monkeypatch.undo()
    office.indexes.close()
    office.build()
    assert office.answers()
    office.check()


def test_no_room_even_for_an_empty_index(office, monkeypatch):
    def full(self):
        raise sqlite3.OperationalError("database or disk is full")
    all_files(office.path)
    monkeypatch.setattr(database.Database, "_prepare", full)
    with pytest.raises(errors.NoSpace):
        office.build()
    office.check()


def test_leaves_the_reserve_and_more(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "free_space", lambda folder: 3 << 20)
    store = FileStore(poll=3600, reserve=1 << 20)
    indexes = Indexes(IdleWork(None))
    folder = tmp_path / "mail"
    account = store.account(str(folder))
    with account.stage() as staged:
        staged.write(letter(1))
        account.deliver("INBOX", staged)
    with pytest.raises(errors.NoSpace):
        while indexes.step(account):
            pass
    indexes.close()
    store.close()


def test_read_only(office, monkeypatch):
    connect = sqlite3.connect
    monkeypatch.setattr(database.sqlite3, "connect", lambda path, **options: connect(
        "file:%s?mode=ro" % path, uri=True, **options))
    office.indexes.close()
    office.deliver(COUNT)
    with pytest.raises(errors.StoreError):
        office.build()
    office.check()


def test_another_process_writes_all_the_time(office):
    other = sqlite3.connect(office.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    office.deliver(3)
    office.check()
    other.execute("ROLLBACK")
    other.close()


CHILD = """
import sys
from phenmail_protocols.search.indexes import Indexes
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.idle_work import IdleWork
store = FileStore(poll=3600, boot_id="boot")
account = store.account(sys.argv[1])
indexes = Indexes(IdleWork(None))
sys.stdout.write("!")
sys.stdout.flush()
while indexes.step(account):
    pass
"""


def test_killed_while_it_builds(office):
    office.deliver(COUNT * 10)
    office.build()
    chance = random.Random(3)
    for _ in range(6):
        all_files(office.path) if chance.random() < 0.5 else office.deliver(COUNT)
        office.indexes.close()
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, office.folder], stdout=subprocess.PIPE,
            cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        child.stdout.read(1)
        try:
            child.wait(chance.random() * 0.3)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
        child.stdout.close()
        office.check()
    office.build()
    assert office.answers()
    office.check()


def test_stops_soon(office, monkeypatch):
    office.deliver(COUNT)
    with monkeypatch.context() as stopping:
        stopping.setattr(office.idle, "_stopping", True)
        with pytest.raises(Stopped):
            office.indexes.step(office.account)
    office.build()
    office.check()
