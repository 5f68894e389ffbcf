"""The database of a search index: which documents have which trigrams.

All SQL of this room is here (nothing newer than SQLite 3.34, the first version with trigrams). The
caller holds a lock around every call. Like the store's index, the file must not be opened by other
means.

    box    a mailbox. Each of its messages up to the UID `upto` has documents or is in `gap`. Files
           with ctimes below `looked` (ns) match their documents.
    doc    (number of the document, box, UID, mark); a long message has several documents
    gap    messages that searches must always read. Those with `waits` have no right documents yet;
           the others cannot be indexed.
    text   the trigrams of the documents, by document number
"""
import os
import sqlite3

from ..store.indexing.database_file import Error, connect, is_file, remove

FILE = "phenmail-search.sqlite"
_VERSION = 1
_SLICE = 1000  # rows in memory at once
_COMMITS = 16  # transactions in the write-ahead log (some 4 MB) before it is checkpointed

_TEXT = ("CREATE VIRTUAL TABLE %s USING fts5(body, content='', columnsize=0, detail='none', "
         "tokenize='trigram case_sensitive 1')")
# FTS5 merges no segments by itself, because that takes long; `merge` does it in short transactions.
_TABLES = (
    "CREATE TABLE state (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE box (id INTEGER PRIMARY KEY AUTOINCREMENT, mailbox TEXT NOT NULL UNIQUE, "
    "uidvalidity INTEGER NOT NULL, upto INTEGER NOT NULL, looked INTEGER NOT NULL)",
    "CREATE TABLE doc (id INTEGER PRIMARY KEY AUTOINCREMENT, box INTEGER NOT NULL, "
    "uid INTEGER NOT NULL, mark INTEGER NOT NULL)",
    "CREATE INDEX doc_uid ON doc (box, uid, mark)",
    "CREATE TABLE gap (box INTEGER NOT NULL, uid INTEGER NOT NULL, waits INTEGER NOT NULL, "
    "PRIMARY KEY (box, uid)) WITHOUT ROWID",
    _TEXT % "text",
    "INSERT INTO text (text, rank) VALUES ('automerge', 0)",
    "INSERT INTO text (text, rank) VALUES ('crisismerge', 64)",
)


def is_available():
    """Can this SQLite index trigrams?"""
    database = sqlite3.connect(":memory:")
    try:
        database.execute(_TEXT % "probe")
        return True
    except Error:
        return False
    finally:
        database.close()


