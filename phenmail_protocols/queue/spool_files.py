"""The files of the queue: create, read, replace, remove, and clean up after a crash.

`spool` says what they mean. This file knows neither claims nor threads: its callers hold the lock
of the message that they change. OSErrors become SpoolErrors here.
"""
import errno
import logging
import os
import re

from ..disk.atomic import DirectorySync, sync_directory
from ..disk.locks import FileLock, LockTimeout
from . import state_file

BODY, STATE, TEMPORARY, BROKEN = ".body", ".state", ".tmp", ".state.broken"
CHANGES = "changes"

_IDENTITY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,199}")
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger("phenmail.relay")


class SpoolError(Exception):
    """The queue cannot do what was asked; str() says why, for people."""


class NoSpace(SpoolError):
    """The disk is full, except for what is kept free."""


class Unavailable(SpoolError):
    """The disk fails, or this process may not use the queue's folder."""


class NoSuchMessage(SpoolError):
    """No message with that identity is queued (any more)."""

    def __init__(self, identity):
        super().__init__("there is no message %s in the queue" % identity)


class Busy(SpoolError):
    """Another claim has the message, or that destination of it."""


class Broken(SpoolError):
    """The message's files contradict each other; the state was set aside."""


class spool_errors:
    """A context that raises a SpoolError for an OSError.

    With `identity`, a missing file is NoSuchMessage. `on_error()` is called first, whatever the
    block raises.
    """
    __slots__ = ("_identity", "_on_error")

    def __init__(self, identity=None, on_error=None):
        self._identity, self._on_error = identity, on_error

    def __enter__(self):
        return self

    def __exit__(self, _kind, error, _traceback):
        if error is None:
            return
        if self._on_error is not None:
            self._on_error()
        if isinstance(error, FileNotFoundError) and self._identity is not None:
            raise NoSuchMessage(self._identity)
        if isinstance(error, OSError):
            if error.errno in _NO_ROOM:
                raise NoSpace("there is no room left on the disk")
            raise Unavailable("cannot use the queue: %s" % (error.strerror or error))


