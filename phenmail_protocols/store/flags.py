"""Changing flags: STORE, and the letters that stand for flags and keywords in file names.

The functions with a `mailbox` whose names do not end in `_locked` are methods of Mailbox.
"""
import logging

from . import errors
from .maildir import files
from .maildir.keywords import in_log
from .model import FlagsChanged

log = logging.getLogger("phenmail.store")


def letters_locked(mailbox, wanted, despite_faults=False):
    """The letters for each of `wanted`, collections of flags.

    Call it once for all flags that a transaction sets: a letter that no message has yet may go to
    another keyword at the next call. A keyword for which no letter is free gets none. With
    `despite_faults` neither does a new keyword that cannot be written to the disk.
    """
    flags = dict.fromkeys(flag for each in wanted for flag in each)
    if any(not flag.startswith("\\") for flag in flags):
        read_letters_locked(mailbox)
        missing = mailbox.flag_letters.missing(flags)
        if missing:
            try:
                mailbox.flag_letters.add(
                    missing, flags, mailbox.account.index.letters(mailbox.row.id))
            except OSError as error:
                if not despite_faults:
                    raise
                log.warning("%s: cannot write the keywords %s, so they are not stored: %s",
                            mailbox.path, in_log(missing), error)
    return [mailbox.flag_letters.letter_each(each) for each in wanted]


def read_letters_locked(mailbox):
    """Make sure that the letters' meaning is known; raises errors.Unavailable."""
    if mailbox.flag_letters.read():  # another program added keywords
        mailbox.reload_locked()
    if mailbox.flag_letters.unknown:
        raise errors.Unavailable()


def change_flags(mailbox, uids, mode, flags, unchanged_since=None):
    """Add, remove or replace flags of `uids` (ascending).

    `mode`: "add", "remove", "replace"; `unchanged_since`: leave messages with a newer mod-sequence
    alone. Returns FlagsChanged. A keyword that cannot be kept is left out.
    """
    return mailbox.account.despite_full_disk(
        lambda: _change_flags(mailbox, uids, mode, flags, unchanged_since))


def _change_flags(mailbox, uids, mode, flags, unchanged_since):
    with mailbox.account.writing():
        mailbox.ready_locked()
        if mode == "replace" or any(not flag.startswith("\\") for flag in flags):
            read_letters_locked(mailbox)  # or keywords that others added would not be replaced
        if mode == "remove":
            letters, left_out = set(mailbox.flag_letters.letters(flags)), ()
        else:
            letters = set(letters_locked(mailbox, [flags], despite_faults=True)[0])
            left_out = tuple(mailbox.flag_letters.missing(flags))
        rows = mailbox.account.index.select(mailbox.row.id, uids)
        failed = []
        if unchanged_since is not None:
            failed = [row.uid for row in rows if row.modseq > unchanged_since]
            rows = [row for row in rows if row.modseq <= unchanged_since]
        return FlagsChanged(_set_letters_locked(mailbox, rows, mode, letters), failed, left_out)


def _set_letters_locked(mailbox, rows, mode, letters):
    """Change the letters of `rows`; returns the UIDs of those that changed."""
    known = {}
    work = []
    for row in rows:
        new = known.get(row.letters)
        if new is None:
            new = known[row.letters] = files.combine(mode, row.letters, letters)
        if new != row.letters:
            work.append((row, new))
    if not work:
        return []
    account = mailbox.account
    modseq = mailbox.number_locked(0)[1]
    relabelling = files.Relabelling(mailbox.path, mode, letters, lambda: mailbox.sync(fresh=0))
    account.transaction.on_failure_each(files.undo_rename, relabelling.renamed)
    done = relabelling.run(work)
    if relabelling.surprised:
        mailbox.scanned = None
    account.index.set_flags(mailbox.row.id, [(0, new, modseq, row.uid) for row, new in done])
    mailbox.save_locked(modseq=modseq)
    if mailbox.columns is not None:
        mailbox.columns.set_flags(
            [(row.uid, mailbox.flag_letters.flags(new)) for row, new in done], modseq)
    changed = [row.uid for row, _ in done]
    mailbox.log_locked(changed=changed)
    return changed
