"""New messages get their UIDs and their places in a mailbox.

The order inside the transaction: assign UIDs below the synced ceiling; append their lines to the
UID list; write the rows to the index; rename or link the files into new or cur. After a crash
before the commit, a file keeps the UID of its line, and a line without a file is ignored. The
caller syncs the folder after the commit, and only then replies.
"""
import os
from typing import Any, NamedTuple

from .indexing.index import MessageRow
from .maildir import files, together, tree
from .maildir.filenames import path_of, relative_path


class Arrival(NamedTuple):
    """A message that gets a UID. `put(source, path)` moves its file into the mailbox, and
    `put_back(path, source)` undoes that."""
    name: str
    letters: str
    size: int
    date: int
    source: str
    put: Any
    put_back: Any


def add_staged_locked(mailbox, staged, letters, at_once):
    """Add synced Staged messages, each with its letters; returns their MessageRows.

    `at_once`: a process that is killed adds all of them or none.
    """
    return add_locked(mailbox, [
        Arrival(each.name_for_life(), own, each.size, each.date, each.path,
                os.rename, files.undo_rename)
        for each, own in zip(staged, letters)], at_once)


def add_locked(mailbox, arrivals, at_once=False):
    """Add Arrivals; returns their MessageRows. `at_once`: as in `add_staged_locked`."""
    account = mailbox.account
    uid, modseq = mailbox.number_locked(len(arrivals))
    rows = [MessageRow(uid + number, each.name, 0 if each.letters else 1,
                       each.letters, each.size, each.date, modseq)
            for number, each in enumerate(arrivals)]
    mailbox.uid_list.append([(row.uid, row.name) for row in rows])
    account.index.add_messages(mailbox.row.id, rows)
    if at_once:
        _record(mailbox, rows)
    for row, each in zip(rows, arrivals):
        path = path_of(mailbox.path, row)
        _put(mailbox, each, path)
        account.transaction.on_failure(each.put_back, path, each.source)
    if at_once:  # before the record is removed
        for fresh in {row.fresh for row in rows}:
            mailbox.sync(fresh)
    inode, size = mailbox.uid_list.written_stamp()
    mailbox.save_locked(uidnext=uid + len(rows), modseq=modseq, list_inode=inode, list_size=size)
    if mailbox.columns is not None:
        for row in rows:
            mailbox.columns.append(row.uid, mailbox.flag_letters.flags(row.letters), row.modseq,
                                   row.size, row.date)
    mailbox.log_locked(added=[row.uid for row in rows])
    account.wake_idle_work(has_mail=True)
    return rows


def _record(mailbox, rows):
    """Write the record of maildir/together.py; the transaction's end removes it."""
    account = mailbox.account
    account.transaction.on_failure(together.end, account.tree)
    together.begin(account.tree, mailbox.folder,
                   [relative_path(row.fresh, row.name, row.letters) for row in rows])
    account.transaction.afterwards(together.end, account.tree)


def _put(mailbox, arrival, path):
    try:
        arrival.put(arrival.source, path)
    except FileNotFoundError:
        if tree.is_whole(mailbox.path):
            raise
        tree.make_maildir(mailbox.path)  # another program removed an empty part
        arrival.put(arrival.source, path)
