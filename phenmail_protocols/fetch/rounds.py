"""One account: its connection, and the rounds in which its new mail is fetched.

A round looks at each mailbox, oldest messages first. For each message: file it (filing.py), note it
(state.py), and only then, once the notes are synced, remove it at the source if the user wants
that. A message that cannot be kept now stays for the next round, and the second one of these ends
the round. A connection that is cut within a message is made again, and the message goes on there.
"""
import time

from ..store.errors import StoreError
from ..text.clock import EARLIEST
from . import identity
from .filing import DELETE, DONE, FILTER, KNOWN, LATER, Later, target_of
from .known import Numbers
from .source import BoxGone, FetchError, LoginRefused, MessageGone, RemoteMessage, Throttled

_TOGETHER = 100  # messages that are removed at once at the source
_MOST_CUTS = 3  # of a connection within a message, without an octet between two of them
_ALL_CUTS = 50  # of a connection within a message
_SLICE = 300.0  # seconds until other accounts get their turn
_HIGHEST = 2 ** 32 - 1  # of UIDs
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
        self._arrived = None  # Numbers: keys of messages in our mailboxes, while notes are in doubt
        self._later = ""  # why the last message could not be kept
        self._until = 0.0

    def look(self):
        """One round -> whether mail is left for another one at once. Raises FetchError."""
        self._until, self._later = time.monotonic() + _SLICE, ""
        self._status.problems = []
        try:
            is_more = self._look()
            if not self._is_imap:
                self.close()
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
        return is_more

    def _look(self):
        state = self._state
        state.refresh()
        if state.doubt is not None and self._arrived is None:
            self._arrived = self._found_here(state.doubt)
        try:
            if self._source is None:
                self._source = self._connect()
            is_more = False
            for name, action in self._boxes:
                target = target_of(action, self._folders)
                try:
                    complaint = self._filing.complaint(target)
                    if complaint:
                        self._status.complain("%s is not fetched: %s" % (name or "it", complaint))
                    else:
                        is_more = self._look_into(name, target) or is_more
                except BoxGone as error:
                    self._status.complain(str(error))
            return is_more
        finally:
            state.end_round()

    def _found_here(self, since):
        """The keys of messages that were fetched since a time and are in a mailbox now."""
        found = Numbers()
        for folder in sorted(set(self._folders.values())):
            for key in self._store.account(folder).arrival_keys(since):
                found[identity.short(key)] = 1
        return found

    def _look_into(self, name, target):
        self._box = self._source.open(name)._replace(name=name)
        kind = _Uids if self._is_imap else _Keys
        notes = kind(self._state, self._box, self._account.remove, self._clock)
        if notes.is_first and self._account.first_time == "ignore-all":
            notes.ignore_all(self._source)
            return False
        notes.first_look()
        postponed = []
        try:
            is_complete = (not notes.may_be_new()
                           or self._take_new(notes, target, notes.contents(), postponed))
        except (Later, Throttled):  # the connection is still good
            self._remove(notes)
            raise
        self._remove(notes)
        if is_complete:
            notes.complete(postponed)
        return not is_complete

    def _take_new(self, notes, target, known, postponed):
        """Fetch what is new -> whether all was looked at."""
        for message in self._source.new(notes.after, notes.passes_by):
            if self._is_stopped():
                raise FetchError("stopped")
            if time.monotonic() > self._until:
                return False
            notes.saw(message)
            if notes.is_delivered(message):  # it is due for removal
                notes.remove_soon(message)
            elif not self._take(notes, target, message, known):
                if postponed:
                    raise Later(self._later)
                postponed.append(message)
            if notes.has_many_due():
                self._remove(notes)
        return True

    def _take(self, notes, target, message, known):
        """Fetch one message -> False if it could not be kept now."""
        if target.kind == DELETE:
            notes.remove_soon(message)
            return True
        key = identity.name_key(self._key, self._box.name, self._box.validity, message.key)
        if self._arrived is not None and identity.short(key) in self._arrived:
            notes.delivered(message, 0)
            return True
        if notes.is_ignored(message):
            notes.leave(message)
            return True
        too_large = self._filing.too_large(message.size)
        if too_large:
            return self._leave(notes, message, too_large)
        self._require_allowance(message.size)
        self._state.begin()
        try:
            filed = self._file(message, target, key, known)
        except MessageGone:
            return True
        self._state.count(filed.octets)
        if filed.kind in (DONE, KNOWN):
            # At once: see filing.py for what a crash before this line repeats.
            notes.delivered(message, filed.content)
            self._status.fetched += filed.kind == DONE
            self._status.octets += filed.octets
            return True
        if filed.kind == LATER:
            self._later = "message %s of %s could not be kept: %s" % (
                message.key, self._box.name or self._account.server, filed.text)
            return False
        return self._leave(notes, message, filed.text)

    def _file(self, message, target, key, known):
        pieces = self._pieces(message)
        try:
            return self._filing.file(message, target, key, pieces, known)
        finally:
            pieces.close()  # it may not be at its end

    def _leave(self, notes, message, why):
        notes.leave(message)
        self._status.leave("message %s of %s stays there: %s" % (
            message.key, self._box.name or self._account.server, why))
        return True

    def _require_allowance(self, size):
        limit = self._account.limit
        today = self._state.count(0)
        # A message that is larger than the limit comes first on a day, or it would never come.
        if limit is not None and today and today + size > limit:
            now = self._clock()
            raise Throttled("the limit of %d octets a day is reached" % limit,
                            _DAY - now % _DAY + 60)

    def _pieces(self, message):
        """The octets of a message, over as many connections as it needs."""
        offset = cuts = in_vain = 0
        while True:
            before = offset
            try:
                for piece in self._source.read(message, offset):
                    offset += len(piece)
                    if self._is_stopped():
                        raise FetchError("stopped")
                    yield piece
                return
            except (MessageGone, LoginRefused, Throttled):
                raise
            except FetchError:
                cuts += 1
                in_vain = 0 if offset > before else in_vain + 1
                if in_vain >= _MOST_CUTS or cuts >= _ALL_CUTS or self._is_stopped():
                    raise
            message = self._reopen(message)

    def _reopen(self, message):
        """A new connection, with the same mailbox open -> the message as it is named there."""
        self._drop_source()
        self._source = self._connect()
        box = self._source.open(self._box.name)._replace(name=self._box.name)
        if box.validity != self._box.validity:
            raise FetchError("%s changed while it was read" % box.name)
        self._box = box
        if self._is_imap:
            return message
        for found in self._source.new(0, lambda key: key != message.key):
            if found.key == message.key:
                return found
        raise MessageGone("the message is gone")

    def _remove(self, notes):
        """Remove at the source what is due there."""
        if not notes.has_due():
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
        if source is not None:
            source.close()

    def abandon(self):
        """Close connection and files after a failure. Raises nothing."""
        self._drop_source()
        self._state.abandon()

    def _drop_source(self):
        try:
            self.close()
        except FetchError:
            pass


