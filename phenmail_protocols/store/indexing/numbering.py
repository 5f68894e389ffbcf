"""Numbers that are never used twice: UIDVALIDITY, UIDs and mod-sequences.

(mailbox, UIDVALIDITY, UID) names the same bytes forever. UIDs are assigned under the account's lock
from the mailbox's row in the index, below the ceiling of its UID list (maildir/uidlist.py). The
functions here skip every number that may have been assigned and is no longer known:

* after a power failure, or if the index was lost, such numbers are below the ceilings;
* in a restored or copied folder, they may be above the ceilings;
* if the UID list is lost, the ceilings are unknown, so the numbers jump far ahead.
"""
import logging
import os
import re
import time

from ...disk import atomic

_JUMP = 1 << 20  # more numbers than are assigned between two backups
# If only the marker's ctime changed, files were restored in place, or all of them were chowned. The
# latter may happen at each start of the server, so this jump is shorter.
_SHORT_JUMP = 1 << 16
_EPOCH = 1577836800  # 2020: seconds since then fit into a UID until 2087
_LAST = "dovecot-uidvalidity"
log = logging.getLogger("phenmail.store")


def new_uidvalidity(folder, index):
    """A UIDVALIDITY that no mailbox of the account ever had.

    The last one is in the index, and also in the name of an empty file, as Dovecot does it
    (`dovecot-uidvalidity.` and eight hexadecimal digits), in case the index is lost.
    """
    noted = [int(name[-8:], 16) for name in os.listdir(folder)
             if re.match(_LAST + "\\.[0-9a-f]{8}$", name)]
    last = max([int(index.value("uidvalidity", 0))] + noted
               + [row.uidvalidity for row in index.mailboxes()])
    value = max(int(time.time()), last + 1) & 0xFFFFFFFF
    stem = os.path.join(folder, _LAST)
    new = "%s.%08x" % (stem, value)
    if noted:
        os.rename("%s.%08x" % (stem, max(noted)), new)
        atomic.sync_directory(folder)
    else:
        atomic.write_file(new, b"")
    index.set_value("uidvalidity", value)
    return value


def resume(index, row, uid_list, marker):
    """Skip every number of a mailbox that may have been assigned; returns its new row.

    `marker`: the mail folder's; a copied list has another one.
    """
    uidnext = max(row.uidnext, uid_list.header.uid_ceiling)
    modseq = max(row.modseq, uid_list.header.modseq_ceiling)
    if uid_list.is_copy(marker):
        jump = _SHORT_JUMP if uid_list.has_inode_of(marker) else _JUMP
        # A backup may be restored twice. The second time must not repeat numbers of the first time.
        uidnext = max(uidnext + jump, int(time.time()) - _EPOCH)
        modseq = max(modseq + jump, int(time.time() * 1000))
        log.warning("%s: this mail folder was restored or copied; new messages get UIDs from %d on",
                    uid_list.path, uidnext)
    uid_list.raise_ceilings(uidnext, 0, modseq, marker, row.guid)
    index.touch_messages(row.id, modseq)
    index.expunged.forget(row.id, modseq)
    row = _to_be_listed(row, uidnext, modseq)
    index.update_mailbox(row)
    return row


def resume_without_list(index, row):
    """`resume` for a mailbox whose UID list is lost."""
    index.touch_messages(row.id, row.modseq + _JUMP)
    index.expunged.forget(row.id, row.modseq + _JUMP)
    index.update_mailbox(_to_be_listed(row, row.uidnext + _JUMP, row.modseq + _JUMP))


def _to_be_listed(row, uidnext, modseq):
    """The row with these numbers, changed so that the folder is listed again."""
    return row._replace(uidnext=uidnext, modseq=modseq, list_inode=0, list_size=0,
                        new_time=0, cur_time=0)


def restore_lines(index, row, uid_list):
    """Append the lines that the UID list lost in a power failure and the index still has.

    Otherwise these UIDs would be lost if the index were deleted later. `resume` syncs the lines.
    """
    lines = uid_list.lines().uids
    lost = [message[:2] for message in index.messages(row.id)
            if lines.get(message[1]) != message[0]]
    if lost:
        uid_list.append(lost)
