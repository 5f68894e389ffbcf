"""Updates the index from the files of a mailbox.

The Maildir is the truth. Other programs put files into it, rename them (flags) and remove them. A
crash may leave a file without a row in the index, or a line in the UID list without a file. A
rescan finds all of this by comparing names.

When a rescan is due: the mailbox's row in the index has the mtimes that `new` and `cur` had when
they were listed, and the inode and size of the UID list. If the mtimes are different now, the
folder must be listed. A change in the same tick of the file system's clock as the listing does not
change the mtime. So a folder that was written less than GRAIN before it was listed is listed once
more later.

What a rescan does, in a transaction:

1. If the UID list is not the one that the row names, it is read. If it is lost, it is rebuilt from
   the index. If its UIDVALIDITY is higher than the row's, another program recreated the mailbox:
   the row is removed and the folder is adopted.
2. The names in the folder and in the index are compared by their hashes, in buckets
   (maildir/buckets.py). After our own changes they are equal, and only the mtimes are recorded.
3. Where they differ, the folder is listed, odd names are mended, and the names are compared with
   the rows: messages are missing, changed, or have arrived (differences.py).
4. A missing message may only have been renamed while the folder was listed, so a second listing
   decides. A missing and an arrived name that differ only in `,U=` (mbsync) are one message.
5. An arrived file gets the UID of its line in the UID list, unless that is below the row's UIDNEXT:
   then a session may have seen later UIDs, and the file gets a new one. All UIDs are below the
   synced ceiling.
6. The changes are recorded in the index, with a new mod-sequence, and in memory. Sizes and dates
   are measured when they are first needed (measuring.py).

A folder that the index does not know is adopted: it gets a row, with the UIDs of its list if it has
one. Numbering then resumes past the list's ceilings.
"""
import time

from ..columns import Columns
from ..errors import NotFound
from ..indexing import numbering
from ..indexing.index import MailboxRow
from ..maildir import buckets
from ..maildir.filenames import INFO
from ..maildir.listing import file_names, mtimes
from ..maildir.tree import make_maildir
from ..maildir.uidlist import BLOCK, Header, new_guid
from .differences import Differences
from .shares import looking

GRAIN = 2.0  # seconds; the coarsest clock is FAT's


def is_due(mailbox):
    """Must the folder be listed? Raises FileNotFoundError if it is gone."""
    times = mtimes(mailbox.path)
    if times == (mailbox.row.new_time, mailbox.row.cur_time):
        return False
    return mailbox.scanned != times or time.time() - max(times) / 1e9 > GRAIN


def adopt(mailbox, load=False):
    """Add the index row of a folder that the index does not know; with `load`, its columns too."""
    account = mailbox.account
    header = mailbox.uid_list.read()
    is_new = header is None
    if is_new:
        header = Header(
            numbering.new_uidvalidity(account.folder, account.index), 1, 1 + BLOCK, 1 + BLOCK,
            account.marker, new_guid())
        mailbox.uid_list.replace(header, [])
    mailbox.check_uidvalidity_locked(header.uidvalidity)
    mailbox.row = account.index.add_mailbox(MailboxRow(
        0, mailbox.folder, header.uidvalidity, 1, 1, 1, 0, 0, 0, 0,
        _unique_guid(mailbox, header.guid)))
    if not is_new:
        mailbox.row = numbering.resume(account.index, mailbox.row, mailbox.uid_list, account.marker)
    columns = Columns() if load and mailbox.columns is None else None
    rescan(mailbox, adopting=True, columns=columns)
    mailbox.reload_locked()  # `rescan` does this only if it finds a file
    if not is_new:  # its messages were announced as \Recent long ago
        mailbox.save_locked(recent=mailbox.row.uidnext)
    if columns is not None:
        mailbox.columns = columns


def _unique_guid(mailbox, guid):
    """`guid`; a new one if it is empty, or if another mailbox has it, of which this is a copy."""
    account = mailbox.account
    others = account.index.folders_with_guid(guid) if guid else []
    if not guid or any(account.tree.has(folder) for folder in others):
        return new_guid()
    return guid


