"""Asks the search index which messages cannot match, before any message is read.

The index answers the keys BODY and TEXT. It knows that some messages cannot match; the others may
or may not. So a key is true, false or unknown (None) for a message, and AND, OR and NOT follow
Kleene's three-valued logic.
"""
import time

from ..syntax.values import And, Contains, Not, Or

# With more candidates than FEW and than an eighth of the messages, the index is not used.
SHARE, FEW = 8, 1000
MOST = 200000  # at most so many UIDs are held by a command
SECONDS = 0.25  # a command that has spent this time in the index no longer asks it


class Bounds:
    """For one SEARCH command. The index is asked once for each text, when that is first needed, and
    only for SECONDS: with many texts, reading the messages is faster."""

    def __init__(self, session, wanted):
        """`wanted`: the command's search_message.Wanted."""
        self._view = session.view
        self._look = session.look
        self._indexes = session.search_indexes  # None, too, if it cannot be trusted now
        self._is_checked = False
        self._wanted = wanted
        self._found = {}  # textsearch.Needle -> set of UIDs, or None
        self._seconds = SECONDS  # that the index may still take
        self._most = MOST  # UIDs that may still be held

    def _candidates(self, key):
        """The UIDs of messages that may contain the text of a Contains, or None if all may."""
        needle = self._wanted.needle(key.text, key.header)
        if needle not in self._found:
            self._found[needle] = self._ask(needle)
        return self._found[needle]

    def _ask(self, needle):
        view = self._view
        self._look()
        if not self._is_checked and self._indexes is not None:
            self._is_checked = True
            if not self._indexes.is_current(view.mailbox, self._look):
                self._indexes = None
        if self._indexes is None or self._seconds < 0:
            return None
        most = min(max(FEW, len(view) // SHARE), self._most)
        began = time.monotonic()
        found = self._indexes.candidates(view.mailbox, needle, most)
        self._seconds -= time.monotonic() - began
        if found is None:
            return None
        upto, uids = found
        later = view.uids(view.position(upto + 1))
        if len(later) > most:
            return None
        uids.update(later)
        self._most -= len(uids)
        return uids

    def possible(self, key):
        """A set of UIDs that includes all messages that match `key`; None if any may match."""
        if isinstance(key, Contains):
            return self._candidates(key)
        if isinstance(key, And):
            known = [uids for uids in map(self.possible, key.keys) if uids is not None]
            return set.intersection(*known) if known else None
        if isinstance(key, Or):
            left, right = self.possible(key.left), self.possible(key.right)
            return None if left is None or right is None else left | right
        return None

    def verdict(self, key, test):
        """A key -> function of a Candidate that returns True, False or None (unknown); or None if
        it would always return None.

        `test(key)` gives such a function for a key that the store can answer, else None.
        """
        if isinstance(key, Contains):
            uids = self._candidates(key)
            return None if uids is None else lambda each: None if each.uid in uids else False
        if isinstance(key, Not):
            inner = self.verdict(key.key, test)
            return None if inner is None else lambda each: _not(inner(each))
        if isinstance(key, (And, Or)):
            keys = key.keys if isinstance(key, And) else (key.left, key.right)
            inner = [self.verdict(each, test) for each in keys]
            return _joined(inner, isinstance(key, Or))
        return test(key)


def _not(value):
    return None if value is None else not value


def _joined(verdicts, decisive):
    """Kleene's OR (`decisive` is True) or AND (False) of functions, some of them None."""
    known = [each for each in verdicts if each is not None]
    if not known:
        return None
    default = None if len(known) < len(verdicts) else not decisive

    def joined(candidate):
        result = default
        for verdict in known:
            value = verdict(candidate)
            if value is None:
                result = None
            elif bool(value) is decisive:
                return decisive
        return result
    return joined


def numbered(view, uids, look):
    """Those of a set of UIDs that have message numbers in the view, as an ascending list. `look`:
    the session's."""
    found = []
    for uid in sorted(uids):
        look()
        if view.number(uid) is not None:
            found.append(uid)
    return found
