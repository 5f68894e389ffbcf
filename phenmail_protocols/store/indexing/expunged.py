"""The part of the index that knows which messages were expunged, for QRESYNC (RFC 7162)."""

_REMEMBERED = 100000  # messages that were expunged longer ago, in mod-sequences, are forgotten
_MOST = 20000  # UIDs of expunged messages in memory at once

TABLES = """
CREATE TABLE expunged (
    mailbox INTEGER NOT NULL, modseq INTEGER NOT NULL, uid INTEGER NOT NULL,
    PRIMARY KEY (mailbox, modseq, uid)) WITHOUT ROWID;
"""


class Expunged:
    """The UIDs of expunged messages, with their mod-sequences; `database`: the index's."""

    def __init__(self, database):
        self._database = database

    def add(self, mailbox, uids, modseq):
        """Note that messages were expunged at this mod-sequence; forget the oldest ones."""
        self._database.executemany(
            "INSERT INTO expunged VALUES (?, ?, ?)", [(mailbox, modseq, uid) for uid in uids])
        self._database.execute("DELETE FROM expunged WHERE mailbox = ? AND modseq < ?",
                               (mailbox, modseq - _REMEMBERED))

    def forget(self, mailbox, modseq):
        """Record that, up to this mod-sequence, messages may have been expunged without being
        recorded, so `since` cannot answer for earlier ones.

        The record is a row with UID 0, which no message has.
        """
        self._database.execute("INSERT OR REPLACE INTO expunged VALUES (?, ?, 0)",
                               (mailbox, modseq))

    def since(self, mailbox, since, modseq):
        """UIDs expunged after the mod-sequence `since`, ascending; None if that is too long ago or
        there are too many.

        `modseq`: the mailbox's highest one.
        """
        run = self._database.execute
        known = run("SELECT MAX(modseq) FROM expunged WHERE mailbox = ? AND uid = 0",
                    (mailbox,)).fetchone()[0] or 0
        if since < max(known, modseq - _REMEMBERED):
            return None
        found = [row[0] for row in run(
            "SELECT DISTINCT uid FROM expunged WHERE mailbox = ? AND modseq > ? AND uid > 0 "
            "ORDER BY uid LIMIT ?", (mailbox, since, _MOST + 1))]
        return found if len(found) <= _MOST else None

    def remove_mailbox(self, mailbox):
        self._database.execute("DELETE FROM expunged WHERE mailbox = ?", (mailbox,))
