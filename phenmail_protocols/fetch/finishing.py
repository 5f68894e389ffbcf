"""Several messages are synced to the disk at once, while the next ones are read.

One after the other, each message would wait for the disk twice. The store adds those that arrive
together with one transaction and one sync of the folder (store/group_commit.py). They keep their
order: each is added behind the one before it.
"""
import threading
from collections import deque

from ..net.workers import Workers

MOST = 8  # messages at once
AHEAD = 8  # messages that wait for that, so that a thread goes on without being woken


class Finishing:
    """For the thread of one account."""

    def __init__(self):
        self._workers = Workers("fetch-finish", self._run)
        self._room = threading.Semaphore(MOST + AHEAD)
        self._lock = threading.Lock()  # guards the next two
        self._waiting = deque()  # of _Item
        self._running = 0  # threads
        self._last = None  # the _Item that was submitted last
        self._items = []  # those that may still run

    def submit(self, work):
        """Call `work(turn)` in another thread; `turn`: as for Account.deliver.

        Waits while MOST + AHEAD others are not finished. Raises what an earlier one has raised.
        """
        self._room.acquire()
        before = self._last
        item = self._last = _Item(work, self._room, before)
        self._items = [each for each in self._items if not each.done.is_set() or each.error]
        self._items.append(item)
        with self._lock:
            self._waiting.append(item)
            is_short = self._running < MOST
            self._running += is_short
        if is_short:
            try:
                self._workers.start(item)
            except (RuntimeError, MemoryError):  # no thread to be had
                self._run(item)
        if before is not None and before.error is not None:
            self.drain()

    def _run(self, _):
        """Finish messages, in their order, until none waits."""
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                item = self._waiting.popleft()
            item.run()

    def drain(self):
        """Wait for all. Raises what the first one has raised."""
        items, self._items, self._last = self._items, [], None
        for item in items:
            item.done.wait()
        for item in items:
            if item.error is not None:
                raise item.error

    def end(self):
        """Wait for all, and let their threads end."""
        try:
            self.drain()
        finally:
            self._workers.stop()
            for thread in self._workers.threads():
                thread.join(1.0)


class _Item:
    __slots__ = ("done", "error", "_work", "_room", "_before", "_passed")

    def __init__(self, work, room, before):
        self._work = work
        self._room = room
        self._before = before._passed if before is not None else None
        self._passed = threading.Event()
        self.done = threading.Event()
        self.error = None

    def run(self):
        try:
            self._work(self)
        except BaseException as error:
            self.error = error
        finally:
            self.wait()  # or the next one would overtake those before this one
            self.passed()
            self.done.set()
            self._work = None
            self._room.release()

    def wait(self):
        if self._before is not None:
            self._before.wait()

    def passed(self):
        self._passed.set()
