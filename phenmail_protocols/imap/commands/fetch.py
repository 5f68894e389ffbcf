"""FETCH (RFC 3501 6.4.5).

There are three kinds of items. Columns come from the store's rows. Derived items (ENVELOPE,
BODYSTRUCTURE, selected header fields) are made once from a message, and the store caches them
(fetching/derivations.py). Sections are read from the message each time.

The items are sorted once, into a Plan. Messages are processed in batches, with one
bytes-formatting operation per message.
"""
from bisect import bisect_right

from ...store import errors
from ...store.model import DELETED, SEEN, Rows
from .. import responses
from ..command_row import MAILBOX_SELECTED, Row
from ..fetching import derivations, sections
from ..fetching.message import messages
from ..session import Misuse, Step
from ..syntax import fetch_grammar
from ..syntax.sequence import SAVED
from ..syntax.values import BINARY, BINARY_SIZE, Section
from .message_set import EXPUNGED
from .resync import changed_since, tell_vanished

ROWS_BATCH = 2000  # messages of a batch if rows have all items
READ_BATCH = 250  # messages of a batch if messages are read, or derived items (some 200 KB)
# Messages of a batch if \Seen is set before they are sent. It is small, because if the connection
# breaks, the messages of the batch are \Seen although nobody has read them.
SEEN_BATCH = 50
# Derived items of each message that are held. Further selections of header fields are sent like
# sections.
DERIVATIONS_AT_ONCE = 4
MADE_AT_ONCE = 1 << 20  # octets of newly derived items that are held

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


class Plan:
    """The items of a FETCH, sorted.

    columns         names of COLUMNS
    derived         (label, derivations.CachedItem) of each derived item
    sections        a values.Section for each other item
    derives_fields  `derived` includes selected header fields; `for_large_headers()` is the same
                    FETCH with them among `sections`
    derives_trees   `derived` needs MIME trees
    sets_seen       the FETCH sets \\Seen
    unknown         sections that were left out because their encoding is unknown (RFC 3516 4.3)
    """

    def __init__(self, items, uid, holds_fields=True):
        self._asked = items, uid
        self.unknown = []
        self.uid = uid
        self.columns = ["UID"] if uid else []
        self.derived = []
        self.sections = []
        self.derives_fields = False
        self.derives_trees = bool(derivations.FROM_TREE.intersection(items))
        for item in items:
            if item in COLUMNS:
                if item not in self.columns:
                    self.columns.append(item)
            elif item in derivations.ITEMS:
                each = derivations.ITEMS[item]
                if not (each.lazy and each.name in items):
                    self.derived.append((each.name.encode("ascii"), each))
            elif (holds_fields and derivations.is_chosen_fields(item)
                    and len(self.derived) < DERIVATIONS_AT_ONCE):
                self.derives_fields = True
                self.derived.append((item.label, derivations.chosen_fields(item)))
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
    """Send FETCH responses for ascending UIDs. Expunged messages are left out.

    A generator: after each batch it yields the last UID of that batch.
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
    """A set of UIDs -> [(first, last)]. "*" stands for the UID before UIDNEXT, because the last
    messages may have been expunged."""
    if chosen is SAVED:
        return [(uid, uid) for uid in session.view.saved]
    return chosen.spans(session.view.state.uidnext - 1)


class _Batch:
    """Messages that are sent together.

    If they have consecutive numbers, `first` is the number before them, and expunged ones are sent
    as empty messages. If `first` is None, expunged messages are left out.

    After `send`, `uids` are those that were sent: fewer than given if all would need too much
    memory, and none if the first message has too large a header for this plan.
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
        """Send the messages that exist; returns their UIDs."""
        # Derived items are made before sizes are asked for, so that each file is opened once.
        rows = self.mailbox.flag_rows(self.uids) if self.plan.derived else self._rows(self.uids)
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
        """Send responses for expunged messages, which show them as empty and \\Deleted."""
        count = len(uids)
        rows = Rows(uids, [frozenset((DELETED,))] * count, [1] * count, [0] * count, [0] * count)
        empty = [(label, derivation.empty) for label, derivation in self.plan.derived]
        empty += [(section.label, b"0" if section.kind == BINARY_SIZE else responses.NIL)
                  for section in self.plan.sections]
        columns = [(label, b"%b", [value] * count) for label, value in empty]
        self.session.write(b"".join(self._lines(rows, columns)))

    def _set_seen(self, rows):
        """Set \\Seen, which the same response shows; returns the new rows. An error of the store is
        ignored, so that mail can be read on a full disk."""
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
        """Rows of messages. Sizes and dates may not be known yet, so they are read only if an item
        needs them."""
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
        """-> (columns of derived items, rows of those messages that could be read)."""
        wanted = self.plan.derived
        known = [self._known(each, rows.uids) for _, each in wanted]
        missing = [uid for uid in rows.uids if any(uid not in values for values in known)]
        if missing:
            last = self._make(missing, known)
            self.uids = self.uids[:bisect_right(self.uids, last)]
            rows = self.mailbox.flag_rows([uid for uid in rows.uids if uid <= last
                                           and all(uid in values for values in known)])
        if wanted:
            rows = self._rows(rows.uids)
        columns = [(label, b"%b", [values[uid] for uid in rows.uids])
                   for (label, _), values in zip(wanted, known)]
        return columns, rows

    def _known(self, derivation, uids):
        """{uid: bytes}: the values that are cached; NIL in place of others if they are `lazy`."""
        known = self.mailbox.cached(derivation.name, uids)
        return {**dict.fromkeys(uids, responses.NIL), **known} if derivation.lazy else known

    def _make(self, uids, known):
        """Make the missing items of `uids`; add them to `known` and to the store's cache.

        `known`: {uid: bytes} for each derived item. Returns the UID up to which this was done.
        """
        made, size, last = [{} for _ in known], 0, self.uids[-1]
        incomplete = [each for (_, each), values in zip(self.plan.derived, known)
                      if any(uid not in values for uid in uids)]
        for message in derivations.sources(self.session, incomplete, uids):
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
        derivations.keep(self.mailbox, {
            each.name: new for (_, each), new in zip(self.plan.derived, made)})
        return last

    def _make_of(self, message, known, made):
        """Make the missing items of one message; returns how many octets they have."""
        size = 0
        for (_, each), values, new in zip(self.plan.derived, known, made):
            if message.uid not in values:
                value = values[message.uid] = each.make(message)
                size += len(value)
                if len(value) <= derivations.KEPT:
                    new[message.uid] = value
        message.forget_tree()
        return size

    # -- sections

    def _send_sections(self, rows, lines):
        """Send each line without its end, then the message's sections; returns the UIDs that were
        sent."""
        write, sent = self.session.write, []
        heads = dict(zip(rows.uids, lines))
        for message in messages(self.session, rows.uids):
            head = heads[message.uid][:-3]  # without ")\r\n"
            if not head.endswith(b"("):
                head += b" "
            # All sections are prepared before the first octet is written: after an error here, the
            # command can still be answered with NO, because no response has begun.
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
        """[(section, function that returns (its beginning, its chunks))]"""
        found = []
        for section in self.plan.sections:
            if section.kind in (BINARY, BINARY_SIZE):
                from ..fetching import binary
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
