"""The files of the queue: making, reading, replacing, removing, and mending after a crash.  What each means stands in `spool`.

It knows nothing of claims or threads: whoever changes a message's files has its lock.  OSErrors end here, as SpoolError.
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
_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

log = logging.getLogger("phenmail.relay")


class SpoolError(Exception):
    """The queue can't do what was asked; str() says why, for people."""


class NoSpace(SpoolError):
    """The disk has no room, or none beside what is kept free."""


class Unavailable(SpoolError):
    """The disk fails, or the queue's folder is not ours to use."""


class NoSuchMessage(SpoolError):
    """No message of that identity is queued (any more)."""

    def __init__(self, identity):
        super().__init__("there is no message %s in the queue" % identity)


class Busy(SpoolError):
    """Somebody else has the message, or that destination of it, in hand."""


class Broken(SpoolError):
    """The message's files contradict themselves; the state was set aside."""


def as_spool_error(error):
    """The queue's word for an OSError."""
    if error.errno in _ROOM:
        return NoSpace("there is no room left on the disk")
    return Unavailable("the queue can't be used: %s" % (error.strerror or error))


class Files:
    """The folder of one queue."""

    def __init__(self, folder, reserve):
        """`reserve`: octets of the disk that new messages leave free."""
        self.folder = folder
        self._changes = os.path.join(folder, CHANGES)
        self._reserve = reserve
        self._directory = DirectorySync(folder)

    def path(self, identity, suffix):
        """The path of one of a message's files.  Raises NoSuchMessage for what can be no message's name."""
        if not _IDENTITY.fullmatch(identity):
            raise NoSuchMessage(identity)
        return os.path.join(self.folder, identity + suffix)

    def check_room(self):
        """Raises NoSpace where the disk has less room than is to be kept free."""
        if not self._reserve:
            return
        try:
            status = os.statvfs(self.folder)
        except (AttributeError, OSError):  # Windows; a folder that is gone
            return
        if status.f_bavail * status.f_frsize < self._reserve:
            raise NoSpace("there is no room left on the disk")

    def create_body(self, identity):
        """Make the file for a new message's octets, and lock it -> (its descriptor, its FileLock)."""
        body = self.path(identity, BODY)
        try:
            self._make_folder(self.folder)
            while True:
                for name in (self.path(identity, STATE), self.path(identity, BROKEN)):
                    if os.path.lexists(name):
                        raise FileExistsError
                descriptor = os.open(body, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                lock = FileLock(body, 1.0, create=False)
                try:
                    self._give(descriptor)
                    lock.acquire()
                    return descriptor, lock
                except FileNotFoundError:  # between the two lines somebody swept it up
                    os.close(descriptor)
                except BaseException:
                    os.close(descriptor)
                    self._unlink(body)
                    raise
        except FileExistsError:
            raise SpoolError("there is a message %s already" % identity)
        except OSError as error:
            raise as_spool_error(error)

    def load(self, identity):
        """The Message as its state says.  Raises NoSuchMessage; Broken for a state that can't be read, which is set aside."""
        try:
            with open(self.path(identity, STATE), "rb", 0) as file:
                if os.fstat(file.fileno()).st_size > state_file.LARGEST:
                    raise ValueError("it is too large")
                return state_file.decode(identity, file.readall())
        except FileNotFoundError:
            raise NoSuchMessage(identity)
        except OSError as error:
            raise as_spool_error(error)
        except ValueError as error:
            raise self.set_aside(identity, "its state can't be read: %s" % error)

    def load_whole(self, identity):
        """`load`, and a look at the octets: Broken where they are not as many as the state says."""
        message = self.load(identity)
        try:
            size = os.stat(self.path(identity, BODY)).st_size
        except OSError as error:
            raise as_spool_error(error)
        if len(message.head) + size != message.size:
            raise self.set_aside(identity, "it has %d octets and not %d" % (len(message.head) + size, message.size))
        return message

    def set_aside(self, identity, why):
        """Take the state out of the queue, for a person to look at, by one rename -> Broken, to be raised."""
        log.error("%s is set aside as %s%s: %s", identity, identity, BROKEN, why)
        try:
            os.rename(self.path(identity, STATE), self.path(identity, BROKEN))
        except OSError as error:
            log.error("%s can't be set aside: %s", identity, error)
        return Broken("the message %s is broken: %s" % (identity, why))

    def write_state(self, message):
        """Replace the state by one that is on the disk; the change of its name may not be, before `sync`."""
        temporary = self.path(message.identity, TEMPORARY)
        try:
            descriptor = self._create_temporary(temporary)
            try:
                self._give(descriptor)
                write_all(descriptor, state_file.encode(message))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(temporary, self.path(message.identity, STATE))
        except BaseException as error:
            self._unlink(temporary)
            if isinstance(error, OSError):
                raise as_spool_error(error)
            raise

    def _create_temporary(self, path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            return os.open(path, flags, 0o600)
        except FileExistsError:  # left by a crash: nobody else may write it now
            os.unlink(path)
            return os.open(path, flags, 0o600)

    def mark(self):
        """To be asked for before a change of names, and given to `sync` after it."""
        return self._directory.failures

    def sync(self, mark):
        """All names that were changed since `mark` are on the disk when it returns; threads that come together share the flush."""
        try:
            self._directory.sync()
        except OSError as error:
            raise as_spool_error(error)
        if self._directory.failures != mark:
            raise Unavailable("the queue's disk failed, and may have lost what it was given")

    def remove(self, identity):
        """The state goes, and with it the message; then the octets."""
        try:
            os.unlink(self.path(identity, STATE))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise as_spool_error(error)
        self._unlink(self.path(identity, BODY))

    def _unlink(self, path):
        """What can't be removed now is found by `sweep`."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s can't be removed: %s", path, error)

    def names(self, suffix):
        """The identities of which there is a file with that suffix, sorted; no file is opened."""
        return sorted(name[:-len(suffix)] for name in self._listing(self.folder) if name.endswith(suffix))

    def _listing(self, folder):
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise as_spool_error(error)

    def _make_folder(self, folder):
        """Make a folder and those above it, durably."""
        missing = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(os.path.abspath(folder))
        for each in reversed(missing):
            try:
                os.mkdir(each, 0o700)
            except FileExistsError:  # somebody else makes it too
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
        """Make the file that says "look at this message again"."""
        self.path(identity, STATE)  # no other names
        try:
            self._make_folder(self._changes)
            os.close(os.open(os.path.join(self._changes, identity), os.O_WRONLY | os.O_CREAT | _NO_LINKS, 0o600))
        except OSError as error:
            raise as_spool_error(error)

    def take_announced(self):
        """Remove those files -> the identities."""
        found = self._listing(self._changes)
        for name in found:
            # Before anybody looks at the message: what is announced from here on makes the file anew.
            self._unlink(os.path.join(self._changes, name))
        return sorted(name for name in found if _IDENTITY.fullmatch(name))

    # After a crash.

    def sweep(self):
        """Remove what a crash left half; what is locked is somebody's work and stays.  Says in the log what is set aside."""
        names = self._listing(self.folder)
        for name in names:
            if name.endswith(TEMPORARY):
                self._sweep_unlocked(name[:-len(TEMPORARY)], TEMPORARY)
        bodies, states, broken = ({name[:-len(suffix)] for name in names if name.endswith(suffix)} for suffix in (BODY, STATE, BROKEN))
        for identity in bodies - states - broken:
            self._sweep_unlocked(identity, BODY)
        for identity in states - bodies:
            self._sweep_state(identity)
        if broken:
            log.warning("set aside in the queue because their states can't be read: %s", ", ".join(sorted(broken)))

    def _sweep_unlocked(self, identity, suffix):
        try:
            with FileLock(self.path(identity, BODY), 0, create=False):
                self._sweep_file(identity, suffix)
        except FileNotFoundError:
            if suffix == TEMPORARY:
                self._sweep_file(identity, suffix)
        except LockTimeout:
            pass
        except (OSError, NoSuchMessage) as error:
            log.warning("%s%s can't be swept up: %s", identity, suffix, error)

    def _sweep_file(self, identity, suffix):
        if suffix == BODY and any(os.path.lexists(self.path(identity, each)) for each in (STATE, BROKEN)):
            return  # it was committed since the look at the folder
        self._unlink(self.path(identity, suffix))

    def _sweep_state(self, identity):
        """Without octets: power was lost before the message was accepted, or after it was done with."""
        try:
            if not os.path.lexists(self.path(identity, BODY)):
                log.warning("%s is dropped: its octets are gone, as a power loss leaves it before a message is accepted or after it is done",
                            identity)
                self._unlink(self.path(identity, STATE))
        except NoSuchMessage as error:
            log.warning("%s%s can't be swept up: %s", identity, STATE, error)


def write_all(descriptor, data):
    """Write all of `data`.  Raises OSError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view):]


def _owner(folder):
    """(uid, gid) to whom belongs what we make in a folder, None for ourselves: `sudo phenmail queue` beside a server that runs as
    another user must not lock it out."""
    if not hasattr(os, "geteuid") or os.geteuid():
        return None
    status = os.stat(folder)
    return (status.st_uid, status.st_gid) if status.st_uid else None
