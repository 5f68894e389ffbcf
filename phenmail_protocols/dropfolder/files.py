"""The files of one drop folder on the disk, opened so that no link in it can lead elsewhere.

The folder belongs to a user, and the server may be root. So no component of its path may be a
link, everything else is named relative to the descriptor of the open folder, and only fstat says
what a file is. Knows no message and no user's settings. Raises OSError if the disk fails.
"""
import itertools
import os
import stat
from typing import NamedTuple

from ..disk.open_beneath import descend

FAILED = "failed"
# Subfolders that are read too, as in a Maildir, and those that never are.
_PARTS = ("new", "cur")
_NOT_READ = ("tmp", FAILED)

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
# Passing through a folder needs no permission to list it.
_THROUGH = _FOLDER | getattr(os, "O_PATH", 0)
# Opening a pipe must not block, and a terminal must not become ours.
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _NO_LINK
_LONGEST_NAME = 200  # bytes of a name, so that a number can be added


class Unusable(Exception):
    """This file can never be filed as it is; str() says why, for people."""


class State(NamedTuple):
    """Two equal states mean that a file did not change."""
    device: int
    inode: int
    mtime: int  # nanoseconds
    size: int


def state_of(status):
    """An os.stat_result -> State."""
    return State(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def stamps(path, parts=()):
    """Whether a folder's names changed, cheaply -> tuple to compare, () if there is no folder.

    (device, inode, mtime in nanoseconds) of the folder itself, then of its subfolders `parts`.
    """
    try:
        paths = [path] + [os.path.join(path, part) for part in parts]
        return tuple([_stamp(os.stat(each)) for each in paths])
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _stamp(status):
    return status.st_dev, status.st_ino, status.st_mtime_ns


class Opened:
    """An open drop folder; a context manager. `base`: an absolute path that is trusted; `inner`:
    the path below it, in which nothing may be a link."""

    def __init__(self, base, inner):
        self._folders = {}
        try:
            self._folders[""] = _go_down(base, inner)
            status = os.fstat(self._folders[""])
            self._owner = status.st_uid, status.st_gid
            for part in _PARTS:
                if self._is_folder(part):
                    self._folders[part] = os.open(part, _FOLDER, dir_fd=self._folders[""])
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        """Close all descriptors."""
        folders, self._folders = self._folders, {}
        for descriptor in folders.values():
            os.close(descriptor)

    def _is_folder(self, name):
        try:
            return stat.S_ISDIR(self.status("", name).st_mode)
        except FileNotFoundError:
            return False

    @property
    def parts(self):
        """The names of the subfolders that are read too."""
        return tuple([part for part in self._folders if part])

    def stamps(self):
        """As the function `stamps`, of the folder and its parts."""
        return tuple([_stamp(os.fstat(descriptor)) for descriptor in self._folders.values()])

    def is_writable(self):
        """Whether files can be removed from it."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self._folders[""])

    def names(self):
        """The files to take -> iterator of (part, name); part "" is the folder itself."""
        for part, descriptor in self._folders.items():
            for name in _names(descriptor):
                is_reserved = not part and name in _PARTS + _NOT_READ
                if name[:1] != "." and not (is_reserved and self._is_folder(name)):
                    yield part, name

    def status(self, part, name):
        """The status of a name, links not followed -> os.stat_result."""
        return os.stat(name, dir_fd=self._folders[part], follow_symlinks=False)

    def open(self, part, name):
        """Open a file for reading -> unbuffered binary file. Raises Unusable."""
        self._check(self.status(part, name))
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._folders[part])
        except PermissionError:
            raise Unusable("the server has no permission to read it") from None
        try:
            # Meanwhile the name may have become another file's.
            self._check(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb", 0)

    def _check(self, status):
        """Raise Unusable unless this is a file of this folder's owner."""
        if stat.S_ISLNK(status.st_mode):
            raise Unusable("it is a link")
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("it is not a regular file")
        # Some systems let users make hard links to files that they cannot read.
        if status.st_uid not in (self._owner[0], os.geteuid()):
            raise Unusable("its owner is not the folder's owner")
        if status.st_nlink > 1:
            raise Unusable("it has more than one hard link")
        if not status.st_size:
            raise Unusable("it is empty")

    def remove(self, part, name, state):
        """Remove a file -> whether it was still in that state; another file of its name stays."""
        if state_of(self.status(part, name)) != state:
            return False
        os.unlink(name, dir_fd=self._folders[part])
        return True

    def set_aside(self, part, name, state):
        """Move a file to `failed`, under a free name -> its path below the folder; None if it has
        changed."""
        failed = self._failed()
        try:
            taken = _free_name(failed, name)
            if state_of(self.status(part, name)) != state:
                return None
            os.rename(name, taken, src_dir_fd=self._folders[part], dst_dir_fd=failed)
        finally:
            os.close(failed)
        return FAILED + "/" + taken

    def _failed(self):
        """The descriptor of `failed`, which is created for the folder's owner if it is missing."""
        is_new = False
        try:
            os.mkdir(FAILED, 0o700, dir_fd=self._folders[""])
            is_new = True
        except FileExistsError:
            pass
        descriptor = os.open(FAILED, _FOLDER, dir_fd=self._folders[""])
        if is_new and os.geteuid() == 0:
            try:
                os.fchown(descriptor, *self._owner)
            except OSError:
                os.close(descriptor)
                raise
        return descriptor


def _go_down(base, inner):
    """Open a folder without following a link below `base` -> its descriptor."""
    components = inner.split(os.sep)
    descriptor = os.open(base, _THROUGH & ~getattr(os, "O_NOFOLLOW", 0))
    descriptor = descend(descriptor, components[:-1], _THROUGH)
    return descend(descriptor, components[-1:], _FOLDER)


def _names(descriptor):
    if os.scandir not in os.supports_fd:  # before CPython 3.7
        yield from os.listdir(descriptor)
        return
    with os.scandir(descriptor) as found:
        for entry in found:
            yield entry.name


def _free_name(folder, name):
    """A name that does not exist in the folder (a descriptor) yet."""
    short = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    tried = name
    for number in itertools.count(1):
        try:
            os.stat(tried, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return tried
        tried = "%s.%d" % (short, number)
