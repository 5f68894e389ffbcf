"""The thread that ends what is idle, as long as there is something to look after.  Knows nothing of what that is."""
import threading

_JOIN = 5.0  # seconds


class Keeper:
    """`name`: the thread's; `lock`: its owner's, for what it shares with the owner; `stopping`: a threading.Event; every `period`
    seconds it calls `look()`, and ends when `is_idle()`, called under the lock, says so."""

    def __init__(self, name, lock, stopping, period, look, is_idle):
        self._name = name
        self._lock = lock
        self._stopping = stopping
        self._period = period
        self._look = look
        self._is_idle = is_idle
        self.thread = None  # under the lock

    def wake(self):
        """Under the lock: there is something from now on."""
        if self.thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had: the next one who comes tries again
                return
            self.thread = thread

    def _run(self):
        while not self._stopping.wait(self._period):
            self._look()
            with self._lock:
                if self._is_idle():
                    self.thread = None
                    return

    def join(self):
        """Not under the lock, when it is stopping: until the thread has ended."""
        thread = self.thread
        if thread is not None:
            thread.join(_JOIN)
