"""The locks of one account, and the transaction that they protect.

Lock order: the account's thread lock, then its file lock (other processes), then the index's
transaction. `AccountLock.writing` takes all three, and is the only way to change files or index.
`AccountLock.reading` takes the thread lock alone. Both are context managers and may be nested. What
fails inside leaves them as errors.StoreError. Watchers are called once everything is released.

A transaction is all or nothing, although files cannot be rolled back:

1. Every change to a file that can be undone is registered with `on_failure`. If the transaction
   fails, these are undone in reverse order, and the index is rolled back.
2. What cannot be undone, such as removing a message, comes last. It calls `settle`: from then on
   the transaction cannot fail any more. If the index cannot record it, an error is logged, and the
   index is rebuilt from the files.
"""
import logging
import threading
from contextlib import contextmanager

from ..disk.locks import FileLock, LockTimeout
from . import errors
from .indexing import index
from .maildir import together

_LOCK_SECONDS = 30
_INDEX_TROUBLE = {
    index.Trouble.FULL: errors.NoSpace, index.Trouble.LOCKED: errors.InUse,
    index.Trouble.DAMAGED: errors.Unavailable, index.Trouble.OTHER: errors.Unavailable}
log = logging.getLogger("phenmail.store")


class Transaction:
    """What the outermost `writing` has done to files so far."""

    def __init__(self, folder):
        self._folder = folder  # for the log
        self._undos = []
        self._afterwards = []
        self.settled = False  # it cannot fail any more
        self.torn = False  # it is settled, but the index could not record it

    def on_failure(self, function, *arguments):
        """Call `function(*arguments)` if the transaction fails; it may raise OSError."""
        self.on_failure_each(function, [arguments])

    def on_failure_each(self, function, calls):
        """As `on_failure` for each tuple of arguments in the list `calls`, which may grow."""
        self._undos.append((function, calls))

    def afterwards(self, function, *arguments):
        """Call `function(*arguments)` after the commit; it may raise OSError, which is logged."""
        self._afterwards.append((function, arguments))

    def committed(self):
        self._call(self._afterwards, "the last step of a change failed")

    def settle(self, finish):
        """Make the files' new state final, then call `finish()`, which records it in the index."""
        self.settled = True
        try:
            finish()
        except (OSError, index.Error, errors.StoreError) as error:
            self.torn = True
            self.warn(error)

    def warn(self, error):
        log.warning("%s: a change was made, but the index could not record it; the index is read "
                    "from the files again: %s", self._folder, error)

    def undo(self):
        self._call([(function, arguments) for function, calls in reversed(self._undos)
                    for arguments in reversed(calls)], "a failed change could not be undone")

    def _call(self, steps, text):
        for function, arguments in steps:
            try:
                function(*arguments)
            except OSError as error:
                log.error("%s: %s: %s", self._folder, text, error)


class AccountLock:
    """The locks of one account."""

    def __init__(self, path, tree, account_index):
        """`path` of the lock file."""
        self.thread_lock = threading.RLock()
        self.transaction = None  # the current Transaction
        self._writers = 0  # nested `writing`
        self._readers = 0  # nested `reading`
        self._tree = tree
        self._index = account_index
        self._file_lock = FileLock(path, timeout=_LOCK_SECONDS, keep=True)
        self._touched = set()  # what has watchers that must be called

    def close(self):
        """Close the lock file; it is opened again when needed."""
        with self.thread_lock:
            self._file_lock.close()

    def touched_locked(self, changed):
        """Call the watchers of a Mailbox or of the Account once the locks are released."""
        self._touched.add(changed)

    @contextmanager
    def reading(self, look=True):
        """Hold the thread lock. With `look`, other processes' changes are noticed first."""
        with self._translating(), self._holding_thread_lock():
            self._readers += 1
            try:
                if look and not self._writers:
                    self._notice_other_processes()
                yield
            finally:
                self._readers -= 1

    def _notice_other_processes(self):
        if self._index.is_current():
            self._index.check_foreign_commits()
        else:
            with self.writing():
                pass

    @contextmanager
    def writing(self):
        """Hold all locks, in a transaction. It fails if the `with` block raises."""
        with self._translating(), self._holding_thread_lock():
            if not self._writers:
                self._begin()
            self._writers += 1
            failed = True
            try:
                yield
                failed = False
            finally:
                self._writers -= 1
                if not self._writers:
                    self._end(failed)

    @contextmanager
    def _holding_thread_lock(self):
        """Hold the thread lock; call watchers afterwards, unless an outer `with` still holds it."""
        touched = ()
        self.thread_lock.acquire()
        try:
            yield
        finally:
            if not self._writers and not self._readers:
                touched, self._touched = self._touched, set()
            self.thread_lock.release()
            for each in touched:
                each.notify()

    def _begin(self):
        self._take_file_lock()
        try:
            together.finish(self._tree)
            self._index.begin()
        except BaseException:
            self._file_lock.release()
            raise
        self.transaction = Transaction(self._tree.path)

    def _take_file_lock(self):
        try:
            try:
                self._file_lock.acquire()
            except FileNotFoundError:
                self._tree.make()
                self._file_lock.acquire()
        except LockTimeout as error:
            raise errors.InUse() from error

    def _end(self, failed):
        transaction, self.transaction = self.transaction, None
        try:
            if transaction.torn:
                self._index.rollback()
            elif failed and not transaction.settled:
                transaction.undo()
                self._index.rollback()
            else:
                self._commit(transaction)
        finally:
            self._file_lock.release()

    def _commit(self, transaction):
        try:
            self._index.commit()
        except BaseException as error:
            if transaction.settled:
                transaction.warn(error)
            else:
                transaction.undo()
            self._index.rollback()
            if not transaction.settled:
                raise
        else:
            transaction.committed()

    @contextmanager
    def _translating(self):
        """Raise errors.StoreError for errors of files and of the index."""
        try:
            yield
        except OSError as error:
            log.warning("%s: %s", self._tree.path, error)
            raise errors.from_os(error) from error
        except index.Error as error:
            log.warning("%s: index: %s", self._tree.path, error)
            trouble = index.trouble(error)
            if trouble is index.Trouble.DAMAGED:
                with self.thread_lock:
                    self._index.discard_damaged()
            raise _INDEX_TROUBLE[trouble]() from error

    def despite_full_disk(self, work):
        """`work()`, which is a whole `writing`. If the disk has no room for the index, it runs
        once more with an index in memory: for reading, and for what makes room."""
        try:
            return work()
        except errors.NoSpace:
            if self._writers:  # an outer `writing` must end first
                raise
            with self.reading(look=False):
                if not self._index.move_to_memory():
                    raise
                try:
                    return work()
                except errors.StoreError:
                    self._index.return_to_disk()
                    raise
