"""A full disk and one that fails: the request is refused, nothing is half-written, what was there
stays, and service resumes by itself."""
import errno
import os

import pytest

from .layer import SPACE
from .test_kill import VERBS


def left_behind(rig):
    """Files in the tmp folders."""
    return [os.path.join(folder, name) for folder, _, names in os.walk(rig.folder)
            if os.path.basename(folder) == "tmp" for name in names]


@pytest.mark.parametrize("verb", VERBS)
def test_no_space_at_each_step_that_needs_some(make_rig, verb):
    rig = make_rig("full-" + verb)
    rig.run(rounds=20, verbs=VERBS, expect=0)
    steps = [step for step in rig.census(verb, 12) if step.partition(":")[0] in SPACE.split(",")]
    assert steps
    failed = 0
    for step in steps:
        for nth, count, half in ((1, 1, False), (2, 3, True), (1, 0, True)):
            rules = []
            rig.run(verbs=[verb], rounds=6, expect=0,
                    arm=lambda: rules.append(rig.layer.fail(step, errno.ENOSPC, nth=nth,
                                                            count=count, half=half)))
            failed += rules[0].hits
            assert left_behind(rig) == []
            rig.run(verbs=[verb], rounds=2, expect=0)
    assert failed >= len(steps)


def test_no_space_at_random_under_load(make_rig):
    rig = make_rig("full")
    rig.run(rounds=20, verbs=VERBS, expect=0)
    for _ in range(30):
        nth, count, half = rig.dice.randint(1, 40), rig.dice.randint(0, 30), rig.dice.random() < 0.5
        rig.run(threads=3, rounds=15, verbs=VERBS, expect=0,
                arm=lambda: rig.layer.fail("space:*", nth=nth, count=count, half=half))
        assert left_behind(rig) == []
    rig.run(rounds=10, verbs=VERBS, expect=0)


def test_flags_acknowledged_after_a_refused_change_are_those_of_the_file(make_rig):
    """A STORE that failed after its rename left a file that the index did not know of: the same
    flags as before were then a no-op."""
    rig = make_rig("refused")
    rig.run(rounds=2, verbs=["deliver"], expect=0)
    for nth in list(range(1, 16)) * 8:
        rig.run(rounds=3, verbs=["store"], expect=0,
                arm=lambda: rig.layer.fail("write:*-wal", errno.ENOSPC, nth=nth, count=2))
    rig.run(expect=0)


def test_a_disk_that_fails_to_sync_loses_nothing_that_was_accepted(make_rig):
    rig = make_rig("failing")
    rig.run(rounds=20, verbs=VERBS, expect=0)
    rig.watch_disk()
    for step in ("fsync:*", "fsyncdir:*", "fsync:*/tmp/*", "fsyncdir:*/new", "fsync:*uidlist",
                 "fsync:*sqlite*"):
        for nth in (1, 2, 3, 5):
            rig.run(threads=2, rounds=15, verbs=VERBS, expect=0,
                    arm=lambda: rig.layer.fail(step, errno.EIO, nth=nth, count=1))
            rig.lose_power()
    rig.run(expect=0)
