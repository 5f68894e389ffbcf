"""Locks between threads and processes.

The lock file is opened anew each time, so that flock(2), which belongs to the
open file, excludes threads of one process as well as other processes. A
killed holder leaves nothing behind: the kernel drops its lock.
"""
import errno
import os
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


class LockTimeout(OSError):
    """Somebody else held the lock for longer than the caller would wait."""


class FileLock:
    """``with FileLock(path, timeout=5.0):`` – exclusive, not reentrant.

    ``timeout`` in seconds; None waits as long as it takes, 0 tries once.
    Raises LockTimeout, or OSError where the file can't be made.
    """

    __slots__ = ("path", "_timeout", "_descriptor")

    def __init__(self, path, timeout=None):
        self.path = path
        self._timeout = timeout
        self._descriptor = -1

    def acquire(self):
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor, self._timeout, self.path)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self):
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *exception):
        self.release()


def _lock(descriptor, timeout, path):
    if timeout is None and fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    end = None if timeout is None else time.monotonic() + timeout
    pause = 0.001
    while not _try_lock(descriptor):
        if end is not None and time.monotonic() >= end:
            raise LockTimeout(
                errno.EAGAIN, "held by another program for over %s s"
                % timeout, path)
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _try_lock(descriptor):
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True
