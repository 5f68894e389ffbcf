"""The files of one drop folder on the disk, opened so that nothing in it can lead elsewhere.

The folder belongs to a user, and the server may be root: so its path is gone down without following a link, everything else
is named relative to the descriptor of the folder that was opened, and a file is what fstat says of it.  Knows no message and
no user's settings.  Raises OSError where the disk fails.
"""
import os
import stat
from typing import NamedTuple

FAILED = "failed"
# A Maildir below is read too; its tmp never.
_PARTS = ("new", "cur")
_NOT_READ = ("tmp", FAILED)

_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NO_LINK
# To go through a folder needs no right to list it.
_THROUGH = _FOLDER | getattr(os, "O_PATH", 0)
# A pipe must not keep anybody waiting, a terminal not become ours.
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | _NO_LINK
# Of a file's name, so that a number fits behind it.
_LONGEST_NAME = 200


class Unusable(Exception):
    """This file will never be filed as it is; str() says why, for people."""


class State(NamedTuple):
    """What tells one state of a file from another."""
    device: int
    inode: int
    mtime: int  # nanoseconds
    size: int


def state_of(status):
    """An os.stat_result -> State."""
    return State(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def stamps(path, parts=()):
    """The state of a folder's list of names, cheaply -> tuple to compare, () where there is no folder.

    (device, inode, mtime in nanoseconds) of the folder itself, then of those `parts` below it.
    """
    try:
        return tuple([_stamp(os.stat(path))] + [_stamp(os.stat(os.path.join(path, part))) for part in parts])
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _stamp(status):
    return status.st_dev, status.st_ino, status.st_mtime_ns


class Opened:
    """A drop folder while it is looked through; a context manager.  `base`: an absolute path that is trusted; `inner`: the
    folder's names below it, none of which may be a link."""

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
        """Let go of the folder."""
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
        """Names of the folders below it that are read too."""
        return tuple([part for part in self._folders if part])

    def stamps(self):
        """As `stamps`, of the folder and its parts."""
        return tuple([_stamp(os.fstat(descriptor)) for descriptor in self._folders.values()])

    def is_writable(self):
        """Whether files can be removed from it."""
        return os.access(".", os.W_OK | os.X_OK, dir_fd=self._folders[""])

    def names(self):
        """What lies in it for us -> (part, name) one after the other; part "" is the folder itself."""
        for part, descriptor in self._folders.items():
            for name in _names(descriptor):
                if name[:1] == "." or not part and name in _PARTS + _NOT_READ and self._is_folder(name):
                    continue
                yield part, name

    def status(self, part, name):
        """What lies under a name, links not followed -> os.stat_result."""
        return os.stat(name, dir_fd=self._folders[part], follow_symlinks=False)

    def open(self, part, name):
        """A file for reading -> binary file without a buffer.  Raises Unusable."""
        self._check(self.status(part, name))
        try:
            descriptor = os.open(name, _FILE, dir_fd=self._folders[part])
        except PermissionError:
            raise Unusable("the server has no right to read it") from None
        try:
            # Meanwhile the name may have become another's.
            self._check(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return os.fdopen(descriptor, "rb", 0)

    def _check(self, status):
        """Raise Unusable for what is no message of this folder's owner."""
        if stat.S_ISLNK(status.st_mode):
            raise Unusable("it is a link")
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("it is no file")
        # Some systems let users link files that they can't read.
        if status.st_uid not in (self._owner[0], os.geteuid()):
            raise Unusable("it belongs to somebody else than its folder")
        if status.st_nlink > 1:
            raise Unusable("it has a second name (a hard link)")
        if not status.st_size:
            raise Unusable("it is empty")

    def remove(self, part, name, state):
        """Remove a file -> whether it was still in that state; else what has its name now stays."""
        if state_of(self.status(part, name)) != state:
            return False
        os.unlink(name, dir_fd=self._folders[part])
        return True

    def set_aside(self, part, name, state):
        """Move what lies under a name to `failed`, beside what is there -> its path below the folder; None where it is
        something else by now."""
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
        """The descriptor of `failed`, which is made where it is missing, for the folder's owner."""
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
    """-> the descriptor of a folder, no link followed below `base`."""
    components = inner.split(os.sep)
    descriptor = os.open(base, _THROUGH & ~getattr(os, "O_NOFOLLOW", 0))
    for number, component in enumerate(components, 1):
        try:
            below = os.open(component, _FOLDER if number == len(components) else _THROUGH, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


def _names(descriptor):
    if os.scandir not in os.supports_fd:  # before CPython 3.7
        yield from os.listdir(descriptor)
        return
    with os.scandir(descriptor) as found:
        for entry in found:
            yield entry.name


def _free_name(folder, name):
    """A name under which nothing lies in the folder (a descriptor) yet."""
    short = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    tried, number = name, 0
    while True:
        try:
            os.stat(tried, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return tried
        number += 1
        tried = "%s.%d" % (short, number)
