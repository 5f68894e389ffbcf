"""aiosmtpd with its own Maildir handler; run as a program it is the server."""
import subprocess
import sys
import time

from .process import Missing, PythonPeer


class Aiosmtpd(PythonPeer):
    """`python` must be able to import aiosmtpd."""

    name = "aiosmtpd"
    module = __name__

    def __init__(self, folder, python=sys.executable):
        if subprocess.call([python, "-c", "import aiosmtpd"], stderr=subprocess.DEVNULL):
            raise Missing("aiosmtpd")
        super().__init__(folder, python)


def serve(port, maildir):
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Mailbox
    Controller(Mailbox(maildir), hostname="127.0.0.1", port=port).start()
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
