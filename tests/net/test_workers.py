"""Threads that are used again."""

import threading

import pytest

from phenmail_protocols.net import workers
from phenmail_protocols.net.workers import Workers

PATIENCE = 10.0


class Jobs:
    """Jobs that say which thread they run in, and wait until they are let go."""

    def __init__(self):
        self.ran = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def run(self, job):
        self.ran.append((job, threading.current_thread()))
        self.begun.release()
        assert self.go_on.acquire(timeout=PATIENCE)


@pytest.fixture
def jobs():
    return Jobs()


@pytest.fixture
def pool(jobs):
    made = Workers("test", jobs.run)
    yield made
    made.stop()
    for _ in range(100):
        jobs.go_on.release()
    for thread in made.threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()


def is_waiting(pool, count=1):
    """Wait until so many threads wait for work."""
    until = threading.Event()
    for _ in range(1000):
        if len(pool._waiting) == count:
            return True
        until.wait(0.01)
    return False


def test_a_thread_that_is_done_does_the_next_job(jobs, pool):
    for job in ("one", "two", "three"):
        pool.start(job)
        assert jobs.begun.acquire(timeout=PATIENCE)
        assert len(pool) == 1 and pool.jobs() == [job]
        jobs.go_on.release()
        assert is_waiting(pool)
        assert len(pool) == 0
    assert len({thread for _, thread in jobs.ran}) == 1


def test_jobs_run_at_once_and_only_few_threads_stay(jobs, pool):
    for job in range(workers.KEPT + 5):
        pool.start(job)
    for _ in range(workers.KEPT + 5):
        assert jobs.begun.acquire(timeout=PATIENCE)
    assert len({thread for _, thread in jobs.ran}) == workers.KEPT + 5
    for _ in range(workers.KEPT + 5):
        jobs.go_on.release()
    assert is_waiting(pool, workers.KEPT)
    assert len(pool) == 0


def test_a_thread_that_waited_long_goes(jobs, pool, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.01)
    pool.start("one")
    jobs.go_on.release()
    assert jobs.begun.acquire(timeout=PATIENCE)
    jobs.ran[0][1].join(PATIENCE)
    assert not jobs.ran[0][1].is_alive()
    pool.start("two")
    assert jobs.begun.acquire(timeout=PATIENCE)
    assert jobs.ran[1][1] is not jobs.ran[0][1]


def test_no_job_is_lost_to_a_thread_that_is_about_to_go(monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.0002)
    done = threading.Semaphore(0)
    pool = Workers("test", lambda job: done.release())
    for job in range(3000):
        pool.start(job)
        assert done.acquire(timeout=PATIENCE), "job %d was lost" % job
    pool.stop()
    for thread in pool.threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_stop_ends_those_that_wait_and_lets_the_others_finish(jobs):
    pool = Workers("test", jobs.run)
    pool.start("first")
    pool.start("second")
    assert jobs.begun.acquire(timeout=PATIENCE) and jobs.begun.acquire(timeout=PATIENCE)
    jobs.go_on.release()
    assert is_waiting(pool)
    pool.stop()
    jobs.go_on.release()
    for thread in pool.threads():
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert len(jobs.ran) == 2 and len(pool) == 0


def test_a_job_that_fails_costs_no_thread(caplog):
    seen = []

    def fail(job):
        seen.append(threading.current_thread())
        raise ValueError("from the job")

    pool = Workers("test", fail)
    pool.start("one")
    assert is_waiting(pool)
    pool.start("two")
    assert is_waiting(pool)
    assert "from the job" in caplog.text and seen[0] is seen[1]
    pool.stop()
    seen[0].join(PATIENCE)
    assert not seen[0].is_alive()


def test_a_thread_that_waits_holds_nothing_of_its_last_job(jobs, pool):
    import weakref

    class Job:
        pass

    job = Job()
    gone = weakref.ref(job)
    pool.start(job)
    jobs.go_on.release()
    assert jobs.begun.acquire(timeout=PATIENCE)
    assert is_waiting(pool)
    jobs.ran.clear()
    del job
    assert gone() is None
