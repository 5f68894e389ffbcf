"""The index: one SQLite database for each account, a cache of the files' contents.

All SQL of the store is in this folder (nothing newer than SQLite 3.26). The caller holds the
account's lock around every call. The file may be deleted at any time: `is_current` notices this,
and the account rebuilds the index from the files.

Never `open()` the database file by other means: closing such a descriptor drops SQLite's locks in
the whole process (POSIX fcntl locks).
"""
import logging
import os
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from ..model import Usage
from . import derived_index, expunged
from .database_file import Error, Trouble, connect, is_file, remove, trouble

FILE = "phenmail-index.sqlite"
_VERSION = 6
UNKNOWN = -1  # size and date of a message that was not measured yet (rescanning/measuring.py)
_SLICE = 1000  # rows in memory at once
log = logging.getLogger("phenmail.store")

_TABLES = """
CREATE TABLE account (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, folder TEXT NOT NULL UNIQUE,
    uidvalidity INTEGER NOT NULL, uidnext INTEGER NOT NULL,
    modseq INTEGER NOT NULL, recent INTEGER NOT NULL,
    list_inode INTEGER NOT NULL, list_size INTEGER NOT NULL,
    new_time INTEGER NOT NULL, cur_time INTEGER NOT NULL, guid TEXT NOT NULL,
    messages INTEGER NOT NULL DEFAULT 0, octets INTEGER NOT NULL DEFAULT 0,
    unmeasured INTEGER NOT NULL DEFAULT 0);
CREATE TABLE message (
    mailbox INTEGER NOT NULL, uid INTEGER NOT NULL, name TEXT NOT NULL,
    fresh INTEGER NOT NULL, letters TEXT NOT NULL, size INTEGER NOT NULL,
    date INTEGER NOT NULL, modseq INTEGER NOT NULL,
    PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
"""


class MailboxRow(NamedTuple):
    """One mailbox. `list_*` and `*_time` identify the state of the files that the row reflects."""
    id: int
    folder: str
    uidvalidity: int
    uidnext: int
    modseq: int
    recent: int  # the first UID that no session has announced as \Recent
    list_inode: int
    list_size: int
    new_time: int  # mtime in ns of new/ when it was listed; 0: list it again
    cur_time: int
    guid: str  # as in the UID list

    @property
    def mailbox_id(self):
        """See model.Status."""
        return "F%s%08x" % (self.guid, self.uidvalidity)


class MessageRow(NamedTuple):
    """One message; `name` is its file's name without the flags."""
    uid: int
    name: str
    fresh: int  # 1: in new/, 0: in cur/
    letters: str  # flags and keywords as in the file name
    size: int  # octets as served
    date: int  # epoch seconds
    modseq: int


_MESSAGE = "uid, name, fresh, letters, size, date, modseq"
_MAILBOX = ", ".join(MailboxRow._fields)


