"""The relay as a whole: which courier gets which recipient, and that local ones do not delay
others."""
import threading

import pytest

from phenmail_protocols.config.loader import server_from_dict
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue.model import Message, Recipient, Unreachable
from phenmail_protocols.relay.service import SMARTHOST, Relay

from ..queue.queuehouse import DEADLINE

HERE = Recipient(Address("anna+x", "example.org"), via="local")
BY_RULE = Recipient(Address("anna", "example.org"), via="to friend@b\u00fccher.example")
ELSEWHERE = Recipient(Address("bob", "b\u00fccher.example"))
TAKEN = Reply(250, "2.0.0", "Ok")


class LocalCourier:
    """A courier for local recipients; `behaviour` gives the replies."""
    dsn = False

    def __init__(self, behaviour):
        self.behaviour, self.aborted = behaviour, threading.Event()

    def deliver(self, message, recipients, body):
        return (self.behaviour(self, message, recipients),) * len(recipients)

    def close(self):
        pass

    def abort(self):
        self.aborted.set()


@pytest.fixture
def make(tmp_path):
    relays = []

    def build(behaviour=None, **values):
        settings = server_from_dict(dict({"sender-domain": "example.org",
                                          "limits": {"disk-reserve": 0}}, **values),
                                    Root(str(tmp_path)))
        relays.append(Relay(lambda: settings, str(tmp_path), frozenset, None, None, make_keys=False,
                            local_courier=behaviour and (lambda: LocalCourier(behaviour))))
        return relays[-1]

    yield build
    for relay in relays:
        relay.stop()


def add(relay, identity, *recipients):
    with relay.queue.begin(identity) as arriving:
        arriving.write(b"Subject: x\r\n\r\nx\r\n")
        arriving.commit(Message(identity, Address("stranger", "else.example"), recipients, 1.0))


@pytest.mark.parametrize("values, elsewhere", [({}, "xn--bcher-kva.example"), ({"hosted": {
    "server": "smart.example", "require-authentication": False}}, SMARTHOST)])
def test_where_recipients_go(make, values, elsewhere):
    relay = make(lambda *given: TAKEN, **values)
    assert relay._destination_of(HERE) == "local:anna+x@example.org"
    assert relay._destination_of(BY_RULE) == "local:anna@example.org"
    assert relay._destination_of(ELSEWHERE) == elsewhere
    assert type(relay._courier_for("local:anna@example.org")) is LocalCourier
    assert relay._connect is None, "the SMTP client was loaded for local mail"
    assert type(relay._courier_for(elsewhere)) is not LocalCourier


def test_each_address_here_is_a_destination_of_its_own(make):
    """A failure at one delays only its own mail."""
    done = threading.Event()

    def behaviour(courier, message, recipients):
        if recipients[0].address.local == "bad":
            return Reply(451, "4.3.0", "not now")
        done.set()
        return TAKEN
    relay = make(behaviour)
    add(relay, "1.1", Recipient(Address("bad", "example.org"), via="local"))
    relay.start()
    add(relay, "1.2", Recipient(Address("bad", "example.org"), via="local"),
        Recipient(Address("good", "example.org"), via="local"))
    assert done.wait(DEADLINE)
    until(lambda: len(relay.worker.status().destinations) == 1 and relay.worker.status().is_quiet)
    assert relay.worker.status().destinations == {"local:bad@example.org": 2}
    assert relay.worker._schedule.destinations()[0].down_since is None


def test_without_a_local_courier_mail_waits(make):
    relay = make()
    with pytest.raises(Unreachable) as raised:
        relay._courier_for("local:anna@example.org")
    assert not raised.value.reply.permanent


def test_programs_that_hang_hold_up_neither_others_nor_what_leaves(make):
    entered, left, elsewhere = threading.Semaphore(0), threading.Event(), threading.Event()

    def behaviour(courier, message, recipients):
        if recipients[0].address.local.startswith("good"):
            left.set()
            return TAKEN
        entered.release()
        courier.aborted.wait(DEADLINE)
        return Reply(451, "4.3.2", "stopped")

    relay = make(behaviour, limits={"disk-reserve": 0, "relay-connections": 8})
    courier_for = relay.worker._courier_for
    relay.worker._courier_for = lambda name: courier_for(name) if name.startswith(
        "local:") else LocalCourier(
        lambda *given: elsewhere.set() or TAKEN)
    relay.start()
    add(relay, "0.0", Recipient(Address("good", "example.org"), via="local"))
    assert left.wait(DEADLINE)
    left.clear()
    for number in range(20):
        add(relay, "1.%d" % number, Recipient(Address("bad%d" % number, "example.org"),
                                              via="local"))
    for _ in range(3):  # three quarters of half of the eight connections
        assert entered.acquire(timeout=DEADLINE)
    add(relay, "2.1", ELSEWHERE)
    add(relay, "2.2", Recipient(Address("good", "example.org"), via="local"))
    assert elsewhere.wait(DEADLINE) and left.wait(DEADLINE)
    assert not entered.acquire(timeout=0), "no more of them than that"
    assert relay.worker.stop(1.0)
    assert len(relay.queue.identities()) == 20
    assert all(each.attempts == 0 for message in relay.queue.messages()
               for each in message.recipients), "an attempt that a stop cut short counted"


def until(condition):
    import time
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
