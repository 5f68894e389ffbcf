"""Child processes that answer requests: started on demand, shared, replaced, ended when idle.

Knows turns, failures and processes, and nothing about what is asked.
"""
import contextlib
import logging
import threading
from collections import Counter
from typing import NamedTuple

from .child import Gone
from .interpreter import CannotStart

log = logging.getLogger("phenmail.children")

FAILED_FOR = 60.0  # seconds until a failed start is retried
_TRIES = 3
_JOIN = 5.0  # seconds


class Busy(Exception):
    """Too many requests are at work; none ended in time."""


class Limits(NamedTuple):
    """`processes`: kept at once; `at_once`: requests at work; `of_one`: of these, from one
    requester; `requests`: of one process, before it is replaced."""
    processes: int
    at_once: int
    of_one: int
    requests: int


class Pool:
    """`name`: for the log and the thread; `make(kind)` -> child.Process; `idle`: seconds after
    which an unused process is ended; `clock`: gives seconds. Starts nothing before `ask`.
    Thread-safe.
    """

    def __init__(self, name, make, limits, idle, clock):
        self._name = name
        self._make = make
        self._limits = limits
        self._idle = idle
        self._clock = clock
        self._changed = threading.Condition()  # guards everything below
        self.processes = {}  # kind -> Process
        self._retired = set()  # processes that only finish their requests
        self.running = Counter()  # requester -> requests at work
        self._failures = {}  # kind -> (when to try again, why it failed)
        self._stopping = threading.Event()
        self.thread = None  # ends idle processes while there are any

    @contextlib.contextmanager
    def turn(self, requester, seconds):
        """One request of a requester (hashable) is at work.

        Raises Busy after `seconds` without a turn, CannotStart when the server is stopping.
        """
        def is_free():
            return (self._stopping.is_set() or self.running[requester] < self._limits.of_one
                    and sum(self.running.values()) < self._limits.at_once)
        with self._changed:
            if not self._changed.wait_for(is_free, seconds):
                raise Busy
            self._check_running()
            self.running[requester] += 1
        try:
            yield
        finally:
            with self._changed:
                self.running[requester] -= 1
                if not self.running[requester]:
                    del self.running[requester]
                self._changed.notify_all()

    def _check_running(self):
        if self._stopping.is_set():
            raise CannotStart("the server is stopping")

    def ask(self, kind, *request):
        """As `child.Process.ask`, with a process of that kind -> the bytes of an answer."""
        for _ in range(_TRIES):
            process = self._begin(kind)
            try:
                return process.ask(*request)
            except Gone:
                continue
            except CannotStart as error:
                self._note_failure(kind, error)
                raise
            finally:
                self._give_back(kind, process)
        raise CannotStart("its process ended %d times before it took the request" % _TRIES)

    def _note_failure(self, kind, error):
        with self._changed:
            is_known = kind in self._failures
            self._failures[kind] = (self._clock() + FAILED_FOR, str(error))
        if not is_known:
            log.error("%s: %s; next try in %g s", self._name, error, FAILED_FOR)

    def _begin(self, kind):
        """The process of a kind, with one more request. Raises CannotStart."""
        evicted = None
        with self._changed:
            self._check_running()
            until, reason = self._failures.get(kind, (None, None))
            if until is not None:
                if self._clock() < until:
                    raise CannotStart(reason)
                del self._failures[kind]
            process = self.processes.get(kind)
            if process is None:
                process = self._make(kind)
                evicted = self._make_room()
                self.processes[kind] = process
                self._start_thread()
            process.working += 1
            process.asked += 1
            process.since = self._clock()
        if evicted is not None:
            evicted.close()
        return process

    def _make_room(self):
        """Under the lock: remove and return the process that was idle longest, None if there is
        room.
        """
        if len(self.processes) < self._limits.processes:
            return None
        idle = [kind for kind, process in self.processes.items() if not process.working]
        if not idle:
            return None  # too many for a moment; `at_once` limits how many
        return self.processes.pop(min(idle, key=lambda kind: self.processes[kind].since))

    def _give_back(self, kind, process):
        with self._changed:
            process.working -= 1
            process.since = self._clock()
            if (not process.usable or process.asked >= self._limits.requests
                    or len(self.processes) > self._limits.processes):
                self._retired.add(process)
                if self.processes.get(kind) is process:
                    del self.processes[kind]
            ends = process in self._retired and not process.working
            if ends:
                self._retired.discard(process)
        if ends:
            process.close()

    def _start_thread(self):
        if self.thread is None:
            thread = threading.Thread(target=self._watch,
                                      name="phenmail-" + self._name.replace(" ", "-"), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread available: the next new process tries again
                return
            self.thread = thread

    def _watch(self):
        while not self._stopping.wait(self._idle / 4):
            self.end_idle()
            with self._changed:
                if not self.processes:
                    self.thread = None
                    return

    def end_idle(self):
        """End the processes that had no request for `idle` seconds."""
        with self._changed:
            old = [kind for kind, process in self.processes.items()
                   if not process.working and self._clock() - process.since >= self._idle]
            ended = [self.processes.pop(kind) for kind in old]
        for process in ended:
            process.close()

    def stop(self, seconds):
        """Begin no request, wait `seconds` for those at work, end all processes. Repeatable."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.running, seconds)
            ended = list(self.processes.values()) + list(self._retired)
            self.processes.clear()
            self._retired.clear()
        for process in ended:
            process.close()
        thread = self.thread
        if thread is not None:
            thread.join(_JOIN)
