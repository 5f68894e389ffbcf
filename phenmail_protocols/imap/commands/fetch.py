"""FETCH (RFC 3501 6.4.5).

There are three kinds of items. Columns come from the store's rows. Derived items (ENVELOPE,
BODYSTRUCTURE, chosen header fields) are made once from a message, and the store caches them
in the form in which they are sent. Sections are read from the message each time.

The items are sorted once, into a Plan. Messages are processed in batches, with one
bytes-formatting operation per message.
"""
from bisect import bisect_right
from functools import partial

from ...mail import headers
from ...mail.structure import ENVELOPE_FIELDS
from ...store import errors
from ...store.model import DELETED, SEEN, Rows
from .. import message_responses, responses
from ..command_row import MAILBOX_SELECTED, Row
from ..session import Misuse, Step
from ..syntax import fetch_grammar
from ..syntax.sequence import SAVED
from ..syntax.values import BINARY, BINARY_SIZE, Section
from . import email_id, sections
from .message import keep, messages
from .message_set import EXPUNGED
from .resync import changed_since, tell_vanished

# Messages of a batch: where everything comes from rows; where messages or derived items, some 200
# KB, are read; where \Seen is set before messages are sent, because if the connection breaks the
# messages of a batch are \Seen without having been read.
ROWS_BATCH, READ_BATCH, SEEN_BATCH = 2000, 250, 50
# Derived items of a message that are held. Further choices of header fields are sent like sections.
DERIVATIONS_AT_ONCE = 4
MADE_AT_ONCE = 1 << 20  # octets of derived items that are held
# Octets of a derived item that is cached. Longer ones are rare, and a batch of them is too much.
KEPT = 8192

#: item -> (label, form, function of (session, rows) that gives its values)
COLUMNS = {
    "UID": (b"UID", b"%d", lambda session, rows: rows.uids),
    "FLAGS": (b"FLAGS", b"%b", lambda session, rows: session.flag_column(rows)),
    "INTERNALDATE": (b"INTERNALDATE", b"%b",
                     lambda session, rows: responses.internal_dates(rows.dates)),
    "RFC822.SIZE": (b"RFC822.SIZE", b"%d", lambda session, rows: rows.sizes),
    "MODSEQ": (b"MODSEQ", b"(%d)", lambda session, rows: rows.modseqs),
    # RFC 8474 5.2: messages are not grouped across mailboxes.
    "THREADID": (b"THREADID", b"%b", lambda session, rows: [responses.NIL] * len(rows.uids)),
}

#: derived item -> (its value for an expunged message, function of a Message that gives its value)
DERIVATIONS = {
    "ENVELOPE": (message_responses.EMPTY_ENVELOPE, lambda message: message_responses.envelope(
        message.fields(ENVELOPE_FIELDS))),
    "BODY": (message_responses.EMPTY_BODY, lambda message: message_responses.body(
        message.tree(), message.look)),
    "BODYSTRUCTURE": (message_responses.EMPTY_BODYSTRUCTURE,
                      lambda message: message_responses.bodystructure(
                          message.tree(), message.look)),
    email_id.ITEM: (email_id.EMPTY, email_id.of),
}


class Plan:
    """The items of a FETCH, sorted.

    columns         names of COLUMNS
    derived         (label, name in the store's cache) + DERIVATIONS[item] of each derived item
    sections        values.Section of the others
    derives_fields  `derived` includes chosen header fields; `for_large_headers()` is the same
                    FETCH with them among `sections`
    derives_trees   `derived` needs MIME trees
    sets_seen       the FETCH sets \\Seen
    unknown         sections that were left out, because their encoding is unknown (RFC 3516 4.3)
    """

    def __init__(self, items, uid, holds_fields=True):
        self._asked = items, uid
        self.unknown = []
        self.uid = uid
        self.columns = ["UID"] if uid else []
        self.derived = []
        self.sections = []
        self.derives_fields = False
        self.derives_trees = bool({"BODY", "BODYSTRUCTURE"}.intersection(items))
        for item in items:
            if item in COLUMNS:
                if item not in self.columns:
                    self.columns.append(item)
            elif item in DERIVATIONS:
                self.derived.append((item.encode("ascii"), item) + DERIVATIONS[item])
            elif (holds_fields and _is_derived(item)
                    and len(self.derived) < DERIVATIONS_AT_ONCE):
                self.derives_fields = True
                name = item.label.decode("ascii").upper()
                make = partial(_header_fields, item)
                self.derived.append((item.label, name, responses.NIL, make))
            else:
                self.sections.append(item)
        self.sets_seen = any(isinstance(item, Section) and not item.peek for item in items)

    def for_large_headers(self):
        plan = Plan(*self._asked, holds_fields=False)
        plan.unknown = self.unknown
        return plan

    def batch(self):
        """How many messages to take at a time."""
        if self.sets_seen:
            return SEEN_BATCH
        return READ_BATCH if self.derived or self.sections else ROWS_BATCH


