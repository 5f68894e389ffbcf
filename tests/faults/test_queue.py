"""The queue killed, cut off from power and out of space, at every file operation of all that is
done with it.

What was accepted is there whole, what was not leaves nothing once the next start has swept, and
nothing is ever half.
"""
import errno
import os
import re

import pytest

from .queueoracle import QueueOracle
from .rig import Broken, Rig

VERBS = ("enqueue", "update", "remove", "abandon", "announce")
# Operations that a verb has at the least, in two rounds: fewer, and something was not done that is
# promised.
LEAST = {"enqueue": 14, "update": 8, "remove": 4, "abandon": 4, "announce": 4}


class QueueRig(Rig):
    """One queue, its oracle, and workers that are killed on it one after the other."""

    worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "queueworker.py")

    def __init__(self, layer, name):
        super().__init__(layer, name)
        self.oracle = QueueOracle()

    def _check(self, reading):
        self.readings += 1
        excuses, self.excuses = self.excuses, {}
        broken = self.oracle.check(reading, **excuses)
        if broken:
            raise Broken("%s\n%s" % ("\n".join(broken), self.way()))


@pytest.fixture
def make_queue(make_rig):
    """A function name -> QueueRig with some messages in it."""
    def make(name, **job):
        rig = make_rig(name)
        queue = QueueRig(rig.layer, name)
        queue.run(verbs=["enqueue"], rounds=4, expect=0, **job)
        return queue
    return make


def at_every_operation(queue, verb, strike, afterwards=lambda: None, **job):
    """Strikes before and after the first operation of a verb, the second and so on to the last; how
    often."""
    struck = 0
    for after in (False, True):
        for nth in range(1, 1000):
            rules = []
            queue.run(verbs=[verb], rounds=2,
                      arm=lambda: rules.append(strike("*:*", nth=nth, after=after)), **job)
            afterwards()
            if not rules[0].hits:
                break
            struck += 1
    queue.run(expect=0)
    return struck


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_every_operation(make_queue, verb):
    queue = make_queue("kill-" + verb)
    kills = [at_every_operation(queue, verb, queue.layer.kill, durable=durable, size=size)
             for durable in (True, False) for size in (0, 3000)]
    assert min(kills) >= 2 * LEAST[verb], "fewer operations than it takes"
    queue.close()


def test_killed_at_random_under_load(make_queue):
    queue = make_queue("random")
    kills = 0
    while kills < 120:
        nth = queue.dice.randint(1, queue.dice.choice((5, 30, 150)))
        after, early = queue.dice.random() < 0.5, queue.dice.random() < 0.25
        arm = lambda: queue.layer.kill("*:*", nth=nth, after=after)     # noqa: E731
        kills += queue.run(threads=3, rounds=20, verbs=VERBS,
                           **{"early" if early else "arm": arm}) != 0
    queue.run(expect=0)
    queue.close()


@pytest.mark.parametrize("mode", ["strict", "random"])
@pytest.mark.parametrize("verb", VERBS)
def test_power_lost_at_every_operation(make_queue, verb, mode):
    queue = make_queue("power-%s-%s" % (verb, mode))
    queue.watch_disk()
    for durable in (True, False):
        cuts = at_every_operation(queue, verb, queue.layer.freeze, lambda: queue.lose_power(mode),
                                  durable=durable, size=3000)
        assert cuts >= 2 * LEAST[verb]
    queue.close()


def test_power_lost_as_the_queues_folder_is_made(make_rig):
    queue = QueueRig(make_rig("first").layer, "first")
    queue.watch_disk()
    assert at_every_operation(queue, "enqueue", queue.layer.freeze,
                              queue.lose_power) >= 2 * LEAST["enqueue"]
    queue.close()


def test_power_lost_at_random_under_load(make_queue):
    queue = make_queue("cut")
    queue.watch_disk()
    for _ in range(60):
        nth = queue.dice.randint(1, queue.dice.choice((5, 60, 200)))
        after, early = queue.dice.random() < 0.5, queue.dice.random() < 0.25
        arm = lambda: queue.layer.freeze("*:*", nth=nth, after=after)     # noqa: E731
        queue.run(threads=3, rounds=20, verbs=VERBS, **{"early" if early else "arm": arm})
        queue.lose_power(queue.dice.choice(("strict", "random")))
    queue.run(expect=0)
    queue.close()


@pytest.mark.parametrize("kind, words",
                         [("file", "not what was queued|accepted and is nowhere|set aside"),
                          ("folder", "accepted and is nowhere")])
