"""Updating the index from the files of a mailbox.

The Maildir is the truth. Other programs drop files into it, rename them (flags) and remove them; a
crash leaves a file without its row, or a line in the UID list without its file. A rescan finds all
of this by comparing names.

When a rescan is due: the row in the index keeps the mtimes of `new` and `cur` and the inode and
size of the UID list that it reflects. Other mtimes mean that the folder must be listed. A change in
the same tick of the file system's clock as the listing would leave the mtime as it was. So a folder
that was written less than GRAIN before it was listed is listed once more later.

What it does, in a transaction:

1. If the folder has exactly the names that the index has, only the mtimes are noted. That is so
   after our own changes.
2. The UID list is read. If it is lost it is rebuilt from the index. If its UIDVALIDITY is
   higher, another program recreated the mailbox: the row is dropped and the folder adopted.
3. The folder is listed, odd names are mended, and the names are compared with the rows: messages
   are missing, changed, or have arrived.
4. A missing message may only have been renamed while the folder was listed, so a second listing
   decides. A missing and an arrived name that differ only in `,U=` (mbsync) are one message.
5. An arrived file gets the UID of its line in the UID list, unless that is below the row's next
   UID: then a session may have seen later UIDs, and the file gets a new one. All UIDs lie below the
   synced ceiling.
6. The changes go into the index with a new mod-sequence, and into memory.

A folder that the index does not know is adopted: it gets a row, with the UIDs of its list if it has
one. Numbering then resumes past the list's ceilings.
"""
import heapq
import itertools
import logging
import os
import re
import time

from . import numbering
from .errors import NotFound
from .index import MailboxRow, MessageRow
from .maildir.filenames import INFO
from .maildir.listing import Listing, file_names, measure, mend, mtimes
from .maildir.tree import make_maildir
from .maildir.uidlist import BLOCK, Header

GRAIN = 2.0  # seconds; the coarsest clock is FAT's
_SLICE = 500  # files that are read in at once
_SORTED = 4096  # names that are sorted at once
_U = re.compile(r",U=\d+")
log = logging.getLogger("phenmail.store")


def is_due(mailbox):
    """Must the folder be listed? Raises FileNotFoundError if it is gone."""
    times = mtimes(mailbox.path)
    if times == (mailbox.row.new_time, mailbox.row.cur_time):
        return False
    return mailbox.scanned != times or time.time() - max(times) / 1e9 > GRAIN


def adopt(mailbox):
    """Make the index row of a folder that the index does not know."""
    account = mailbox.account
    header = mailbox.uid_list.read()
    is_new = header is None
    if is_new:
        header = Header(
            numbering.new_uidvalidity(account.folder, account.index), 1, 1 + BLOCK, 1 + BLOCK,
            account.marker, b" G" + os.urandom(16).hex().encode("ascii"))
        mailbox.uid_list.replace(header, [])
    mailbox.check_uidvalidity_locked(header.uidvalidity)
    mailbox.row = account.index.add_mailbox(MailboxRow(
        0, mailbox.folder, header.uidvalidity, 1, 1, 1, 0, 0, 0, 0))
    if not is_new:
        mailbox.row = numbering.resume(account.index, mailbox.row, mailbox.uid_list, account.marker)
    rescan(mailbox, adopting=True)
    mailbox.reload_locked()  # an empty folder brought nothing that did so
    if not is_new:  # its messages were announced as \Recent long ago
        mailbox.save_locked(recent=mailbox.row.uidnext)


def rescan(mailbox, adopting=False):
    """List the folder and apply the differences.

    `adopting`: the row is new, so UIDs of the list count although they are below its next UID.
    """
    if not adopting and _is_unchanged(mailbox):
        return
    tree = mailbox.account.tree
    if tree.leads_away(mailbox.path):
        raise NotFound()
    if not _read_list(mailbox):
        adopt(mailbox)
        return
    if tree.has(mailbox.folder) or not mailbox.folder:
        make_maildir(mailbox.path)  # an empty part may be missing
    floor = 1 if adopting else mailbox.row.uidnext
    when = time.time()
    times = mtimes(mailbox.path)
    listing = Listing(mailbox.path)
    if listing.odd:
        mend(listing)
    if mailbox.flag_letters.read():
        mailbox.reload_locked()
    _Differences(mailbox, listing).apply(floor)
    _note_times(mailbox, times, when)


