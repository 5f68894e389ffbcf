"""`adopt` from Dovecot: hierarchy, subscriptions, keywords, dates, octets; killed and resumed."""
import glob
import imaplib
import os
import re
import shutil
import signal
import tempfile

import pytest

from tests.bench.messages import PASSPHRASE, USER
from tests.bench.peers.dovecot import Dovecot
from tests.bench.peers.process import Missing
from tests.fetch.adopting.test_command import Root_
from tests.interop import mail_sources
from tests.interop.house import ODD, eventually, message, ok, quoted

# Real messages, where the machine has them.
CORPUS = sorted(glob.glob(os.environ.get("PHENMAIL_CORPUS", "/work/shared/corpus") + "/messages/**/*.eml",
                          recursive=True))


@pytest.fixture
def dovecot(absent):
    # Not in pytest's folder, which others may not enter: Dovecot's processes are not root.
    folder = tempfile.mkdtemp(prefix="phenmail-dovecot-")
    running = None
    try:
        try:
            running = Dovecot(folder)
        except Missing as missing:
            absent(str(missing))
        yield running.start()
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(folder)


@pytest.fixture
def client(dovecot):
    client = imaplib.IMAP4("127.0.0.1", dovecot.ports["imap"])
    client.login(USER, PASSPHRASE)
    ok(client.select())  # makes the Maildir
    yield client
    client.logout()


@pytest.fixture
def bob(tmp_path, dovecot):
    bob = Root_(tmp_path)
    bob.accounts({"server": "127.0.0.1", "port": dovecot.ports["imap"], "protocol": "imap",
                  "username": USER, "passphrase": PASSPHRASE, "name": "old"})
    return bob


def put(client, mailbox, octets, flags=(), date=1300000000):
    ok(client.append(quoted(mailbox), "(%s)" % " ".join(flags), imaplib.Time2Internaldate(date),
                     octets))


def row(out, name):
    """The numbers of a row of the receipt."""
    return [line.split()[-4:] for line in out.splitlines()
            if line.startswith(name + " ") and re.search(r"\d+ +\d+ +\d+ +\d+$", line)][-1]


def test_everything_of_an_account(bob, client):
    for name in "Lists.dev.2019", "B&APw-cher", "Sent Messages", "empty":
        ok(client.create(quoted(name)))
    for name in "Lists.dev.2019", "empty":
        ok(client.subscribe(quoted(name)))
    for number, octets in enumerate(ODD.values()):
        put(client, "INBOX", octets, ["\\Seen", "$Forwarded", "Projekt_7"], 1300000000 + number)
    put(client, "Lists.dev.2019", message("dev"), ["\\Flagged", "\\Answered", "\\Draft"])
    put(client, "B&APw-cher", message("book"))
    put(client, "Sent Messages", message("sent"))
    out, _ = bob.adopt(USER, "--from", "old", "--yes")
    found, subscribed = bob.here()
    assert [octets for octets, _, _ in found["INBOX"]] == list(ODD.values())
    assert [(flags, date) for _, flags, date in found["INBOX"]] == [
        ({"\\Seen", "$Forwarded", "Projekt_7"}, 1300000000 + number) for number in range(len(ODD))]
    assert found["Lists/dev/2019"] == [(message("dev"), {"\\Flagged", "\\Answered", "\\Draft"},
                                        1300000000)]
    assert found["B\u00fccher"][0][0] == message("book")
    assert found["Sent"][0][0] == message("sent")
    assert {"Lists/dev/2019", "empty"} <= subscribed and "B\u00fccher" not in subscribed
    count = str(len(ODD))
    assert row(out, "INBOX") == [count, count, count, "0"]
    out, _ = bob.adopt(USER, "--compare")
    assert row(out, "all")[-1] == "0"


@pytest.mark.skipif(not CORPUS, reason="there are no messages")
def test_real_messages(bob, client):
    sent = []
    for path in CORPUS:
        with open(path, "rb") as file:
            octets = re.sub(rb"\r?\n", b"\r\n", file.read())
        if b"\0" not in octets and octets:
            put(client, "INBOX", octets)
            sent.append(octets)
    out, _ = bob.adopt(USER, "--yes")
    assert [octets for octets, _, _ in bob.here()[0]["INBOX"]] == sent
    assert row(out, "INBOX")[-1] == "0"


