"""Removing messages: EXPUNGE, POP3's QUIT, and undoing a failed addition.

A removed file cannot be restored. So the files are removed before the index rows, and once the
first file is removed, the transaction is settled. After a crash in between, the next listing
removes the rows without files. The other order would bring removed messages back as new ones.

The functions with a `mailbox` whose names do not end in `_locked` are methods of Mailbox.
"""
import logging

from . import errors
from .maildir import files

log = logging.getLogger("phenmail.store")


def expunge(mailbox, uids=None):
    """Remove messages with \\Deleted, of `uids` (ascending) or all.

    Returns the UIDs of the removed messages, ascending; a message whose file cannot be removed
    stays. Raises errors.StoreError if none could be removed.
    """
    def deleted(index):
        if uids is None:
            return index.with_letter(mailbox.row.id, "T")
        return [row for row in index.select(mailbox.row.id, uids) if "T" in row.letters]

    return _remove_selected(mailbox, deleted)


def remove(mailbox, uids):
    """Remove `uids` (ascending) whatever their flags; otherwise like `expunge`."""
    return _remove_selected(mailbox, lambda index: index.select(mailbox.row.id, uids))


def _remove_selected(mailbox, select):
    """Remove the messages of `select(index)`."""
    def work():
        with mailbox.account.writing():
            mailbox.ready_locked()
            return _remove_locked(mailbox, select(mailbox.account.index))

    return mailbox.account.despite_full_disk(work)


def take_back(mailbox, uids):
    """Remove messages that were added for a change that failed afterwards."""
    try:
        gone = set(remove(mailbox, uids))
    except errors.StoreError:
        gone = ()
    left = len([uid for uid in uids if uid not in gone])
    if left:
        log.error("%s: %d messages could not be removed and stay, although the client got an "
                  "error reply for them", mailbox.path, left)


def _remove_locked(mailbox, rows):
    if not rows:
        return []
    modseq = mailbox.number_locked(0)[1]
    gone = [row.uid for row in files.remove(mailbox.path, rows)]
    mailbox.account.transaction.settle(lambda: record_locked(mailbox, gone, modseq))
    forget_locked(mailbox, gone)
    return gone


def record_locked(mailbox, gone, modseq):
    """Remove messages from the index."""
    mailbox.account.index.remove_messages(mailbox.row.id, gone, modseq)
    mailbox.save_locked(modseq=modseq)


def forget_locked(mailbox, gone):
    """Remove messages from memory."""
    if mailbox.columns is not None:
        mailbox.columns.remove(set(gone))
    mailbox.log_locked(removed=gone)
