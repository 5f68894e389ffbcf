"""Who gets a slot: limits, turns, and what dead and slow servers leave to the others."""
import pytest

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.schedule import LONG, REMEMBERED, SLICE, Schedule

LATER = Reply(451, "4.4.1", "nobody there")


class Queue:
    """A schedule with any number of messages."""

    def __init__(self, connections=20, per_destination=2, is_here=lambda name: False):
        self.schedule = Schedule(connections, per_destination, is_here)
        self.number = 0

    def add(self, name, count=1):
        for _ in range(count):
            self.number += 1
            self.schedule.place("m%06d" % self.number, {name: 0.0}, 1.0)
        return self.destination(name)

    def destination(self, name):
        return self.schedule._destinations[name]

    def choose_all(self, tick=0.0):
        return list(iter(lambda: self.schedule.choose(tick), None))

    def end(self, slot):
        """The slot's message is sent, and the slot given back."""
        self.schedule.finish(slot.destination, slot.identity, {}, 1.0)
        self.schedule.release(slot)


def names(slots):
    return [slot.destination.name for slot in slots]


def test_so_many_to_one_destination_and_in_all():
    queue = Queue(connections=5, per_destination=2)
    for name in "abcd":
        queue.schedule.trust(name)
        queue.add(name, 9)
    used = queue.choose_all()
    assert names(used) == ["a", "b", "c", "d", "a"], "each in its turn"
    assert len(queue.schedule.slots()) == 5
    queue.end(used[0])
    assert names(queue.choose_all()) == ["b"], "a has just had one"


def test_no_second_connection_for_nothing():
    queue = Queue()
    queue.add("a")
    assert names(queue.choose_all()) == ["a"]
    queue.add("a")
    assert names(queue.choose_all()) == ["a"]
    queue.add("a")
    assert queue.choose_all() == []


def test_who_comes_late_has_a_turn_before_who_had_one():
    queue = Queue(connections=1, per_destination=1)
    queue.add("big", 100)
    queue.add("late")
    seen = []
    for _ in range(4):
        slot, = queue.choose_all()
        seen.append(slot.destination.name)
        queue.end(slot)
    assert seen == ["big", "late", "big", "big"]


def test_who_gives_a_slot_back_is_the_last_to_have_another():
    """Though it waited for its second connection before the other came."""
    queue = Queue(connections=1, per_destination=2)
    queue.add("big", 100)
    slot = queue.schedule.choose(0.0)
    queue.add("late")
    queue.end(slot)
    assert names(queue.choose_all()) == ["late"]


def test_doubtful_destinations_have_half():
    queue = Queue(connections=8)
    for number in range(10):
        queue.add("dead%d" % number, 3).fail(LATER, 1.0, True)
    # They were queued as unknown ones, before they failed.
    assert len(queue.choose_all()) == 4
    for number in range(10):
        queue.schedule.trust("live%d" % number)
        queue.add("live%d" % number)
    assert names(queue.choose_all()) == ["live0", "live1", "live2", "live3"]


def test_unknown_destinations_leave_room_for_those_that_answered():
    queue = Queue(connections=8)
    for number in range(10):
        queue.add("unknown%d" % number)
    assert len(queue.choose_all()) == 6
    queue.schedule.trust("live")
    queue.add("live", 5)
    assert names(queue.choose_all()) == ["live", "live"]


def test_doubtful_destinations_take_nothing_from_the_last_quarter_either():
    queue = Queue(connections=8)
    for number in range(10):
        queue.add("unknown%d" % number)
    assert len(queue.choose_all()) == 6
    queue.add("dead").fail(LATER, 1.0, False)
    assert queue.choose_all() == []
    queue.schedule.trust("live")
    queue.add("live", 5)
    assert names(queue.choose_all()) == ["live", "live"]


def test_who_runs_for_long_is_doubtful():
    queue = Queue(connections=4)
    for name in ("a", "b", "c"):
        queue.schedule.trust(name)
        queue.add(name, 1)
    slow = queue.choose_all(0.0)
    assert len(slow) == 3
    queue.add("dead").fail(LATER, 1.0, False)
    assert queue.choose_all(LONG + 1) == [], (
        "three of four are slow: nothing is left for who failed")
    queue.add("new")
    assert queue.choose_all(LONG + 1) == []
    queue.end(slow[0])
    queue.end(slow[1])
    assert names(queue.choose_all(LONG + 1)) == ["dead", "new"]


def test_one_looks_for_a_destination_that_is_down():
    queue = Queue()
    destination = queue.add("a", 9)
    first, second = queue.choose_all()
    destination.fail(LATER, 1.0, True)
    assert queue.schedule.is_over(first, 0.0), "there are two, and one is enough"
    queue.end(second)
    assert not queue.schedule.is_over(first, 0.0)
    assert queue.choose_all() == []
    queue.schedule.answered(destination, 2.0)
    assert names(queue.choose_all()) == ["a"]


