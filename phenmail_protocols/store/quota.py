"""Quotas: how much the mailboxes of an account may hold.

The index has running totals of each mailbox, which change in the transaction that adds or removes
messages. So usage is one short query. An addition is checked in the transaction that makes it, so
no two additions, in any process, use the same room.

The index does not know mailboxes that were not used since it was created, nor what other programs
changed in the files. So if an account has a quota, all its mailboxes are checked when it gets
another index, when a client requests its usage, and at most every two seconds while mail arrives.
Only three things can exceed the quota: what other programs add in between, the copies of a MOVE
before the originals are removed, and the message that warns the user. Without a quota no mailbox is
checked.
"""
import logging
import threading
import time

from . import errors, hierarchy
from .maildir import folders

_PAUSE = 2.0  # seconds between two checks of all mailboxes
_PAUSES = 50  # a pause lasts at least so many times as long as the check, which then takes 2 %
_NEARLY_FULL = 0.9  # the share of a limit at which the user is warned
_WARNED = "quota-warning"  # key in the index: the user was warned, and usage has not dropped since
log = logging.getLogger("phenmail.store")


def exceeds(usage, limit):
    """Is a Usage over a limit?"""
    return any(of_all is not None and used > of_all for used, of_all in zip(usage, limit))


def is_nearly_full(usage, limit):
    """Has a Usage reached the share of a limit at which the user is warned?"""
    return any(of_all is not None and used >= _NEARLY_FULL * of_all
               for used, of_all in zip(usage, limit))


class AccountQuota:
    """The quota of one account.

    A limit is a config.settings.Quota, whose fields correspond to those of model.Usage. None of the
    methods may be called under the account's lock, except the `_locked` ones.
    """

    def __init__(self, account, limit_of=None, warn=None):
        """`limit_of(folder)` returns the limit, or None. `warn(folder, usage, limit)` is called,
        with no lock held, when the account has become nearly full."""
        self._account = account
        self._limit_of = limit_of
        self._warn = warn
        self._warning = threading.Lock()  # held while `warn` runs
        self._index = None  # the index in which all mailboxes were checked
        self._until = 0.0  # when they are checked again

    def limit(self):
        """The limit in force, or None."""
        return self._limit_of(self._account.folder) if self._limit_of is not None else None

    def usage(self, look=lambda: None):
        """The Usage of the account, including what other programs changed just now.

        `look()` is called for each mailbox and may raise to end the work.
        """
        self._look(look)
        return self._usage()

    def _usage(self):
        with self._account.reading():
            return self._account.index.usage()

    def limit_for_addition(self):
        """`limit`, for `Room.take`. Checks all mailboxes first if the last check is too old."""
        limit = self.limit()
        if limit is not None and not self._knows_all():
            self._look()
        return limit

    def require_room(self, octets, messages=1):
        """Raise errors.OverQuota if messages of this size, together, do not fit now."""
        limit = self.limit_for_addition()
        if limit is None:
            return
        usage = self._usage()
        if exceeds(usage.plus(octets, messages), limit):
            if is_nearly_full(usage, limit):  # perhaps because the limit was lowered
                self.warn(limit)
            raise errors.OverQuota()

    def room_locked(self):
        """A Room for the additions of the current transaction to one mailbox."""
        if self._account.index is not self._index:  # it was lost since `limit_for_addition`
            self._look()
        return Room(self._account.index)

    def warn(self, limit):
        """Warn the user, unless they were warned since the account became nearly full."""
        if self._warn is None or not self._warning.acquire(blocking=False):
            return  # another thread warns them
        try:
            with self._account.reading():
                usage = self._account.index.usage()
                if self._account.index.value(_WARNED):
                    return
            self._warn(self._account.folder, usage, limit)
            with self._account.writing():
                self._account.index.set_value(_WARNED, "yes")
        except Exception:
            log.exception("%s: the user was not warned; retrying with the next new message",
                          self._account.folder)
        finally:
            self._warning.release()

    def _knows_all(self):
        return (self._index is not None and self._index is self._account.index
                and time.monotonic() < self._until)

    def _look(self, look=lambda: None):
        """Check all mailboxes: the index takes in those that it does not know, and what other
        programs changed."""
        account, begin = self._account, time.monotonic()
        with account.reading():
            index = account.index
        names = hierarchy.selectable(account, look)
        for name in names:
            look()
            try:
                account.measure(name, look)
            except errors.NotFound:
                pass  # deleted meanwhile
        self._forget_lost(set(map(folders.folder_of, names)))
        now = time.monotonic()
        self._index, self._until = index, now + max(_PAUSE, _PAUSES * (now - begin))

    def _forget_lost(self, known):
        """Forget mailboxes that another program removed; `known`: folders that exist."""
        account = self._account

        def lost():
            return [row.folder for row in account.index.mailboxes()
                    if row.folder not in known and not account.tree.has(row.folder)]

        with account.reading():
            if not lost():
                return
        with account.writing():
            for folder in lost():
                account.index.remove_folder(folder)
                account.deleted_locked(folder)


class Room:
    """The room that is left for the additions of one transaction."""

    def __init__(self, index):
        self._index = index
        self._usage = index.usage()

    def take(self, limit, octets, messages):
        """Take room for an addition; returns whether to warn the user (AccountQuota.warn).

        Raises errors.OverQuota if it does not fit.
        """
        usage = self._usage.plus(octets, messages)
        if exceeds(usage, limit):
            raise errors.OverQuota()
        before, self._usage = self._usage, usage
        warned = self._index.value(_WARNED)
        if warned and not is_nearly_full(before, limit):
            warned = ""  # usage had dropped, so there is a new warning now
            self._index.set_value(_WARNED, warned)
        return is_nearly_full(usage, limit) and not warned
