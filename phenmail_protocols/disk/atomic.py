"""Writes that happen whole or not at all, and survive a power failure.

The recipe is always the same: write a temporary file in the same directory, sync it to the disk,
rename it over the file, sync the directory. A rename is durable only once its directory is synced
(fsync(2), NOTES).

`DirectorySync` lets threads that wait for the same directory share one sync.
"""
import os
import re
import threading
import time

STALE_SECONDS = 36 * 3600  # Maildir's rule: nobody writes a temporary file for so long
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # for folders that others may write to
# The names of temporary files here, in keyfile and beneath.
_TEMPORARY = re.compile(r"\..+\.(\d+\.\d+|[0-9a-f]{16})\.tmp\Z")


def sync_directory(path):
    """Sync the entries of directory `path` to the disk; raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if os.name == "nt":  # directories cannot be opened there, and need no sync
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path, data, mode=0o600):
    """Replace the file `path` by `data`, durably and atomically.

    `data`: bytes, or an iterable of bytes. A reader sees the old bytes or the new ones, never a
    part. A crash may leave the temporary file: `remove_stale` removes it. Raises OSError.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.%d.%d.tmp" % (name, os.getpid(), threading.get_ident()))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINKS, mode)
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
    """Remove the temporary files in `folder` that are older than `seconds`: a crash left them."""
    try:
        names = [name for name in os.listdir(folder) if _TEMPORARY.match(name)]
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
    """Syncs one directory for many threads with as few fsyncs as possible.

    A thread that arrives while a sync runs cannot rely on it, because it may have begun before the
    thread's rename. But all threads that arrive meanwhile share the next one: the first of them
    leads, the others wait for its result.
    """

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by the thread that syncs
        self._waiting = None
        # The number of failed syncs. What was pending then may be lost, even if a later sync
        # succeeds (fsync(2), NOTES). A thread that changed a name before a failure must not rely on
        # the next sync.
        self.failures = 0

    def sync(self):
        """Return once a sync that began after this call has ended.

        Raises the OSError of that sync, in every thread that shared it.
        """
        with self._lock:
            shared = self._waiting
            leads = shared is None
            if leads:
                shared = self._waiting = _SharedSync()
        if leads:
            try:
                with self._turn:
                    with self._lock:
                        self._waiting = None  # threads that arrive now need the next sync
                    try:
                        sync_directory(self._path)
                    except OSError:
                        self.failures += 1
                        raise
            except OSError as error:
                shared.error = error
            finally:
                shared.done.set()
        else:
            shared.done.wait()
        if shared.error is not None:
            raise shared.error


class _SharedSync:
    __slots__ = ("done", "error")

    def __init__(self):
        self.done = threading.Event()
        self.error = None
