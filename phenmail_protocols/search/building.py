"""Steps that bring an account's search index up to date, for store.idle_work.

A step does one piece of work, which takes some 30 ms: it adds messages, compares the documents of a
mailbox with its messages, or removes dead documents. Each transaction adds one window of text and
leaves the index consistent, so the work may be interrupted at any time. If another process does the
same work, `Database.add` refuses the documents of the slower one.
"""
import logging
import time

from ..store import errors
from ..store.idle_work import Stopped
from .batches import Batch, Filling
from .comparing import Comparison, mark, now
from .texts import TooLarge, windows

_MESSAGES = 64  # messages whose rows are read at once
_SECONDS = 0.03  # of one piece of work
_PAGES = 50  # pages of the database that one transaction merges
_COUNT = 60.0  # seconds between two counts of dead documents
_COMPARE = 3600.0  # seconds between two comparisons of all documents of a mailbox
_LOOK = 60.0  # seconds between two checks of the files of a mailbox that is open
_FEW_DEAD = 1000  # so few dead documents are not worth rebuilding the index
log = logging.getLogger("phenmail.search")


class Builder:
    """Builds the index of one account. One thread at a time calls `step`."""

    def __init__(self, index, look):
        """`index`: the BodyIndex; `look`: IdleWork's."""
        self._account = None
        self.index = index
        self._look = look
        self._changed = True  # since the last `_tidy`
        self._next_count = 0.0  # when dead documents are counted next
        self._next_compare = {}  # box -> when all its documents may be compared again
        self._next_look = {}  # box -> when its files are checked next, if it is open
        self.comparison = Comparison(index)
        self._compared = {}  # (box, identity) -> (when a comparison began, the last UID)

    def step(self, account):
        """Do one piece of work; returns whether more is left.

        Raises errors.StoreError, and Stopped when the server stops.
        """
        self._account = account
        known = self._account.known_mailboxes()
        with self.index.open() as database:
            boxes = {mailbox: (box, upto) for box, mailbox, _, upto in database.boxes()}
        for mailbox in known:
            if mailbox.identity not in boxes:
                self._changed = True
                return self._new_box(mailbox, known)
        for mailbox in known:
            box, upto = boxes[mailbox.identity]
            if upto + 1 < mailbox.uidnext:
                self._changed = True
                return self._use(self._extend, mailbox, box, upto)
        return self._tidy(known, boxes)

    def _use(self, method, mailbox, box, argument):
        """Call `method(Mailbox, mailbox, box, argument)` if the mailbox still exists.

        Returns what the method returns: whether more work is left.
        """
        try:
            opened = self._account.open(mailbox.name)
        except errors.NotFound:
            return True  # `known_mailboxes` does not have it any more
        try:
            if self._account.identity_of(opened) != mailbox.identity:
                return True
            return method(opened, mailbox, box, argument)
        finally:
            opened.close()

    # Mailboxes; the methods return whether more work is left

    def _new_box(self, mailbox, known):
        """Find the box that the mailbox had under another identity, or add one."""
        alive = {each.identity for each in known}
        incarnation = mailbox.identity.split(".")[0]
        with self.index.open() as database:
            for box, identity, uidvalidity, upto in database.boxes():
                if (uidvalidity == mailbox.uidvalidity and identity not in alive
                        and identity.split(".")[0] != incarnation):
                    break
            else:
                database.add_box(mailbox.identity, mailbox.uidvalidity, now())
                return True
        return self._use(self._adopt, mailbox, box, upto)

    def _adopt(self, opened, mailbox, box, upto):
        """Give the box to the mailbox once all documents were compared with its files."""
        if self._compare(opened, mailbox, box, upto):
            with self.index.open() as database:
                database.set_mailbox(box, mailbox.identity)
        return True

    def _compare(self, opened, mailbox, box, upto):
        """Compare some documents with the files; returns whether all have been compared."""
        began, last = self._compared.pop((box, mailbox.identity), (now(), 0))
        last = self.comparison.some(opened, box, last, upto)
        if last < upto:
            self._compared[box, mailbox.identity] = began, last
            return False
        with self.index.open() as database:
            database.set_looked(box, began)
        return True

    def _look_at_files(self, opened, mailbox, box, upto):
        """Compare the documents of changed files; if there are too many, of all files."""
        if ((box, mailbox.identity) in self._compared
                or not self.comparison.of_changed(opened, box, upto, self._look)):
            if not self._compare(opened, mailbox, box, upto):
                return True
        self._next_look[box] = time.monotonic() + _LOOK
        return True

    # Messages

    def _extend(self, opened, mailbox, box, upto):
        """Add the next messages after the UID `upto`."""
        self._account.check_space()
        rows = self._account.rows_after(opened, upto, _MESSAGES)
        if not rows:
            with self.index.open() as database:
                database.add(box, upto, mailbox.uidnext - 1, (), ())
            return True
        self._add(opened, rows, Batch(self.index, box, upto))
        return True

    def _fill(self, opened, mailbox, box, uids):
        """Index the messages of gaps."""
        self._account.check_space()
        rows = []
        for uid in uids:
            rows += [row for row in self._account.rows_after(opened, uid - 1, 1) if row.uid == uid]
        gone = set(uids).difference([row.uid for row in rows])
        with self.index.open() as database:
            database.correct(box, gone, ())
        self._add(opened, rows, Filling(self.index, box))
        return True

    def _add(self, opened, rows, batch):
        ends = time.monotonic() + _SECONDS
        names = {row.uid: row.name for row in rows}
        for uid, content in opened.contents(list(names)):
            self._add_message(uid, names[uid], content, batch)
            if batch.is_lost or time.monotonic() > ends:
                break
        batch.flush()
        self._merge(ends)

    def _add_message(self, uid, name, content, batch):
        if content is None:  # expunged
            batch.end(uid)
            return
        with content:
            stamp = mark(name, *content.stamp())
            for window in self._windows(uid, content, batch):
                batch.add(uid, stamp, window)
                if batch.is_lost:
                    return

    def _windows(self, uid, content, batch):
        """Yield the windows of the message's texts. If it cannot be indexed, give it up."""
        try:
            yield from windows(content, self._look)
            batch.end(uid)
        except Stopped:
            raise
        except Exception as error:
            is_known = isinstance(error, (TooLarge, errors.StoreError))
            log.warning("%s: UID %d is not indexed, so searches always read it: %s",
                        self.index.path, uid, error, exc_info=not is_known)
            batch.give_up(uid)

    # Upkeep

    def _merge(self, ends):
        """Merge until the time `ends`; returns whether nothing is left to merge."""
        while True:
            self._look()
            with self.index.open() as database:
                more = database.merge(_PAGES)
                database.checkpoint()
            if not more:
                return True
            if time.monotonic() > ends:
                return False

    def _tidy(self, known, boxes):
        """When all messages are indexed: fill gaps, merge, check files, remove dead documents."""
        for mailbox in known:
            box, upto = boxes[mailbox.identity]
            with self.index.open() as database:
                uids = database.waiting(box, _MESSAGES)
            if uids:
                self._changed = True
                return self._use(self._fill, mailbox, box, uids)
        if self._changed and not self._merge(time.monotonic() + _SECONDS):
            return True
        for mailbox in self._open_mailboxes(known):
            box, upto = boxes[mailbox.identity]
            if time.monotonic() > self._next_look.get(box, 0):
                return self._use(self._look_at_files, mailbox, box, upto)
        if self._remove_dead(known, boxes):
            return True
        if self._changed:
            self._changed = False
            with self.index.open() as database:
                database.checkpoint(last=True)
        return False

    def _open_mailboxes(self, known):
        """Those of the `known` mailboxes that a session has open."""
        names = {opened.name for opened in self._account.open_mailboxes()}
        return [mailbox for mailbox in known if mailbox.name in names]

    def _remove_dead(self, known, boxes):
        """Remove documents of deleted mailboxes and expunged messages; returns whether there may be
        more."""
        if time.monotonic() < self._next_count:
            return False
        alive = {each.identity for each in known}
        for identity, (box, _) in boxes.items():
            if identity not in alive:
                with self.index.open() as database:
                    database.remove_some_of_box(box)
                return True
        messages = self._account.message_counts()
        with self.index.open() as database:
            indexed = database.messages()
        for mailbox in known:
            box, upto = boxes[mailbox.identity]
            exist = messages.get(mailbox.identity, 0)
            if (indexed.get(box, 0) - exist > max(_FEW_DEAD // 10, exist // 10)
                    and time.monotonic() > self._next_compare.get(box, 0)):
                return self._use(self._check, mailbox, box, upto)
        self._next_count = time.monotonic() + _COUNT
        return self._is_mostly_dead()

    def _check(self, opened, mailbox, box, upto):
        """Compare all documents of a mailbox in which many seem to be dead."""
        if self._compare(opened, mailbox, box, upto):
            self._next_compare[box] = time.monotonic() + _COMPARE
        return True

    def _is_mostly_dead(self):
        """If a third of all documents are dead, remove the index, so that it is rebuilt."""
        with self.index.open() as database:
            alive, ever = database.counts()
        if ever - alive <= max(_FEW_DEAD, alive // 2):
            return False
        log.info("%s: a third of the search index is of messages that are gone; rebuilding it",
                 self.index.path)
        self.index.remove()
        return True
