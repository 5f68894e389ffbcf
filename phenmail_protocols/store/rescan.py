"""What the files of a mailbox say, taken into the index.

The Maildir is the truth: other programs drop files into it, rename them
(flags) and remove them; a crash leaves a file without its row, or a line in
the UID list without its file. All of that is found here, by comparing names.

A folder is listed again when its mtime is another than at the last listing,
and once more when it was written to within GRAIN of that listing: a later
change in the same tick of the file system's clock would not show.
"""
import heapq
import itertools
import logging
import os
import re
import time

from ..disk import atomic
from . import maildir
from .errors import NotFound
from .index import MailboxRow, MessageRow
from .uidlist import BLOCK, Header

GRAIN = 2.0  # seconds; FAT has the coarsest clock
JUMP = 1 << 20  # more numbers than are given out between two backups
STEP = 1 << 16  # files written over in place, or only a chown at each start
_SLICE = 500  # files that are taken in at once
_SORTED = 4096
_U = re.compile(r",U=\d+")
_log = logging.getLogger("phenmail.store")


def is_due(mailbox):
    """Must the folder be listed? Raises FileNotFoundError when it's gone."""
    times = maildir.times(mailbox.path)
    if times == (mailbox.row.new_time, mailbox.row.cur_time):
        return False
    if mailbox.scanned is None or mailbox.scanned[0] != times:
        return True
    return time.time() - max(times) / 1e9 > GRAIN


def adopt(account, mailbox):
    """Make the index row of a folder that the index doesn't know."""
    header = mailbox.list.read()
    is_new = header is None
    if is_new:
        header = Header(
            new_uidvalidity(account), 1, 1 + BLOCK, 1 + BLOCK,
            account.identity,
            b" G" + os.urandom(16).hex().encode("ascii"))
        mailbox.list.replace(header, [])
    mailbox.be_same_locked(header.uidvalidity)
    mailbox.row = account.index.add_mailbox(MailboxRow(
        0, mailbox.folder, header.uidvalidity, 1, 1, 1, 0, 0, 0, 0))
    if not is_new:
        mailbox.row = resume(account, mailbox.row, mailbox.list)
    rescan(account, mailbox, adopting=True)
    if not is_new:  # what was new to somebody once is not new again
        mailbox.save_locked(recent=mailbox.row.uidnext)


def new_uidvalidity(account):
    """One that no mailbox of the account ever had.

    The last one is in the index and, for when that is lost, in the name of an
    empty file, as Dovecot does it (``dovecot-uidvalidity.`` and eight
    hexadecimal digits).
    """
    stem = os.path.join(account.folder, "dovecot-uidvalidity")
    noted = _noted_uidvalidities(account.folder)
    last = max([int(account.index.value("uidvalidity", 0))] + noted + [
        row.uidvalidity for row in account.index.mailboxes()])
    value = max(int(time.time()), last + 1) & 0xFFFFFFFF
    new = "%s.%08x" % (stem, value)
    if noted:
        os.rename("%s.%08x" % (stem, max(noted)), new)
        atomic.sync_directory(account.folder)
    else:
        atomic.write_file(new, b"")
    account.index.set_value("uidvalidity", value)
    return value


def _noted_uidvalidities(folder):
    return [int(name[-8:], 16) for name in os.listdir(folder)
            if re.match("dovecot-uidvalidity\\.[0-9a-f]{8}$", name)]


def resume(account, row, listed):
    """Go past every number of a mailbox that may have been given out: row.

    After power loss, and for an index that was lost, these are below the
    ceilings; in a restored or copied folder, which the marker in the list's
    header tells, somewhere above.
    """
    uidnext = max(row.uidnext, listed.header.uid_ceiling)
    modseq = max(row.modseq, listed.header.modseq_ceiling)
    if listed.is_copy(account.identity):
        jump = STEP if listed.has_inode_of(account.identity) else JUMP
        uidnext, modseq = uidnext + jump, modseq + jump
        _log.warning(
            "%s: this is a restored or copied folder; new messages get UIDs "
            "from %d on", listed.path, uidnext)
    listed.raise_ceilings(uidnext, 0, modseq, account.identity)
    account.index.touch_messages(row.id, modseq)
    account.index.forget_expunged(row.id, modseq)
    row = row._replace(uidnext=uidnext, modseq=modseq, list_inode=0,
                       list_size=0, new_time=0, cur_time=0)
    account.index.update_mailbox(row)
    return row


def resume_alone(account, row):
    """``resume`` for a mailbox whose list is lost: how far, nobody knows."""
    account.index.forget_expunged(row.id, row.modseq + JUMP)
    account.index.update_mailbox(row._replace(
        uidnext=row.uidnext + JUMP, modseq=row.modseq + JUMP,
        list_inode=0, list_size=0, new_time=0, cur_time=0))


