"""The part of the index that holds data derived from the octets of messages.

Messages never change, so their derived data never changes either. It is removed together with the
message. Any of it may be missing at any time; it is then derived again when it is needed.

    item_kind  the kinds of items that a mailbox has, such as ENVELOPE
    item       the items of messages, in the form in which IMAP sends them
    sent       the header fields that people search, in the form in which they are compared. A
    people     search reads a whole table, and a table with few columns is read faster. So the
    other      fields are in three tables.
    derived    which of a mailbox's messages were derived in idle moments (deriving/)

The key of an item has the kind in its upper 32 bits and the UID in the lower 32 bits; the key of
searchable fields has the mailbox and the UID. SQLite stores rows with one integer as the key in
half of the space of rows with two, and reads them in a third of the time.
"""

from typing import NamedTuple, Optional, Set

_ITEMS = 48  # kinds of items that a mailbox may have
_SHIFT = 32  # bits of a UID
#: Table -> its columns: searchable header fields (octets), and the day of sending (an integer).
SEARCHABLE = {
    "sent": ("day", "subject"),
    "people": ("from address", "to address", "cc address", "bcc address"),
    "other": ("from", "to", "cc", "bcc", "message-id", "in-reply-to"),
}
_TABLE_OF = {name: table for table, names in SEARCHABLE.items() for name in names}

TABLES = """
CREATE TABLE item_kind (
    id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, item TEXT NOT NULL,
    UNIQUE (mailbox, item));
CREATE TABLE item (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE derived (
    mailbox INTEGER PRIMARY KEY, version TEXT NOT NULL,
    above INTEGER NOT NULL, last INTEGER NOT NULL);
""" + "".join(
    'CREATE TABLE %s (id INTEGER PRIMARY KEY, "%s");\n' % (table, '", "'.join(names))
    for table, names in SEARCHABLE.items())


class Span(NamedTuple):
    """The messages that were derived: those with UIDs above `above`, up to `last`."""
    above: int
    last: int


class Holds(NamedTuple):
    """A condition of a search: the value of `name`, one of SEARCHABLE, contains these octets. With
    empty octets: there is such a value."""
    name: str
    octets: bytes


class SentWithin(NamedTuple):
    """A condition of a search: the message was sent on a day from `first` to `last`, in days since
    1970."""
    first: int
    last: int


class Found(NamedTuple):
    """The result of a search.

    matching  UIDs of messages that meet the condition
    known     UIDs of messages whose fields are in the index; None: all that exist
    """
    matching: Set[int]
    known: Optional[Set[int]]


