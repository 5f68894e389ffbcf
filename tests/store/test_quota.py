"""Quotas: usage is always right, and nothing is added beyond the limit."""
import os
import random
import shutil
import threading
from types import SimpleNamespace

import pytest

from phenmail_protocols.config.settings import Quota
from phenmail_protocols.store import errors, quota
from phenmail_protocols.store.model import Usage

from .conftest import House, drop_index

SIZE = len(b"Subject: hello\r\n\r\nbody\r\n")


class Limited:
    """A House whose account has a limit that tests change."""

    def __init__(self, folder):
        self.limit = None
        self.warned = []
        self.house = House(folder, limit_of=lambda _: self.limit,
                           warn=lambda *arguments: self.warned.append(arguments))

    @property
    def account(self):
        return self.house.account


@pytest.fixture
def limited(tmp_path, monkeypatch):
    monkeypatch.setattr(quota, "_PAUSE", 0.0)
    monkeypatch.setattr(quota, "_PAUSES", 0.0)
    limited = Limited(tmp_path)
    yield limited
    limited.house.close()


def counted(account):
    """The Usage by asking each mailbox."""
    found = [account.status(info.name) for info in account.mailboxes() if info.selectable]
    return Usage(sum(status.size for status in found), sum(status.messages for status in found))


def put(limited, *arguments, **options):
    """Whether a message was taken."""
    try:
        limited.house.put(*arguments, **options)
    except errors.OverQuota:
        return False
    return True


@pytest.mark.parametrize("limit, most", [
    (Quota(messages=3), 3), (Quota(bytes=3 * SIZE), 3), (Quota(bytes=3 * SIZE - 1), 2),
    (Quota(3 * SIZE, 2), 2), (Quota(bytes=SIZE - 1), 0), (None, 5)])
def test_deliver(limited, limit, most):
    limited.limit = limit
    taken = [put(limited, name=name) for name in ("INBOX", "Sent", "INBOX", "Junk", "Sent")]
    assert taken == [True] * most + [False] * (5 - most)
    assert limited.account.quota.usage() == counted(limited.account) == (most * SIZE, most)
    assert os.listdir(limited.house.folder + "/tmp") == []


def test_a_smaller_message_may_still_fit(limited):
    limited.limit = Quota(bytes=2 * SIZE + 10)
    assert put(limited) and not put(limited, "hello" * 10) and put(limited)


def test_copy_is_all_or_none_and_move_needs_no_room(limited):
    limited.limit = Quota(messages=3)
    for _ in range(2):
        put(limited)
    inbox = limited.account.open("INBOX")
    with pytest.raises(errors.OverQuota):
        inbox.copy([1, 2], "Sent")
    assert counted(limited.account).messages == 2
    inbox.copy([1], "Sent")
    inbox.move([1, 2], "Junk")
    assert limited.account.quota.usage() == counted(limited.account) == (3 * SIZE, 3)
    inbox.close()


def test_what_makes_room(limited):
    limited.limit = Quota(messages=2)
    for name in "INBOX", "Sent":
        put(limited, name=name)
    inbox = limited.account.open("INBOX")
    assert not put(limited)
    inbox.change_flags([1], "add", ["\\Deleted"])
    assert not put(limited)
    inbox.expunge()
    assert put(limited) and not put(limited)
    limited.account.delete("Sent")
    assert put(limited) and not put(limited)
    limited.account.rename("INBOX", "old")
    assert not put(limited) and counted(limited.account).messages == 2
    inbox.close()


def test_over_a_lowered_limit_only_additions_fail(limited):
    for _ in range(3):
        put(limited)
    limited.limit = Quota(messages=1)
    inbox = limited.account.open("INBOX")
    assert not put(limited)
    inbox.change_flags([1, 2], "add", ["\\Deleted", "keyword"])
    limited.account.create("new")
    inbox.move([3], "new")
    assert inbox.expunge() == [1, 2]
    assert limited.account.quota.usage() == counted(limited.account) == (SIZE, 1)
    inbox.close()


