"""How message files are found, linked, renamed and removed beside other
programs that do the same. Knows a folder's files, not its index."""
import logging
import os

from . import keywords, maildir

_log = logging.getLogger("phenmail.store")


class Finder:
    """Finds files that another program renamed; lists the folder once."""

    def __init__(self, path):
        self._path = path
        self._listing = None

    def find(self, row):
        """(path, letters) of a message's file, or None."""
        if self._listing is None:
            if os.path.isdir(self._path):
                maildir.make(self._path)  # backups leave empty parts out
            self._listing = maildir.Listing(self._path)
        return self._listing.find(row.name)


def where(folder, row):
    """The path at which a message's file should be."""
    return "%s/%s" % (folder, maildir.path(row.fresh, row.name, row.letters))


def unlink(path):
    """Remove a name that another program may have removed already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove(folder, rows):
    """Remove the files of ``rows``, wherever they are by now: the rows whose
    file is gone.

    Where one can't be removed those after it stay, too. Raises OSError if
    that is the first: then nothing has changed.
    """
    finder = Finder(folder)
    for number, row in enumerate(rows):
        try:
            _remove_one(folder, row, finder)
        except OSError as error:
            if not number:
                raise
            _log.error("%s: %d messages could not be removed: %s",
                       folder, len(rows) - number, error)
            return rows[:number]
    return rows


def _remove_one(folder, row, finder):
    try:
        os.unlink(where(folder, row))
    except FileNotFoundError:
        found = finder.find(row)
        if found:
            unlink(found[0])


def undo(path, back):
    """Take back a new name, ``path``, of what was ``back`` before."""
    os.rename(path, back)
    unlink(path)  # rename(2) leaves both where they are links to one file


def undo_link(path, source):
    """Take back a ``link``; where ``source`` is gone it is had back."""
    if os.path.lexists(source):
        os.unlink(path)
    else:
        os.rename(path, source)


def link(source, target):
    """A second name for a synced file; a copy where there are no links."""
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
    import shutil  # a megabyte, for file systems without links
    temporary = os.path.join(
        os.path.dirname(os.path.dirname(target)), "tmp",
        maildir.unique_name())
    shutil.copy2(source, temporary)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.rename(temporary, target)


def combine(mode, old, letters):
    """Letters after a change; those of no known flag survive "replace".

    ``mode``: "add", "remove" or "replace"; ``letters``: a set.
    """
    if mode == "add":
        new = letters.union(old)
    elif mode == "remove":
        new = set(old) - letters
    else:
        new = letters.union(set(old) - set("DFRST" + keywords.LETTERS))
    return "".join(sorted(new))


class Relabelling:
    """Gives files their new letters, by ``mode`` and ``letters``.

    Within ``cur`` a rename is one step. Out of ``new`` it is two: were the
    power to fail after a flush of ``new`` alone (a delivery's), the message
    would be in neither. So it is linked, flushed, unlinked.
    """

    def __init__(self, folder, mode, letters, sync, made):
        """``sync()`` flushes ``cur``; ``made(path, back)`` hears of each new
        name, and what it was before."""
        self._folder = folder
        self._mode = mode
        self._letters = letters
        self._sync = sync
        self._made = made
        self._finder = Finder(folder)
        self._linked = []  # names in new that have one in cur, too
        self.surprised = False  # another program was quicker somewhere

    def run(self, work):
        """``work``: [(row, new letters)]; returns those that were done.

        What another program changed in the meantime is changed once more; a
        message whose file is gone is left out.
        """
        done = []
        for row, new in work:
            try:
                self._rename(row, new)
            except FileNotFoundError:
                self.surprised = True
                new = self._rename_found(row)
                if new is None:
                    continue
            done.append((row, new))
        if self._linked:
            self._sync()
            for path in self._linked:
                unlink(path)
        return done

    def _rename(self, row, new):
        source, target = where(self._folder, row), self._target(row, new)
        if row.fresh:
            link(source, target)
            self._linked.append(source)
        else:
            os.rename(source, target)
        self._made(target, source)

    def _target(self, row, letters):
        return "%s/cur/%s%s%s" % (
            self._folder, row.name, maildir.INFO, letters)

    def _rename_found(self, row):
        """The letters that a file got which isn't where it was, or None."""
        found = self._finder.find(row)
        if found is None:
            return None
        path, old = found
        new = combine(self._mode, old, self._letters)
        target = self._target(row, new)
        if path != target:
            try:
                os.rename(path, target)
            except FileNotFoundError:
                return None
            self._made(target, path)
        return new
