"""A folder in a user's area in which the server keeps files of its own.

The user can put a link, a pipe, a file of somebody else or a huge file in the place of one of them,
and the server may be root. So nothing on the way to the folder below `base` may be a link, every
file is opened relative to the open folder, and only fstat says what it is. Files and folder get
the owner of the folder around it. Without openat(2) (Windows) paths are used directly.
"""
import errno
import os
import stat

from .open_beneath import descend
from .regular_files import PLAIN

_HAS_OPENAT = os.open in getattr(os, "supports_dir_fd", ()) and hasattr(os, "O_NOFOLLOW")
_FOLDER = (os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_DIRECTORY", 0)
           | getattr(os, "O_CLOEXEC", 0))
_SAFE = (getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
         | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
_APPEND = os.O_WRONLY | os.O_APPEND | _SAFE
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE


class OwnedFolder:
    """An open folder; a context manager. Every method raises OSError."""

    def __init__(self, base, inner, name):
        """Open the folder `name` in the folder `inner`, a path below `base`, and make it if it is
        missing. `base`: an absolute path that is trusted, without links."""
        self._path = os.path.join(base, inner, name)
        self._descriptor = None
        if not _HAS_OPENAT:
            os.makedirs(self._path, mode=0o700, exist_ok=True)
            self._owner = None
            return
        outer = descend(os.open(base, _FOLDER), filter(None, inner.split(os.sep)), _FOLDER)
        try:
            status = os.fstat(outer)
            self._owner = status.st_uid, status.st_gid
            try:
                os.mkdir(name, 0o700, dir_fd=outer)
                is_new = True
            except FileExistsError:
                is_new = False
            self._descriptor = os.open(name, _FOLDER, dir_fd=outer)
            if is_new:
                self._give(self._descriptor)
                os.fsync(outer)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(outer)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """May be called again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self, name, flags):
        path = name if self._descriptor is not None else os.path.join(self._path, name)
        return os.open(path, flags, 0o600, dir_fd=self._descriptor)

    def _give(self, descriptor):
        if self._owner is not None and os.geteuid() == 0:
            os.fchown(descriptor, *self._owner)

    def _checked(self, descriptor, name):
        """The descriptor, if it is that of a file of our own or the owner's; else it is closed."""
        try:
            status = os.fstat(descriptor)
            if (not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or self._owner is not None
                    and status.st_uid not in (self._owner[0], os.geteuid())):
                raise OSError(errno.EINVAL, "not a regular file of its folder's owner",
                              os.path.join(self._path, name))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def read(self, name):
        """Open a file -> unbuffered binary file. FileNotFoundError if there is none."""
        return os.fdopen(self._checked(self._open(name, PLAIN), name), "rb", 0)

    def append(self, name, make=True):
        """Open a file to append to -> its descriptor. `make`: if it is missing, it is made."""
        try:
            return self._checked(self._open(name, _APPEND), name)
        except FileNotFoundError:
            if not make:
                raise
            descriptor = self._open(name, _NEW)
        self._give(descriptor)
        self.sync()
        return descriptor

    def replace(self, name, pieces):
        """Replace a file by an iterable of bytes, durably and atomically."""
        temporary = ".%s.%s.tmp" % (name[:200], os.urandom(8).hex())
        descriptor = self._open(temporary, _NEW)
        try:
            try:
                self._give(descriptor)
                for piece in pieces:
                    write_all(descriptor, piece)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._rename(temporary, name)
        except BaseException:
            self._unlink(temporary)
            raise
        self.sync()

    def set_aside(self, name):
        """Rename whatever has this name to `name` plus ".unusable", for its owner to look at."""
        aside = name + ".unusable"
        try:
            self._rename(name, aside)
        except (IsADirectoryError, NotADirectoryError, FileExistsError):
            self._rename(name, "%s.%s" % (aside, os.urandom(4).hex()))

    def _rename(self, old, new):
        if self._descriptor is None:
            os.replace(os.path.join(self._path, old), os.path.join(self._path, new))
        else:
            os.replace(old, new, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)

    def _unlink(self, name):
        try:
            if self._descriptor is None:
                os.unlink(os.path.join(self._path, name))
            else:
                os.unlink(name, dir_fd=self._descriptor)
        except OSError:
            pass

    def sync(self):
        """Sync the folder's names to the disk."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)


def write_all(descriptor, data):
    """Write all of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]