def _is_derived(section):
    """Whole fields of the message's own header: mail programs ask for them for all messages."""
    return (section.kind in ("HEADER.FIELDS", "HEADER.FIELDS.NOT") and not section.part
            and section.partial is None)


def _header_fields(section, message):
    negate = section.kind == "HEADER.FIELDS.NOT"
    return responses.literal(headers.select(message.header(), section.names, negate))


def fetch(session, arguments):
    """FETCH and UID FETCH.

    A message number whose message another session expunged is answered with an empty message and
    OK, as in Dovecot (RFC 2180 4.1.3), because mail programs show a NO to their user. A UID that is
    gone is ignored (RFC 3501 6.4.8).
    """
    plan = Plan(arguments.items, arguments.uid)
    if "MODSEQ" in arguments.items:
        session.enable_condstore()
    if arguments.changed_since is not None:
        return _fetch_changed(session, arguments, plan)
    size, missing = plan.batch(), 0
    for start, stop in session.slices(arguments.sequence, arguments.uid):
        while start < stop:
            session.look()
            uids = session.view.uids(start, min(start + size, stop))
            batch = _Batch(session, plan, start, uids)
            missing += batch.send()
            if not len(batch.uids):
                batch = _Batch(session, plan.for_large_headers(), start, uids[:1])
                missing += batch.send()
            start += len(batch.uids)
    return _end(plan, EXPUNGED if missing else None)


def _end(plan, code=None):
    if plan.unknown:
        return Step(status=b"NO", text=b"Unknown Content-Transfer-Encoding", code=b"UNKNOWN-CTE")
    return Step(code=code)


def _fetch_changed(session, arguments, plan):
    """FETCH … (CHANGEDSINCE n): messages with a higher mod-sequence. VANISHED comes first
    (RFC 7162 3.1.4.1, 3.2.6)."""
    if arguments.vanished:
        if not session.qresync:
            raise Misuse(b"QRESYNC must be enabled first")
        tell_vanished(session, arguments.changed_since, _uid_spans(session, arguments.sequence))
    for start, stop in session.slices(arguments.sequence, arguments.uid):
        while start < stop:
            session.look()
            end = min(start + ROWS_BATCH, stop)
            uids = changed_since(session, session.view.uids(start, end), arguments.changed_since)
            for _ in send_batches(session, plan, uids):
                pass
            start = end
    return _end(plan)


def send_batches(session, plan, uids):
    """Send FETCH responses for ascending UIDs; messages that are gone are left out.

    A generator: after each batch it yields the last UID that is done.
    """
    while len(uids):
        session.look()
        batch = _Batch(session, plan, None, uids[:plan.batch()])
        batch.send()
        if not len(batch.uids):
            batch = _Batch(session, plan.for_large_headers(), None, uids[:1])
            batch.send()
        yield batch.uids[-1]
        uids = uids[len(batch.uids):]


def _uid_spans(session, chosen):
    """A set of UIDs as spans up to UIDNEXT, because the last messages may be the expunged ones."""
    if chosen is SAVED:
        return [(uid, uid) for uid in session.view.saved]
    return chosen.spans(session.view.state.uidnext - 1)


