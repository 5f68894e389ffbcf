"""The journal that `disklayer.c` writes, as values."""
import struct
from typing import NamedTuple

MAGIC = 0x5041554c
# struct record of disklayer.c: change both.
_HEAD = struct.Struct("<IIQQQqqIIiHH16s16s")

Record = NamedTuple("Record", [
    ("sequence", int),      # 1, 2, … over all processes
    # the last operation that was finished when this one began (an fsync covers those only)
    ("begin", int),
    # create write truncate fsync fsyncdir sync flush rename link unlink mkdir rmdir symlink utime
    # mark mmap stdio
    ("operation", str),
    ("path", str),          # below the root, "/"-led
    ("target", str),        # of rename and link
    ("inode", int),
    ("offset", int),        # of a write; the new size of a truncate
    ("mtime", int),         # nanoseconds, on fsync and fsyncdir (0: not synced by it)
    ("mode", int),
    ("error", int),         # errno of a failed fsync, else 0
    ("pid", int),
    ("role", str),
    ("data", bytes),        # written bytes; the answer of a mark; a symlink's text
])


def parse(data):
    """The records of a journal's bytes, oldest first."""
    at = 0
    while at < len(data):
        (magic, length, sequence, begin, inode, offset, mtime, pid, mode, error,
         path_length, target_length, operation, role) = _HEAD.unpack_from(data, at)
        if magic != MAGIC:
            raise ValueError("the journal is broken at byte %d" % at)
        start = at + _HEAD.size
        middle, rest = start + path_length, start + path_length + target_length
        yield Record(sequence, begin, operation.rstrip(b"\0").decode(),
                     data[start:middle].decode("utf-8", "surrogateescape"),
                     data[middle:rest].decode("utf-8", "surrogateescape"), inode, offset, mtime,
                     mode, error, pid,
                     role.rstrip(b"\0").decode(), data[rest:at + length])
        at += length


def shape(path):
    """A path with what is different in each run replaced: "/tmp/1520.M3P7.host,S=9:2,S" ->
    "/tmp/*"; folder names stay."""
    folder, _, name = path.rpartition("/")
    return folder + "/" + ("*" if any(c.isdigit() for c in name) or ":" in name else name)
