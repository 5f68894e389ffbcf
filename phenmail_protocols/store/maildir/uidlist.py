"""`dovecot-uidlist`: the file beside each mailbox that keeps its UIDVALIDITY and UIDs.

It has Dovecot's version 3. The header line holds UIDVALIDITY (V), the next UID (N) and a GUID (G),
32 hexadecimal digits that no other mailbox has. Then comes one line for each message, `UID :name`.
Three header fields are ours; Dovecot preserves them:

    C   a ceiling: every UID ever assigned is below it
    M   the same for mod-sequences
    P   the mail folder in which the file was written (the marker of indexing/account_index.py): a
        restored or copied folder has another one

Invariants

1. A UID is assigned only below a ceiling that is synced to the disk. The ceiling rises by a block
   of numbers at a time. So lines are appended without a sync: if a power failure loses the end of
   the file, numbering resumes at the ceiling, and no UID names two messages.
2. No ceiling ever falls.
3. The header's numbers have a fixed width. They are overwritten in place, within the file's first
   sector. Apart from appended lines, all other changes replace the file atomically.
4. A line counts only if its line end is there. If a name has several lines, the last one counts.
   A missing, torn or impossible line costs its message the old UID and nothing else.
5. N is the next UID as of the last sync; lines may go beyond it.

A missing file, or one without a valid header, counts as lost. A file far too large for its number
of messages is set aside. However long the file is, it is read and written in slices.
"""
import errno
import logging
import os
import re
from typing import NamedTuple

from ...disk import atomic
from ...disk.regular_files import PLAIN, set_aside, set_aside_unless_plain

NAME = "dovecot-uidlist"
BLOCK = 1024  # UIDs and mod-sequences between two syncs
_HIGHEST = (1 << 31) - (1 << 24)  # UIDs have 31 bits in most mail programs
_FAR = 1 << 22  # a UID this far above the ceiling is damage
_SLICE = 262144
_LONGEST = 4096  # bytes of a line; file names have at most 255
# The size that a list may have, in bytes: a fixed part, and a part for each message. We compact
# ours long before (Mailbox.compact_list_locked), Dovecot's are far smaller.
_MOST, _MOST_EACH = 1 << 20, 1024
log = logging.getLogger("phenmail.store")
_HEADER = re.compile(rb"3((?: [A-Z][^ \n]*)*)\n")
_GUID = re.compile(rb"[0-9a-fA-F]{32}\Z")
_LINE = re.compile(rb"^(\d{1,10})(?: [A-Z][^ \n]*)* :([^\n]+)$", re.M)


class Header(NamedTuple):
    """The first line's fields; see above."""
    uidvalidity: int
    uidnext: int
    uid_ceiling: int
    modseq_ceiling: int
    marker: str = ""
    guid: str = ""
    extra: bytes = b""  # Dovecot's other fields, with a space before each


def _render(header, lines):
    """The whole file in slices; `lines` as for UidList.replace."""
    yield _render_header(header)
    rows = []
    for line in lines:
        rows.append(line)
        if len(rows) >= 1000:
            yield _render_lines(rows)
            rows = []
    yield _render_lines(rows)


def _render_lines(lines):
    return os.fsencode("".join(["%d :%s\n" % tuple(line) for line in lines]))


def _render_header(header):
    marker = " P" + header.marker if header.marker else ""
    guid = " G" + header.guid if header.guid else ""
    return b"3 V%010d N%010d C%010d M%016d%s%s%s\n" % (
        header.uidvalidity, header.uidnext, header.uid_ceiling, header.modseq_ceiling,
        marker.encode("ascii", "surrogateescape"), guid.encode("ascii"), header.extra)


def _highest(header):
    """The highest UID that a line may have."""
    return _HIGHEST if header is None else header.uid_ceiling + _FAR


class Lines(NamedTuple):
    """Lines of a list: `uids` is `{name: uid}`, `highest` the highest UID of any line."""
    uids: dict
    highest: int


def _parse_lines(data, highest):
    """(UID, name) of each line in `data` (bytes), except those with a UID above `highest`."""
    highest = min(highest, (1 << 31) - 1)
    for uid, name in _LINE.findall(data):
        name = name.partition(b":")[0]  # Dovecot leaves the flags on it
        if name and 0 < int(uid) <= highest:
            yield int(uid), os.fsdecode(name)


def _parse_header(data):
    match = _HEADER.match(data)
    if match is None:
        return None
    fields = {b"V": 0, b"N": 1, b"C": 1, b"M": 1}
    marker, guid, extra = "", "", b""
    for field in match.group(1).split():
        key, value = field[:1], field[1:]
        if key in fields:
            if not value.isdigit() or len(value) > 18:
                return None
            fields[key] = int(value)
        elif key == b"P":
            marker = value.decode("ascii", "surrogateescape")
        elif key == b"G":
            guid = value.decode("ascii").lower() if _GUID.match(value) else ""
        else:
            extra += b" " + field
    ceiling = max(fields[b"N"], fields[b"C"])  # Dovecot raises N alone
    if not 0 < fields[b"V"] < 1 << 32 or ceiling > _HIGHEST:
        return None
    return Header(fields[b"V"], fields[b"N"], ceiling, fields[b"M"], marker, guid, extra)


def new_guid():
    """A GUID that no mailbox has."""
    return os.urandom(16).hex()


