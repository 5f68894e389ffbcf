"""FETCH (RFC 3501 6.4.5). What is asked for is sorted out once, then each message is one formatting of bytes.

Three kinds of items: columns come from the store's rows; derived ones (ENVELOPE, BODYSTRUCTURE, chosen header fields) are made once
from a message's octets and kept by the store in the form in which they are sent; sections are read from the message each time.
"""
from bisect import bisect_right
from functools import partial

from ...mail import headers
from ...mail.structure import ENVELOPE_FIELDS
from ...store import errors
from ...store.model import DELETED, SEEN, Rows
from .. import message_responses, responses
from ..session import Step
from ..values import Section
from .changing import EXPUNGED
from .messages import Message, find_part

ROWS = 2000  # messages at a time where all comes from rows
DERIVED = 250  # where header fields and such are in it, some 200 KB, or where messages are read
DERIVATIONS_AT_ONCE = 4  # derived items of each message that are held; more choices of header fields are read and sent one by one
MADE_AT_ONCE = 1 << 20  # octets of derived items that are held
# Octets; what is chosen from a larger header is not held, but read twice and sent as it is read.
LARGE_HEADER = 1 << 18
KEPT = 8192  # octets of a derived item that is kept; longer ones are rare, and a batch of them would be too much to hold
SEEN_AT_ONCE = 50  # where \Seen is set before the messages are sent: for so many a broken connection leaves it wrong

#: item -> (label, form, values of it from (session, rows))
COLUMNS = {
    "UID": (b"UID", b"%d", lambda session, rows: rows.uids),
    "FLAGS": (b"FLAGS", b"%b", lambda session, rows: session.flag_column(rows)),
    "INTERNALDATE": (b"INTERNALDATE", b"%b", lambda session, rows: responses.internal_dates(rows.dates)),
    "RFC822.SIZE": (b"RFC822.SIZE", b"%d", lambda session, rows: rows.sizes),
}

#: item -> its value from a Message
DERIVATIONS = {
    "ENVELOPE": lambda message: message_responses.envelope(message.fields(ENVELOPE_FIELDS)),
    "BODY": lambda message: message_responses.body(message.tree(), message.look),
    "BODYSTRUCTURE": lambda message: message_responses.bodystructure(message.tree(), message.look),
}

#: derived item -> its value for a message that is gone; for all others it is NIL
EMPTY = {
    "ENVELOPE": message_responses.EMPTY_ENVELOPE,
    "BODY": message_responses.EMPTY_BODY,
    "BODYSTRUCTURE": message_responses.EMPTY_BODYSTRUCTURE,
}


class Plan:
    """A FETCH, sorted out: `columns` (names), `derived` [(label, name in the cache, make)],
    `sections`; `sets_seen`.

    `derives_fields`: chosen header fields are among the derived items; `for_large_headers` is the
    same FETCH without that.
    """

    def __init__(self, items, uid, holds_fields=True):
        self._asked = items, uid
        self.uid = uid
        self.columns = ["UID"] if uid else []
        self.derived = []
        self.sections = []
        self.derives_fields = False
        for item in items:
            if item in COLUMNS:
                if item not in self.columns:
                    self.columns.append(item)
            elif item in DERIVATIONS:
                self.derived.append((item.encode("ascii"), item, DERIVATIONS[item]))
            elif holds_fields and _is_derived(item) and len(self.derived) < DERIVATIONS_AT_ONCE:
                self.derives_fields = True
                self.derived.append((item.label, item.label.decode("ascii").upper(), partial(_header_fields, item)))
            else:
                self.sections.append(item)
        self.sets_seen = any(isinstance(item, Section) and not item.peek for item in items)

    def for_large_headers(self):
        return Plan(*self._asked, holds_fields=False)

    def batch(self):
        """How many messages to take at a time."""
        if self.sets_seen:
            return SEEN_AT_ONCE
        return DERIVED if self.derived or self.sections else ROWS


def _is_derived(section):
    """The message's own header fields, whole: what mail programs ask for every message of a mailbox."""
    return section.kind in ("HEADER.FIELDS", "HEADER.FIELDS.NOT") and not section.part and section.partial is None


def _header_fields(section, message):
    return responses.literal(headers.select(message.header(), section.names, section.kind == "HEADER.FIELDS.NOT"))


