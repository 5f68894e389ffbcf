"""The files of an SQLite database, and what its errors mean."""
import enum
import os
import sqlite3

from ...disk.regular_files import set_aside_unless_plain

_SUFFIXES = ("", "-wal", "-shm", "-journal")

Error = sqlite3.Error


class Trouble(enum.Enum):
    """The cause of an Error."""
    FULL = "the disk is full"
    LOCKED = "another process holds it for too long"
    DAMAGED = "the index must be rebuilt"
    OTHER = "try again"


def trouble(error):
    """The Trouble of an Error. The library distinguishes them only by their texts."""
    text = str(error)
    if not isinstance(error, sqlite3.DatabaseError):
        return Trouble.OTHER
    if "is full" in text:
        return Trouble.FULL
    if "locked" in text:
        return Trouble.LOCKED
    if isinstance(error, sqlite3.OperationalError) and (
            "not a database" not in text and "no such" not in text):
        return Trouble.OTHER
    return Trouble.DAMAGED


def make_private(path):
    """Create an empty file that only this user can read; SQLite gives its log the same mode.

    An existing database is not opened; index.py says why. A link to another user's file is set
    aside, because SQLite would follow it.
    """
    for suffix in _SUFFIXES:
        set_aside_unless_plain(path + suffix)
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        os.chmod(path, 0o600)


def remove(path):
    """Remove a database's files, the database first.

    If this is interrupted, a log without its database is removed at the next opening. A database
    without its log would lack commits, and nothing would show that.
    """
    for suffix in _SUFFIXES:
        try:
            os.unlink(path + suffix)
        except FileNotFoundError:
            pass
