"""`relayworker` with a plugin, quick drop folders, and all loaded that users' destinations need.

What the server starts (programs of users) is inherited when it dies, and waited for, before its
death is told: Linux only.
"""
import ctypes
import functools
import logging
import os
import sys
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols import mail_flow  # noqa: E402
from phenmail_protocols.destinations import local_delivery, programs  # noqa: E402, F401
from phenmail_protocols.disk.atomic import sync_directory  # noqa: E402
from phenmail_protocols.dropfolder.service import DropFolders  # noqa: E402
from phenmail_protocols.filters import rules, user_filters, user_log, vacation  # noqa: E402, F401
from phenmail_protocols.plugins import calling  # noqa: E402, F401

from . import relayworker  # noqa: E402
from .worker import _Told, serve  # noqa: E402

_PR_SET_CHILD_SUBREAPER = 36    # prctl(2)
PERIOD = 0.01                   # seconds between two looks at drop folders


class Keeper:
    """A plugin that writes durably what it gets; the first time that it is asked about a message,
    it does not, if "later" says so."""

    concurrent = True

    def __init__(self, folder):
        self._folder = folder
        self._lock = threading.Lock()
        self._count = 0

    def mail_received(self, message, origin, parameters):
        if parameters == "later" and self._is_first(message["X-Token"]):
            return False
        with self._lock:
            self._count += 1
            name = "%s.%d.%d" % (origin.identity, os.getpid(), self._count)
        temporary = os.path.join(self._folder, name + ".part")
        with open(temporary, "wb") as file:
            file.write(message.as_bytes())
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, os.path.join(self._folder, name + ".eml"))
        sync_directory(self._folder)
        return True

    def _is_first(self, token):
        try:
            os.close(os.open(os.path.join(self._folder, token + ".asked"),
                             os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True


def work(job):
    """One life of the server."""
    relayworker.work(job, plugins={"keeper": Keeper(job["keeper"])})


def load(key):
    """As relayworker's; and what programs and plugins load."""
    import email.parser  # noqa: F401
    import email.policy  # noqa: F401
    import pwd  # noqa: F401
    import shlex  # noqa: F401
    import subprocess  # noqa: F401
    relayworker.load(key)


if __name__ == "__main__":
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("this process can't inherit others' children")
    logging.getLogger("phenmail").addHandler(_Told())
    mail_flow.DropFolders = functools.partial(DropFolders, period=PERIOD)
    load(sys.argv[1])
    serve(work)
