"""Messages: delivery, flags, copy, move, expunge, and watchers."""
import os
import threading

import pytest

from phenmail_protocols.store import errors, group_commit

from .conftest import uids, whole

MESSAGES = 5  # in `inbox`


def flags(mailbox, uid):
    return set(mailbox.rows([uid]).flags[0])


def test_a_delivered_message_is_served_byte_for_byte(house, inbox):
    with house.account.stage() as staged:
        for piece in (b"A: b\r", b"\n\r\nbare\nline", b"\rends", b"\r"):
            staged.write(piece)
        put = house.account.deliver("INBOX", staged)
    content = inbox.content(put.uid)
    assert content.whole() == b"A: b\r\n\r\nbare\r\nline\r\nends\r\n"
    assert content.size == len(content.whole())
    content.close()


def test_uids_ascend_and_watchers_hear_of_new_mail(house, inbox):
    serial = inbox.state().serial
    told = threading.Event()
    watch = inbox.watch(told.set)
    put = house.put("six")
    assert told.is_set()
    update = inbox.changes(serial)
    assert (update.added, update.removed, update.changed) == ([6], [], [])
    assert put.uid == 6 == inbox.state().uidnext - 1
    watch.close()
    told.clear()
    house.put("seven")
    assert not told.is_set()


def test_flags_add_remove_replace(inbox):
    changed = inbox.change_flags([1, 2], "add", ["\\Seen", "$Work"]).changed
    assert changed == [1, 2]
    assert flags(inbox, 1) == {"\\Seen", "$Work"}
    assert inbox.change_flags([1], "add", ["\\SEEN", "$work"]).changed == []
    inbox.change_flags([1], "remove", ["\\Seen"])
    assert flags(inbox, 1) == {"$Work"}
    inbox.change_flags([1], "replace", ["\\Flagged"])
    assert flags(inbox, 1) == {"\\Flagged"}
    assert inbox.state().unseen == 4
    assert inbox.first_unseen() == 1


def test_a_changed_flag_has_a_higher_modseq(inbox):
    before = inbox.state().highestmodseq
    inbox.change_flags([3], "add", ["\\Seen"])
    assert inbox.rows([3]).modseqs[0] == inbox.state().highestmodseq > before


def test_unchanged_since_leaves_newer_messages_alone(inbox):
    modseq = inbox.state().highestmodseq
    inbox.change_flags([2], "add", ["\\Seen"])
    answer = inbox.change_flags(
        [1, 2], "add", ["\\Flagged"], unchanged_since=modseq)
    assert (answer.changed, answer.failed) == ([1], [2])


def test_expunge_removes_only_deleted_messages_among_the_uids(inbox):
    inbox.change_flags([1, 2, 4], "add", ["\\Deleted"])
    serial = inbox.state().serial
    assert inbox.expunge([2, 3]) == [2]
    assert inbox.expunge() == [1, 4]
    assert uids(inbox) == [3, 5]
    assert inbox.changes(serial).removed == [1, 2, 4]
    with pytest.raises(errors.Expunged):
        inbox.content(1)
    assert dict(inbox.contents([1]))[1] is None


def test_the_uid_array_never_changes_under_its_holder(house, inbox):
    state = inbox.state()
    inbox.remove([2])
    house.put("more")
    assert list(state.uids[:state.count]) == [1, 2, 3, 4, 5]
    assert uids(inbox) == [1, 3, 4, 5, 6]


def test_copy_keeps_bytes_flags_keywords_and_date(house, inbox):
    put = house.put("dated", flags=["\\Seen", "red"], date=1000000000)
    copied = inbox.copy([1, put.uid], "Archive")
    assert [source for source, _ in copied.pairs] == [1, put.uid]
    archive = house.account.open("Archive")
    target = copied.pairs[1][1]
    assert whole(archive)[target] == whole(inbox)[put.uid]
    assert archive.rows([target]).dates[0] == 1000000000
    assert uids(inbox)[0] == 1
    archive.close()


def test_move_leaves_nothing_behind(house, inbox):
    before = whole(inbox)
    moved = inbox.move([2, 4], "Archive")
    assert uids(inbox) == [1, 3, 5]
    archive = house.account.open("Archive")
    after = whole(archive)
    for source, target in moved.pairs:
        assert after[target] == before[source]
    archive.close()


