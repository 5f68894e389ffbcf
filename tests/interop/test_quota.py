"""Quotas beside Dovecot's, and as imaplib and IMAPClient ask for them."""
import json
import os
import re

import pytest

from tests.interop.house import SECONDS, message, ok
from tests.interop.remote import CLIENTS
from tests.interop.test_dovecot import Dovecot

KILOBYTES, MESSAGES = 32, 10
SMALL = message("hello")
BIG = SMALL + b"x" * 9000 + b"\r\n"


@pytest.fixture
def limited(user):
    """The user, with a quota."""
    path = os.path.join(user.folder, "mail.jcfg")
    with open(path) as file:
        settings = json.load(file)
    with open(path, "w") as file:
        json.dump(dict(settings, quota={"bytes": KILOBYTES * 1024, "messages": MESSAGES}), file)
    return user


@pytest.fixture
def dovecot(program, tmp_path):
    program("dovecot")
    rule = "*:storage=%dK:messages=%d" % (KILOBYTES, MESSAGES)
    return Dovecot(program, tmp_path, "%s/Maildir" % tmp_path, plugins="quota imap_quota",
                   settings=("plugin {", "  quota = count:user", "  quota_vsizes = yes",
                             "  quota_rule = " + rule, "}"))


#: A command, and a literal that follows it, or None.
DIALOGUE = [
    ("GETQUOTAROOT INBOX", None), ("GETQUOTAROOT nowhere/at/all", None), ("GETQUOTA user", None),
    ('GETQUOTA ""', None), ("GETQUOTA other", None),
    ("SETQUOTA user (STORAGE 512)", None), ("APPEND INBOX", SMALL), ("APPEND INBOX", BIG),
    ("GETQUOTA user", None), ("APPEND Sent", BIG * 3), ("COPY 1:2 Sent", None),
    ("GETQUOTA user", None), ("APPEND INBOX", BIG + BIG), ("APPEND INBOX", BIG),
    ("APPEND Sent", BIG), ("COPY 2:3 Sent", None), ("MOVE 1:3 Sent", None),
    ("GETQUOTAROOT Sent", None), ("GETQUOTA user", None)]


def answers(client):
    """Of each command: (the status, the response code's name, the data about quotas)."""
    for command, literal in DIALOGUE:
        name, _, arguments = command.partition(" ")
        client.literal = literal
        status, [text] = client._simple_command(name, *arguments.split(" "))
        code = re.match(rb"\[([A-Z]+)", text)
        data = [client._untagged_response(status, None, kind)[1] for kind in ("QUOTAROOT", "QUOTA")]
        yield command, status, code and code.group(1), data


def test_as_dovecot(house, limited, dovecot):
    ours, theirs = house.imap(limited, "INBOX"), dovecot.connect()
    ok(theirs.create("Sent"))
    ok(theirs.select("INBOX"))
    for found, expected in zip(answers(ours), answers(theirs)):
        if found[2] in (b"NONEXISTENT", b"NOPERM"):  # Dovecot says so only in words
            found = found[:2] + (None,) + found[3:]
        assert found == expected
    for client in ours, theirs:
        client.logout()


def test_imaplib(house, limited):
    client = house.imap(limited, "INBOX")
    expected = b"user (STORAGE 0 %d MESSAGE 0 %d)" % (KILOBYTES, MESSAGES)
    assert client.getquota("user") == ("OK", [expected])
    assert client.getquotaroot("INBOX") == ("OK", [[b"INBOX user"], [expected]])
    assert client.setquota("user", "(STORAGE 1000)")[0] == "NO"
    client.logout()


def test_imapclient(absent, monkeypatch, house, limited):
    monkeypatch.syspath_prepend(os.path.join(CLIENTS, "python"))
    try:
        from imapclient import IMAPClient
    except ImportError:
        absent("the Python package imapclient")
    client = IMAPClient(house.host, house.ports["imap"], ssl=False, timeout=SECONDS)
    client.starttls(house.trust())
    client.login(limited.address, limited.passphrase)
    expected = [("user", "STORAGE", 0, KILOBYTES), ("user", "MESSAGE", 0, MESSAGES)]
    assert [tuple(vars(each).values()) for each in client.get_quota("INBOX")] == expected
    root, found = client.get_quota_root("INBOX")
    assert root.quota_roots == ["user"] and len(found) == 2
    client.logout()