def test_a_slot_is_given_back_after_a_while_only_for_somebody_who_may_have_it():
    queue = Queue(connections=2, per_destination=1)
    queue.schedule.trust("a")
    queue.add("a", 9)
    queue.add("dead").fail(LATER, 1.0, False)
    a, dead = queue.choose_all()
    assert not queue.schedule.is_over(a, SLICE), "nobody waits"
    queue.add("dead2").fail(LATER, 1.0, False)
    assert not queue.schedule.is_over(a, SLICE), (
        "who waits may not have it: half of the slots are with the dead")
    assert queue.schedule.is_over(dead, SLICE)
    queue.schedule.trust("b")
    queue.add("b")
    assert not queue.schedule.is_over(a, SLICE - 1)
    assert queue.schedule.is_over(a, SLICE)


def test_a_destination_does_not_wait_for_itself():
    queue = Queue(connections=1)
    queue.add("a", 9)
    slot = queue.schedule.choose(0.0)
    assert not queue.schedule.is_over(slot, SLICE), (
        "it is the only one, and could have a second connection")
    queue.add("b")
    assert queue.schedule.is_over(slot, SLICE)


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_few_slots_serve_everybody(connections):
    queue = Queue(connections=connections)
    queue.add("new")
    queue.add("dead").fail(LATER, 1.0, True)
    queue.schedule.trust("live")
    queue.add("live")
    served = []
    for _ in range(3):
        slot = queue.schedule.choose(0.0)
        served.append(slot.destination.name)
        queue.end(slot)
    assert sorted(served) == ["dead", "live", "new"]


def test_a_message_that_was_put_off_costs_no_slot():
    queue = Queue()
    queue.schedule.place("m", {"a": 0.0}, 1.0)
    queue.schedule.place("m", {"a": 9.0}, 1.0)
    assert queue.choose_all() == []
    queue.schedule.promote(9.0)
    assert names(queue.choose_all()) == ["a"]


def test_trust_is_bounded():
    queue = Queue()
    for number in range(2 * REMEMBERED):
        queue.schedule.trust(str(number))
    assert len(queue.schedule._trusted) == REMEMBERED


def test_ten_thousand_dead_destinations_are_chosen_from_quickly():
    """Choosing does not look at all that wait."""
    queue = Queue()
    for number in range(10000):
        queue.add("dead%d" % number).fail(LATER, 1.0, True)
    looked = []
    queue.schedule._trust_of = (lambda ask: lambda each: looked.append(each) or ask(each))(
        queue.schedule._trust_of)
    for _ in range(2000):
        queue.end(queue.schedule.choose(0.0))
    assert len(looked) < 40000


def both(connections, per_destination=2):
    """A Queue where destinations named "here..." have slots of their own: half as many."""
    return Queue(connections, per_destination, lambda name: name.startswith("here"))


def test_what_is_here_takes_nothing_from_what_is_elsewhere_nor_the_other_way_round():
    queue = both(connections=4)
    for number in range(9):
        queue.schedule.trust("here%d" % number)
        queue.add("here%d" % number, 5)
    used = queue.choose_all()
    assert names(used) == ["here0", "here1"]
    assert queue.choose_all(LONG + 1) == [], "slow as they are, the others are not given theirs"
    for name in "abc":
        queue.add(name, 5).fail(LATER, 1.0, False)
    queue.schedule.trust("live")
    queue.add("live", 5)
    elsewhere = queue.choose_all(LONG + 1)
    assert names(elsewhere) == ["a", "b", "live", "live"], (
        "the slow ones here do not count as doubtful elsewhere")
    assert len(queue.schedule.slots()) == 6 and set(queue.schedule.slots()) == set(used + elsewhere)
    assert not any(queue.schedule.is_over(slot, 0.0) for slot in used)
    queue.end(used[0])
    assert names(queue.choose_all()) == ["here2"] and len(queue.schedule.slots()) == 6
    queue.end(elsewhere[3])
    assert names(queue.choose_all()) == ["live"]


def test_one_gives_its_slot_back_only_for_those_of_its_kind():
    queue = both(connections=1)
    queue.add("a", 5)
    queue.add("here", 5)
    there, here = queue.choose_all()
    assert not queue.schedule.is_over(there, SLICE) and not queue.schedule.is_over(here, SLICE)
    queue.add("here2", 5)
    assert not queue.schedule.is_over(there, SLICE) and queue.schedule.is_over(here, SLICE)


def test_one_users_slow_programs_leave_room_for_anothers():
    queue = both(connections=16)
    queue.schedule.trust("here:good")
    for number in range(20):
        queue.add("here:flood%d" % number, 5)
    assert len(queue.choose_all()) == 6, "nobody knows anything of them"
    assert queue.choose_all(LONG + 1) == []
    queue.add("here:good", 5)
    assert names(queue.choose_all(LONG + 1)) == ["here:good", "here:good"]
