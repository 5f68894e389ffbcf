"""Other people's programs as destinations of a running server: what swaks brings, dovecot-lda,
procmail and maildrop get, or it comes back; and what goes on to another address is refused by
Postfix or Exim, and finds its author.
"""
import email
import json
import os
import pwd
import re
import shutil
import tempfile

import pytest

from phenmail_protocols.dkim import keys
from phenmail_protocols.testing.catcher import Catcher
from phenmail_protocols.testing.fixture import Sent
from tests.bench.peers.process import free_port
from tests.destinations.frontdoor import Bounce
from tests.dkim.keys import RSA
from tests.interop import nexthops
from tests.interop.deliverers import COMMANDS, DELIVERED, LATER, NEVER, delivered
from tests.interop.house import DOMAIN, House, assert_received, eventually, message, odd, succeed
from tests.interop.nexthops import REFUSED
from tests.interop.test_relay import FAR
from tests.interop.test_swaks import DATA, path, stuffed
from tests.net.nameserver import NameServer

NOBODY = 65534
IS_ROOT = os.geteuid() == 0
HOME = "two.example"
AUTHOR = "friend@" + HOME
ROBOT = "robot@" + DOMAIN
RECORD = keys.read_rsa(RSA).record


class Door(House):
    """The program in a folder whose path everybody may go through. `robot`: the mail folder of an
    identity with no mailbox."""

    def __init__(self, program):
        self.base = tempfile.mkdtemp()
        os.chmod(self.base, 0o755)
        super().__init__(self.base)
        self._program = program
        self._swaks = program("swaks")
        self.robot = os.path.join(self.root, "robot", "mail")

    def begin(self, action, owner=NOBODY, **sections):
        """`action`: what is done with mail for ROBOT; `owner`: of its folder, where we are root."""
        os.makedirs(self.robot, exist_ok=True)
        if IS_ROOT:
            os.chown(self.robot, owner, owner)
        domains = {DOMAIN: {"robot": action(self.robot) if callable(action) else action,
                            "quirky": "/[user-identity]/mail",
                            "postmaster": ":quirky", "abuse": ":quirky"}}
        self.furnish(0, **dict({"domains": domains, "limits": {"disk-reserve": 0}, "imap": False,
                                "pop": False}, **sections))
        for place in ("", "robot"):
            os.chmod(os.path.join(self.root, place), 0o755)
        self.start()
        return self

    def bring(self, sent, recipient=ROBOT, sender=AUTHOR):
        succeed([self._swaks, "--server", "%s:%d" % (self.host, self.ports["smtp"]), "--helo",
                 "client.example.net", "--timeout", "15"]
                + path(sender, recipient) + list(DATA), stuffed(sent))

    def queue(self):
        return json.loads(self.words("queue", "list", "--json").decode("utf-8"))

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.base)


@pytest.fixture
def outside():
    """Takes all that leaves."""
    made = Catcher()
    yield made
    made.close()


@pytest.fixture
def door(program):
    """door(action, **sections): a server that has to end well."""
    made = []

    def start(action, **sections):
        made.append(Door(program))
        return made[-1].begin(action, **sections)
    yield start
    for each in made:
        each.close()


def smarthost(outside):
    host, port = outside.address
    return {"server": host, "port": port, "require-tls": False, "require-authentication": False}


def rows(end):
    return pytest.mark.parametrize("row", [row for row in COMMANDS if row.end == end], ids=str)


def letter(subject="hello", **more):
    return message(subject, "one\r\n.\r\n..two\r\n", sender=AUTHOR, recipient=ROBOT, **more)


def written_by(folder):
    """Who owns the delivered files -> set of uids."""
    place = os.path.join(folder, "Maildir", "new")
    return {os.stat(os.path.join(place, name)).st_uid for name in os.listdir(place)}


def signed(sent):
    dkim = pytest.importorskip("dkim")
    return dkim.sign(sent, b"s", HOME.encode(), RSA, canonicalize=(b"relaxed", b"simple"),
                     include_headers=[b"from", b"subject", b"date"]) + sent


def is_signed(got):
    """Whether the author's signature still holds."""
    import dkim
    return dkim.verify(got, dnsfunc=lambda name, timeout=5: RECORD.encode()
                       if name == b"s._domainkey.%s." % HOME.encode() else None)


# -- programs
# --------------------------------------------------------------------------------------------------


