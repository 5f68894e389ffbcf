"""Files in folders of others: reached step by step from a folder that is sure, and no link is followed on the way.

Whoever owns a folder may put a link, a pipe or another folder into its place between two calls; here such a change ends in an
error, never elsewhere. Links that are meant are followed by the caller before (realpath), who then says where it may have led.
Without openat(2) (Windows) paths are used as they are.
"""
import errno
import os
import stat

from .plain import PLAIN

_STEPS = os.open in getattr(os, "supports_dir_fd", ()) and hasattr(os, "O_NOFOLLOW")
_FOLDER = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)
_PASSED = _FOLDER | getattr(os, "O_PATH", 0)  # one may pass through what one may not read
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read(folder, path, most):
    """The octets of the regular file ``path``, an absolute path below ``folder``: (bytes, its os.stat_result).

    Both without links: ELOOP or ENOTDIR where one stands on the way. Never waits for a pipe. Raises OSError; EINVAL for what is no
    regular file, EFBIG for one with more than ``most`` octets.
    """
    with _Parent(folder, path) as parent:
        descriptor = parent.open(PLAIN)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _error(errno.EINVAL, "no regular file", path)
            data = _content(descriptor, most + 1)
        finally:
            os.close(descriptor)
    if len(data) > most:
        raise _error(errno.EFBIG, "more than %d octets" % most, path)
    return data, status


def replace(folder, path, data, like):
    """Put ``data`` into the place of the file ``path``, durably and at once, with the owner and mode of ``like`` (os.stat_result).

    ``folder`` and ``path`` as in ``read``. Raises OSError; the old file then is as it was.
    """
    with _Parent(folder, path) as parent:
        temporary = ".%s.%s.tmp" % (parent.name[:200], os.urandom(8).hex())
        descriptor = parent.open(_NEW, temporary)
        try:
            try:
                _write(descriptor, data, like)
            finally:
                os.close(descriptor)
            parent.rename(temporary)
        except BaseException:
            parent.remove(temporary)
            raise
        parent.sync()


def folder_status(path):
    """The os.stat_result of the folder ``path``: absolute, and no link on the way from the top.

    For who asks whose a folder is, and does things as that user then. Raises OSError where there is a link, or no folder.
    """
    if not _STEPS:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise _error(errno.ENOTDIR, "no folder", path)
        return status
    descriptor = os.open(os.sep, _PASSED)
    try:
        for step in filter(None, path.split(os.sep)):
            below = os.open(step, _PASSED, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _content(descriptor, most):
    data = b""
    while len(data) < most:
        more = os.read(descriptor, most - len(data))
        if not more:
            break
        data += more
    return data


def _write(descriptor, data, like):
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]
    if hasattr(os, "fchown"):
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (like.st_uid, like.st_gid):
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, like.st_mode & 0o777)
    os.fsync(descriptor)


class _Parent:
    """The open folder of a file; ``name`` is the file's name in it."""

    def __init__(self, folder, path):
        inner = os.path.relpath(path, folder)
        *steps, self.name = inner.split(os.sep)
        if self.name in ("", os.curdir) or os.pardir in steps + [self.name]:
            raise _error(errno.EINVAL, "it does not lie below %s" % folder, path)
        self._path = os.path.dirname(path)
        self._descriptor = self._walk(folder, steps) if _STEPS else None

    def _walk(self, folder, steps):
        descriptor = os.open(folder, _FOLDER)
        for step in steps:
            try:
                below = os.open(step, _FOLDER, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _named(self, name):
        return name if self._descriptor is not None else os.path.join(self._path, name)

    def open(self, flags, name=None):
        """A file in the folder, made for us only: a descriptor."""
        return os.open(self._named(name or self.name), flags, 0o600, dir_fd=self._descriptor)

    def rename(self, name):
        os.replace(self._named(name), self._named(self.name), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name):
        try:
            os.unlink(self._named(name), dir_fd=self._descriptor)
        except OSError:
            pass

    def sync(self):
        if self._descriptor is not None:
            os.fsync(self._descriptor)


def _error(number, text, path):
    return OSError(number, text, path)
