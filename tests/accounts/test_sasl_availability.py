"""Which secrets every user has, and how often the files are looked at."""

import os

import pytest

from phenmail_protocols.accounts import sasl_availability as room
from phenmail_protocols.accounts.sasl_availability import Availability
from phenmail_protocols.accounts.userfiles import BrokenUser

from .house import Clock


class Users:
    """Folders with secrets; `reads` counts how often one is read."""

    def __init__(self, secrets):
        self.secrets, self.reads = secrets, 0

    def settings(self, folder):
        self.reads += 1
        if self.secrets[folder] is None:
            raise BrokenUser("broken")
        return Settings(self.secrets[folder])


class Settings:
    def __init__(self, secrets):
        for key in ("passphrase", "scram", "pop3pwd"):
            setattr(self, key, "x" if key in secrets else None)


@pytest.fixture
def stats(monkeypatch):
    """The folders whose file was looked at; the last element of each its version."""
    looked = []

    def signature(path):
        folder = os.path.dirname(path)
        looked.append(folder)
        return looked.versions.get(folder, 0)
    looked = type("Looked", (list,), {})()
    looked.versions = {}
    monkeypatch.setattr(room, "signature", signature)
    return looked


FOLDERS = ["/%d" % number for number in range(1000)]


def test_a_thousand_users_are_looked_at_once_a_second(stats):
    users, clock = Users({folder: ("passphrase", "scram") for folder in FOLDERS}), Clock()
    availability, state = Availability(users, clock), object()
    for _ in range(500):
        assert availability.everyone_has("scram", FOLDERS, state)
        clock.go(0.001)
    assert len(stats) == 1000 and users.reads == 1000
    clock.go(1.0)
    assert availability.everyone_has("scram", FOLDERS, state)
    assert len(stats) == 2000 and users.reads == 1000, "only what changed is read"


def test_one_who_lacks_it_is_enough_to_look_at(stats):
    secrets = {folder: ("passphrase", "scram") for folder in FOLDERS}
    secrets["/500"] = ("passphrase",)
    users, clock, state = Users(secrets), Clock(), object()
    availability = Availability(users, clock)
    assert not availability.everyone_has("scram", FOLDERS, state)
    del stats[:]
    for _ in range(10):
        clock.go(1.1)
        assert not availability.everyone_has("scram", FOLDERS, state)
    assert stats == ["/500"] * 10
    secrets["/500"] = ("passphrase", "scram")
    stats.versions["/500"] = 1
    clock.go(1.1)
    assert availability.everyone_has("scram", FOLDERS, state)


def test_each_secret_for_itself(stats):
    users = Users({"/a": ("scram", "pop3pwd"), "/b": ("scram",), "/c": None, "/d": ()})
    availability, state = Availability(users, Clock()), object()
    assert availability.everyone_has("scram", ["/a", "/b", "/c", "/d"], state)
    assert not availability.everyone_has("pop3pwd", ["/a", "/b", "/c", "/d"], state)
    assert not availability.everyone_has("scram", [], object()), "nobody is not everybody"


def test_other_folders_are_looked_at_at_once(stats):
    users = Users({"/a": ("scram",), "/b": ("passphrase",)})
    availability, one, other = Availability(users, Clock()), object(), object()
    assert availability.everyone_has("scram", ["/a"], one)
    assert not availability.everyone_has("scram", ["/a", "/b"], other)
    assert availability.everyone_has("scram", ["/a"], one)
