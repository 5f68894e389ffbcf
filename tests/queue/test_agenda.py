"""Who waits for which destination: against a plain model, with clocks that jump, and its cost."""
import random
import tracemalloc

import pytest

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.agenda import Agenda

LATER = Reply(451, "4.4.1", "nobody there")


@pytest.fixture
def agenda():
    return Agenda(lambda line: None)


def line_of(agenda, name):
    return next((line for line in agenda.lines() if line.name == name), None)


def test_first_come_first_served_when_due(agenda):
    for identity, when in (("c", 12.0), ("a", 11.0), ("b", 5.0), ("d", 50.0)):
        agenda.place(identity, {"x.org": when}, 10.0)
    line = line_of(agenda, "x.org")
    assert [agenda.take(line), agenda.take(line)] == ["b", None]
    assert agenda.next_moment() == 11.0
    agenda.promote(20.0)
    assert [agenda.take(line), agenda.take(line), agenda.take(line)] == ["a", "c", None]
    assert agenda.next_moment() == 50.0


def test_each_destination_is_told_of_what_is_ready():
    told = []
    agenda = Agenda(lambda line: told.append(line.name))
    agenda.place("a", {"x.org": 0.0, "y.org": 5.0}, 1.0)
    assert told == ["x.org"]
    agenda.promote(5.0)
    assert told == ["x.org", "y.org"]


def test_a_message_that_is_placed_anew_waits_where_it_is_said_only(agenda):
    agenda.place("a", {"x.org": 5.0, "y.org": 0.0}, 1.0)
    agenda.place("a", {"y.org": 7.0, "z.org": 0.0}, 1.0)
    assert sorted(line.name for line in agenda.lines()) == ["y.org", "z.org"]
    assert agenda.take(line_of(agenda, "y.org")) is None, "it was ready, but has been put off"
    assert agenda.take(line_of(agenda, "z.org")) == "a"
    agenda.promote(10.0)
    assert agenda.take(line_of(agenda, "y.org")) == "a"


def test_a_message_that_is_gone_leaves_nothing(agenda):
    agenda.place("a", {"x.org": 5.0, "y.org": 0.0}, 1.0)
    agenda.place("a", {}, 1.0)
    assert (len(agenda), agenda.lines()) == (0, [])
    agenda.promote(100.0)
    assert agenda.lines() == []


def test_nobody_else_gets_a_message_that_is_worked_on(agenda):
    agenda.place("a", {"x.org": 0.0}, 1.0)
    line = line_of(agenda, "x.org")
    assert agenda.take(line) == "a"
    agenda.place("a", {"x.org": 0.0}, 1.0)
    assert agenda.take(line) is None
    assert agenda.finish(line, "a", {"x.org": 9.0}, 1.0) is True, "it was placed meanwhile: its state may be another"
    assert len(agenda) == 1
    agenda.promote(9.0)
    assert agenda.take(line) == "a"
    assert agenda.finish(line, "a", {}, 9.0) is False
    assert (len(agenda), agenda.lines()) == (0, [])


def test_what_became_of_one_destination_leaves_the_others_alone(agenda):
    agenda.place("a", {"x.org": 0.0, "y.org": 30.0}, 1.0)
    line = line_of(agenda, "x.org")
    agenda.take(line)
    agenda.finish(line, "a", {"(reports)": 0.0}, 1.0)
    assert sorted(line.name for line in agenda.lines()) == ["(reports)", "y.org"]
    assert agenda.take(line_of(agenda, "(reports)")) == "a"
    assert agenda.next_moment() == 30.0


def test_hurry_makes_all_of_a_destination_ready(agenda):
    for number in range(5):
        agenda.place("m%d" % number, {"x.org": 1000.0 + number, "y.org": 1000.0}, 1.0)
    line = line_of(agenda, "x.org")
    agenda.hurry(line)
    assert [agenda.take(line) for _ in range(6)] == ["m0", "m1", "m2", "m3", "m4", None]
    assert agenda.take(line_of(agenda, "y.org")) is None


def test_what_is_ready_stays_so_when_the_clock_goes_back(agenda):
    agenda.place("a", {"x.org": 100.0}, 50.0)
    agenda.promote(100.0)
    agenda.promote(20.0)
    assert agenda.take(line_of(agenda, "x.org")) == "a"


