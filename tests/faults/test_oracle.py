"""The oracle finds each broken promise, and excuses what a power loss excuses."""
import random

import pytest

from .oracle import Oracle, Reading, make_message, read_message

DICE = random.Random(1)
A, B = make_message("a", DICE, 400), make_message("b", DICE, 400)


def known():
    """An oracle that was answered: a is INBOX 1 and b is INBOX 2, a has the flag \\Seen at MODSEQ
    5."""
    oracle = Oracle()
    for uid, token, data in ((1, "a", A), (2, "b", B)):
        oracle.hear(dict(ask="deliver", token=token, mailbox="INBOX"))
        oracle.hear(dict(ok="deliver", token=token, mailbox="INBOX", validity=7, uid=uid,
                         digest=read_message(data).digest, flags=[]))
    oracle.hear(dict(ask="flags", keys=[["INBOX", 7, 1]]))
    oracle.hear(dict(ok="flags", set=[["INBOX", 7, 1, ["\\Seen"]]]))
    assert oracle.check(inbox()) == []
    return oracle


def inbox(messages=None, validity=7, uidnext=3, highest=5):
    if messages is None:
        messages = {1: read_message(A, ["\\Seen"], 5), 2: read_message(B, [], 4)}
    return {"INBOX": Reading(validity, uidnext, highest, messages)}


SEEN_A, SEEN_B = read_message(A, ["\\Seen"], 5), read_message(B, [], 4)


@pytest.mark.parametrize("reading, complaint", [
    (inbox({2: SEEN_B}), "a was accepted and is nowhere"),
    (inbox({2: SEEN_B}), "INBOX/7/1: a is not there any more"),
    (inbox(validity=6), "UIDVALIDITY is 6 and was 7"),
    (inbox({1: SEEN_B, 2: SEEN_A}), "INBOX/7/1 named a before, now it is b"),
    (inbox(uidnext=2), "UIDNEXT is 2, but 2 was used"),
    (inbox(highest=4), "HIGHESTMODSEQ fell from 5 to 4"),
    (inbox({1: SEEN_A._replace(flags=frozenset(), modseq=6), 2: SEEN_B}),
     "flags ['\\\\Seen'] were acknowledged, now []"),
    (inbox({1: SEEN_A._replace(modseq=4), 2: SEEN_B}), "MODSEQ fell from 5 to 4"),
    (inbox({1: SEEN_A, 2: SEEN_B._replace(flags=frozenset(["\\Seen"]))}),
     "MODSEQ 4 had flags [], now ['\\\\Seen']"),
    (inbox({1: read_message(A[:-30] + b"x" * 30, ["\\Seen"], 5), 2: SEEN_B}),
     "the body of a is not what was sent"),
    (inbox({1: read_message(A, ["\\Seen"], 5, size=len(A) + 1), 2: SEEN_B}),
     "but the size is said to be"),
    (inbox({1: SEEN_A, 2: SEEN_B, 3: read_message(make_message("c", DICE))}, uidnext=4),
     "c was never sent"),
    ({}, "mailbox INBOX is gone"),
])
def test_a_broken_promise_is_found(reading, complaint):
    assert [text for text in known().check(reading) if complaint in text]


def test_a_uid_below_what_was_read_as_uidnext_is_found():
    oracle = known()
    assert oracle.check(inbox(uidnext=10)) == []
    oracle.hear(dict(ask="deliver", token="c", mailbox="INBOX"))
    late = {1: SEEN_A, 2: SEEN_B, 5: read_message(make_message("c", DICE), [], 6)}
    assert oracle.check(inbox(late, uidnext=10, highest=6)) == [
        "INBOX: message 5 appeared below UIDNEXT 10"]


def test_one_uid_given_out_twice_is_found_in_the_answers_alone():
    oracle = known()
    oracle.hear(dict(ok="deliver", token="c", mailbox="INBOX", validity=7, uid=2, digest="other"))
    assert "INBOX/7/2 was given to a second message (b and c)" in oracle.check(inbox())


