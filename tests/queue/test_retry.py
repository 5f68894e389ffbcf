"""When a recipient is retried, warned about and given up, also with clocks that jump."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.model import (
    DELAYED,
    DELIVERED,
    DONE,
    FAILED,
    LOCAL,
    RELAYED,
    TO,
    WAITING,
    Recipient,
)
from phenmail_protocols.queue.retry import (
    Policy,
    after_failure,
    after_success,
    is_due,
    retried_until,
)
from phenmail_protocols.text.clock import EARLIEST

BOB = Recipient(Address("bob", "example.org"))
LATER = Reply(451, "4.7.1", "Greylisted", "mx.example.org")
NEVER = Reply(550, "5.1.1", "No such user", "mx.example.org")
TAKEN = Reply(250, "2.0.0", "Ok", "mx.example.org")
START = EARLIEST + 1000000
HOUR, DAY = 3600.0, 86400.0


def run(recipient, now, until, policy=Policy(), random=lambda: 0.5, null_sender=False):
    """Fail each time it is due, until a time or the end -> list of (time, Recipient after it)."""
    history = []
    while recipient.status == WAITING and now < until:
        recipient = after_failure(recipient, LATER, now, policy, random(), null_sender)
        history.append((now, recipient))
        assert len(history) < 1000, "it is retried without end"
        now = recipient.next
    return history


def test_intervals_double_from_five_minutes_to_four_hours():
    moments = [
        moment - START for moment, _ in run(BOB, START, START + DAY, Policy(warn_after=30 * DAY))]
    assert [later - sooner for sooner, later in zip(moments, moments[1:])][:8] == [
        300, 600, 1200, 2400, 4800, 9600, 14400, 14400]


@pytest.mark.parametrize("dice, pause", [(0.0, 240), (0.5, 300), (1.0, 360)])
def test_an_interval_varies_by_a_fifth(dice, pause):
    assert after_failure(BOB, LATER, START, Policy(), dice).next == START + pause


def test_the_first_failure_says_what_happened():
    after = after_failure(BOB, LATER, START, Policy(), 0.5)
    assert after == BOB._replace(reply=LATER, attempts=1, last=START, next=START + 300)


def test_five_days_warn_once_after_four_hours_and_end_in_failure():
    history = run(BOB, START, START + 30 * DAY)
    warned = [moment - START for moment, after in history if after.owed == DELAYED and after.warned]
    assert 4 * HOUR <= warned[0] <= 4 * HOUR + 2, (
        "not warned at four hours but after %s s" % warned[0])
    moment, last = history[-1]
    assert 5 * DAY <= moment - START <= 5 * DAY + 3
    assert (last.status, last.owed, last.reply) == (DONE, FAILED, LATER)
    assert last.attempts == len(history) and 30 < len(history) < 50


def test_a_warning_that_was_sent_is_not_repeated():
    told = BOB._replace(attempts=7, waited=5 * HOUR, last=START, next=START + 4 * HOUR, warned=True)
    assert after_failure(told, LATER, START + 4 * HOUR, Policy(), 0.5).owed == ""


def test_a_warning_that_could_not_be_sent_stays_owed():
    owing = BOB._replace(
        attempts=7, waited=5 * HOUR, last=START, next=START + 4 * HOUR, warned=True, owed=DELAYED)
    assert after_failure(owing, LATER, START + 4 * HOUR, Policy(), 0.5).owed == DELAYED
    assert after_failure(owing, NEVER, START + 4 * HOUR, Policy(), 0.5).owed == FAILED
    assert after_success(owing, TAKEN, START + 4 * HOUR, False).owed == ""


def test_a_permanent_refusal_ends_it_at_once():
    after = after_failure(BOB, NEVER, START, Policy(), 0.5)
    assert (after.status, after.owed, after.reply, after.last) == (DONE, FAILED, NEVER, START)
    assert not after.over and after._replace(owed="").over


@pytest.mark.parametrize("notify, failed, delayed, relayed", [
    ((), FAILED, DELAYED, ""),
    (("NEVER",), "", "", ""),
    (("FAILURE",), FAILED, "", ""),
    (("DELAY",), "", DELAYED, ""),
    (("SUCCESS",), "", "", RELAYED),
    (("SUCCESS", "FAILURE", "DELAY"), FAILED, DELAYED, RELAYED),
])
def test_notify_decides_what_is_owed(notify, failed, delayed, relayed):
    asked = BOB._replace(notify=notify)
    late = asked._replace(attempts=7, waited=5 * HOUR, last=START - 60)
    assert after_failure(asked, NEVER, START, Policy(), 0.5).owed == failed
    assert after_failure(late, LATER, START, Policy(), 0.5).owed == delayed
    assert after_failure(late, LATER, START, Policy(), 0.5).warned == bool(delayed)
    assert after_failure(late._replace(waited=6 * DAY), LATER, START, Policy(), 0.5).owed == failed
    assert after_success(asked, TAKEN, START, False).owed == relayed


def test_the_null_sender_is_told_nothing_but_his_failures_are_owed():
    late = BOB._replace(
        attempts=7, waited=5 * HOUR, last=START - 60, notify=("SUCCESS", "FAILURE", "DELAY"))
    assert after_failure(late, LATER, START, Policy(), 0.5, null_sender=True).owed == ""
    assert after_failure(late, NEVER, START, Policy(), 0.5, null_sender=True).owed == FAILED
    assert after_success(late, TAKEN, START, False, null_sender=True).owed == ""
    assert not any(after.warned for _, after in run(BOB, START, START + 30 * DAY, null_sender=True))


def test_success_is_told_by_the_peer_where_it_can():
    asked = BOB._replace(notify=("SUCCESS",), attempts=2, waited=900.0)
    after = after_success(asked, TAKEN, START, True)
    assert after == asked._replace(status=DONE, reply=TAKEN, attempts=3, last=START)
    assert after_success(asked, TAKEN, START, False).owed == RELAYED
    assert after_success(asked._replace(via=LOCAL), TAKEN, START, False).owed == DELIVERED
    assert after_success(asked._replace(via=LOCAL), TAKEN, START, True).owed == "", (
        "it was sent on with what was asked for")
    assert after_success(asked._replace(via=TO + "x@example.net"), TAKEN, START, False).owed == ""


def test_before_2024_nothing_expires():
    history = run(BOB, 100.0, 100.0 + 30 * DAY)
    assert history[-1][1].status == WAITING and history[-1][1].waited > 20 * DAY
    # The network sets the clock: attempts were made for five days, so the next one is the last.
    assert after_failure(history[-1][1], LATER, START, Policy(), 0.5).status == DONE


def test_a_clock_that_jumps_ahead_counts_for_two_intervals_at_most():
    once = after_failure(BOB, LATER, 100.0, Policy(), 0.5)
    after = after_failure(once, LATER, START, Policy(), 0.5)
    assert after.waited == 600 and after.status == WAITING and after.next > START


def test_a_clock_that_goes_back_counts_for_nothing_and_makes_due():
    once = after_failure(BOB, LATER, START, Policy(), 0.5)
    assert not is_due(once, START, Policy()) and is_due(once, START + 300, Policy())
    assert is_due(once, START - 10 * DAY, Policy())
    assert after_failure(once, LATER, START - 10 * DAY, Policy(), 0.5).waited == 0


def test_a_machine_that_was_off_for_a_week_goes_on_trying():
    once = after_failure(BOB, LATER, START, Policy(), 0.5)
    after = after_failure(once, LATER, START + 7 * DAY, Policy(), 0.5)
    assert after.status == WAITING and after.owed == ""


def test_who_is_done_is_never_due():
    assert is_due(BOB, START, Policy())
    assert not is_due(BOB._replace(status=DONE), START, Policy())


def test_until_when_it_is_tried():
    late = BOB._replace(attempts=7, waited=4 * HOUR)
    assert retried_until(late, START, Policy()) == START + 5 * DAY - 4 * HOUR
    assert retried_until(late._replace(waited=9 * DAY), START, Policy()) == START


@settings(max_examples=100)
@given(st.lists(st.tuples(st.floats(-10.0 ** 10, 10.0 ** 10), st.floats(0, 1)), max_size=40),
       st.sampled_from([Policy(), Policy(1, 60, 30, 600), Policy(0, 0, 0, 0)]))
def test_any_clock(steps, policy):
    recipient, now = BOB, START
    for step, dice in steps:
        before, now = recipient, now + step
        recipient = after_failure(before, LATER, now, policy, dice)
        assert before.waited <= recipient.waited <= before.waited + 2 * policy.longest
        if recipient.status == DONE:
            assert recipient.waited >= policy.give_up and now >= EARLIEST
            return
        assert now <= recipient.next <= now + policy.longest * 1.2 + 1
        assert is_due(recipient, recipient.next, policy)


@settings(max_examples=30)
@given(st.randoms())
def test_whatever_the_dice_the_warning_and_the_end_come_in_time(dice):
    history = run(BOB, START, START + 30 * DAY, random=dice.random)
    warned = next(moment for moment, after in history if after.warned)
    assert 4 * HOUR <= warned - START <= 4 * HOUR + 2
    assert 5 * DAY <= history[-1][0] - START <= 5 * DAY + 3
    assert len(history) < 60
