"""How much room the disk has for new messages."""
import os
import time

from .. import errors

_PLENTY = 4  # times the reserve
_SECONDS = 1.0  # between two checks of a disk that has plenty of room


class DiskSpace:
    """Keeps a reserve of the disk free of new messages."""

    def __init__(self, folder, reserve):
        """`reserve` in bytes; 0: the disk may fill up."""
        self._folder = folder
        self._reserve = reserve
        self._until = 0.0

    def check(self):
        """Raise errors.NoSpace if less than the reserve is free."""
        now = time.monotonic()
        if not self._reserve or now < self._until:
            return
        free = free_space(self._folder)
        if free < self._reserve:
            raise errors.NoSpace()
        if free > _PLENTY * self._reserve:
            self._until = now + _SECONDS

    def check_plenty(self):
        """Raise errors.NoSpace if there is room for messages, but not for what only saves time."""
        if self._reserve and free_space(self._folder) < _PLENTY * self._reserve:
            raise errors.NoSpace()


def free_space(folder):
    """Bytes that an ordinary user may still write to the disk of `folder`."""
    try:
        status = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows; the folder is gone
        return 1 << 62
    return status.f_bavail * status.f_frsize