@rows(DELIVERED)
def test_program_delivers_what_was_sent(door, program, outside, row):
    house = door(lambda folder: ">" + row.write(program(row.program), folder),
                 hosted=smarthost(outside))
    letters = list(odd(AUTHOR).values())
    sent = [signed(each) for each in letters]
    for each in sent:
        house.bring(each)
    eventually(lambda: len(delivered(house.robot)) >= len(sent), "all of them\n" + house.log())
    eventually(lambda: not house.queue(), "an empty queue")
    found = {email.message_from_bytes(each)["Message-ID"]: each.replace(b"\n", b"\r\n")
             for each in delivered(house.robot)}
    for each in sent:
        got = found.pop(email.message_from_bytes(each)["Message-ID"])
        assert got.startswith(b"Return-Path: <%s>\r\nDelivered-To: %s\r\n"
                              % (AUTHOR.encode(), ROBOT.encode()))
        assert_received(got, each)
        assert is_signed(got), got
    assert not found and not outside.sent
    assert written_by(house.robot) == {NOBODY if IS_ROOT else os.getuid()}
    assert not house.complaints()


@rows(LATER)
def test_program_that_fails_for_now_is_asked_again(door, program, outside, row):
    house = door(lambda folder: ">" + row.write(program(row.program), folder),
                 hosted=smarthost(outside))
    house.bring(letter())
    eventually(lambda: [each for each in house.queue() if each["recipients"][0]["attempts"]],
               "a first try")
    waits, = house.queue()
    reply = waits["recipients"][0]["reply"]
    assert (reply["code"], reply["enhanced"]) == (row.code,
                                                  row.enhanced) and row.said in reply["text"]
    assert not outside.sent and not delivered(house.robot)
    healed, = [each for each in COMMANDS if each.name == row.name and each.end == DELIVERED]
    healed.write(program(row.program), house.robot)
    house.words("queue", "retry", waits["id"])
    eventually(lambda: delivered(house.robot), "the second try\n" + house.log())
    eventually(lambda: not house.queue(), "an empty queue")
    assert len(delivered(house.robot)) == 1 and not outside.sent and not house.complaints()


@rows(LATER)
def test_program_that_fails_for_now_is_given_up_at_last(door, program, outside, row):
    limits = {"disk-reserve": 0, "retry-first": 1, "retry-longest": 1, "give-up": 1}
    house = door(lambda folder: ">" + row.write(program(row.program), folder),
                 hosted=smarthost(outside), limits=limits)
    house.bring(letter())
    caught, = outside.wait(1, 30)
    bounce = Bounce(Sent(caught))
    assert bounce.recipients == (AUTHOR,) and bounce.told() == {
        ROBOT: row.enhanced} and row.said in bounce.prose
    eventually(lambda: not house.queue(), "an empty queue")
    assert not delivered(house.robot)


@rows(NEVER)
def test_program_that_refuses_makes_a_bounce_with_its_last_lines(door, program, outside, row):
    house = door(lambda folder: ">" + row.write(program(row.program), folder),
                 hosted=smarthost(outside))
    house.bring(letter())
    caught, = outside.wait(1, 30)
    bounce = Bounce(Sent(caught))
    assert bounce.recipients == (AUTHOR,) and bounce.told() == {ROBOT: row.enhanced}
    assert row.said and row.said in bounce.prose and row.said in bounce.failed[ROBOT][1]
    eventually(lambda: not house.queue(), "an empty queue")
    assert not delivered(house.robot) and len(outside.sent) == 1


@pytest.mark.skipif(not IS_ROOT, reason="only root could run something as root")
def test_program_never_runs_as_root(door, program, outside):
    """Whoever owns the folder is asked for; where that is root, it waits until it is somebody
    else."""
    row = COMMANDS[0]
    house = door(lambda folder: ">" + row.write(program(row.program), folder), owner=0,
                 hosted=smarthost(outside))
    house.bring(letter())
    eventually(lambda: [each for each in house.queue() if each["recipients"][0]["attempts"]],
               "a first try")
    waits, = house.queue()
    assert waits["recipients"][0]["reply"]["enhanced"] == "4.3.5"
    assert " ERROR " in house.complaints() and not delivered(house.robot)
    daemon = pwd.getpwnam("daemon")
    for folder, _, names in os.walk(house.robot):
        for name in [""] + names:
            os.chown(os.path.join(folder, name), daemon.pw_uid, daemon.pw_gid)
    house.words("queue", "retry", waits["id"])
    eventually(lambda: delivered(house.robot), "the second try\n" + house.log())
    assert written_by(house.robot) == {daemon.pw_uid}


