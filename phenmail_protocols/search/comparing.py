"""Checks whether the documents still match the files, which other programs may change and remove.

The messages of a Maildir should never change, but people edit files, and restore some from a
backup. The index records when the files of a box were last compared with its documents. A file that
was written or renamed since then has a later ctime, which no program can set back. Only such files
are compared again, by their marks (hashes of name, size and mtime). A message whose document is
wrong becomes a gap: searches read it, and it is indexed again.
"""
import os
import time
from hashlib import blake2b

from ..store import errors
from ..store.maildir.filenames import path_of, split
from ..store.rescanning.rescan import GRAIN

_ROWS = 1000  # messages that are compared at once
_OLD = 10**9  # ns; to save writes, the time of a comparison without result is recorded this rarely
_FILES = 500  # changed files that are compared one by one; with more, all are compared


def now():
    """A time in ns. Files that are written from now on have a later ctime, even if the file
    system's clock is coarse."""
    return int((time.time() - GRAIN) * 1e9)


def mark(name, size, mtime):
    """A 64-bit hash that changes if the file is renamed or written; `mtime` in ns."""
    text = "%s %d %d" % (name, size, mtime)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogateescape"),
                                  digest_size=8).digest(), "big", signed=True)


class Comparison:
    """For one account's BodyIndex. All methods may be called from any thread, and raise
    errors.StoreError."""

    def __init__(self, index):
        self._index = index

    def some(self, opened, box, last, upto):
        """Compare the documents of some messages with UIDs above `last`, up to `upto`.

        Documents of messages that are gone are removed. Returns the last UID that was compared.
        """
        opened.look()  # so that the rows have the current file names
        rows = opened.account.rows_after(opened, last, _ROWS)
        end = min(rows[-1].uid, upto) if len(rows) == _ROWS else upto
        files = {row.uid: _mark_of_file(opened.path, row) for row in rows if row.uid <= end}
        with self._index.open() as database:
            marks = database.marks(box, last + 1, end)
            gaps = database.gaps(box, last + 1, end)
            missing = _missing(files, marks, gaps)
            dead = (gaps | marks.keys()).difference(files)
            if missing or dead:
                database.correct(box, dead.union(missing), missing)
        return end

    def of_changed(self, opened, box, upto, look):
        """Compare the documents of files that changed since the last comparison.

        Returns False, and compares nothing, if too many files changed or the clock was set back.
        Then all documents must be compared.
        """
        began = now()
        with self._index.open() as database:
            since = database.looked(box)
        changed = _changed_files(opened.path, since, look) if since <= began else None
        if changed is None:
            return False
        rows = opened.account.rows_named(opened, list(changed)) if changed else []
        with self._index.open() as database:
            missing = []
            for uid, name in [(row.uid, row.name) for row in rows if row.uid <= upto]:
                missing += _missing({uid: changed[name]}, database.marks(box, uid, uid),
                                    database.gaps(box, uid, uid))
            if missing:
                database.correct(box, missing, missing)
            if missing or began - since > _OLD:
                database.set_looked(box, began)
        return True


def _missing(files, marks, gaps):
    """The UIDs whose documents are wrong or missing. `files`: {uid: mark of its file or None}."""
    return [uid for uid, found in files.items()
            if uid not in gaps and (found is None or found != marks.get(uid))]


def _mark_of_file(folder, row):
    """The mark of a message's file; None if there is no file under the row's name."""
    try:
        status = os.lstat(path_of(folder, row))
    except OSError:
        return None
    return mark(row.name, status.st_size, status.st_mtime_ns)


def _changed_files(folder, since, look):
    """{name without flags: mark} of the files with a ctime of at least `since` (ns); None if they
    are more than _FILES."""
    found = {}
    try:
        for part in ("new", "cur"):
            with os.scandir(os.path.join(folder, part)) as entries:
                for entry in entries:
                    look()
                    _note_if_changed(entry, since, found)
                    if len(found) > _FILES:
                        return None
    except FileNotFoundError:
        return {}  # the mailbox is gone
    except OSError as error:
        raise errors.from_os(error) from error
    return found


def _note_if_changed(entry, since, found):
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return  # renamed meanwhile, so its ctime is later than this comparison
    if status.st_ctime_ns >= since:
        name = split(entry.name)[0]
        found[name] = mark(name, status.st_size, status.st_mtime_ns)
