"""A user's own log: `mail.log` in the mail folder, about what filters did with mail.

Lines contain no text of a message and no control character. The folder belongs to the user, so
nothing in it is trusted: only a plain file with one name is written, no link is followed, and a
pipe does not block. A failure never delays mail.
"""
import logging
import os
import stat
import threading
import time

from ..mail import dates
from ..mail.writing import printable

log = logging.getLogger("phenmail.filters")

FILE, OLD_FILE = "mail.log", "mail.log.1"
MOST = 1024 * 1024  # octets of each of the two
_LONGEST_LINE = 500  # characters
_FLAGS = (os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
          | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


class UserLog:
    """Writes the logs of all users. Any thread may call it.

    `clock()`: epoch seconds; `most`: bytes of a file before it becomes OLD_FILE.
    """

    def __init__(self, clock=time.time, most=MOST):
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()

    def tell(self, folder, lines, about=""):
        """Add lines (str) to the log of a mail folder -> whether it worked. Raises nothing.

        `about`: what each line is about, such as the message's name in the server's log.
        """
        try:
            return self._write(folder, self._dated(lines, about))
        except Exception as error:
            log.warning("%s: the user's log could not be written: %s", folder, error)
            return False

    def _dated(self, lines, about):
        epoch = int(self._clock())
        zone = dates.local_zone(epoch)
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(epoch + zone * 60))
        start = "%s %s%02d%02d %s" % (moment, "-" if zone < 0 else "+", abs(zone) // 60,
                                      abs(zone) % 60, about + ": " if about else "")
        text = "".join([start + printable(line)[:_LONGEST_LINE] + "\n" for line in lines])
        return text.encode("utf-8", "replace")

    def _write(self, folder, data):
        path = os.path.join(folder, FILE)
        with self._lock:
            descriptor = os.open(path, _FLAGS, 0o600)
            try:
                size = _size_of_plain_file(descriptor, path)
                if size and size + len(data) > self._most:
                    os.rename(path, os.path.join(folder, OLD_FILE))
                    os.close(descriptor)
                    descriptor = -1
                    descriptor = os.open(path, _FLAGS | os.O_EXCL, 0o600)
                return os.write(descriptor, data) == len(data)
            finally:
                if descriptor >= 0:
                    os.close(descriptor)


def _size_of_plain_file(descriptor, path):
    status = os.fstat(descriptor)
    # With a second hard link it could be another user's file.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise OSError("%s is not a regular file with a single hard link" % path)
    return status.st_size