def test_other_programs_changes_count(limited):
    limited.limit = Quota(messages=3)
    put(limited)
    folder = os.path.join(limited.house.folder, ".Sent", "cur")
    for number in range(2):
        with open("%s/%d.a.b:2,S" % (folder, number), "w") as file:
            file.write("A: b\n\nc\n")
    assert not put(limited)
    assert limited.account.quota.usage() == counted(limited.account)
    shutil.rmtree(os.path.dirname(folder))
    assert limited.account.quota.usage() == (SIZE, 1)
    assert put(limited, name="INBOX") and put(limited) and not put(limited)
    os.mkdir(limited.house.folder + "/.found")
    for part in "cur", "new", "tmp":
        os.mkdir(limited.house.folder + "/.found/" + part)
    shutil.copy(next(os.scandir(limited.house.folder + "/new")).path,
                limited.house.folder + "/.found/new/1.x.y")
    assert limited.account.quota.usage() == counted(limited.account) == (4 * SIZE, 4)


def test_a_lost_index_loses_no_usage(limited):
    limited.limit = Quota(messages=3)
    for name in "INBOX", "Sent", "Junk":
        put(limited, name=name)
    drop_index(limited.house)
    assert not put(limited)
    drop_index(limited.house)
    limited.house.open()
    assert not put(limited) and limited.account.quota.usage() == (3 * SIZE, 3)


def test_an_index_lost_at_the_last_moment(limited, monkeypatch):
    """Between the look at all mailboxes and the transaction."""
    limited.limit = Quota(messages=3)
    for name in "INBOX", "Sent", "Junk":
        put(limited, name=name)
    monkeypatch.setattr(quota, "_PAUSE", 3600.0)
    limited.account.quota.usage()
    add = limited.account._commits.add

    def lose_index(*arguments):
        drop_index(limited.house)
        return add(*arguments)
    monkeypatch.setattr(limited.account._commits, "add", lose_index)
    assert not put(limited)
    inbox = limited.account.open("INBOX")
    drop_index(limited.house)
    with pytest.raises(errors.OverQuota):
        inbox.copy([1], "Sent")
    inbox.close()


def test_parallel_deliveries_do_not_exceed_it(limited):
    """In two processes, as it were, and with COPY in between."""
    limited.limit = Quota(messages=25)
    put(limited)
    other = limited.house.another()
    accounts = [limited.account, other.account(limited.house.folder)]
    results = []

    def work(number):
        account = accounts[number % 2]
        inbox = account.open("INBOX")
        for turn in range(4):
            try:
                if number % 5 == 4:
                    inbox.copy([1], "Sent")
                else:
                    limited.house.put(name=("INBOX", "Sent", "Junk")[turn % 3], account=account)
                results.append(True)
            except errors.OverQuota:
                results.append(False)
        inbox.close()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 24 and len(results) == 40
    for account in accounts:
        assert account.quota.usage() == counted(account) == (25 * SIZE, 25)
    other.close()


def test_one_request_over_quota_fails_alone(limited):
    """Of those that share a transaction."""
    limited.limit = Quota(bytes=4 * SIZE)
    put(limited)
    account = limited.account
    held, go = threading.Event(), threading.Event()
    results = {}

    def hold():
        with account.writing():
            held.set()
            go.wait(10)

    def deliver(text):
        results[text] = put(limited, text)
    threads = [threading.Thread(target=hold)]
    threads[0].start()
    held.wait(10)
    threads += [threading.Thread(target=deliver, args=(text,))
                for text in ("x" * 200, "hello", "x" * 300, "hello ")]
    for thread in threads[1:]:
        thread.start()
    while len(account._commits._waiting) < 3 and not results:
        pass
    go.set()
    for thread in threads:
        thread.join()
    assert results == {"x" * 200: False, "hello": True, "x" * 300: False, "hello ": True}


def test_deliveries_do_not_look_at_all_mailboxes_each_time(limited, monkeypatch):
    monkeypatch.setattr(quota, "_PAUSE", 3600.0)
    limited.limit = Quota(messages=100)
    put(limited)
    looked = []
    monkeypatch.setattr(limited.account, "measure", lambda name, _: looked.append(name))
    for _ in range(5):
        put(limited)
    assert looked == []
    limited.account.quota.usage()
    assert sorted(looked) == sorted(info.name for info in limited.account.mailboxes())