def test_program_of_a_user_runs_when_it_is_authorized(door, program, outside):
    """external-MDA: as somebody's own, in place of the mailbox."""
    row = COMMANDS[0]
    house = door("/robot/mail", hosted=smarthost(outside))
    command = row.write(program(row.program), house.robot)
    house._write("robot/mail/mail.jcfg", {"external-MDA": ">" + command})
    house.bring(letter("before"))
    assert not delivered(house.robot)
    house.words("authorize", "--yes", "robot")
    house.bring(letter("after"))
    eventually(lambda: delivered(house.robot), "the message\n" + house.log())
    assert [email.message_from_bytes(each)["Subject"]
            for each in delivered(house.robot)] == ["after"]
    assert written_by(house.robot) == {NOBODY if IS_ROOT else os.getuid()}


# -- forwards
# --------------------------------------------------------------------------------------------------

ZONE = """\
{far}. IN MX 10 {host}.
{home}. IN MX 10 {host}.
{host}. IN A 127.0.0.1
localhost. IN A 127.0.0.1
""".format(far=FAR, home=HOME, host=nexthops.HOST)


@pytest.fixture
def forward(door, nexthop):
    """forward(target, hop): a server that sends mail for ROBOT on to a local part at the next
    hop."""
    with NameServer(ZONE) as names:
        def start(target, hop, **sections):
            resolver = {"nameservers": ["%s:%d" % names.address], "timeout": 5}
            return door(">%s@%s" % (target, FAR), resolver=resolver,
                        relay={"remote-port": hop.port, "private-addresses": True},
                        limits={"disk-reserve": 0, "retry-first": 1, "retry-longest": 2},
                        **sections)
        yield start


def both_domains(**more):
    """Postfix's settings with which it takes mail for the author's domain too."""
    return dict({"virtual_mailbox_domains": "%s %s" % (FAR, HOME),
                 "virtual_mailbox_maps": "inline:{ %s }" % ", ".join(
        "{ %s = %s/ }" % each for each in (("ann@" + FAR, "ann"), (AUTHOR, "bob")))}, **more)


def test_forward_arrives_as_it_was_signed(forward, nexthop):
    hop = nexthop(nexthops.Postfix, more=both_domains())
    house = forward("ann", hop)
    sent = signed(letter())
    house.bring(sent)
    got, = hop.arrived("ann")
    assert re.search(
        rb"(?i)^return-path: <SRS0=[a-z2-7]{8}=[a-z2-7]{2}=two\.example=friend@example\.org>\r\n",
        got, re.M), got
    assert b"\r\nDelivered-To: %s\r\n" % ROBOT.encode() in got
    assert got.endswith(sent.partition(b"\r\n\r\n")[2]) and is_signed(got)


@pytest.mark.parametrize("kind", [nexthops.Postfix, nexthops.Exim])
@pytest.mark.parametrize("target", [REFUSED, "nobody"])
def test_forward_that_is_refused_goes_back(forward, nexthop, kind, target):
    hop = nexthop(kind)
    house = forward(target, hop)
    house.bring(letter(), sender="bob@" + FAR)
    got, = hop.arrived("bob")
    assert Bounce(Sent(("", ("bob@" + FAR,), got))).told() == {"%s@%s" % (target, FAR): "5.1.1"}
    eventually(lambda: not house.queue(), "an empty queue")
    assert not house.complaints()


def test_forward_that_postfix_returns_later_goes_back(forward, nexthop):
    """It takes the message first, and its own bounce comes to the rewritten address, by the DNS
    that everybody asks."""
    port = free_port()
    hop = nexthop(nexthops.Postfix, more=both_domains(
        smtpd_reject_unlisted_recipient="no",
        transport_maps="inline:{ { %s = smtp:[127.0.0.1]:%d } }" % (DOMAIN, port)))
    house = forward("nobody", hop, smtp={"host": "127.0.0.1", "port": port})
    house.bring(letter())
    got, = hop.arrived("bob")
    assert b"Undelivered Mail Returned to Sender" in got and b"nobody@" + FAR.encode() in got
    assert b"\r\nSubject: hello\r\n" in got, "the message is in it"
    eventually(lambda: not house.queue(), "an empty queue")


def test_forward_that_exim_puts_off_comes_again(forward, nexthop):
    hop = nexthop(nexthops.Exim)
    house = forward("grey", hop)
    house.bring(letter())
    hop.arrived("grey")
    assert "Greylisted" in hop.log()
    eventually(lambda: not house.queue(), "an empty queue")
