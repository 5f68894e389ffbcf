"""Which entry is due where: against a plain model, with clocks that jump, and what it costs."""
import random
import tracemalloc

import pytest

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.schedule import Schedule

LATER = Reply(451, "4.4.1", "nobody there")


@pytest.fixture
def schedule():
    return Schedule()


def destination_of(schedule, name):
    return next((each for each in schedule.destinations() if each.name == name), None)


def come_back(schedule, destination):
    """The destination was down, and is not any more."""
    destination.fail(LATER, 1.0, True)
    schedule.answered(destination, 2.0)


def test_first_come_first_served_when_due(schedule):
    for identity, when in (("c", 12.0), ("a", 11.0), ("b", 5.0), ("d", 50.0)):
        schedule.place(identity, {"x.org": when}, 10.0)
    destination = destination_of(schedule, "x.org")
    assert [schedule.take(destination), schedule.take(destination)] == ["b", None]
    assert schedule.next_time() == 11.0
    schedule.promote(20.0)
    assert [schedule.take(destination), schedule.take(destination), schedule.take(destination)] == [
        "a", "c", None]
    assert schedule.next_time() == 50.0


def test_each_destination_is_in_line_for_a_slot_once_something_is_ready(schedule):
    schedule.place("a", {"x.org": 0.0, "y.org": 5.0}, 1.0)
    assert [schedule.choose(0.0).destination.name, schedule.choose(0.0)] == ["x.org", None]
    schedule.promote(5.0)
    assert [schedule.choose(0.0).destination.name, schedule.choose(0.0)] == ["y.org", None]


def test_a_message_that_is_placed_anew_waits_where_it_is_said_only(schedule):
    schedule.place("a", {"x.org": 5.0, "y.org": 0.0}, 1.0)
    schedule.place("a", {"y.org": 7.0, "z.org": 0.0}, 1.0)
    assert sorted(destination.name for destination in schedule.destinations()) == ["y.org", "z.org"]
    assert schedule.take(destination_of(schedule, "y.org")) is None, (
        "it was ready, but has been put off")
    assert schedule.take(destination_of(schedule, "z.org")) == "a"
    schedule.promote(10.0)
    assert schedule.take(destination_of(schedule, "y.org")) == "a"


def test_a_message_that_is_gone_leaves_nothing(schedule):
    schedule.place("a", {"x.org": 5.0, "y.org": 0.0}, 1.0)
    schedule.place("a", {}, 1.0)
    assert (len(schedule), schedule.destinations()) == (0, [])
    schedule.promote(100.0)
    assert schedule.destinations() == []


def test_nobody_else_gets_a_message_that_is_worked_on(schedule):
    schedule.place("a", {"x.org": 0.0}, 1.0)
    destination = destination_of(schedule, "x.org")
    assert schedule.take(destination) == "a"
    schedule.place("a", {"x.org": 0.0}, 1.0)
    assert schedule.take(destination) is None
    assert schedule.finish(destination, "a", {"x.org": 9.0}, 1.0) is True, (
        "it was placed meanwhile: its state may be another")
    assert len(schedule) == 1
    schedule.promote(9.0)
    assert schedule.take(destination) == "a"
    assert schedule.finish(destination, "a", {}, 9.0) is False
    assert (len(schedule), schedule.destinations()) == (0, [])


def test_what_became_of_one_destination_leaves_the_others_alone(schedule):
    schedule.place("a", {"x.org": 0.0, "y.org": 30.0}, 1.0)
    destination = destination_of(schedule, "x.org")
    schedule.take(destination)
    schedule.finish(destination, "a", {"(reports)": 0.0}, 1.0)
    assert sorted(destination.name for destination in schedule.destinations()) == [
        "(reports)", "y.org"]
    assert schedule.take(destination_of(schedule, "(reports)")) == "a"
    assert schedule.next_time() == 30.0


def test_all_entries_of_a_destination_that_is_back_are_ready(schedule):
    for number in range(5):
        schedule.place("m%d" % number, {"x.org": 1000.0 + number, "y.org": 1000.0}, 1.0)
    destination = destination_of(schedule, "x.org")
    come_back(schedule, destination)
    assert [schedule.take(destination) for _ in range(6)] == ["m0", "m1", "m2", "m3", "m4", None]
    assert schedule.take(destination_of(schedule, "y.org")) is None


def test_what_is_ready_stays_so_when_the_clock_goes_back(schedule):
    schedule.place("a", {"x.org": 100.0}, 50.0)
    schedule.promote(100.0)
    schedule.promote(20.0)
    assert schedule.take(destination_of(schedule, "x.org")) == "a"