class Database:
    """An open database. All methods may raise Error and OSError."""

    def __init__(self, path):
        """Open `path`, or create it. A copied file, or a log without its database, is replaced."""
        self._path = path
        if not os.path.exists(path):
            remove(path)
        self._open()
        if self._value("file") != self.inode:
            self.close()
            remove(path)
            self._open()

    def _open(self):
        self._database = connect(self._path, timeout=5, checkpoint=0)  # `checkpoint` does it
        self._run = self._database.execute
        self._many = self._database.executemany
        self._commits = 0  # since the last checkpoint
        try:
            self.inode = os.stat(self._path).st_ino
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self):
        run = self._run
        run("PRAGMA secure_delete = OFF")
        if run("PRAGMA user_version").fetchone()[0] == 0:
            self._make_tables()
        elif run("PRAGMA user_version").fetchone()[0] != _VERSION:
            raise sqlite3.DatabaseError("another version of phenmail made this index")

    def _make_tables(self):
        with self:
            if self._run("PRAGMA user_version").fetchone()[0] == 0:
                if self._run("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                    raise sqlite3.DatabaseError("this is no search index")
                for statement in _TABLES:
                    self._run(statement)
                self._run("INSERT INTO state VALUES ('file', ?)", (self.inode,))
                self._run("PRAGMA user_version = %d" % _VERSION)

    def close(self):
        self._database.close()

    def is_current(self):
        """Is the file at the path still the one that is open?"""
        return is_file(self._path, self.inode)

    def __enter__(self):
        """Begin a transaction that writes."""
        self._run("BEGIN IMMEDIATE")

    def __exit__(self, kind, *_):
        if kind is None:
            self._run("COMMIT")
            self._commits += 1
        elif self._database.in_transaction:
            self._run("ROLLBACK")

    def _value(self, key):
        row = self._run("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    # Searching

    def candidates(self, mailbox, query, most):
        """The messages of a mailbox that an FTS5 `query` does not exclude. `mailbox`: its identity.

        Returns (upto, UIDs): all messages after the UID `upto`, and those in the set UIDs. None if
        the mailbox is unknown, or if there are more than `most` UIDs.
        """
        self._run("BEGIN")  # so that all queries see the same state
        try:
            box = self.box(mailbox)
            if box is None:
                return None
            rows = self._run("SELECT uid FROM gap WHERE box = ? LIMIT ?",
                             (box[0], most + 1)).fetchall()
            rows += self._run(
                "SELECT doc.uid FROM text CROSS JOIN doc ON doc.id = text.rowid "
                "WHERE text MATCH ? AND doc.box = ? LIMIT ?",
                (query, box[0], most + 1)).fetchall()
            if len(rows) > most:
                return None
            return box[1], {row[0] for row in rows}
        finally:
            self._run("COMMIT")

    # Mailboxes

    def box(self, mailbox):
        """(id, upto) of the mailbox with this identity, or None."""
        return self._run("SELECT id, upto FROM box WHERE mailbox = ?", (mailbox,)).fetchone()

    def boxes(self):
        """[(id, identity, uidvalidity, upto)]"""
        return self._run("SELECT id, mailbox, uidvalidity, upto FROM box").fetchall()

    def add_box(self, mailbox, uidvalidity, looked):
        with self:
            self._run("INSERT OR IGNORE INTO box (mailbox, uidvalidity, upto, looked) "
                      "VALUES (?, ?, 0, ?)", (mailbox, uidvalidity, looked))

    def set_mailbox(self, box, mailbox):
        """Give the box to the mailbox with this identity."""
        with self:
            self._run("UPDATE OR IGNORE box SET mailbox = ? WHERE id = ?", (mailbox, box))

    def looked(self, box):
        """When files were last compared (ns); 0 if there is no such box."""
        row = self._run("SELECT looked FROM box WHERE id = ?", (box,)).fetchone()
        return row[0] if row else 0

    def set_looked(self, box, looked):
        with self:
            self._run("UPDATE box SET looked = ? WHERE id = ?", (looked, box))

    def remove_some_of_box(self, box):
        """Remove some documents of a box, and with the last ones the box; returns whether more are
        left."""
        with self:
            self._run("DELETE FROM gap WHERE box = ?", (box,))
            more = self._run("DELETE FROM doc WHERE id IN (SELECT id FROM doc WHERE box = ? "
                             "LIMIT %d)" % _SLICE, (box,)).rowcount == _SLICE
            if not more:
                self._run("DELETE FROM box WHERE id = ?", (box,))
        return more

    # Documents

    def add(self, box, before, upto, documents, gaps):
        """Add `documents`, [(uid, mark, text)], and UIDs of `gaps`, up to the UID `upto`.

        Returns False, and does nothing, if the box does not end at `before` any more.
        """
        with self:
            found = self._run("SELECT upto FROM box WHERE id = ?", (box,)).fetchone()
            if found is None or found[0] != before:
                return False
            self._insert(box, documents)
            self._many("INSERT OR IGNORE INTO gap VALUES (?, ?, 0)",
                       [(box, uid) for uid in gaps])
            self._run("UPDATE box SET upto = ? WHERE id = ?", (upto, box))
        return True

    def _insert(self, box, documents):
        texts = []
        for uid, mark, text in documents:
            number = self._run("INSERT INTO doc (box, uid, mark) VALUES (?, ?, ?)",
                               (box, uid, mark)).lastrowid
            texts.append((number, text))
        self._many("INSERT INTO text (rowid, body) VALUES (?, ?)", texts)

    def fill(self, box, documents, filled, hopeless=()):
        """Add `documents`, [(uid, mark, text)], of messages in gaps.

        `filled`: UIDs that have all their documents now; `hopeless`: UIDs that cannot be indexed.
        """
        with self:
            self._insert(box, documents)
            self._many("DELETE FROM gap WHERE box = ? AND uid = ?", [(box, uid) for uid in filled])
            self._many("UPDATE gap SET waits = 0 WHERE box = ? AND uid = ?",
                       [(box, uid) for uid in hopeless])

    def waiting(self, box, most):
        """The first UIDs, at most `most`, of gaps that can be filled."""
        return [row[0] for row in self._run(
            "SELECT uid FROM gap WHERE box = ? AND waits ORDER BY uid LIMIT ?", (box, most))]

    def marks(self, box, first, last):
        """{uid: mark} of the documents with UIDs from `first` to `last`; a message whose documents
        have different marks has the mark None."""
        found = {}
        for uid, mark in self._run("SELECT DISTINCT uid, mark FROM doc WHERE box = ? "
                                   "AND uid BETWEEN ? AND ?", (box, first, last)):
            found[uid] = None if uid in found else mark
        return found

    def gaps(self, box, first, last):
        """The UIDs of gaps from `first` to `last`."""
        return {row[0] for row in self._run(
            "SELECT uid FROM gap WHERE box = ? AND uid BETWEEN ? AND ?", (box, first, last))}

    def correct(self, box, dead, missing):
        """Remove the documents and gaps of the UIDs in `dead`, and make gaps of `missing`."""
        with self:
            for table in ("doc", "gap"):
                self._many("DELETE FROM %s WHERE box = ? AND uid = ?" % table,
                           [(box, uid) for uid in dead])
            self._many("INSERT OR REPLACE INTO gap VALUES (?, ?, 1)",
                       [(box, uid) for uid in missing])

    def messages(self):
        """{box: number of messages with documents}"""
        return dict(self._run("SELECT box, COUNT(DISTINCT uid) FROM doc GROUP BY box"))

    def counts(self):
        """(documents, documents that were ever added)."""
        ever = self._run("SELECT seq FROM sqlite_sequence WHERE name = 'doc'").fetchone()
        return self._run("SELECT COUNT(*) FROM doc").fetchone()[0], ever[0] if ever else 0

    # Upkeep

    def merge(self, pages):
        """Merge segments of the FTS5 table, writing about so many pages; returns whether there was
        something to merge."""
        before = self._database.total_changes
        self._run("INSERT INTO text (text, rank) VALUES ('merge', ?)", (pages,))
        self._commits += 1
        return self._database.total_changes - before >= 2

    def checkpoint(self, last=False):
        """Move the log into the database, if it is long or if this is the `last` change for now."""
        if self._commits >= (1 if last else _COMMITS):
            self._run("PRAGMA wal_checkpoint(%s)" % ("TRUNCATE" if last else "PASSIVE")).fetchall()
            self._commits = 0
