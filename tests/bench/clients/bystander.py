"""Another user, who sends NOOP all the time while somebody else keeps the server busy."""
import threading
import time

from .imap import Imap


class Bystander(threading.Thread):
    """`times`: the seconds that each NOOP took. `user`: a local part; `mailbox` must exist."""

    def __init__(self, port, user=None, mailbox=b"INBOX"):
        super().__init__(daemon=True)
        self._client = Imap(port).login(*([user] if user else []))
        self._client.command(b"SELECT " + mailbox)
        self._over = threading.Event()
        self.times = []

    def run(self):
        while not self._over.wait(0.004):
            began = time.perf_counter()
            self._client.command(b"NOOP")
            self.times.append(time.perf_counter() - began)

    def stop(self):
        self._over.set()
        self.join(60)
        self._client.close()

    def percentile(self, percent):
        """Seconds that so many percent of the NOOPs did not exceed."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
