"""The plain file beside each mailbox that remembers its UIDs.

It is Dovecot's ``dovecot-uidlist`` version 3: a header line with UIDVALIDITY
(V), the next UID (N) and a GUID (G), then a line for each message, ``uid
:name``. Three fields of the header are ours, and Dovecot keeps them:

* ``C`` is a ceiling: no UID at or above it was ever given out. It is raised by
  a block at a time and flushed before any UID of the block is used, so that a
  lost tail of the file (power) never makes a UID name two messages. ``M`` is
  the same for mod-sequences.
* ``P`` tells in which mail folder the file was written (account.py's marker):
  a restored or copied folder is another one.

N is the next UID as of the last flush: lines may go beyond it. The numbers
have a fixed width and are overwritten in place, within the file's first
sector. Lines are appended without a flush. A line counts
only with its line end; the last line for a name holds. A missing, torn or
mad line costs its message the old UID and nothing else. A list that is far
too large for its messages, or no file, is set aside and counts as lost.

The file is read and written in slices, however long it is.
"""
import logging
import os
import re
from typing import NamedTuple

from ..disk import atomic
from ..disk.plain import PLAIN, set_aside, set_aside_unless_plain

NAME = "dovecot-uidlist"
BLOCK = 1024  # UIDs and mod-sequences between two flushes
_HIGHEST = (1 << 31) - (1 << 24)  # UIDs are 31 bits in most mail programs
_FAR = 1 << 22
_SLICE = 262144
_LONGEST = 4096  # bytes of a line; file names have 255 at the most
# Bytes that a list may have: so many, and so many more for each message.
# Ours are written anew long before (rescan), Dovecot's have far fewer.
_MOST, _MOST_EACH = 1 << 20, 1024
_log = logging.getLogger("phenmail.store")
_HEADER = re.compile(rb"3((?: [A-Z][^ \n]*)*)\n")
_LINE = re.compile(rb"^(\d{1,10})(?: [A-Z][^ \n]*)* :([^\n]+)$", re.M)


class Header(NamedTuple):
    """The first line's fields; what they mean is told above."""
    uidvalidity: int
    uidnext: int
    uid_ceiling: int
    modseq_ceiling: int
    marker: str = ""
    extra: bytes = b""  # Dovecot's other fields, with a space before each


def render(header, lines):
    """The whole file; ``lines`` are (uid, file name without its info)."""
    return b"".join(_pieces(header, lines))


def _pieces(header, lines):
    """``render``'s answer in slices."""
    yield _render_header(header)
    rows = []
    for uid, name in lines:
        rows.append(b"%d :%s\n" % (uid, os.fsencode(name)))
        if len(rows) >= 1000:
            yield b"".join(rows)
            rows = []
    yield b"".join(rows)


def _render_header(header):
    marker = " P" + header.marker if header.marker else ""
    return b"3 V%010d N%010d C%010d M%016d%s%s\n" % (
        header.uidvalidity, header.uidnext, header.uid_ceiling,
        header.modseq_ceiling,
        marker.encode("ascii", "surrogateescape"), header.extra)


def parse(data):
    """``(header or None, {name: uid})`` of the file's bytes; never raises."""
    header, lines = _parse_header(data), Lines(None)
    lines.take(data[:data.rfind(b"\n") + 1], _highest(header))
    return header, lines.uids


def _highest(header):
    """A UID far beyond the header's is a mad line: nothing could follow."""
    return _HIGHEST if header is None else header.uid_ceiling + _FAR


class Lines:
    """The lines of a list: ``uids`` is ``{name: uid}``, the last line of a
    name holding; ``count`` of all, ``highest`` UID of all."""

    __slots__ = ("uids", "count", "highest", "_wanted")

    def __init__(self, wanted):
        """``wanted``: ``{name: anything}``, whose names alone get into
        ``uids``; None: every name."""
        self.uids = {}
        self.count = self.highest = 0
        self._wanted = wanted

    def take(self, data, highest):
        """Add whole lines (bytes); those above ``highest`` are left out."""
        for uid, name in _LINE.findall(data):
            number = int(uid)
            name = name.partition(b":")[0]  # Dovecot leaves the flags on it
            if not name or not 0 < number <= min(highest, (1 << 31) - 1):
                continue
            self.count += 1
            self.highest = max(self.highest, number)
            name = os.fsdecode(name)
            if self._wanted is None or name in self._wanted:
                self.uids[name] = number


def _parse_header(data):
    match = _HEADER.match(data)
    if match is None:
        return None
    fields = {b"V": 0, b"N": 1, b"C": 1, b"M": 1}
    marker, extra = "", b""
    for field in match.group(1).split():
        key, value = field[:1], field[1:]
        if key in fields:
            if not value.isdigit() or len(value) > 18:
                return None
            fields[key] = int(value)
        elif key == b"P":
            marker = value.decode("ascii", "surrogateescape")
        else:
            extra += b" " + field
    ceiling = max(fields[b"N"], fields[b"C"])  # Dovecot raises N alone
    if not 0 < fields[b"V"] < 1 << 32 or ceiling > _HIGHEST:
        return None
    return Header(fields[b"V"], fields[b"N"], ceiling, fields[b"M"], marker,
                  extra)


