"""Which index an account uses: the file beside its mail, or one in memory.

The index only caches what the files contain, so mail can be read, flagged and removed without it.
If the disk has no room for the index, the account builds an index in memory from the files. Its
first commit removes the index on the disk, which would be outdated, and whose space may be needed.
For other processes, that is a deleted index, which they must expect at any time: no UID,
UIDVALIDITY or flag changes, and numbering resumes past the ceilings (numbering.py).

When the index is opened, it may be older than the mail: a power failure may have undone its last
commits, and it may come from a backup. So three values are stored in it: the machine's boot id, the
mail folder's marker, and the inode of the database file. If one of them differs, numbering resumes
past every number that may have been assigned.

The marker is a file that is never rewritten. In a restored or copied folder it has another inode or
ctime, and no program can set these back.
"""
import logging
import os
import time

from ...disk import atomic
from .. import errors
from ..maildir.space import free_space
from ..maildir.uidlist import UidList
from . import index, numbering

_MARKER = "phenmail-marker"
_RETRY = 30.0  # seconds in memory before the disk is checked again
_ROOM = 1 << 20  # bytes; with less the disk counts as full
log = logging.getLogger("phenmail.store")


class AccountIndex:
    """The index of one account. The caller holds the account's locks.

    All methods may raise index.Error and OSError.
    """

    def __init__(self, tree, boot_id, on_reopen, on_foreign_commit):
        """`tree`: the account's Tree; `boot_id`: see Account.

        `on_reopen()` is called when everything that was read from the index may be outdated, and
        `on_foreign_commit()` when another process changed the index.
        """
        self._tree = tree
        self._path = os.path.join(tree.path, index.FILE)
        self._boot_id = boot_id
        self._on_reopen = on_reopen
        self._on_foreign_commit = on_foreign_commit
        self.index = None  # index.Index, once it is open
        self.marker = None  # str that distinguishes this mail folder from its copies
        self._until = 0.0  # until then an index in memory is used without checking the disk
        self._removed = False  # the index in memory has replaced the one on the disk
        self._must_resume = False  # numbers were assigned that the index on the disk does not have
        self._force_memory = False  # the next index is opened in memory

    def is_current(self):
        """Is the open index the one to use?"""
        if self.index is None or self._read_marker() != self.marker:
            return False
        if not self.index.in_memory:
            return self.index.is_current()
        if self._removed and os.path.exists(self._path):
            return False  # another process has created one
        now = time.monotonic()
        if now > self._until:
            self._until = now + _RETRY
            return free_space(self._tree.path) < _ROOM
        return True

    def check_foreign_commits(self):
        if self.index.changed_elsewhere():
            self._on_foreign_commit()

    def begin(self):
        """Begin a transaction on a current index."""
        try:
            if not self.is_current():
                self._open()
            self.index.begin()
            self.check_foreign_commits()
        except BaseException:
            self._roll_back_index()
            raise

    def commit(self):
        if self.index.in_memory and not self._removed:
            index.remove(self._path)
            self._removed = self._must_resume = True
        self.index.commit()

    def rollback(self):
        """Undo the transaction. Everything in memory must be read again."""
        self._roll_back_index()
        self._on_reopen()

    def _roll_back_index(self):
        if self.index is not None:
            try:
                self.index.rollback()
            except index.Error:
                self.close()

    def _open(self):
        self.close()
        self._tree.make()
        self.index = self._open_index()
        self.index.changed_elsewhere()
        self._on_reopen()
        try:
            self.marker = self._read_marker() or self._make_marker()
            if (self._must_resume
                    or self._boot_id is None
                    or self.index.value("boot") != str(self._boot_id)
                    or self.index.value("marker") != self.marker
                    or self.index.value("file") != str(self.index.inode)):
                self._resume_all()
                self._must_resume = self._must_resume and self.index.in_memory
        except BaseException:  # no number may be assigned before this is done
            self.close()
            raise

    def _open_index(self):
        if not self._force_memory:
            try:
                if not os.path.exists(self._path):
                    index.remove(self._path)  # a log without its database
                return index.Index(self._path)
            except (index.Error, OSError) as error:
                if not self._is_full_disk(error):
                    raise
                log.warning("%s: cannot open the index: %s", self._path, error)
        log.warning("%s: the disk has no room for the index; it is kept in memory, and the disk is "
                    "checked again in %d seconds", self._tree.path, _RETRY)
        self._removed = False
        self._until = time.monotonic() + _RETRY
        return index.Index()

    def _is_full_disk(self, error):
        if isinstance(error, OSError):
            return isinstance(errors.from_os(error), errors.NoSpace)
        kind = index.trouble(error)
        return kind is index.Trouble.FULL or (
            kind is index.Trouble.OTHER and free_space(self._tree.path) < _ROOM)

    def move_to_memory(self):
        """Use an index in memory from now on; returns False if it already is in memory."""
        if self.index is not None and self.index.in_memory:
            return False
        self._force_memory = True
        try:
            self._open()
        finally:
            self._force_memory = False
        return True

    def return_to_disk(self):
        """Close an index in memory that has committed nothing; the next one is on the disk."""
        if self.index is not None and self.index.in_memory and not self._removed:
            self.close()
            self._on_reopen()

    def close(self):
        if self.index is not None:
            try:
                self.index.close()
            except index.Error as error:
                log.warning("%s: closing the index failed: %s", self._path, error)
            self.index = None

    def discard_damaged(self):
        """Remove the index; the next transaction rebuilds it from the files."""
        self.close()
        try:
            index.remove(self._path)
        except OSError as error:
            log.error("%s: the damaged index cannot be removed: %s", self._path, error)

    def _resume_all(self):
        self.index.begin()
        try:
            for row in self.index.mailboxes():
                uid_list = UidList(self._tree.path_of(row.folder))
                if uid_list.read() is not None:
                    numbering.restore_lines(self.index, row, uid_list)
                    numbering.resume(self.index, row, uid_list, self.marker)
                else:
                    numbering.resume_without_list(self.index, row)
                uid_list.close()
            self.index.set_value("incarnation", os.urandom(8).hex())
            self.index.set_value("boot", self._boot_id)
            self.index.set_value("marker", self.marker)
            self.index.set_value("file", self.index.inode)
            self.index.commit()
        except BaseException:
            self.index.rollback()
            raise

    def _read_marker(self):
        try:
            status = os.lstat(os.path.join(self._tree.path, _MARKER))
        except OSError:
            return None
        return "%d.%d" % (status.st_ino, status.st_ctime_ns)

    def _make_marker(self):
        atomic.write_file(
            os.path.join(self._tree.path, _MARKER),
            b"phenmail uses this file to detect a restored or copied mail folder.\n")
        return self._read_marker()
