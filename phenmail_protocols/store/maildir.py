"""The files of one Maildir folder: names, listing, making, staging.

A message lies in ``new`` (no program has looked at it) or in ``cur``, where
its name ends in ``:2,`` and a letter for each flag, ascending
(https://cr.yp.to/proto/maildir.html; Maildir++ for sub-folders and ``,S=``).
What is before the colon is the message's name for life; ``,S=`` in it is the
size of the file, ``,W=`` its size with CRLF line ends.
"""
import functools
import itertools
import os
import re
import socket
import stat
import sys
import time

from ..disk import atomic
from ..disk.plain import open_plain

INFO = ":2,"
GRAVE = "deleted-"  # in tmp: a mailbox whose deletion was decided
_counter = itertools.count(1)
_NO_HOST = re.compile(r"[^A-Za-z0-9._-]")
_ODD = re.compile(r"[^ -~]")  # one form for the index and in every locale
_SIZE = re.compile(r",S=(\d{1,18})(?=[,:]|$)")
_WIRE_SIZE = re.compile(r",W=(\d{1,18})(?=[,:]|$)")


PARTS = ("tmp", "new", "cur")


def make(path, made=None):
    """Make the folder with its three parts, durably; it may exist.

    The paths that were made are appended to the list ``made``, for
    ``unmake``, also where it raises OSError.
    """
    made = [] if made is None else made
    _make_directory(path, made)
    for part in PARTS:
        _make_directory(os.path.join(path, part), made)
    for directory in made:
        atomic.sync_directory(os.path.dirname(directory))


def unmake(made, ours):
    """Undo ``make``: remove what it made, and in it the files named ``ours``.

    A folder with anything else in it stays. Raises OSError for it.
    """
    for directory in reversed(made):
        for name in ours:
            try:
                os.unlink(os.path.join(directory, name))
            except FileNotFoundError:
                pass
        os.rmdir(directory)


def is_whole(path):
    """Are all three parts there? Backups leave empty ones out."""
    return all([os.path.isdir("%s/%s" % (path, part)) for part in PARTS])


def _make_directory(path, made):
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        _make_directory(parent, made)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    made.append(path)


def unique_name():
    """A name that no other delivery on any host has (Maildir's rules)."""
    now = time.time()
    return "%d.M%06dP%dQ%d.%s" % (
        now, now % 1 * 1000000, os.getpid(), next(_counter), _host())


@functools.lru_cache(maxsize=None)
def _host():
    return _NO_HOST.sub("_", socket.gethostname())[:64]


def sized(name, size, wire_size):
    return "%s,S=%d,W=%d" % (name, size, wire_size)


def sizes(name):
    """The part of a name that tells its sizes, or ""."""
    found = _SIZE.search(name)
    wire = _WIRE_SIZE.search(name)
    return (found.group() if found else "") + (wire.group() if wire else "")


def wire_size(name, size):
    """Octets as served, from the name; None where it doesn't say.

    ``size`` is the file's: a name that disagrees with it is not believed.
    """
    found = _SIZE.search(name)
    wire = _WIRE_SIZE.search(name)
    if found and wire and int(found.group(1)) == size <= int(wire.group(1)):
        return int(wire.group(1))
    return None


def path(fresh, name, letters):
    """The path of a message below its folder."""
    return "new/" + name if fresh else "cur/%s%s%s" % (name, INFO, letters)


def split(file_name):
    """``(name, letters)`` of a file; letters ascend, unknown ones stay if
    they are ASCII."""
    name, separator, info = file_name.partition(":")
    if not info.startswith("2,"):
        return name, ""
    letters = _ODD.sub("", info[2:].partition(",")[0])
    return name, "".join(sorted(set(letters)))


def file_names(folder, fresh):
    """The set of names in ``new`` (``fresh``) or ``cur``, as they are."""
    return set(_names(folder + ("/new" if fresh else "/cur")))


def _names(directory):
    """The names that may be messages', as the directory gives them."""
    for entry in os.scandir(directory):
        if not entry.name.startswith("."):
            yield entry.name


