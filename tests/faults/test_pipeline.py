"""Mail for users, whatever takes it, with the server killed between every two steps of its way.

What was accepted, or lay in a drop folder, is at each of its ends, once at least: in the mailbox
that a filter chose, in each of those that share a file, with the program, the plugin, the next hop.
It is there again only where a death came between the hand-over and the note of it. Nobody is told
twice that somebody is away. Nothing else is left. PIPELINE_KILLS=500 kills as often at random,
and at every operation; PIPELINE_SEED is for the dice.
"""
import collections
import os
import random
import threading

import pytest

from .oracle import make_message
from .pipelineoracle import Content, PipelineOracle
from .pipelinerig import KINDS, PipelineRig
from .rig import Broken

KILLS = int(os.environ.get("PIPELINE_KILLS", "40"))
SEED = os.environ.get("PIPELINE_SEED", "1")
EVERY = "PIPELINE_KILLS" in os.environ
TWO_DAYS = 2 * 86400


@pytest.fixture
def make_pipeline(make_rig):
    """A function name -> PipelineRig."""
    made = []

    def make(name):
        made.append(PipelineRig(make_rig(name.replace(" ", "-")).layer, name.replace(" ", "-")))
        return made[-1]
    yield make
    for each in made:
        each.close()


def revive(rig):
    """A life that comes to rest with nothing waiting, and every promise is kept."""
    if rig.pid is None:
        assert rig.start()
    assert rig.settle()


def live(rig, *kinds):
    """Messages of these kinds, and until nothing waits -> whether the server lived so long."""
    for kind in kinds:
        if rig.pid is None or rig.send_kind(kind) is None:
            return False
    return rig.pid is not None and rig.settle()


def test_nothing_goes_wrong(make_pipeline):
    rig = make_pipeline("quiet")
    revive(rig)
    for _ in range(2):
        assert live(rig, *sorted(KINDS))
    assert rig.half_files() == [] and not rig.oracle.repeated and not rig.oracle.unanswered
    rig.stop()
    assert rig.deaths == 0 and rig.brought == {kind: 2 for kind in KINDS}


# Deaths.

def kill_at_each(rig, kind, step, after):
    """A message of that kind for every operation that it takes, or every step-th, at which the
    server dies -> how many it takes."""
    for nth in range(1, 1000, step):
        rig.layer.kill("*:*", nth=nth, after=after)
        is_over = live(rig, kind)
        rig.layer.clear()
        revive(rig)
        if is_over:
            return nth - 1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_killed_before_every_operation(make_pipeline, kind):
    rig = make_pipeline(kind)
    revive(rig)
    assert live(rig, kind)    # folders are there now, and what is made once
    step = 3 if kind == "mixed" and not EVERY else 1
    operations = kill_at_each(rig, kind, step, False)
    assert rig.deaths >= operations // step and operations >= 5, "fewer operations than it takes"
    assert len(rig.oracle.repeated) <= 1 + rig.deaths / 2, (
        "deliveries are recorded late")
    rig.stop()


def test_killed_after_operations(make_pipeline):
    """What is on the disk after one and before the next is the same; what others were given may not
    be."""
    rig = make_pipeline("after")
    revive(rig)
    for kind in sorted(KINDS):
        assert live(rig, kind)
        kill_at_each(rig, kind, 1 if EVERY else 7, True)
    assert rig.deaths > 50
    rig.stop()


def stop_early(rig, nth, after):
    """Some of all is under way as the server is told to stop, and dies at the nth operation from
    there -> whether it lived."""
    deaths = rig.deaths
    for kind in ("agent", "mixed", "dropped and filed"):
        assert rig.send_kind(kind)
    rig.layer.kill("*:*", nth=nth, after=after)
    rig.stop()
    rig.layer.clear()
    return rig.deaths == deaths


def test_killed_while_it_stops(make_pipeline):
    rig = make_pipeline("stops")
    lived = 0
    for nth in list(range(1, 60, 1 if EVERY else 5)) + [1000] * 3:
        revive(rig)
        lived += stop_early(rig, nth, nth % 2 == 0)
    revive(rig)
    assert rig.deaths > 5 and lived >= 3
    rig.stop()


def test_an_orderly_stop_repeats_nothing(make_pipeline):
    """Whatever is under way: each stop comes while mail is."""
    rig = make_pipeline("orderly")
    for turn in range(5):
        assert rig.start()
        for kind in sorted(KINDS):
            assert rig.send_kind(kind)
        threading.Event().wait(rig.dice.uniform(0, 0.03))
        rig.stop()
    revive(rig)
    assert (rig.deaths == 0 and not rig.oracle.repeated and not rig.oracle.unanswered
            and rig.half_files() == [])
    rig.stop()


def strike(rig):
    """Something that will kill the server -> a timer or None."""
    way = rig.dice.choice(("clock", "operation", "operation", "hop"))
    if way == "clock":
        return rig.kill_later(rig.dice.uniform(0, 0.15))
    if way == "hop":
        rig.hops.strike_at(rig.dice.choice(("dot", "answered")), rig.dice.randint(1, 4), rig.kill)
    else:
        rig.layer.kill("*:*", nth=rig.dice.randint(1, 150), after=rig.dice.random() < 0.5)
    return None


