"""The lock over one account: between threads, between processes, and with the
index's transaction.

``reading`` and ``writing`` are context managers, and may be nested. What goes
wrong inside leaves as errors.StoreError. Watchers are told when the last of
them ended and nothing is held any more.

A ``writing`` that fails has changed nothing: what was done to files is undone
in reverse (``made_locked``, ``undo_locked``). What cannot be undone, such as
the removal of a message, is done last, and then ``settle_locked`` says that it
holds: what fails from there on is logged, and read from the files again.
"""
import logging
import threading

from ..disk.locks import FileLock, LockTimeout
from . import errors, index, moving
from .staged import as_store_error

_LOCK_SECONDS = 30
_INDEX_TROUBLE = {
    index.Trouble.FULL: errors.NoSpace, index.Trouble.LOCKED: errors.InUse,
    index.Trouble.DAMAGED: errors.Unavailable,
    index.Trouble.OTHER: errors.Unavailable}
_log = logging.getLogger("phenmail.store")


class Guard:
    """One account's; the Account does what its ``*_locked`` methods say."""

    def __init__(self, account, path):
        """``path`` of the lock file."""
        self.lock = threading.RLock()
        self.depth = 0  # of nested ``writing``
        self.readers = 0  # nested ``reading``
        self._account = account
        self._file_lock = FileLock(path, timeout=_LOCK_SECONDS, keep=True)
        self._touched = set()
        self._undoes = []  # (function, arguments), if the transaction fails
        self._settled = False  # it can't fail any more
        self._torn = False  # the index lacks what was settled

    def close(self):
        """Let go of the lock file; it is opened again when needed."""
        with self.lock:
            self._file_lock.close()

    def reading(self):
        """The thread lock; what other processes did is noted first."""
        return _Reading(self)

    def holding(self):
        """``reading`` without that look."""
        return _Reading(self, look=False)

    def writing(self):
        """All three: the only way to change files or index."""
        return _Writing(self)

    def made_locked(self, path, back):
        """``path`` goes back again if the transaction fails."""
        self._undoes.append((moving.undo, (path, back)))

    def undo_locked(self, function, *arguments):
        """Call it if the transaction fails; it may raise OSError."""
        self._undoes.append((function, arguments))

    def settle_locked(self, change):
        """The files are as they shall be: call ``change()``, which finishes
        that, and commit; where it fails all is read from the files again."""
        self._settled = True
        try:
            change()
        except (OSError, index.Error, errors.StoreError) as error:
            self._torn = True
            self._tell(error)

    def _tell(self, error):
        _log.warning("%s: done, but not noted in the index, which is read "
                     "from the files again: %s", self._account.folder, error)

    def touched_locked(self, mailbox):
        """The watchers of ``mailbox`` are to be told."""
        self._touched.add(mailbox)

    def look(self):
        self._account.look_locked()

    def begin(self):
        """Take the file lock and begin a transaction on a current index."""
        self._take_file_lock()
        try:
            self._account.begin_locked()
        except BaseException:
            self._file_lock.release()
            raise

    def _take_file_lock(self):
        try:
            try:
                self._file_lock.acquire()
            except FileNotFoundError:
                self._account.make_tree_locked()
                self._file_lock.acquire()
        except LockTimeout as error:
            raise errors.InUse() from error

    def end(self, failed):
        """Commit, or undo all of it and let everything be read again."""
        try:
            if self._torn:
                self._account.rollback_locked()
            elif failed and not self._settled:
                self._undo()
            else:
                self._commit()
        finally:
            self._undoes = []
            self._settled = self._torn = False
            self._file_lock.release()

    def _commit(self):
        try:
            self._account.commit_locked()
        except BaseException as error:
            if not self._settled:
                self._undo()
                raise
            self._tell(error)
            self._account.rollback_locked()

    def _undo(self):
        for function, arguments in reversed(self._undoes):
            try:
                function(*arguments)
            except OSError as error:
                _log.error("%s: a change that failed could not be undone: %s",
                           self._account.folder, error)
        self._account.rollback_locked()

    def take_touched(self):
        """Whose watchers to tell; none while a caller of ours has the lock."""
        if self.readers:
            return ()
        touched, self._touched = self._touched, set()
        return touched

    def translate(self, error):
        """Raise the store's word for ``error``, or return when it is fine."""
        if isinstance(error, OSError):
            _log.warning("%s: %s", self._account.folder, error)
            raise as_store_error(error) from error
        if isinstance(error, index.Error):
            _log.warning("%s: index: %s", self._account.folder, error)
            trouble = index.trouble(error)
            if trouble is index.Trouble.DAMAGED:
                with self.lock:
                    self._account.set_index_aside_locked()
            raise _INDEX_TROUBLE[trouble]() from error


class _Reading:
    __slots__ = ("_guard", "_look")

    def __init__(self, guard, look=True):
        self._guard = guard
        self._look = look

    def __enter__(self):
        guard = self._guard
        guard.lock.acquire()
        guard.readers += 1
        try:
            if self._look and not guard.depth:
                guard.look()
        except BaseException as error:
            guard.readers -= 1
            guard.lock.release()
            guard.translate(error)
            raise

    def __exit__(self, kind, error, trace):
        guard = self._guard
        guard.readers -= 1
        touched = () if guard.depth else guard.take_touched()
        guard.lock.release()
        for mailbox in touched:
            mailbox.tell()
        if error is not None:
            guard.translate(error)


class _Writing:
    __slots__ = ("_guard",)

    def __init__(self, guard):
        self._guard = guard

    def __enter__(self):
        guard = self._guard
        guard.lock.acquire()
        try:
            if not guard.depth:
                guard.begin()
            guard.depth += 1
        except BaseException as error:
            guard.lock.release()
            guard.translate(error)
            raise

    def __exit__(self, kind, error, trace):
        guard = self._guard
        touched = ()
        try:
            guard.depth -= 1
            if not guard.depth:
                guard.end(failed=error is not None)
                touched = guard.take_touched()
        except BaseException as failure:
            error = error or failure
            guard.translate(failure)
            raise
        finally:
            guard.lock.release()
            for mailbox in touched:
                mailbox.tell()
        if error is not None:
            guard.translate(error)
