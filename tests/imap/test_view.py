"""The numbering of one session against a mailbox that others change."""
from array import array

import pytest

from phenmail_protocols.imap.view import View
from phenmail_protocols.store import errors
from phenmail_protocols.store.changes import ChangeLog
from phenmail_protocols.store.model import FlagsChanged, State


class Mailbox:
    """The part of the store's mailbox that a view uses; the test changes it."""

    def __init__(self, uids=(), recent=1):
        self.uids = array("I", uids)
        self.uidnext = max(uids, default=0) + 1
        self.log = ChangeLog()
        self.recent = recent
        self.names = ()
        self.deleted = False

    def state(self):
        if self.deleted:
            raise errors.NotFound()
        return State(self.uids, len(self.uids), self.log.serial, self.uidnext, 1, 0, self.names,
                     False)

    def keywords(self):
        return self.names, False

    def changes(self, serial):
        return self.log.since(serial)

    def first_recent(self):
        return self.recent

    def claim_recent(self):
        first, self.recent = self.recent, self.uidnext
        return first

    def arrive(self, *uids):
        self.uids.extend(uids)
        self.uidnext = uids[-1] + 1
        self.log.note(added=uids)

    def remove(self, *uids):
        self.uids = array("I", (uid for uid in self.uids if uid not in uids))
        self.log.note(removed=uids)

    def change(self, *uids):
        self.log.note(changed=uids)

    def change_flags(self, uids, mode, flags, unchanged_since=None):
        self.change(*uids)
        return FlagsChanged(list(uids), [])


def parts(found):
    """News without the UIDs of what was expunged."""
    return found.expunged, found.exists, found.recent, found.flags


def news(view, may_expunge=True):
    view.refresh()
    found = view.announce(may_expunge)
    if found is not None:
        assert len(found.vanished) == len(found.expunged)
        assert found.vanished == sorted(found.vanished)
    return found


def test_shares_the_list_of_the_store():
    mailbox = Mailbox([3, 5, 8])
    view = View(mailbox, True)
    assert view._uids is mailbox.uids
    mailbox.arrive(9)
    assert len(view) == 3
    assert parts(news(view)) == ([], 4, 4, [])
    assert view._uids is mailbox.uids


def test_numbers():
    view = View(Mailbox([3, 5, 8]), True)
    assert [view.number(uid) for uid in (2, 3, 4, 5, 8, 9)] == [None, 1, None, 2, 3, None]
    assert view.last_uid == 8
    assert list(view.uids(1)) == [5, 8]
    assert list(view.uids(0, 99)) == [3, 5, 8]


def test_no_news():
    view = View(Mailbox([3]), True)
    assert news(view) is None


def test_expunge_from_the_highest_down():
    mailbox = Mailbox([1, 2, 3, 4, 5])
    view = View(mailbox, True)
    mailbox.remove(2, 4)
    found = news(view)
    assert parts(found) == ([4, 2], None, 3, []) and found.vanished == [2, 4]
    assert list(view.uids()) == [1, 3, 5]


