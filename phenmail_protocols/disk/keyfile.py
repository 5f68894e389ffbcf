"""Secret keys of this device: made once, at random, and never replaced.

A new key appears whole or not at all, and never in the place of one that is
there: whatever was made with that one would be void.
"""
import os
import threading

from .atomic import sync_directory
from .plain import open_plain

OCTETS = 32


def kept_key(path):
    """The key in the file ``path`` (bytes), made there (0600, durably) if there is none.

    Raises OSError, also for a link or a pipe; ValueError for a file that holds something else.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        _make(path)
        return _read(path)  # another process may have been first


def _read(path):
    # What a link leads to may be known to others.
    with open_plain(path) as file:
        key = file.read(OCTETS + 1)
    if len(key) != OCTETS:
        raise ValueError("%s holds no key: %d octets were expected" % (path, OCTETS))
    return key


def _make(path):
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, ".%s.%d.%d.tmp" % (name, os.getpid(), threading.get_ident()))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        try:
            os.write(descriptor, os.urandom(OCTETS))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _name(temporary, path)
    finally:
        os.unlink(temporary)
    sync_directory(os.path.dirname(path) or ".")


def _name(temporary, path):
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links: two first starts at one moment are then not kept apart
        if not os.path.exists(path):
            with open(temporary, "rb") as file:
                _write_new(path, file.read())


def _write_new(path, key):
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    try:
        os.write(descriptor, key)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
