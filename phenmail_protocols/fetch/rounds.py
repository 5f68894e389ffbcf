"""One account: its connection, and the rounds in which its new mail is fetched.

A round looks at each mailbox, oldest messages first. For each message: file it (filing.py), note it
(keeping/state.py), and only then, once the notes are synced, remove it at the source if the user
wants that. A message that cannot be kept now stays for the next round, and the second one of these
ends the round; those that the server refuses to give stay, too, and end no round. A connection that
is cut within a message is made again, and the message goes on there.
"""
import threading
import time

from ..store.errors import StoreError
from . import identity
from .filing import DELETE, DONE, FILTER, KNOWN, LATER, Filed, Later, target_of
from .finishing import Finishing
from .keeping.known import Numbers
from .keeping.notes import Keys, Uids, is_same, validity_of
from .source import BoxGone, FetchError, LoginRefused, MessageGone, Throttled, Unreadable

_MOST_CUTS = 3  # of a connection within a message, without an octet between two of them
_ALL_CUTS = 50  # of a connection within a message
_MOST_ROUNDS = 3  # in which a server does not give a message
_MOST_COUNTED = 1000  # messages whose rounds are counted
_MOST_UNREADABLE = 20  # messages of a mailbox that the server refuses, in one round
_SLICE = 300.0  # seconds until other accounts get their turn
_DAY = 86400


