"""The names that a person subscribed to: Dovecot's ``subscriptions`` file.

Version 2 is written: a header, an empty line, then a name a line, its
components as in a folder's name but with tabs between them. Version 1 (a name
a line as in the folder's name) is read. The caller holds the account's lock to
write.
"""
import logging
import os
import stat

from ..disk import atomic
from ..disk.plain import read_plain, set_aside_unless_plain
from . import errors, folders

_HEADER = b"V\t2\n\n"
_LARGEST = 1 << 18  # bytes
_LONGEST = 4096  # bytes of a line
_log = logging.getLogger("phenmail.store")


class Subscriptions:
    """An account's; all may raise OSError, a change that does is undone."""

    def __init__(self, folder):
        self._path = os.path.join(folder, "subscriptions")

    def names(self):
        """Subscribed names, in the order in which they were added.

        Raises OSError; none where its owner put something else there.
        """
        try:
            data = read_plain(self._path, _LARGEST)
        except FileNotFoundError:
            return []
        except OSError as error:
            if not _is_no_file(self._path):
                raise
            _log.warning("%s is not read: %s", self._path, error)
            return []
        separator = "."
        if data.startswith(_HEADER):
            data, separator = data[len(_HEADER):], "\t"
        names = []
        for line in data.split(b"\n"):
            if len(line) > _LONGEST:
                continue
            try:
                name = folders.read(line.decode("ascii").split(separator))
            except ValueError:
                continue
            if name:
                names.append(name)
        return names

    def add(self, name):
        names = self.names()
        if name not in names:
            self._change(names, names + [name])

    def remove(self, name):
        names = self.names()
        if name in names:
            self._change(names, [other for other in names if other != name])

    def _change(self, old, new):
        """Write ``new``; where that fails it is ``old`` that is there."""
        data = _rendered(new)
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
        try:
            if self._size() and read_plain(self._path, _LARGEST) == data:
                atomic.write_file(self._path, _rendered(old))
        except OSError as error:
            _log.error("%s: a change that failed could not be undone: %s",
                       self._path, error)


def _rendered(names):
    return _HEADER + b"".join(
        "\t".join(folders.written(name)).encode("ascii") + b"\n"
        for name in names)


def _is_no_file(path):
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