class UidList:
    """One such file. All methods may raise OSError; callers hold the account's lock."""

    def __init__(self, folder, open_lists=None):
        """`open_lists`: the OpenLists that closes this file when too many are open."""
        self.path = os.path.join(folder, NAME)
        self._open_lists = open_lists
        self._descriptor = -1
        self._inode = None
        self.header = None
        self.size = 0  # bytes, as far as this process has written or read

    def close(self):
        """Forget the file; `read` must come before its next use."""
        self.close_descriptor()
        self.header = None

    __del__ = close

    def close_descriptor(self):
        """Close the file; `is_open` opens it again."""
        if self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:
                log.warning("%s: closing it failed: %s", self.path, error)
            self._descriptor = -1
        self._inode = None

    def _open(self):
        self._descriptor = os.open(self.path, PLAIN | os.O_RDWR)
        self._inode = os.fstat(self._descriptor).st_ino
        if self._open_lists is not None:
            self._open_lists.opened(self)

    def stamp(self):
        """`(inode, size)` of the file at this path now; (0, 0) if there is none."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return 0, 0
        return status.st_ino, status.st_size

    def written_stamp(self):
        """`stamp()` as this process left the file."""
        if self._descriptor < 0:
            return self.stamp()
        return self._inode, self.size

    def is_open(self, inode, size):
        """Is the open file the one with this stamp? Others may have appended up to `size`."""
        if self.header is None:
            return False
        if self._descriptor < 0:
            self._open()
        if self._inode != inode:
            return False
        self.size = size
        return True

    def read(self):
        """Open the file: its Header, or None if it is lost."""
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
        """Cut off everything after the last line end; the next line would be appended to it.

        A crash leaves part of a line; a power failure may leave any number of NULs.
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
            log.error("%s is not a regular file; it is renamed to *.unusable", self.path)
        self._open()
        self.size = os.fstat(self._descriptor).st_size
        if self.size > _MOST and self.size > _MOST + _MOST_EACH * (
                _messages_in(os.path.dirname(self.path))):
            log.error("%s has %d bytes, far too many for its messages; it is renamed to "
                      "*.unusable and rebuilt", self.path, self.size)
            self.close()
            set_aside(self.path)
            raise FileNotFoundError(self.path)

    def lines(self, wanted=None):
        """The Lines of the file that was `read`. `wanted`: the names to keep, a container; None:
        all."""
        uids, highest = {}, 0
        for uid, name in self.each_line():
            if uid > highest:
                highest = uid
            if wanted is None or name in wanted:
                uids[name] = uid
        return Lines(uids, highest)

    def each_line(self):
        """(UID, name) of each line, in the file's order; of lines with one name the last counts."""
        highest = _highest(self.header)
        rest = b""
        for data in self._slices(0):
            whole, end, rest = (rest + data).rpartition(b"\n")
            yield from _parse_lines(whole + end, highest)
            if len(rest) > _LONGEST:
                rest = rest[:1]  # the line is useless, but the next one begins after its end

    def _slices(self, offset):
        """The file's bytes from `offset` on, in slices."""
        while offset < self.size:
            data = os.pread(self._descriptor, min(_SLICE, self.size - offset), offset)
            if not data:
                break
            offset += len(data)
            yield data

    def replace(self, header, lines):
        """Rewrite the file, durably; `lines` are (uid, file name without its flags)."""
        self._replace(_render(header, lines))

    def _replace(self, slices):
        atomic.write_file(self.path, slices)
        self.read()

    def append(self, lines):
        """Add (uid, name) lines, without a sync (invariant 1)."""
        data = _render_lines(lines)
        written = os.pwrite(self._descriptor, data, self.size)
        if written != len(data):
            os.ftruncate(self._descriptor, self.size)
            raise OSError(errno.ENOSPC, "no space left for the list of UIDs", self.path)
        self.size += written

    def is_copy(self, marker):
        """Was the file written in another mail folder than the one with this marker?"""
        return self.header.marker not in ("", marker)

    def has_inode_of(self, marker):
        """Do two markers that differ have the same inode, and only another ctime?"""
        return self.header.marker.partition(".")[0] == marker.partition(".")[0]

    def raise_ceilings(self, uidnext, room, modseq, marker, guid):
        """Raise both ceilings, durably: for `room` UIDs from `uidnext` on and another block, and
        for a block of mod-sequences from `modseq` on."""
        first = os.pread(self._descriptor, _LONGEST, 0)
        old = first[:first.find(b"\n") + 1]
        now = _parse_header(old) or self.header
        header = now._replace(
            uidnext=max(uidnext, now.uidnext),
            uid_ceiling=max(uidnext + room + BLOCK, now.uid_ceiling),
            modseq_ceiling=max(modseq + BLOCK, now.modseq_ceiling),
            marker=marker, guid=guid)
        line = _render_header(header)
        if len(line) == len(old):
            os.pwrite(self._descriptor, line, 0)
            os.fsync(self._descriptor)
            self.header = header
        else:  # Dovecot wrote it, or the marker's width changed
            self._replace(self._with_first_line(line, len(old)))

    def _with_first_line(self, line, offset):
        """The file in slices, with `line` in place of the bytes before `offset`."""
        yield line
        yield from self._slices(offset)


class OpenLists:
    """Keeps few of an account's lists open, however many mailboxes it has."""

    MOST = 8

    def __init__(self):
        self._lists = []

    def opened(self, uid_list):
        """`uid_list` was opened; the one opened longest ago may be closed."""
        if uid_list in self._lists:
            self._lists.remove(uid_list)
        self._lists.append(uid_list)
        if len(self._lists) > self.MOST:
            self._lists.pop(0).close_descriptor()


def _messages_in(folder):
    """The approximate number of messages in a mailbox's folder."""
    count = 0
    for part in ("cur", "new"):
        try:
            entries = os.scandir(os.path.join(folder, part))
        except OSError:
            continue
        for _ in entries:
            count += 1
    return count
