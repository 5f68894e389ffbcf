"""The command `queue` beside a running server: its orders take effect at once, or soon."""
import email
import json
import os
import subprocess
import sys
import time

import pytest

from phenmail import MailServer
from tests.admin.test_commands import PROGRAM
from tests.net.nameserver import NameServer
from tests.relay.peers import Peer, smtp
from tests.served import served

ZONE = "far.example. 60 IN MX 10 mx.far.example.\nmx.far.example. 60 IN A 127.0.0.1\n"
SECONDS = 15.0


@pytest.fixture
def place(tmp_path):
    """A server whose mail waits, since the DNS fails; with `run(words)`, `names` and the `peer`
    that would take it."""
    with NameServer(ZONE) as names, Peer(smtp(), smtp()) as peer:
        names.behave("far.example", rcode="SERVFAIL")
        yield Place(str(tmp_path / "root"), names, peer)


class Place:
    def __init__(self, root, names, peer):
        self.root, self.names, self.peer = root, names, peer
        domains = {
            "example.org": {"alice": "/alice/mail", "postmaster": ":alice", "abuse": ":alice"}}
        folder = os.path.join(root, "device", "system", "mail")
        os.makedirs(folder)
        os.makedirs(os.path.join(root, "alice", "mail"))
        with open(os.path.join(folder, "mail.jcfg"), "w") as file:
            json.dump(
                {"sender-domain": "example.org", "domains": domains, "smtp": False, "imap": False,
                 "pop": False,
                       "resolver": {"nameservers": ["%s:%d" % names.address]},
                       "relay": {"remote-port": peer.port, "private-addresses": True,
                                 "listen": [{"host": "127.0.0.1", "port": 0, "tls": "none"}]}},
                                 file)

    def run(self, *words):
        done = subprocess.run([sys.executable, PROGRAM, "--root", self.root, "queue"] + list(words),
                              stdout=subprocess.PIPE, timeout=60)
        return done.returncode, done.stdout.decode("utf-8")

    def waiting(self):
        return json.loads(self.run("list", "--json")[1])


def eventually(condition, what):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_orders_are_followed_by_the_running_server(place):
    with MailServer(place.root) as server:
        first, = server.send_mail("alice@example.org", "bob@far.example", "Subject: first\n\nx\n")
        second, = server.send_mail("alice@example.org", "carol@far.example",
                                   "Subject: second\n\nx\n")
        eventually(lambda: all(each["recipients"][0]["attempts"] for each in place.waiting()),
                   "both were tried")
        assert place.run("hold", second)[0] == 0
        place.names.behave("far.example")
        assert place.run("retry", "all")[0] == 0
        eventually(lambda: len(place.peer.messages) == 1,
                   "the first one goes, although its destination failed a moment ago")
        assert b"Subject: first" in place.peer.messages[0]
        eventually(lambda: [each["id"] for each in place.waiting()] == [second],
                   "the held one waits")
        code, text = place.run("drop", second, "--bounce")
        assert code == 0, text
        eventually(lambda: not place.waiting(), "the queue is empty")
        account = server.store.account(os.path.join(place.root, "alice", "mail"))
        mailbox = account.open("INBOX")
        notice = email.message_from_bytes(*served(mailbox))
        mailbox.close()
        assert notice.get_content_type() == "multipart/report"
        assert "carol@far.example" in str(notice)
        assert len(place.peer.messages) == 1 and first != second
