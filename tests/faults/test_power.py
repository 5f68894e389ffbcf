"""Power loss: only what was synced is left. At every file operation of every verb, at random under
load, and while recovering from the last.

After each cut the root holds what the replayer allows, the boot id is another, and the oracle reads
the account over again.
"""
import pytest

from .rig import Broken
from .test_kill import VERBS, delete_index

CUTS = 60


@pytest.mark.parametrize("verb", VERBS)
def test_power_lost_at_every_step(make_rig, side_by_side, verb):
    rigs = [make_rig("power-%s-%d" % (verb, number)) for number in range(2)]
    steps = set()
    for rig in rigs:
        rig.run(rounds=20, verbs=VERBS, expect=0)
        steps.update(rig.census(verb, 12))

    def cut(rig, part):
        rig.watch_disk()
        for step in sorted(steps)[part::2]:
            for nth, after in ((1, False), (1, True), (3, True)):
                rig.run(verbs=[verb], rounds=10,
                        arm=lambda: rig.layer.freeze(step, nth=nth, after=after))
                rig.lose_power()
        rig.run(expect=0)
    side_by_side(lambda: cut(rigs[0], 0), lambda: cut(rigs[1], 1))


def lose_power_at_random(rig, times, before_start=lambda rig: None, modes=("strict", "random")):
    """Cuts so many times, one in four while a worker opens and reads the folder after the cut
    before."""
    rig.run(rounds=20, verbs=VERBS, expect=0)
    rig.watch_disk()
    for _ in range(times):
        nth = rig.dice.randint(1, rig.dice.choice((5, 60, 400)))
        after = rig.dice.random() < 0.5
        arm = lambda: rig.layer.freeze("*:*", nth=nth, after=after)     # noqa: E731
        early = rig.dice.random() < 0.25
        rig.run(threads=3, rounds=25, verbs=VERBS, **{"early" if early else "arm": arm})
        rig.lose_power(rig.dice.choice(modes))
        before_start(rig)
    rig.run(expect=0)


def test_power_lost_at_random_under_load(make_rig, side_by_side):
    rigs = make_rig("cut-1"), make_rig("cut-2")
    side_by_side(*[lambda rig=rig: lose_power_at_random(rig, CUTS // 2) for rig in rigs])


def test_power_lost_and_the_index_too(make_rig):
    def lose_index(rig):
        delete_index(rig)
        rig.watch_disk()        # the deletion is durable
    rig = make_rig("cut-index")
    lose_power_at_random(rig, 20, lose_index)


def test_the_index_deleted_long_after_the_power_was_lost(make_rig, side_by_side):
    """What only the index still knew after the power loss must be in the files again before the
    index may go."""
    def work(rig):
        rig.run(rounds=20, verbs=VERBS, expect=0)
        rig.watch_disk()
        for turn in range(12):
            nth = rig.dice.randint(50, 400)
            # One time in two the index is closed, and so synced, before: then it alone knows the
            # newest UIDs.
            arm = None if turn % 4 < 2 else lambda: rig.layer.freeze("*:*", nth=nth)    # noqa: B023
            rig.run(threads=3, rounds=10 if arm is None else 25, verbs=VERBS, arm=arm)
            rig.lose_power(("strict", "random")[turn % 2])
            rig.run(rounds=turn % 3, verbs=VERBS, expect=0)
            delete_index(rig, always=True)
            rig.watch_disk()
            rig.run(expect=0)
    side_by_side(*[lambda rig=rig: work(rig) for rig in (make_rig("long-1"), make_rig("long-2"))])


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_store_that_forgets_to_sync_is_found_out(make_rig, kind):
    """SIGKILL never would."""
    rig = make_rig("forgets-" + kind)
    rig.run(rounds=20, verbs=VERBS, expect=0)
    rig.watch_disk()
    rig.run(rounds=20, verbs=("deliver", "append"), forget=kind)
    rig.lose_power()
    with pytest.raises(Broken,
                       match="accepted and is nowhere|header|not what was sent|not there any more"):
        rig.run(expect=0)