def test_a_destination_that_nobody_waits_for_is_forgotten_unless_it_is_in_use(schedule):
    schedule.place("a", {"x.org": 0.0}, 1.0)
    destination = destination_of(schedule, "x.org")
    schedule.take(destination)
    destination.active = 1
    schedule.finish(destination, "a", {}, 1.0)
    assert schedule.destinations() == [destination]
    destination.active = 0
    schedule._prune(destination)
    assert schedule.destinations() == []


def test_a_line_remembers_how_it_fared(schedule):
    schedule.place("a", {"x.org": 0.0}, 1.0)
    destination = destination_of(schedule, "x.org")
    assert destination.refusal(1.0, 60) is None
    assert destination.fail(LATER, 10.0, True) is True
    assert destination.fail(LATER, 20.0, True) is False, "that it is down is no news"
    assert (
        destination.refusal(20.0, 60), destination.refusal(79.0, 60), destination.refusal(80.0, 60),
    ) == (LATER, LATER, None)
    assert destination.refusal(19.0, 60) is None, (
        "the clock went back: nobody knows how long ago that was")
    destination.fail(LATER, 90.0, False)
    assert (destination.refusal(91.0, 60), destination.down_since) == (None, 10.0), (
        "it answers, if badly: the next one finds out for itself")
    assert destination.answer(100.0) == 90.0
    assert destination.answer(101.0) is None
    assert (destination.down_since, destination.reply, destination.back_since) == (
        None, None, 100.0)


class Model:
    """The same with a dictionary: {(identity, destination): moment}."""

    def __init__(self):
        self.waits, self.taken = {}, {}

    def place(self, identity, dues):
        for key in [key for key in self.waits if key[0] == identity]:
            del self.waits[key]
        for name, when in dues.items():
            self.put(identity, name, when)
        for key in self.taken:
            if key[0] == identity:
                self.taken[key] = self.taken[key] or key[1] not in dues

    def put(self, identity, name, when):
        if (identity, name) in self.taken:
            self.taken[identity, name] = True
        else:
            self.waits[identity, name] = when

    def due(self, name, now):
        return {
            identity
            for (identity, other), when in self.waits.items()
            if other == name and when <= now}


@pytest.mark.parametrize("seed", range(30))
def test_against_the_model(schedule, seed):
    draw = random.Random(seed)
    model, now, in_hand = Model(), 0.0, []
    names, identities = ["a.org", "b.org", "c.org"], ["m%d" % number for number in range(8)]
    for _ in range(400):
        act = draw.random()
        if act < 0.3:
            identity = draw.choice(identities)
            dues = {
                name: now + draw.choice([-1.0, 0.0, 1.0, 5.0, 5.0, 50.0])
                for name in draw.sample(names, draw.randint(0, 3))}
            schedule.place(identity, dues, now)
            model.place(identity, dues)
        elif act < 0.6:
            destination = destination_of(schedule, draw.choice(names))
            if destination is not None:
                due = model.due(destination.name, now)
                identity = schedule.take(destination)
                assert (identity is None) == (not due) and (identity is None or identity in due)
                if identity is not None:
                    destination.active += 1
                    del model.waits[identity, destination.name]
                    model.taken[identity, destination.name] = False
                    in_hand.append((destination, identity))
        elif act < 0.85 and in_hand:
            destination, identity = in_hand.pop(draw.randrange(len(in_hand)))
            dues = draw.choice(
                [{}, {destination.name: now}, {destination.name: now + 7.0}, {"c.org": now}])
            again = model.taken.pop((identity, destination.name))
            assert schedule.finish(destination, identity, dues, now) == again
            destination.active -= 1
            for name, when in dues.items():
                model.put(identity, name, when)
            schedule._prune(destination)
        elif act < 0.9:
            destination = destination_of(schedule, draw.choice(names))
            if destination is not None:
                come_back(schedule, destination)
                for key in model.waits:
                    if key[1] == destination.name:
                        model.waits[key] = min(model.waits[key], now)
        else:
            now += draw.choice([0.5, 3.0, 20.0])
            schedule.promote(now)
        assert schedule._count == len(model.waits)
        assert set(schedule._messages) == {identity for identity, _ in model.waits} | {
            identity for identity, _ in model.taken}
        assert {destination.name for destination in schedule.destinations()} == {
            name for _, name in model.waits} | {destination.name for destination, _ in in_hand}


def test_the_heap_is_kept_clean(schedule):
    for number in range(20000):
        schedule.place("a", {"x.org": 1000.0 + number}, 1.0)
    assert len(schedule._later) < 2000


@pytest.mark.parametrize("destinations, most", [(1, 4e6), (10000, 10e6)])
def test_ten_thousand_messages_cost_little(schedule, destinations, most):
    tracemalloc.start()
    try:
        for number in range(10000):
            schedule.place(
                "%016x.%05d" % (number, number),
                {"dead%d.example.org" % (number % destinations): 1e9 + number}, 1.0)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < most
