"""Queued mail for local users: programs, plugins, forwards; what their replies mean; crashes."""
import glob
import inspect
import io
import os
import subprocess
import sys
import threading
import tracemalloc

import pytest

from phenmail_protocols.accounts.directory import Destination
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.delivery.trace import Origin
from phenmail_protocols.destinations import srs
from phenmail_protocols.destinations.local_delivery import LocalDelivery
from phenmail_protocols.destinations.programs import Programs
from phenmail_protocols.destinations.srs import SrsResolver
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Envelope
from phenmail_protocols.mail.envelope import Recipient as Rcpt
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.plugins.calling import Plugins
from phenmail_protocols.queue.model import Message, Recipient
from phenmail_protocols.queue.spool import NoSpace, Spool
from phenmail_protocols.store.filestore import FileStore

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NOW = 1.8e9
KEY = b"k" * 32
STRANGER = Address("stranger", "else.example")
FAR = "friend@far.example"
BODY = b"Received: from x\r\nFrom: stranger@else.example\r\nSubject: x\r\n\r\nhello\r\n"
TAKEN, LATER, NEVER = (Reply(250, "2.0.0", "Ok"), Reply(451, "4.3.0", "not now"),
                       Reply(554, "5.3.0", "no"))


def remove(claim):
    """Take a message out of the queue."""
    claim.update(lambda message: message._replace(recipients=tuple(
        each._replace(status="done", owed="") for each in message.recipients)))


class Root:
    path, mail_system, device = "/root", "/root/device/system/mail", "device"

    @staticmethod
    def identity_named(folder):
        return folder.split("/")[2] if folder.startswith("/root/") else None


class Directory:
    """`ends`: {local part: (kind, value)}, all in example.org. anna has a mailbox."""

    class settings:
        sender_domain = "example.org"
        relay = None

    root = Root()

    def __init__(self, folder, **ends):
        self.folder = str(folder)
        self.ends = dict({"anna": ("mailbox", "")}, **ends)

    def resolve(self, address):
        if address.domain != "example.org":
            return Destination("remote", address)
        name, _, tag = address.local.partition("+")
        kind, value = self.ends.get(name, self.ends.get("*", ("unknown", "")))
        line = Address(name if name in self.ends else "*", "example.org")
        if kind == "mailbox":
            return Destination(kind, line, os.path.join(self.folder, name), tag or None)
        folder = "/root/%s/mail" % name if name == "user" else Root.mail_system
        return Destination(kind, line, folder, tag or None, value, value)


class Recorder:
    """Programs and Plugins in one: records its calls, and returns `answer` or raises it."""

    def __init__(self, answer=TAKEN):
        self.answer, self.calls, self.interrupted = answer, [], threading.Event()

    def run(self, command, message, body, recipient, user, folder, tag):
        return self._take(command, message, body, recipient, user, folder, tag)

    def hand(self, name, parameters, message, body, recipient, tag=None):
        return self._take(name, message, body, recipient, parameters, tag)

    def _take(self, first, message, body, *rest):
        self.calls.append((first, message.head + body.read()) + rest)
        answer = self.answer(self) if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def interrupt(self):
        self.interrupted.set()


class House:
    """A Router with a real store and a real queue, and a LocalDelivery."""

    def __init__(self, folder, **ends):
        self.directory = Directory(folder, **ends)
        self.store = FileStore()
        self.queue = Spool(str(folder / "queue"))
        self.clock = lambda: NOW
        self.router = Router(self.directory, self.store, self.queue, clock=self.clock)
        self.agents, self.plugins = Recorder(), Recorder()
        self.delivery = LocalDelivery(self.directory, self.router, self.agents, self.plugins,
                                      lambda: KEY, self.clock)

    def deliver(self, *recipients, sender=STRANGER, body=BODY, courier=None, **values):
        """-> a Reply for each of `recipients`: local parts, or model.Recipients."""
        recipients = tuple(each if isinstance(each, Recipient)
                           else Recipient(Address(each, "example.org"), via="local")
                           for each in recipients)
        file = io.BytesIO(body) if isinstance(body, bytes) else body
        return (courier or self.delivery.courier()).deliver(
            Message("1.2", sender, recipients, NOW, **values), recipients, file)

    def queued(self):
        """-> [(Message, its bytes)] in the queue."""
        found = []
        for message in self.queue.messages():
            with self.queue.body(message.identity) as file:
                found.append((message, file.read()))
        return found

    def inbox(self, name="anna"):
        """-> the bytes of all messages, as they are served."""
        folder = os.path.join(self.directory.folder, name)
        found = []
        for path in sorted(glob.glob(os.path.join(folder, "**", "new", "*"), recursive=True)):
            with open(path, "rb") as file:
                found.append(file.read().replace(b"\n", b"\r\n"))
        return found

    def way_back(self):
        return SrsResolver(self.directory, lambda: KEY, self.clock)


