"""One session's numbering of the selected mailbox: which message is number 7, and what the client has to be told.

The store's list of UIDs is shared by everybody who looks at the mailbox; a view holds a reference to it and a count. Only
while messages are gone that the client may not be told of yet (RFC 3501 7.4.1 forbids EXPUNGE during FETCH, STORE and
SEARCH) it keeps a list of its own. It knows the store's values and no command; what it announces are values, too.

Rules
 1. A number changes only in `announce`, and a message leaves only where the caller says that EXPUNGE may be sent.
 2. EXPUNGE goes first, then EXISTS and RECENT, then flags: each speaks of the numbers that the one before left behind.
 3. What this session changed and told itself (`told`) is not announced again.
"""
from bisect import bisect_left
from typing import NamedTuple, Optional

from ..store import errors


class News(NamedTuple):
    """What the client must hear, in this order."""
    expunged: list  # message numbers, each as it is when its EXPUNGE is sent
    exists: Optional[int]  # None: as before
    recent: Optional[int]
    flags: list  # UIDs whose flags changed, all of them numbered


class View:
    """The selected mailbox as one client sees it.

    `mailbox` is the store's; `writable` false for EXAMINE, which takes \\Recent from nobody (RFC 3501 6.3.2).
    """

    def __init__(self, mailbox, writable):
        self.mailbox = mailbox
        self.writable = writable
        self.state = mailbox.state()  # the store's newest that this session knows of
        self._uids = self.state.uids
        self._count = self.state.count
        self._serial = self.state.serial
        self.keywords = self._told_keywords = self.state.keywords, self.state.keywords_full
        self._gone = set()  # removed, but the client still counts them
        self._changed = set()  # flags that the client has not heard of
        self._recent = []  # (first, end) ranges of UIDs, ascending
        self._take_recent(0)
        self._told_recent = self.recent()

    def close(self):
        self.mailbox.close()

    # -- numbers

    def __len__(self):
        return self._count

    def uids(self, start=0, stop=None):
        """The UIDs of the messages numbered start + 1 … stop, as an array."""
        return self._uids[start:self._count if stop is None else min(stop, self._count)]

    def position(self, uid):
        """How many messages have a lower UID."""
        return bisect_left(self._uids, uid, 0, self._count)

    def number(self, uid):
        """The message's number, or None when this client doesn't count it."""
        position = self.position(uid)
        known = position < self._count and self._uids[position] == uid
        return position + 1 if known else None

    @property
    def last_uid(self):
        """The UID that "*" stands for; 0 in an empty mailbox."""
        return self._uids[self._count - 1] if self._count else 0

    # -- \Recent belongs to this session (RFC 3501 2.3.2)

    def _take_recent(self, low):
        """Of the messages from UID `low` on, those that no session was told of before are recent here."""
        first, end = max(self._first_recent(), low), self.state.uidnext
        if first < end:
            if self._recent and self._recent[-1][1] >= first:
                first = self._recent.pop()[0]
            self._recent.append((first, end))

    def _first_recent(self):
        """The lowest UID that is \\Recent. A store that fails must not keep anybody from reading: then none is."""
        ways = [self.mailbox.first_recent]
        if self.writable:
            ways.insert(0, self.mailbox.claim_recent)
        for first_recent in ways:
            try:
                return first_recent()
            except errors.StoreError:
                continue
        return self.state.uidnext

    @property
    def recent_ranges(self):
        """The UIDs that are \\Recent here: (first, end) pairs; mostly none or one."""
        return self._recent

    def is_recent(self, uid):
        return any(first <= uid < end for first, end in self._recent)

    def recent(self):
        """How many messages are \\Recent."""
        return sum(self.position(end) - self.position(first) for first, end in self._recent)

    # -- news

    def refresh(self):
        """Learn what happened in the store; no number changes. Raises NotFound when the mailbox was deleted."""
        state = self.mailbox.state()
        if state.serial == self._serial and state.uids is self.state.uids:
            return
        update = self.mailbox.changes(self._serial)
        if update is None:  # that was too long ago: all flags are told again
            self._changed.update(self._uids[:self._count])
        else:
            self._changed.update(update.changed)
        if update is not None and update.serial == state.serial:
            self._gone.update(uid for uid in update.removed if self.number(uid) is not None)
        if not self._accounts_for(state):
            present = set(state.uids[:state.count])
            self._gone.update(uid for uid in self._uids[:self._count] if uid not in present)
        self._serial = state.serial
        self.state = state
        self.keywords = state.keywords, state.keywords_full

    def _accounts_for(self, state):
        """Whether what is known to be gone is all that is gone. UIDs only ascend: so the numbers of messages tell."""
        return bisect_left(state.uids, self.last_uid + 1, 0, state.count) == self._count - len(self._gone)

    def announce(self, may_expunge):
        """What `refresh` found, as News or None; from now on the numbers are those that it leaves behind."""
        expunged = self._expunge() if self._gone and may_expunge else []
        exists, first_new = self._grow()
        recent = self.recent()
        if exists is None and recent == self._told_recent:
            recent = None
        else:
            self._told_recent = recent
        flags = self._flags_before(first_new) if self._changed else []
        if expunged or flags or exists is not None or recent is not None:
            return News(expunged, exists, recent, flags)
        return None

    def _expunge(self):
        """Leave out what is gone; the numbers from the highest down, so that none of them shifts another."""
        expunged = sorted(map(self.number, self._gone), reverse=True)
        self._gone = set()
        state, end = self.state, self.last_uid + 1
        self._uids, self._count = state.uids, bisect_left(state.uids, end, 0, state.count)
        return expunged

    def _grow(self):
        """Count the messages that came: (the new EXISTS or None, the first UID that is new)."""
        state, first_new = self.state, self.last_uid + 1
        start = bisect_left(state.uids, first_new, 0, state.count)
        added = state.count - start
        if not self._gone:
            self._uids = state.uids
        elif added:  # a list of our own, until the EXPUNGEs are told
            self._uids = self._uids[:self._count] + state.uids[start:state.count]
        self._count += added
        if not added:
            return None, first_new
        self._take_recent(first_new)
        return self._count, first_new

    def _flags_before(self, first_new):
        """The changed UIDs but the new ones (whose flags the client has to ask for) and those that are gone."""
        changed, self._changed = self._changed - self._gone, set()
        return sorted(uid for uid in changed if uid < first_new and self.number(uid) is not None)

    def learn_keywords(self, shown=()):
        """Whether the client has to be told `keywords` anew: they changed, or it will see more
        in `shown`.

        A keyword of another session may be seen before `refresh` knows of it, and be gone from
        the mailbox again.
        """
        if not set(self.keywords[0]).issuperset(shown):
            known, full = self.mailbox.keywords()
            self.keywords = known + tuple(sorted(set(shown).difference(known))), full
        if self.keywords == self._told_keywords:
            return False
        self._told_keywords = self.keywords
        return True

    def told(self, uids):
        """The flags of these were read after `refresh` and sent: nothing is left to say of them."""
        if self._changed:
            self._changed.difference_update(uids)

    def tell_later(self, uids):
        """The flags of these could not be read: they are announced the next time."""
        self._changed.update(uids)

    # -- this session's own changes

    def change_flags(self, uids, mode, flags):
        """The store's change_flags; nothing is left to say of what it changed.

        Each change in the store has the next serial: where there was just one, it was ours, and who asked for it knows its effect.
        """
        self.refresh()
        before, serial = set(self._changed), self._serial
        changed = self.mailbox.change_flags(uids, mode, flags).changed
        self.refresh()
        if self._serial <= serial + 1:
            self.told(uid for uid in changed if uid not in before)

    def lost(self, uids):
        """How many of these messages, which the client counts, are gone. Raises NotFound when the mailbox was deleted."""
        self.refresh()
        return len(self._gone.intersection(uids)) if self._gone else 0
