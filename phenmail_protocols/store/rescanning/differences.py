"""Finds the differences between a folder's files and the index, and records them in the index.

The folder may have a million files, so it is compared one share at a time (shares.py). Arrived
files get their UIDs in the order of arrival, so their names are kept in temporary files until all
shares are compared.
"""
import itertools

from ..indexing.index import UNKNOWN
from ..maildir import buckets
from ..maildir.listing import mend
from ..maildir.spool import SortedLines
from .shares import batches, shares

_SLICE = 500  # messages that are added at once
_DIGITS = 12  # of the seconds by which names are sorted; larger numbers count as the largest


class _Comparison:
    """The differences in one share of the folder.

    missing  [(uid, name, fresh, letters)] of messages whose files are gone
    changed  [(fresh, letters, uid)] of messages with other flags
    arrived  {name: letters} of the files that no row has, as Listing.letters
    """

    def __init__(self, mailbox, share):
        """`share`: a Share whose listing is mended. Do not use its listing and rows afterwards."""
        self._mailbox = mailbox
        self._share = share
        self.missing = []
        self.changed = []
        self.arrived = share.listing.letters
        for row in share.rows:
            if row[1] in self.arrived:
                self._note_place(*row)
            else:
                self.missing.append(row)
        if self.missing:
            self._look_again()
        if self.missing and self.arrived:
            self._match_renamed()

    def _note_place(self, uid, name, fresh, letters):
        """Note the flags of the file with this name, if the row of `uid` has other ones."""
        place = self._share.listing.place(name)
        if place != (fresh, letters):
            self.changed.append(place + (uid,))
        del self.arrived[name]

    def _look_again(self):
        """A file that is renamed while it is listed may be missing from the listing."""
        again = self._share.again()
        self.missing = [row for row in self.missing if again.find(row[1]) is None]
        for name in [name for name in self.arrived if name not in again.letters]:
            del self.arrived[name]

    def _match_renamed(self):
        """Find renames by mbsync, which writes its own UID into names (",U=7"). The message keeps
        the UID that it has here."""
        gone = {buckets.without_u(row[1]): row for row in self.missing}
        renamed = {}
        for name in self.arrived:
            row = gone.get(buckets.without_u(name))
            if row is not None:
                renamed[row[0]] = (row[0], name) + row[2:]
        if not renamed:
            return
        self._mailbox.account.index.rename_messages(self._mailbox.row.id, [
            (row[1], uid) for uid, row in renamed.items()])
        self._mailbox.uid_list.append([row[:2] for _, row in sorted(renamed.items())])
        self.missing = [row for row in self.missing if row[0] not in renamed]
        for row in renamed.values():
            self._note_place(*row)


