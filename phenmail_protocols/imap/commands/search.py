"""SEARCH (RFC 3501 6.4.4).

The tree of keys becomes a test of one message: a closure that takes a Candidate. If the search
index knows which messages may match the whole tree, only those are tested. They go through four
stages: the store's index excludes messages by their header fields, keys that the store's rows
answer are tested, the search index excludes messages by single keys, and only those that are left
are read.
"""
import operator
import time
from bisect import bisect_left, bisect_right
from itertools import islice

from ...mail import textsearch
from ..command_row import MAILBOX_SELECTED, Row
from ..fetching.derivations import EMAIL_ID, derived
from ..fetching.message import Message
from ..searching import search_result
from ..searching.search_bounds import Bounds, numbered
from ..searching.search_fields import Fields, has_fields
from ..searching.search_message import DAY, SearchMessage, Wanted
from ..session import Step
from ..syntax import search_grammar, sequence
from ..syntax.values import (
    Address,
    And,
    Contains,
    EmailId,
    HasFlag,
    Header,
    InSet,
    ModSeq,
    Not,
    OnDay,
    Or,
    Size,
    Within,
    leaves,
)
from .message_set import EXPUNGED

BATCH = 5000  # messages that are processed at a time
LOOK = 100  # tests that need only rows between two calls of `look`
IDS = 500  # EMAILIDs that are looked up at a time
FLAG_SETS = 1024  # different sets of flags whose lower-case forms a query caches


class Candidate:
    """The message that is being tested.

    `message`, a SearchMessage, is set only during tests that need the message's octets.
    """
    __slots__ = ("number", "uid", "flags", "size", "date", "modseq", "message")


def _set(candidate, values):
    (candidate.number, candidate.uid, candidate.flags, candidate.size,
     candidate.date, candidate.modseq) = values
    return candidate


def search(session, arguments):
    """SEARCH and UID SEARCH."""
    saved = search_result.begin(session, arguments)
    uids, missed = matching(session, arguments.key, saved)
    search_result.reply(session, b"SEARCH", uids, arguments)
    # RFC 2180 4.3, RFC 5530: expunged messages were skipped, but this client still counts them.
    return Step(code=EXPUNGED if missed else None)


def matching(session, key, saved):
    """A search key -> (the UIDs of the messages that match, ascending; whether some were expunged).

    `saved`: the UIDs that "$" stands for.
    """
    view, found = session.view, []
    query = _Query(session, key, saved)
    possible = query.possible(key)
    if possible is not None:
        for start in range(0, len(possible), BATCH):
            found += query.run(None, possible[start:start + BATCH])
        return found, query.missed
    for first, stop in _slices(view, key):
        for start in range(first, stop, BATCH):
            found += query.run(start, view.uids(start, min(start + BATCH, stop)))
    return found, query.missed


def _slices(view, key):
    """Ascending (start, stop) positions of the messages that may match. Mail programs often search
    one page of the mailbox."""
    for each in key.keys if isinstance(key, And) else (key,):
        if isinstance(each, InSet) and each.sequence is not sequence.SAVED:
            return view.slices(each.sequence, each.uid)
    return [(0, len(view))]