class Index:
    """An open database. All methods may raise Error. A damaged file is replaced."""

    def __init__(self, path=None):
        """`path`: of the database; None: it is in memory."""
        self._path = path
        self._version = None
        if path is None:
            self.inode = 0
            self._connect(":memory:")
            return
        try:
            self._open()
        except Error as error:
            if trouble(error) is not Trouble.DAMAGED:
                raise
            log.error("%s: the index is damaged, rebuilding it from the files: %s", path, error)
            remove(path)
            self._open()

    def _open(self):
        self._connect(self._path)
        self.inode = os.stat(self._path).st_ino

    def _connect(self, path):
        self._database = connect(path, timeout=30, checkpoint=1000)
        self.expunged = expunged.Expunged(self._database)
        self.derived = derived_index.DerivedIndex(self._database)
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self):
        run = self._database.execute
        if run("PRAGMA journal_mode").fetchone()[0] not in ("wal", "memory"):
            log.warning("%s: SQLite's write-ahead log does not work on this file system; using a "
                        "slower journal", self._path)
        run("PRAGMA temp_store = MEMORY")
        if run("PRAGMA user_version").fetchone()[0] != _VERSION:
            self._make_tables()

    def _make_tables(self):
        run = self._database.execute
        run("BEGIN IMMEDIATE")
        try:
            if run("PRAGMA user_version").fetchone()[0] != _VERSION:
                for name, in run("SELECT name FROM sqlite_master WHERE type = 'table' "
                                 "AND name NOT LIKE 'sqlite_%'").fetchall():
                    run('DROP TABLE "%s"' % name.replace('"', '""'))
                for statement in (_TABLES + expunged.TABLES + derived_index.TABLES).split(";\n"):
                    if statement.strip():
                        run(statement)
                run("PRAGMA user_version = %d" % _VERSION)
            run("COMMIT")
        except BaseException:
            self.rollback()
            raise

    @property
    def in_memory(self):
        return self._path is None

    def close(self):
        self._database.close()

    def is_current(self):
        """Is the file at the path still the one that is open?"""
        return is_file(self._path, self.inode)

    def changed_elsewhere(self):
        """Did another process commit since the last call?"""
        version = self._database.execute("PRAGMA data_version").fetchone()[0]
        changed = version != self._version
        self._version = version
        return changed

    def begin(self):
        self._database.execute("BEGIN IMMEDIATE")

    def commit(self):
        self._database.execute("COMMIT")

    def rollback(self):
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    # The account

    def value(self, key, default=None):
        row = self._one("SELECT value FROM account WHERE key = ?", key)
        return default if row is None else row[0]

    def set_value(self, key, value):
        self._database.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (key, str(value)))

    def _one(self, sql, *values):
        return self._database.execute(sql, values).fetchone()

    # Mailboxes

    def mailbox(self, folder):
        row = self._one("SELECT %s FROM mailbox WHERE folder = ?" % _MAILBOX, folder)
        return None if row is None else MailboxRow(*row)

    def version(self):
        """A number that changes whenever this object changes the index."""
        return self._database.total_changes

    def mailboxes(self):
        return [MailboxRow(*row) for row in self._database.execute(
            "SELECT %s FROM mailbox" % _MAILBOX)]

    def add_mailbox(self, row):
        """Insert `row` (its id is ignored); returns it with its id."""
        cursor = self._database.execute(
            "INSERT INTO mailbox (%s) VALUES (NULL%s)"
            % (_MAILBOX, ", ?" * (len(row) - 1)), row[1:])
        self.expunged.forget(cursor.lastrowid, row.modseq)
        return row._replace(id=cursor.lastrowid)

    def update_mailbox(self, row):
        """Write all of `row` except its folder and GUID. The folder is indexed, so writing it
        would cost another page with every delivery."""
        self._database.execute(
            "UPDATE mailbox SET uidvalidity = ?, uidnext = ?, modseq = ?, recent = ?, "
            "list_inode = ?, list_size = ?, new_time = ?, cur_time = ? WHERE id = ?",
            row[2:10] + row[:1])

    def folders_with_guid(self, guid):
        """The folders of the mailboxes with this GUID."""
        return [row[0] for row in self._database.execute(
            "SELECT folder FROM mailbox WHERE guid = ?", (guid,))]

    def rename_mailbox(self, mailbox, folder):
        self._database.execute("UPDATE mailbox SET folder = ? WHERE id = ?", (folder, mailbox))

    def remove_folder(self, folder):
        """Remove the mailbox with this folder, if there is one."""
        row = self.mailbox(folder)
        if row is not None:
            self.remove_mailbox(row.id)

    def remove_mailbox(self, mailbox):
        run = self._database.execute
        self.derived.remove_mailbox(mailbox)
        self.expunged.remove_mailbox(mailbox)
        run("DELETE FROM message WHERE mailbox = ?", (mailbox,))
        run("DELETE FROM mailbox WHERE id = ?", (mailbox,))

    # Messages

    def messages(self, mailbox):
        """All messages, by UID: yields plain tuples in the order of MessageRow. The table may
        change between two of them."""
        return self._by_uid(_MESSAGE, mailbox)

    def places(self, mailbox):
        """(uid, name, fresh, letters) of all messages, like `messages`."""
        return self._by_uid("uid, name, fresh, letters", mailbox)

    def _by_uid(self, columns, mailbox):
        return chain.from_iterable(self._slices_by_uid(columns, mailbox))

    def _slices_by_uid(self, columns, mailbox):
        last = 0
        while True:
            rows = self._database.execute(
                "SELECT %s FROM message WHERE mailbox = ? AND uid > ? ORDER BY uid LIMIT %d"
                % (columns, _SLICE), (mailbox, last)).fetchall()
            yield rows
            if len(rows) < _SLICE:
                return
            last = rows[-1][0]

    def with_letter(self, mailbox, letter):
        """MessageRows of the messages that have `letter`, by UID."""
        return [MessageRow(*row) for row in self._database.execute(
            "SELECT %s FROM message WHERE mailbox = ? AND instr(letters, ?) "
            "ORDER BY uid" % _MESSAGE, (mailbox, letter))]

    def columns(self, mailbox):
        """(uid, letters, modseq, size, date) of all messages, like `messages`."""
        return self._by_uid("uid, letters, modseq, size, date", mailbox)

    def file_names(self, mailbox, fresh, info):
        """The file names of the messages in new (`fresh`) or cur; `info` is between name and
        letters."""
        return map(itemgetter(0), self._database.execute(
            "SELECT name || ? || letters FROM message WHERE mailbox = ? AND fresh = ?",
            (info, mailbox, fresh)))

    def letters(self, mailbox):
        """The set of all letters that messages have."""
        return set().union(*(row[0] for row in self._database.execute(
            "SELECT DISTINCT letters FROM message WHERE mailbox = ?", (mailbox,))))

    def counts(self, mailbox, recent):
        """(messages, unseen messages, messages with UIDs from `recent` on, octets, messages of
        unknown size)."""
        return self._one(
            "SELECT COUNT(*), COALESCE(SUM(instr(letters, 'S') = 0), 0), "
            "COALESCE(SUM(uid >= ?), 0), COALESCE(SUM(size), 0), COALESCE(SUM(size < 0), 0) "
            "FROM message WHERE mailbox = ?",
            recent, mailbox)

    def count(self, mailbox):
        """How many messages a mailbox has."""
        return self._one("SELECT messages FROM mailbox WHERE id = ?", mailbox)[0]

    def message_counts(self):
        """{mailbox: number of messages}, without empty ones."""
        return dict(self._database.execute(
            "SELECT mailbox, COUNT(*) FROM message GROUP BY mailbox"))

    def touch_messages(self, mailbox, modseq):
        """Give every message this mod-sequence."""
        self._database.execute("UPDATE message SET modseq = ? WHERE mailbox = ?", (modseq, mailbox))

    def touch_keywords(self, mailbox, modseq):
        """Give every message with keywords this mod-sequence."""
        self._database.execute("UPDATE message SET modseq = ? WHERE mailbox = ? "
                               "AND letters GLOB '*[a-z]*'", (modseq, mailbox))

    def select(self, mailbox, uids):
        """MessageRows of `uids` (ascending list), by UID."""
        return [MessageRow(*row) for row in self._ranged(
            "SELECT %s FROM message WHERE mailbox = ? "
            "AND uid BETWEEN ? AND ? ORDER BY uid" % _MESSAGE, mailbox, uids)]

    def after(self, mailbox, uid, most):
        """MessageRows of the first messages above this UID, by UID."""
        return self._some("uid > ? ORDER BY uid", mailbox, uid, most)

    def up_to(self, mailbox, uid, most):
        """MessageRows of the last messages up to this UID, the last one first."""
        return self._some("uid <= ? ORDER BY uid DESC", mailbox, uid, most)

    def _some(self, which, mailbox, uid, most):
        return [MessageRow(*row) for row in self._database.execute(
            "SELECT %s FROM message WHERE mailbox = ? AND %s LIMIT ?" % (_MESSAGE, which),
            (mailbox, uid, most))]

    def named(self, mailbox, names):
        """MessageRows of the messages with these names, by UID."""
        return [MessageRow(*row) for row in self._database.execute(
            "SELECT %s FROM message WHERE mailbox = ? AND name IN (%s) ORDER BY uid"
            % (_MESSAGE, ", ".join("?" * len(names))), [mailbox] + names)]

    def _ranged(self, sql, key, uids):
        """Rows of `uids`: one query for the range if they lie close together."""
        if not len(uids):
            return []
        run = self._database.execute
        first, last = uids[0], uids[-1]
        if last - first < 4 * len(uids) + 16:
            rows = run(sql, (key, first, last)).fetchall()
            wanted = set(uids)
            return [row for row in rows if row[0] in wanted]
        rows = []
        for uid in uids:
            rows += run(sql, (key, uid, uid))
        return rows

    def add_messages(self, mailbox, rows):
        self._database.executemany(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(mailbox,) + tuple(row) for row in rows])
        self._count(mailbox, [row[4] for row in rows], 1)

    def add_unmeasured(self, mailbox, rows, modseq):
        """Add messages of unknown size; `rows`: (uid, name, fresh, letters) of each."""
        self._database.executemany(
            "INSERT INTO message VALUES (%d, ?, ?, ?, ?, %d, %d, %d)"
            % (mailbox, UNKNOWN, UNKNOWN, modseq), rows)
        self._count(mailbox, [UNKNOWN] * len(rows), 1)

    def _count(self, mailbox, sizes, sign):
        """Update the mailbox's totals: messages of these sizes are added (`sign` 1) or removed
        (-1)."""
        known = [size for size in sizes if size > UNKNOWN]
        self._database.execute(
            "UPDATE mailbox SET messages = messages + ?, octets = octets + ?, "
            "unmeasured = unmeasured + ? WHERE id = ?",
            (sign * len(sizes), sign * sum(known), sign * (len(sizes) - len(known)), mailbox))

    def usage(self):
        """The Usage of all mailboxes, without the octets of messages of unknown size."""
        return Usage(*self._one(
            "SELECT COALESCE(SUM(octets), 0), COALESCE(SUM(messages), 0) FROM mailbox"))

    def deleted(self, mailbox, letter):
        """The Usage of the messages that have `letter`."""
        return Usage(*self._one(
            "SELECT COALESCE(SUM(size), 0), COUNT(*) FROM message "
            "WHERE mailbox = ? AND instr(letters, ?)", mailbox, letter))

    def unmeasured(self, mailbox, after, most):
        """UIDs of up to `most` messages of unknown size, ascending, with UIDs above `after`."""
        if not self._one("SELECT unmeasured FROM mailbox WHERE id = ?", mailbox)[0]:
            return []
        return [row[0] for row in self._database.execute(
            "SELECT uid FROM message WHERE mailbox = ? AND uid > ? AND size = ? "
            "ORDER BY uid LIMIT ?", (mailbox, after, UNKNOWN, most))]

    def set_sizes(self, mailbox, changes):
        """Set the (size, date) of messages of unknown size; `changes`: `{uid: (size, date)}`."""
        uids = [uid for uid, size in self._sizes(mailbox, sorted(changes)) if size == UNKNOWN]
        self._database.executemany(
            "UPDATE message SET size = ?, date = ? WHERE mailbox = %d AND uid = ?" % mailbox,
            [changes[uid] + (uid,) for uid in uids])
        self._count(mailbox, [UNKNOWN] * len(uids), -1)
        self._count(mailbox, [changes[uid][0] for uid in uids], 1)

    def _sizes(self, mailbox, uids):
        return self._ranged("SELECT uid, size FROM message WHERE mailbox = ? "
                            "AND uid BETWEEN ? AND ?", mailbox, uids)

    def rename_messages(self, mailbox, changes):
        """`changes`: (name, uid) of each message."""
        self._database.executemany(
            "UPDATE message SET name = ? WHERE mailbox = %d AND uid = ?" % mailbox, changes)

    def set_flags(self, mailbox, changes):
        """`changes`: (fresh, letters, modseq, uid) of each message."""
        self._database.executemany(
            "UPDATE message SET fresh = ?, letters = ?, modseq = ? "
            "WHERE mailbox = %d AND uid = ?" % mailbox, changes)

    def remove_messages(self, mailbox, uids, modseq):
        """Remove messages and what was derived from them, and note that they were expunged."""
        self._count(mailbox, [size for _, size in self._sizes(mailbox, sorted(uids))], -1)
        run = self._database.executemany
        run("DELETE FROM message WHERE mailbox = ? AND uid = ?", [(mailbox, uid) for uid in uids])
        self.expunged.add(mailbox, uids, modseq)
        self.derived.remove_messages(mailbox, uids)