def relist(account, row, listed):
    """Give the list back what it lost to a power failure and the index kept.

    Otherwise an index that is deleted later would take these UIDs with it.
    ``resume`` flushes them.
    """
    lines = listed.lines().uids
    lost = [message[:2] for message in account.index.messages(row.id)
            if lines.get(message[1]) != message[0]]
    if lost:
        listed.append(lost)


def rescan(account, mailbox, adopting=False):
    """List the folder and take in the difference.

    ``adopting``: the index is being made anew; listed UIDs hold although they
    lie below the next UID.
    """
    if not adopting and _is_unchanged(account, mailbox):
        return
    if account.leads_elsewhere(mailbox.path):
        raise NotFound()
    if not _read_list(account, mailbox):
        adopt(account, mailbox)
        return
    if account.is_there(mailbox.folder) or not mailbox.folder:
        maildir.make(mailbox.path)  # backups leave empty parts out
    floor = 1 if adopting else mailbox.row.uidnext
    when = time.time()
    times = maildir.times(mailbox.path)
    listing = maildir.Listing(mailbox.path)
    if listing.odd:
        maildir.mend(listing)
    if mailbox.letters.read():
        mailbox.reload_locked()
    Differences(account, mailbox, listing).apply(floor)
    _settle(mailbox, times, when)


def _is_unchanged(account, mailbox):
    """Are the files just those that the index knows? Then all is settled.

    So it is after our own changes, which show in the times as everybody's do.
    """
    row = mailbox.row
    stamp = row.list_inode, row.list_size
    if mailbox.list.stamp() != stamp or not mailbox.list.is_open(*stamp):
        return False
    if mailbox.letters.read():
        mailbox.reload_locked()
    when = time.time()
    times = maildir.times(mailbox.path)
    for fresh, settled in ((1, row.new_time), (0, row.cur_time)):
        if times[1 - fresh] != settled and not account.index.has_just(
                maildir.file_names(mailbox.path, fresh), row.id, fresh,
                "" if fresh else maildir.INFO):
            return False
    _settle(mailbox, times, when)
    return True


def _read_list(account, mailbox):
    """Open the UID list; it is written anew where it is lost or old.

    False when its UIDVALIDITY is newer than the index's: somebody made the
    mailbox anew. Raises errors.NotFound if the old one is open.
    """
    row = mailbox.row
    header = mailbox.list.read()
    if header is not None and header.uidvalidity == row.uidvalidity:
        return True
    if header is not None and header.uidvalidity > row.uidvalidity:
        mailbox.be_same_locked(header.uidvalidity)
        account.index.remove_mailbox(row.id)
        mailbox.row = None
        return False
    mailbox.list.replace(
        Header(row.uidvalidity, row.uidnext, row.uidnext + BLOCK,
               row.modseq + BLOCK, account.identity),
        (message[:2] for message in account.index.messages(row.id)))
    return True


