"""Asks the store's index about SEARCH keys for header fields: From, Subject, Date and others.

The index has the fields of most messages (store/indexing/derived_index.py). One SQL statement looks
for a key in a whole batch of them, so these messages need not be read. A message whose fields are
not in the index may match: SEARCH reads it, and adds its fields to the index.
"""
from ...mail import searchable
from ...store.indexing.derived_index import Holds, SentWithin
from ..fetching.derivations import keep, searchable_fields
from ..syntax.values import Address, And, Header, Not, OnDay, Or, leaves

SPAN = 10000  # UIDs that one SQL statement covers
MOST = 100000  # UIDs held for a batch; once there are more, its other keys count as unknown
KEPT_AT_ONCE = 500  # messages whose fields are put into the index together
_EVER = 1 << 40  # days


class Fields:
    """For one SEARCH command, and one batch of its messages at a time."""

    def __init__(self, session):
        self._session = session
        self._parts = ()  # lists of the batch's UIDs
        self._found = {}  # condition -> (UIDs that match, UIDs that may match)
        self._room = MOST
        self._read = {}  # UID -> fields of messages that were read

    def begin(self, uids):
        """Begin the next batch: these UIDs, ascending."""
        self._parts = list(_parts(uids))
        self._found = {}
        self._room = MOST

    def narrow(self, key, uids):
        """-> (those of the batch's `uids` that may match; whether all of these certainly do)."""
        condition = _condition(key)
        if condition is not None:
            matching, unknown = self._find(condition)
            return sorted(matching.union(unknown).intersection(uids)), not unknown
        if isinstance(key, And):
            return self._narrow_by_all(key.keys, uids)
        if isinstance(key, Or):
            return self._narrow_by_either(key, uids)
        if isinstance(key, Not):
            matching, certain = self.narrow(key.key, uids)
            if certain:
                matching = set(matching)
                return [uid for uid in uids if uid not in matching], True
        return uids, False

    def _narrow_by_all(self, keys, uids):
        every = True
        for key in keys:
            self._session.look()
            if not uids:
                break
            uids, certain = self.narrow(key, uids)
            every = every and certain
        return uids, every

    def _narrow_by_either(self, key, uids):
        left, left_certain = self.narrow(key.left, uids)
        right, right_certain = self.narrow(key.right, uids)
        either = set(left).union(right)
        return [uid for uid in uids if uid in either], left_certain and right_certain

    def verdict(self, key):
        """A key -> function of a Candidate of the batch that returns True, False or None (unknown);
        or None if the key does not ask for a field that the index has."""
        condition = _condition(key)
        if condition is None:
            return None

        def verdict(candidate):
            matching, unknown = self._find(condition)
            if candidate.uid in matching:
                return True
            return None if candidate.uid in unknown else False
        return verdict

    def learn(self, message, arrival):
        """Keep the fields of a message that was read for this search."""
        found = searchable_fields(message, arrival)
        if found is not None:
            self._read[message.uid] = found
        if len(self._read) >= KEPT_AT_ONCE:
            self.keep()

    def keep(self):
        """Put the fields that `learn` was given into the store."""
        keep(self._session.view.mailbox, {}, self._read)
        self._read = {}

    def _find(self, condition):
        found = self._found.get(condition)
        if found is None:
            found = self._found[condition] = self._ask(condition)
        return found

    def _ask(self, condition):
        matching, unknown = set(), set()
        for part in self._parts:
            self._session.look()
            if self._room <= 0:
                unknown.update(part)
                continue
            found = self._session.view.mailbox.find(condition, part[0], part[-1])
            matching |= found.matching
            if found.known is not None:
                unknown.update([uid for uid in part if uid not in found.known])
            self._room -= len(found.matching)
        return matching, unknown


def has_fields(key):
    """Does the key ask for a field that the index has?"""
    return any(_condition(leaf) is not None for leaf in leaves(key))


def _condition(key):
    """A search key -> derived_index.Holds or SentWithin; None if the index cannot answer it."""
    if isinstance(key, OnDay) and key.sent:
        return SentWithin(-_EVER if key.relation == "before" else key.day,
                          {"before": key.day - 1, "on": key.day, "since": _EVER}[key.relation])
    if isinstance(key, Header) and key.field in searchable.TEXTS:
        return Holds(key.field, searchable.needle(key.text))
    if isinstance(key, Address) and key.field in searchable.ADDRESSES:
        return Holds(key.field + " address", searchable.needle(key.text))
    return None


def _parts(uids):
    """Ascending UIDs -> lists of them, each of which spans less than SPAN UIDs."""
    if len(uids) and uids[-1] - uids[0] < SPAN:
        yield uids
        return
    start = 0
    for place, uid in enumerate(uids):
        if uid - uids[start] >= SPAN:
            yield uids[start:place]
            start = place
    if len(uids):
        yield uids[start:]
