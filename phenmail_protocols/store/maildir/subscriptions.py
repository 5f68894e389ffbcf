"""The names that a user subscribed to: Dovecot's file `subscriptions`.

We write version 2: a header, an empty line, then one name per line, its components escaped as in a
folder's name but separated by tabs. We also read version 1: one name per line, as in a folder's
name. Callers that write hold the account's lock.
"""
import logging
import os
import stat

from ...disk import atomic
from ...disk.regular_files import read_plain, set_aside_unless_plain
from .. import errors
from . import folders

_HEADER = b"V\t2\n\n"
_LARGEST = 1 << 18  # bytes
_LONGEST = 4096  # bytes of a line
log = logging.getLogger("phenmail.store")


class Subscriptions:
    """One account's subscriptions. All methods may raise OSError; nothing has changed then."""

    def __init__(self, folder):
        self._path = os.path.join(folder, "subscriptions")

    def names(self):
        """Subscribed names, in the order in which they were added.

        Empty if the path is not a regular file.
        """
        try:
            data = read_plain(self._path, _LARGEST)
        except FileNotFoundError:
            return []
        except OSError as error:
            if not _is_no_file(self._path):
                raise
            log.warning("%s is ignored, because it cannot be read: %s", self._path, error)
            return []
        separator = "."
        if data.startswith(_HEADER):
            data, separator = data[len(_HEADER):], "\t"
        names = []
        for line in data.split(b"\n"):
            if len(line) > _LONGEST:
                continue
            try:
                name = folders.from_disk(line.decode("ascii").split(separator))
            except ValueError:
                continue
            if name:
                names.append(name)
        return names

    def stamp(self):
        """(mtime in ns, inode, size) of the file, which change with it; zeros without a file."""
        try:
            status = os.stat(self._path)
        except OSError:
            return 0, 0, 0
        return status.st_mtime_ns, status.st_ino, status.st_size

    def add(self, name):
        """Raises errors.InvalidName for a name that is too long, errors.Limit if there are too
        many."""
        if len(_line(name)) > _LONGEST:
            raise errors.InvalidName("This mailbox name is too long.")
        names = self.names()
        if name not in names:
            self._change(names, names + [name])

    def remove(self, name):
        names = self.names()
        if name in names:
            self._change(names, [other for other in names if other != name])

    def _change(self, old, new):
        data = _render(new)
        if len(data) > _LARGEST or self._size() > _LARGEST:
            raise errors.Limit("There are too many subscriptions.")
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        set_aside_unless_plain(self._path)
        try:
            atomic.write_file(self._path, data)
        except OSError:
            self._restore(old, data)
            raise

    def _size(self):
        try:
            return os.lstat(self._path).st_size
        except FileNotFoundError:
            return 0

    def _restore(self, old, data):
        """Only the last step, syncing the folder, can fail with the new file in place."""
        try:
            if self._size() and read_plain(self._path, _LARGEST) == data:
                atomic.write_file(self._path, _render(old))
        except OSError as error:
            log.error("%s: a failed change could not be undone: %s", self._path, error)


def _render(names):
    return _HEADER + b"".join(_line(name) + b"\n" for name in names)


def _line(name):
    return "\t".join(folders.to_disk(name)).encode("ascii")


def _is_no_file(path):
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