class Listing:
    """One folder's messages, as it is now: a str a message, no more.

    ``letters``: ``{name: letters, or None where it lies in new}`` of the files
    that have the one path under which we look for them; ``odd``: the others'
    paths below the folder. Raises FileNotFoundError where a part is missing.
    """

    __slots__ = ("folder", "letters", "odd")

    def __init__(self, folder):
        self.folder = folder
        self.letters = {}
        self.odd = []
        for part in ("cur", "new"):
            for file_name in _names(os.path.join(folder, part)):
                self._note(part, file_name)

    def _note(self, part, file_name):
        name, letters = split(file_name)
        fresh = part == "new"
        right = name if fresh else name + INFO + letters
        rival = self.letters.get(name) if not fresh else None
        if rival is not None and file_name == right and letters < rival:
            # The fewest flags: the one that was there before, mostly.
            self.odd.append("cur/%s%s%s" % (name, INFO, rival))
        elif (file_name != right or not name or name in self.letters
              or _ODD.search(name)):
            self.odd.append("%s/%s" % (part, file_name))
            return
        self.letters[name] = None if fresh else sys.intern(letters)

    def place(self, name):
        """(fresh, letters) of a message that has its right path."""
        letters = self.letters[name]
        return (1, "") if letters is None else (0, letters)

    def find(self, name):
        """(path, letters) of a message wherever it is, or None."""
        if name in self.letters:
            fresh, letters = self.place(name)
            return "%s/%s" % (self.folder, path(fresh, name, letters)), letters
        for here in self.odd:
            other, letters = split(here.partition("/")[2])
            if other == name:
                return "%s/%s" % (self.folder, here), letters
        return None


def mend(listing):
    """Give every file of a Listing the one path under which we look for it.

    A file in ``new`` with flags (mutt and offlineimap set them there) is one
    that somebody looked at: it goes to ``cur``, where flags have their place.
    A name twice, in ``new`` and ``cur``, is one message whose move was cut
    short, or two that share a name by accident: those are told apart. The
    name is kept by the file that has it right already, and no rename may
    take the place of another file.
    """
    for here in sorted(listing.odd):
        try:
            if stat.S_ISREG(os.lstat(
                    "%s/%s" % (listing.folder, here)).st_mode):
                name, letters = split(here.partition("/")[2])
                _mend_file(listing, here, name, letters)
        except FileNotFoundError:
            pass  # another program was quicker


def _mend_file(listing, here, name, letters):
    source = os.path.join(listing.folder, here)
    twin = name in listing.letters and listing.find(name)[0]
    if twin and os.path.samefile(source, twin):  # a change was cut short
        atomic.sync_directory(os.path.dirname(twin))  # its other name stays
        os.unlink(source)
        return
    if twin or not name or _ODD.search(name):
        name = unique_name()
    fresh = here.startswith("new/") and not letters
    target = os.path.join(listing.folder, path(fresh, name, letters))
    if target == source:
        pass
    elif os.path.lexists(target):
        return _mend_file(listing, here, "", letters)
    else:
        _move(source, target)
    listing.letters[name] = None if fresh else sys.intern(letters)


def _move(source, target):
    """Rename; a power failure leaves one name or both, never none."""
    if os.path.dirname(source) != os.path.dirname(target):
        try:
            os.link(source, target)
        except OSError:  # no links on this disk
            pass
        else:
            atomic.sync_directory(os.path.dirname(target))
            os.unlink(source)
            return
    os.rename(source, target)


def times(folder):
    """mtimes in ns of ``new`` and ``cur``; raises FileNotFoundError."""
    return (os.stat(folder + "/new").st_mtime_ns,
            os.stat(folder + "/cur").st_mtime_ns)


def remove_stale(folder, seconds=36 * 3600):
    """Remove what deliveries that died left in ``tmp`` (Maildir's rule), and
    our own temporary files in the account's folder and its mailboxes'."""
    directory = os.path.join(folder, "tmp")
    _remove_temporaries(folder, seconds)
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        target = os.path.join(directory, name)
        try:  # ctime: a staged message may have any mtime
            if time.time() - os.lstat(target).st_ctime > seconds:
                _remove(target)
        except OSError:
            pass


def _remove_temporaries(folder, seconds):
    try:
        mailboxes = [name for name in os.listdir(folder)
                     if name.startswith(".")]
    except OSError:
        return
    for path in [folder] + [os.path.join(folder, name) for name in mailboxes]:
        atomic.remove_stale(path, seconds)


def _remove(target):
    if not stat.S_ISDIR(os.lstat(target).st_mode):
        os.unlink(target)
    elif os.path.basename(target).startswith(GRAVE):
        import shutil
        shutil.rmtree(target, ignore_errors=True)


def measure(file_path, name):
    """``(wire size, date)`` of a file that somebody else put there.

    Raises OSError, also for what is no regular file: a link would let its maker
    read with our rights, a pipe would never end.
    """
    with open_plain(file_path) as file:
        status = os.fstat(file.fileno())
        size = wire_size(name, status.st_size)
        if size is None:
            size = status.st_size + _bare_line_ends(file)
    return size, int(status.st_mtime)


def _bare_line_ends(file):
    """How many LF have no CR before them."""
    count = 0
    last = b""
    for chunk in iter(lambda: file.read(262144), b""):
        count += chunk.count(b"\n") - chunk.count(b"\r\n")
        if last == b"\r" and chunk[:1] == b"\n":
            count -= 1
        last = chunk[-1:]
    return count