@pytest.fixture
def make(tmp_path):
    houses = []

    def build(**ends):
        houses.append(House(tmp_path, **ends))
        return houses[-1]

    yield build
    for house in houses:
        house.store.close()


# -- who gets the mail

def test_a_program_gets_all_that_it_may_ask_for(make):
    house = make(user=("agent", "cat {TO}"), prog=("agent", "true"), **{"*": ("agent", "rest")})
    assert house.deliver("user+list", "prog", "who", head=b"X: y\r\n") == (TAKEN,) * 3
    whole = b"X: y\r\n" + BODY
    assert house.agents.calls == [
        ("cat {TO}", whole, Address("user+list", "example.org"), "user", "/root/user/mail", "list"),
        ("true", whole, Address("prog", "example.org"), "prog", Root.mail_system, None),
        ("rest", whole, Address("who", "example.org"), "*", Root.mail_system, None)]


def test_a_plugin_gets_its_parameters(make):
    house = make(tickets=("plugin", "ticket queue=7 to all"), echo=("plugin", "mail"))
    assert house.deliver("tickets+a", "echo") == (TAKEN, TAKEN)
    assert house.plugins.calls == [("ticket", BODY, Address("tickets+a", "example.org"),
                                    "queue=7 to all", "a"),
                                   ("mail", BODY, Address("echo", "example.org"), "", None)]


@pytest.mark.parametrize("real, made_up",
                         [(Programs.run, Recorder.run), (Plugins.hand, Recorder.hand),
                          (Programs.interrupt, Recorder.interrupt)])
def test_the_takers_here_are_called_like_the_real_ones(real, made_up):
    assert list(inspect.signature(real).parameters) == list(inspect.signature(made_up).parameters)


@pytest.mark.parametrize("answer, expected",
                         [(TAKEN, TAKEN), (LATER, LATER), (NEVER, NEVER), (OSError("broken"), 451)])
@pytest.mark.parametrize("kind", ["agent", "plugin"])
def test_their_answers_are_the_answers_and_one_concerns_no_other(make, kind, answer, expected,
                                                                 caplog):
    house = make(one=(kind, "x"), two=("forward", FAR))
    (house.agents if kind == "agent" else house.plugins).answer = answer
    first, second = house.deliver("one", "two")
    assert first == expected or first.code == expected and first.enhanced == "4.3.0"
    assert ("cannot deliver to" in caplog.text) == (expected == 451)
    assert second.code == 250 and len(house.queued()) == 1


def full(house, monkeypatch):
    def begin(identity):
        raise NoSpace("full")
    monkeypatch.setattr(house.queue, "begin", begin)


def fault(house, monkeypatch):
    def begin(*arguments, **options):
        raise RuntimeError("a fault")
    monkeypatch.setattr(house.router, "begin", begin)


@pytest.mark.parametrize("target, trouble, expected", [
    (FAR, None, (250, "2.0.0")), ("anna@example.org", None, (250, "2.0.0")),
    (FAR, full, (452, "4.3.1")),
    ("locked@example.org", None, (451, "4.3.5")), ("nobody@example.org", None, (550, "5.1.1")),
    ("off@example.org", None, (550, "5.2.1")), ("x@nowhere", None, (553, "5.1.2")),
    (FAR, fault, (451, "4.3.0"))])
@pytest.mark.parametrize("by_rule", [False, True])
def test_outcomes_of_forwarding(make, monkeypatch, target, trouble, expected, by_rule):
    house = make(one=("mailbox" if by_rule else "forward", target), locked=("broken", ""),
                 off=("disabled", "moved"))
    if trouble:
        trouble(house, monkeypatch)
    reply, = house.deliver(Recipient(Address("one", "example.org"),
                                     via="to " + target if by_rule else "local"))
    assert (reply.code, reply.enhanced) == expected
    assert ("Forwarding" in reply.text) == (reply.code != 250 and trouble is not fault)
    assert len(house.queued()) + len(house.inbox()) == (reply.code == 250)