class Differences:
    """Finds and records the differences of one mailbox, in some buckets of its names."""

    def __init__(self, mailbox, floor, columns):
        """`floor`: lower UIDs in the UID list are ignored; their files get new UIDs. `columns`:
        Columns that get what arrived, if the mailbox had no messages, or None."""
        self._mailbox = mailbox
        self._columns = columns
        self._index = mailbox.account.index
        self._floor = floor
        self._modseq = mailbox.row.modseq + 1
        self._changed = False
        temporary = mailbox.account.folder + "/tmp"
        self._listed = SortedLines(temporary)  # arrived files with a UID in the list, by UID
        self._others = SortedLines(temporary)  # all others that arrived, by time

    def apply(self, wanted):
        """Record the differences in the `wanted` buckets, a set of numbers."""
        try:
            self._apply(wanted)
        finally:
            self._listed.close()
            self._others.close()

    def _apply(self, wanted):
        mailbox = self._mailbox
        highest = 0 if wanted else mailbox.uid_list.lines(()).highest
        for share in shares(mailbox, wanted) if wanted else ():
            highest = share.highest
            if share.listing.odd:
                mend(share.listing)
            self._take(_Comparison(mailbox, share), share.lines)
        uidnext = max(mailbox.row.uidnext, highest + 1)
        arrived = self._listed.count + self._others.count
        if arrived:
            self._raise_ceilings(uidnext + arrived)
            uidnext = self._add_arrived(uidnext)
            mailbox.account.wake_idle_work(has_mail=True)
        if self._changed:
            mailbox.save_locked(uidnext=uidnext, modseq=self._modseq)
            mailbox.reload_locked()
        elif uidnext != mailbox.row.uidnext:
            mailbox.save_locked(uidnext=uidnext)

    def _take(self, share, lines):
        """Record what is missing and changed; write the names that arrived to temporary files.

        `share`: a _Comparison; `lines`: `{name: uid}` of the UID list.
        """
        if share.missing or share.changed:
            self._raise_ceilings(self._mailbox.row.uidnext)
            box = self._mailbox.row.id
            self._index.remove_messages(box, [row[0] for row in share.missing], self._modseq)
            self._index.set_flags(box, [(fresh, letters, self._modseq, uid)
                                        for fresh, letters, uid in share.changed])
            self._changed = True
        floor, look = self._floor, self._mailbox.account.look_locked
        for some in batches(look, share.arrived.items()):
            places = [(name, "" if letters is None else ":" + letters) for name, letters in some]
            self._listed.extend(["%010d\0%s\0%s" % (lines[name], name, place)
                                 for name, place in places if lines.get(name, 0) >= floor])
            self._others.extend([_by_time(name, place)
                                 for name, place in places if lines.get(name, 0) < floor])

    def _raise_ceilings(self, top):
        """Raise the UID list's ceilings, if UIDs below `top` or the new mod-sequence need it."""
        mailbox, header = self._mailbox, self._mailbox.uid_list.header
        if top > header.uid_ceiling or self._modseq >= header.modseq_ceiling:
            first = mailbox.row.uidnext
            mailbox.uid_list.raise_ceilings(first, top - first, self._modseq,
                                            mailbox.account.marker, mailbox.row.guid)

    def _add_arrived(self, uidnext):
        """Add what arrived; new UIDs start at `uidnext`. Returns the new UIDNEXT."""
        last = 0
        for lines in _slices(self._listed):
            numbered = []
            for line in lines:
                key, name, place = line.split("\0")
                if int(key) == last:  # two names with one UID
                    self._others.extend([_by_time(name, place)])
                else:
                    last = int(key)
                    numbered.append((last, name, place))
            self._add(numbered)
            self._index.derived.forget_derived(self._mailbox.row.id, numbered[0][0])
        for lines in _slices(self._others):
            numbered = [(uid, name, place) for uid, (_, name, place) in enumerate(
                (line.split("\0") for line in lines), uidnext)]
            uidnext += len(numbered)
            self._mailbox.uid_list.append([each[:2] for each in numbered])
            self._add(numbered)
        self._changed = True
        return uidnext

    def _add(self, numbered):
        """Add the messages [(uid, name, place)]. `place`: ":" and the letters of a file in cur, ""
        for one in new."""
        self._mailbox.account.look_locked()
        self._index.add_unmeasured(self._mailbox.row.id, [
            (uid, name, 0 if place else 1, place[1:]) for uid, name, place in numbered],
            self._modseq)
        if self._columns is not None and numbered:
            count, flags_of = len(numbered), self._mailbox.flag_letters.flags
            self._columns.extend(
                [uid for uid, _, _ in numbered], [flags_of(place[1:]) for _, _, place in numbered],
                [self._modseq] * count, [UNKNOWN] * count, [UNKNOWN] * count)


def _by_time(name, place):
    """A line for `_others`: it begins with the epoch seconds with which the file name begins, 0 if
    it does not begin with a number."""
    seconds = name.partition(".")[0]
    if not seconds.isdigit():
        seconds = ""
    elif len(seconds) > _DIGITS:
        seconds = _DIGITS * "9"
    return "%s\0%s\0%s" % (seconds.zfill(_DIGITS), name, place)


def _slices(lines):
    """An iterator of lists of at most _SLICE lines."""
    lines = iter(lines)
    return iter(lambda: list(itertools.islice(lines, _SLICE)), [])