class _Uids:
    """The notes of one IMAP mailbox during a round."""

    def __init__(self, state, box, remove, clock):
        self._state = state
        self._box = box
        self._mailbox = state.mailbox(box.name, box.validity)
        self._remove = remove
        self._clock = clock
        self._last = 0
        self._soon = []  # messages to remove that were not delivered

    @property
    def is_first(self):
        return self._mailbox.ignored_until is None

    def first_look(self):
        if self.is_first:
            self._state.first_look(self._mailbox, False)

    def ignore_all(self, source):
        last = self._box.next_uid - 1
        if last < 0:
            last = max([_uid(each) for each in source.new(0, lambda key: False)], default=0)
        self._state.first_look(self._mailbox, True)
        if last:
            self._state.leave(self._mailbox, 1, last)
        self._state.complete(self._mailbox)

    def contents(self):
        return () if self._mailbox.is_complete else self._state.contents(self._mailbox)

    @property
    def after(self):
        return self._mailbox.done.beginning

    def may_be_new(self):
        return not self._box.next_uid or self._box.next_uid - 1 > self.after

    def passes_by(self, key):
        return _number(key) in self._mailbox.done

    def saw(self, message):
        self._last = max(self._last, _uid(message))

    def is_delivered(self, message):
        return False  # `passes_by` hides those

    def is_ignored(self, message):
        mailbox = self._mailbox
        return (not mailbox.is_complete and bool(mailbox.ignored_until)
                and message.date is not None and message.date < mailbox.ignored_until)

    def delivered(self, message, content):
        self._state.delivered(self._mailbox, _uid(message), content)

    def leave(self, message):
        self._state.leave(self._mailbox, _uid(message))

    def complete(self, postponed):
        """All was looked at: what lies between is no message any more."""
        first = 1
        for uid in sorted(map(_uid, postponed)) + [self._last + 1]:
            if uid > first and self._mailbox.done.beginning < uid - 1:
                self._state.leave(self._mailbox, first, uid - 1)
            first = uid + 1
        if not postponed:
            self._state.complete(self._mailbox)

    # Removal

    def remove_soon(self, message):
        self._soon.append(message)

    def _count_due(self):
        if self._remove is True:
            return len(self._mailbox.delivered[0])
        now = self._clock()
        if not self._remove or now < EARLIEST:
            return 0
        until = now - self._remove * _DAY
        return sum(1 for moment in self._mailbox.delivered[1] if moment <= until)

    def has_due(self):
        return bool(self._soon or self._count_due())

    def has_many_due(self):
        return len(self._soon) + (self._remove is True
                                  and len(self._mailbox.delivered[0])) >= _TOGETHER

    def due(self):
        soon, self._soon = self._soon, []
        if soon:
            yield soon
        count = self._count_due()
        while count > 0:
            uids = self._mailbox.delivered[0][:min(count, _TOGETHER)]
            yield [RemoteMessage(str(uid), 0) for uid in uids]
            count -= len(uids)

    def removed(self, messages):
        uids = self._mailbox.delivered[0]
        if uids and messages and int(messages[0].key) == uids[0]:
            self._state.removed(self._mailbox, len(messages))


