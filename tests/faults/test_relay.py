"""A whole server that sends: killed at every file operation from the submission to the last report,
by the next hop, and at random.

What was accepted arrives at the next hop whole, once at least, or its sender is told. A message
arrives again only where a death cut off the answer to its final dot before that was on the disk,
and a report where it came between the report and what says that it was made. Nothing else is left
anywhere. RELAY_KILLS=2000 kills as often at random, and at more operations; RELAY_SEED is for the
dice.
"""
import errno
import os
import random
import threading

import pytest

from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue.model import Recipient

from .oracle import make_message
from .relayoracle import Arrival, RelayOracle
from .relayrig import HERE, THERE, ProgramRig, RelayRig
from .rig import Broken

KILLS = int(os.environ.get("RELAY_KILLS", "60"))
SEED = os.environ.get("RELAY_SEED", "1")


@pytest.fixture
def make_relay(make_rig):
    """A function name -> RelayRig."""
    made = []

    def make(name, kind=RelayRig):
        made.append(kind(make_rig(name).layer, name))
        return made[-1]
    yield make
    for each in made:
        each.close()


def one_of_each(rig):
    """Mail that meets all that there is: local and remote, taken, put off, refused early and late;
    told here and elsewhere."""
    rig.submit("kept", "taken", "later@" + THERE, "refused@" + THERE)
    if rig.pid is not None:
        rig.send("far@" + HERE, "taken@" + THERE, "rejected", "kept")


def live(rig):
    """Some mail, and until the queue is empty -> whether the server lived so long."""
    one_of_each(rig)
    return rig.pid is not None and rig.settle()


def revive(rig):
    """A life that comes to rest with an empty queue, and every promise is kept."""
    if rig.pid is None:
        assert rig.start()
    assert rig.settle()


def test_nothing_goes_wrong(make_relay):
    rig = make_relay("quiet")
    revive(rig)
    for _ in range(5):
        assert live(rig)
    rig.stop()
    assert rig.deaths == 0 and not any(
        rig.oracle.repeats.values()) and rig.left_in_mailboxes() == []


def test_an_orderly_stop_repeats_nothing(make_relay):
    """Whatever is under way: each stop comes while mail is."""
    rig = make_relay("stops")
    for turn in range(12):
        assert rig.start()
        for _ in range(3):
            one_of_each(rig)
        threading.Event().wait(rig.dice.uniform(0, 0.03))
        rig.stop()
    revive(rig)
    assert rig.deaths == 0 and not any(
        rig.oracle.repeats.values()) and rig.left_in_mailboxes() == []
    rig.stop()


# Deaths.

@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_at_every_operation(make_relay, after):
    rig = make_relay("every-%s" % after)
    revive(rig)
    assert live(rig)    # folders are there now, and what is made once
    # What is on the disk after one operation and before the next is the same; what went over the
    # network may not be.
    step = 1 if "RELAY_KILLS" in os.environ or not after else 3
    for nth in range(1, 1000, step):
        rig.layer.kill("*:*", nth=nth, after=after)
        is_over = live(rig)
        rig.layer.clear()
        revive(rig)
        if is_over:
            break
    assert rig.deaths * step >= nth - 1 >= 60, "fewer operations than it takes"
    # A third or so: an answer cannot be written down before it comes.
    assert rig.oracle.repeats["arrived"] < rig.deaths / 2, "what was answered is written down late"
    rig.stop()


@pytest.mark.parametrize("moment", ["dot", "answered"])
def test_killed_by_the_next_hop(make_relay, moment):
    """Between the final dot and its answer, and between the answer and its reading."""
    rig = make_relay("hop-" + moment)
    revive(rig)
    for nth in (1, 2, 3, 4) * 4:
        rig.hops.strike_at(moment, nth, rig.kill)
        assert not live(rig)
        revive(rig)
    assert rig.deaths == 16 and rig.oracle.repeats["arrived"] > 0
    rig.stop()


def test_killed_at_random(make_relay):
    """By the clock and by the count of operations, with several messages under way, and again while
    what is left is taken up."""
    rig = make_relay("random-" + SEED)
    rig.sizes += (300000,)
    revive(rig)
    while rig.deaths < KILLS:
        timer = None
        if rig.dice.random() < 0.5:
            timer = rig.kill_later(rig.dice.uniform(0, 0.15))
        else:
            rig.layer.kill("*:*", nth=rig.dice.randint(1, 150), after=rig.dice.random() < 0.5)
        if rig.pid is not None or rig.start():
            for _ in range(rig.dice.randint(1, 4)):
                if rig.pid is not None:
                    one_of_each(rig)
            if rig.pid is not None:
                rig.settle()
        if timer is not None:
            rig.outlive(timer)
        rig.layer.clear()
        if rig.dice.random() < 0.5:
            revive(rig)
    revive(rig)
    rig.stop()


def test_power_is_lost_at_random(make_relay):
    """What was answered with 250 is on the disk, and what is there after a power loss is whole."""
    rig = make_relay("power-" + SEED)
    revive(rig)
    assert live(rig)
    rig.watch_disk()
    while rig.deaths < 25:
        rig.layer.freeze("*:*", nth=rig.dice.randint(1, 100), after=rig.dice.random() < 0.5)
        live(rig)
        rig.layer.clear()
        revive(rig)
    rig.stop()


