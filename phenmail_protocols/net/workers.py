"""Threads that each do one job at a time, and wait a little for the next one. Knows no socket and no protocol.

A thread that is made for one short conversation costs as much processor time as the conversation: delivery of one message a
connection went from 374 to 580 messages a second when threads were used again (two busy cores, the server's own time a message from
1.9 to 1.2 ms).
"""

import itertools
import logging
import threading

_log = logging.getLogger("phenmail.net")

KEPT = 10       # threads that wait for a job at the most; each costs some 100 KB
PATIENCE = 5.0  # seconds that they wait


class Workers:
    """Runs `run(job)` in threads of its own, any number of them at once. Jobs are hashable; what `run` raises goes to the log."""

    def __init__(self, name, run):
        """`name` goes into the threads' names."""
        self._name = name
        self._run = run
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._busy = {}       # job -> _Worker
        self._waiting = []    # the last one that came is the first to get work
        self._departing = []  # threads at their very last instructions, so that who stops them can wait for those too
        self._over = False

    def start(self, job):
        """Give the job to a thread. Raises RuntimeError, MemoryError when there can't be one more."""
        with self._lock:
            is_new = not self._waiting
            worker = _Worker(self._work, "phenmail-%s-%d" % (self._name, next(self._numbers))) if is_new else self._waiting.pop()
            self._busy[job] = worker
        worker.job = job
        if not is_new:
            worker.called.release()
            return
        try:
            worker.start()
        except BaseException:
            with self._lock:
                del self._busy[job]
            raise

    def _work(self, worker):
        """A thread's life."""
        job = worker.take()
        while job is not None:
            try:
                self._run(job)
            except Exception:
                _log.exception("%s: a job failed", self._name)
            stays = self._is_done(job, worker)
            job = None  # nothing of it is kept while waiting
            if stays:
                job = self._next(worker)

    def _is_done(self, job, worker):
        """The worker has nothing to do: whether it stays for the next job."""
        with self._lock:
            del self._busy[job]
            stays = not self._over and len(self._waiting) < KEPT
            if stays:
                self._waiting.append(worker)
            else:
                self._depart(worker)
        return stays

    def _next(self, worker):
        """The job that came, or None when it is time to go."""
        if not worker.called.acquire(timeout=PATIENCE):
            with self._lock:
                if worker in self._waiting:
                    self._waiting.remove(worker)
                    self._depart(worker)
                    return None
            worker.called.acquire()  # it was chosen at the last moment
        return worker.take()

    def _depart(self, worker):
        self._departing = [other for other in self._departing if other.is_alive()] + [worker]

    def jobs(self):
        """What is being worked on, the job of the calling thread left out."""
        me = threading.current_thread()
        with self._lock:
            return [job for job, thread in self._busy.items() if thread is not me]

    def __len__(self):
        """How many jobs are being worked on."""
        return len(self._busy)

    def threads(self):
        """All that may still be alive, those that wait left out: call `stop` first."""
        with self._lock:
            return list(self._busy.values()) + self._departing

    def stop(self):
        """Threads that wait go at once, the others when their jobs are done."""
        with self._lock:
            self._over = True
            waiting, self._waiting = self._waiting, []
            for worker in waiting:
                self._depart(worker)
        for worker in waiting:
            worker.called.release()


class _Worker(threading.Thread):
    """A thread that is called for its next job."""

    def __init__(self, work, name):
        super().__init__(name=name, daemon=True)
        self._work = work
        self.called = threading.Lock()
        self.called.acquire()
        self.job = None

    def run(self):
        self._work(self)

    def take(self):
        """Its next job, or None: it was called to go."""
        job, self.job = self.job, None
        return job
