"""SPECIAL-USE and CREATE-SPECIAL-USE (RFC 6154)."""
import os

import pytest

from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.maildir import special_use

from . import wire

BY_NAME = {"Sent": "\\Sent", "Drafts": "\\Drafts", "Trash": "\\Trash", "Junk": "\\Junk",
           "Archive": "\\Archive"}


def uses(client, command='LIST "" "*" RETURN (SPECIAL-USE)'):
    """{mailbox: its special uses with spaces between}, of those that have any."""
    found = {}
    for line in client.ok(command):
        attributes, _, name = line.decode().partition(') "/" ')
        words = [word for word in attributes.partition("(")[2].split() if word in special_use.USES]
        if words:
            found[name] = " ".join(words)
    return found


@pytest.mark.parametrize("command", [
    'LIST "" "*" RETURN (SPECIAL-USE)', 'LIST (SPECIAL-USE) "" "*"', 'LIST "" "*"',
    'LIST (SPECIAL-USE) "" "*" RETURN (SPECIAL-USE SUBSCRIBED)'])
def test_uses_by_name(lasting, command):
    assert uses(lasting, command) == BY_NAME


def test_a_use_is_given(client):
    assert client.ask("CREATE Gesendet (USE (\\sent))")[-1].startswith(b"OK ")
    expected = dict(BY_NAME, Gesendet="\\Sent")
    del expected["Sent"]
    assert uses(client) == uses(client, 'LIST (SPECIAL-USE) "" "*"') == expected
    client.ok("CREATE plain")
    assert uses(client) == expected


def test_several_uses(client):
    client.ok("CREATE MySpecial (USE (\\Drafts \\Sent \\drafts))")
    assert uses(client)["MySpecial"] == "\\Sent \\Drafts"
    client.ok("CREATE None (USE ())")
    assert "None" not in uses(client)


@pytest.mark.parametrize("list_of_uses", ["\\All", "\\Flagged", "\\Important", "\\Sent \\All",
                                          "\\X-Y", "\\" + "z" * 300])
def test_what_no_mailbox_can_be(lasting, list_of_uses):
    assert lasting.ask("CREATE x (USE (%s))" % list_of_uses)[-1].startswith(b"NO [USEATTR] ")
    assert lasting.ok('LIST "" x') == []


def test_a_use_that_another_mailbox_was_given(client):
    client.ok("CREATE first (USE (\\Sent))")
    assert client.ask("CREATE second (USE (\\Junk \\Sent))")[-1] == (
        b'NO [USEATTR] The mailbox "first" has the special use \\Sent.')
    assert client.ok('LIST "" second') == []
    client.ok("DELETE first")
    assert uses(client) == BY_NAME
    client.ok("CREATE second (USE (\\Junk \\Sent))")
    assert uses(client)["second"] == "\\Sent \\Junk"


def test_a_mailbox_that_exists_keeps_its_uses(client):
    assert client.ask("CREATE Sent (USE (\\Junk))")[-1].startswith(b"NO [ALREADYEXISTS]")
    assert client.ask("CREATE INBOX (USE (\\Junk))")[-1].startswith(b"NO [ALREADYEXISTS]")
    assert uses(client) == BY_NAME


def test_a_name_has_its_use_again_only_without_a_given_one(client):
    client.ok("DELETE Sent")
    client.ok("CREATE Sent (USE (\\Archive))")
    assert uses(client)["Sent"] == "\\Archive" and "Archive" not in uses(client)
    client.ok("DELETE Sent")
    client.ok("CREATE Sent")
    assert uses(client) == BY_NAME


def test_it_stays_when_the_mailbox_is_renamed_and_without_the_index(client, tmp_path):
    client.ok("CREATE a/b (USE (\\Sent))")
    client.ok("RENAME a c")
    assert uses(client)["c/b"] == "\\Sent" and "Sent" not in uses(client)
    for name in os.listdir(str(tmp_path / "mail")):
        if "sqlite" in name:
            os.unlink(str(tmp_path / "mail" / name))
    assert uses(client)["c/b"] == "\\Sent"
    os.rename(str(tmp_path / "mail"), str(tmp_path / "moved"))
    store = FileStore(poll=3600)
    try:
        with wire.Client(wire.server(store, tmp_path / "moved")) as other:
            other.log_in("INBOX")
            assert uses(other)["c/b"] == "\\Sent"
    finally:
        store.close()


@pytest.mark.parametrize("damage, expected", [
    (b"", None), (b"\xff\0\\Sent\xc3", None), (b"x" * 100000, None), (b"\\Junk \\Sent", "\\Sent"),
    (b"\n\\Sent\r\nwhatever \\All", "\\Sent")])
def test_damage_by_other_programs(client, tmp_path, damage, expected):
    client.ok("CREATE a (USE (\\Sent))")
    with open(str(tmp_path / "mail" / ".a" / special_use.FILE), "wb") as file:
        file.write(damage)
    found = uses(client)
    assert found.get("a", "").startswith(expected or "") and ("a" in found) == (expected is not None)
    assert ("Sent" in found) == (expected is None)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path)],
                         ids=["folder", "pipe", "link"])
def test_what_is_no_file(client, tmp_path, make):
    client.ok("CREATE a")
    make(str(tmp_path / "mail" / ".a" / special_use.FILE))
    assert uses(client) == BY_NAME


def test_a_copied_folder_has_no_use(client, tmp_path):
    client.ok("CREATE b (USE (\\Sent))")
    os.mkdir(str(tmp_path / "mail" / ".c"))
    for name in "cur", "new", "tmp":
        os.mkdir(str(tmp_path / "mail" / ".c" / name))
    special_use.give(str(tmp_path / "mail" / ".c"), ("\\Sent",))
    assert uses(client)["b"] == "\\Sent" and "c" not in uses(client)


def test_nothing_is_made_if_the_use_cannot_be_written(client, tmp_path, monkeypatch):
    def fail(path, uses):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(special_use, "give", fail)
    assert client.ask("CREATE a (USE (\\Sent))")[-1].startswith(b"NO [OVERQUOTA]")
    assert not os.path.exists(str(tmp_path / "mail" / ".a"))
    assert uses(client) == BY_NAME


@pytest.mark.parametrize("arguments", [
    "x (USE)", "x (USE \\Sent)", "x (USE (Sent))", "x (USE (\\Sent)", "x ()", "x (FOO (\\Sent))",
    "x (USE (\\Sent) (\\Junk))", "x (USE (\\))"])
def test_wrong_syntax(lasting, arguments):
    assert lasting.ask("CREATE " + arguments)[-1].startswith(b"BAD ")
