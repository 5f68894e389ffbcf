"""IDLE: changes are announced at once, until DONE."""
import pytest

from phenmail_protocols.imap import handler
from phenmail_protocols.imap.view import View
from phenmail_protocols.store import errors

MESSAGE = b"From: a@b\r\n\r\nhello\r\n"


def idling(client):
    client.send(b"i IDLE\r\n")
    assert client.line().startswith(b"+ ")
    return client


def done(client):
    client.send(b"DONE\r\n")
    return client.until(b"i ")


def test_changes_are_announced(client, connect):
    other = idling(connect())
    for number in (1, 2):
        client.append(MESSAGE)
        assert [other.line() for _ in range(2)][0] == b"* %d EXISTS" % number
    client.ok("STORE 1 +FLAGS (\\Deleted)")
    # \Recent goes to the session that sees the message first.
    assert other.line() in (rb"* 1 FETCH (UID 1 FLAGS (\Deleted))",
                            rb"* 1 FETCH (UID 1 FLAGS (\Deleted \Recent))")
    client.ok("EXPUNGE")
    assert other.line() == b"* 1 EXPUNGE"
    assert done(other) == [b"i OK IDLE completed"]
    other.ok("NOOP")


def test_changes_are_announced_at_once(client, connect):
    """The benchmark says 20 ms. Here: without polling, which this store does once an hour."""
    other = idling(connect())
    client.append(MESSAGE)
    assert other.line() == b"* 1 EXISTS"


def test_earlier_changes_are_announced_first(client, connect):
    other = connect()
    client.append(MESSAGE)
    other.send(b"i IDLE\r\n")
    lines = [other.line() for _ in range(3)]
    assert b"* 1 EXISTS" in lines and lines[0].startswith(b"+ ")
    done(other)


def test_what_could_not_be_read_is_announced_later(client, connect, monkeypatch):
    monkeypatch.setattr(handler, "RETRY", 0.01)
    refresh, failures = View.refresh, [errors.Unavailable(), errors.NoSpace()]

    def fails(view):
        if failures and not view.writable:
            raise failures.pop()
        return refresh(view)
    other = connect()
    other.ok("EXAMINE INBOX")
    idling(other)
    monkeypatch.setattr(View, "refresh", fails)
    client.append(MESSAGE)
    assert other.line() == b"* 1 EXISTS"
    assert not failures


def test_without_a_mailbox(connect):
    client = idling(connect(None))
    assert done(client)[-1].startswith(b"i OK")


def test_pipelined_done(client):
    client.send(b"i IDLE\r\nDONE\r\nj NOOP\r\n")
    assert client.until(b"i ")[-1].startswith(b"i OK")
    assert client.until(b"j ")[-1].startswith(b"j OK")


@pytest.mark.parametrize("line, answer", [(b"done\r\n", b"i OK"), (b"DONE\n", b"i OK"),
                                          (b"j NOOP\r\n", b"i BAD"), (b"\r\n", b"i BAD")])
def test_lines_that_end_idle(client, line, answer):
    idling(client).send(line)
    assert client.until(b"i ")[-1].startswith(answer)
    client.ok("NOOP")


def test_the_mailbox_is_deleted_meanwhile(client, connect):
    client.ok("CREATE gone")
    other = idling(connect("gone"))
    client.ok("DELETE gone")
    assert other.line().startswith(b"* BYE")
    assert other.line() == b""


def test_no_watch_and_no_descriptor_is_left(client, connect, store, tmp_path):
    other = idling(connect())
    mailbox = store.account(str(tmp_path / "mail")).open("INBOX")
    assert len(mailbox._watches) == 1
    done(other)
    assert not mailbox._watches
    idling(other)
    other.close()
    assert not mailbox._watches
    mailbox.close()