class Rounds:
    """One account. For one thread.

    `account`: settings.FetchAccount; `folders`: its owner's mail folders; `state`: state.State;
    `filing`: filing.Filing; `store`: store.filestore.FileStore; `status`: status.Status;
    `connect()` -> Source, logged in; `is_stopped()`: whether to end soon; `clock()`: epoch seconds.
    """

    def __init__(self, account, folders, state, filing, store, status, connect, is_stopped,
                 clock=time.time):
        self._account = account
        self._is_imap = account.protocol.startswith("imap")
        self._boxes = (("", account.boxes[0][1] if account.boxes else FILTER),)
        if self._is_imap:
            # The last one stays open, and IDLE tells what is new in it.
            self._boxes = [("INBOX" if name.upper() == "INBOX" else name, action)
                           for name, action in account.boxes[1:] + account.boxes[:1]]
        self._folders = folders
        self._state = state
        self._filing = filing
        self._store = store
        self._status = status
        self._connect = connect
        self._is_stopped = is_stopped
        self._clock = clock
        self._key = identity.account_key(account)
        self._source = self._box = None
        self._lock = threading.RLock()  # guards notes and state while messages are kept
        self._finishing = None
        self._arrived = None  # Numbers: keys of messages in our mailboxes, while notes are in doubt
        self._unfinished = set()  # keys of messages that are here, but not yet in the queue, too
        self._unreadable = {}  # key of a message -> rounds in which the server did not give it
        self._later = ""  # why the last message could not be kept
        self._refused = 0  # messages of this mailbox that the server does not give
        self._planned = 0  # octets of messages that are asked for and not yet counted
        self._ends = None  # why no more is asked for: False (others have their turn), an error
        self._until = 0.0

    def look(self):
        """One round -> whether mail is left for another one at once. Raises FetchError."""
        self._until, self._later = time.monotonic() + _SLICE, ""
        self._status.problems = []
        try:
            is_more = self._look()
            if not self._is_imap:
                self.close()
                self._state.abandon()
        except OSError as error:
            self.abandon()
            raise Later("the state of this account cannot be kept: %s" % (error.strerror or error))
        except StoreError as error:
            self.abandon()
            raise Later("mail cannot be stored now: %s" % error)
        except FetchError:
            self.abandon()
            raise
        if self._later:
            raise Later(self._later)
        if not is_more and not self._status.problems:
            self._state.settle()
            self._arrived = None
            self._unfinished.clear()
        return is_more

    def _look(self):
        state = self._state
        state.refresh()
        self._finishing = Finishing()
        if self._unfinished or state.doubt is not None and self._arrived is None:
            self._arrived = self._found_here(state.doubt or 0)
        try:
            return self._look_into_all()
        finally:
            try:
                self._finishing.end()
            finally:
                state.end_round()

    def _look_into_all(self):
        """A mailbox that cannot be fetched does not keep the others from it."""
        is_more, failures = False, []
        for name, action in self._boxes:
            if self._source is None:
                self._source = self._connect()
            target = target_of(action, self._folders)
            try:
                complaint = self._filing.complaint(target)
                if complaint:
                    self._status.complain("%s is not fetched: %s" % (name or "it", complaint))
                else:
                    is_more = self._look_into(name, target) or is_more
            except BoxGone as error:
                self._status.complain(str(error))
            except (LoginRefused, Throttled, Later):
                raise
            except FetchError as error:
                self._require_going_on()
                self._finishing.drain()
                self._drop_source()
                self._status.complain("%s: %s" % (name, error))
                failures.append(error)
        if len(failures) == len(self._boxes):
            raise failures[0]
        return is_more

    def _found_here(self, since):
        """The keys of messages that were fetched since a time and are in a mailbox now."""
        found = Numbers()
        for folder in sorted(set(self._folders.values())):
            for key in self._store.account(folder).arrival_keys(since):
                found[identity.short(key)] = 1
        return found

    def _look_into(self, name, target):
        box = self._source.open(name)._replace(name=name)
        if self._is_imap:
            box = box._replace(validity=validity_of(self._state, box, self._is_empty_after))
        self._box = box
        kind = Uids if self._is_imap else Keys
        notes = kind(self._state, self._box, self._account.remove, self._clock)
        if notes.is_first and self._account.first_time == "ignore-all":
            notes.ignore_all(self._source)
            return False
        notes.first_look()
        postponed, self._refused = [], 0
        try:
            is_complete = (not notes.may_be_new()
                           or self._take_new(notes, target, notes.contents(), postponed))
        except (Later, Throttled):  # the connection is still good
            self._finishing.drain()
            self._remove(notes)
            raise
        self._remove(notes)
        if is_complete:
            notes.complete(postponed)
        return not is_complete

    def _is_empty_after(self, uid):
        return not any(True for _ in self._source.new(uid, lambda key: False))

    def _take_new(self, notes, target, known, postponed):
        """Fetch what is new -> whether all was looked at."""
        while True:
            is_complete = self._take_listed(notes, target, known, postponed)
            if is_complete is not None:
                return is_complete
            if self._source is None:
                self._connect_again()

    def _take_listed(self, notes, target, known, postponed):
        """The same over one connection; None: it was lost, and the rest is to be listed again."""
        skipped = {message.key for message in postponed}

        def passes_by(key):
            with self._lock:
                return key in skipped or notes.passes_by(key)
        listed = self._source.new(notes.after, passes_by)
        self._ends = None
        source = self._source
        for message, pieces in source.read_all(self._wanted(listed, notes, target)):
            self._take(notes, target, message, pieces, known, postponed)
            if self._source is not source or self._is_hopeless(postponed) or notes.has_many_due():
                self._finishing.drain()
                if self._source is not source:
                    notes.forget_due()
                if self._is_hopeless(postponed):
                    raise Later(self._later)
                self._remove(notes)
                if self._source is not source:
                    return None
        self._finishing.drain()
        if isinstance(self._ends, FetchError):
            raise self._ends
        return self._ends is None

    def _is_hopeless(self, postponed):
        """Whether to end the round, because more messages would hardly fare better."""
        return len(postponed) - self._refused > 1 or self._refused > _MOST_UNREADABLE

    def _wanted(self, listed, notes, target):
        """Those of the listed messages that are to be fetched. Sets `_ends` if it ends early, to
        False or to the reason."""
        self._planned = 0
        for message in listed:
            self._require_going_on()
            if time.monotonic() > self._until:
                self._ends = False
                return
            with self._lock:
                notes.saw(message)
                is_wanted = self._is_wanted(message, notes, target)
                if is_wanted:
                    self._ends = self._over_limit(message.size)
                    if self._ends is not None:
                        return
                    self._planned += message.size
            if is_wanted:
                yield message
            elif notes.has_many_due():
                self._finishing.drain()
                self._remove(notes)

    def _is_wanted(self, message, notes, target):
        """Whether a listed message is to be fetched; if not, what is to be done is noted."""
        if notes.is_delivered(message):
            notes.remove_soon(message)
        elif (target.kind != DELETE and not notes.was_removed(message)
              and self._is_here(message) and not self._is_unfinished(message, target)):
            notes.delivered(message, 0)
        elif notes.is_ignored(message):
            notes.leave(message)
        elif target.kind == DELETE:
            notes.remove_soon(message)
        elif self._filing.too_large(message.size):
            self._leave(notes, message, self._filing.too_large(message.size))
        else:
            return True
        return False

    def _require_going_on(self):
        if self._is_stopped():
            raise FetchError("stopped")

    def _is_here(self, message):
        """Whether a message is in a mailbox of ours, although there is no note of it."""
        return self._arrived is not None and identity.short(self._name(message)) in self._arrived

    def _is_unfinished(self, message, target):
        """Whether what filters send elsewhere of a message that is here may not be in the queue: it
        failed, or the server was killed before that was noted. A copy that left may leave again."""
        return target.kind == FILTER and bool(self._state.doubt or identity.short(
            self._name(message)) in self._unfinished)

    def _name(self, message):
        return identity.name_key(self._key, self._box.name, self._box.validity, message.key)

    def _take(self, notes, target, message, pieces, known, postponed):
        """Fetch one message; another thread keeps it. It comes to `postponed` if that fails now."""
        with self._lock:
            self._state.begin()
        pieces = self._pieces(message, pieces)
        if not (self._is_imap or notes.was_removed(message)):
            known = ()
        try:
            received = self._filing.receive(
                message, target, self._name(message), pieces, known,
                is_here=not notes.was_removed(message) and self._is_here(message))
        except MessageGone:
            return
        except (LoginRefused, Throttled):
            raise
        except FetchError as error:
            self._require_going_on()
            self._not_read(notes, message, error, postponed)
            return
        finally:
            pieces.close()  # it may not be at its end
        if isinstance(received, Filed):
            self._note(notes, message, received, postponed)
            return

        def keep(turn):
            # At once: see filing.py for what a crash between the two repeats.
            self._note(notes, message, received.keep(turn), postponed)
        try:
            self._finishing.submit(keep)
        except BaseException:
            received.drop()
            raise

    def _note(self, notes, message, filed, postponed):
        """Note what became of a message. Any thread may call it."""
        with self._lock:
            self._state.count(filed.octets)
            self._planned -= message.size
            key = identity.short(self._name(message))
            self._unfinished.discard(key)
            if filed.kind in (DONE, KNOWN):
                notes.delivered(message, filed.content)
                self._status.fetched += filed.kind == DONE
                self._status.octets += filed.octets
            elif filed.kind == LATER:
                self._unfinished.add(key)
                self._postpone(message, "could not be kept: %s" % filed.text, postponed)
            else:
                self._leave(notes, message, filed.text)

    def _postpone(self, message, why, postponed):
        with self._lock:
            self._later = "message %s of %s %s" % (
                message.key, self._box.name or self._account.server, why)
            postponed.append(message)

    def _not_read(self, notes, message, error, postponed):
        """A message that the server does not give in several rounds stays there."""
        key = self._name(message)
        times = self._unreadable.pop(key, 0) + isinstance(error, Unreadable)
        if times >= _MOST_ROUNDS:
            with self._lock:
                self._leave(notes, message, "the server does not give it: %s" % error)
            return
        if times and len(self._unreadable) < _MOST_COUNTED:
            self._unreadable[key] = times
        self._refused += isinstance(error, Unreadable)
        self._postpone(message, "could not be read: %s" % error, postponed)

    def _leave(self, notes, message, why):
        notes.leave(message)
        self._status.leave("message %s of %s stays there: %s" % (
            message.key, self._box.name or self._account.server, why))

    def _over_limit(self, size):
        """Throttled, if so many octets more are too many for this day; else None."""
        limit, before = self._account.limit, self._state.count(0) + self._planned
        # A message that is larger than the limit comes first on a day, or it would never come.
        if limit is None or not before or before + size <= limit:
            return None
        return Throttled("the limit of %d octets a day is reached" % limit,
                         _DAY - self._clock() % _DAY + 60)

    def _pieces(self, message, pieces):
        """The octets of a message, over as many connections as it needs. `pieces`: of the first."""
        offset = cuts = in_vain = 0
        while True:
            before = offset
            try:
                for piece in pieces:
                    offset += len(piece)
                    self._require_going_on()
                    yield piece
                return
            except (MessageGone, LoginRefused, Throttled, Unreadable):
                raise
            except FetchError as error:
                cuts += 1
                in_vain = 0 if offset > before else in_vain + 1
                if in_vain >= _MOST_CUTS or cuts >= _ALL_CUTS or self._is_stopped():
                    self._drop_source()
                    raise Unreadable(str(error)) from error
            self._connect_again()
            message = self._found_again(message)
            pieces = self._source.read(message, offset)

    def _connect_again(self):
        """A new connection, with the same mailbox open."""
        self._drop_source()
        self._source = self._connect()
        box = self._source.open(self._box.name)._replace(name=self._box.name)
        if not is_same(box, self._box):
            raise FetchError("%s changed while it was read" % box.name)
        self._box = box._replace(validity=self._box.validity)

    def _found_again(self, message):
        """A message as it is named over a new connection."""
        if self._is_imap:
            return message
        for found in self._source.new(0, lambda key: key != message.key):
            if found.key == message.key:
                return found
        raise MessageGone("the message is gone")

    def _remove(self, notes):
        """Remove at the source what is due there."""
        if self._source is None or not notes.has_due():
            return
        self._state.sync()
        for messages in notes.due():
            self._source.remove(messages)
            notes.removed(messages)

    # Between two rounds

    @property
    def can_wait(self):
        """Whether `wait` works: there is a connection, and the server tells when mail comes."""
        return self._is_imap and self._source is not None and self._source.can_wait

    def wait(self, seconds, waker):
        """Wait for mail in the first mailbox -> whether to look now. Raises FetchError."""
        try:
            return self._source.wait(seconds, waker)
        except FetchError:
            self.abandon()
            raise

    def close(self):
        """Log out. For POP3 this is when messages are removed. Raises FetchError."""
        source, self._source = self._source, None
        leaving, self._state.leaving = self._state.leaving, []
        if source is not None:
            source.close()
            with self._lock:
                self._state.gone(leaving)

    def abandon(self):
        """Close connection and files after a failure. Raises nothing."""
        self._drop_source()
        self._state.abandon()

    def _drop_source(self):
        try:
            self.close()
        except (FetchError, OSError):
            pass