class DerivedIndex:
    """Its tables in an open database. The caller holds the account's lock around every call."""

    def __init__(self, database):
        self._database = database

    def remove_mailbox(self, mailbox):
        run = self._database.execute
        for kind in self._kinds(mailbox):
            run("DELETE FROM item WHERE id BETWEEN ? AND ?", _span(kind))
        run("DELETE FROM item_kind WHERE mailbox = ?", (mailbox,))
        for table in SEARCHABLE:
            run("DELETE FROM %s WHERE id BETWEEN ? AND ?" % table, _span(mailbox))
        run("DELETE FROM derived WHERE mailbox = ?", (mailbox,))

    def remove_messages(self, mailbox, uids):
        run = self._database.executemany
        run("DELETE FROM item WHERE id = ?",
            [(_key(kind, uid),) for kind in self._kinds(mailbox) for uid in uids])
        for table in SEARCHABLE:
            run("DELETE FROM %s WHERE id = ?" % table, [(_key(mailbox, uid),) for uid in uids])

    # Items

    def items(self, mailbox, item, uids):
        """[(uid, data)] of those of `uids` (ascending) that have this item."""
        kind = self._kind(mailbox, item)
        if kind is None or not len(uids):
            return []
        run, base = self._database.execute, _key(kind, 0)
        sql = "SELECT id - ?, data FROM item WHERE id BETWEEN ? AND ?"
        first, last = uids[0], uids[-1]
        if last - first < 4 * len(uids) + 16:
            rows = run(sql, (base, base + first, base + last)).fetchall()
            if len(rows) == last - first + 1 == len(uids):
                return rows
            wanted = set(uids)
            return [row for row in rows if row[0] in wanted]
        rows = []
        for uid in uids:
            rows += run(sql, (base, base + uid, base + uid))
        return rows

    def add_items(self, mailbox, item, rows):
        """Add (uid, data) rows. If the mailbox has too many kinds of items, the oldest kind is
        removed."""
        kind = self._kind(mailbox, item)
        if kind is None:
            self._forget_oldest_kind(mailbox)
            kind = self._database.execute(
                "INSERT INTO item_kind (mailbox, item) VALUES (?, ?)",
                (mailbox, item)).lastrowid
        base = _key(kind, 0)
        self._database.executemany(
            "INSERT OR REPLACE INTO item VALUES (?, ?)",
            [(base + uid, data) for uid, data in rows])

    def item_names(self, mailbox):
        """The names of all kinds of a mailbox's items, the oldest first."""
        return [row[0] for row in self._database.execute(
            "SELECT item FROM item_kind WHERE mailbox = ? ORDER BY id", (mailbox,))]

    def _kind(self, mailbox, item):
        row = self._database.execute(
            "SELECT id FROM item_kind WHERE mailbox = ? AND item = ?", (mailbox, item)).fetchone()
        return None if row is None else row[0]

    def _kinds(self, mailbox):
        """The ids of all kinds of a mailbox's items, the oldest first."""
        return [row[0] for row in self._database.execute(
            "SELECT id FROM item_kind WHERE mailbox = ? ORDER BY id", (mailbox,))]

    def _forget_oldest_kind(self, mailbox):
        kinds = self._kinds(mailbox)
        for kind in kinds[:len(kinds) - _ITEMS + 1]:
            self._database.execute("DELETE FROM item WHERE id BETWEEN ? AND ?", _span(kind))
            self._database.execute("DELETE FROM item_kind WHERE id = ?", (kind,))

    # Searching

    def add_searchable(self, mailbox, rows):
        """Add (uid, {name: value}) rows; the names are those of SEARCHABLE."""
        base = _key(mailbox, 0)
        for table, names in SEARCHABLE.items():
            self._database.executemany(
                "INSERT OR REPLACE INTO %s VALUES (?%s)" % (table, ", ?" * len(names)),
                [(base + uid,) + tuple(map(values.get, names)) for uid, values in rows])

    def find(self, mailbox, condition, first, last):
        """Search the messages with UIDs from `first` to `last` by a Holds or SentWithin -> Found.
        """
        table, test, values = _test(condition)
        base = _key(mailbox, 0)
        # The UIDs are joined into one row, because Python takes the interpreter lock again for each
        # row. One statement gives both results, so that they are of the same state.
        select = "SELECT %%s, group_concat(CASE WHEN %s THEN id - ? END) FROM %s " \
                 "WHERE id BETWEEN ? AND ?" % (test, table)
        values += base, base + first, base + last
        is_whole, matching = self._database.execute(select % (
            "COUNT(*) = (SELECT COUNT(*) FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ?)"),
            (mailbox, first, last) + values).fetchone()
        if is_whole:
            return Found(_uids(matching), None)
        known, matching = self._database.execute(
            select % "group_concat(id - ?)", (base,) + values).fetchone()
        return Found(_uids(matching), _uids(known))

    # Which messages were derived

    def underived(self, version):
        """A mailbox some of whose messages are not derived: (its id, its folder, Span); or None.

        Mailboxes with new messages come first, then those with few messages left. `version`:
        messages that were derived by another version count as not derived.
        """
        found = self._database.execute(
            "SELECT mailbox.id, folder, COALESCE(above, uidnext - 1), COALESCE(last, uidnext - 1) "
            "FROM mailbox LEFT JOIN derived ON derived.mailbox = mailbox.id AND version = ? "
            "WHERE COALESCE(above, uidnext - 1) > 0 OR uidnext - 1 > last "
            "ORDER BY uidnext - 1 > last DESC, COALESCE(above, uidnext - 1) LIMIT 1",
            (version,)).fetchone()
        return found and (found[0], found[1], Span(*found[2:]))

    def set_derived(self, mailbox, version, span=None):
        """Note which messages are derived; `span` None: all of them."""
        self._database.execute(
            "INSERT OR REPLACE INTO derived "
            "SELECT id, ?, ?, COALESCE(?, uidnext - 1) FROM mailbox WHERE id = ?",
            (version,) + (span or (0, None)) + (mailbox,))

    def forget_derived(self, mailbox, uid):
        """Note that messages with this or a higher UID may not be derived. Call this if messages
        were added with UIDs below UIDNEXT."""
        self._database.execute("DELETE FROM derived WHERE mailbox = ? AND last >= ?",
                               (mailbox, uid))


def _test(condition):
    """A condition -> (table, SQL, values)."""
    if isinstance(condition, SentWithin):
        return "sent", "day BETWEEN ? AND ?", tuple(condition)
    table = _TABLE_OF[condition.name]
    if condition.octets:
        return table, 'instr("%s", ?)' % condition.name, (condition.octets,)
    return table, '"%s" IS NOT NULL' % condition.name, ()


def _uids(joined):
    return set(map(int, joined.split(","))) if joined else set()


def _key(group, uid):
    return (group << _SHIFT) + uid


def _span(group):
    """The first and the last key of a kind or a mailbox."""
    return _key(group, 0), _key(group + 1, 0) - 1
