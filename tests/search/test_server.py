"""The running server builds the index while no mail arrives; "search" turns it off."""
import imaplib
import os
import smtplib
import time

import pytest

import phenmail
from phenmail_protocols.search import database

USER = "alice@example.org"
PLAIN = {"host": "127.0.0.1", "port": 0, "disable-ssl": True, "plaintext-auth": True}
SETTINGS = {"smtp": {"host": "127.0.0.1", "port": 0}, "relay": False, "pop": False, "imap": PLAIN}
available = pytest.mark.skipif(not database.is_available(), reason="SQLite without trigrams")


def serve(root, search):
    return phenmail.MailServer(root=str(root), settings=dict(SETTINGS, search=search),
                               users={USER: "secret"})


def deliver(server, *texts):
    with smtplib.SMTP("127.0.0.1", server.port("smtp")) as client:
        for text in texts:
            client.sendmail("x@example.com", [USER], "Subject: x\r\n\r\n%s\r\n" % text)


def search(server, *keys):
    client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    client.login(USER, "secret")
    client.select()
    found = client.search(None, *keys)[1][0].split()
    client.logout()
    return list(map(int, found))


def index_of(server):
    return os.path.join(server.directory.account(USER).folder, database.FILE)


def eventually(condition):
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@available
def test_builds_and_removes_the_index(tmp_path):
    with serve(tmp_path, True) as server:
        deliver(server, "an anchor", "a buoy")
        path = index_of(server)
        eventually(lambda: os.path.exists(path))
        assert search(server, "TEXT", "anchor") == [1]
    with serve(tmp_path, "headers") as server:
        deliver(server, "one more anchor")
        eventually(lambda: not os.path.exists(path))
        assert search(server, "TEXT", "anchor") == [1, 3]


@available
def test_a_reload_turns_it_off(tmp_path):
    with serve(tmp_path, True) as server:
        deliver(server, "an anchor")
        path = index_of(server)
        eventually(lambda: os.path.exists(path))
        server._search_indexes.enable(False)
        deliver(server, "a buoy")
        eventually(lambda: not os.path.exists(path))
        assert search(server, "BODY", "anchor") == [1]


def test_scans_without_trigrams(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "is_available", lambda: False)
    with serve(tmp_path, True) as server:
        deliver(server, "an anchor", "a buoy")
        assert search(server, "TEXT", "buoy") == [2]
        assert search(server, "NOT", "TEXT", "buoy") == [1]
        assert not os.path.exists(index_of(server))
