"""The indexes of all accounts of a server."""
import logging
import os
import threading
from collections import OrderedDict

from ..store import errors
from . import database, texts
from .body_index import BodyIndex
from .building import Builder

_OPEN = 8  # indexes that stay open
log = logging.getLogger("phenmail.search")


class Indexes:
    """Made once for each server. All methods may be called from any thread."""

    def __init__(self, idle_work, enabled=True):
        """`idle_work`: the FileStore's, which builds the indexes, or removes them if they are not
        `enabled`."""
        self._idle_work = idle_work
        self._enabled = enabled
        self._lock = threading.Lock()
        self._builders = OrderedDict()  # folder of an account -> Builder, used most recently
        self._is_available = enabled and database.is_available()
        if enabled and not self._is_available:
            log.info("this SQLite has no FTS5 with trigrams (3.34), so searches read all messages")
        idle_work.add_step(self.step)

    def _builder(self, account):
        with self._lock:
            builder = self._builders.get(account.folder)
            if builder is None:
                builder = self._builders[account.folder] = Builder(
                    BodyIndex(account.folder), lambda: self._idle_work.is_stopping)
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

    def candidates(self, mailbox, needle, most):
        """The messages of an open Mailbox that may contain a textsearch.Needle.

        Returns (upto, UIDs): the messages after the UID `upto`, and those with these UIDs, a set.
        None: it cannot tell, or there are more than `most`.
        """
        query = texts.query(needle) if self._is_available else None
        if query is None:
            return None
        try:
            identity = mailbox.account.identity_of(mailbox)
        except errors.StoreError:
            return None
        return self._builder(mailbox.account).index.candidates(
            identity, query, most)

    def close(self):
        """Close all files."""
        with self._lock:
            builders = list(self._builders.values())
            self._builders.clear()
        for builder in builders:
            builder.index.close()
