"""SEARCH (RFC 3501 6.4.4): the key's tree becomes one test a message; what the store's rows decide comes before what needs octets."""
from bisect import bisect_right

from ...mail import textsearch
from .. import responses
from ..session import Step
from ..values import Address, And, Contains, HasFlag, Header, InSet, Not, OnDay, Or, Size
from .messages import Message
from .searched import DAY, Searched, Wanted

ROWS = 5000  # messages at a time


class Candidate:
    """The message that is being tested; `message`, a Searched, only while tests run that need
    octets.
    """
    __slots__ = ("number", "uid", "flags", "size", "date", "message")


def search(session, arguments):
    """Also UID SEARCH."""
    view, found = session.view, []
    query = _Query(session, arguments.key)
    for start in range(0, len(view), ROWS):
        found += query.run(start, view.uids(start, start + ROWS))
    session.write(responses.search_line(found if arguments.uid else list(map(view.number, found))))
    # RFC 2180 4.3, RFC 5530: messages that this client still counts were passed over.
    return Step(text=b"Searched.", code=b"EXPUNGEISSUED" if query.missed else None)


class _Query:
    """A key as tests: `_by_rows`, and `_by_octets` for what those leave."""

    def __init__(self, session, key):
        self._session = session
        self._wanted = Wanted()
        self.missed = False  # a message was gone
        keys = key.keys if isinstance(key, And) else (key,)
        octets = sorted((each for each in keys if _cost(each)), key=_cost)
        self._by_rows = self._all([each for each in keys if not _cost(each)])
        self._by_octets = self._all(octets) if octets else None

    def run(self, start, uids):
        """Those that fit of `uids`, before which there are `start` messages."""
        view = self._session.view
        rows = view.mailbox.rows(uids)
        whole = len(rows.uids) == len(uids)
        self.missed |= not whole
        left = self._left_by_rows(rows, range(start + 1, start + 1 + len(uids)) if whole else map(view.number, rows.uids))
        return list(left) if self._by_octets is None else self._left_by_octets(left)

    def _left_by_rows(self, rows, numbers):
        """{uid: (number, uid, flags, size, date)} of those that may fit."""
        left, test, candidate, look = {}, self._by_rows, Candidate(), self._session.look
        for values in zip(numbers, rows.uids, rows.flags, rows.sizes, rows.dates):
            look()
            candidate.number, candidate.uid, candidate.flags, candidate.size, candidate.date = values
            if test(candidate):
                left[candidate.uid] = values
        return left

    def _left_by_octets(self, left):
        found, test, candidate, look = [], self._by_octets, Candidate(), self._session.look
        for uid, content in self._session.view.mailbox.contents(list(left)):
            look()
            if content is None:
                self.missed = True
                continue
            with content:
                candidate.number, candidate.uid, candidate.flags, candidate.size, candidate.date = left[uid]
                candidate.message = Searched(Message(uid, content, None, look), self._wanted, look,
                                             self._session.alone)
                if test(candidate):
                    found.append(uid)
        return found

    # -- keys -> tests: (Candidate) -> truth

    def _test(self, key):
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
        spans = key.sequence.spans(view.last_uid if key.uid else len(view))
        firsts, lasts = [first for first, _ in spans], [last for _, last in spans]

        def holds(number):
            place = bisect_right(firsts, number)
            return place and number <= lasts[place - 1]
        if key.uid:
            return lambda candidate: holds(candidate.uid)
        return lambda candidate: holds(candidate.number)

    def _has_flag(self, key):
        flag, present = key.flag, key.present
        if flag == "\\Recent":
            is_recent = self._session.view.is_recent
            return lambda candidate: is_recent(candidate.uid) == present
        if not flag.startswith("\\"):
            return _keyword(flag.lower(), present)
        return lambda candidate: (flag in candidate.flags) == present

    def _size(self, key):
        octets = key.octets
        if key.larger:
            return lambda candidate: candidate.size > octets
        return lambda candidate: candidate.size < octets

    def _on_day(self, key):
        fits = RELATIONS[key.relation]
        day = key.day
        if not key.sent:
            return lambda candidate: fits(candidate.date // DAY, day)

        self._wanted.field(b"date")

        def sent(candidate):
            # A message without a readable date was sent when it arrived, as far as anybody knows.
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


def _keyword(name, present):
    """Keywords are the same in any case; the few sets of flags that there are are compared once each."""
    known = {}

    def holds(candidate):
        flags = candidate.flags
        found = known.get(flags)
        if found is None:
            found = known[flags] = any(flag.lower() == name for flag in flags)
        return found == present
    return holds


RELATIONS = {
    "before": lambda written, day: written < day,
    "on": lambda written, day: written == day,
    "since": lambda written, day: written >= day,
}

TESTS = {
    And: _Query._and, Or: _Query._or, Not: _Query._not, InSet: _Query._in_set, HasFlag: _Query._has_flag,
    Size: _Query._size, OnDay: _Query._on_day, Header: _Query._header, Address: _Query._address,
    Contains: _Query._contains,
}


def _cost(key):
    """0: the rows tell; 1: a header has to be read; 2: a text has to be searched."""
    if isinstance(key, And):
        return max(map(_cost, key.keys), default=0)
    if isinstance(key, Or):
        return max(_cost(key.left), _cost(key.right))
    if isinstance(key, Not):
        return _cost(key.key)
    if isinstance(key, Contains):
        return 2
    return int(isinstance(key, (Address, Header)) or isinstance(key, OnDay) and key.sent)

