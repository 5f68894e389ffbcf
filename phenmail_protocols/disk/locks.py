"""Locks between threads and processes.

The lock file is opened anew each time (unless its user keeps it open), so that
flock(2), which belongs to the open file, excludes threads of one process as
well as other processes. A killed holder leaves nothing behind: the kernel
drops its lock.
"""
import errno
import os
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


# A link would let a folder's owner hold up whoever uses the file behind it.
_OPEN = (os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
         | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


class LockTimeout(OSError):
    """Somebody else held the lock for longer than the caller would wait."""


class FileLock:
    """``with FileLock(path, timeout=5.0):`` – exclusive, not reentrant.

    ``timeout`` in seconds; None waits as long as it takes, 0 tries once.
    ``keep``: the file stays open in between, until ``close()``; its user must
    keep his own threads apart then. ``create`` False: a file that is gone is
    not made (FileNotFoundError). Raises LockTimeout, or OSError where the
    file can't be made or is a link.
    """

    __slots__ = ("path", "_timeout", "_keep", "_create", "_kept", "_descriptor")

    def __init__(self, path, timeout=None, keep=False, create=True):
        self.path = path
        self._create = os.O_CREAT if create else 0
        self._timeout = timeout
        self._keep = keep and fcntl is not None
        self._kept = -1
        self._descriptor = -1

    def acquire(self):
        while True:
            descriptor, self._kept = self._kept, -1
            if descriptor < 0:
                descriptor = os.open(self.path, _OPEN | self._create, 0o600)
            try:
                _lock(descriptor, self._timeout, self.path)
                if _is_at(self.path, descriptor):
                    break
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # another file took its name meanwhile
        self._descriptor = descriptor

    def release(self):
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._keep:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            self._kept = descriptor
        else:
            os.close(descriptor)

    def close(self):
        """Let go of a file that was kept open."""
        descriptor, self._kept = self._kept, -1
        if descriptor >= 0:
            os.close(descriptor)

    __del__ = close

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *exception):
        self.release()


def _is_at(path, descriptor):
    """A lock on a file that was removed or replaced excludes nobody."""
    try:
        here, there = os.fstat(descriptor), os.stat(path)
    except FileNotFoundError:
        return False
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


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
