"""Quotas: how much the mailboxes of an account may hold.

The index has running totals of each mailbox, which change in the transaction that adds or removes
messages. So usage is one short query, and additions are admitted in the transaction that makes
them: no two of them, in any process, use the same room.

The index only knows mailboxes that were used since it was made, and not what other programs changed
in the files. So all mailboxes of an account with a quota are looked at from time to time, and
whenever the account has another index. Without a quota nothing is looked at.
"""
import logging
import time

from . import errors, hierarchy
from .maildir import folders

_LOOK = 2.0  # seconds between two looks at all mailboxes
_NEARLY_FULL = 0.9  # of a limit
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
        """`limit_of(folder)` gives the limit, None: there is none. `warn(folder, usage, limit)` is
        called, with no lock held, after an addition that makes the account nearly full."""
        self._account = account
        self._limit_of = limit_of
        self._warn = warn
        self._index = None  # the one that knows all mailboxes
        self._until = 0.0

    def limit(self):
        """The limit in force, or None."""
        return self._limit_of(self._account.folder) if self._limit_of is not None else None

    def usage(self):
        """The Usage of the account, also of what other programs changed just now."""
        self._look()
        return self._usage()

    def _usage(self):
        with self._account.reading():
            return self._account.index.usage()

    def limit_for_addition(self):
        """`limit`, for `Room.take`; all mailboxes are looked at if it is time."""
        limit = self.limit()
        if limit is not None and not self._knows_all():
            self._look()
        return limit

    def require_room(self, octets, messages=1):
        """Raise errors.OverQuota if messages of this size, together, do not fit now."""
        limit = self.limit_for_addition()
        if limit is not None and exceeds(self._usage().plus(octets, messages), limit):
            raise errors.OverQuota()

    def room_locked(self):
        """A Room for the additions of the current transaction to one mailbox."""
        if self._account.index is not self._index:  # it was lost since `limit_for_addition`
            self._look()
        return Room(self._account.index.usage())

    def added(self, limit):
        """An addition took its room: warn the user."""
        usage = self._usage()
        log.warning("%s: nearly full: %d octets in %d messages of %s", self._account.folder,
                    usage.octets, usage.messages, limit)
        if self._warn is not None:
            try:
                self._warn(self._account.folder, usage, limit)
            except Exception:
                log.exception("%s: the user was not warned", self._account.folder)

    def _knows_all(self):
        return (self._index is not None and self._index is self._account.index
                and time.monotonic() < self._until)

    def _look(self):
        """Take in what other programs changed, and mailboxes that the index does not know."""
        account = self._account
        with account.reading():
            index = account.index
        names = hierarchy.selectable(account)
        for name in names:
            try:
                account.measure(name)
            except errors.NotFound:
                pass  # deleted meanwhile
        self._forget_lost(set(map(folders.folder_of, names)))
        self._index, self._until = index, time.monotonic() + _LOOK

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
    """What additions of one transaction may still use."""

    def __init__(self, usage):
        self._usage = usage

    def take(self, limit, octets, messages):
        """Take room for an addition; returns whether it makes the account nearly full.

        Raises errors.OverQuota if it does not fit.
        """
        usage = self._usage.plus(octets, messages)
        if exceeds(usage, limit):
            raise errors.OverQuota()
        before, self._usage = self._usage, usage
        return is_nearly_full(usage, limit) and not is_nearly_full(before, limit)
