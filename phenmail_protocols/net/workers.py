"""Threads that do one job at a time and wait a little for the next. Knows no socket.

A new thread for each short conversation costs as much processor time as the conversation. With
threads that are used again, delivery of one message a connection went from 374 to 580 messages a
second (two busy cores; the server's own time for a message from 1.9 to 1.2 ms).
"""
import itertools
import logging
import threading

log = logging.getLogger("phenmail.net")

KEPT = 10  # the most threads that wait for a job; each costs some 100 KB
PATIENCE = 5.0  # seconds that they wait


class Workers:
    """Calls `run(job)` in threads, any number at once. Jobs are hashable; errors are logged.

    `name`: for the threads' names.
    """

    def __init__(self, name, run):
        self._name = name
        self._run = run
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._busy = {}  # job -> _Worker
        self._waiting = []  # the last that came gets the next job
        self._departing = []  # threads at their last instructions: `threads` must include them
        self._stopped = False

    def start(self, job):
        """Give the job to a thread. Raises RuntimeError, MemoryError if no thread can be made."""
        with self._lock:
            is_new = not self._waiting
            if is_new:
                worker = _Worker(self._work, "phenmail-%s-%d" % (self._name, next(self._numbers)))
            else:
                worker = self._waiting.pop()
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
        job = worker.take()
        while job is not None:
            try:
                self._run(job)
            except Exception:
                log.exception("%s: internal error in a worker thread", self._name)
            stays = self._is_done(job, worker)
            job = None  # frees its memory while the thread waits
            if stays:
                job = self._next(worker)

    def _is_done(self, job, worker):
        """The worker finished its job -> whether it waits for the next."""
        with self._lock:
            del self._busy[job]
            stays = not self._stopped and len(self._waiting) < KEPT
            if stays:
                self._waiting.append(worker)
            else:
                self._depart(worker)
        return stays

    def _next(self, worker):
        """Wait for the next job -> job, or None if the thread is to end."""
        if not worker.called.acquire(timeout=PATIENCE):
            with self._lock:
                if worker in self._waiting:
                    self._waiting.remove(worker)
                    self._depart(worker)
                    return None
            worker.called.acquire()  # `start` chose it at the last moment
        return worker.take()

    def _depart(self, worker):
        alive = [other for other in self._departing if other.is_alive()]
        self._departing = alive + [worker]

    def jobs(self):
        """The jobs that are being done, without that of the calling thread."""
        me = threading.current_thread()
        with self._lock:
            return [job for job, thread in self._busy.items() if thread is not me]

    def __len__(self):
        """How many jobs are being done."""
        return len(self._busy)

    def threads(self):
        """The threads that may be alive, without those that wait; call `stop` first."""
        with self._lock:
            return list(self._busy.values()) + self._departing

    def stop(self):
        """End the threads that wait now, and the others after their jobs."""
        with self._lock:
            self._stopped = True
            waiting, self._waiting = self._waiting, []
            for worker in waiting:
                self._depart(worker)
        for worker in waiting:
            worker.called.release()


class _Worker(threading.Thread):
    """A thread that is called for its next job, or without one to end."""

    def __init__(self, work, name):
        super().__init__(name=name, daemon=True)
        self._work = work
        self.called = threading.Lock()
        self.called.acquire()
        self.job = None

    def run(self):
        self._work(self)

    def take(self):
        """The job it was called for, or None."""
        job, self.job = self.job, None
        return job