def _is_unchanged(mailbox):
    """Are the files exactly those that the index knows? Then the times are noted."""
    row = mailbox.row
    stamp = row.list_inode, row.list_size
    if mailbox.uid_list.stamp() != stamp or not mailbox.uid_list.is_open(*stamp):
        return False
    if mailbox.flag_letters.read():
        mailbox.reload_locked()
    when = time.time()
    times = mtimes(mailbox.path)
    for fresh, noted in ((1, row.new_time), (0, row.cur_time)):
        if times[1 - fresh] != noted and not mailbox.account.index.has_just(
                file_names(mailbox.path, fresh), row.id, fresh,
                "" if fresh else INFO):
            return False
    _note_times(mailbox, times, when)
    return True


def _read_list(mailbox):
    """Open the UID list; rebuild it if it is lost or older than the index.

    Returns False if its UIDVALIDITY is higher than the index's: the mailbox was recreated. Raises
    errors.NotFound if a session has the old one open.
    """
    row, index = mailbox.row, mailbox.account.index
    header = mailbox.uid_list.read()
    if header is not None and header.uidvalidity == row.uidvalidity:
        return True
    if header is not None and header.uidvalidity > row.uidvalidity:
        mailbox.check_uidvalidity_locked(header.uidvalidity)
        index.remove_mailbox(row.id)
        mailbox.row = None
        return False
    mailbox.uid_list.replace(
        Header(row.uidvalidity, row.uidnext, row.uidnext + BLOCK, row.modseq + BLOCK,
               mailbox.account.marker),
        (message[:2] for message in index.messages(row.id)))
    return True