class Files:
    """The folder of one queue."""

    def __init__(self, folder, reserve):
        """`reserve`: octets of the disk that new messages leave free."""
        self.folder = folder
        self._changes = os.path.join(folder, CHANGES)
        self._reserve = reserve
        self._directory = DirectorySync(folder)

    def path(self, identity, suffix):
        """The path of one of a message's files. Raises NoSuchMessage for an impossible name."""
        if not _IDENTITY.fullmatch(identity):
            raise NoSuchMessage(identity)
        return os.path.join(self.folder, identity + suffix)

    def check_room(self):
        """Raises NoSpace if the disk has less room than must be kept free."""
        if not self._reserve:
            return
        try:
            status = os.statvfs(self.folder)
        except (AttributeError, OSError):  # Windows; no folder yet
            return
        if status.f_bavail * status.f_frsize < self._reserve:
            raise NoSpace("there is no room left on the disk")

    def create_body(self, identity):
        """Create the file for a new message's octets, and lock it -> (descriptor, FileLock)."""
        body = self.path(identity, BODY)
        with spool_errors():
            self._make_folder(self.folder)
            while True:
                try:
                    if self._has_state(identity):
                        raise FileExistsError
                    descriptor = os.open(body, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                except FileExistsError:
                    raise SpoolError("there already is a message %s in the queue" % identity)
                lock = FileLock(body, 1.0, create=False)
                try:
                    self._give(descriptor)
                    lock.acquire()
                    return descriptor, lock
                except FileNotFoundError:  # a sweep removed it before it was locked
                    os.close(descriptor)
                except BaseException:
                    os.close(descriptor)
                    self._unlink(body)
                    raise

    def load(self, identity):
        """The Message as its state says.

        Raises NoSuchMessage, and Broken for a state that cannot be read, which is set aside.
        """
        try:
            with spool_errors(identity), open(self.path(identity, STATE), "rb", 0) as file:
                if os.fstat(file.fileno()).st_size > state_file.LARGEST:
                    raise ValueError("it is too large")
                return state_file.decode(identity, file.readall())
        except ValueError as error:
            raise self._set_aside(identity, "cannot read its state: %s" % error)

    def load_whole(self, identity):
        """As `load`; but Broken too if there are not as many octets as the state says."""
        message = self.load(identity)
        with spool_errors():
            size = len(message.head) + os.stat(self.path(identity, BODY)).st_size
        if size != message.size:
            raise self._set_aside(identity, "it has %d octets, not %d" % (size, message.size))
        return message

    def _set_aside(self, identity, why):
        """Take the state out of the queue by one rename, for a person to mend -> Broken."""
        log.error("%s is set aside as %s%s: %s", identity, identity, BROKEN, why)
        try:
            os.rename(self.path(identity, STATE), self.path(identity, BROKEN))
        except OSError as error:
            log.error("cannot set %s aside: %s", identity, error)
        return Broken("the message %s is broken: %s" % (identity, why))

    def write_state(self, message):
        """Replace the state. The new one is on the disk; its name may not be, before `sync`."""
        temporary = self.path(message.identity, TEMPORARY)
        try:
            with spool_errors():
                descriptor = _create_anew(temporary)
                try:
                    self._give(descriptor)
                    write_all(descriptor, state_file.encode(message))
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.replace(temporary, self.path(message.identity, STATE))
        except BaseException:
            self._unlink(temporary)
            raise

    def mark(self):
        """To be asked for before a change of names, and given to `sync` after it."""
        return self._directory.failures

    def sync(self, mark):
        """All names that were changed since `mark` are on the disk when this returns. Threads that
        come together share the flush."""
        with spool_errors():
            self._directory.sync()
        if self._directory.failures != mark:
            raise Unavailable("the disk failed, and may have lost what was queued")

    def remove(self, identity):
        """Remove the state, and with it the message; then the octets."""
        with spool_errors():
            try:
                os.unlink(self.path(identity, STATE))
            except FileNotFoundError:
                pass
        self._unlink(self.path(identity, BODY))

    def _unlink(self, path):
        """Remove a file that means nothing by itself. If that fails, `sweep` finds it."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("cannot remove %s: %s", path, error)

    def names(self, suffix):
        """The sorted identities that have a file with that suffix. No file is opened."""
        return sorted(_identities(self._listing(self.folder), suffix))

    def _has_state(self, identity):
        return any(os.path.lexists(self.path(identity, suffix)) for suffix in (STATE, BROKEN))

    def _listing(self, folder):
        with spool_errors():
            try:
                return os.listdir(folder)
            except FileNotFoundError:
                return []

    def _make_folder(self, folder):
        """Make a folder and those above it, durably."""
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(os.path.abspath(folder))
        for each in reversed(missing):
            try:
                os.mkdir(each, 0o700)
            except FileExistsError:  # another thread or process made it
                continue
            parent = os.path.dirname(os.path.abspath(each))
            owner = _owner(parent)
            if owner:
                os.chown(each, *owner, follow_symlinks=False)
            sync_directory(parent)

    def _give(self, descriptor):
        owner = _owner(self.folder)
        if owner:
            os.fchown(descriptor, *owner)

    # Announcements to other processes.

    def announce(self, identity):
        """Create the file that says "look at this message again"."""
        self.path(identity, STATE)  # raises for an impossible name
        with spool_errors():
            self._make_folder(self._changes)
            path = os.path.join(self._changes, identity)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | _NO_LINKS, 0o600))

    def take_announced(self):
        """Remove those files -> the sorted identities."""
        found = self._listing(self._changes)
        for name in found:
            # Before the message is read: a later announcement creates the file again.
            self._unlink(os.path.join(self._changes, name))
        return sorted(_identities(found, ""))

    # After a crash.

    def sweep(self):
        """Remove what a crash left half done. What is locked is in use, and stays."""
        names = self._listing(self.folder)
        temporaries, bodies, states, broken = (
            _identities(names, suffix) for suffix in (TEMPORARY, BODY, STATE, BROKEN))
        for identity in temporaries:
            self._sweep_unlocked(identity, TEMPORARY)
        for identity in bodies - states - broken:
            self._sweep_unlocked(identity, BODY)
        for identity in states - bodies:
            if not os.path.lexists(self.path(identity, BODY)):
                log.warning("%s: the message file is missing, removing its state. This is harmless "
                            "after a power loss: the message was not accepted yet, or already sent",
                            identity)
                self._unlink(self.path(identity, STATE))
        if broken:
            log.warning("set aside in the queue, because their states cannot be read: %s",
                        ", ".join(sorted(broken)))

    def _sweep_unlocked(self, identity, suffix):
        path = self.path(identity, suffix)
        try:
            with FileLock(self.path(identity, BODY), 0, create=False):
                # A body may have got its state since the folder was listed.
                if suffix == TEMPORARY or not self._has_state(identity):
                    self._unlink(path)
        except FileNotFoundError:  # no body
            if suffix == TEMPORARY:
                self._unlink(path)
        except LockTimeout:
            pass
        except OSError as error:
            log.warning("cannot clean up %s: %s", path, error)


def write_all(descriptor, data):
    """Write all of `data`. Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def _create_anew(path):
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:  # left by a crash; the lock is ours, so nobody else writes it now
        os.unlink(path)
        return os.open(path, flags, 0o600)


def _identities(names, suffix):
    """The set of identities in `names` (of files) that end in `suffix`; others are not ours."""
    stems = (name[:len(name) - len(suffix)] for name in names if name.endswith(suffix))
    return {stem for stem in stems if _IDENTITY.fullmatch(stem)}


def _owner(folder):
    """(uid, gid) for what root creates in a folder, or None.

    `sudo phenmail queue` must not lock out a server that runs as another user.
    """
    if not hasattr(os, "geteuid") or os.geteuid():
        return None
    status = os.stat(folder)
    return (status.st_uid, status.st_gid) if status.st_uid else None