class _Query:
    """A key as tests of one message. A test that is not needed is None.

    _fields     a Fields, which asks the store's index; None if the key asks for no header field
    _by_rows    test of a Candidate: the keys that the store's rows answer
    _by_index   test of a Candidate by the search index: True, False or None (unknown)
    _by_octets  test of a Candidate with its `message`: all other keys
    """

    def __init__(self, session, key, saved):
        self._session = session
        self._saved = saved
        self._lowered = {}  # set of flags -> the same in lower case
        self._email_ids = {}  # UID -> value of EMAILID, None if the message was expunged
        self._wanted = Wanted()
        self._tests = 1  # of a message, at most
        self._rows = session.view.mailbox.flag_rows
        self.missed = False  # a message was expunged
        keys = key.keys if isinstance(key, And) else (key,)
        octets = sorted((each for each in keys if _cost(each) >= 1), key=_cost)
        self._key = key
        self._fields = None
        if has_fields(key):
            self._fields = Fields(session)
            self._need_sizes()  # the fields that are kept include the message's date
        by_rows = sorted((each for each in keys if _cost(each) < 1), key=_cost)
        self._by_rows = self._all(by_rows) if by_rows else None
        self._by_octets = self._all(octets) if octets else None
        self._bounds = Bounds(session, self._wanted)
        self._by_index = self._bounds.verdict(And(tuple(octets)), self._quick_test)

    def possible(self, key):
        """Ascending UIDs that include all messages that match; None if the search index cannot
        tell."""
        uids = self._bounds.possible(key)
        return uids if uids is None else numbered(self._session.view, uids, self._session.look)

    def run(self, start, uids):
        """Those of `uids`, ascending, that match. `start`: their position in the view if they are
        consecutive, else None."""
        view = self._session.view
        if self._fields or self._by_rows is None and self._by_octets is None:
            uids, certain = self._narrow(uids)
            if certain:
                return uids
            start = None
        rows = self._rows(uids)
        if len(rows.uids) != len(uids):
            self.missed = True
            start = None
        numbers = (map(view.number, rows.uids) if start is None
                   else range(start + 1, start + 1 + len(uids)))
        left = self._left_by_rows(rows, numbers)
        if self._by_octets is None:
            return list(left)
        certain = self._certain(left) if self._by_index else []
        found = self._left_by_octets(left)
        return sorted(certain + found) if certain else found

    def _narrow(self, uids):
        """By the store's index: (those of `uids` that may match, whether all certainly do)."""
        exist = self._session.view.mailbox.existing(uids)
        self.missed = self.missed or len(exist) != len(uids)
        if self._fields is None:  # ALL
            return list(exist), True
        self._fields.begin(exist)
        return self._fields.narrow(self._key, list(exist))

    def _certain(self, left):
        """The UIDs that match according to the indexes. Removes from `left` all messages for which
        they give an answer."""
        certain, candidate = [], Candidate()
        for uid, each in list(left.items()):
            self._session.look()
            verdict = self._by_index(_set(candidate, each))
            if verdict is not None:
                del left[uid]
                if verdict:
                    certain.append(uid)
        return certain

    def _left_by_rows(self, rows, numbers):
        """{uid: (number, uid, flags, size, date, modseq)} of those that may match."""
        left, test, candidate = {}, self._by_rows, Candidate()
        values = zip(numbers, rows.uids, rows.flags, rows.sizes, rows.dates, rows.modseqs)
        if test is None:
            return {each[1]: each for each in values}
        while True:
            self._session.look()
            some = list(islice(values, max(1, LOOK // self._tests)))
            if not some:
                return left
            for each in some:
                if test(_set(candidate, each)):
                    left[candidate.uid] = each

    def _left_by_octets(self, left):
        found, test, candidate, look = [], self._by_octets, Candidate(), self._session.look
        for uid, content in self._session.view.mailbox.contents(list(left)):
            look()
            if content is None:
                self.missed = True
                continue
            with content:
                _set(candidate, left[uid])
                message = Message(uid, content, None, look)
                candidate.message = SearchMessage(message, self._wanted, look, self._session.alone)
                if test(candidate):
                    found.append(uid)
                if self._fields:
                    self._fields.learn(message, candidate.date)
        if self._fields:
            self._fields.keep()
        return found

    # -- keys -> tests: functions of a Candidate

    def _quick_test(self, key):
        return self._fields and self._fields.verdict(key) if _cost(key) >= 1 else self._test(key)

    def _test(self, key):
        self._tests += 1
        self._session.look()
        return TESTS[type(key)](self, key)

    def _all(self, keys):
        tests = [self._test(key) for key in keys]
        if len(tests) == 1:
            return tests[0]
        return lambda candidate: all(test(candidate) for test in tests)

    def _and(self, key):
        return self._all(sorted(key.keys, key=_cost))

    def _or(self, key):
        left, right = (self._test(each) for each in sorted((key.left, key.right), key=_cost))
        return lambda candidate: left(candidate) or right(candidate)

    def _not(self, key):
        test = self._test(key.key)
        return lambda candidate: not test(candidate)

    def _in_set(self, key):
        view = self._session.view
        if key.sequence is sequence.SAVED:
            return self._is_saved
        spans = key.sequence.spans(view.last_uid if key.uid else len(view))
        firsts, lasts = [first for first, _ in spans], [last for _, last in spans]

        def holds(number):
            place = bisect_right(firsts, number)
            return place and number <= lasts[place - 1]
        if key.uid:
            return lambda candidate: holds(candidate.uid)
        return lambda candidate: holds(candidate.number)

    def _is_saved(self, candidate):
        place = bisect_left(self._saved, candidate.uid)
        return place < len(self._saved) and self._saved[place] == candidate.uid

    def _has_flag(self, key):
        flag, present = key.flag, key.present
        if flag == "\\Recent":
            is_recent = self._session.view.is_recent
            return lambda candidate: is_recent(candidate.uid) == present
        if not flag.startswith("\\"):
            return self._has_keyword(flag.lower(), present)
        return lambda candidate: (flag in candidate.flags) == present

    def _has_keyword(self, name, present):
        """Keywords are compared without regard to case. A mailbox has few different sets of flags,
        so their lower-case forms are cached."""
        lowered = self._lowered

        def holds(candidate):
            flags = lowered.get(candidate.flags)
            if flags is None:
                if len(lowered) >= FLAG_SETS:
                    lowered.clear()
                flags = lowered[candidate.flags] = frozenset(map(str.lower, candidate.flags))
            return (name in flags) == present
        return holds

    def _need_sizes(self):
        """Note that a test needs the messages' sizes or dates: all rows are read with them."""
        self._rows = self._session.view.mailbox.rows

    def _size(self, key):
        self._need_sizes()
        octets = key.octets
        if key.larger:
            return lambda candidate: candidate.size > octets
        return lambda candidate: candidate.size < octets

    def _within(self, key):
        self._need_sizes()
        edge = time.time() - key.seconds
        if key.younger:
            return lambda candidate: candidate.date >= edge
        return lambda candidate: candidate.date <= edge

    def _mod_sequence(self, key):
        self._session.enable_condstore()
        return lambda candidate: candidate.modseq >= key.modseq

    def _email_id(self, key):
        value = b"(%b)" % key.value.encode("ascii")
        return lambda candidate: self._email_id_of(candidate.uid) == value

    def _email_id_of(self, uid):
        """A message's EMAILID, or None if it was expunged. They are looked up for IDS messages at a
        time, beginning with this one."""
        if uid not in self._email_ids:
            view = self._session.view
            first = view.position(uid)
            uids = view.uids(first, first + IDS)
            self._email_ids = dict.fromkeys(uids)
            self._email_ids.update(derived(self._session, EMAIL_ID, uids))
        if self._email_ids[uid] is None:
            self.missed = True
        return self._email_ids[uid]

    def _on_day(self, key):
        self._need_sizes()
        fits = RELATIONS[key.relation]
        day = key.day
        if not key.sent:
            return lambda candidate: fits(candidate.date // DAY, day)

        self._wanted.field(b"date")

        def sent(candidate):
            # Without a readable Date field, INTERNALDATE is the best guess.
            written = candidate.message.sent_day()
            return fits(candidate.date // DAY if written is None else written, day)
        return sent

    def _header(self, key):
        return self._field(key, textsearch.field_text)

    def _address(self, key):
        return self._field(key, textsearch.address_text)

    def _field(self, key, read):
        name = self._wanted.field(key.field.encode("latin-1"))
        needle, look = textsearch.field_key(key.text), self._session.look

        def holds(candidate):
            look()
            texts = candidate.message.texts(name, read)
            return any([textsearch.is_in(needle, text) for text in texts])
        return holds

    def _contains(self, key):
        needle = self._wanted.needle(key.text, key.header)
        return lambda candidate: candidate.message.holds(needle)


RELATIONS = {"before": operator.lt, "on": operator.eq, "since": operator.ge}

#: Type of a key -> the method that makes its test. search_grammar.KEYS has the parsers.
TESTS = {
    And: _Query._and,
    Or: _Query._or,
    Not: _Query._not,
    InSet: _Query._in_set,
    HasFlag: _Query._has_flag,
    EmailId: _Query._email_id,
    Size: _Query._size,
    Within: _Query._within,
    OnDay: _Query._on_day,
    ModSeq: _Query._mod_sequence,
    Header: _Query._header,
    Address: _Query._address,
    Contains: _Query._contains,
}


def _cost(key):
    """How much a key's test costs: as much as its most expensive leaf.

    0: the rows answer it; 0.5: the cache does (EMAILID); 1: a header must be read; 2: a text must
    be searched.
    """
    return max(map(_cost_of_leaf, leaves(key)), default=0)


def _cost_of_leaf(key):
    if isinstance(key, Contains):
        return 2
    if isinstance(key, EmailId):
        return 0.5
    return int(isinstance(key, (Address, Header)) or isinstance(key, OnDay) and key.sent)


ROWS = (
    Row("SEARCH", MAILBOX_SELECTED, search_grammar.search, search, may_expunge=False),
    Row("UID SEARCH", MAILBOX_SELECTED, search_grammar.search, search),
)