def test_a_destination_that_nobody_waits_for_is_forgotten_unless_it_is_in_use(agenda):
    agenda.place("a", {"x.org": 0.0}, 1.0)
    line = line_of(agenda, "x.org")
    agenda.take(line)
    line.active = 1
    agenda.finish(line, "a", {}, 1.0)
    assert agenda.lines() == [line]
    line.active = 0
    agenda.prune(line)
    assert agenda.lines() == []


def test_a_line_remembers_how_it_fared(agenda):
    agenda.place("a", {"x.org": 0.0}, 1.0)
    line = line_of(agenda, "x.org")
    assert line.refusal(1.0, 60) is None
    assert line.fail(LATER, 10.0, True) is True
    assert line.fail(LATER, 20.0, True) is False, "that it is down is no news"
    assert (line.refusal(20.0, 60), line.refusal(79.0, 60), line.refusal(80.0, 60)) == (LATER, LATER, None)
    assert line.refusal(19.0, 60) is None, "the clock went back: nobody knows how long ago that was"
    line.fail(LATER, 90.0, False)
    assert (line.refusal(91.0, 60), line.down_since) == (None, 10.0), "it answers, if badly: the next one finds out for itself"
    assert line.answer(100.0) == 90.0
    assert line.answer(101.0) is None
    assert (line.down_since, line.has_failed, line.reply, line.back_since) == (None, False, None, 100.0)


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
        return {identity for (identity, other), when in self.waits.items() if other == name and when <= now}


@pytest.mark.parametrize("seed", range(30))
def test_against_the_model(agenda, seed):
    draw = random.Random(seed)
    model, now, in_hand = Model(), 0.0, []
    names, identities = ["a.org", "b.org", "c.org"], ["m%d" % number for number in range(8)]
    for _ in range(400):
        act = draw.random()
        if act < 0.3:
            identity = draw.choice(identities)
            dues = {name: now + draw.choice([-1.0, 0.0, 1.0, 5.0, 5.0, 50.0]) for name in draw.sample(names, draw.randint(0, 3))}
            agenda.place(identity, dues, now)
            model.place(identity, dues)
        elif act < 0.6:
            line = line_of(agenda, draw.choice(names))
            if line is not None:
                due = model.due(line.name, now)
                identity = agenda.take(line)
                assert (identity is None) == (not due) and (identity is None or identity in due)
                if identity is not None:
                    line.active += 1
                    del model.waits[identity, line.name]
                    model.taken[identity, line.name] = False
                    in_hand.append((line, identity))
        elif act < 0.85 and in_hand:
            line, identity = in_hand.pop(draw.randrange(len(in_hand)))
            dues = draw.choice([{}, {line.name: now}, {line.name: now + 7.0}, {"c.org": now}])
            again = model.taken.pop((identity, line.name))
            assert agenda.finish(line, identity, dues, now) == again
            line.active -= 1
            for name, when in dues.items():
                model.put(identity, name, when)
            agenda.prune(line)
        elif act < 0.9:
            line = line_of(agenda, draw.choice(names))
            if line is not None:
                agenda.hurry(line)
                for key in model.waits:
                    if key[1] == line.name:
                        model.waits[key] = min(model.waits[key], now)
        else:
            now += draw.choice([0.5, 3.0, 20.0])
            agenda.promote(now)
        assert agenda._count == len(model.waits)
        assert set(agenda._places) == {identity for identity, _ in model.waits} | {identity for identity, _ in model.taken}
        assert {line.name for line in agenda.lines()} == {name for _, name in model.waits} | {line.name for line, _ in in_hand}


def test_the_heap_is_kept_clean(agenda):
    for number in range(20000):
        agenda.place("a", {"x.org": 1000.0 + number}, 1.0)
    assert len(agenda._later) < 2000


@pytest.mark.parametrize("destinations, most", [(1, 4e6), (10000, 10e6)])
def test_ten_thousand_messages_cost_little(agenda, destinations, most):
    tracemalloc.start()
    try:
        for number in range(10000):
            agenda.place("%016x.%05d" % (number, number), {"dead%d.example.org" % (number % destinations): 1e9 + number}, 1.0)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert size < most
