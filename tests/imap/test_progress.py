"""A client hears of the server while a large mailbox is opened for the first time."""
import pytest

from phenmail_protocols.imap import progress
from phenmail_protocols.store import differences, shares

COUNT = 100
LINE = b"* OK Still reading the mailbox's folder, after 0 seconds"


@pytest.fixture
def large(tmp_path, connect, monkeypatch):
    """Each look takes so long that the client must be told of it."""
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    monkeypatch.setattr(shares, "_LOOK", 20)
    client = connect(mailbox=None)
    client.ok("CREATE Large")
    for number in range(COUNT):
        path = tmp_path / "mail" / ".Large" / "cur" / ("%d.M1P1.elsewhere:2,S" % number)
        path.write_bytes(b"Subject: x\n\nhello\n")
    return client


@pytest.mark.parametrize("command", ["SELECT Large", "EXAMINE Large", "STATUS Large (MESSAGES)"])
def test_untagged_ok_lines_come_before_the_responses(large, command):
    lines = large.ok(command)
    assert lines[:2] == [LINE, LINE]
    assert {b"* %d EXISTS" % COUNT, b"* STATUS Large (MESSAGES %d)" % COUNT}.intersection(lines)
    large.ok("SELECT Large")
    assert LINE not in large.ok(command)


def test_a_client_that_gives_up_leaves_its_work_to_the_next(large, connect, monkeypatch):
    large.send(b"x SELECT Large\r\n")
    large.close()

    def fails(*_):
        raise AssertionError("the mailbox is listed again")
    monkeypatch.setattr(differences, "shares", fails)
    assert b"* %d EXISTS" % COUNT in connect(mailbox=None).ok("SELECT Large")


def test_sizes_that_nobody_asked_for_are_measured_for_status(large):
    """Other programs' files are not measured when they are found."""
    size = len(b"Subject: x\r\n\r\nhello\r\n")
    for _ in range(2):
        assert b"* STATUS Large (SIZE %d)" % (COUNT * size) in large.ok("STATUS Large (SIZE)")
    large.ok("SELECT Large")
    large.ok("STORE 1 +FLAGS (\\Deleted)")
    large.ok("EXPUNGE")
    assert (b"* STATUS Large (MESSAGES %d SIZE %d)" % (COUNT - 1, (COUNT - 1) * size)
            in large.ok("STATUS Large (MESSAGES SIZE)"))
