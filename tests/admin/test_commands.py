"""The commands `queue` and `dns` as child processes, on a root folder."""
import json
import os
import subprocess
import sys

import pytest

from phenmail_protocols.admin import init
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.mail.address import Address
from phenmail_protocols.queue.model import Message, Recipient
from phenmail_protocols.queue.spool import Spool
from tests.net.nameserver import NameServer

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                       "phenmail.py")


@pytest.fixture
def root(tmp_path):
    root = Root(str(tmp_path / "root"))
    init.make_root(root, "alice", "example.org")
    return root


@pytest.fixture
def queue(root):
    return Spool(os.path.join(root.mail_system, "queue"))


def put(queue, name):
    with queue.begin(name) as arriving:
        arriving.write(b"Subject: the one\r\n\r\nhello\r\n")
        arriving.commit(
            Message(name, Address("alice", "example.org"),
                    (Recipient(Address("x", "example.com")),), 1790000000.0))


@pytest.fixture
def run(root):
    """`run(word, …)` -> (exit code, output, errors). A process of its own: the program sets its
    umask and its logging."""
    def run(*words):
        done = subprocess.run([sys.executable, PROGRAM, "--root", root.path] + list(words),
                              stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)
        return done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    return run


def test_an_empty_queue(run):
    assert run("queue") == (0, "The queue is empty.\n", "")
    assert run("queue", "retry", "all") == (0, "The queue is empty.\n", "")
    assert json.loads(run("queue", "list", "--json")[1]) == []


def test_the_queue_for_people_and_programs(run, queue):
    put(queue, "a1")
    code, text, _ = run("queue")
    assert code == 0 and "a1" in text and "x@example.com" in text
    listed, = json.loads(run("queue", "--json")[1])
    assert listed["id"] == "a1" and listed["recipients"][0]["address"] == "x@example.com"
    assert "Subject: the one" in run("queue", "show", "a1")[1]
    assert json.loads(run("queue", "show", "a1", "--json")[1])["id"] == "a1"


@pytest.mark.parametrize("words",
                         [("show", "no"), ("hold", "no"), ("drop", "no"), ("retry", "../x")])
def test_what_is_not_there_is_said(run, words):
    code, text, errors = run("queue", *words)
    assert code == 1 and "no message" in text + errors, (text, errors)


def test_orders(run, queue):
    put(queue, "a1")
    assert run("queue", "hold", "a1")[0] == 0 and queue.read("a1").held
    assert run("queue", "retry", "a1")[0] == 1, "what is held is not tried"
    assert run("queue", "release", "a1")[0] == 0 and not queue.read("a1").held
    assert run("queue", "retry", "a1")[0] == 0
    code, text, _ = run("queue", "drop", "a1", "--bounce", "--json")
    assert code == 0 and json.loads(text)[0]["done"] is True
    assert queue.read("a1").recipients[0].owed == "failed", "a running server tells the sender"
    put(queue, "a2")
    assert run("queue", "drop", "a2")[0] == 0
    assert queue.identities() == ["a1"]


def test_the_dns_says_what_is_missing(run, root):
    code, zone, _ = run("dns")
    assert code == 0 and "example.org. 3600 IN MX 10 example.org." in zone
    records = json.loads(run("dns", "--json")[1])
    assert {"mx", "spf", "dmarc", "srv"} <= {record["purpose"] for record in records}
    lines = [line for line in zone.splitlines() if not line.startswith(";")]
    with NameServer("\n".join(lines) + "\nexample.org. 300 IN A 127.0.0.1\n") as names:
        _configure(root, {"nameservers": ["%s:%d" % names.address]})
        found = {(each["name"], each["type"]): each["state"]
                 for each in json.loads(run("dns", "--check", "--json")[1])}
        assert found[("example.org.", "MX")] == "ok" and "different" not in found.values(), found
        names.load("example.org. 300 IN MX 10 other.example.")
        code, text, _ = run("dns", "--check")
        assert code == 1 and "different" in text and "missing" in text, text


def _configure(root, resolver):
    with open(root.configuration, "w") as file:
        json.dump(
            {"sender-domain": "example.org", "resolver": resolver, "domains": {"example.org": {
            "postmaster": ":alice", "abuse": ":alice", "alice": "/alice/mail"}}}, file)