def test_line_ends_of_a_maildir(bob, client, dovecot):
    """Dovecot serves a file's lines with CR LF; a bare CR stays bare."""
    path = os.path.join(dovecot.maildir, "cur", "1300000000.1.x:2,S")
    put(client, "INBOX", message("first"))
    with open(path, "wb") as file:
        file.write(b"Message-ID: <cr@x>\n\na\rb\n")
    dovecot.own(os.path.dirname(dovecot.maildir))
    out, _ = bob.adopt(USER, "--yes")
    assert row(out, "INBOX") == ["2", "2", "1", "1"]
    assert ("INBOX: <cr@x>: some of its lines end in a bare LF or CR there; here all end in CR LF"
            in out)


def test_killed_and_resumed(bob, client, dovecot):
    sent = [message("number %d" % number, "x" * 3000 + "\r\n") for number in range(800)]
    for number, octets in enumerate(sent):
        path = os.path.join(dovecot.maildir, "cur", "%d.M%dP1.x:2," % (1300000000 + number, number))
        with open(path, "wb") as file:
            file.write(octets.replace(b"\r\n", b"\n"))
    dovecot.own(os.path.dirname(dovecot.maildir))
    for enough in 64, 300:
        child = bob.start(USER, "--yes")
        eventually(lambda: bob.arrived() >= enough or child.poll() is not None, "messages")
        child.send_signal(signal.SIGKILL)
        child.communicate()
    out, _ = bob.adopt(USER, "--yes")
    found = [octets for octets, _, _ in bob.here()[0]["INBOX"]]
    assert sorted(found) == sorted(sent)
    assert row(out, "INBOX") == ["800", "800", "800", "0"]


@pytest.mark.parametrize("kind, prefix, separator", [
    (mail_sources.Courier, "INBOX.", "."), (mail_sources.Cyrus, "", "/")])
def test_other_servers(kind, prefix, separator, tmp_path, absent):
    folder = tempfile.mkdtemp(prefix="phenmail-source-")
    os.chmod(folder, 0o755)
    try:
        with kind(os.path.join(folder, "it")) as source:
            bob = Root_(tmp_path)
            bob.accounts(source.account())
            _from_other_server(bob, source, prefix, separator)
    except Missing as missing:
        absent(str(missing))
    finally:
        shutil.rmtree(folder)


def _from_other_server(bob, source, prefix, separator):
    lists = separator.join(("Lists", "dev", "2019"))
    client = imaplib.IMAP4("127.0.0.1", source.port)
    client.login(USER, PASSPHRASE)
    for name in lists, "B&APw-cher", "Sent":
        ok(client.create(quoted(prefix + name)))
    # This imapd of Courier keeps no keywords.
    flags = ["\\Seen"] if separator == "." else ["\\Seen", "$Forwarded"]
    ok(client.subscribe(quoted(prefix + lists)))
    for number, octets in enumerate(ODD.values()):
        put(client, "INBOX", octets, flags, 1300000000 + number)
    put(client, prefix + lists, message("dev"), ["\\Flagged"])
    put(client, prefix + "B&APw-cher", message("book"))
    client.logout()
    out, _ = bob.adopt(USER, "--yes")
    found, subscribed = bob.here()
    assert [octets for octets, _, _ in found["INBOX"]] == list(ODD.values())
    assert {date for _, _, date in found["INBOX"]} == set(range(1300000000, 1300000000 + len(ODD)))
    assert all(set(flags) == each for _, each, _ in found["INBOX"])
    assert found["Lists/dev/2019"] == [(message("dev"), {"\\Flagged"}, 1300000000)]
    assert found["B\u00fccher"][0][0] == message("book")
    assert "Lists/dev/2019" in subscribed
    assert row(out, "all")[-1] == "0"
    bob.adopt(USER, "--yes")
    assert bob.here()[0] == found
