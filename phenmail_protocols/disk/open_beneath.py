"""Files in other users' folders, reached step by step without following a link.

The owner of a folder may put a link, a pipe or another folder in a file's place between two calls.
Here such a change ends in an error; it never leads outside. Callers that allow links resolve them
first (realpath), and say where the path may lead.
Without openat(2) (Windows) paths are used directly.
"""
import errno
import os
import stat

from .regular_files import PLAIN

_HAS_OPENAT = os.open in getattr(os, "supports_dir_fd", ()) and hasattr(os, "O_NOFOLLOW")
_FOLDER = (os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)
           | getattr(os, "O_CLOEXEC", 0))
_PASSED = _FOLDER | getattr(os, "O_PATH", 0)  # a folder may be passable without being readable
_NEW = (os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))


def read(folder, path, most):
    """The octets of the regular file `path`, an absolute path below `folder`, and its
    os.stat_result.

    Neither `folder` itself nor a step below it may be a link: ELOOP or ENOTDIR. It never waits for
    a pipe. Raises OSError: EINVAL if it is no regular file, EFBIG if it is over `most` octets.
    """
    with _Parent(folder, path) as parent:
        descriptor = parent.open(PLAIN)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            data = _content(descriptor, most + 1)
        finally:
            os.close(descriptor)
    if len(data) > most:
        raise OSError(errno.EFBIG, "more than %d octets" % most, path)
    return data, status


def replace(folder, path, data, like):
    """Replace the file `path` by `data`, durably and atomically, with the owner and mode of `like`
    (os.stat_result).

    `folder` and `path` as in `read`. Raises OSError; the old file is unchanged then.
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
    """The os.stat_result of the folder `path`, an absolute path.

    For callers that then act as the folder's owner. Raises OSError if a step of the path is a link,
    or if it is no folder.
    """
    if not _HAS_OPENAT:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            raise OSError(errno.ENOTDIR, "not a folder", path)
        return status
    descriptor = descend(os.open(os.sep, _PASSED), filter(None, path.split(os.sep)), _PASSED)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def descend(descriptor, steps, flags):
    """The descriptor of a folder below another; the other descriptor is closed in any case."""
    for step in steps:
        try:
            below = os.open(step, flags, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


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
    """The open folder of a file; `name` is the file's name in it."""

    def __init__(self, folder, path):
        *steps, self.name = os.path.relpath(path, folder).split(os.sep)
        if self.name in ("", os.curdir) or os.pardir in steps + [self.name]:
            raise OSError(errno.EINVAL, "not below %s" % folder, path)
        self._path = os.path.dirname(path)
        self._descriptor = None
        if _HAS_OPENAT:
            self._descriptor = descend(os.open(folder, _FOLDER), steps, _FOLDER)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._descriptor is not None:
            os.close(self._descriptor)

    def _named(self, name):
        return name if self._descriptor is not None else os.path.join(self._path, name)

    def open(self, flags, name=None):
        """A descriptor of a file in the folder; a new file is readable by its owner only."""
        return os.open(self._named(name or self.name), flags, 0o600, dir_fd=self._descriptor)

    def rename(self, name):
        os.replace(self._named(name), self._named(self.name),
                   src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def remove(self, name):
        try:
            os.unlink(self._named(name), dir_fd=self._descriptor)
        except OSError:
            pass

    def sync(self):
        if self._descriptor is not None:
            os.fsync(self._descriptor)
