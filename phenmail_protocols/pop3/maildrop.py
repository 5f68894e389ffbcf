"""A maildrop: the INBOX as one session sees it, from its login to its end (RFC 1939 4 to 6).

Numbers, sizes and UIDs are those of the login.  New mail shows in the next session; a
message that another program removes keeps its number and its place in LIST, only its
text is gone.  Nothing is removed before `update`, and no flag is ever set: that a
program has a copy does not mean that a person has read it.

One session at a time holds a maildrop (RFC 1939 4), across processes: two programs that
leave and remove messages by number would pull them away under each other.  The lock is
this protocol's alone; IMAP, delivery and the shell go on beside it.

Knows no reply and no connection.  Raises store.errors.
"""
import logging
import os
from array import array

from ..disk.locks import FileLock, LockTimeout
from ..store import errors
from ..store.model import INBOX

log = logging.getLogger("phenmail.pop3")

LOCK = "phenmail-pop3.lock"
# Seconds that a login waits for the session before it, whose end may just be on its way.
PATIENCE = 2.0
# So many messages are removed at once; in between deliveries get their turn.
BATCH = 100


class Maildrop:
    """Made by `open_maildrop`; give it back with `close`."""

    def __init__(self, mailbox, lock):
        self._mailbox = mailbox
        self._lock = lock
        state = mailbox.state()
        rows = mailbox.rows(state.uids[:state.count])
        self._uids = array("I", rows.uids)
        self._sizes = array("Q", rows.sizes)
        self._octets = sum(self._sizes)
        self._uidvalidity = mailbox.uidvalidity
        self._deleted = set()  # numbers
        self._deleted_octets = 0

    def __len__(self):
        """How many numbers there are, those of deleted messages included."""
        return len(self._uids)

    # -- what it holds -----------------------------------------------------------------------------------------------------

    def count(self):
        """(messages, octets) without those marked as deleted."""
        return len(self._uids) - len(self._deleted), self._octets - self._deleted_octets

    def numbers(self):
        """The numbers of the messages that are not marked, ascending."""
        numbers = range(1, len(self._uids) + 1)
        if not self._deleted:
            return numbers
        return [number for number in numbers if number not in self._deleted]

    def size(self, number):
        """Octets of a message as it is sent, without its dot stuffing."""
        return self._sizes[number - 1]

    def unique_id(self, number):
        """The unique-id (RFC 1939 7) as str: UID, then UIDVALIDITY.

        It is Dovecot's form, so that a Maildir that was Dovecot's is not downloaded anew.
        """
        return "%08x%08x" % (self._uids[number - 1], self._uidvalidity)

    def is_deleted(self, number):
        """Whether a message was marked in this session."""
        return number in self._deleted

    def content(self, number):
        """A store.content.Content, to be closed.  Raises errors.Expunged when another program removed it."""
        self._check()
        return self._mailbox.content(self._uids[number - 1])

    def _check(self):
        """UIDs mean the messages of the login only under the UIDVALIDITY of the login."""
        self._mailbox.state()  # takes in what other processes did
        if self._mailbox.uidvalidity != self._uidvalidity:
            raise errors.Expunged()

    # -- marking and removing ----------------------------------------------------------------------------------------------

    def delete(self, number):
        """Mark a message, which is removed by `update`."""
        self._deleted.add(number)
        self._deleted_octets += self.size(number)

    def undelete(self):
        """Take all marks off."""
        self._deleted.clear()
        self._deleted_octets = 0

    def update(self, look=lambda: None):
        """Remove what is marked -> (how many went, how many are still there).

        What another program removed meanwhile counts as gone.  Never raises StoreError.
        `look()` is called between the steps; what it raises leaves the rest.
        """
        uids = [self._uids[number - 1] for number in sorted(self._deleted)]
        failed = []
        for start in range(0, len(uids), BATCH):
            look()
            failed += self._remove(uids[start:start + BATCH])
        return len(uids) - len(failed), len(failed)

    def _remove(self, uids):
        """The UIDs that are still there afterwards."""
        try:
            self._check()
            gone = set(self._mailbox.remove(uids))
        except errors.Expunged:
            return []
        except errors.StoreError as error:
            log.error("messages could not be removed: %s", error)
            gone = ()
        left = [uid for uid in uids if uid not in gone]
        try:
            return list(self._mailbox.rows(left).uids) if left else []
        except errors.StoreError:
            return left

    def close(self):
        """Let others in.  May be called again."""
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            mailbox.close()
            self._lock.release()


def open_maildrop(store, folder, patience=PATIENCE):
    """The Maildrop of a mail folder (absolute path).

    `store`: store.filestore.FileStore; `patience`: seconds to wait for another session.
    Raises errors.InUse, errors.Unavailable and what the store raises.
    """
    mailbox = store.account(folder).open(INBOX)
    try:
        lock = _locked(os.path.join(folder, LOCK), patience)
        try:
            return Maildrop(mailbox, lock)
        except BaseException:
            lock.release()
            raise
    except BaseException:
        mailbox.close()
        raise


def _locked(path, patience):
    lock = FileLock(path, patience)
    try:
        lock.acquire()
    except LockTimeout:
        raise errors.InUse("Another program reads this maildrop over POP3; try again in a moment") from None
    except OSError as error:
        log.error("%s: %s", path, error.strerror)
        raise errors.Unavailable() from None
    return lock
