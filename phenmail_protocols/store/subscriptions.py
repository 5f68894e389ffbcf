"""The names that a person subscribed to: Dovecot's ``subscriptions`` file.

Version 2 is written: a header, an empty line, then a name a line, its
components as in a folder's name but with tabs between them. Version 1 (a name
a line as in the folder's name) is read. The caller holds the account's lock to
write.
"""
import os

from . import folders
from ..disk import atomic

_HEADER = b"V\t2\n\n"
_LARGEST = 1 << 20


class Subscriptions:
    def __init__(self, folder):
        self._path = os.path.join(folder, "subscriptions")

    def names(self):
        """Subscribed names, in the order in which they were added."""
        try:
            with open(self._path, "rb") as file:
                data = file.read(_LARGEST)
        except FileNotFoundError:
            return []
        separator = "."
        if data.startswith(_HEADER):
            data, separator = data[len(_HEADER):], "\t"
        names = []
        for line in data.split(b"\n"):
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
            self._write(names + [name])

    def remove(self, name):
        names = self.names()
        if name in names:
            self._write([other for other in names if other != name])

    def _write(self, names):
        lines = ["\t".join(folders.written(name)).encode("ascii") + b"\n"
                 for name in names]
        os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
        atomic.write_file(self._path, _HEADER + b"".join(lines))
