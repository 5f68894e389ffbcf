"""As whom the children run."""

import os
from collections import namedtuple

import pytest

from phenmail_protocols.children import privileges
from phenmail_protocols.children.privileges import NoUser, user_for

pwd = pytest.importorskip("pwd")
Entry = namedtuple("Entry", "pw_uid pw_gid")


@pytest.fixture
def root(monkeypatch):
    """The server is root, and the system has alice, toor (uid 0) and wheel (gid 0)."""
    names = {"alice": Entry(1000, 1001), "toor": Entry(0, 0), "wheel": Entry(1002, 0)}

    def by_name(name):
        return names[name]

    def by_uid(uid):
        return {entry.pw_uid: entry for entry in names.values()}[uid]

    monkeypatch.setattr(privileges.os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", by_name)
    monkeypatch.setattr(pwd, "getpwuid", by_uid)


def test_an_ordinary_server_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for owner in ((0, 0), (1000, 1000), (2000, 2000)):
        assert user_for(owner, None) is None
        assert user_for(owner, "nobody") is None


@pytest.mark.parametrize("owner, run_as, user", [
    ((1000, 1000), None, (1000, 1000)), ((1000, 1000), "alice", (1000, 1000)),
    ((5, 6), None, (5, 6)),
    ((0, 0), "alice", (1000, 1001)), ((0, 50), "alice", (1000, 1001)),
    ((1000, 0), None, (1000, 1001))])
def test_root_becomes_the_owner(root, owner, run_as, user):
    assert user_for(owner, run_as) == user


@pytest.mark.parametrize("owner, run_as, words", [
    ((0, 0), None, "no run-as is set"), ((0, 0), "toor", "as root"),
    ((0, 0), "mallory", "no user mallory"),
    ((1002, 0), None, "as root"), ((0, 0), "wheel", "as root"), ((4711, 0), None, "no user 4711")])
def test_nothing_runs_as_root(root, owner, run_as, words):
    with pytest.raises(NoUser) as caught:
        user_for(owner, run_as)
    assert words in str(caught.value)
