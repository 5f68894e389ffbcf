"""Finding, linking, renaming and removing message files, beside other programs that do the same.

A "message" here is any object with `name`, `fresh` (is it in new?) and `letters`.
"""
import logging
import os

from . import keywords
from .filenames import INFO, path_of, unique_name
from .listing import Listing
from .tree import make_maildir

log = logging.getLogger("phenmail.store")


class Finder:
    """Finds files that another program renamed. Lists the folder at most once."""

    def __init__(self, folder):
        self._folder = folder
        self._listing = None

    def find(self, message):
        """(path, letters) of a message's file, or None."""
        if self._listing is None:
            if os.path.isdir(self._folder):
                make_maildir(self._folder)  # an empty part may be missing
            self._listing = Listing(self._folder)
        return self._listing.find(message.name)


def unlink(path):
    """Remove a name that another program may have removed already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove(folder, messages):
    """Remove files, wherever they are by now; returns the messages whose file is gone.

    It stops at the first file that cannot be removed. Raises OSError if that is the very first
    one: then nothing has changed.
    """
    finder = Finder(folder)
    for number, message in enumerate(messages):
        try:
            _remove_one(folder, message, finder)
        except OSError as error:
            if not number:
                raise
            log.error("%s: %d messages could not be removed and stay: %s",
                      folder, len(messages) - number, error)
            return messages[:number]
    return messages


def _remove_one(folder, message, finder):
    try:
        os.unlink(path_of(folder, message))
    except FileNotFoundError:
        found = finder.find(message)
        if found:
            unlink(found[0])


def undo_rename(path, old_path):
    """Give the file `path` its old name again."""
    os.rename(path, old_path)
    unlink(path)  # rename(2) leaves both names if they are links to one file


def undo_link(path, source):
    """Remove the link `path` that was made from `source`; if `source` is gone, restore it."""
    if os.path.lexists(source):
        os.unlink(path)
    else:
        os.rename(path, source)


def link(source, target):
    """A second name for a synced file; a copy if the file system has no links."""
    try:
        os.link(source, target)
    except FileExistsError:
        if not os.path.samefile(source, target):
            raise
    except FileNotFoundError:
        raise
    except (OSError, NotImplementedError):
        _copy(source, target)


def _copy(source, target):
    import shutil  # imported late: it takes a megabyte, and most file systems have links
    folder = os.path.dirname(os.path.dirname(target))
    temporary = os.path.join(folder, "tmp", unique_name())
    shutil.copy2(source, temporary)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.rename(temporary, target)


def combine(mode, old, letters):
    """The letters after a change, sorted. Letters of no known flag survive "replace".

    `mode`: "add", "remove" or "replace"; `letters`: a set.
    """
    if mode == "add":
        new = letters.union(old)
    elif mode == "remove":
        new = set(old) - letters
    else:
        new = letters.union(set(old) - set("DFRST" + keywords.LETTERS))
    return "".join(sorted(new))


class Relabelling:
    """Gives files new letters, by `mode` and `letters` (see `combine`).

    Within `cur` a rename is one step. Out of `new` it takes three, because a delivery may sync
    `new` alone: if the power then failed, a renamed message would be in neither folder. So the
    message is linked into `cur`, `cur` is synced, and the name in `new` is removed.
    """

    def __init__(self, folder, mode, letters, sync):
        """`sync()` syncs `cur`."""
        self._folder = folder
        self._mode = mode
        self._letters = letters
        self._sync = sync
        self.renamed = []  # (path, old path) of each new name
        self._finder = Finder(folder)
        self._linked = []  # names in new that have one in cur, too
        self.surprised = False  # another program had renamed or removed a file

    def run(self, work):
        """`work`: [(message, new letters)]; returns those that were done.

        If another program changed a file's letters in the meantime, the change is applied to
        those. A message whose file is gone is left out.
        """
        done = []
        for message, new in work:
            try:
                self._rename(message, new)
            except FileNotFoundError:
                self.surprised = True
                new = self._rename_found(message)
                if new is None:
                    continue
            done.append((message, new))
        if self._linked:
            self._sync()
            for path in self._linked:
                unlink(path)
        return done

    def _rename(self, message, new):
        target = self._target(message, new)
        if message.fresh:
            source = path_of(self._folder, message)
            link(source, target)
            self._linked.append(source)
        else:
            source = self._target(message, message.letters)
            os.rename(source, target)
        self.renamed.append((target, source))

    def _target(self, message, letters):
        return "%s/cur/%s%s%s" % (self._folder, message.name, INFO, letters)

    def _rename_found(self, message):
        """The new letters of a file that was not at its expected path, or None."""
        found = self._finder.find(message)
        if found is None:
            return None
        path, old = found
        new = combine(self._mode, old, self._letters)
        target = self._target(message, new)
        if path != target:
            try:
                os.rename(path, target)
            except FileNotFoundError:
                return None
            self.renamed.append((target, path))
        return new
