"""Two whole servers, one of which fetches from the other."""
import hashlib
import imaplib
import json
import os
import ssl
import subprocess
import sys
import time

import pytest

from phenmail import MailServer
from phenmail_protocols.fetch import service
from tests.admin.test_commands import PROGRAM
from tests.served import served

from .scripted import subject
from .test_service import eventually


@pytest.fixture(scope="module")
def far():
    with MailServer(users={"bob@example.net": "secret"}) as server:
        yield server


class Near:
    """The server that fetches, and its command line."""

    def __init__(self, path, far):
        self.root, self.far = str(path), far
        system = os.path.join(self.root, "device", "system", "mail")
        os.makedirs(system)
        os.makedirs(self.path("mail"))
        os.makedirs(self.path("system", "config"))
        with open(os.path.join(system, "mail.jcfg"), "w") as file:
            json.dump({"sender-domain": "example.org", "smtp": False, "imap": False, "pop": False,
                       "relay": False, "domains": {"example.org": {
                           "alice": "/alice/mail", "postmaster": ":alice", "abuse": ":alice"}}},
                      file)

    def path(self, *names):
        return os.path.join(os.path.realpath(self.root), "alice", *names)

    def configure(self, **values):
        protocol = values.setdefault("protocol", "imaps")
        port = self.far.port({"pops": "pop3s", "pop": "pop3"}.get(protocol, protocol))
        account = dict({"name": "far", "server": "127.0.0.1", "port": port, "username": "bob",
                        "passphrase": "secret", "first-time": "download-all",
                        "period": "1 h"}, **values)
        account.setdefault("fingerprint", fingerprint(self.far) if protocol[-1] == "s"
                           or account.get("starttls") else "00" * 32)
        with open(self.path("system", "config", "mail-fetcher.jcfg"), "w") as file:
            json.dump({"accounts": [account]}, file)

    def run(self, *words):
        done = subprocess.run([sys.executable, PROGRAM, "--root", self.root, "fetch"] + list(words),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout.decode("utf-8")

    def messages(self, server):
        mailbox = server.store.account(self.path("mail")).open("INBOX")
        try:
            return served(mailbox)
        finally:
            mailbox.close()


@pytest.fixture
def near(tmp_path, far, monkeypatch):
    monkeypatch.setattr(service, "_READ", 0.2)
    empty(far)
    return Near(tmp_path / "near", far)


def fingerprint(server):
    with open(server.settings.tls.certificate) as file:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()


def client(server):
    connection = imaplib.IMAP4("127.0.0.1", server.port("imap"))
    connection.login("bob", "secret")
    return connection


def append(server, number, flags="", body="text\r\n"):
    connection = client(server)
    message = "Message-ID: <%s@example.net>\r\nSubject: m%s\r\n\r\n%s" % (number, number, body)
    assert connection.append("INBOX", flags, None, message.encode())[0] == "OK"
    connection.logout()


def empty(server):
    connection = client(server)
    if int(connection.select("INBOX")[1][0]):
        connection.store("1:*", "+FLAGS", "\\Deleted")
        connection.expunge()
    connection.logout()


def count(server):
    connection = client(server)
    found = int(connection.select("INBOX", readonly=True)[1][0])
    connection.logout()
    return found


@pytest.mark.parametrize("values", [
    {"protocol": "imaps"}, {"protocol": "imap", "starttls": True}, {"protocol": "pops"},
    {"protocol": "pop", "starttls": True}])
def test_mail_comes_byte_by_byte(near, far, values):
    append(far, 1, body="a line\r\n.\r\n..\r\n" * 50000)
    append(far, 2, "\\Seen")
    append(far, 3, body="no end")
    near.configure(remove=True, **values)
    with MailServer(near.root) as server:
        eventually(lambda: len(near.messages(server)) == 3, seconds=30)
        messages = near.messages(server)
        eventually(lambda: count(far) == 0)
    assert [subject(data) for data in messages] == ["m1", "m2", "m3"]
    assert messages[0].endswith(b"Subject: m1\r\n\r\n" + b"a line\r\n.\r\n..\r\n" * 50000)


def test_a_message_comes_within_200_ms_by_idle(near, far):
    near.configure()
    with MailServer(near.root) as server:
        job = first_job(server)
        eventually(lambda: job.status.state == "waiting for new mail")
        times = []
        for number in range(5):
            eventually(lambda: job.status.state == "waiting for new mail")
            append(far, number)
            began = time.monotonic()
            eventually(lambda: len(near.messages(server)) == number + 1)
            times.append(time.monotonic() - began)
        assert sorted(times)[2] < 0.2, times


def first_job(server):
    jobs = server._delivery.fetching._jobs
    eventually(jobs)
    return jobs()[0]


def test_the_commands(near, far):
    assert near.run()[1].startswith("No mail is fetched")
    near.configure(idle=False)
    append(far, 1)
    code, text = near.run("test", "far")
    assert code == 0 and "the login works" in text and "  Inbox\n" in text, text
    code, text = near.run("now", "far")
    assert code == 1 and "no server is running" in text
    assert near.run("now", "bla")[1].startswith("phenmail: no such account: bla; there are alice/far")
    with MailServer(near.root) as server:
        eventually(lambda: len(near.messages(server)) == 1)
        append(far, 2)
        code, text = near.run("now", "alice/far")
        assert code == 0 and "will be fetched now" in text
        eventually(lambda: len(near.messages(server)) == 2)
        eventually(lambda: not first_job(server).is_running)
    code, text = near.run("list")
    assert code == 0 and "alice/far (imaps 127.0.0.1): no server is running, fetched last" in text, text
    assert "2 messages" in text
    code, text = near.run("--json")
    assert json.loads(text)[0]["fetched"] == 2
    near.configure(passphrase="incorrect")
    code, text = near.run("test", "far")
    assert code == 1 and "far: " in text and "incorrect" not in text
    near.configure(boxes=["Inbox", "Gone"])
    code, text = near.run("test", "far", "--json")
    assert code == 1 and json.loads(text)["missing"] == ["Gone"]


def test_a_certificate_that_nobody_knows_is_refused(near, far):
    near.configure(fingerprint="00" * 32)
    append(far, 1)
    with MailServer(near.root) as server:
        eventually(lambda: first_job(server).status.error)
        assert "fingerprint" in first_job(server).status.error
        assert near.messages(server) == []


def test_check_reads_the_file(near, far):
    near.configure(boxes=[{"Inbox": "accept:a/../b"}])
    done = subprocess.run([sys.executable, PROGRAM, "--root", near.root, "check"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    text = done.stdout.decode()
    assert done.returncode == 1 and "no mailbox can have this name" in text, text
