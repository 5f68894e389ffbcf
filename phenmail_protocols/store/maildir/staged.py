"""A message on its way into a mailbox: the file in `tmp`.

The file has LF line ends, as other Maildir programs expect. Its size as served (CRLF) is counted
while it is written.
"""
import os
import re

from .. import errors
from .filenames import arrival_name, unique_name, with_sizes
from .files import link

_CHUNK = 262144
_BUFFER = 131072  # bytes that are collected before they are written
_EIGHT_BIT = re.compile(b"[\x80-\xff]")


class Staged:
    """A temporary file that takes a message as it arrives from the network.

    A context manager: on exit the file is removed, unless it was delivered. All methods may raise
    errors.StoreError, and errors.NoSpace if the disk is full.
    """

    def __init__(self, folder, twin=None, key=None):
        """Make the file in `tmp` of `folder`.

        `twin`: a synced Staged. The new one then has the same octets, complete and synced; it is
        a link to the same file if possible. `key`: for filenames.arrival_name, which the message
        is then called in its mailbox; None: any unique name.
        """
        self.name = unique_name()
        self.path = "%s/tmp/%s" % (folder, self.name)
        if key is not None:
            self.name = arrival_name(key)
        self._lines = 0
        self._written = 0
        self._held_cr = False  # the last byte was a CR; an LF may follow
        self._buffer = []
        self._buffered = 0
        self._descriptor = -1
        self.has_nul = False
        self.date = None
        try:
            if twin is None:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            else:
                link(twin.path, self.path)
                self._lines, self._written = twin._lines, twin._written
                self.date = twin.date
        except OSError as error:
            raise errors.from_os(error) from error

    @property
    def size(self):
        """Octets as they will be served, so far."""
        return self._written + self._lines

    @property
    def file_size(self):
        """Bytes in the file, so far: an offset for `insert`."""
        return self._written

    @property
    def descriptor(self):
        """For pread of what was flushed, before `sync`. Do not open `path` instead: the user owns
        the folder, and may put a link or a pipe in the file's place."""
        return self._descriptor

    def write(self, data):
        """Take the next bytes. Every CR, LF and CRLF ends a line."""
        if self._held_cr:
            data = b"\r" + data
            self._held_cr = False
        if data[-1:] == b"\r":
            data = data[:-1]
            self._held_cr = True
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
        if self._buffered >= _BUFFER:
            self.flush()

    def flush(self):
        """Write what is buffered (except a CR at the end), so that it can be read."""
        data = b"".join(self._buffer)
        self._buffer = []
        self._buffered = 0
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view):]
        except OSError as error:
            self._fail(error)

    def has_8bit_header(self):
        """Has the header bytes above 127? Before `sync`."""
        self.flush()
        offset, last = 0, b"\n"
        while True:
            try:
                data = os.pread(self._descriptor, _BUFFER, offset)
            except OSError as error:
                self._fail(error)
            end = (last + data).find(b"\n\n")
            if _EIGHT_BIT.search(data if end < 0 else data[:end]):
                return True
            if end >= 0 or not data:
                return False
            offset, last = offset + len(data), data[-1:]

    def insert(self, offset, data):
        """Insert lines (CRLF) at `offset` of the file, before `sync`."""
        self.flush()
        data = data.replace(b"\r\n", b"\n")
        at = self._written
        try:
            while at > offset:
                size = min(_CHUNK, at - offset)
                at -= size
                self._put(os.pread(self._descriptor, size, at), at + len(data))
            self._put(data, offset)
            os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            self._fail(error)
        self._lines += data.count(b"\n")
        self._written += len(data)

    def _put(self, data, offset):
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view, offset = view[written:], offset + written

    def sync(self, date=None):
        """Sync the file to the disk and close it; `date` (epoch seconds) becomes its mtime.

        Not under any lock: this is the slow part of a delivery. May be called again.
        """
        if self._descriptor < 0:
            return
        if self._held_cr:
            self._held_cr = False
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
            self._fail(error)
        self._close()

    def _fail(self, error):
        self.discard()
        raise errors.from_os(error) from error

    def name_for_life(self):
        """The file's name in the mailbox, with both sizes."""
        return with_sizes(self.name, self._written, self.size)

    def delivered(self):
        """The file was renamed into a mailbox: nothing is left to discard."""
        self.path = None

    def discard(self):
        """Remove the file, unless it was delivered."""
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