class UidList:
    """One such file; its caller holds the account's lock."""

    def __init__(self, folder, opened=None):
        """``opened``: the OpenLists that closes it when there are many."""
        self.path = os.path.join(folder, NAME)
        self._opened = opened
        self._descriptor = -1
        self._identity = None
        self.header = None
        self.size = 0  # as far as this process has written or read

    def close(self):
        """Forget the file; it must be read before its next use."""
        self.let_go()
        self.header = None

    __del__ = close

    def let_go(self):
        """Close the file; ``is_open`` opens it again."""
        if self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:
                _log.warning("%s: %s", self.path, error)
            self._descriptor = -1
        self._identity = None

    def _open(self):
        self._descriptor = os.open(self.path, PLAIN | os.O_RDWR)
        self._identity = os.fstat(self._descriptor).st_ino
        if self._opened is not None:
            self._opened.note(self)

    def stamp(self):
        """``(inode, size)`` of the file by its path; (0, 0) when missing."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return 0, 0
        return status.st_ino, status.st_size

    def left(self):
        """``stamp()`` as this process left the file."""
        if self._descriptor < 0:
            return self.stamp()
        return self._identity, self.size

    def is_open(self, inode, size):
        """Is this the open file? Others may have appended up to ``size``."""
        if self.header is None:
            return False
        if self._descriptor < 0:
            self._open()
        if self._identity != inode:
            return False
        self.size = size
        return True

    def read(self):
        """Open the file: its Header, None where it is lost or unusable."""
        self.close()
        try:
            self._open_usable()
        except FileNotFoundError:
            self.size = 0
            return None
        self._cut_torn_line()
        self.header = _parse_header(os.pread(self._descriptor, _LONGEST, 0))
        return self.header

    def _cut_torn_line(self):
        """Cut off what follows the last line end: the next line would be appended to it.

        A crash tears a line; a power failure may leave any number of NULs.
        """
        end = self.size
        while end:
            start = max(0, end - _LONGEST)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < self.size:
            self.size = end
            os.ftruncate(self._descriptor, end)

    def _open_usable(self):
        if set_aside_unless_plain(self.path):
            _log.error("%s is no file and set aside", self.path)
        self._open()
        self.size = os.fstat(self._descriptor).st_size
        if self.size > _MOST and self.size > _MOST + _MOST_EACH * (
                _messages_in(os.path.dirname(self.path))):
            _log.error("%s has %d bytes, far too many for its messages: it is "
                       "set aside and made anew", self.path, self.size)
            self.close()
            set_aside(self.path)
            raise FileNotFoundError(self.path)

    def lines(self, wanted=None):
        """The Lines of the file that was ``read``; ``wanted`` as there."""
        lines = Lines(wanted)
        highest = _highest(self.header)
        rest, offset = b"", 0
        while offset < self.size:
            data = os.pread(self._descriptor, min(
                _SLICE, self.size - offset), offset)
            if not data:
                break
            offset += len(data)
            whole, end, rest = (rest + data).rpartition(b"\n")
            lines.take(whole + end, highest)
            if len(rest) > _LONGEST:
                rest = rest[:1]  # of no use, but no line begins here
        return lines

    def replace(self, header, lines):
        """Write the file anew, durably."""
        self._replace(_pieces(header, lines))

    def _replace(self, pieces):
        atomic.write_file(self.path, pieces)
        self.read()

    def append(self, lines):
        """Add ``(uid, name)`` lines; not flushed, see the ceiling."""
        self._append(b"".join(
            b"%d :%s\n" % (uid, os.fsencode(name)) for uid, name in lines))

    def _append(self, data):
        written = os.pwrite(self._descriptor, data, self.size)
        if written != len(data):
            os.ftruncate(self._descriptor, self.size)
            raise OSError(28, "no space left for the list of UIDs")
        self.size += written

    def is_copy(self, marker):
        """Was the file written in another folder than ``marker`` tells?"""
        return self.header.marker not in ("", marker)

    def has_inode_of(self, marker):
        """Of two markers that differ: is it by the ctime alone?"""
        return self.header.marker.partition(".")[0] == (
            marker.partition(".")[0])

    def raise_ceilings(self, uidnext, room, modseq, marker):
        """Make higher ceilings durable: for ``room`` UIDs from ``uidnext``
        on and a block more, and as many mod-sequences. None ever falls."""
        first = os.pread(self._descriptor, _LONGEST, 0)
        old = first[:first.find(b"\n") + 1]
        now = _parse_header(old) or self.header
        header = now._replace(
            uidnext=max(uidnext, now.uidnext),
            uid_ceiling=max(uidnext + room + BLOCK, now.uid_ceiling),
            modseq_ceiling=max(modseq + BLOCK, now.modseq_ceiling),
            marker=marker)
        line = _render_header(header)
        if len(line) == len(old):
            os.pwrite(self._descriptor, line, 0)
            os.fsync(self._descriptor)
            self.header = header
        else:  # Dovecot wrote it, or its width changed
            self._replace(self._with_first_line(line, len(old)))

    def _with_first_line(self, line, offset):
        """The file in slices, with ``line`` for what is before ``offset``."""
        yield line
        while offset < self.size:
            data = os.pread(self._descriptor, min(
                _SLICE, self.size - offset), offset)
            if not data:
                break
            offset += len(data)
            yield data


class OpenLists:
    """An account's lists that are open: a few, however many mailboxes."""

    MOST = 8

    def __init__(self):
        self._lists = []

    def note(self, listed):
        """``listed`` was opened; the one opened longest ago may close."""
        if listed in self._lists:
            self._lists.remove(listed)
        self._lists.append(listed)
        if len(self._lists) > self.MOST:
            self._lists.pop(0).let_go()


def _messages_in(folder):
    """How many messages lie in a mailbox's folder, about."""
    count = 0
    for part in ("cur", "new"):
        try:
            entries = os.scandir(os.path.join(folder, part))
        except OSError:
            continue
        for _ in entries:
            count += 1
    return count