class Differences:
    """Between a folder's files and the index, and how they are taken in.

    A folder may have a hundred thousand new files: each is one name in
    memory, and the rest is done in slices.
    """

    def __init__(self, account, mailbox, listing):
        """``listing``: a mended maildir.Listing, which is used up."""
        self._account = account
        self._mailbox = mailbox
        self._missing = []  # MessageRows without their file
        self._changed = []  # (fresh, letters, UID)
        self._arrived = listing.letters  # what no row knows, in the end
        self._find(listing)
        if self._missing:  # a file renamed while it was listed can be missed
            self._look_again()
        if self._missing and self._arrived:
            self._take_new_names()

    def _find(self, listing):
        for row in self._account.index.messages(self._mailbox.row.id):
            name, fresh, letters = row[1:4]
            if name not in listing.letters:
                self._missing.append(MessageRow(*row))
                continue
            place = listing.place(name)
            if place != (fresh, letters):
                self._changed.append(place + (row[0],))
            del listing.letters[name]

    def _look_again(self):
        again = maildir.Listing(self._mailbox.path)
        self._missing = [row for row in self._missing
                         if again.find(row.name) is None]
        self._arrived = {name: letters for name, letters
                         in self._arrived.items() if name in again.letters}

    def _take_new_names(self):
        """mbsync writes its own UID into names (",U=7"): the message stays
        the one that it was."""
        gone = {_U.sub("", row.name): row for row in self._missing}
        renamed = {}
        for name in self._arrived:
            row = gone.get(_U.sub("", name))
            if row is not None:
                renamed[row.uid] = row._replace(name=name)
        if not renamed:
            return
        self._account.index.rename_messages(self._mailbox.row.id, [
            (row.name, uid) for uid, row in renamed.items()])
        self._mailbox.list.append([
            (uid, row.name) for uid, row in sorted(renamed.items())])
        self._missing = [row for row in self._missing
                         if row.uid not in renamed]
        for uid, row in renamed.items():
            place = self._place(row.name)
            if place != (row.fresh, row.letters):
                self._changed.append(place + (uid,))
            del self._arrived[row.name]

    def _place(self, name):
        letters = self._arrived[name]
        return (1, "") if letters is None else (0, letters)

    def apply(self, floor):
        """Take them in; listed UIDs from ``floor`` on hold."""
        mailbox = self._mailbox
        lines = mailbox.list.lines(self._arrived)
        uidnext = max(mailbox.row.uidnext, lines.highest + 1)
        if not (self._missing or self._arrived or self._changed):
            if uidnext != mailbox.row.uidnext:
                mailbox.save_locked(uidnext=uidnext)
            return
        modseq = mailbox.row.modseq + 1
        header = mailbox.list.header
        top = uidnext + len(self._arrived)
        if top > header.uid_ceiling or modseq >= header.modseq_ceiling:
            first = mailbox.row.uidnext
            mailbox.list.raise_ceilings(
                first, top - first, modseq, self._account.identity)
        new = self._add(lines.uids, floor, uidnext, modseq)
        if new == uidnext and not (self._missing or self._changed):
            return  # no messages, or gone again
        index, box = self._account.index, mailbox.row.id
        index.remove_messages(box, [row.uid for row in self._missing], modseq)
        index.set_flags(box, [(fresh, letters, modseq, uid)
                              for fresh, letters, uid in self._changed])
        mailbox.save_locked(uidnext=max(new, uidnext), modseq=modseq)
        self._arrived.clear()  # used up, and the columns need that memory
        mailbox.reload_locked()

    def _add(self, listed, floor, uidnext, modseq):
        """Number what arrived, from ``uidnext`` on: the next UID then.

        Listed UIDs that were never visible hold; 0 where one of them is all
        that was added, ``uidnext`` where nothing was.
        """
        added = False
        held = [name for name in self._arrived
                if listed.get(name, 0) >= floor]
        last, twice = 0, []
        for names in _slices(_in_order(held, listed.get)):
            numbered = []
            for name in names:
                if listed[name] == last:
                    twice.append(name)
                    continue
                last = listed[name]
                numbered.append((last, name))
            added = self._add_some(numbered, listed, modseq) or added
        kept = set(held).difference(twice)
        first = uidnext
        for names in _slices(_in_order(
                [name for name in self._arrived if name not in kept],
                _arrival)):
            measured = self._measured(names)
            numbered = list(enumerate(
                (name for name in names if name in measured), uidnext))
            self._add_some(numbered, listed, modseq, measured)
            uidnext += len(numbered)
        return 0 if added and uidnext == first else uidnext

    def _add_some(self, numbered, listed, modseq, measured=None):
        """Whether any of ``numbered``, [(uid, name)], could be read."""
        if measured is None:
            measured = self._measured([name for _, name in numbered])
        rows = [MessageRow(uid, name, *(self._place(name) + measured[name]
                                        + (modseq,)))
                for uid, name in numbered if name in measured]
        self._mailbox.list.append([(row.uid, row.name) for row in rows
                                   if listed.get(row.name) != row.uid])
        self._account.index.add_messages(self._mailbox.row.id, rows)
        return bool(rows)

    def _measured(self, names):
        """``{name: (size, date)}`` of those that can be read."""
        measured = {}
        for name in names:
            path = "%s/%s" % (self._mailbox.path, maildir.path(
                *(self._place(name)[:1] + (name,) + self._place(name)[1:])))
            try:
                measured[name] = maildir.measure(path, name)
            except FileNotFoundError:
                pass  # gone again
            except OSError as error:  # one bad file doesn't hide the others
                _log.warning("%s is left out: %s", path, error)
        return measured


def _arrival(name):
    seconds = name.partition(".")[0]
    return int(seconds) if seconds.isdigit() else 0, name


def _in_order(names, key):
    """``names`` by ``key``, sorted a slice at a time: a sort of them all
    would keep every other thread waiting for as long as it takes."""
    return heapq.merge(*[
        sorted(names[start:start + _SORTED], key=key)
        for start in range(0, len(names), _SORTED)], key=key)


def _slices(names):
    """Lists of names out of an iterator."""
    return iter(lambda: list(itertools.islice(names, _SLICE)), [])


def _settle(mailbox, times, when):
    """Remember what was listed, if no later change can hide behind it."""
    mailbox.scanned = times, when
    mailbox.compact_list_locked()
    stamp = mailbox.list.stamp()
    settled = tuple(each if when - each / 1e9 > GRAIN else 0
                    for each in times)
    row = mailbox.row
    if (settled + stamp) != (row.new_time, row.cur_time, row.list_inode,
                             row.list_size):
        mailbox.save_locked(
            new_time=settled[0], cur_time=settled[1],
            list_inode=stamp[0], list_size=stamp[1])