def test_copy_to_a_missing_mailbox_and_of_missing_messages(inbox):
    with pytest.raises(errors.NotFound):
        inbox.copy([1], "Nowhere")
    assert inbox.copy([77], "Archive").pairs == []


def test_copy_into_itself_gives_new_messages(inbox):
    copied = inbox.copy([1, 2], "INBOX")
    assert [target for _, target in copied.pairs] == [6, 7]


def test_changes_too_long_ago_are_none(inbox):
    serial = inbox.state().serial
    for number in range(600):
        inbox.change_flags(
            [1], "add" if number % 2 else "remove", ["\\Seen"])
    inbox.change_flags([1], "add", ["\\Flagged"])
    assert inbox.changes(1 if serial > 1 else 0) is None


def test_rows_leave_out_removed_messages(inbox):
    inbox.remove([3])
    assert list(inbox.rows([1, 3, 5]).uids) == [1, 5]
    assert list(inbox.rows(inbox.state().uids).uids) == [1, 2, 4, 5]
    assert list(inbox.rows([]).uids) == []


def test_a_change_touches_only_the_named_messages(inbox):
    """1 was removed by another session. A change of 1 and 3 must not change 2, although the range
    between them has as many messages as the change names."""
    inbox.remove([1])
    house_uids = [2, 3, 4, 5]
    for first in range(1, 6):
        for last in range(first + 1, 6):
            asked = [first, last]
            here = [uid for uid in asked if uid in house_uids]
            inbox.change_flags(house_uids, "replace", [])
            inbox.change_flags(asked, "add", ["\\Deleted"])
            assert [uid for uid in house_uids
                    if "\\Deleted" in flags(inbox, uid)] == here
            assert [uid for uid, _ in inbox.copy(asked, "INBOX").pairs] == here
            assert [uid for uid, content in inbox.contents(asked)
                    if content is not None and content.close() is None] == here
    assert inbox.expunge([1, 3]) == []
    assert inbox.remove([1, 4]) == [4]


def test_cached_items_are_removed_with_their_message(inbox):
    inbox.cache({"ENVELOPE": {1: b"one", 2: b"two", 99: b"nobody"}})
    assert inbox.cached("ENVELOPE", [1, 2, 3, 99]) == {1: b"one", 2: b"two"}
    inbox.remove([1])
    assert inbox.cached("ENVELOPE", [1, 2]) == {2: b"two"}


def test_kinds_of_cached_items_are_bounded(inbox):
    for number in range(60):
        inbox.cache({"kind %d" % number: {1: b"x"}})
    assert inbox.cached("kind 0", [1]) == {}
    assert inbox.cached("kind 59", [1]) == {1: b"x"}


def test_files_have_line_feeds_and_both_sizes_in_their_name(house, inbox):
    name, = [name for name in os.listdir(house.folder + "/new")
             if "message 3" in open(house.folder + "/new/" + name).read()]
    data = open(house.folder + "/new/" + name, "rb").read()
    assert b"\r" not in data
    assert ",S=%d,W=%d" % (len(data), len(data) + 3) in name


def test_a_staged_message_that_is_not_delivered_leaves_nothing(house):
    with house.account.stage() as staged:
        staged.write(b"x" * 300000)
    assert os.listdir(house.folder + "/tmp") == []


def test_parallel_deliveries_get_different_uids(house):
    found = []

    def work():
        for _ in range(20):
            found.append(house.put().uid)
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == list(range(1, 101))


def test_a_failing_delivery_does_not_stop_the_others(house, inbox):
    """Several threads share a transaction; the file of one of them is gone from tmp."""
    commits = house.account._commits
    staged = [house.account.stage() for _ in range(4)]
    for each in staged:
        each.write(b"a: b\r\n\r\n")
        each.sync()
    os.unlink(staged[1].path)
    requests = [group_commit._Request(name, [(each, flags)])
                for each, name, flags in zip(
                    staged, ["INBOX", "INBOX", "Nowhere", "INBOX"],
                    [(), (), (), ["new"]])]
    commits._waiting = requests
    commits._has_leader = True
    commits._lead()
    assert requests[0].delivered and requests[0].error is None
    assert isinstance(requests[1].error, errors.StoreError)
    assert isinstance(requests[2].error, errors.NotFound)
    assert requests[3].delivered and requests[3].error is None
    assert [len(whole(inbox)), len(os.listdir(house.folder + "/tmp"))] == [7, 1]
    for each in staged:
        each.discard()
