"""What changes a mailbox's messages: filing, flags, removal, copies.

Functions over a Mailbox whose account is being written to (account.py, rule
1); each changes files, index and memory together and logs what it did.
"""
import os
from typing import Any, NamedTuple

from . import maildir, moving
from .index import MessageRow


class _Arrival(NamedTuple):
    """A message that gets a UID; ``put(source, path)`` places its file, and
    ``back(path, source)`` undoes that."""
    name: str
    letters: str
    size: int
    date: int
    source: str
    put: Any
    back: Any


def select_locked(mailbox, uids):
    """The MessageRows of ``uids`` (ascending)."""
    return [MessageRow(*row) for row in
            mailbox.account.index.select(mailbox.row.id, uids)]


def add_locked(mailbox, staged, letters):
    """File synced Staged messages, each with its letters: their rows.

    The caller syncs after, and tells the Staged that they are delivered.
    """
    return _file_locked(mailbox, [
        _Arrival(each.sized_name(), own, each.size, each.date, each.path,
                 os.rename, moving.undo)
        for each, own in zip(staged, letters)])


def _file_locked(mailbox, arrivals):
    """Give ``arrivals`` their UIDs and put their files in place: rows."""
    account = mailbox.account
    uid, modseq = mailbox.number_locked(len(arrivals))
    rows = [MessageRow(uid + number, each.name, 0 if each.letters else 1,
                       each.letters, each.size, each.date, modseq)
            for number, each in enumerate(arrivals)]
    mailbox.list.append([(row.uid, row.name) for row in rows])
    account.index.add_messages(mailbox.row.id, rows)
    for row, each in zip(rows, arrivals):
        path = moving.where(mailbox.path, row)
        _put(mailbox, each, path)
        account.guard.undo_locked(each.back, path, each.source)
    inode, size = mailbox.list.left()
    mailbox.save_locked(uidnext=uid + len(rows), modseq=modseq,
                        list_inode=inode, list_size=size)
    _appeared_locked(mailbox, rows)
    return rows


def _put(mailbox, arrival, path):
    try:
        arrival.put(arrival.source, path)
    except FileNotFoundError:
        if maildir.is_whole(mailbox.path):
            raise
        maildir.make(mailbox.path)  # another program removed an empty part
        arrival.put(arrival.source, path)


def _appeared_locked(mailbox, rows):
    if mailbox.columns is not None:
        for row in rows:
            mailbox.columns.append(
                row.uid, mailbox.letters.flags(row.letters), row.modseq,
                row.size, row.date)
    mailbox.log_locked(added=[row.uid for row in rows])


def set_letters_locked(mailbox, rows, mode, letters):
    """Change the letters of ``rows``: the UIDs that have others now.

    ``mode``: "add", "remove" or "replace"; ``letters``: a set.
    """
    known = {}
    work = []
    for row in rows:
        new = known.get(row.letters)
        if new is None:
            new = known[row.letters] = moving.combine(
                mode, row.letters, letters)
        if new != row.letters:
            work.append((row, new))
    if not work:
        return []
    modseq = mailbox.number_locked(0)[1]
    relabelling = moving.Relabelling(
        mailbox.path, mode, letters, lambda: mailbox.sync(fresh=0),
        mailbox.account.guard.made_locked)
    done = relabelling.run(work)
    if relabelling.surprised:
        mailbox.scanned = None
    mailbox.account.index.set_flags(mailbox.row.id, [
        (0, new, modseq, row.uid) for row, new in done])
    mailbox.save_locked(modseq=modseq)
    if mailbox.columns is not None:
        for row, new in done:
            position = mailbox.columns.position(row.uid)
            if position >= 0:
                mailbox.columns.set_flags(
                    position, mailbox.letters.flags(new), modseq)
    changed = [row.uid for row, _ in done]
    mailbox.log_locked(changed=changed)
    return changed


def remove_locked(mailbox, rows):
    """Remove messages for good: their UIDs, ascending.

    A file that is gone can't be had back: from the first of them on the
    transaction holds, and messages whose file can't be removed stay. Raises
    OSError where that is the first, and nothing has changed.
    """
    if not rows:
        return []
    modseq = mailbox.number_locked(0)[1]
    # Files first: after a crash between the two a row without its file goes
    # at the next listing, but a file without its row would come back.
    gone = [row.uid for row in moving.remove(mailbox.path, rows)]
    mailbox.account.guard.settle_locked(
        lambda: _note_removal(mailbox, gone, modseq))
    _forget_locked(mailbox, gone)
    return gone


def _note_removal(mailbox, gone, modseq):
    mailbox.account.index.remove_messages(mailbox.row.id, gone, modseq)
    mailbox.save_locked(modseq=modseq)


def move_locked(mailbox, rows, target):
    """Copy ``rows`` into ``target``, durably, then remove them here: all of
    them, or none if the transaction fails, as a copy has the same file."""
    copies = copy_locked(mailbox, rows, target)
    for fresh in {copy.fresh for _, copy in copies}:
        target.sync(fresh)
    modseq = mailbox.number_locked(0)[1]
    for row, _ in copies:
        moving.remove(mailbox.path, [row])  # ``undo_link`` brings it back
    gone = [row.uid for row, _ in copies]
    _note_removal(mailbox, gone, modseq)
    _forget_locked(mailbox, gone)


def _forget_locked(mailbox, gone):
    if mailbox.columns is not None:
        mailbox.columns.remove(set(gone))
    mailbox.log_locked(removed=gone)


def left(uids, gone):
    """The set of those of ``uids`` that are not among ``gone``."""
    return set(uids).difference(gone)


def copy_locked(mailbox, rows, target, look=lambda: None):
    """Link messages into ``target``: [(source row, new row)].

    One whose file is gone is left out. The caller syncs the target.
    ``look()`` is called twice a message.
    """
    def put(source, path):
        look()
        moving.link(source, path)
    sources = []
    finder = moving.Finder(mailbox.path)
    for row in rows:
        look()
        path = moving.where(mailbox.path, row)
        found = (path,) if os.path.exists(path) else finder.find(row)
        if found:
            sources.append((row, found[0]))
    if not sources:
        return []
    kinds = list({row.letters for row, _ in sources})
    if any(not kind.isupper() for kind in kinds if kind):
        mailbox.read_letters_locked()
    letters = dict(zip(kinds, target.letters_locked(
        list(map(mailbox.letters.flags, kinds)))))
    new = _file_locked(target, [
        _Arrival(maildir.unique_name() + maildir.sizes(row.name),
                 letters[row.letters], row.size, row.date, path, put, moving.undo_link)
        for row, path in sources])
    return [(row, copy) for (row, _), copy in zip(sources, new)]
