"""Writes that are there whole or not at all, and stay after power loss.

The recipe is always the same: write a temporary file in the same directory,
flush it to the disk, rename it over its name, flush the directory (a rename
is only durable once its directory is: fsync(2), NOTES).

``DirectorySync`` lets threads that wait for the same directory share one
flush: delivery needs one per message, and ten connections need them at once.
"""
import os
import re
import threading
import time

STALE_SECONDS = 36 * 3600  # Maildir's rule: nobody writes a temporary file for longer
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # in a folder that isn't our own
# The names of temporary files here, in keyfile, beneath and net.selfsigned.
_LEFT = re.compile(r"\..+\.(\d+\.\d+|[0-9a-f]{16})\.tmp\Z")


def sync_directory(path):
    """Flush the entries of directory ``path`` to the disk; raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.name == "nt":  # directories can't be opened there, nor need it
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path, data, mode=0o600):
    """Replace the file ``path`` by ``data``, durably and at once.

    ``data``: bytes, or an iterable of them.

    A reader sees the old bytes or the new ones, never a part. The temporary
    name starts with a dot and ends with ``.tmp``; one left by a crash is
    overwritten by nobody, and removed by ``remove_stale``. Raises OSError.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.%d.%d.tmp" % (
        name, os.getpid(), threading.get_ident()))
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINKS, mode)
    try:
        try:
            for piece in (data,) if isinstance(data, bytes) else data:
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view):]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    sync_directory(folder or ".")


def remove_stale(folder, seconds=STALE_SECONDS):
    """Remove temporary files of ours that a crash left in ``folder``.

    A day and a half is what Maildirs wait, too: nobody writes for so long.
    """
    try:
        names = [name for name in os.listdir(folder) if _LEFT.match(name)]
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        try:
            if time.time() - os.lstat(path).st_mtime > seconds:
                os.unlink(path)
        except OSError:
            pass


class DirectorySync:
    """Flushes one directory for many threads with as few fsyncs as possible.

    A thread that arrives while a flush runs can't use that one (it may have
    begun before the thread's rename), but all that arrive meanwhile share the
    next. The first of them leads, the others wait for its result.
    """

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by whoever is flushing
        self._waiting = None
        # Flushes that failed so far. What was pending then may be lost, even
        # where a later flush succeeds (fsync(2), NOTES): who changed a name
        # before one of them can't rely on the next.
        self.failures = 0

    def sync(self):
        """Return once a flush that began after this call has ended.

        Raises the OSError of that flush, in every thread that shared it.
        """
        with self._lock:
            flush = self._waiting
            leads = flush is None
            if leads:
                flush = self._waiting = _Flush()
        if not leads:
            flush.done.acquire()
            flush.done.release()
        else:
            try:
                with self._turn:
                    with self._lock:
                        self._waiting = None  # later ones need the next flush
                    try:
                        sync_directory(self._path)
                    except OSError:
                        self.failures += 1
                        raise
            except OSError as error:
                flush.error = error
            finally:
                flush.done.release()
        if flush.error is not None:
            raise flush.error


class _Flush:
    __slots__ = ("done", "error")

    def __init__(self):
        self.done = threading.Lock()
        self.done.acquire()
        self.error = None