def fetch(session, arguments):
    """Also UID FETCH.

    A message number whose message another session expunged is answered with an empty message and OK,
    as in Dovecot (RFC 2180 4.1.3): mail programs show a NO to their user. A UID that is gone is ignored
    (RFC 3501 6.4.8).
    """
    plan = Plan(arguments.items, arguments.uid)
    size, missing = plan.batch(), 0
    for start, stop in session.slices(arguments.sequence, arguments.uid):
        while start < stop:
            session.look()
            batch = _Batch(session, plan, start, session.view.uids(start, min(start + size, stop)))
            missing += batch.send()
            if not len(batch.uids):
                batch = _Batch(session, plan.for_large_headers(), start,
                               session.view.uids(start, start + 1))
                missing += batch.send()
            start += len(batch.uids)
    return Step(text=b"Fetched.", code=EXPUNGED if missing else None)


class _Batch:
    """Some messages that follow each other in the numbering; fewer than were meant where that is
    too much at a time, and none where the first has too large a header for this plan."""

    def __init__(self, session, plan, first, uids):
        self.session = session
        self.plan = plan
        self.first = first
        self.uids = uids
        self.mailbox = session.view.mailbox
        self.newly_seen = False

    def send(self):
        """Write all that was asked for; returns how many messages were gone."""
        sent = self._send_present()
        if self.plan.uid or len(sent) == len(self.uids):
            return 0
        missing = sorted(set(self.uids).difference(sent))
        self._send_empty(missing)
        return len(missing)

    def _send_present(self):
        """Returns the UIDs of the messages that were there."""
        rows = self.mailbox.rows(self.uids)
        if self.plan.sets_seen and self.session.view.writable:
            rows = self._set_seen(rows)
        derived, rows = self._derive(rows)
        if not len(rows.uids):
            return []
        lines = self._lines(rows, derived)
        if self.plan.sections:
            return self._send_sections(rows, lines)
        self.session.write(b"".join(lines))
        return rows.uids

    def _send_empty(self, uids):
        """Answers of the right form for messages that are gone."""
        count = len(uids)
        rows = Rows(uids, [frozenset((DELETED,))] * count, None, [0] * count, [0] * count)
        empty = [(label, EMPTY.get(name, responses.NIL)) for label, name, _ in self.plan.derived]
        empty += [(section.label, responses.NIL) for section in self.plan.sections]
        columns = [(label, b"%b", [value] * count) for label, value in empty]
        self.session.write(b"".join(self._lines(rows, columns)))

    def _set_seen(self, rows):
        """Reading sets \\Seen; the client hears of it in the same answer. Where nothing can be written mail can still be read."""
        unseen = [uid for uid, flags in zip(rows.uids, rows.flags) if SEEN not in flags]
        if not unseen:
            return rows
        try:
            self.session.view.change_flags(unseen, "add", (SEEN,))
        except errors.StoreError:
            return rows
        self.newly_seen = True
        return self.mailbox.rows(self.uids)

    def _lines(self, rows, derived):
        """The answers without sections, an iterator of bytes."""
        names = self.plan.columns
        if self.newly_seen and "FLAGS" not in names:
            names = names + ["FLAGS"]
        if "FLAGS" in names:
            self.session.view.told(rows.uids)
        columns = [(label, form, values(self.session, rows)) for label, form, values in map(COLUMNS.__getitem__, names)]
        return responses.fetch_lines(self._numbers(rows), columns + derived)

    def _numbers(self, rows):
        if len(rows.uids) == len(self.uids):
            return range(self.first + 1, self.first + 1 + len(self.uids))
        return list(map(self.session.view.number, rows.uids))

    # -- derived items

    def _derive(self, rows):
        """Columns of derived items, and the rows of those messages that are still there to be read."""
        wanted = self.plan.derived
        known = [self.mailbox.cached(name, rows.uids) for _, name, _ in wanted]
        missing = [uid for uid in rows.uids if any(uid not in values for values in known)]
        if missing:
            last = self._make(missing, known)
            self.uids = self.uids[:bisect_right(self.uids, last)]
            rows = self.mailbox.rows([uid for uid in rows.uids if uid <= last and all(uid in values for values in known)])
        return [(label, b"%b", [values[uid] for uid in rows.uids]) for (label, _, _), values in zip(wanted, known)], rows

    def _make(self, uids, known):
        """Make what is missing from the messages, and have it kept. Returns the UID up to which that was done."""
        made, size, last = [{} for _ in known], 0, self.uids[-1]
        for message in _messages(self.session, uids):
            if self.plan.derives_fields and message.edge() > LARGE_HEADER:
                last = message.uid - 1
                break
            with self.session.alone():
                size += self._make_of(message, known, made)
            if size > MADE_AT_ONCE:
                last = message.uid
                break
        for (_, name, _), new in zip(self.plan.derived, made):
            self._keep(name, new)
        return last

    def _make_of(self, message, known, made):
        """Returns the octets that were made of one message."""
        size = 0
        for (_, _, make), values, new in zip(self.plan.derived, known, made):
            if message.uid not in values:
                value = values[message.uid] = make(message)
                size += len(value)
                if len(value) <= KEPT:
                    new[message.uid] = value
        message.forget_tree()
        return size

    def _keep(self, name, new):
        try:
            if new:
                self.mailbox.cache(name, new)
        except errors.StoreError:
            pass  # it is only quicker with it

    # -- sections

    def _send_sections(self, rows, lines):
        """Each answer without its end, then its sections; returns the UIDs that were sent."""
        write, sent = self.session.write, []
        heads = dict(zip(rows.uids, lines))
        for message in _messages(self.session, rows.uids):
            head = heads[message.uid][:-3]  # without ")\r\n"
            if not head.endswith(b"("):
                head += b" "
            # All are found before the first octet goes out: what fails then has not yet spoilt an answer.
            found = [_range(section, message) for section in self.plan.sections]
            message.forget_tree()
            for section, (start, end) in zip(self.plan.sections, found):
                size, chunks = _octets_of(section, message, start, end)
                write(head + section.label + b" {%d}\r\n" % size)
                for chunk in chunks:
                    write(chunk)
                head = b" "
            write(b")\r\n")
            sent.append(message.uid)
        return sent


