"""Secret keys of this device: made once, at random, and never replaced.

A new key appears whole or not at all. It never replaces an existing key, because everything made
with that one would become invalid.
"""
import os
import threading

from .atomic import sync_directory
from .regular_files import open_plain

OCTETS = 32


def kept_key(path):
    """The key in the file `path` (bytes). If there is no file, it is made (0600, durably).

    Raises OSError, also for a link or a pipe; ValueError if the file holds something else.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path)
        return _read(path)  # another process may have made it first


def _read(path):
    # No link is followed: others may know the file that it leads to.
    with open_plain(path) as file:
        key = file.read(OCTETS + 1)
    if len(key) != OCTETS:
        raise ValueError("%s holds no key: expected %d octets" % (path, OCTETS))
    return key


def _make(path):
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.%d.%d.tmp" % (name, os.getpid(), threading.get_ident()))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write(descriptor, os.urandom(OCTETS))
        _link(temporary, path)
    finally:
        os.unlink(temporary)
    sync_directory(folder or ".")


def _link(temporary, path):
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # no links here: two first starts at the same moment are not kept apart
        if not os.path.exists(path):
            with open(temporary, "rb") as file:
                key = file.read()
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                return
            _write(descriptor, key)


def _write(descriptor, key):
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
