"""Which index an account uses: the one beside its mail, or one in memory.

The index only says again what the files say, so mail can be read, flagged and
removed without it. Where the disk has no room for the index, the account reads
the files into one in memory and removes the one on the disk, which would be
wrong from then on (and whose room may be what is missing). That is what the
deletion of an index does at any time: no UID, UIDVALIDITY or flag changes, and
numbers go on past the ceilings (``rescan.resume``).
"""
import logging
import os
import time

from ..disk import atomic
from . import errors, index, rescan
from .staged import as_store_error, free_space
from .uidlist import UidList

_MARKER = "phenmail-marker"
_RETRY = 30.0  # seconds in memory before the disk is tried again
_ROOM = 1 << 20  # bytes; with less the disk counts as full
_log = logging.getLogger("phenmail.store")


class Cache:
    """One account's; its caller holds the account's lock."""

    def __init__(self, account):
        self._account = account
        self._path = os.path.join(account.folder, index.FILE)
        self.index = None  # index.Index, once it is open
        self.identity = None  # of the folder, by its marker
        self._until = 0.0  # an index in memory serves so long
        self._removed = False  # it took the place of the one on the disk
        self._recover = False  # numbers were given out without the disk's
        self._forced = False  # the next opening is in memory

    def is_current(self):
        """Is the open index the one to use?"""
        if self.index is None or self._marker() != self.identity:
            return False
        if not self.index.in_memory:
            return self.index.is_current()
        if self._removed and os.path.exists(self._path):
            return False  # another process has one again
        now = time.monotonic()
        if now > self._until:
            self._until = now + _RETRY
            return free_space(self._account.folder) < _ROOM
        return True

    def begin(self):
        if not self.is_current():
            self.open()
        self.index.begin()

    def commit(self):
        """Make the transaction hold; raises index.Error, OSError."""
        if self.index.in_memory and not self._removed:
            index.remove(self._path)
            self._removed = self._recover = True
        self.index.commit()

    def rollback(self):
        if self.index is None:
            return
        try:
            self.index.rollback()
        except index.Error:
            self.close()

    def open(self):
        """Open the index anew; numbers go on past all that were given."""
        self.close()
        self._account.make_tree_locked()
        self.index = self._opened()
        self.index.changed_elsewhere()
        self._account.distrust_locked()
        self.identity = self._marker() or self._make_marker()
        if (self._recover
                or self.index.value("boot") != str(self._account.boot_id)
                or self.index.value("marker") != self.identity
                or self.index.value("file") != str(self.index.inode)
                or self._account.boot_id is None):
            try:
                self._resume_all()
            except BaseException:  # no number may be given out before
                self.close()
                raise
            self._recover = self._recover and self.index.in_memory

    def _opened(self):
        if not self._forced:
            try:
                if not os.path.exists(self._path):
                    index.remove(self._path)  # a log without its database
                return index.Index(self._path)
            except (index.Error, OSError) as error:
                if not self._is_for_want_of_room(error):
                    raise
                _log.warning("%s: %s", self._path, error)
        _log.warning("%s: the disk has no room for the index; it is kept in "
                     "memory until there is", self._account.folder)
        self._removed = False
        self._until = time.monotonic() + _RETRY
        return index.Index()

    def _is_for_want_of_room(self, error):
        if isinstance(error, OSError):
            return isinstance(as_store_error(error), errors.NoSpace)
        kind = index.trouble(error)
        return kind is index.Trouble.FULL or (
            kind is index.Trouble.OTHER
            and free_space(self._account.folder) < _ROOM)

    def leave_disk(self):
        """Use an index in memory from now on: whether that is a change."""
        if self.index is not None and self.index.in_memory:
            return False
        self._forced = True
        try:
            self.open()
        finally:
            self._forced = False
        return True

    def return_to_disk(self):
        """What was to be done without the disk's index failed, too."""
        if self.index is not None and self.index.in_memory and (
                not self._removed):
            self.close()
            self._account.distrust_locked()

    def close(self):
        if self.index is not None:
            try:
                self.index.close()
            except index.Error as error:
                _log.warning("%s: closing the index: %s", self._path, error)
            self.index = None

    def set_aside(self):
        """The index is damaged: it will be made anew from the files."""
        self.close()
        try:
            index.remove(self._path)
        except OSError as error:
            _log.error("%s: %s", self._path, error)

    def _resume_all(self):
        """The machine was off, or the folder or the index is a copy: resume
        past all numbers that may have been given out."""
        account = self._account
        self.index.begin()
        try:
            for row in self.index.mailboxes():
                listed = UidList(account.path(row.folder))
                if listed.read() is not None:
                    rescan.relist(account, row, listed)
                    rescan.resume(account, row, listed)
                else:
                    rescan.resume_alone(account, row)
                listed.close()
            self.index.set_value("boot", account.boot_id)
            self.index.set_value("marker", self.identity)
            self.index.set_value("file", self.index.inode)
            self.index.commit()
        except BaseException:
            self.index.rollback()
            raise

    # The marker: a file that is never written again. A restored or copied
    # folder has one with another inode or ctime, which nobody can set back.

    def _marker(self):
        try:
            status = os.lstat(os.path.join(self._account.folder, _MARKER))
        except OSError:
            return None
        return "%d.%d" % (status.st_ino, status.st_ctime_ns)

    def _make_marker(self):
        atomic.write_file(
            os.path.join(self._account.folder, _MARKER),
            b"By this file phenmail knows a restored or copied mail folder.\n")
        return self._marker()
