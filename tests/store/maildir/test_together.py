"""The record of messages that are added together: what a killed process began is finished."""
import os

import pytest

from phenmail_protocols.store import errors
from phenmail_protocols.store.maildir import together
from phenmail_protocols.store.maildir.tree import Tree

NAMES = ("1.M1P1Q1.host,S=1,W=2", "1.M1P1Q2.host,S=1,W=2:2,FS")


@pytest.fixture
def tree(tmp_path):
    tree = Tree(str(tmp_path / "mail"))
    tree.make()
    return tree


def stage(tree, names=NAMES):
    for name in names:
        with open("%s/tmp/%s" % (tree.path, name.partition(",")[0]), "w") as file:
            file.write(name)


def messages(tree, folder=""):
    return sorted(part + "/" + name for part in ("new", "cur")
                  for name in os.listdir("%s/%s" % (tree.path_of(folder), part)))


def record(tree, text):
    with open("%s/%s" % (tree.path, together.NAME), "w") as file:
        file.write(text)


def has_record(tree):
    return os.path.lexists("%s/%s" % (tree.path, together.NAME))


PATHS = ["new/" + NAMES[0], "cur/" + NAMES[1]]


@pytest.mark.parametrize("folder", ["", ".Sent"])
@pytest.mark.parametrize("done", [0, 1, 2])
def test_finish(tree, folder, done):
    stage(tree)
    together.begin(tree, folder, PATHS)
    for path in PATHS[:done]:
        os.rename("%s/tmp/%s" % (tree.path, path[4:].partition(",")[0]),
                  "%s/%s" % (tree.path_of(folder), path))
    together.finish(tree)
    assert messages(tree, folder) == sorted(PATHS) and not has_record(tree)
    together.finish(tree)


def test_an_old_record_does_no_harm(tree):
    together.begin(tree, "", PATHS)
    together.finish(tree)
    assert messages(tree) == [] and not has_record(tree)


def test_end_without_a_record(tree):
    together.end(tree)
    together.begin(tree, "", PATHS)
    together.end(tree)
    assert not has_record(tree)


@pytest.mark.parametrize("text", [
    "\n", ".Sent\n../" + NAMES[0], "\ntmp/x", "\nnew/x", "..\nnew/" + NAMES[0],
    "../.Sent\nnew/" + NAMES[0], "/etc\nnew/" + NAMES[0], ".Sent/new\nnew/" + NAMES[0],
    "\nnew/../" + NAMES[0], "\ncur/a/b,S=1,W=1", ".Nowhere\nnew/" + NAMES[0], "\xe4\nnew/x"])
def test_a_record_that_somebody_else_wrote(tree, text):
    stage(tree)
    record(tree, text)
    before = sorted(os.listdir(tree.path + "/tmp"))
    together.finish(tree)
    assert sorted(os.listdir(tree.path + "/tmp")) == before and messages(tree) == []
    assert not has_record(tree) and os.path.exists("%s/%s.unusable" % (tree.path, together.NAME))


def test_something_else_in_the_records_place(tree):
    os.mkdir("%s/%s" % (tree.path, together.NAME))
    together.finish(tree)
    assert not has_record(tree)
    stage(tree)
    together.begin(tree, "", PATHS)
    together.finish(tree)
    assert messages(tree) == sorted(PATHS) and not has_record(tree)


def test_a_mailbox_that_is_a_link_to_elsewhere(tree, tmp_path, monkeypatch):
    stage(tree)
    together.begin(tree, ".Sent", PATHS)
    monkeypatch.setattr(Tree, "leads_away", lambda self, path: True)
    together.finish(tree)
    assert messages(tree, ".Sent") == []


def test_too_many(tree):
    with pytest.raises(errors.Limit):
        together.begin(tree, "", ["new/" + "x" * 240] * 1100)
    assert not has_record(tree)
