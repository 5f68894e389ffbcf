"""Who computes for long does so in turns."""
import socket
import threading

import pytest

from phenmail_protocols.net import connection, fair_turns
from phenmail_protocols.net.errors import Overdue, Stopping

PATIENCE = 20.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_turn_begins_when_the_last_one_that_was_given_out_ends():
    clock = Clock()
    shared = fair_turns.Turns(clock)
    assert shared.take(0.010) == pytest.approx(fair_turns.PAUSE), (
        "nobody else works: a short pause for all others")
    assert shared.take(0.020) == pytest.approx(0.010 + 2 * fair_turns.PAUSE)
    assert shared.take() == pytest.approx(0.030 + 3 * fair_turns.PAUSE)
    clock.now += 60
    assert shared.take() == pytest.approx(fair_turns.PAUSE), "what was not used is not saved up"


def test_who_works_alone_does_not_wait_for_the_end_of_a_turn_that_it_had():
    shared = fair_turns.Turns(Clock())
    assert shared.take(0.010, 1) == shared.take(0.020, 1) == pytest.approx(fair_turns.PAUSE)
    assert shared.take(0.010, 2) == pytest.approx(0.020 + 2 * fair_turns.PAUSE)
    assert shared.take(0.010, 1) == pytest.approx(0.030 + 3 * fair_turns.PAUSE), "2 has the last"


class Worker:
    """A Connection whose thread has computed as `spent` says; It is its own Turns."""

    def __init__(self, monkeypatch, sock):
        self.spent, self.taken = 0.0, []
        monkeypatch.setattr(fair_turns, "computed", lambda: self.spent)
        monkeypatch.setattr(fair_turns, "monotonic", self.clock)
        monkeypatch.setattr(connection, "sleep", lambda seconds: None)
        monkeypatch.setattr(connection, "monotonic", self.clock)
        self.now = 1000.0
        self.connection = connection.Connection(sock, ("127.0.0.1", 1), turns=self)

    def clock(self):
        self.now += 0.001
        return self.now

    def take(self, seconds, taker):
        self.taken.append(seconds)
        return 0.005

    def work(self, seconds, waiting=0.0):
        self.spent += seconds
        self.now += seconds + waiting
        self.connection.look()


@pytest.fixture
def worker(monkeypatch):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Worker(monkeypatch, ours)


def test_a_short_command_takes_no_turn(worker):
    worker.work(fair_turns.TURN / 2)
    worker.work(fair_turns.TURN / 4)
    assert worker.taken == []


def test_long_work_takes_turns_as_long_as_its_parts(worker):
    worker.work(fair_turns.TURN)
    worker.work(0.050)
    worker.work(9.0)
    assert worker.taken == [pytest.approx(fair_turns.TURN), pytest.approx(0.050),
                            fair_turns.LONGEST]


def test_who_waits_for_a_disk_or_another_thread_takes_no_turn(worker):
    for _ in range(20):
        worker.work(fair_turns.TURN / 100, waiting=1.0)
    assert worker.taken == []


def test_the_wait_for_a_turn_ends_at_the_deadline_and_when_the_server_stops(worker):
    worker.take = lambda seconds, taker: 1e6
    worker.connection.set_deadline(5.0)
    with pytest.raises(Overdue):
        worker.work(1.0)
    worker.connection.set_deadline(None)
    worker.connection.interrupt()
    with pytest.raises(Stopping):
        worker.work(1.0)


# -- one of each


def started(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_one_thread_of_each_user_and_so_many_users_are_inside():
    places, inside, let_go = fair_turns.OneEach(2), [], threading.Event()
    arrived = threading.Semaphore(0)

    def stay(user):
        with places.alone(user, lambda: None):
            inside.append(user)
            arrived.release()
            let_go.wait(PATIENCE)
            inside.remove(user)
    threads = [started(lambda user=user: stay(user)) for user in "aaabbbccc"]
    for _ in range(2):
        assert arrived.acquire(timeout=PATIENCE)
    assert len(inside) == 2 and len(set(inside)) == 2
    assert not arrived.acquire(timeout=0.05)
    let_go.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_who_waits_looks(monkeypatch):
    monkeypatch.setattr(fair_turns, "WAIT", 0.001)
    places = fair_turns.OneEach()
    places.enter("a")

    def look():
        raise Stopping("now")
    with pytest.raises(Stopping):
        places.enter("a", look)
    places.leave("a")
    places.enter("a", look)


def test_nobody_waits_once_it_is_open():
    places = fair_turns.OneEach()
    places.enter("a")
    places.open()
    places.enter("a")
