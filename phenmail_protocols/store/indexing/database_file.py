"""An SQLite database: its connection, its files, and what its errors mean."""
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


def connect(path, timeout, checkpoint):
    """Open a database, or create it -> sqlite3.Connection that begins no transactions by itself.

    `path`: ":memory:" for a database in memory; `timeout`: seconds that it waits for other
    processes; `checkpoint`: pages in the write-ahead log before SQLite moves them into the database
    (0: never). Where that log does not work, such as on NFS, it uses a slower journal. Raises Error
    and OSError.
    """
    if path != ":memory:":
        _make_private(path)
    database = sqlite3.connect(path, isolation_level=None, timeout=timeout,
                               check_same_thread=False, cached_statements=64)
    try:
        if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] not in ("wal", "memory"):
            database.execute("PRAGMA journal_mode = TRUNCATE")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA cache_size = -1024")
        database.execute("PRAGMA wal_autocheckpoint = %d" % checkpoint)
    except BaseException:
        database.close()
        raise
    return database


def is_file(path, inode):
    """Whether the file at `path` still has this inode: nobody removed or replaced it."""
    try:
        return os.stat(path).st_ino == inode
    except OSError:
        return False


def _make_private(path):
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
