"""The search index of one account, opened at first use and reopened when its file was replaced.

A search never fails because of the index: if the index cannot answer, SEARCH reads the messages.
"""
import logging
import os
import threading
from contextlib import contextmanager

from ..store import errors
from ..store.indexing.database_file import Error, Trouble, remove, trouble
from .database import FILE, Database

_PATIENCE = 0.2  # seconds that a search waits while a step of building uses the index
log = logging.getLogger("phenmail.search")


class BodyIndex:
    """All methods may be called from any thread."""

    def __init__(self, folder):
        """`folder`: the account's."""
        self.path = os.path.join(folder, FILE)
        self._lock = threading.Lock()
        self._database = None

    def candidates(self, mailbox, query, most):
        """As Database.candidates. Returns None, too, if the index cannot answer now."""
        try:
            with self.open(_PATIENCE, make=False) as database:
                return database.candidates(mailbox, query, most)
        except errors.StoreError:
            return None

    @contextmanager
    def open(self, patience=-1, make=True):
        """A context manager that gives the Database for one short piece of work.

        `patience`: seconds to wait for other threads, -1 without limit; `make`: create the database
        if it does not exist. Raises errors.StoreError.
        """
        if not self._lock.acquire(timeout=patience):
            raise errors.Unavailable()
        try:
            if not make and self._database is None and not os.path.exists(self.path):
                raise errors.Unavailable()
            yield self._current()
        except (Error, OSError) as error:
            self._give_up(error)
            if isinstance(error, OSError):
                raise errors.from_os(error) from error
            if trouble(error) is Trouble.FULL:
                raise errors.NoSpace() from error
            raise errors.Unavailable() from error
        finally:
            self._lock.release()

    def _current(self):
        if self._database is not None and not self._database.is_current():
            self._close()
        if self._database is None:
            self._database = Database(self.path)
        return self._database

    def _give_up(self, error):
        """Close the database, and remove it if it is damaged."""
        log.warning("%s: %s; searches read the messages meanwhile", self.path, error)
        self._close()
        if isinstance(error, Error) and trouble(error) is Trouble.DAMAGED:
            log.error("%s: the search index is damaged; rebuilding it", self.path)
            self._remove()

    def _close(self):
        database, self._database = self._database, None
        if database is not None:
            try:
                database.close()
            except Error as error:
                log.warning("%s: closing the search index failed: %s", self.path, error)

    def _remove(self):
        try:
            remove(self.path)
        except OSError as error:
            log.error("%s: the search index cannot be removed: %s", self.path, error)

    def close(self):
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def remove(self):
        """Remove the file; the next steps of building create it again."""
        with self._lock:
            self._close()
            self._remove()
