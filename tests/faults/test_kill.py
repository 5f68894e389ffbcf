"""SIGKILL: at every file operation of every verb that changes a mailbox, and at random under load;
with and without the index.

After each kill the next process on the folder reads everything and the oracle compares it with what
was answered before.
"""
import os
import shutil

import pytest

TIMES = 5           # at each named step
RANDOM_KILLS = 200
VERBS = ("deliver", "append", "store", "move", "copy", "expunge")
# Without these a verb cannot have done what it promises; a step that is new in a census is killed
# at all the same.
LEAST = {
    "deliver": ("create:=/mail/tmp/*", "write:=/mail/tmp/*", "fsync:=/mail/tmp/*",
                "rename:=/mail/tmp/*>/mail/new/*", "fsyncdir:=/mail/new",
                "write:=/mail/dovecot-uidlist", "write:=/mail/phenmail-index.sqlite-wal"),
    "append": ("fsync:=/mail/tmp/*", "rename:=/mail/tmp/*>/mail/cur/*", "fsyncdir:=/mail/cur",
               "write:=/mail/dovecot-uidlist"),
    "store": ("rename:=/mail/cur/*>/mail/cur/*", "write:=/mail/phenmail-index.sqlite-wal"),
    "move": ("unlink:=/mail/cur/*", "write:=/mail/.Archive/dovecot-uidlist",
             "fsyncdir:=/mail/.Archive/cur"),
    "copy": ("fsyncdir:=/mail/.Archive/new", "write:=/mail/.Archive/dovecot-uidlist"),
    "expunge": ("unlink:=/mail/cur/*", "write:=/mail/phenmail-index.sqlite-wal"),
}


def kill_at_step(rig, verb, step, nth, after):
    """One kill at the nth time that a verb, done again and again, comes to the step; or at the
    first, where it never comes so often."""
    for attempt in (nth, 1):
        rules = []
        rig.run(verbs=[verb], rounds=8 + 2 * attempt,
                arm=lambda: rules.append(rig.layer.kill(step, nth=attempt, after=after)))
        if rules[0].hits:
            return True
    return False


@pytest.mark.parametrize("verb", VERBS)
def test_killed_at_every_step(make_rig, side_by_side, verb):
    rigs = [make_rig("%s-%d" % (verb, number)) for number in range(2)]
    rigs[0].run(rounds=20, verbs=VERBS, expect=0)
    rigs[1].run(rounds=20, verbs=VERBS, expect=0)
    steps = sorted(set(rigs[0].census(verb, 12)) | set(rigs[1].census(verb, 12)))
    assert set(LEAST[verb]) <= set(steps)
    killed = {step: 0 for step in steps}

    def kill(rig, part):
        for step in steps[part::2]:
            for nth in range(1, TIMES + 1):
                killed[step] += kill_at_step(rig, verb, step, nth, after=nth % 2 == 0)
        rig.run(expect=0)
    side_by_side(lambda: kill(rigs[0], 0), lambda: kill(rigs[1], 1))
    assert {step for step in LEAST[verb] if killed[step] < TIMES} == set()


def kill_at_random(rig, times, before_start=lambda rig: None):
    """Kills so many workers of three threads each at any operation, one in four of them while it
    opens and reads the folder."""
    killed = 0
    while killed < times:
        before_start(rig)
        nth = rig.dice.choice((5, 30, 150))
        nth = rig.dice.randint(1, nth)
        after = rig.dice.random() < 0.5
        arm = lambda: rig.layer.kill("*:*", nth=nth, after=after)   # noqa: E731
        early = rig.dice.random() < 0.25
        killed += rig.run(threads=3, rounds=20, verbs=VERBS,
                          **{"early" if early else "arm": arm}) != 0
    rig.run(expect=0)


def test_killed_at_random_under_load(make_rig, side_by_side):
    rigs = make_rig("random-1"), make_rig("random-2")
    side_by_side(*[lambda rig=rig: kill_at_random(rig, RANDOM_KILLS // 2) for rig in rigs])


def delete_index(rig, always=False):
    """Takes the index away, but for one time in three."""
    if always or rig.dice.random() < 0.67:
        for name in os.listdir(rig.folder):
            if name.startswith("phenmail-index"):
                os.unlink(os.path.join(rig.folder, name))


def test_killed_at_random_and_the_index_deleted(make_rig, side_by_side):
    rigs = make_rig("index-1"), make_rig("index-2")
    side_by_side(*[lambda rig=rig: kill_at_random(rig, 25, delete_index) for rig in rigs])


def test_the_index_deleted_under_the_live_process(make_rig, side_by_side):
    def work(rig):
        rig.run(rounds=10, verbs=VERBS, expect=0)
        for _ in range(15):
            rig.run(threads=3, rounds=15, verbs=VERBS, delete_index=rig.dice.randint(2, 12))
        rig.run(expect=0)
    side_by_side(*[lambda rig=rig: work(rig) for rig in (make_rig("live-1"), make_rig("live-2"))])


def test_an_older_copy_of_the_folder_restored(make_rig):
    rig = make_rig("restored")
    copy = os.path.join(os.path.dirname(rig.layer.root), "copy")
    for turn in range(4):
        rig.run(rounds=15, verbs=VERBS, expect=0)
        shutil.copytree(rig.folder, copy)
        then = rig.oracle.checkpoint()
        # In two turns more UIDs are used after the copy than a ceiling that was copied too can
        # cover.
        rig.run(rounds=15, verbs=("deliver", "append", "store", "move", "expunge"),
                burn=1100 * (turn in (1, 2)), expect=0)
        shutil.rmtree(rig.folder)
        shutil.move(copy, rig.folder)
        if turn % 2:
            delete_index(rig, always=True)
        rig.oracle.restored(then)
        rig.run(rounds=25, verbs=VERBS, expect=0)
        rig.run(expect=0)