def test_the_pause_grows_with_the_cost_of_a_look(limited, monkeypatch):
    times = iter([100.0, 103.0])
    monkeypatch.setattr(quota, "_PAUSES", 50)
    monkeypatch.setattr(quota, "time", SimpleNamespace(monotonic=lambda: next(times)))
    limited.account.quota._look()
    assert limited.account.quota._until == 103.0 + 150.0


def test_early_answer(limited):
    limited.limit = Quota(bytes=2 * SIZE)
    put(limited)
    limited.account.quota.require_room(SIZE)
    with pytest.raises(errors.OverQuota):
        limited.account.quota.require_room(SIZE + 1)
    limited.limit = None
    limited.account.quota.require_room(1 << 40)


def test_one_warning_each_time_it_becomes_nearly_full(limited):
    limited.limit = Quota(messages=10)
    for number in range(10):
        assert put(limited)
        assert len(limited.warned) == (number >= 8)
    assert not put(limited) and len(limited.warned) == 1
    assert limited.warned[0] == (limited.house.folder, (9 * SIZE, 9), limited.limit)
    inbox = limited.account.open("INBOX")
    inbox.remove([1])
    put(limited)
    assert len(limited.warned) == 1
    inbox.remove([2, 3, 4])
    inbox.copy([5, 6], "Sent")
    assert len(limited.warned) == 2
    inbox.move([5, 6], "Sent")
    limited.limit = Quota(messages=1000)
    put(limited)
    assert len(limited.warned) == 2
    inbox.close()


def test_one_warning_for_additions_at_once(limited):
    limited.limit = Quota(messages=4)
    threads = [threading.Thread(target=put, args=(limited,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(limited.warned) == 1


def test_a_warning_that_was_lost_is_repeated(limited):
    """As after a crash between the addition and its warning."""
    limited.limit = Quota(messages=10)
    for _ in range(8):
        put(limited)
    works, limited.account.quota._warn = limited.account.quota._warn, None
    put(limited)
    limited.account.quota._warn = works
    limited.house.open()
    put(limited)
    assert len(limited.warned) == 1 and not put(limited)


def test_a_warning_that_fails_stops_nothing(tmp_path):
    def fail(*_):
        raise OSError("no")
    house = House(tmp_path, limit_of=lambda _: Quota(messages=1), warn=fail)
    house.put()
    assert house.account.status("INBOX").messages == 1
    house.close()


def test_without_a_quota_nothing_is_looked_at(limited, monkeypatch):
    monkeypatch.setattr(quota.AccountQuota, "_look", None)
    put(limited)
    limited.account.open("INBOX").copy([1], "Sent")


@pytest.mark.parametrize("seed", range(3))
def test_any_changes(limited, seed):
    """Random changes by two processes, other programs and lost indexes."""
    chance = random.Random(seed)
    limited.limit = Quota(messages=10 ** 9)
    other = limited.house.another()
    names = ["INBOX", "Sent", "Junk", "a", "a/b"]
    for _ in range(60):
        account = chance.choice([limited.account, other.account(limited.house.folder)])
        name, target = chance.choice(names), chance.choice(names)
        step = chance.randrange(9)
        try:
            if step < 3:
                limited.house.put("x" * chance.randrange(50), name=name, account=account)
            elif step < 5:
                mailbox = account.open(name)
                uids = list(mailbox.state().uids)
                some = sorted(chance.sample(uids, min(len(uids), 2)))
                chance.choice([mailbox.remove, lambda found: mailbox.copy(found, target),
                               lambda found: mailbox.move(found, target)])(some)
                mailbox.close()
            elif step == 5:
                account.create(name)
            elif step == 6:
                chance.choice([account.delete, lambda found: account.rename(found, target)])(name)
            elif step == 7:
                folder = limited.house.folder + ("" if name == "INBOX" else "/." + name)
                files = [entry.path for part in ("new", "cur")
                         for entry in os.scandir("%s/%s" % (folder, part))]
                os.unlink(chance.choice(files))
            else:
                drop_index(limited.house)
        except (errors.StoreError, OSError, IndexError):
            pass
        assert account.quota.usage() == counted(account), step
    other.close()