def rescan(mailbox, adopting=False, columns=None):
    """List the folder and apply the differences.

    `adopting`: the row is new, so all UIDs of the list are used, although they may be below its
    UIDNEXT. `columns`: Columns that get all messages, None if they are not wanted.
    """
    has_list = not adopting and _has_list(mailbox)
    if not has_list and not _prepare(mailbox):
        return
    if mailbox.flag_letters.read():
        mailbox.reload_locked()
    when = time.time()
    times = mtimes(mailbox.path)
    wanted = buckets.ALL if adopting else _differing(mailbox, times, has_list)
    if has_list and wanted and not _prepare(mailbox):
        return
    if wanted or not has_list:
        Differences(mailbox, 1 if adopting else mailbox.row.uidnext, columns).apply(wanted)
    _note_times(mailbox, times, when)


def _prepare(mailbox):
    """Read the UID list, and create missing parts of the folder.

    Returns False if another program recreated the mailbox; then it has been adopted.
    """
    if mailbox.account.tree.leads_away(mailbox.path):
        raise NotFound()
    if not _read_list(mailbox):
        adopt(mailbox)
        return False
    if mailbox.account.tree.has(mailbox.folder) or not mailbox.folder:
        make_maildir(mailbox.path)  # backups may leave out empty folders
    return True


def _has_list(mailbox):
    """Is the UID list the one that the row reflects, and open?"""
    stamp = mailbox.row.list_inode, mailbox.row.list_size
    return mailbox.uid_list.stamp() == stamp and mailbox.uid_list.is_open(*stamp)


def _differing(mailbox, times, has_list):
    """The buckets in which the names in the folder are not those of the index. With `has_list`,
    parts of the folder that have not changed since they were listed are not compared."""
    row, wanted = mailbox.row, set()
    for part, fresh, time_now, noted in (("new", 1, times[0], row.new_time),
                                         ("cur", 0, times[1], row.cur_time)):
        if time_now != noted or not has_list:
            wanted |= _differing_part(mailbox, part, fresh)
    return wanted


def _differing_part(mailbox, part, fresh):
    def listed():
        return looking(mailbox.account.look_locked, file_names(mailbox.path, part))

    def known():
        return looking(mailbox.account.look_locked, mailbox.account.index.file_names(
            mailbox.row.id, fresh, "" if fresh else INFO))
    # If this server changed the mailbox, probably no other program did; then the sums are equal.
    if (mailbox.scanned_modseq != mailbox.row.modseq
            and buckets.sum_of(listed()) == buckets.sum_of(known())):
        return set()
    return buckets.differing(buckets.print_of(listed()), buckets.print_of(known()))


def _read_list(mailbox):
    """Open the UID list; rebuild it if it is lost or older than the index.

    Returns False if its UIDVALIDITY is higher than the index's: the mailbox was recreated. Raises
    errors.NotFound if a session has the old one open.
    """
    row, index = mailbox.row, mailbox.account.index
    header = mailbox.uid_list.read()
    if header is not None and header.uidvalidity == row.uidvalidity:
        if header.guid != row.guid:
            mailbox.uid_list.raise_ceilings(0, 0, 0, header.marker, row.guid)
        return True
    if header is not None and header.uidvalidity > row.uidvalidity:
        mailbox.check_uidvalidity_locked(header.uidvalidity)
        index.remove_mailbox(row.id)
        mailbox.row = None
        return False
    mailbox.uid_list.replace(
        Header(row.uidvalidity, row.uidnext, row.uidnext + BLOCK, row.modseq + BLOCK,
               mailbox.account.marker, row.guid),
        (message[:2] for message in index.messages(row.id)))
    return True


def _note_times(mailbox, times, when):
    """Note the mtimes of the folder as it was listed at the time `when`, except mtimes that are so
    recent that another change may not alter them."""
    mailbox.scanned, mailbox.scanned_modseq = times, mailbox.row.modseq
    mailbox.compact_list_locked()
    stamp = mailbox.uid_list.stamp()
    noted = tuple(each if when - each / 1e9 > GRAIN else 0 for each in times)
    row = mailbox.row
    if noted + stamp != (row.new_time, row.cur_time, row.list_inode, row.list_size):
        mailbox.save_locked(new_time=noted[0], cur_time=noted[1],
                            list_inode=stamp[0], list_size=stamp[1])