@pytest.mark.parametrize("kind, expected",
                         [("disabled", (550, "5.2.1")), ("unknown", (550, "5.1.1")),
                          ("broken", (451, "4.3.5"))])
def test_an_address_that_no_longer_exists_gets_the_routers_reply(make, kind, expected):
    reply, = make(gone=(kind, "")).deliver("gone")
    assert (reply.code, reply.enhanced) == expected


def test_an_address_that_became_a_mailbox(make):
    house = make()
    assert house.deliver("anna+tag", head=b"X: y\r\n")[0].code == 250
    whole, = house.inbox()
    assert whole.startswith(
        b"Return-Path: <stranger@else.example>\r\nDelivered-To: anna+tag@example.org\r\n")
    assert whole.endswith(b"\r\nX: y\r\n" + BODY) and house.queued() == []


def test_an_address_that_became_remote_gets_the_message_unchanged(make):
    house = make()
    moved = Recipient(Address("moved", "far.example"), ("FAILURE",), "rfc822;x@y", via="local")
    assert house.deliver(moved, ret="HDRS", envid="e1")[0].code == 250
    (message, octets), = house.queued()
    there, = message.recipients
    assert (message.sender, message.ret, message.envid) == (STRANGER, "HDRS", "e1")
    assert (there.address, there.notify, there.orcpt,
            there.via) == (moved.address, ("FAILURE",), "rfc822;x@y", "")
    assert b"Delivered-To" not in octets


@pytest.mark.parametrize("via", ["to ", "to x", "elsewhere"])
def test_an_unknown_via_waits(make, via, caplog):
    reply, = make().deliver(Recipient(Address("anna", "example.org"), via=via))
    assert reply.code == 451 and "1.2" in caplog.text


# -- forwarding

def test_the_forwarded_message_is_unchanged(make):
    house = make(one=("forward", FAR))
    head = b"DKIM-Signature: v=1\r\n"
    assert house.deliver("one", head=head, signed_as="example.org",
                         body=BODY + b"\xe4\xf6 \r\n.\r\n..\r\n")[0].code == 250
    (message, octets), = house.queued()
    received, found, rest = octets.partition(b"Delivered-To: one@example.org\r\n")
    assert received.startswith(b"Received: by example.org") and found
    assert rest == head + BODY + b"\xe4\xf6 \r\n.\r\n..\r\n"
    assert message.eight_bit and not message.smtputf8 and (message.head,
                                                           message.signed_as) == (b"", "")
    assert [(each.address, each.via) for each in message.recipients] == [(Address.parse(FAR), "")]


def test_a_return_path_of_others_does_not_go_on(make):
    house = make(one=("forward", FAR))
    house.deliver("one", body=b"Return-Path: <x@y.example>\r\n" + BODY)
    (_, octets), = house.queued()
    assert b"Return-Path" not in octets and octets.endswith(BODY)


def test_what_stays_here_keeps_its_sender(make):
    house = make(one=("forward", "anna@example.org"), anna=("mailbox", ""))
    assert house.deliver("one")[0].code == 250
    message, = house.inbox()
    assert message.startswith(b"Return-Path: <%s>\r\n" % str(STRANGER).encode())


@pytest.mark.parametrize("sender, kept", [
    (None, True), (Address("anna", "example.org"), True), (Address("nobody", "example.org"), True),
    (STRANGER, False),
    (Address("odd name", "else.example"), False),
    (Address("stranger", "xn--bcher-kva.example"), False)])
def test_the_envelope_sender_of_forwarded_mail(make, sender, kept):
    house = make(one=("forward", FAR))
    assert house.deliver("one", sender=sender)[0].code == 250
    (message, _), = house.queued()
    assert not message.smtputf8
    if kept:
        assert message.sender == sender
    else:
        assert message.sender.domain == "example.org" and message.sender.local.startswith("SRS0=")
        assert str(message.sender).encode("ascii")
        back = srs.reverse(message.sender.local, KEY, NOW)
        assert (back.local, back.domain) == (sender.local, sender.domain)


