"""Locks between threads and processes.

flock(2) belongs to the open file. So each `acquire` opens the lock file anew (unless its user keeps
it open), and excludes threads of the same process as well as other processes. If the holder is
killed, the kernel releases its lock.
"""
import errno
import os
import time

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

# A link would let a folder's owner lock another user's file.
_OPEN = (os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
         | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))


class LockTimeout(OSError):
    """Another holder kept the lock for too long."""


class FileLock:
    """`with FileLock(path, timeout=5.0):` – exclusive, not reentrant.

    `timeout` in seconds; None waits without a limit, 0 tries once. `keep`: the file stays open
    between two uses, until `close()`; its user must then exclude their own threads in another way.
    `create` False: if the file is gone, it is not made (FileNotFoundError). Raises LockTimeout, or
    OSError if the file cannot be made or is a link.
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
            os.close(descriptor)  # the file was removed or replaced meanwhile: try again
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
        """Close a file that was kept open."""
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
    """Is the open file the one at `path`? A lock on another one excludes nobody."""
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
            raise LockTimeout(errno.EAGAIN, "another program held the lock for over %s s" % timeout,
                              path)
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
