"""A round of fetching with SIGKILL, or a fault, at each file operation: the next round brings what is
missing and nothing twice, and nothing was removed at the source before it was here."""
import errno
import json
import os
import shutil
import subprocess
import sys

import pytest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from tests.fetch.scripted import Account, House, account, subject  # noqa: E402

from . import layer as layers  # noqa: E402

BEFORE, NEW = 2, 3  # messages of a first round, which ends well, and of the one with the fault


class Remote(Account):
    """Another server: what it has is in a file, so that it survives a kill."""

    def __init__(self, path):
        super().__init__()
        self._path = path
        if os.path.exists(path):
            self._load()

    def _load(self):
        with open(self._path) as file:
            left = json.load(file)
        while self.next_uid.get("INBOX", 1) <= BEFORE + NEW:
            self.put(self.next_uid.get("INBOX", 1))
        for uid in list(self.boxes["INBOX"]):
            if uid not in left:
                del self.boxes["INBOX"][uid]

    def save(self):
        with open(self._path, "w") as file:
            json.dump(sorted(self.boxes["INBOX"]), file)


class Trial:
    def __init__(self, ground, protocol, remove):
        self._model, self._root = os.path.join(ground, "model"), os.path.join(ground, "root")
        self._remote = os.path.join(os.path.dirname(ground), "remote.json")
        self._settings = account(protocol=protocol, remove=remove)
        house = self._house(self._model, Remote(self._remote))
        for number in range(1, BEFORE + 1):
            house.remote.put(number)
        assert house.look() == ""
        house.close()

    def _house(self, root, remote):
        house = House(root, remote)
        house.configure(self._settings)
        return house

    def begin(self):
        """A House before the round."""
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(self._model, self._root, symlinks=True)
        kept = list(range(1, BEFORE + 1)) if not self._settings["remove"] else []
        with open(self._remote, "w") as file:
            json.dump(kept + list(range(BEFORE + 1, BEFORE + NEW + 1)), file)
        return self._house(self._root, Remote(self._remote))

    def look(self, house):
        house.remote.before = lambda step: house.remote.save() if step == "removed" else None
        return house.look()

    def check(self, house, what):
        """The next rounds. `house`: of the same process, or a new one."""
        here = house.subjects()
        there = {subject(data) for data, _, _ in house.remote.boxes["INBOX"].values()}
        everything = {"m%d" % number for number in range(1, BEFORE + NEW + 1)}
        assert set(here) | there == everything, "%s: lost %s" % (what, everything - set(here))
        error = self.look(house)
        assert error == "", "%s: then %s" % (what, error)
        here = house.subjects()
        assert sorted(here) == sorted(everything), "%s: %s" % (what, here)

    def again(self):
        return self._house(self._root, Remote(self._remote))


def kill(trial, rules):
    """SIGKILL at each operation -> how often."""
    nth = kills = 0
    while kills == nth:
        nth += 1
        house = trial.begin()
        house.close()  # no threads may be there
        process = os.fork()
        if not process:
            try:
                house = trial.again()
                rules.kill("*:*", nth)
                trial.look(house)
            finally:
                os._exit(0)
        status = os.waitpid(process, 0)[1]
        rules.clear()
        kills += os.WIFSIGNALED(status)
        house = trial.again()
        trial.check(house, "killed at operation %d" % nth)
        house.close()
    return kills


def fail(trial, rules):
    """A fault at each operation -> how many had an effect."""
    effects = 0
    for what, error, count in (("space:*", errno.ENOSPC, 0), ("*:*", errno.EIO, 1)):
        nth, is_hit = 0, True
        while is_hit:
            nth += 1
            house = trial.begin()
            house.job()  # reads the user's file
            rule = rules.fail(what, error, nth, count)
            trial.look(house)
            is_hit = rule.hits > 0
            rules.clear()
            effects += is_hit
            name = "%s at operation %d of %s" % (errno.errorcode[error], nth, what)
            if nth % 2:
                house.close()
                house = trial.again()
            trial.check(house, name)
            house.close()
    return effects


def main(ground, protocol, remove, how):
    import logging
    logging.getLogger("phenmail").addHandler(logging.NullHandler())
    logging.getLogger("phenmail").propagate = False
    trial = Trial(ground, protocol, remove == "True")
    print("cases: %d" % {"kill": kill, "fail": fail}[how](trial, layers.Own()))


@pytest.mark.parametrize("protocol", ["imaps", "pops"])
@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("remove", [True, False])
def test_each_message_comes_once(layer, protocol, remove, how):
    done = subprocess.run([sys.executable, os.path.abspath(__file__), layer.root, protocol,
                           str(remove), how], env=layer.environment("fetch"), timeout=600,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = done.stdout.decode()
    assert done.returncode == 0, output[-4000:]
    assert int(output.rpartition("cases: ")[2]) > 40, output


if __name__ == "__main__":
    main(*sys.argv[1:])
