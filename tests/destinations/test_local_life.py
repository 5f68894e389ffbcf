"""Mail through the real directory, router, queue and bounces; only servers and programs are
fake."""
import threading
import time

import pytest

from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.config.loader import server_from_dict
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.delivery.sending import Sending
from phenmail_protocols.delivery.trace import Origin
from phenmail_protocols.destinations.local_delivery import LocalDelivery
from phenmail_protocols.destinations.srs import SrsResolver
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Envelope, Recipient
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.relay.service import Relay
from phenmail_protocols.store.filestore import FileStore

from .test_local_delivery import KEY, STRANGER, TAKEN, Recorder

DEADLINE = 20.0


class House:
    """`behaviour`: {domain: its server's reply}. `sent`: [(sender, recipient, bytes)]."""

    dsn = False

    def __init__(self, folder, **domain):
        settings = server_from_dict({
            "sender-domain": "example.org",
            "domains": {"example.org": dict({"abuse": "-none"}, **domain)}, "relay": False,
            "limits": {"disk-reserve": 0}}, Root(str(folder)))
        self.root = Root(str(folder))
        self.root.create()
        self.directory = Directory(settings, self.root)
        self.store, self.agents, self.behaviour = FileStore(), Recorder(), {}
        self.sent, self.tried, self._lock = [], 0, threading.Lock()
        self.relay = Relay(lambda: settings, str(folder), frozenset,
                           lambda *notice: Sending(self.router).keep_notice(*notice), None,
                           make_keys=False, local_courier=self._local_courier)
        courier_for = self.relay.worker._courier_for
        self.relay.worker._courier_for = lambda name: courier_for(name) if name.startswith(
            "local:") else self
        self.router = Router(self.directory, self.store, self.relay.queue,
                             resolve=SrsResolver(self.directory, lambda: KEY).resolve)
        self.router.notify = self.relay.reporter.delivered
        self.delivery = LocalDelivery(self.directory, self.router, self.agents, Recorder(),
                                      lambda: KEY)
        self.relay.start()

    def _local_courier(self):
        self.tried += 1
        return self.delivery.courier()

    def deliver(self, message, recipients, body):
        """As a courier to another server."""
        replies = []
        octets = message.head + body.read()
        for recipient in recipients:
            replies.append(self.behaviour.get(recipient.address.domain, TAKEN))
            with self._lock:
                if replies[-1].delivered:
                    self.sent.append((message.sender, recipient.address, octets))
        return tuple(replies)

    def close(self):
        pass

    def abort(self):
        pass

    def bring(self, recipient, sender=STRANGER, notify=()):
        incoming = self.router.begin(Envelope(sender,
                                              (Recipient(Address(recipient, "example.org"), notify),
                                               )), Origin("SMTP", "x"))
        incoming.write(b"From: stranger@else.example\r\nSubject: tea\r\n\r\nhello\r\n")
        outcome, = incoming.finish()
        assert outcome.reply.code == 250
        end = time.monotonic() + DEADLINE
        while self.relay.queue.identities():
            assert time.monotonic() < end, list(self.relay.queue.messages())
            time.sleep(0.01)

    def stop(self):
        self.relay.stop()
        self.store.close()


@pytest.fixture
def make(tmp_path):
    houses = []

    def build(**domain):
        houses.append(House(tmp_path, **domain))
        return houses[-1]

    yield build
    for house in houses:
        house.stop()


def test_a_refused_forward_bounces_to_the_author(make):
    house = make(one=">friend@far.example", postmaster="-none")
    house.behaviour["far.example"] = Reply(550, "5.1.1", "no such user", "mx.far.example")
    house.bring("one")
    (sender, recipient, notice), = house.sent
    assert (sender, recipient) == (None, STRANGER)
    assert (b"no such user" in notice and b"Original-Recipient: rfc822; one@example.org" in notice
            and b"Subject: tea" in notice)


def test_a_forward_to_another_forward_here(make):
    house = make(one=">two@example.org", two=">friend@far.example", postmaster="-none")
    house.bring("one")
    (sender, recipient, octets), = house.sent
    assert str(recipient) == "friend@far.example" and sender.local.endswith(
        "=else.example=stranger")
    assert octets.count(b"Delivered-To: ") == 2
    assert house.tried == 2


@pytest.mark.parametrize("domain", [{"one": ">two@example.org", "two": ">one@example.org"},
                                    {"one": ">one@example.org"}])
def test_a_forward_loop_ends_in_one_bounce(make, domain):
    house = make(postmaster="-none", **domain)
    house.bring("one")
    (sender, recipient, notice), = house.sent
    assert (sender, recipient) == (None, STRANGER) and b"Status: 5.4.6" in notice
    assert house.tried <= 5


def test_a_loop_with_the_postmaster_in_it_ends(make):
    """A bounce loops, and so would the postmaster's notice about it."""
    house = make(postmaster=">two@example.org", two=">postmaster@example.org")
    house.bring("two", sender=None)
    assert house.sent == [] and house.tried <= 8


@pytest.mark.parametrize("line, action",
                         [(">friend@far.example", b"relayed"), (">cat", b"delivered"),
                          (">two@example.org", b"delivered")])
def test_there_is_one_notice_of_success(make, line, action):
    house = make(one=line, two=">cat", postmaster="-none")
    house.bring("one", notify=("SUCCESS",))
    notices = [octets for sender, recipient, octets in house.sent if recipient == STRANGER]
    assert len(notices) == 1 and b"Action: " + action in notices[0]


@pytest.mark.parametrize("notify, told",
                         [(("NEVER",), 0), (("SUCCESS",), 0), (("FAILURE",), 1), ((), 1)])
def test_failures_bounce_as_notify_says(make, notify, told):
    house = make(one=">cat", two=">one@example.org", postmaster="-none")
    house.agents.answer = Reply(554, "5.3.0",
                                "The command for this address exited with status 70: it is broken")
    house.bring("two", notify=notify)
    assert len(house.sent) == told
    if told:
        assert b"it is broken" in house.sent[0][2]
