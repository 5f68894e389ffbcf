"""One session's message numbers in the selected mailbox, and the changes to announce.

The store has one list of UIDs, which all sessions share that have opened the mailbox. A view refers
to this list and has its own count. It copies the list only while expunged messages cannot be
announced yet: RFC 3501 7.4.1 forbids EXPUNGE during FETCH, STORE and SEARCH.

Rules
 1. A number changes only in `announce`, and only if its caller says that EXPUNGE may be sent.
 2. EXPUNGE is sent first, then EXISTS and RECENT, then flags. Each uses the numbers that are valid
    after the one before it.
 3. Changes that this session made and has replied with (`told`) are not announced again.
"""
from bisect import bisect_left
from typing import NamedTuple, Optional

from ..store import errors

# A table of all numbers is quicker than looking up each of more than a part (1 / _MANY) of them. It
# is made at once, so not for a larger mailbox.
_MANY, _TABLE = 16, 200000
_STEP = 5000  # numbers between two looks


class News(NamedTuple):
    """What to announce to the client, in this order.

    expunged  message numbers, each valid when its EXPUNGE is sent
    vanished  the UIDs of the same messages, ascending
    exists    None: unchanged
    recent    None: unchanged
    flags     UIDs whose flags changed; all of them have numbers
    """
    expunged: list
    vanished: list
    exists: Optional[int]
    recent: Optional[int]
    flags: list


