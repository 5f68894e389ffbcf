"""Measures messages that other programs put into a mailbox: their sizes and dates.

SELECT needs only the names of files. So a message that was found by listing has the size UNKNOWN in
the index and in the columns. It is measured when its size or its octets are first needed. From then
on its size is fixed; no client has received another one.

If a file turns out not to be a readable message, it is removed from the index again.
"""
import errno
import logging
import os
import stat

from .. import errors, expunging
from ..indexing.index import UNKNOWN
from ..maildir import files
from ..maildir.content import served_size
from ..maildir.filenames import path_of, wire_size

_BATCH = 500  # messages that are measured between two transactions
# Errors that the server's state causes, not the file. They are temporary, so the file stays in the
# index.
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.ESTALE}
_user = getattr(os, "geteuid", lambda: 0)
log = logging.getLogger("phenmail.store")


def is_measured(row):
    """Whether a MessageRow has its size and date."""
    return row.size > UNKNOWN


def complete(mailbox, rows, look=lambda: None):
    """`rows` (a model.Rows) with all sizes and dates; messages whose files are gone are left
    out."""
    if not len(rows.sizes) or min(rows.sizes) > UNKNOWN:
        return rows
    todo = [uid for uid, size in zip(rows.uids, rows.sizes) if size <= UNKNOWN]
    found = {}
    for start in range(0, len(todo), _BATCH):
        look()
        found.update(measure(mailbox, todo[start:start + _BATCH]))
    known = [each if each[3] > UNKNOWN else each[:3] + found[each[0]]
             for each in zip(rows.uids, rows.flags, rows.modseqs, rows.sizes, rows.dates)
             if each[3] > UNKNOWN or each[0] in found]
    return type(rows)(*map(list, zip(*known))) if known else type(rows)([], [], [], [], [])


def measure_all(mailbox, look=lambda: None):
    """Measure all messages of a mailbox that were not measured yet."""
    last = 0
    while True:
        look()
        with mailbox.account.reading():
            uids = mailbox.account.index.unmeasured(mailbox.row.id, last, _BATCH)
        if not uids:
            return
        measure(mailbox, uids)
        last = uids[-1]


def measure(mailbox, uids):
    """-> `{uid: (size, date)}`. Messages that were not measured yet are measured now.

    `uids`: ascending. Messages that are gone are left out. The lock is not held while files are
    read.
    """
    with mailbox.account.reading():
        rows = mailbox.account.index.select(mailbox.row.id, uids)
    found, bad, finder = {}, [], files.Finder(mailbox.path)
    for row in rows:
        if is_measured(row):
            found[row.uid] = row.size, row.date
            continue
        try:
            measured = _measure(mailbox, row, finder)
        except OSError as error:
            if error.errno in _PASSING:
                raise errors.from_os(error) from error
            log.warning("%s: cannot be read, so the mailbox is shown without this message: %s",
                        path_of(mailbox.path, row), error)
            bad.append(row.uid)
            continue
        if measured is not None:
            found[row.uid] = measured
    new = {row.uid: found[row.uid] for row in rows
           if not is_measured(row) and row.uid in found}
    record(mailbox, new, bad)
    return found


def record(mailbox, sizes, bad=()):
    """Record `sizes`, {uid: (size, date)}; remove the messages `bad` from the index."""
    try:
        with mailbox.account.writing():
            mailbox.ready_locked()
            index = mailbox.account.index
            mailbox.measured_locked(sizes)
            bad = [row.uid for row in index.select(mailbox.row.id, bad)]
            if bad:
                expunging.record_locked(mailbox, bad, mailbox.number_locked(0)[1])
                expunging.forget_locked(mailbox, bad)
    except errors.NoSpace:
        pass  # they are measured again when they are needed next


def _measure(mailbox, row, finder):
    """(size, date) of a message's file, or None if it is gone."""
    path = path_of(mailbox.path, row)
    try:
        return measure_file(path, row.name)
    except FileNotFoundError:  # its flags may have changed since the listing
        found = finder.find(row)
    try:
        return measure_file(found[0], row.name) if found else None
    except FileNotFoundError:
        return None


def measure_file(path, name):
    """`(size as served, date)` of a file that another program put there.

    The file is read only if its name does not contain both sizes (`,S=`, `,W=`), or if `,S=` is not
    the size of the file. Raises OSError, also if it is not a regular file.
    """
    mode, _, _, _, owner, _, octets, _, modified, _ = os.lstat(path)
    size, user = None, _user()
    # Is the file certainly readable by us?
    if stat.S_ISREG(mode) and (user == 0 or owner == user and mode & stat.S_IRUSR):
        size = wire_size(name, octets)
    return served_size(path) if size is None else size, modified
