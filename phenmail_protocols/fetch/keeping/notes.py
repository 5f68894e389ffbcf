"""What is known of one mailbox at a source during a round, in one form for IMAP and POP3.

IMAP names messages by UIDs that only ascend, within a UIDVALIDITY; POP3 lists all keys each
time.
"""
from ...text.clock import EARLIEST
from .. import identity
from ..source import FetchError, RemoteMessage
from .known import Numbers
from .state import GONE

_TOGETHER = 100  # messages that are removed at once at the source
_HIGHEST = 2 ** 32 - 1  # of UIDs, and of UIDVALIDITY
_DAY = 86400
_MOST_REMOVED = 100000  # messages whose content is remembered after their removal
_MANY = 10000  # ranges of UIDs, beyond which gaps are closed at once


def validity_of(state, box, is_empty_after):
    """What names the UIDs of an IMAP mailbox: its UIDVALIDITY, plus 2 ** 32 for each time that the
    server was seen to give UIDs again.

    A server that was restored from a backup may do that. Its new messages then have UIDs of those
    that were fetched, and would be passed by, or even be removed. `is_empty_after(uid)`: whether
    the mailbox has no message above a UID.
    """
    known = state.mailboxes.get(box.name)
    if known is None or known.validity & _HIGHEST != box.validity:
        return box.validity
    is_set_back = 0 < box.next_uid <= known.done.end and is_empty_after(box.next_uid - 1)
    return known.validity + (_HIGHEST + 1 if is_set_back else 0)


def is_same(box, known):
    """Whether a mailbox that was opened again has the UIDs of `known`, whose validity is of
    `validity_of`."""
    return (box.validity in (known.validity, known.validity & _HIGHEST)
            and not 0 < box.next_uid < known.next_uid)


class Uids:
    """The notes of one IMAP mailbox during a round.

    `state`: state.State; `box`: source.Box; `remove`: of the account; `clock()`: epoch seconds.
    """

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
        """Whether no round has seen this mailbox."""
        return self._mailbox.ignored_until is None

    def first_look(self):
        """From now on all mail is wanted that is there."""
        if self.is_first:
            self._state.first_look(self._mailbox, False)

    def ignore_all(self, source):
        """Never fetch what is there now."""
        last = self._box.next_uid - 1
        if last < 0:
            last = max([_uid(each) for each in source.new(0, lambda key: False)], default=0)
        self._state.first_look(self._mailbox, True)
        if last:
            self._state.leave(self._mailbox, 1, last)
        self._state.complete(self._mailbox)

    def contents(self):
        """The content keys of messages that may come again under other UIDs."""
        return () if self._mailbox.is_complete else self._state.contents(self._mailbox)

    @property
    def after(self):
        """Up to this UID nothing is to be listed."""
        return self._mailbox.done.beginning

    def may_be_new(self):
        """Whether to list at all."""
        return not self._box.next_uid or self._box.next_uid - 1 > self.after

    def passes_by(self, key):
        """Whether the message with this RemoteMessage.key needs nothing more."""
        return _number(key) in self._mailbox.done

    def saw(self, message):
        """The message was listed."""
        uid = _uid(message)
        if uid > self._last + 1 and len(self._mailbox.done) > _MANY:
            # The messages are listed in order, so there is none between this one and the last.
            self._state.leave(self._mailbox, self._last + 1, uid - 1)
        self._last = max(self._last, uid)

    def is_delivered(self, message):
        """Whether it was fetched before, and is listed because it is due for removal."""
        return False  # `passes_by` hides those

    def was_removed(self, message):
        """Whether a message with this key was fetched, and removed there."""
        return False

    def is_ignored(self, message):
        """Whether it is old mail under a new UID."""
        mailbox = self._mailbox
        return (not mailbox.is_complete and bool(mailbox.ignored_until)
                and message.date is not None and message.date < mailbox.ignored_until)

    def delivered(self, message, content):
        """It is on our disk."""
        self._state.delivered(self._mailbox, _uid(message), content)

    def leave(self, message):
        """It stays there, and is not looked at again."""
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
        """It is to be removed there, although it was not delivered now."""
        self._soon.append(message)

    def _count_due(self):
        if self._remove is True:
            return len(self._mailbox.delivered[0])
        now = self._clock()
        if not self._remove or now < EARLIEST:
            return 0
        until, count = now - self._remove * _DAY, 0
        for number, moment in enumerate(self._mailbox.delivered[1], 1):
            if moment > until:
                break
            if moment >= EARLIEST:  # else the clock was wrong: it counts as old as the next one
                count = number
        return count

    def has_due(self):
        """Whether messages are to be removed there."""
        return bool(self._soon or self._count_due())

    def has_many_due(self):
        """Whether so many are that they should be removed before the round goes on."""
        return len(self._soon) + (self._remove is True
                                  and len(self._mailbox.delivered[0])) >= _TOGETHER

    def due(self):
        """Lists of messages to remove there."""
        soon, self._soon = self._soon, []
        if soon:
            yield soon
        count = self._count_due()
        while count > 0:
            uids = self._mailbox.delivered[0][:min(count, _TOGETHER)]
            yield [RemoteMessage(str(uid), 0) for uid in uids]
            count -= len(uids)

    def forget_due(self):
        """The connection is another one: what is due is listed again."""
        self._soon = []

    def removed(self, messages):
        """They are gone there, or will be when the connection is closed."""
        uids = self._mailbox.delivered[0]
        if uids and messages and int(messages[0].key) == uids[0]:
            self._state.removed(self._mailbox, len(messages))


class Keys:
    """The notes of a POP3 server during a round; as Uids."""

    after = 0

    def __init__(self, state, box, remove, clock):
        self._state = state
        self._remove = remove
        self._clock = clock
        self._mailbox = state.mailbox("", 0)
        self._soon = []
        # Some servers confirm a removal, and still have the message the next time.
        if state.once_here is None or len(state.once_here) > _MOST_REMOVED:
            state.once_here = Numbers()

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
        return self._state.once_here

    def may_be_new(self):
        return True

    def passes_by(self, key):
        moment = self._state.keys.get(identity.source_key(key))
        return moment not in (None, GONE) and not self._is_due(moment)

    def _is_due(self, moment):
        if self._remove is True:
            return moment > 0
        now = self._clock()
        return (bool(self._remove) and moment >= EARLIEST
                and moment + self._remove * _DAY <= now)

    def saw(self, message):
        pass

    def is_delivered(self, message):
        return self._moment(message) not in (None, GONE)

    def was_removed(self, message):
        return self._moment(message) == GONE

    def _moment(self, message):
        return self._state.keys.get(identity.source_key(message.key))

    def is_ignored(self, message):
        return False

    def delivered(self, message, content):
        self._state.delivered_key(identity.source_key(message.key))
        if self._remove and content != identity.content_key(b"", message.size, message.date):
            self._state.once_here[content] = 1
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

    def forget_due(self):
        self._soon = []  # numbers of messages are those of one connection

    def removed(self, messages):
        self._state.leaving += [identity.source_key(message.key) for message in messages
                                if self.is_delivered(message)]


def _uid(message):
    return _number(message.key)


def _number(key):
    """A UID that a server sent -> int. Raises FetchError."""
    if key.isdigit() and len(key) <= 10 and 0 < int(key) <= _HIGHEST:
        return int(key)
    raise FetchError("the server sent a UID that is none: %s" % key[:20])
