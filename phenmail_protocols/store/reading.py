"""Reading messages: their rows (flags, sizes, dates) and their octets.

The functions are methods of Mailbox.
"""
from . import errors
from .maildir import files as message_files
from .maildir.content import Content
from .maildir.filenames import path_of
from .rescanning import measuring

_BATCH = 256  # messages whose file names are looked up at once
_ROWS = 5000  # messages whose rows are held at once
_BIG = 262144  # octets; read positions in larger messages are remembered


def all_rows(mailbox, look=lambda: None):
    """Yield Rows that together have all messages, by UID; `look()` is called in between."""
    for rows in mailbox.all_flag_rows(look):
        yield measuring.complete(mailbox, rows, look)


def all_flag_rows(mailbox, look=lambda: None):
    """As `all_rows`, but the sizes and dates may be unknown, as in `flag_rows`."""
    state = mailbox.state()
    for start in range(0, state.count, _ROWS):
        look()
        yield mailbox.flag_rows(state.uids[start:min(start + _ROWS, state.count)])


def rows(mailbox, uids):
    """The Rows of `uids` (ascending); those that do not exist are left out."""
    return measuring.complete(mailbox, mailbox.flag_rows(uids))


def existing(mailbox, uids):
    """Those of `uids` (ascending) that exist."""
    with mailbox.account.reading():
        mailbox._ready_to_read()
        return mailbox.columns.existing(uids)


def flag_rows(mailbox, uids):
    """As `rows`, but the sizes and dates may be unknown (UNKNOWN): no file is opened for them."""
    with mailbox.account.reading():
        mailbox._ready_to_read()
        return mailbox.columns.rows(uids)


def content(mailbox, uid):
    """The Content of a message; raises errors.Expunged."""
    rows = mailbox.files([uid])
    content = mailbox.content_of(rows[uid]) if rows else None
    if content is None:
        raise errors.Expunged()
    if content.date is not None:
        measuring.record(mailbox, {uid: (content.size, content.date)})
    return content


def contents(mailbox, uids):
    """Yield (uid, Content, or None if the message is gone) for each of `uids` (ascending).

    The caller closes each Content. Messages of unknown size are measured.
    """
    for start in range(0, len(uids), _BATCH):
        part = uids[start:start + _BATCH]
        found, sizes = mailbox.files(part), {}
        for uid in part:
            content = mailbox.content_of(found[uid]) if uid in found else None
            if content is not None and content.date is not None:
                sizes[uid] = content.size, content.date
            yield uid, content
        if sizes:
            measuring.record(mailbox, sizes)


def files(mailbox, uids):
    """`{uid: MessageRow}`, for `content_of`, of `uids` (ascending); those that are gone are left
    out."""
    with mailbox.account.reading():
        mailbox._ready_to_read()
        return {row.uid: row for row in mailbox.account.index.select(mailbox.row.id, uids)}


def content_of(mailbox, row):
    """The Content of a MessageRow, or None if the message is gone.

    If the message's size was unknown, the Content has a `date`; the caller may record both.
    """
    if not measuring.is_measured(row):
        return _measured_content(mailbox, row)
    positions = mailbox._positions if row.size > _BIG else None
    try:
        return Content(path_of(mailbox.path, row), row.size, positions)
    except errors.Expunged:  # its flags may have changed since the index was read
        return _moved_content(mailbox, row, positions)


def _measured_content(mailbox, row):
    """As `content_of`, for a message of unknown size."""
    try:
        content = Content(path_of(mailbox.path, row), 0)
    except errors.StoreError:
        pass
    else:
        try:
            content.measure(row.name)
            return content
        except OSError:
            content.close()
    # It was renamed, or it is no readable message.
    found = measuring.measure(mailbox, [row.uid])
    if not found:
        return None
    size, date = found[row.uid]
    return content_of(mailbox, row._replace(size=size, date=date))


def _moved_content(mailbox, row, positions):
    """The Content of a message whose file is not where its row says; None if it is gone."""
    for _ in range(3):
        try:
            found = message_files.Finder(mailbox.path).find(row)
            if found is None:
                mailbox.scanned = None  # so that the next look notices that it is gone
                return None
            return Content(found[0], row.size, positions)
        except (errors.Expunged, FileNotFoundError):
            continue  # renamed again, or the whole mailbox was renamed or deleted
    return None
