"""Quotas: how much the mailboxes of an account may hold.

The index has running totals of each mailbox, which change in the transaction that adds or removes
messages. So usage is one short query, and additions are admitted in the transaction that makes
them: no two of them, in any process, use the same room.

The index only knows mailboxes that were used since it was made, and not what other programs changed
in the files. So all mailboxes of an account with a quota are looked at whenever the account has
another index or the client asks for its usage, and every two seconds in which mail arrives. The
quota is exceeded only by what other programs add meanwhile, by the copies of a MOVE before the
originals are gone, and by the message that warns the user. Without a quota nothing is looked at.
"""
import logging
import threading
import time

from . import errors, hierarchy
from .maildir import folders

_PAUSE = 2.0  # seconds between two looks at all mailboxes
_PAUSES = 50  # and so many times as long as a look took, so that looks take 2 % of the time
_NEARLY_FULL = 0.9  # of a limit
_WARNED = "quota-warning"  # in the index: the user was warned, and usage was not below since
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
        called, with no lock held, when the account has become nearly full."""
        self._account = account
        self._limit_of = limit_of
        self._warn = warn
        self._warning = threading.Lock()  # held while `warn` runs
        self._index = None  # the one that knows all mailboxes
        self._until = 0.0

    def limit(self):
        """The limit in force, or None."""
        return self._limit_of(self._account.folder) if self._limit_of is not None else None

    def usage(self, look=lambda: None):
        """The Usage of the account, also of what other programs changed just now.

        `look()` is called for each mailbox and may raise to end the work.
        """
        self._look(look)
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
        """Warn the user, unless that was done since the account became nearly full."""
        if self._warn is None or not self._warning.acquire(blocking=False):
            return  # another thread does it
        try:
            with self._account.reading():
                usage = self._account.index.usage()
                if self._account.index.value(_WARNED):
                    return
            log.warning("%s: nearly full: %d octets in %d messages of %s", self._account.folder,
                        usage.octets, usage.messages, limit)
            self._warn(self._account.folder, usage, limit)
            with self._account.writing():
                self._account.index.set_value(_WARNED, "yes")
        except Exception:
            log.exception("%s: the user was not warned", self._account.folder)
        finally:
            self._warning.release()

    def _knows_all(self):
        return (self._index is not None and self._index is self._account.index
                and time.monotonic() < self._until)

    def _look(self, look=lambda: None):
        """Take in what other programs changed, and mailboxes that the index does not know."""
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
    """What additions of one transaction may still use."""

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
            warned = ""  # so there is a new warning when it is nearly full again
            self._index.set_value(_WARNED, warned)
        return is_nearly_full(usage, limit) and not warned
