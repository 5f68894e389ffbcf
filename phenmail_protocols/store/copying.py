"""COPY and MOVE, and the move of all messages when INBOX is renamed.

A copy is a second link to the same file, with a new name and a new UID.

The functions with a `mailbox` whose names do not end in `_locked` are methods of Mailbox.
"""
import os

from . import adding, errors, expunging, flags
from .maildir import files
from .maildir.filenames import path_of, size_fields, unique_name
from .model import Copied


def copy(mailbox, uids, target_name, look=lambda: None):
    """Copy `uids` (ascending) into another mailbox, durably: all or none.

    Returns Copied; raises errors.NotFound for the target, and errors.OverQuota. A keyword for which
    the target has no letter is left out. A keyword that cannot be written to a full disk is an
    error: if the caller then removed the original, the keyword would be lost. `look()` is called
    for each message; if it raises, everything is undone.
    """
    limit = mailbox.account.quota.limit_for_addition()
    if limit is not None:
        mailbox.rows(uids)  # measures them
    copied, _, warns = _copy(mailbox, uids, target_name, look, limit)
    if warns:
        mailbox.account.quota.warn(limit)
    return copied


def _copy(mailbox, uids, target_name, look=lambda: None, limit=None):
    """(Copied, the target, whether to warn the user that the account is nearly full)."""
    warns = False
    with mailbox.account.writing():
        mailbox.ready_locked()
        target = mailbox.account.mailbox_locked(target_name)
        target.ready_locked()
        rows = mailbox.account.index.select(mailbox.row.id, uids)
        if limit is not None:
            warns = mailbox.account.quota.room_locked().take(
                limit, sum(max(0, row.size) for row in rows), len(rows))
        copies = _copy_locked(mailbox, rows, target, look)
        copied = Copied(target.row.uidvalidity, [(row.uid, copy.uid) for row, copy in copies])
    try:
        for fresh in {copy.fresh for _, copy in copies}:
            target.sync(fresh)
    except errors.StoreError:
        target.take_back([copy.uid for _, copy in copies])
        raise
    return copied, target, warns


def move(mailbox, uids, target_name):
    """Copy, durably, then remove the originals; returns Copied. This needs no room in the quota.

    If an original cannot be removed, its copy is removed instead.
    """
    copied, target, _ = mailbox.account.despite_full_disk(lambda: _copy(mailbox, uids, target_name))
    sources = [uid for uid, _ in copied.pairs]
    try:
        stays = set(sources).difference(mailbox.remove(sources))
        if stays:  # some of these may have been removed by another session
            stays.intersection_update(mailbox.rows(sorted(stays)).uids)
    except errors.StoreError:
        target.take_back([copy for _, copy in copied.pairs])
        raise
    if stays:
        target.take_back([copy for uid, copy in copied.pairs if uid in stays])
    return copied._replace(pairs=[pair for pair in copied.pairs if pair[0] not in stays])


def move_locked(mailbox, rows, target):
    """Move messages: all of them, or none if the transaction fails."""
    copies = _copy_locked(mailbox, rows, target)
    for fresh in {copy.fresh for _, copy in copies}:
        target.sync(fresh)
    modseq = mailbox.number_locked(0)[1]
    for row, _ in copies:
        files.remove(mailbox.path, [row])  # on failure `undo_link` makes it again from the copy
    gone = [row.uid for row, _ in copies]
    expunging.record_locked(mailbox, gone, modseq)
    expunging.forget_locked(mailbox, gone)


def _copy_locked(mailbox, rows, target, look=lambda: None):
    """Link messages into `target`: [(source row, new row)].

    A message whose file is gone is left out. The caller syncs the target. `look()` is called twice
    for each message.
    """
    def put(source, path):
        look()
        files.link(source, path)

    sources = []
    finder = files.Finder(mailbox.path)
    for row in rows:
        look()
        path = path_of(mailbox.path, row)
        found = (path,) if os.path.exists(path) else finder.find(row)
        if found:
            sources.append((row, found[0]))
    if not sources:
        return []
    kinds = list({row.letters for row, _ in sources})
    if any(not kind.isupper() for kind in kinds if kind):
        flags.read_letters_locked(mailbox)
    letters = dict(zip(kinds, flags.letters_locked(
        target, list(map(mailbox.flag_letters.flags, kinds)))))
    copies = adding.add_locked(target, [
        adding.Arrival(unique_name() + size_fields(row.name), letters[row.letters], row.size,
                       row.date, path, put, files.undo_link)
        for row, path in sources])
    return [(row, copy) for (row, _), copy in zip(sources, copies)]