class _Keys:
    """The notes of a POP3 server during a round. See _Uids for the names."""

    after = 0

    def __init__(self, state, box, remove, clock):
        self._state = state
        self._remove = remove
        self._clock = clock
        self._mailbox = state.mailbox("", 0)
        self._soon = []

    @property
    def is_first(self):
        return self._mailbox.ignored_until is None

    def first_look(self):
        if self.is_first:
            self._state.first_look(self._mailbox, False)

    def ignore_all(self, source):
        for message in source.new(0, self.passes_by):
            self.leave(message)
        # Last: until then, the next round begins with this again.
        self._state.first_look(self._mailbox, True)

    def contents(self):
        return ()

    def may_be_new(self):
        return True

    def passes_by(self, key):
        moment = self._state.keys.get(identity.source_key(key))
        return moment is not None and not self._is_due(moment)

    def _is_due(self, moment):
        if self._remove is True:
            return moment > 0
        now = self._clock()
        return (bool(self._remove) and moment > 0 and now >= EARLIEST
                and moment + self._remove * _DAY <= now)

    def saw(self, message):
        pass

    def is_delivered(self, message):
        return identity.source_key(message.key) in self._state.keys

    def is_ignored(self, message):
        return False

    def delivered(self, message, content):
        self._state.delivered_key(identity.source_key(message.key))
        if self._remove is True:
            self._soon.append(message)

    def leave(self, message):
        self._state.leave_key(identity.source_key(message.key))

    def complete(self, postponed):
        pass

    def remove_soon(self, message):
        self._soon.append(message)

    def has_due(self):
        return bool(self._soon)

    def has_many_due(self):
        return len(self._soon) >= _TOGETHER

    def due(self):
        soon, self._soon = self._soon, []
        yield soon

    def removed(self, messages):
        pass


def _uid(message):
    return _number(message.key)


def _number(key):
    """A UID that a server sent -> int. Raises FetchError."""
    if key.isdigit() and len(key) <= 10 and 0 < int(key) <= _HIGHEST:
        return int(key)
    raise FetchError("the server sent a UID that is none: %s" % key[:20])
