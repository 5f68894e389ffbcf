"""aiosmtpd with its own Maildir handler; run as a program it is the server."""
import os
import subprocess
import sys
import time

from .process import Child, Missing, await_banner, free_port


class Aiosmtpd:
    """`python` must be able to import aiosmtpd."""

    name = "aiosmtpd"
    waits = False

    def __init__(self, folder, python=sys.executable):
        if subprocess.call([python, "-c", "import aiosmtpd"], stderr=subprocess.DEVNULL):
            raise Missing("aiosmtpd")
        self.maildir = os.path.join(folder, "mail")
        self.smtp = free_port()
        self._python = python
        self._log = os.path.join(folder, "log")
        self.child = None

    def start(self):
        self.child = Child([self._python, "-m", __name__, str(self.smtp), self.maildir], self._log)
        await_banner(self.child, self.smtp)
        return self

    def stop(self):
        if self.child is not None:
            self.child.stop()


def serve(port, maildir):
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Mailbox
    Controller(Mailbox(maildir), hostname="127.0.0.1", port=port).start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