@pytest.mark.parametrize("text, domain", [
    ("postmaster", "example.org"), ("x@xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("x@[127.0.0.1]", "example.org")])
def test_the_domain_of_rewritten_senders(make, text, domain):
    local, _, given = text.partition("@")
    house = make()
    house.deliver(Recipient(Address(local, given), via="to " + FAR))
    assert house.queued()[0][0].sender.domain == domain


@pytest.mark.parametrize("notify, orcpt", [((), None), (("NEVER",), None),
                                           (("SUCCESS", "DELAY"), "rfc822;known@else.example")])
def test_dsn_parameters_are_forwarded(make, notify, orcpt):
    """RFC 3461 5.2.7: the next server sends the notice of success; ORCPT names the address that the
    sender knows."""
    house = make(one=("forward", FAR))
    courier = house.delivery.courier()
    house.deliver(Recipient(Address("one", "example.org"), notify, orcpt, via="local"),
                  courier=courier, ret="HDRS", envid="e1")
    (message, _), = house.queued()
    there, = message.recipients
    assert (message.ret, message.envid, there.notify) == ("HDRS", "e1", notify)
    assert there.orcpt == (orcpt or "rfc822;one@example.org")
    assert courier.dsn


def test_which_server_sends_the_notice_of_success(make):
    house = make(one=("forward", FAR), prog=("agent", "x"))
    courier = house.delivery.courier()
    for names, dsn in ((["one"], True), (["prog"], False), (["one", "prog"], False),
                       (["anna"], True)):
        house.deliver(*names, courier=courier)
        assert courier.dsn == dsn, names


def test_a_name_that_is_not_ascii(make):
    house = make(**{"j\u00f6rg": ("forward", "j\u00f6rg@far.example")})
    assert house.deliver("j\u00f6rg")[0].code == 250
    (message, octets), = house.queued()
    assert message.smtputf8 and message.recipients[0].orcpt == "utf-8;j\u00f6rg@example.org"
    assert b"Delivered-To: j\\x{F6}rg@example.org\r\n" in octets


@pytest.mark.parametrize("head, body", [(b"", b"Delivered-To: One@example.org\r\n" + BODY),
                                        (b"Delivered-To: one@example.org\r\n", BODY),
                                        (b"", b"X: %s\r\ndelivered-to: one@example.org\r\n\r\n"
                                         % (b"y" * 200000)),
                                        (b"X: y\r", b"\nDelivered-To: one@example.org\r\n\r\n")])
def test_a_loop_is_refused(make, head, body):
    house = make(one=("forward", FAR))
    assert house.deliver("one", head=head, body=body) == (Reply(554, "5.4.6", "Mail loop detected"),
                                                          )
    assert house.queued() == []


@pytest.mark.parametrize("head, body", [
    (b"", b"X: y\r\n\r\nDelivered-To: one@example.org\r\n"),
    (b"", b"Delivered-To: two@example.org\r\n\r\n"),
    (b"", b"X: a\r\n Delivered-To: one@example.org\r\n\r\n"),
    (b"X: y\r\n\r", b"\nDelivered-To: one@example.org\r\n")])
def test_what_only_looks_like_a_loop_is_forwarded(make, head, body):
    assert make(one=("forward", FAR)).deliver("one", head=head, body=body)[0].code == 250


def test_the_authors_signature_stays_valid(make):
    dkim = pytest.importorskip("dkim")
    from tests.dkim import keys
    message = (b"From: stranger@else.example\r\nTo: one@example.org\r\nSubject: x\r\n"
               b"Return-Path: <a@b.example>\r\n\r\nhello  \xff\r\n\r\n")
    for canonical in ((b"simple", b"simple"), (b"relaxed", b"relaxed")):
        signature = dkim.sign(message, b"all", b"else.example", keys.RSA, canonicalize=canonical,
                              include_headers=[b"from", b"to", b"subject"])
        house = make(one=("forward", FAR))
        house.deliver("one", body=signature + message)
        octets = house.queued()[-1][1]
        assert b"Return-Path" not in octets and octets.count(b"DKIM-Signature") == 1
        assert dkim.verify(octets, dnsfunc=lambda name,
                           timeout=5: b"v=DKIM1; k=rsa; p=" + public(keys.RSA))
        for message_of_it, _ in house.queued():
            remove(house.queue.claim(message_of_it.identity))


def public(pem):
    """The public half of an RSA key as DKIM's p= has it."""
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    import base64

    from cryptography.hazmat.backends import default_backend
    key = serialization.load_pem_private_key(pem, None, default_backend()).public_key()
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER,
                                             serialization.PublicFormat.SubjectPublicKeyInfo))


def test_a_large_message_streams(make):
    house = make(one=("forward", FAR))

    class Large(io.RawIOBase):
        """A header, and 10 MB after it."""
        at = 0

        def seek(self, at):
            self.at = at

        def read(self, size):
            assert 0 < size <= 256 * 1024
            piece = b"Subject: x\r\n\r\n" if not self.at else b"0123456789abcd\xe4\xf6"[:16] * (
                min(size, 10485760 - self.at) // 16)
            self.at = self.at + len(piece) if self.at else 16
            return piece
    tracemalloc.start()
    try:
        reply, = house.deliver("one", body=Large())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reply.code == 250 and peak < 2 << 20, peak
    message, = house.queue.messages()
    assert message.size > 10 << 20 and message.eight_bit


# -- bounces and loops

def bring(house, sender, *recipients):
    """Through the router -> the codes of the replies."""
    resolve = house.way_back().resolve
    destinations = [resolve(each) for each in recipients]
    incoming = house.router.begin(Envelope(sender, tuple(map(Rcpt, recipients))),
                                  Origin("SMTP", "x", "192.0.2.1"), destinations)
    incoming.write(b"Subject: x\r\n\r\nhello\r\n")
    return [outcome.reply.code for outcome in incoming.finish()]


def turn(house):
    """Deliver all queued local mail once -> [(address, Reply)]."""
    told = []
    for message in list(house.queue.messages()):
        if not all(each.via for each in message.recipients):
            continue
        with house.queue.claim(message.identity) as claim:
            with claim.body() as body:
                replies = house.delivery.courier().deliver(message, message.recipients, body)
            told += [(str(each.address), reply) for each, reply in zip(message.recipients, replies)]
            remove(claim)
    return told


def test_a_bounce_reaches_the_original_sender(make):
    house = make(one=("forward", FAR))
    assert bring(house, STRANGER, Address("one", "example.org")) == [250]
    assert [reply.code for _, reply in turn(house)] == [250]
    (message, _), = house.queued()
    stand_in = message.sender
    remove(house.queue.claim(message.identity))
    assert bring(house, None, stand_in) == [250]
    assert [reply.code for _, reply in turn(house)] == [250]
    (message, octets), = house.queued()
    assert (message.sender, [each.address for each in message.recipients]) == (None, [STRANGER])
    assert octets.endswith(b"Subject: x\r\n\r\nhello\r\n")
    # A vacation reply is not a bounce; its sender is rewritten too.
    remove(house.queue.claim(message.identity))
    assert bring(house, Address("friend", "far.example"), stand_in) == [250]
    turn(house)
    (message, _), = house.queued()
    assert srs.reverse(message.sender.local, KEY, NOW) == Address("friend", "far.example")
    assert [each.address for each in message.recipients] == [STRANGER]


def test_addresses_that_lead_nowhere_are_like_any_other(make, caplog):
    house = make(named=("disabled", "x"))
    right = srs.forward(STRANGER, "example.org", KEY, NOW)
    resolve = house.way_back().resolve
    assert resolve(right)[::4] == ("forward", "stranger@else.example")
    swapped = right.local.swapcase()
    assert resolve(right._replace(local=swapped)).kind == "forward", (
        "servers on the way may change case")
    for local in (right.local.replace("stranger", "victim"), right.local[:-1],
                  right.local.replace("else.example", "else2.example"),
                  "SRS0=", "SRS0=a=b", "SRS0=a=b=c=d",
                  srs.forward(STRANGER, "example.org", b"other", NOW).local,
                  srs.forward(STRANGER, "example.org", KEY, NOW - 40 * 86400).local):
        assert resolve(Address(local, "example.org")).kind == "unknown", local
    assert resolve(right._replace(domain="else.example")).kind == "remote"
    assert resolve(Address("anna", "example.org")).kind == "mailbox"


def test_an_unreadable_key_is_a_temporary_failure(make, caplog):
    def key():
        raise OSError("the disk is gone")
    house = make(one=("forward", FAR))
    right = srs.forward(STRANGER, "example.org", KEY, NOW)
    assert SrsResolver(house.directory, key, house.clock).resolve(right).kind == "broken"
    house.delivery = LocalDelivery(house.directory, house.router, house.agents, house.plugins, key,
                                   house.clock)
    assert [reply.code for reply in house.deliver("one", right.local, "anna")] == [451, 451, 250]
    assert "the disk is gone" in caplog.text


def test_queued_mail_to_a_rewritten_sender_is_forwarded(make):
    house = make()
    assert house.deliver(srs.forward(STRANGER, "example.org", KEY, NOW).local,
                         sender=None)[0].code == 250
    assert house.queued()[0][0].recipients[0].address == STRANGER


@pytest.mark.parametrize("ends", [{"a": "b", "b": "a"}, {"a": "a"}, {"a": "b", "b": "c", "c": "a"}])
def test_a_forward_loop_ends_in_one_refusal(make, ends):
    house = make(**{name: ("forward", target + "@example.org") for name, target in ends.items()})
    assert bring(house, STRANGER, Address("a", "example.org")) == [250]
    told = [told for _ in range(2 * len(ends) + 2) for told in turn(house)]
    assert [reply.code for _, reply in told] == [250] * len(ends) + [554]
    assert told[-1][0] == "a@example.org" and house.queue.identities() == []


# -- stops and crashes

def test_an_abort_ends_this_and_later_deliveries(make):
    def until_interrupted(agents):
        assert agents.interrupted.wait(20)
        return Reply(451, "4.3.2", "stopped")
    house = make(prog=("agent", "sleep 300"), one=("forward", FAR))
    house.agents.answer = until_interrupted
    courier = house.delivery.courier()
    begun = threading.Thread(target=courier.abort)
    house.agents.calls = Signal(begun.start)
    assert [reply.enhanced for reply in house.deliver("prog", "one", "anna",
                                                      courier=courier)] == ["4.3.2"] * 3
    begun.join(20)
    assert house.queued() == [] and house.inbox() == []
    courier.close()


class Signal(list):
    """Calls back at the first entry."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def append(self, value):
        super().append(value)
        if len(self) == 1:
            self.told()


def test_an_abort_in_the_middle_of_sending_on_leaves_nothing(make):
    house = make(one=("forward", FAR))
    courier = house.delivery.courier()

    class Body(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 300000:
                courier.abort()
            return super().read(size)
    assert house.deliver("one", body=Body(BODY + b"x" * 1000000),
                         courier=courier)[0].enhanced == "4.3.2"
    assert house.queue.identities() == []


DYING = """
import os, sys
sys.path.insert(0, %r)
from tests.destinations.test_local_delivery import *
import pathlib
from phenmail_protocols.queue.retry import Policy
from phenmail_protocols.queue.worker import Worker

house = House(pathlib.Path(sys.argv[1]), prog=("agent", "x"), one=("forward", FAR))
log = os.open(os.path.join(sys.argv[1], "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def dies(agents):
    os.write(log, b"%%d bytes\\n" %% len(agents.calls[-1][1]))
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), 9)
    return TAKEN

finish = house.router.begin(Envelope(None, ()), Origin()).__class__.finish

def finishes(incoming, apart=False):
    outcomes = finish(incoming, apart)
    if sys.argv[2] == "dies":
        os.kill(os.getpid(), 9)
    return outcomes

house.router.begin(Envelope(None, ()), Origin()).__class__.finish = finishes
house.agents.answer = dies
if sys.argv[3]:
    with house.queue.begin("1.1") as arriving:
        arriving.write(BODY)
        arriving.commit(Message("1.1", STRANGER, (Recipient(Address(sys.argv[3], "example.org"), via="local"),), NOW))
gone = threading.Event()

class Away:
    dsn = False
    def deliver(self, message, recipients, body):
        gone.set()
        return (Reply(451, "4.4.1", "nobody there"),) * len(recipients)
    def close(self):
        pass
    abort = close

worker = Worker(house.queue, Policy(), lambda each: each.via + str(each.address),
                lambda name: house.delivery.courier() if name.startswith("local") else Away(), None)
worker.start()
import time
end = time.monotonic() + 20
while time.monotonic() < end and "1.1" in house.queue.identities():
    time.sleep(0.01)
assert worker.stop() and "1.1" not in house.queue.identities()
house.store.close()
""" % TOP


@pytest.mark.parametrize("name, log, left", [("prog", 2, 0), ("one", 0, 2)])
def test_after_a_crash_before_the_state_is_written_it_delivers_again(tmp_path, name, log, left):
    """At least once: the program and the other address get it twice."""
    def run(how, name):
        return subprocess.call([sys.executable, "-c", DYING, str(tmp_path), how, name], timeout=60)
    assert run("dies", name) == -9
    assert run("lives", "") == 0
    if log:
        assert (tmp_path / "log").read_bytes() == b"%d bytes\n" % len(BODY) * log
    assert len(Spool(str(tmp_path / "queue")).identities()) == left


