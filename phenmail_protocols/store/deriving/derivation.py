"""In idle moments, derives the data that mail programs list and search, before they request it.

Each message is read once, and all its data is derived together. The store knows no protocol: a
function of the protocol derives the data. New messages come first, then the mailbox's other
messages, the last one first. The index records which messages were derived. A message that cannot
be read, or for which the function fails, is skipped; it is read when a client requests it.
"""
import logging
import time
from typing import Any, Dict, NamedTuple, Optional

from .. import errors
from ..idle_work import Stopped
from ..maildir import folders

_MOST = 100  # messages of a piece of work
_PIECE = 0.015  # seconds after which a piece of work ends
log = logging.getLogger("phenmail.store")


class Derived(NamedTuple):
    """What was derived from a message: {item: value}, and the {name: value} of
    derived_index.SEARCHABLE (None: they are not kept)."""
    items: Dict[str, bytes]
    searchable: Optional[Dict[str, Any]] = None


class Derivation:
    """A step of IdleWork: derives some messages of an account."""

    def __init__(self, derive, version, look):
        """`derive(row, content, names, look)` -> Derived. `row`: index.MessageRow; `names`: the
        items that the mailbox has of other messages. `version`: a str that changes when `derive`
        gives other results. `look`: IdleWork's."""
        self._derive = derive
        self._version = version
        self._look = look

    def __call__(self, account):
        with account.reading():
            index = account.index
            if index is None or index.in_memory:  # derived data is not worth the memory
                return False
            due = index.derived.underived(self._version)
        if due is None:
            return False
        mailbox, rows, names = self._next(account, *due)
        if rows:
            self._derive_some(mailbox, rows, names, due[2])
        return True

    def _next(self, account, box, folder, span):
        """-> (Mailbox, rows of its next messages, names of its items).

        New messages come by UID, the others from the last one down. If no messages are left, that
        is noted, and there are no rows.
        """
        with account.writing():
            index = account.index
            try:
                mailbox = account.mailbox_locked(folders.name_of(folder))
                mailbox.ready_locked()
                if mailbox.row.id != box:
                    return mailbox, (), ()
                rows = (index.after(box, span.last, _MOST)
                        or index.up_to(box, span.above, _MOST))
                if rows:
                    return mailbox, rows, index.derived.item_names(box)
            except (errors.NotFound, errors.InvalidName):
                mailbox = None
            index.derived.set_derived(box, self._version)
        return mailbox, (), ()

    def _derive_some(self, mailbox, rows, names, span):
        uidvalidity, made, end = mailbox.uidvalidity, {}, time.monotonic() + _PIECE
        sizes = {}
        for row in rows:
            found = self._derive_one(mailbox, row, names, sizes)
            if found:
                made[row.uid] = found
            if time.monotonic() > end:
                break
        if row.uid > span.last:
            span = span._replace(last=row.uid)
        else:
            span = span._replace(above=row.uid - 1)
        mailbox.keep_derived(made, self._version, span, uidvalidity, sizes)

    def _derive_one(self, mailbox, row, names, sizes):
        """The Derived of one message, or None if it cannot be read or derived. `sizes`,
        {uid: (size, date)}, gets the size if it was unknown."""
        try:
            content = mailbox.content_of(row)
            if content is None:
                return None
            with content:
                if content.date is not None:
                    sizes[row.uid] = content.size, content.date
                    row = row._replace(size=content.size, date=content.date)
                return self._derive(row, content, names, self._look)
        except Stopped:
            raise
        except errors.StoreError as error:
            log.info("%r: UID %d is skipped in idle moments: %s", mailbox, row.uid, error)
        except Exception:
            log.exception("%r: UID %d is skipped in idle moments, because of an error", mailbox,
                          row.uid)
        return None
