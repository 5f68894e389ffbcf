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
mad line costs its message the old UID and nothing else.
"""
import os
import re
from typing import NamedTuple

from ..disk import atomic

NAME = "dovecot-uidlist"
BLOCK = 1024  # UIDs and mod-sequences between two flushes
_HIGHEST = (1 << 31) - (1 << 24)  # UIDs are 31 bits in most mail programs
_FAR = 1 << 22
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
    rows = [_render_header(header)]
    rows.extend(b"%d :%s\n" % (uid, os.fsencode(name)) for uid, name in lines)
    return b"".join(rows)


def _render_header(header):
    marker = " P" + header.marker if header.marker else ""
    return b"3 V%010d N%010d C%010d M%016d%s%s\n" % (
        header.uidvalidity, header.uidnext, header.uid_ceiling,
        header.modseq_ceiling,
        marker.encode("ascii", "surrogateescape"), header.extra)


def parse(data):
    """``(header or None, {name: uid})`` of the file's bytes; never raises.

    A UID far beyond the header's is a mad line: nothing could follow it.
    """
    header, listed = _parse_header(data), parse_lines(data)
    highest = _HIGHEST if header is None else header.uid_ceiling + _FAR
    if listed and max(listed.values()) > highest:
        listed = {name: uid for name, uid in listed.items() if uid <= highest}
    return header, listed


def parse_lines(data):
    """``{name: uid}`` of whole lines, the last one holding; never raises."""
    whole = data[:data.rfind(b"\n") + 1]
    listed = {}
    for uid, name in _LINE.findall(whole):
        number = int(uid)
        name = name.partition(b":")[0]  # Dovecot leaves the flags on it
        if name and 0 < number < 1 << 31:
            listed[os.fsdecode(name)] = number
    return listed


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
            os.close(self._descriptor)
            self._descriptor = -1
        self._identity = None

    def _open(self):
        self._descriptor = os.open(self.path, os.O_RDWR)
        self._identity = os.fstat(self._descriptor).st_ino
        if self._opened is not None:
            self._opened.note(self)

    def stamp(self):
        """``(inode, size)`` of the file by its path; (0, 0) when missing."""
        try:
            status = os.stat(self.path)
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
        """Open and read the file: ``(header or None, {name: uid})``."""
        self.close()
        try:
            self._open()
        except FileNotFoundError:
            self.size = 0
            return None, {}
        data = _read_all(self._descriptor)
        self.size = len(data)
        if data and not data.endswith(b"\n"):  # torn by a crash: closed off
            self._append(b"\n")
        self.header, listed = parse(data)
        return self.header, listed

    def replace(self, header, lines):
        """Write the file anew, durably."""
        self.close()
        atomic.write_file(self.path, render(header, lines))
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
        first = os.pread(self._descriptor, 4096, 0)
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
            listed = parse_lines(_read_all(self._descriptor))
            self.replace(header, sorted(
                (uid, name) for name, uid in listed.items()))


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


def _read_all(descriptor):
    pieces = []
    offset = 0
    while True:
        piece = os.pread(descriptor, 1 << 20, offset)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        offset += len(piece)