class _Differences:
    """The differences between a folder's files and the index.

    A folder may have a hundred thousand new files: each is one name in memory, and the work on
    them is done in slices.
    """

    def __init__(self, mailbox, listing):
        """`listing`: a mended Listing, which is used up."""
        self._mailbox = mailbox
        self._index = mailbox.account.index
        self._missing = []  # MessageRows without their file
        self._changed = []  # (fresh, letters, UID)
        self._listing = listing
        self._arrived = listing.letters  # reduced to the names that no row has
        self._compare()
        if self._missing:
            self._look_again()
        if self._missing and self._arrived:
            self._match_renamed()

    def _compare(self):
        for row in self._index.messages(self._mailbox.row.id):
            name, fresh, letters = row[1:4]
            if name not in self._arrived:
                self._missing.append(MessageRow(*row))
                continue
            self._note_place(name, fresh, letters, row[0])

    def _note_place(self, name, fresh, letters, uid):
        """The message with this name has the row of `uid`; has it other flags?"""
        place = self._listing.place(name)
        if place != (fresh, letters):
            self._changed.append(place + (uid,))
        del self._arrived[name]

    def _look_again(self):
        """A file that is renamed while it is listed may be missing from the listing."""
        again = Listing(self._mailbox.path)
        self._missing = [row for row in self._missing if again.find(row.name) is None]
        for name in [name for name in self._arrived if name not in again.letters]:
            del self._arrived[name]

    def _match_renamed(self):
        """mbsync writes its own UID into names (",U=7"); the message keeps ours."""
        gone = {_U.sub("", row.name): row for row in self._missing}
        renamed = {}
        for name in self._arrived:
            row = gone.get(_U.sub("", name))
            if row is not None:
                renamed[row.uid] = row._replace(name=name)
        if not renamed:
            return
        self._index.rename_messages(self._mailbox.row.id, [
            (row.name, uid) for uid, row in renamed.items()])
        self._mailbox.uid_list.append([(uid, row.name) for uid, row in sorted(renamed.items())])
        self._missing = [row for row in self._missing if row.uid not in renamed]
        for row in renamed.values():
            self._note_place(row.name, row.fresh, row.letters, row.uid)

    def apply(self, floor):
        """Record them; UIDs of the list count from `floor` on."""
        mailbox = self._mailbox
        lines = mailbox.uid_list.lines(self._arrived)
        uidnext = max(mailbox.row.uidnext, lines.highest + 1)
        if not (self._missing or self._arrived or self._changed):
            if uidnext != mailbox.row.uidnext:
                mailbox.save_locked(uidnext=uidnext)
            return
        modseq = mailbox.row.modseq + 1
        header = mailbox.uid_list.header
        top = uidnext + len(self._arrived)
        if top > header.uid_ceiling or modseq >= header.modseq_ceiling:
            first = mailbox.row.uidnext
            mailbox.uid_list.raise_ceilings(first, top - first, modseq, mailbox.account.marker)
        kept, next_new = self._add_arrived(lines.uids, floor, uidnext, modseq)
        if not kept and next_new == uidnext and not (self._missing or self._changed):
            return  # no file that arrived was a message, or all are gone again
        box = mailbox.row.id
        self._index.remove_messages(box, [row.uid for row in self._missing], modseq)
        self._index.set_flags(box, [(fresh, letters, modseq, uid)
                                    for fresh, letters, uid in self._changed])
        mailbox.save_locked(uidnext=next_new, modseq=modseq)
        if self._arrived:
            mailbox.account.wake_idle_work(has_mail=True)
        self._arrived.clear()  # the columns need that memory now
        mailbox.reload_locked()

    def _add_arrived(self, listed, floor, uidnext, modseq):
        """Add what arrived: (whether any message kept its listed UID, the next UID).

        New UIDs start at `uidnext`. `listed`: the list's `{name: uid}`.
        """
        any_kept = False
        with_uid = [name for name in self._arrived if listed.get(name, 0) >= floor]
        last, twice = 0, []
        for names in _slices(_in_order(with_uid, listed.get)):
            numbered = []
            for name in names:
                if listed[name] == last:
                    twice.append(name)
                    continue
                last = listed[name]
                numbered.append((last, name))
            if self._add(numbered, listed, modseq, self._measure([name for _, name in numbered])):
                any_kept = True
        kept = set(with_uid).difference(twice)
        for names in _slices(_in_order(
                [name for name in self._arrived if name not in kept], _time_and_name)):
            measured = self._measure(names)
            numbered = list(enumerate((name for name in names if name in measured), uidnext))
            self._add(numbered, listed, modseq, measured)
            uidnext += len(numbered)
        return any_kept, uidnext

    def _add(self, numbered, listed, modseq, measured):
        """Add those of `numbered`, [(uid, name)], that are in `measured`; returns their rows."""
        rows = [MessageRow(uid, name, *(self._listing.place(name) + measured[name] + (modseq,)))
                for uid, name in numbered if name in measured]
        self._mailbox.uid_list.append([(row.uid, row.name) for row in rows
                                       if listed.get(row.name) != row.uid])
        self._index.add_messages(self._mailbox.row.id, rows)
        return rows

    def _measure(self, names):
        """`{name: (size, date)}` of the files that can be read."""
        measured = {}
        for name in names:
            path, _ = self._listing.find(name)
            try:
                measured[name] = measure(path, name)
            except FileNotFoundError:
                pass  # removed meanwhile
            except OSError as error:  # one bad file does not hide the others
                log.warning("%s is left out, because it cannot be read: %s", path, error)
        return measured


def _time_and_name(name):
    """The sort key for the order of arrival; names begin with the time in seconds."""
    seconds = name.partition(".")[0]
    return int(seconds) if seconds.isdigit() else 0, name


def _in_order(names, key):
    """`names` by `key`. They are sorted in slices, because one long sort would hold the
    interpreter lock, and with it every other thread."""
    return heapq.merge(*[
        sorted(names[start:start + _SORTED], key=key)
        for start in range(0, len(names), _SORTED)], key=key)


def _slices(names):
    """Lists of names out of an iterator."""
    return iter(lambda: list(itertools.islice(names, _SLICE)), [])


def _note_times(mailbox, times, when):
    """Note what was listed at the time `when`, except mtimes that a later change may leave."""
    mailbox.scanned = times
    mailbox.compact_list_locked()
    stamp = mailbox.uid_list.stamp()
    noted = tuple(each if when - each / 1e9 > GRAIN else 0 for each in times)
    row = mailbox.row
    if noted + stamp != (row.new_time, row.cur_time, row.list_inode, row.list_size):
        mailbox.save_locked(new_time=noted[0], cur_time=noted[1],
                            list_inode=stamp[0], list_size=stamp[1])