def test_held_back_expunge_keeps_the_numbers():
    mailbox = Mailbox([1, 2, 3])
    view = View(mailbox, True)
    mailbox.remove(1)
    mailbox.arrive(4)
    assert parts(news(view, may_expunge=False)) == ([], 4, 4, [])
    assert [view.number(uid) for uid in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert view.count_expunged([1, 2]) == 1
    mailbox.arrive(7)
    mailbox.remove(4)
    assert parts(news(view, may_expunge=False)) == ([], 5, 5, [])
    assert parts(news(view)) == ([4, 1], None, 3, [])
    assert list(view.uids()) == [2, 3, 7]
    assert view._uids is mailbox.uids


def test_arrived_and_gone_before_it_was_told():
    mailbox = Mailbox([1])
    view = View(mailbox, True)
    mailbox.arrive(2)
    mailbox.remove(2)
    assert news(view) is None


def test_all_gone():
    mailbox = Mailbox([1, 2])
    view = View(mailbox, True)
    mailbox.remove(1, 2)
    assert parts(news(view)) == ([2, 1], None, 0, [])
    assert len(view) == 0 and view.last_uid == 0
    mailbox.arrive(3)
    assert parts(news(view)) == ([], 1, 1, [])


def test_flags_of_others_are_told_once():
    mailbox = Mailbox([1, 2, 3])
    view = View(mailbox, True)
    mailbox.change(3, 1)
    assert news(view).flags == [1, 3]
    assert news(view) is None


def test_flags_of_new_and_of_gone_messages_are_not_told():
    mailbox = Mailbox([1, 2])
    view = View(mailbox, True)
    mailbox.change(1)
    mailbox.remove(1)
    mailbox.arrive(3)
    mailbox.change(3)
    assert parts(news(view, may_expunge=False)) == ([], 3, 3, [])


def test_own_change_is_not_told_again():
    mailbox = Mailbox([1, 2])
    view = View(mailbox, True)
    view.change_flags([1], "add", ("\\Seen",))
    assert news(view) is None


def test_what_another_changed_before_is_told_all_the_same():
    mailbox = Mailbox([1, 2])
    view = View(mailbox, True)
    mailbox.change(1)
    view.change_flags([1, 2], "add", ("\\Seen",))
    assert news(view).flags == [1]


def test_a_change_beside_our_own_is_told():
    mailbox = Mailbox([1, 2])
    view = View(mailbox, True)
    ours = mailbox.change_flags

    def with_another(*arguments):
        mailbox.change(1)
        return ours(*arguments)
    mailbox.change_flags = with_another
    view.change_flags([1], "add", ("\\Seen",))
    assert news(view).flags == [1]


def test_too_long_away_all_flags_are_told():
    mailbox = Mailbox([1, 2, 3])
    view = View(mailbox, True)
    for _ in range(600):
        mailbox.change(2)
    mailbox.remove(3)
    assert parts(news(view)) == ([3], None, 2, [1, 2])


def test_changes_between_state_and_changes():
    """The changes are read after the state: what came between is announced next time."""
    mailbox = Mailbox([1, 2, 3])
    view = View(mailbox, True)
    mailbox.remove(1)
    asked = mailbox.changes

    def meanwhile(serial):
        mailbox.changes = asked
        mailbox.remove(2)
        mailbox.arrive(4)
        mailbox.change(3)
        return asked(serial)
    mailbox.changes = meanwhile
    assert parts(news(view)) == ([1], None, 2, [3])
    assert parts(news(view)) == ([1], 2, 2, [3])
    assert list(view.uids()) == [3, 4]


def test_changes_that_no_log_tells():
    """The store read its columns again: other processes' changes are only in the list."""
    mailbox = Mailbox([1, 2, 3])
    view = View(mailbox, True)
    mailbox.uids = array("I", [1, 3, 4])
    mailbox.uidnext = 5
    assert parts(news(view)) == ([2], 3, 3, [])
    mailbox.remove(4)
    mailbox.uids = array("I", [3])
    assert parts(news(view)) == ([3, 1], None, 1, [])


def test_recent_belongs_to_the_first_session():
    mailbox = Mailbox([1, 2, 3], recent=2)
    first, second = View(mailbox, True), View(mailbox, True)
    assert first.recent() == 2 and second.recent() == 0
    assert [first.is_recent(uid) for uid in (1, 2, 3)] == [False, True, True]
    mailbox.arrive(4)
    assert parts(news(second)) == ([], 4, 1, [])
    assert parts(news(first)) == ([], 4, 2, [])
    assert second.recent_ranges == [(4, 5)]
    mailbox.arrive(5)
    assert news(first).recent == 3
    assert first.recent_ranges == [(2, 4), (5, 6)]


def test_examine_takes_recent_from_nobody():
    mailbox = Mailbox([1, 2], recent=1)
    assert View(mailbox, False).recent() == 2
    assert View(mailbox, True).recent() == 2


def test_keywords_are_told_once():
    mailbox = Mailbox([1])
    view = View(mailbox, True)
    assert not view.learn_keywords()
    mailbox.names = ("foo",)
    mailbox.change(1)
    view.refresh()
    assert view.learn_keywords() and view.keywords == (("foo",), False)
    assert not view.learn_keywords() and not view.learn_keywords(["foo"])


def test_a_keyword_is_told_before_it_is_seen():
    mailbox = Mailbox([1])
    view = View(mailbox, True)
    mailbox.names = ("foo",)
    mailbox.change(1)  # the view does not know of it
    assert view.learn_keywords(["foo"]) and view.keywords == (("foo",), False)
    assert view.learn_keywords(["gone"]) and view.keywords == (("foo", "gone"), False)
    assert not view.learn_keywords(["foo", "gone"])


def test_a_deleted_mailbox():
    mailbox = Mailbox([1])
    view = View(mailbox, True)
    mailbox.deleted = True
    with pytest.raises(errors.NotFound):
        view.refresh()