def _messages(session, uids):
    """A Message for each that is still there; its file is closed when the next one is asked for."""
    for uid, content in session.view.mailbox.contents(uids):
        session.look()
        if content is not None:
            with content:
                yield Message(uid, content, session.trees, session.look)


def _octets_of(section, message, start, end):
    """A section's (size, iterable of chunks); `start` and `end` as `_range` found them."""
    if section.names:
        def chosen():
            return headers.selected(message.octets(start, end), section.names,
                                    section.kind == "HEADER.FIELDS.NOT")
        if end - start <= LARGE_HEADER:
            data = b"".join(chosen())
            first, last = _narrowed(0, len(data), section.partial)
            return last - first, (data[first:last],)
        first, last = _narrowed(0, sum(map(len, chosen())), section.partial)
        return last - first, _between(chosen(), first, last)
    start, end = _narrowed(start, end, section.partial)
    return end - start, message.octets(start, end)


def _between(pieces, start, end):
    """The octets [start, end) of what comes in pieces."""
    at = 0
    for piece in pieces:
        if at >= end:
            return
        yield piece[max(0, start - at):end - at]
        at += len(piece)


def _range(section, message):
    """Where a section lies in its message (the header, for chosen fields): (start, end) (RFC 3501 6.4.5).

    A part that the message does not have is an empty one: NIL would be allowed, but this is what mail programs are used to.
    """
    if not section.part:
        if section.kind is None:
            return 0, message.size
        edge = message.edge()
        return (edge, message.size) if section.kind == "TEXT" else (0, edge)
    part = find_part(message.tree(), section.part)
    if part is None:
        return 0, 0
    if section.kind is None:
        return part.body, part.end
    if section.kind == "MIME":
        return part.start, part.body
    inside = part.message
    if inside is None:
        return 0, 0
    return (inside.body, inside.end) if section.kind == "TEXT" else (inside.start, inside.body)


def _narrowed(start, end, wanted):
    """<origin.length>: what lies beyond the end is just not there."""
    if wanted is None:
        return start, end
    origin, length = wanted
    start = min(start + origin, end)
    return start, min(start + length, end)
