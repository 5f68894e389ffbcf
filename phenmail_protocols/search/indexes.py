"""The search indexes of all accounts of a server."""
import logging
import os
import threading
from collections import OrderedDict

from ..store import errors
from . import database, texts
from .body_index import BodyIndex
from .building import Builder
from .comparing import now

_OPEN = 8  # indexes that stay open
_PATIENCE = 0.2  # seconds that a search waits while a step of building uses the index
_SMALL = 1000  # messages; in mailboxes up to this size, a search itself compares the files
_RECENT = 90 * 10**9  # ns; idle work compares the files of larger ones more often, if they are open
log = logging.getLogger("phenmail.search")


class Indexes:
    """Made once for each server. All methods may be called from any thread."""

    def __init__(self, idle_work, enabled=True):
        """`idle_work`: the FileStore's IdleWork, which builds the indexes; if not `enabled`, it
        removes them."""
        self._idle_work = idle_work
        self._lock = threading.Lock()
        self._builders = OrderedDict()  # folder of an account -> Builder, used most recently
        self.enable(enabled)
        idle_work.add_step(self.step)

    def enable(self, enabled):
        """Build and use the indexes from now on, or remove them."""
        self._enabled = enabled
        self._is_available = enabled and database.is_available()
        if enabled and not self._is_available:
            log.info("this SQLite has no FTS5 with trigrams (3.34), so searches read all messages")

    def _builder(self, account):
        with self._lock:
            builder = self._builders.get(account.folder)
            if builder is None:
                builder = self._builders[account.folder] = Builder(
                    BodyIndex(account.folder), self._idle_work.look)
            self._builders.move_to_end(account.folder)
            oldest = self._builders.popitem(last=False)[1] if len(self._builders) > _OPEN else None
        if oldest is not None:
            oldest.index.close()  # a thread that uses it opens it again
        return builder

    def step(self, account):
        """One piece of work, for IdleWork.add_step."""
        if self._is_available:
            return self._builder(account).step(account)
        if not self._enabled and os.path.exists(os.path.join(account.folder, database.FILE)):
            self._builder(account).index.remove()
        return False

    def is_current(self, mailbox, look):
        """Can the index of an open Mailbox be trusted, although other programs change files?

        In a large mailbox, it may miss what they changed in the last minute. `look` is called in
        small steps.
        """
        if not self._is_available:
            return False
        try:
            return self._is_current(mailbox, look)
        except errors.StoreError:
            return False

    def _is_current(self, mailbox, look):
        builder = self._builder(mailbox.account)
        identity = mailbox.account.identity_of(mailbox)
        is_small = mailbox.state().count <= _SMALL
        with builder.index.open(_PATIENCE, make=False) as database:
            box = database.box(identity)
            if box is None:
                return False
            number, upto = box
            if not is_small and 0 <= now() - database.looked(number) < _RECENT:
                return True
        if builder.comparison.of_changed(mailbox, number, upto, look):
            return True
        if is_small:
            builder.comparison.some(mailbox, number, 0, upto)
        return is_small

    def candidates(self, mailbox, needle, most):
        """The messages of an open Mailbox that may contain a textsearch.Needle.

        Returns (upto, UIDs): all messages after the UID `upto`, and those in the set UIDs. None if
        the index cannot tell, or if there are more than `most` UIDs.
        """
        query = texts.query(needle) if self._is_available else None
        if query is None:
            return None
        try:
            identity = mailbox.account.identity_of(mailbox)
        except errors.StoreError:
            return None
        return self._builder(mailbox.account).index.candidates(identity, query, most)

    def close(self):
        """Close all files."""
        with self._lock:
            builders = list(self._builders.values())
            self._builders.clear()
        for builder in builders:
            builder.index.close()
