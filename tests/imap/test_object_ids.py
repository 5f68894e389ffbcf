"""OBJECTID (RFC 8474): MAILBOXID, EMAILID, THREADID."""
import os
import re

import pytest

ID = re.compile(rb"\(([A-Za-z0-9_-]{1,255})\)")
ONE, TWO = b"Subject: one\r\n\r\nbody\r\n", b"Subject: two\r\n\r\nbody\r\n"


def mailbox_id(client, name="INBOX"):
    line, = client.ok("STATUS %s (MAILBOXID)" % name)
    return re.fullmatch(rb"\* STATUS \S+ \(MAILBOXID \(([A-Za-z0-9_-]{1,255})\)\)", line).group(1)


def email_ids(client, messages="1:*"):
    return [ID.search(line).group(1)
            for line in client.ok("FETCH %s (EMAILID)" % messages) if b"EMAILID" in line]


def created(client, name):
    return re.fullmatch(rb"OK \[MAILBOXID \((F[0-9a-f]+)\)\] CREATE completed",
                        client.ask("CREATE " + name)[-1]).group(1)


# -- MAILBOXID

def test_it_is_the_same_wherever_it_is_told(client):
    found = created(client, "new")
    assert found == mailbox_id(client, "new")
    for command in "SELECT", "EXAMINE":
        line, = [line for line in client.ok(command + " new") if b"[MAILBOXID" in line]
        assert line == b"* OK [MAILBOXID (%b)] Mailbox identifier" % found
    assert b"* STATUS new (MESSAGES 0 MAILBOXID (%b))" % found in client.ok(
        'LIST "" "*" RETURN (STATUS (MESSAGES MAILBOXID))')
    assert b"OBJECTID" in client.ok("CAPABILITY")[0].split()


def test_no_two_mailboxes_have_the_same(client):
    found = [mailbox_id(client, name)
             for name in ("INBOX", "Sent", "Drafts", "Trash", "Junk", "Archive")]
    assert len(set(found)) == 6


def test_it_stays_when_the_mailbox_is_renamed(client):
    top, below = created(client, "a"), created(client, "a/b")
    client.ok("RENAME a c")
    assert mailbox_id(client, "c") == top and mailbox_id(client, "c/b") == below
    assert created(client, "a") not in (top, below)


def test_rename_of_inbox_makes_a_mailbox(client):
    before = mailbox_id(client)
    client.ok("RENAME INBOX kept")
    assert mailbox_id(client) == before != mailbox_id(client, "kept")


def test_a_mailbox_made_again_is_another_one(client):
    before = created(client, "a")
    client.ok("DELETE a")
    assert created(client, "a") != before


def test_a_failed_create_tells_none(client):
    assert client.ask("CREATE Sent")[-1].startswith(b"NO [ALREADYEXISTS]")


# -- EMAILID

def test_copies_have_the_same_and_others_do_not(client):
    client.append(ONE, flags="(\\Seen)")
    client.append(TWO)
    client.append(ONE, mailbox="Sent")
    client.ok("COPY 1 Trash")
    client.ok("MOVE 2 Trash")
    first, = email_ids(client)
    client.ok("SELECT Sent")
    assert email_ids(client) == [first]
    client.ok("SELECT Trash")
    found = email_ids(client)
    assert found[0] == first != found[1] and re.fullmatch(rb"M[0-9a-f]{40}", first)


def test_it_stays_without_the_index(client, tmp_path):
    client.append(ONE)
    before, mailbox = email_ids(client), mailbox_id(client)
    for name in os.listdir(str(tmp_path / "mail")):
        if "sqlite" in name:
            os.unlink(str(tmp_path / "mail" / name))
    assert email_ids(client) == before and mailbox_id(client) == mailbox


def test_a_big_message(client):
    big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" + b"y" * 600000 + b"\r\n"
    client.append(big)
    client.append(big[:-3] + b"z\r\n")
    client.append(big)
    first, second, third = email_ids(client)
    assert first == third != second


def test_fetch_in_any_order_and_with_uid(client):
    client.append(ONE)
    found, = email_ids(client)
    assert client.ok("UID FETCH 1 (THREADID EMAILID FLAGS)") == [
        b"* 1 FETCH (UID 1 THREADID NIL FLAGS (\\Recent) EMAILID (%b))" % found]
    line, = client.ok("FETCH 1 threadid")
    assert line == b"* 1 FETCH (THREADID NIL)"


def test_an_expunged_message(connect):
    client, other = connect(), connect()
    client.append(ONE)
    client.append(TWO)
    other.ok("NOOP")
    client.ok("STORE 1 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    lines = other.ask("FETCH 1:2 (EMAILID THREADID)")
    assert len(lines) == 3 and lines[-1].startswith(b"OK [EXPUNGEISSUED]")
    assert all(ID.search(line) for line in lines[:2])


# -- SEARCH

def test_search(client):
    client.append(ONE)
    client.append(TWO)
    client.append(ONE)
    one, two, _ = email_ids(client)
    for keys, found in [
            (b"EMAILID " + one, b" 1 3"), (b"EMAILID " + two, b" 2"),
            (b"OR EMAILID %b EMAILID %b" % (one, two), b" 1 2 3"),
            (b"NOT EMAILID " + one, b" 2"), (b"EMAILID %b SUBJECT one 3" % one, b" 3"),
            (b"OR (EMAILID %b BODY body) UID 3" % two, b" 2 3"),
            (b"EMAILID " + one.upper(), b""), (b"EMAILID M123", b""),
            (b"THREADID T1", b""), (b"NOT THREADID " + one, b" 1 2 3")]:
        assert client.ok(b"SEARCH " + keys) == [b"* SEARCH" + found], keys
    assert client.ok(b"UID SEARCH RETURN (MIN COUNT) EMAILID " + one)[0].endswith(
        b"UID MIN 1 COUNT 2")


def test_search_skips_expunged_messages(connect):
    client, other = connect(), connect()
    client.append(ONE)
    client.append(ONE)
    other.ok("NOOP")
    client.ok("STORE 1 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    found, = email_ids(client)
    assert other.ask(b"SEARCH EMAILID " + found)[0] == b"* SEARCH 2"


@pytest.mark.parametrize("keys", [
    "EMAILID", "EMAILID a.b", "EMAILID (a)", 'EMAILID ""', "EMAILID %s" % ("x" * 256), "THREADID",
    "THREADID a/b"])
def test_what_is_no_identifier(lasting, keys):
    assert lasting.ask("SEARCH " + keys)[-1].startswith(b"BAD ")


def test_the_longest_identifier(lasting):
    lasting.ok("SEARCH EMAILID %s" % ("x" * 255))