def test_the_program_is_killed(make_relay):
    """`phenmail.py` itself, from its start on."""
    rig = make_relay("program-" + SEED, ProgramRig)
    assert rig.start()
    for _ in range(6):
        rig.layer.kill("*:*", nth=rig.dice.randint(1, 60), after=rig.dice.random() < 0.5)
        for _ in range(3):
            if rig.pid is not None:
                rig.submit("kept", "taken", "taken@" + THERE, "refused@" + THERE)
        if rig.pid is not None:
            rig.settle()
        rig.layer.clear()
        revive(rig)
    assert rig.deaths >= 3
    rig.stop()


# A full disk.

def test_no_space_at_every_operation_that_needs_some(make_relay):
    """452, and nothing is left; what was accepted comes to its end, once, although the disk was
    full for a while."""
    rig = make_relay("full")
    revive(rig)
    assert live(rig)
    failed, codes = 0, set()
    for nth in range(1, 1000):
        rule = rig.layer.fail("space:*", errno.ENOSPC, nth=nth, count=rig.dice.choice((1, 2, 30)),
                              half=nth % 2)
        codes.add(rig.submit("kept", "taken", "later@" + THERE, "refused@" + THERE))
        rig.send("far@" + HERE, "taken@" + THERE, "rejected", "kept")
        assert rig.rest() is not None
        hits = rule.hits
        del rule
        rig.layer.clear()
        revive(rig)
        assert rig.left_in_mailboxes() == []
        if not hits:
            break
        failed += 1
    assert failed > 20 and codes == {250, 452}
    assert rig.deaths == 0 and not any(rig.oracle.repeats.values())
    rig.stop()


def test_the_disk_is_full_while_mail_leaves(make_relay):
    """From a final dot on, for hours: nothing is lost, and who has it does not get it again."""
    rig = make_relay("hours")
    revive(rig)
    for nth in (1, 2, 3, 4, 1, 2):
        rig.hops.strike_at("dot", nth, lambda: rig.layer.fail("space:*", errno.ENOSPC) is None)
        one_of_each(rig)
        for _ in range(4):
            assert rig.rest() is not None
            assert rig.advance()
        rig.layer.clear()
        assert rig.settle()
    assert rig.deaths == 0 and not any(
        rig.oracle.repeats.values()) and rig.left_in_mailboxes() == []
    rig.stop()


# The tests themselves.

def test_orders_go_to_the_server_that_lives(make_relay):
    """Not to one that connected and died before it was ready: nobody would answer."""
    rig = make_relay("orders")
    for _ in range(10):
        rig.layer.kill("*:*")
        assert not rig.start()
    revive(rig)
    assert live(rig) and rig.deaths == 10
    rig.stop()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_server_that_forgets_to_sync_is_found_out(make_relay, kind):
    rig = make_relay("forgets-" + kind)
    revive(rig)
    assert live(rig)
    rig.stop()
    rig.watch_disk()
    with pytest.raises(Broken, match="is lost|half|set aside"):
        for _ in range(10):
            rig.start(forget=kind)
            rig.hops.strike_at("answered", 1, lambda: rig.layer.power_off() is None and rig.kill())
            live(rig)
            revive(rig)


def arrival(token, *addresses, **values):
    """An Arrival of a whole message."""
    made = Arrival(make_message(token, random.Random(1), 40), addresses)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def at_a_hop(**recipient):
    """What lies in the queue for `taken-1`, under the identity 5."""
    return {"5": (arrival("t", identity="5"), [Recipient(Address("taken-1", HERE), **recipient)])}


TAKEN, REFUSED = "taken-1@" + HERE, "refused-2@" + HERE


@pytest.mark.parametrize("codes, arrivals, queued, words", [
    ([250], [], {}, "was accepted, and is lost"),
    (None, [], {}, ""),
    ([452], [arrival("t", TAKEN, identity="5")], {}, "was not accepted, and left"),
    ([250], [arrival("t", TAKEN, identity="5")], {}, ""),
    ([250], [arrival("t", TAKEN, identity="5")] * 2, {}, "2 times"),
    ([250], [arrival("t", TAKEN, identity="5"), "died", arrival("t", TAKEN, identity="5")],
     at_a_hop(), ""),
    ([250], [arrival("t", TAKEN, identity="5"), "died", arrival("t", TAKEN, identity="5")],
     at_a_hop(status="done"), "2 times"),
    ([250], [arrival("t", TAKEN, identity="5"), "died"] + [arrival("t", TAKEN, identity="5")] * 2,
     at_a_hop(), "3 times"),
    ([250], [arrival("t", TAKEN, trouble="its end is missing")], {}, "half: its end is missing"),
    ([250], [arrival("u", TAKEN)], {}, "long after it was settled"),
    ([250, 250], [arrival("t", TAKEN)], {}, REFUSED + " was accepted, and is lost"),
    (None, [arrival("t", TAKEN)], {}, "some of it came to its end"),
    ([250, 250], [arrival("t", TAKEN), arrival("t", "alice", failed=(REFUSED,), identity="6")], {},
     ""),
    ([250, 250], [arrival("t", TAKEN), arrival("t", "alice", failed=(REFUSED,), identity="6"),
                  arrival("t", "alice", failed=(REFUSED,), identity="7")], {},
     REFUSED + " 2 times"),
])
def test_the_oracle_sees_what_is_broken(codes, arrivals, queued, words):
    oracle = RelayOracle()
    oracle.submit("t", [TAKEN, REFUSED][:len(codes or (1, 2))])
    if codes is not None:
        oracle.answer("t", codes)
    for each in arrivals:
        if each == "died":
            oracle.died(queued)
        else:
            oracle.hear(each)
    broken = oracle.settled()
    assert words in "; ".join(broken) and bool(words) == bool(broken)
