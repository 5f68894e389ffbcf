"""A message on its way into a mailbox: the file in ``tmp``."""
import errno
import os
import time

from . import errors, maildir, moving

_CHUNK = 262144


class Staged:
    """A temporary file that takes a message as it comes from the wire.

    Use it as a context manager: what was not delivered is removed. All that
    can go wrong for want of room raises errors.NoSpace.
    """

    def __init__(self, folder, twin=None):
        """In ``folder``'s ``tmp``; with a ``twin``, a synced Staged, it is
        complete: the same octets, one file under two names where it can be.
        """
        self.name = maildir.unique_name()
        self.path = "%s/tmp/%s" % (folder, self.name)
        self._lines = 0
        self._written = 0
        self._half = False  # the last byte was a CR, held back
        self._buffer = []
        self._buffered = 0
        self._descriptor = -1
        self.has_nul = False
        self.date = None
        try:
            if twin is None:
                self._descriptor = os.open(
                    self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            else:
                moving.link(twin.path, self.path)
                self._lines, self._written = twin._lines, twin._written
                self.date = twin.date
        except OSError as error:
            raise as_store_error(error) from error

    @property
    def size(self):
        """Octets as they will be served, so far."""
        return self._written + self._lines

    def write(self, data):
        """Take the next bytes; every CR, LF and CRLF ends a line."""
        if self._half:
            data = b"\r" + data
            self._half = False
        if data[-1:] == b"\r":
            data = data[:-1]
            self._half = True
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
            if b"\r" in data:
                data = data.replace(b"\r", b"\n")
        if not self.has_nul and b"\0" in data:
            self.has_nul = True
        self._take(data)

    def _take(self, data):
        self._lines += data.count(b"\n")
        self._written += len(data)
        self._buffer.append(data)
        self._buffered += len(data)
        if self._buffered >= 131072:
            self.flush()

    def flush(self):
        """What came so far can be read at ``path`` (but for a last CR)."""
        data = b"".join(self._buffer)
        self._buffer = []
        self._buffered = 0
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view):]
        except OSError as error:
            self.discard()
            raise as_store_error(error) from error

    def insert(self, offset, data):
        """Put lines (CRLF) in front of what is at ``offset`` of the file.

        Before ``sync``: what a crash leaves of it is no message yet.
        """
        self.flush()
        data = data.replace(b"\r\n", b"\n")
        at = self._written
        try:
            while at > offset:
                size = min(_CHUNK, at - offset)
                at -= size
                self._put(os.pread(self._descriptor, size, at),
                          at + len(data))
            self._put(data, offset)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            self.discard()
            raise as_store_error(error) from error
        self._lines += data.count(b"\n")
        self._written += len(data)

    def _put(self, data, offset):
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    @property
    def descriptor(self):
        """To read with pread what was flushed, before ``sync``: the folder
        is its user's, who may put a link or a pipe in the file's place."""
        return self._descriptor

    @property
    def file_size(self):
        """Bytes in the file, so far: an offset for ``insert``."""
        return self._written

    def sync(self, date=None):
        """Flush the file to the disk; ``date`` (epoch) becomes its mtime.

        Not under any lock. May be called again; the file is closed then.
        """
        if self._descriptor < 0:
            return
        if self._half:
            self._half = False
            self._take(b"\n")
        self.flush()
        try:
            if date is not None:
                os.utime(self._descriptor, (date, date))
                self.date = int(date)
            else:
                self.date = int(os.fstat(self._descriptor).st_mtime)
            os.fsync(self._descriptor)
        except OSError as error:
            self.discard()
            raise as_store_error(error) from error
        self._close()

    def sized_name(self):
        """The name for life, with both sizes."""
        return maildir.sized(self.name, self._written, self.size)

    def delivered(self):
        """The file was renamed away: nothing is left to discard."""
        self.path = None

    def discard(self):
        """Remove the file, if it is still there."""
        self._close()
        self._buffer = []
        if self.path is not None:
            try:
                os.unlink(self.path)
            except OSError:
                pass
            self.path = None

    def _close(self):
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.discard()


_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def as_store_error(error):
    """The store's word for an OSError."""
    if error.errno in _ROOM:
        return errors.NoSpace()
    return errors.Unavailable()


class Room:
    """Does the disk have the room that new messages must leave free?

    Asked anew once in a while; at once where it is getting tight.
    """

    _SECONDS = 1.0

    def __init__(self, folder, reserve):
        """``reserve`` in bytes; 0: whatever the disk says."""
        self._folder = folder
        self._reserve = reserve
        self._until = 0.0

    def check(self):
        """Raise errors.NoSpace when there is less."""
        now = time.monotonic()
        if not self._reserve or now < self._until:
            return
        free = free_space(self._folder)
        if free < self._reserve:
            raise errors.NoSpace()
        if free > 4 * self._reserve:
            self._until = now + self._SECONDS


def free_space(folder):
    """Bytes that an ordinary user may still write where ``folder`` lies."""
    try:
        status = os.statvfs(folder)
    except (AttributeError, OSError):  # Windows; a folder that is gone
        return 1 << 62
    return status.f_bavail * status.f_frsize
