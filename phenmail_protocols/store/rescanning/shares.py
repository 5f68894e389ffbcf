"""The names in a folder, its UID list and its index rows, in shares that fit into memory.

Most mailboxes are one share. The names of a larger one are divided by their hashes
(maildir/buckets.py) into temporary files, so that all that is known about one name is in one share.
"""
from itertools import chain, islice
from typing import Any, NamedTuple

from ..maildir import buckets, spool
from ..maildir.listing import Listing, paths

MOST = 1 << 17  # names in memory at once
_LOOK = 64  # names between two calls of `look`


class Share(NamedTuple):
    """What files, UID list and index say about some of the names.

    listing  a maildir.listing.Listing
    again    a function that lists the same share once more -> Listing
    lines    `{name: uid}` of the UID list, at least for the names of the listing
    rows     an iterable of (uid, name, fresh, letters) of the index, by UID
    highest  the highest UID of any line of the UID list
    """
    listing: Listing
    again: Any
    lines: dict
    rows: Any
    highest: int


def shares(mailbox, wanted):
    """Yield the Shares that together have all names in the `wanted` buckets."""
    folder, look = mailbox.path, mailbox.account.look_locked
    listing = Listing(folder, islice(looking(look, paths(folder, wanted=wanted)), MOST))
    if len(listing) == MOST:
        del listing
        yield from _Parts(mailbox, wanted).shares()
        return
    lines = mailbox.uid_list.lines(listing.letters)
    rows = mailbox.account.index.places(mailbox.row.id)
    if wanted is not buckets.ALL:
        rows = (row for row in rows if buckets.bucket(row[1]) in wanted)
    yield Share(listing, lambda: Listing(folder, paths(folder, wanted=wanted)), lines.uids, rows,
                lines.highest)


def looking(look, items):
    """An iterator of `items` that calls `look()` now and then."""
    return chain.from_iterable(batches(look, items))


def batches(look, items):
    """Yield lists of a few of `items`, and call `look()` before each."""
    items = iter(items)
    for some in iter(lambda: list(islice(items, _LOOK)), []):
        look()
        yield some


class _Parts:
    """A mailbox that is too large for one share."""

    def __init__(self, mailbox, wanted):
        self._mailbox = mailbox
        self._wanted = wanted
        self._temporary = mailbox.account.folder + "/tmp"
        self._look = mailbox.account.look_locked
        self._made = []  # all spool.Parts, to be closed
        self._again = None  # the spool.Parts of the second listing
        self._highest = 0

    def shares(self):
        try:
            yield from self._shares(self._files(), self._lines(), self._rows())
        finally:
            for parts in self._made:
                parts.close()

    def _shares(self, files, lines, rows):
        for number in range(spool.PARTS):
            yield Share(
                self._listing(files, number), lambda: self._listed_again(number),
                {name: int(uid) for uid, name in map(_fields, lines.take(number))},
                [(int(uid), name, int(fresh), letters)
                 for uid, name, fresh, letters in map(_fields, rows.take(number))],
                self._highest)

    def _parts(self):
        parts = spool.Parts(self._temporary)
        self._made.append(parts)
        return parts

    def _files(self):
        files = self._parts()
        for path in looking(self._look, paths(self._mailbox.path, wanted=self._wanted)):
            files.add(buckets.bucket(path[4:]), path.replace("/", "\0", 1))
        return files

    def _listing(self, files, number):
        return Listing(self._mailbox.path, [
            path.replace("\0", "/", 1) for path in files.take(number)])

    def _listed_again(self, number):
        if self._again is None:
            self._again = self._files()
        return self._listing(self._again, number)

    def _lines(self):
        lines = self._parts()
        for uid, name in looking(self._look, self._mailbox.uid_list.each_line()):
            self._highest = max(self._highest, uid)
            number = buckets.bucket(name)
            if number in self._wanted and "/" not in name and "\0" not in name:
                lines.add(number, "%d\0%s" % (uid, name))
        return lines

    def _rows(self):
        rows = self._parts()
        for row in looking(self._look, self._mailbox.account.index.places(self._mailbox.row.id)):
            number = buckets.bucket(row[1])
            if number in self._wanted:
                rows.add(number, "%d\0%s\0%d\0%s" % row)
        return rows


def _fields(line):
    return line.split("\0")