def test_a_removal_that_was_asked_may_have_happened_and_one_that_was_answered_must_have():
    for answered, present, fine in ((False, False, True), (False, True, True), (True, False, True),
                                    (True, True, False)):
        oracle = known()
        oracle.hear(dict(ask="remove", keys=[["INBOX", 7, 2]]))
        if answered:
            oracle.hear(dict(ok="remove", keys=[["INBOX", 7, 2]]))
        reading = inbox() if present else inbox({1: SEEN_A})
        assert (oracle.clone().check(reading) == []) == fine
        assert oracle.check(reading, power_lost=True) == []


def test_a_move_keeps_the_message_somewhere():
    oracle = known()
    oracle.hear(dict(ask="move", keys=[["INBOX", 7, 2]]))
    elsewhere = dict(inbox({1: SEEN_A}), Archive=Reading(9, 2, 5, {1: SEEN_B}))
    assert oracle.clone().check(elsewhere) == []
    assert oracle.check(inbox({1: SEEN_A})) == ["b was accepted and is nowhere"]


def test_a_power_loss_excuses_old_flags_and_new_higher_uids_but_no_loss():
    assert known().check(inbox({1: SEEN_A._replace(flags=frozenset(), modseq=6), 2: SEEN_B},
                               highest=6), power_lost=True) == []
    oracle = known()
    assert oracle.check(inbox({1: SEEN_A, 3: SEEN_B}, uidnext=4),
                        power_lost=True) == [] and oracle.renumbered == 1
    assert known().check(inbox({1: SEEN_A}), power_lost=True) != []


def test_after_a_restored_copy_later_mail_may_be_lost_but_its_uids_name_nothing_else():
    oracle = known()
    then = oracle.checkpoint()
    c = read_message(make_message("c", DICE), [], 6)
    oracle.hear(dict(ask="deliver", token="c", mailbox="INBOX"))
    oracle.hear(dict(ok="deliver", token="c", mailbox="INBOX", validity=7, uid=3, digest=c.digest))
    assert oracle.check(inbox({1: SEEN_A, 2: SEEN_B, 3: c}, uidnext=4, highest=6)) == []
    oracle.restored(then)
    oracle.hear(dict(ask="deliver", token="d", mailbox="INBOX"))
    d = read_message(make_message("d", DICE), [], 7)
    assert oracle.clone().check(inbox({1: SEEN_A, 2: SEEN_B, 9: d}, uidnext=10, highest=7)) == []
    assert oracle.check(inbox({1: SEEN_A, 2: SEEN_B, 3: d}, uidnext=4,
                              highest=7)) == ["INBOX/7/3 named c before, now it is d"]


def test_what_was_refused_for_space_must_not_be_there():
    oracle = known()
    oracle.hear(dict(ask="deliver", token="c", mailbox="INBOX"))
    oracle.hear(dict(failed="deliver", error="NoSpace", token="c"))
    c = read_message(make_message("c", DICE), [], 6)
    assert oracle.check(inbox({1: SEEN_A, 2: SEEN_B, 3: c}, uidnext=4, highest=6)) == [
        "INBOX/7/3: c was refused for want of space, but it is there"]


@pytest.mark.parametrize("removal", [
    dict(ask="discard", tokens=["c"]), dict(ask="remove", keys=[["INBOX", 7, 3]])])
def test_a_message_may_be_removed_before_its_sender_hears_that_it_was_accepted(removal):
    oracle = known()
    oracle.hear(dict(ask="deliver", token="c", mailbox="INBOX"))
    oracle.hear(dict(saw="tokens", tokens=[["INBOX", 7, 3, "c"]]))
    oracle.hear(removal)
    oracle.hear(dict(ok="deliver", token="c", mailbox="INBOX"))
    assert oracle.check(inbox(uidnext=4)) == []
