"""Several messages are synced to the disk at once, while the next ones are read.

One after the other, each message would wait for the disk twice. The store adds those that arrive
together with one transaction and one sync of the folder (store/group_commit.py). They keep their
order: each is added behind the one before it.
"""
import threading

from ..net.workers import Workers

MOST = 8  # messages at once


class Finishing:
    """For the thread of one account."""

    def __init__(self):
        self._workers = Workers("fetch-finish", lambda item: item.run())
        self._room = threading.Semaphore(MOST)
        self._last = None  # the _Item that was submitted last
        self._items = []  # those that may still run

    def submit(self, work):
        """Call `work(turn)` in another thread; `turn`: as for Account.deliver.

        Waits while MOST others are at work. Raises what an earlier one has raised.
        """
        self._room.acquire()
        before = self._last
        item = self._last = _Item(work, self._room, before)
        self._items = [each for each in self._items if not each.done.is_set() or each.error]
        self._items.append(item)
        try:
            self._workers.start(item)
        except (RuntimeError, MemoryError):  # no thread to be had
            item.run()
        if before is not None and before.error is not None:
            self.drain()

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