class View:
    """The selected mailbox as one client sees it.

    mailbox        the store's
    writable       false for EXAMINE, which takes \\Recent from no other session (RFC 3501 6.3.2)
    state          the newest state of the mailbox that this session knows
    keywords       the mailbox's keywords, and whether it has no room for more
    saved          ascending UIDs: what "$" stands for (RFC 5182 2.1)
    announced_modseq  the highest mod-sequence up to which the client was told everything
    recent_ranges  the UIDs that are \\Recent in this session (RFC 3501 2.3.2): ascending
                   (first, end) pairs, mostly none or one
    """

    def __init__(self, mailbox, writable):
        self.mailbox = mailbox
        self.writable = writable
        self.state = mailbox.state()
        self._uids = self.state.uids
        self._count = self.state.count
        self.keywords = self._told_keywords = self.state.keywords, self.state.keywords_full
        self._gone = set()  # expunged UIDs that the client still counts
        self._changed = set()  # UIDs with changed flags that the client does not know
        self.recent_ranges = []
        self.wants_flags = True  # whether the client wants to know of changed flags (RFC 5465)
        self._unread_flags = None  # the serial from which on it did not
        self.saved = ()
        self.announced_modseq = self._announced_before = max(1, self.state.highestmodseq)
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

    def slices(self, chosen, uid):
        """Where a SequenceSet's messages are: see its `slices`."""
        return chosen.slices(self._uids, self._count, uid)

    def position(self, uid):
        """How many messages have a lower UID."""
        return bisect_left(self._uids, uid, 0, self._count)

    def number(self, uid):
        """The message's number, or None if it has none in this session."""
        position = self.position(uid)
        known = position < self._count and self._uids[position] == uid
        return position + 1 if known else None

    def numbers(self, uids, look):
        """The numbers of messages that all have one, as a list; `look`: the session's."""
        number, found = self.number, []
        if self._count // _MANY < len(uids) and self._count <= _TABLE:
            number = dict(zip(self._uids, range(1, self._count + 1))).__getitem__
        for start in range(0, len(uids), _STEP):
            look()
            found += map(number, uids[start:start + _STEP])
        return found

    @property
    def last_uid(self):
        """The UID that "*" stands for; 0 in an empty mailbox."""
        return self._uids[self._count - 1] if self._count else 0

    def saved_slices(self, look):
        """The `saved` messages that still have numbers, as (start, stop) pairs like those of
        SequenceSet.slices. `look`: the session's."""
        found = []
        for uid in self.saved:
            look()
            position = self.position(uid)
            if position < self._count and self._uids[position] == uid:
                if found and found[-1][1] == position:
                    found[-1][1] = position + 1
                else:
                    found.append([position, position + 1])
        return found

    # -- \Recent

    def _take_recent(self, low):
        """Messages from UID `low` on are \\Recent here unless another session announced them."""
        first, end = max(self._first_recent(), low), self.state.uidnext
        if first < end:
            if self.recent_ranges and self.recent_ranges[-1][1] >= first:
                first = self.recent_ranges.pop()[0]
            self.recent_ranges.append((first, end))

    def _first_recent(self):
        """The lowest \\Recent UID; UIDNEXT if the store fails, so that mail can still be read."""
        ways = [self.mailbox.first_recent]
        if self.writable:
            ways.insert(0, self.mailbox.claim_recent)
        for first_recent in ways:
            try:
                return first_recent()
            except errors.StoreError:
                continue
        return self.state.uidnext

    def is_recent(self, uid):
        return any(first <= uid < end for first, end in self.recent_ranges)

    def recent(self):
        """How many messages are \\Recent."""
        return sum(self.position(end) - self.position(first) for first, end in self.recent_ranges)

    # -- news

    def refresh(self):
        """Read the changes from the store. No message number changes.

        Raises NotFound if the mailbox was deleted.
        """
        state, known = self.mailbox.state(), self.state
        since = self._serial_to_read_from(known.serial)
        if state.serial == since and state.uids is known.uids:
            return
        update = self.mailbox.changes(since)
        if update is None:  # the log does not go back that far: announce all flags
            self._changed.update(self.uids() if self.wants_flags else ())
        else:
            self._changed.update(update.changed if self.wants_flags else ())
            if update.serial == state.serial:
                self._gone.update(uid for uid in update.removed if self.number(uid) is not None)
        if not self._accounts_for(state):
            present = set(state.uids[:state.count])
            self._gone.update(uid for uid in self.uids() if uid not in present)
        self.state = state
        self.keywords = state.keywords, state.keywords_full

    def _serial_to_read_from(self, serial):
        """Flags that the client does not want are not collected, but read when it wants them."""
        if not self.wants_flags:
            if self._unread_flags is None:
                self._unread_flags = serial
        elif self._unread_flags is not None:
            serial, self._unread_flags = self._unread_flags, None
        return serial

    def _accounts_for(self, state):
        """Whether `_gone` has all expunged messages. Counting suffices, because UIDs only ascend.
        """
        left = bisect_left(state.uids, self.last_uid + 1, 0, state.count)
        return left == self._count - len(self._gone)

    def announce(self, may_expunge, may_grow=True):
        """What `refresh` found, as News or None. From now on the new numbers are valid."""
        expunged, vanished = self._expunge() if self._gone and may_expunge else ([], [])
        exists, first_new = self._grow() if may_grow else (None, self.last_uid + 1)
        recent = self.recent()
        if exists is None and recent == self._told_recent:
            recent = None
        else:
            self._told_recent = recent
        flags = self._flags_before(first_new) if self._changed and self.wants_flags else []
        self._announced_before = self.announced_modseq
        if not self._gone and may_grow and self.wants_flags:
            self.announced_modseq = max(1, self.state.highestmodseq)
        if expunged or flags or exists is not None or recent is not None:
            return News(expunged, vanished, exists, recent, flags)
        return None

    def _expunge(self):
        """Leave out the expunged messages; returns their numbers, descending so that no EXPUNGE
        shifts the next one, and their UIDs, ascending."""
        vanished = sorted(self._gone)
        expunged = list(map(self.number, reversed(vanished)))
        self._gone = set()
        state, end = self.state, self.last_uid + 1
        self._uids, self._count = state.uids, bisect_left(state.uids, end, 0, state.count)
        return expunged, vanished

    def _grow(self):
        """Count new messages: returns (EXISTS or None, the UID from which on they are new)."""
        state, first_new = self.state, self.last_uid + 1
        start = bisect_left(state.uids, first_new, 0, state.count)
        added = state.count - start
        if not self._gone:
            self._uids = state.uids
        elif added:  # a list of this view's own, until the EXPUNGEs are sent
            self._uids = self._uids[:self._count] + state.uids[start:state.count]
        self._count += added
        if not added:
            return None, first_new
        self._take_recent(first_new)
        return self._count, first_new

    def _flags_before(self, first_new):
        """The changed UIDs except expunged ones and new ones, whose flags the client asks for."""
        changed, self._changed = self._changed - self._gone, set()
        return sorted(uid for uid in changed if uid < first_new and self.number(uid) is not None)

    def learn_keywords(self, shown=()):
        """Whether `keywords` must be announced again: they changed, or do not include `shown`.

        The client may see another session's keyword before `refresh` knows of it, and when the
        mailbox may have lost it again.
        """
        if not set(self.keywords[0]).issuperset(shown):
            known, full = self.mailbox.keywords()
            self.keywords = known + tuple(sorted(set(shown).difference(known))), full
        if self.keywords == self._told_keywords:
            return False
        self._told_keywords = self.keywords
        return True

    def untold(self, uids):
        """Those of the messages whose flags are still to be announced."""
        return self._changed.intersection(uids)

    def told(self, uids):
        """The flags of these messages were read after `refresh`, and sent: do not announce them."""
        if self._changed:
            self._changed.difference_update(uids)

    def tell_later(self, uids):
        """The flags of these messages could not be read: announce them next time."""
        self._changed.update(uids)
        self.announced_modseq = self._announced_before

    # -- this session's own changes

    def change_flags(self, uids, mode, flags, unchanged_since=None):
        """The store's `change_flags`. The caller replies with the new flags, so they are not
        announced.

        Each change in the store has the next serial. If there was more than one, another session
        changed something, and everything is announced.
        """
        self.refresh()
        before, serial = set(self._changed), self.state.serial
        result = self.mailbox.change_flags(uids, mode, flags, unchanged_since)
        self.refresh()
        if self.state.serial <= serial + 1:
            self.told(uid for uid in result.changed if uid not in before)
        return result

    def count_expunged(self, uids):
        """How many of these messages were expunged but still have numbers.

        Raises NotFound if the mailbox was deleted.
        """
        self.refresh()
        return len(self._gone.intersection(uids)) if self._gone else 0
