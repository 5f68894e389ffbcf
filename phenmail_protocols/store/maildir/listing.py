"""The messages in one Maildir folder: listing them, and giving odd file names their right form."""
import os
import stat
import sys

from ...disk import atomic
from . import buckets
from .filenames import INFO, ODD, arrival_key, relative_path, split, unique_name


def mtimes(folder):
    """mtimes in ns of `new` and `cur`; raises FileNotFoundError."""
    return (os.stat(folder + "/new").st_mtime_ns, os.stat(folder + "/cur").st_mtime_ns)


def paths(folder, wanted=buckets.ALL):
    """The paths below `folder` of its possible messages: those in cur first, each part in the
    directory's order.

    `wanted`: the buckets (a set) in which they are. Folders, links and pipes are no messages: a
    link would let its maker read with our rights, and reading a pipe would never end.
    """
    for part in "cur", "new":
        for name in file_names(folder, part):
            if wanted is buckets.ALL or buckets.bucket(name) in wanted:
                yield "%s/%s" % (part, name)


def file_names(folder, part):
    """The names of the possible messages in "cur" or "new"."""
    for entry in os.scandir(os.path.join(folder, part)):
        name = entry.name
        if name[0] != "." and entry.is_file(follow_symlinks=False):
            yield name


def arrival_keys(folder, since):
    """As Account.arrival_keys, for one folder. A part that is missing has none."""
    for part in "cur", "new":
        try:
            for name in file_names(folder, part):
                key = arrival_key(name, since)
                if key is not None:
                    yield key
        except FileNotFoundError:
            pass


class Listing:
    """The messages that one folder has now. It takes one str of memory for each message.

    `letters`: `{name: letters, or None in new}` of the files whose path is the expected one;
    `odd`: the paths below the folder of all other files.
    """

    __slots__ = ("folder", "letters", "odd")

    def __init__(self, folder, listed=None):
        """`listed`: paths below the folder, those in cur first; None: all that it has now. Raises
        FileNotFoundError if `new` or `cur` is missing."""
        self.folder = folder
        self.letters = {}
        self.odd = []
        for path in paths(folder) if listed is None else listed:
            self._note(path[:3], path[4:])

    def __len__(self):
        return len(self.letters) + len(self.odd)

    def _note(self, part, file_name):
        name, letters = split(file_name)
        fresh = part == "new"
        right = name if fresh else name + INFO + letters
        rival = self.letters.get(name) if not fresh else None
        if rival is not None and file_name == right and letters < rival:
            # Two files in `cur` share a name. The one with fewer flags is usually the older one.
            self.odd.append("cur/%s%s%s" % (name, INFO, rival))
        elif file_name != right or not name or name in self.letters or ODD.search(name):
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
            return "%s/%s" % (self.folder, relative_path(fresh, name, letters)), letters
        for here in self.odd:
            other, letters = split(here.partition("/")[2])
            if other == name:
                return "%s/%s" % (self.folder, here), letters
        return None


def mend(listing):
    """Rename the files in `listing.odd` to the path at which we expect them.

    A file in `new` with flags (mutt and offlineimap set them there) goes to `cur`, because its
    user has seen it. If a name is both in `new` and in `cur`, either a crash interrupted the move
    of one message, and one of the two links is removed; or two messages share a name by accident,
    and one gets a new name. The file whose name is already right keeps it. No rename may replace
    another file.
    """
    for here in sorted(listing.odd):
        try:
            if stat.S_ISREG(os.lstat("%s/%s" % (listing.folder, here)).st_mode):
                name, letters = split(here.partition("/")[2])
                _mend_file(listing, here, name, letters)
        except FileNotFoundError:
            pass  # another program did it first


def _mend_file(listing, here, name, letters):
    source = os.path.join(listing.folder, here)
    twin = name in listing.letters and listing.find(name)[0]
    if twin and os.path.samefile(source, twin):  # an interrupted move: two links to one file
        atomic.sync_directory(os.path.dirname(twin))  # the link that stays must be durable first
        os.unlink(source)
        return
    if twin or not name or ODD.search(name):
        name = unique_name()
    fresh = here.startswith("new/") and not letters
    target = os.path.join(listing.folder, relative_path(fresh, name, letters))
    if target != source:
        if os.path.lexists(target):
            _mend_file(listing, here, "", letters)
            return
        _move(source, target)
    listing.letters[name] = None if fresh else sys.intern(letters)


def _move(source, target):
    """Rename; a power failure leaves one name or both, never none."""
    if os.path.dirname(source) != os.path.dirname(target):
        try:
            os.link(source, target)
        except OSError:  # no links on this file system
            pass
        else:
            atomic.sync_directory(os.path.dirname(target))
            os.unlink(source)
            return
    os.rename(source, target)