def test_killed_at_random(make_pipeline):
    """By the clock, the count of operations, and the next hop, with several messages under way, and
    again while that is taken up."""
    rig = make_pipeline("random-" + SEED)
    rig.sizes += (300000,)
    revive(rig)
    while rig.deaths < KILLS:
        timer = strike(rig)
        if rig.pid is not None or rig.start():
            live(rig, *[rig.dice.choice(sorted(KINDS)) for _ in range(rig.dice.randint(1, 8))])
        if timer is not None:
            rig.outlive(timer)
        rig.layer.clear()
        rig.hops.strike_at(None)
        if rig.dice.random() < 0.5:
            revive(rig)
    revive(rig)
    rig.stop()


def test_power_is_lost_at_random(make_pipeline):
    """What was accepted is on the disk, and what is there after a power loss is whole."""
    rig = make_pipeline("power-" + SEED)
    revive(rig)
    assert live(rig, *sorted(KINDS))
    rig.watch_disk()
    while rig.deaths < (150 if EVERY else 15):
        rig.layer.freeze("*:*", nth=rig.dice.randint(1, 150), after=rig.dice.random() < 0.5)
        live(rig, *[rig.dice.choice(sorted(KINDS)) for _ in range(rig.dice.randint(1, 6))])
        rig.layer.clear()
        revive(rig)
    rig.stop()


def half_messages(rig):
    return [path for path in rig.half_files() if os.path.basename(os.path.dirname(path)) == "tmp"]


def test_nothing_is_left_behind_for_long(make_pipeline):
    """Deaths leave half messages in mailboxes' `tmp`, and half files elsewhere; they go when they
    are 36 hours old (the Maildir's rule)."""
    rig = make_pipeline("left")
    revive(rig)
    for kind in sorted(KINDS):
        assert live(rig, kind)
        for nth in (2, 5, 9):
            rig.layer.kill("*:*", nth=nth)
            live(rig, kind)
            rig.layer.clear()
            revive(rig)
    assert half_messages(rig)
    assert rig.advance(TWO_DAYS)
    rig.stop()
    revive(rig)
    assert live(rig, *sorted(KINDS))
    assert rig.half_files() == []
    rig.stop()


# The tests themselves.

@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_server_that_forgets_to_sync_is_found_out(make_pipeline, kind):
    rig = make_pipeline("forgets-" + kind)
    revive(rig)
    assert live(rig, "mixed")
    rig.stop()
    rig.watch_disk()
    with pytest.raises(Broken, match="is not at|half|set aside"):
        for _ in range(10):
            rig.start(forget=kind)
            rig.hops.strike_at("answered", 1, lambda: rig.layer.power_off() is None and rig.kill())
            live(rig, "linked", "agent", "mixed")
            revive(rig)
            rig.stop()


@pytest.mark.parametrize("is_accepted, steps, words", [
    (True, "", "was accepted, and is not at here"),
    (None, "", ""),
    (None, "here", ""),
    (False, "here", "was not accepted, and is at here"),
    (True, "here there", ""),
    (True, "here there there", "2 times at there, and 1 are explained"),
    (True, "here elsewhere there", "none of its ends"),
    # Dead: "here+1" is at an end, and waits for it by the disk.
    (True, "here there+1 there", ""),
    (True, "here there+1 there there", "3 times at there, and 2 are explained"),
    (True, "here there there+1", "2 times at there, and 1 more"),
    (True, "here there+1 there+1 there", ""),
    (True, "here there+1 there+0 there", "3 times at there, and 2 are explained"),
    (True, "here there there off +1 there", ""),
])
def test_the_oracle_sees_what_is_broken(is_accepted, steps, words):
    oracle = PipelineOracle()
    oracle.submit("t", ["here", "there"])
    if is_accepted is not None:
        oracle.answer("t", is_accepted)
    for step in steps.split():
        place, plus, waiting = step.partition("+")
        if place == "off":
            oracle.power_lost()
        elif place:
            oracle.hear(whole("t"), place)
        if plus:
            oracle.died(collections.Counter({("t", "there"): int(waiting)}))
    broken = oracle.settled()
    assert words in "; ".join(broken) and bool(words) == bool(broken), broken


def whole(token):
    return Content(make_message(token, random.Random(1), 40))


def answer(name):
    return Content(
        b"From: a@example.org\r\nMessage-ID: <vacation.%s>\r\nAuto-Submitted: auto-replied\r\n"
        b"\r\naway\r\n" % name)


def test_the_oracle_counts_answers():
    oracle = PipelineOracle()
    for name, count in ((b"1", 1), (b"1", 2), (b"2", 3)):
        oracle.hear(answer(name), "w@far.example")
        broken = "; ".join(oracle.settled())
        assert ("2 times at w@far.example" in broken) == (count == 2)
        assert ("was told 2 times" in broken) == (count == 3)


def test_the_oracle_sees_half_messages():
    oracle = PipelineOracle()
    oracle.submit("t", ["here"])
    oracle.hear(Content(make_message("t", random.Random(1), 400)[:-30]), "here")
    assert "half at here" in "; ".join(oracle.settled())
