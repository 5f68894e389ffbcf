"""PREVIEW (RFC 8970)."""
import pytest

from phenmail_protocols.imap.fetching import derivations
from phenmail_protocols.store.deriving import derivation
from phenmail_protocols.store.mailbox import Mailbox

TEXT = b"Subject: x\r\n\r\nHow are \"you\"?\r\n\r\n  Well.\r\n"


def derive(store, tmp_path):
    step = derivation.Derivation(derivations.derive, "1", lambda: None)
    while step(store.account(str(tmp_path / "mail"))):
        pass


def test_the_text(client):
    client.append(TEXT)
    assert client.ok("FETCH 1 PREVIEW") == [b'* 1 FETCH (PREVIEW "How are \\"you\\"? Well.")']
    assert client.ok("UID FETCH 1 (preview UID)") == [
        b'* 1 FETCH (UID 1 PREVIEW "How are \\"you\\"? Well.")']
    assert client.ok("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Recent))"]  # not \Seen


def test_octets_that_need_a_literal(client):
    client.append(b"\r\n" + "über".encode())
    assert client.ok("FETCH 1 PREVIEW") == ["* 1 FETCH (PREVIEW {5}\r\nüber)".encode()]
    client.ok("UNSELECT")
    client.ok("ENABLE UTF8=ACCEPT")
    client.ok("SELECT INBOX")
    assert "über".encode() in client.ok("FETCH 1 PREVIEW")[0]


@pytest.mark.parametrize("message", [
    b"Subject: x\r\n\r\n", b"Subject: x", b"", b"Content-Type: image/png\r\n\r\nAAAA",
    b"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"])
def test_no_text(client, message):
    client.append(message or b"\r\n")
    assert client.ok("FETCH 1 PREVIEW") == [b'* 1 FETCH (PREVIEW "")']


def test_no_more_than_the_limit(client):
    client.append(b"\r\n" + "日".encode() * 1000)
    assert client.ok("FETCH 1 PREVIEW") == ["* 1 FETCH (PREVIEW {600}\r\n%s)".encode() % (
        "日".encode() * 200)]


def test_lazy_gives_what_is_known(client, store, tmp_path):
    client.append(TEXT)
    client.append(TEXT)
    assert client.ok("FETCH 1:2 (PREVIEW (LAZY))") == [
        b"* 1 FETCH (PREVIEW NIL)", b"* 2 FETCH (PREVIEW NIL)"]
    client.ok("FETCH 2 PREVIEW")
    assert client.ok("FETCH 1:2 (PREVIEW (LAZY) UID)") == [
        b"* 1 FETCH (UID 1 PREVIEW NIL)", b'* 2 FETCH (UID 2 PREVIEW "How are \\"you\\"? Well.")']
    derive(store, tmp_path)
    assert b"Well" in client.ok("FETCH 1 preview (lazy LAZY)")[0]


def test_lazy_reads_nothing(client, monkeypatch):
    client.append(TEXT)
    monkeypatch.setattr(Mailbox, "content_of", lambda *_: pytest.fail("it was read"))
    assert client.ok("FETCH 1 (PREVIEW (LAZY) FLAGS)") == [
        b"* 1 FETCH (FLAGS (\\Recent) PREVIEW NIL)"]


def test_lazy_and_not(client):
    """Without LAZY there is no NIL."""
    client.append(TEXT)
    for items in "(PREVIEW (LAZY) PREVIEW)", "(PREVIEW PREVIEW (LAZY))":
        line, = client.ok("FETCH 1 " + items)
        assert line.count(b"PREVIEW") == 1 and b"Well" in line


def test_modifiers_of_the_command_may_follow(client):
    client.append(TEXT)
    for items in "PREVIEW", "PREVIEW (LAZY)", "(PREVIEW (LAZY))":
        line = client.ok("FETCH 1 %s (CHANGEDSINCE 1)" % items)[-1]
        assert b"PREVIEW" in line and b"MODSEQ" in line


def test_with_other_items(client):
    client.append(TEXT)
    client.append(b"\r\nx")
    lines = client.ok("FETCH 1:2 (BODYSTRUCTURE PREVIEW (LAZY) ENVELOPE BODY.PEEK[TEXT])")
    assert all(b"PREVIEW NIL" in line and b"BODY[TEXT] {" in line for line in lines)


def test_an_expunged_message(connect):
    one, other = connect(), connect()
    one.append(TEXT)
    other.ok("NOOP")
    one.ok("STORE 1 +FLAGS (\\Deleted)")
    one.ok("EXPUNGE")
    lines = other.ask("FETCH 1 PREVIEW")
    assert lines[0] == b'* 1 FETCH (PREVIEW "")' and b"EXPUNGEISSUED" in lines[-1]


def test_a_large_message(client):
    client.append(b"\r\n" + b"Hello there.\r\n" + b"x" * 500000)
    line, = client.ok("FETCH 1 PREVIEW")
    assert line.startswith(b'* 1 FETCH (PREVIEW "Hello there. xxx') and len(line) == 222


@pytest.mark.parametrize("items", [
    "PREVIEW ()", "PREVIEW (FUZZY)", "(PREVIEW (FUZZY))", "(PREVIEW (LAZY FUZZY))", "PREVIEW (LAZY",
    "PREVIEW[]", "PREVIEW (LAZYLAZY)", "PREVIEW LAZY", "(PREVIEW ())"])
def test_what_is_no_modifier(client, items):
    client.append(TEXT)
    assert client.ask("FETCH 1 " + items)[-1].startswith(b"BAD")


def test_the_capability(client):
    assert b" PREVIEW" in client.ok("CAPABILITY")[0]