class _Batch:
    """Messages with consecutive numbers; `first` is the number of the one before them. With None
    they may be any, and those that are gone are left out.

    After `send`, `uids` are those that were sent: fewer than given if they were too much to hold,
    and none if the first has too large a header for this plan.
    """

    def __init__(self, session, plan, first, uids):
        self.session = session
        self.plan = plan
        self.first = first
        self.uids = uids
        self.mailbox = session.view.mailbox
        self.newly_seen = False

    def send(self):
        """Write all items; returns how many of the messages were expunged."""
        sent = self._send_present()
        if self.plan.uid or self.first is None or len(sent) == len(self.uids):
            return 0
        missing = sorted(set(self.uids).difference(sent))
        self._send_empty(missing)
        return len(missing)

    def _send_present(self):
        """Returns the UIDs of the messages that exist."""
        rows = self._rows(self.uids)
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
        """Well-formed responses for expunged messages."""
        count = len(uids)
        rows = Rows(uids, [frozenset((DELETED,))] * count, [1] * count, [0] * count, [0] * count)
        empty = [(label, value) for label, _, value, _ in self.plan.derived]
        empty += [(section.label, b"0" if section.kind == BINARY_SIZE else responses.NIL)
                  for section in self.plan.sections]
        columns = [(label, b"%b", [value] * count) for label, value in empty]
        self.session.write(b"".join(self._lines(rows, columns)))

    def _set_seen(self, rows):
        """Set \\Seen; the same response says so. Mail can be read even where nothing can be
        written."""
        unseen = [uid for uid, flags in zip(rows.uids, rows.flags) if SEEN not in flags]
        if not unseen:
            return rows
        try:
            self.session.view.change_flags(unseen, "add", (SEEN,))
        except errors.StoreError:
            return rows
        self.newly_seen = True
        return self._rows(self.uids)

    def _rows(self, uids):
        """Other items do not need the messages' sizes and dates, which may not be known yet."""
        measured = {"RFC822.SIZE", "INTERNALDATE"}.intersection(self.plan.columns)
        return self.mailbox.rows(uids) if measured else self.mailbox.flag_rows(uids)

    def _lines(self, rows, derived):
        """The responses without sections: an iterator of bytes."""
        names = self.plan.columns
        if self.newly_seen and "FLAGS" not in names:
            names = names + ["FLAGS"]
        if self.newly_seen and self.session.condstore and "MODSEQ" not in names:
            names = names + ["MODSEQ"]
        if "FLAGS" in names:
            self.session.view.told(rows.uids)
        columns = [(label, form, values(self.session, rows))
                   for label, form, values in map(COLUMNS.__getitem__, names)]
        return responses.fetch_lines(self._numbers(rows), columns + derived)

    def _numbers(self, rows):
        if self.first is not None and len(rows.uids) == len(self.uids):
            return range(self.first + 1, self.first + 1 + len(self.uids))
        return list(map(self.session.view.number, rows.uids))

    # -- derived items

    def _derive(self, rows):
        """Columns of derived items, and the rows of the messages that could still be read."""
        wanted = self.plan.derived
        known = [self.mailbox.cached(name, rows.uids) for _, name, _, _ in wanted]
        missing = [uid for uid in rows.uids if any(uid not in values for values in known)]
        if missing:
            last = self._make(missing, known)
            self.uids = self.uids[:bisect_right(self.uids, last)]
            rows = self._rows([uid for uid in rows.uids if uid <= last
                               and all(uid in values for values in known)])
        columns = [(label, b"%b", [values[uid] for uid in rows.uids])
                   for (label, _, _, _), values in zip(wanted, known)]
        return columns, rows

    def _make(self, uids, known):
        """Add what is missing to `known`, and to the store's cache.

        Returns the UID up to which that was done.
        """
        made, size, last = [{} for _ in known], 0, self.uids[-1]
        for message in messages(self.session, uids):
            if self.plan.derives_fields and message.header_size() > sections.LARGE_HEADER:
                last = message.uid - 1
                break
            if self.plan.derives_trees:
                with self.session.alone():
                    size += self._make_of(message, known, made)
            else:
                size += self._make_of(message, known, made)
            if size > MADE_AT_ONCE:
                last = message.uid
                break
        for (_, name, _, _), new in zip(self.plan.derived, made):
            keep(self.mailbox, name, new)
        return last

    def _make_of(self, message, known, made):
        """Returns how many octets were made of one message."""
        size = 0
        for (_, _, _, make), values, new in zip(self.plan.derived, known, made):
            if message.uid not in values:
                value = values[message.uid] = make(message)
                size += len(value)
                if len(value) <= KEPT:
                    new[message.uid] = value
        message.forget_tree()
        return size

    # -- sections

    def _send_sections(self, rows, lines):
        """Each response without its end, then its sections; returns the UIDs that were sent."""
        write, sent = self.session.write, []
        heads = dict(zip(rows.uids, lines))
        for message in messages(self.session, rows.uids):
            head = heads[message.uid][:-3]  # without ")\r\n"
            if not head.endswith(b"("):
                head += b" "
            # All are prepared before the first octet is written: an error here can still be
            # answered, because no response has begun.
            prepared = self._prepared(message)
            message.forget_tree()
            for section, value in prepared:
                start, chunks = value()
                write(head + section.label + b" " + start)
                for chunk in chunks:
                    write(chunk)
                head = b" "
            if prepared:
                write(b")\r\n")
            elif not head.endswith(b"("):  # all sections were left out
                write(heads[message.uid])
            sent.append(message.uid)
        return sent

    def _prepared(self, message):
        """[(section, function that gives its beginning and its chunks)]"""
        found = []
        for section in self.plan.sections:
            if section.kind in (BINARY, BINARY_SIZE):
                from . import binary  # imported late: few clients ask for it
                try:
                    found.append((section, binary.prepare(section, message, self.session)))
                except binary.UnknownEncoding:
                    self.plan.unknown.append(section)
            else:
                found.append((section, sections.prepare(section, message)))
        return found


ROWS = (
    Row("FETCH", MAILBOX_SELECTED, fetch_grammar.fetch, fetch, may_expunge=False),
    Row("UID FETCH", MAILBOX_SELECTED, fetch_grammar.fetch, fetch),
)
