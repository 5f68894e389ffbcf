"""CREATE, DELETE, RENAME, SUBSCRIBE, STATUS, NAMESPACE, ENABLE, ID, CAPABILITY."""
import pytest

from phenmail_protocols.store import hierarchy


def names(client):
    return {line.rpartition(b" ")[2].decode() for line in client.ok('LIST "" *')}


@pytest.mark.parametrize("name", ["new", "new/below/deep", '"with space"', "Entw&APw-rfe", "new/",
                                  "INBOX/below", "a.b", '"a\\\\b"', "../x"])
def test_create_select_delete(client, name):
    client.ok("CREATE " + name)
    used = name.rstrip("/")
    client.ok("SELECT " + used)
    client.ok("UNSELECT")
    client.ok("DELETE " + used)
    assert client.ask("SELECT " + used)[-1].startswith(b"NO [NONEXISTENT]")


@pytest.mark.parametrize("command, answer", [
    ("CREATE inbox", b"NO [ALREADYEXISTS]"), ("CREATE INBOX/", b"NO [ALREADYEXISTS]"),
    ("CREATE Sent", b"NO [ALREADYEXISTS]"),
    ("CREATE a//b", b"NO [CANNOT]"), ("CREATE /a", b"NO [CANNOT]"), ('CREATE ""', b"NO [CANNOT]"),
    ("CREATE %s" % ("x" * 300), b"NO [CANNOT]"), ("CREATE a&b", b"NO [CANNOT]"),
    ("DELETE INBOX", b"NO [CANNOT]"), ("DELETE nowhere", b"NO [NONEXISTENT]"),
    ("RENAME nowhere x", b"NO [NONEXISTENT]"),
    ("RENAME Sent Drafts", b"NO [ALREADYEXISTS]"), ("RENAME Sent Sent/x", b"NO [CANNOT]"),
    ("RENAME Sent INBOX", b"NO [ALREADYEXISTS]"),
    ("STATUS nowhere (MESSAGES)", b"NO [NONEXISTENT]"), ("STATUS INBOX (EMAILID)", b"BAD"),
    ("STATUS INBOX ()", b"BAD"),
])
def test_refusals(lasting, command, answer):
    assert lasting.ask(command)[-1].startswith(answer)


def test_a_delete_that_fails_leaves_the_mailbox_selected(client):
    assert client.ask("DELETE INBOX")[-1].startswith(b"NO ")
    client.ok("CHECK")


def test_too_many_mailboxes(client, monkeypatch):
    monkeypatch.setattr(hierarchy, "MOST", 7)  # INBOX does not count, five are there
    client.ok("CREATE a/b/c")
    client.ok("CREATE d (USE (\\Archive))")
    for command in "CREATE e", "CREATE f (USE (\\Sent))", "RENAME INBOX g":
        assert client.ask(command) == [
            b"NO [LIMIT] There are too many mailboxes: at most 7."]
    client.ok("RENAME d e")
    client.ok("DELETE e")
    client.ok("CREATE f")


def test_delete_of_the_selected_mailbox(client):
    client.ok("CREATE new")
    client.ok("SELECT new")
    assert client.ask("DELETE new") == [b"OK DELETE completed"]
    assert client.ask("CHECK")[-1].startswith(b"BAD")
    client.ok("SELECT INBOX")


def test_delete_leaves_children(client):
    client.ok("CREATE top/below")
    client.ok("CREATE top")
    client.ok("DELETE top")
    assert {"top", "top/below"} <= names(client)
    assert rb"\Noselect" in client.ok('LIST "" top')[0]
    assert client.ask("SELECT top")[-1].startswith(b"NO")


def test_rename_renames_children(client):
    client.ok("CREATE old/below")
    client.ok("CREATE old")
    client.ok("RENAME old new")
    found = names(client)
    assert {"new", "new/below"} <= found and not any(name.startswith("old") for name in found)


def test_rename_of_inbox_moves_its_messages(client):
    client.append(b"A: b\r\n\r\n")
    lines = client.ok("RENAME INBOX kept")
    assert b"* 1 EXPUNGE" in lines
    assert client.ok("STATUS kept (MESSAGES)") == [b"* STATUS kept (MESSAGES 1)"]
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]


def test_status(client):
    client.append(b"A: b\r\n\r\n", mailbox="Sent")
    client.append(b"A: b\r\n\r\n", mailbox="Sent", flags="(\\Seen)")
    line, = client.ok("STATUS Sent (MESSAGES UNSEEN RECENT UIDNEXT)")
    assert line == b"* STATUS Sent (MESSAGES 2 UNSEEN 1 RECENT 2 UIDNEXT 3)"
    assert client.ok("STATUS Sent (UIDVALIDITY)")[0].startswith(b"* STATUS Sent (UIDVALIDITY ")


def test_subscriptions(client):
    client.ok("SUBSCRIBE nowhere/yet")
    assert b'* LSUB () "/" nowhere/yet' in client.ok('LSUB "" *')
    client.ok("UNSUBSCRIBE nowhere/yet")
    client.ok("UNSUBSCRIBE nowhere/yet")
    assert not any(b"nowhere" in line for line in client.ok('LSUB "" *'))


def test_namespace_enable_id(client):
    assert client.ok("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL NIL']
    assert client.ok("ENABLE X-FOO IDLE") == [b"* ENABLED"]
    assert client.ok('ID ("name" "test" "os" NIL)') == [b'* ID ("name" "phenmail")']
    assert client.ok("ID NIL") == [b'* ID ("name" "phenmail")']
    assert client.ask('ID ("%s" "x")' % ("n" * 31))[-1].startswith(b"BAD")
    assert client.ask('ID ("n" "%s")' % ("v" * 1025))[-1].startswith(b"BAD")
    assert client.ask("ID (%s)" % " ".join('"n" "v"' for _ in range(31)))[-1].startswith(b"BAD")


@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("write", [
    lambda text: b'"%b"' % text.replace(b'"', b'\\"'),
    lambda text: b"{%d+}\r\n%b" % (len(text), text),
], ids=["quoted", "literal"])
@pytest.mark.parametrize("octet", [b"v", b'"'], ids=["plain", "escaped"])
def test_the_largest_legal_id(connect, login, write, octet):
    """RFC 2971 3.3: 30 fields, names of 30 octets, values of 1024; also before login."""
    client = connect(login=login)
    fields = [write(b"%02d" % number + octet * 28) + b" " + write(octet * 1024)
              for number in range(30)]
    assert client.ok(b"ID (" + b" ".join(fields) + b")") == [b'* ID ("name" "phenmail")']


def test_capabilities_after_login(client):
    words = client.ok("CAPABILITY")[0].split()
    assert words[:3] == [b"*", b"CAPABILITY", b"IMAP4rev1"]
    assert {b"LITERAL+", b"SASL-IR", b"IDLE", b"NAMESPACE", b"ID", b"UNSELECT", b"UIDPLUS", b"MOVE",
            b"CHILDREN", b"SPECIAL-USE",
            b"ENABLE"} <= set(words)
    assert not any(word.startswith((b"AUTH=", b"STARTTLS", b"LOGINDISABLED", b"ACL"))
                   for word in words)
