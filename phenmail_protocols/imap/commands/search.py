"""SEARCH (RFC 3501 6.4.4): the key's tree becomes one test a message; what the store's rows decide comes before what needs octets."""
from bisect import bisect_right

from phenmail_protocols.mail import dates, decode, headers

from .. import responses
from ..session import Step
from ..values import And, Contains, HasFlag, Header, InSet, Not, OnDay, Or, Size
from . import texts
from .messages import Message

DAY = 86400
ROWS = 5000  # messages at a time


class Candidate:
    """The message that is being tested; `message` only while tests run that need octets."""
    __slots__ = ("number", "uid", "flags", "size", "date", "message")


def search(session, arguments):
    """Also UID SEARCH."""
    view, found = session.view, []
    query = _Query(session, arguments.key)
    for start in range(0, len(view), ROWS):
        found += query.run(start, view.uids(start, start + ROWS))
    session.write(responses.search_line(found if arguments.uid else list(map(view.number, found))))
    return Step(text=b"Searched.")


class _Query:
    """A key as tests: `_by_rows`, and `_by_octets` for what those leave."""

    def __init__(self, session, key):
        self._session = session
        keys = key.keys if isinstance(key, And) else (key,)
        octets = sorted((each for each in keys if _cost(each)), key=_cost)
        self._by_rows = self._all([each for each in keys if not _cost(each)])
        self._by_octets = self._all(octets) if octets else None

    def run(self, start, uids):
        """Those that fit of `uids`, before which there are `start` messages."""
        view = self._session.view
        rows = view.mailbox.rows(uids)
        whole = len(rows.uids) == len(uids)
        left = self._left_by_rows(rows, range(start + 1, start + 1 + len(uids)) if whole else map(view.number, rows.uids))
        return list(left) if self._by_octets is None else self._left_by_octets(left)

    def _left_by_rows(self, rows, numbers):
        """{uid: (number, uid, flags, size, date)} of those that may fit."""
        left, test, candidate = {}, self._by_rows, Candidate()
        for values in zip(numbers, rows.uids, rows.flags, rows.sizes, rows.dates):
            candidate.number, candidate.uid, candidate.flags, candidate.size, candidate.date = values
            if test(candidate):
                left[candidate.uid] = values
        return left

    def _left_by_octets(self, left):
        found, test, candidate = [], self._by_octets, Candidate()
        for uid, content in self._session.view.mailbox.contents(list(left)):
            if content is None:
                continue
            with content:
                candidate.number, candidate.uid, candidate.flags, candidate.size, candidate.date = left[uid]
                candidate.message = Message(uid, content, None)
                if test(candidate):
                    found.append(uid)
        return found

    # -- keys -> tests: (Candidate) -> truth

    def _test(self, key):
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

        dated = frozenset((b"date",))

        def sent(candidate):
            value = headers.first(candidate.message.fields(dated), b"date")
            moment = dates.parse_header_date(value) if value is not None else None
            # A message without a readable date was sent when it arrived, as far as anybody knows.
            written = candidate.date // DAY if moment is None else (moment.epoch + moment.zone * 60) // DAY
            return fits(written, day)
        return sent

    def _header(self, key):
        field, needle = key.field.encode("latin-1"), decode.fold_case(key.text)
        names = frozenset((field,))

        def holds(candidate):
            values = headers.collect(candidate.message.fields(names), names).get(field, ())
            return any(needle in decode.fold_case(headers.decode(value)) for value in values)
        return holds

    def _contains(self, key):
        finder = texts.Finder(key.text, key.header)
        return lambda candidate: finder.is_in(candidate.message)


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
    Size: _Query._size, OnDay: _Query._on_day, Header: _Query._header, Contains: _Query._contains,
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
    return int(isinstance(key, Header) or isinstance(key, OnDay) and key.sent)