def test_a_queue_that_forgets_to_sync_is_found_out(make_queue, kind, words):
    """SIGKILL never would."""
    queue = make_queue("forgets-" + kind)
    queue.watch_disk()
    queue.run(verbs=["enqueue"], rounds=10, size=3000, forget=kind)
    queue.lose_power()
    with pytest.raises(Broken, match=words):
        queue.run(expect=0)
    queue.close()


def left_behind(queue):
    """Files of the folder that belong to no whole message."""
    names = os.listdir(os.path.join(queue.folder, "queue"))
    whole = {name for name in names if {re.sub(r"\.\w+$", suffix, name)
                                        for suffix in (".body", ".state")} <= set(names)}
    return [name for name in names if name != "changes"
            and (name not in whole or name.endswith(".tmp"))]


@pytest.mark.parametrize("verb", VERBS)
def test_no_space_at_every_operation_that_needs_some(make_queue, verb):
    queue = make_queue("full-" + verb)
    failed = 0
    for nth in range(1, 1000):
        rules = []
        for half in (False, True):
            queue.run(verbs=[verb], rounds=2, size=3000, expect=0,
                      arm=lambda: rules.append(queue.layer.fail("space:*", errno.ENOSPC, nth=nth,
                                                                count=1, half=half)))
            assert left_behind(queue) == []
        if not any(rule.hits for rule in rules):
            break
        failed += 1
    assert failed >= (0 if verb == "remove" else 2)
    assert {error for _, error in queue.oracle.failures} <= {"NoSpace"}
    assert (len(queue.oracle.failures) > 0) == (failed > 0)
    queue.run(expect=0)
    queue.close()


def test_no_space_and_a_failing_disk_at_random_under_load(make_queue):
    queue = make_queue("full")
    for turn in range(40):
        nth, count, half = queue.dice.randint(1, 40), queue.dice.randint(
            0, 30), queue.dice.random() < 0.5
        step, error = (("space:*", errno.ENOSPC), ("fsync,fsyncdir:*", errno.EIO))[turn % 2]
        queue.run(threads=3, rounds=15, verbs=VERBS, expect=0,
                  arm=lambda: queue.layer.fail(step, error, nth=nth, count=count, half=half))
        assert left_behind(queue) == []
    # A removal that could not be synced is told as Unavailable, and done.
    assert {"NoSpace", "Unavailable"} <= {error for _, error in queue.oracle.failures} <= {
        "NoSpace", "Unavailable", "NoSuchMessage"}
    queue.run(expect=0)
    queue.close()


def test_a_disk_that_fails_to_sync_loses_nothing_that_was_accepted(make_queue):
    queue = make_queue("failing")
    queue.watch_disk()
    for step in ("fsync:*", "fsyncdir:*"):
        for nth in range(1, 12):
            queue.run(threads=2, rounds=15, verbs=VERBS, expect=0,
                      arm=lambda: queue.layer.fail(step, errno.EIO, nth=nth, count=1))
            queue.lose_power()
    queue.run(expect=0)
    queue.close()


@pytest.mark.parametrize("lines, found, files, words", [
    ([dict(ask="commit", identity="1", digest="d"), dict(ok="commit", identity="1")], {}, [],
     "1 was accepted and is nowhere"),
    ([dict(ask="commit", identity="1", digest="d")], {"1": ["half", 0]}, [],
     "1 is not what was queued"),
    ([dict(ask="commit", identity="1", digest="d"),
      dict(failed="enqueue", error="NoSpace", identity="1")], {"1": ["d", 0]}, [], "1 is there"),
    ([dict(ask="commit", identity="1", digest="d"), dict(ok="commit", identity="1"),
      dict(ask="update", identity="1", value=1),
      dict(ok="update", identity="1", value=1, durable=False)], {"1": ["d", 0]}, [],
     "1 has 0 attempts"),
    ([dict(ask="commit", identity="1", digest="d"), dict(ask="remove", identity="1"),
      dict(ok="remove", identity="1", durable=False)],
     {"1": ["d", 0]}, [], "1 was removed and is there"),
    ([dict(ask="commit", identity="1", digest="d")], {}, ["1.body"], "1.body is left behind"),
])
def test_the_oracle_sees_what_is_broken(lines, found, files, words):
    oracle = QueueOracle()
    for line in lines:
        oracle.hear(line)
    broken, = oracle.check({"messages": found, "files": files})
    assert words in broken
