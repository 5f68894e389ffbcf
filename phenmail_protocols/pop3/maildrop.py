"""A maildrop: the INBOX as one session sees it (RFC 1939 4 to 6).

1. Numbers, sizes and UIDs are those of the login. New mail shows in the next session. A message
   that another program removes keeps its number and its place in LIST, but cannot be retrieved.
2. Only `update` removes messages. No flag is ever set: a program that has a copy does not mean
   that a person has read it.
3. One session at a time holds a maildrop (RFC 1939 4), across processes: two programs that download
   and delete would miss messages. The lock is POP3's alone; IMAP, delivery and the shell do not
   wait for it.

Knows no reply and no connection. Raises store.errors.
"""
import logging
import os
from array import array

from ..disk.locks import FileLock, LockTimeout
from ..store import errors
from ..store.model import INBOX

log = logging.getLogger("phenmail.pop3")

LOCK = "phenmail-pop3.lock"
PATIENCE = 2.0  # seconds that a login waits for another session, which may be about to end
AHEAD = 50  # messages whose files are looked up at once
BATCH = 100  # messages that are removed at once; between batches, deliveries get the store's lock


class Maildrop:
    """Made by `open_maildrop`, ended by `close`."""

    def __init__(self, mailbox, lock):
        self._mailbox = mailbox
        self._lock = lock
        self._uids, self._sizes = array("I"), array("Q")
        for rows in mailbox.all_rows():
            self._uids.extend(iter(rows.uids))
            self._sizes.extend(iter(rows.sizes))
        self._octets = sum(self._sizes)
        self._uidvalidity = mailbox.uidvalidity
        self._deleted = set()  # numbers
        self._files = {}  # of the next messages
        self._deleted_octets = 0

    def __len__(self):
        """The highest message number: deleted messages count."""
        return len(self._uids)

    def count(self):
        """(messages, octets) without those marked as deleted."""
        return len(self._uids) - len(self._deleted), self._octets - self._deleted_octets

    def numbers(self):
        """The numbers of the messages that are not marked as deleted, ascending."""
        numbers = range(1, len(self._uids) + 1)
        if not self._deleted:
            return numbers
        return [number for number in numbers if number not in self._deleted]

    def size(self, number):
        """Octets of a message as it is sent, without dot-stuffing."""
        return self._sizes[number - 1]

    def unique_id(self, number):
        """The unique-id (RFC 1939 7) as str: UID, then UIDVALIDITY.

        This is Dovecot's form: after a change from Dovecot, programs do not download all again.
        """
        return "%08x%08x" % (self._uids[number - 1], self._uidvalidity)

    def is_deleted(self, number):
        """Whether this session marked the message as deleted."""
        return number in self._deleted

    def content(self, number):
        """-> store.content.Content, which the caller closes.

        Raises errors.Expunged if another program removed the message.
        """
        uid = self._uids[number - 1]
        if uid not in self._files:  # most programs retrieve one message after the other
            self._check()
            self._files = self._mailbox.files(self._uids[number - 1:number - 1 + AHEAD])
        content = self._mailbox.content_of(self._files.pop(uid)) if uid in self._files else None
        if content is None:
            raise errors.Expunged()
        return content

    def _check(self):
        """Raise errors.Expunged if the UIDVALIDITY changed: the UIDs name other messages now."""
        self._mailbox.state()  # notices what other processes did
        if self._mailbox.uidvalidity != self._uidvalidity:
            raise errors.Expunged()

    def delete(self, number):
        """Mark a message as deleted; `update` removes it."""
        self._deleted.add(number)
        self._deleted_octets += self.size(number)

    def undelete(self):
        """Unmark all messages."""
        self._deleted.clear()
        self._deleted_octets = 0

    def update(self, look=lambda: None):
        """Remove the marked messages -> (messages removed, messages that could not be removed).

        Messages that another program removed count as removed. Never raises StoreError.
        `look()` is called between batches; if it raises, the rest of the messages stays.
        """
        uids = [self._uids[number - 1] for number in sorted(self._deleted)]
        failed = []
        for start in range(0, len(uids), BATCH):
            look()
            failed += self._remove(uids[start:start + BATCH])
        return len(uids) - len(failed), len(failed)

    def _remove(self, uids):
        """Remove messages -> the UIDs of those that are still there."""
        try:
            self._check()
            gone = set(self._mailbox.remove(uids))
        except errors.Expunged:
            return []
        except errors.StoreError as error:
            log.error("%d messages could not be removed and stay in the maildrop: %s",
                      len(uids), error)
            gone = ()
        left = [uid for uid in uids if uid not in gone]
        try:
            return list(self._mailbox.rows(left).uids) if left else []
        except errors.StoreError:
            return left

    def close(self):
        """Release the lock. May be called again."""
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is not None:
            mailbox.close()
            self._lock.release()


def open_maildrop(store, folder, patience=PATIENCE):
    """Open the Maildrop of a mail folder (absolute path).

    `store`: store.filestore.FileStore; `patience`: seconds to wait for another session.
    Raises errors.InUse and other StoreErrors.
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
        raise errors.InUse("Maildrop is locked by another POP3 session, try again later") from None
    except OSError as error:
        log.error("cannot lock %s, refusing the login: %s", path, error.strerror)
        raise errors.Unavailable() from None
    return lock
