"""Work in idle moments: when it runs, when it waits, and what ends it."""
import shutil
import threading
import time

import pytest

from phenmail_protocols.net import fair_turns
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.idle_work import IdleWork


class Steps:
    """A step that notes its calls; `until(n)` waits for the n-th."""

    def __init__(self, pieces=1, error=None):
        self.calls = []
        self._pieces = pieces
        self._error = error
        self._called = threading.Condition()

    def __call__(self, account):
        with self._called:
            self.calls.append(account)
            self._called.notify_all()
            if self._error is not None:
                raise self._error
            return self.calls.count(account) < self._pieces

    def until(self, count):
        with self._called:
            return self._called.wait_for(lambda: len(self.calls) >= count, 10)


@pytest.fixture
def work():
    made = []

    def make(*steps, quiet=0.0):
        work = IdleWork(lambda folder: folder, quiet)
        made.append(work)
        for step in steps:
            work.add_step(step)
        return work
    yield make
    for each in made:
        each.stop()


class Woken:
    def __init__(self, folder):
        self.folder = str(folder)


def test_without_steps_no_thread_starts(work, tmp_path):
    idle = work()
    idle.wake(Woken(tmp_path))
    assert idle._thread is None


def test_a_step_is_called_until_nothing_is_left(work, tmp_path):
    long, short = Steps(pieces=5), Steps()
    idle = work(long, short)
    idle.wake(Woken(tmp_path))
    assert short.until(1)
    idle.stop()
    assert len(long.calls) == 5 and len(short.calls) == 1


def test_accounts_take_turns(work, tmp_path, monkeypatch):
    monkeypatch.setattr("phenmail_protocols.store.idle_work._TURN", 0)
    step = Steps(pieces=3)
    idle = work(step, quiet=0.05)
    for name in "ab":
        (tmp_path / name).mkdir()
        idle.wake(Woken(tmp_path / name))
    assert step.until(6)
    assert [call[-1] for call in step.calls[:6]] == list("ababab")


def test_it_waits_while_mail_arrives(work, tmp_path):
    step = Steps()
    idle = work(step, quiet=0.2)
    began = time.monotonic()
    for _ in range(20):
        idle.wake(Woken(tmp_path))
        time.sleep(0.01)
    assert not step.calls
    assert step.until(1) and time.monotonic() - began > 0.35


def test_it_waits_while_a_client_waits_for_long_work(work, tmp_path):
    step = Steps()
    idle = work(step, quiet=0.3)
    turns = fair_turns.Turns(taken=idle.postpone)
    for _ in range(20):
        turns.take()
        idle.wake(Woken(tmp_path), has_mail=False)
        time.sleep(0.01)
    assert not step.calls
    assert step.until(1)


def test_mail_that_never_stops_does_not_stop_it(work, tmp_path, monkeypatch):
    monkeypatch.setattr("phenmail_protocols.store.idle_work._PATIENCE", 0.1)
    step = Steps()
    idle = work(step, quiet=60.0)
    end = time.monotonic() + 10
    while not step.calls and time.monotonic() < end:
        idle.wake(Woken(tmp_path))
        time.sleep(0.01)
    assert step.calls


def test_an_open_mailbox_does_not_postpone_work(work, tmp_path):
    step = Steps()
    work(step, quiet=60.0).wake(Woken(tmp_path), has_mail=False)
    assert step.until(1)


@pytest.mark.parametrize("error", [errors.Unavailable(), ValueError("a bug")])
def test_an_error_ends_the_work_until_the_next_wake(work, tmp_path, error):
    step, after = Steps(error=error), Steps()
    idle = work(step, after)
    idle.wake(Woken(tmp_path))
    assert step.until(1)
    idle.wake(Woken(tmp_path))
    assert step.until(2)


def test_a_full_disk_is_a_pause(work, tmp_path, monkeypatch):
    monkeypatch.setattr("phenmail_protocols.store.idle_work._FULL", 0.2)
    step = Steps(error=errors.NoSpace())
    idle = work(step)
    began = time.monotonic()
    idle.wake(Woken(tmp_path))
    assert step.until(2) and time.monotonic() - began > 0.15


def test_a_deleted_account_is_left_alone(work, tmp_path):
    step = Steps()
    idle = work(step, quiet=0.05)
    gone = tmp_path / "gone"
    gone.mkdir()
    idle.wake(Woken(gone))
    shutil.rmtree(str(gone))
    idle.wake(Woken(tmp_path))
    assert step.until(1)
    assert step.calls == [str(tmp_path)] and not gone.exists()


def test_stop_is_quick_and_final(work, tmp_path):
    step = Steps(pieces=1000000)
    idle = work(step)
    idle.wake(Woken(tmp_path))
    assert step.until(1)
    began = time.monotonic()
    idle.stop()
    assert time.monotonic() - began < 0.5 and not idle._thread.is_alive()
    before = len(step.calls)
    idle.wake(Woken(tmp_path))
    assert len(step.calls) == before


def test_many_accounts_are_bounded(work, tmp_path, monkeypatch):
    monkeypatch.setattr("phenmail_protocols.store.idle_work._MOST", 3)
    idle = work(Steps(), quiet=60.0)
    for number in range(10):
        idle.wake(Woken(tmp_path / str(number)))
    assert len(idle._waiting) == 3


def test_the_store_wakes_it(house, tmp_path):
    """After a delivery, a copy, new files of other programs; and when a mailbox is opened."""
    store = FileStore(poll=3600, quiet=0.0)
    step = Steps()
    store.idle_work.add_step(step)
    account = store.account(house.folder)
    house.put(account=account)
    assert step.until(1)
    mailbox = account.open("INBOX")
    assert step.until(2)
    account.create("Copies")
    mailbox.copy([1], "Copies")
    assert step.until(3)
    (tmp_path / "mail" / "new" / "1.x").write_bytes(b"Subject: new\n\n")
    mailbox.look()
    assert step.until(4)
    mailbox.close()
    store.close()
    assert set(step.calls) == {account}
