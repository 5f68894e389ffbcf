"""What leaves: one message of the queue for all who are elsewhere, signed, whole, and only when all
else is safe."""
import os

import pytest

from phenmail_protocols.delivery.router import Router
from phenmail_protocols.delivery.trace import Origin
from phenmail_protocols.dkim.body_hash import BodyHash
from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Envelope, Recipient
from phenmail_protocols.queue import spool as spool_module
from phenmail_protocols.queue.spool import Spool
from phenmail_protocols.store import errors
from phenmail_protocols.store.filestore import FileStore

from .test_router import ANNA, MESSAGE, SENDER, Directory, Failing, codes, deliver, inbox

MINE = b"From: anna@example.org\r\nTo: x@example.com\r\nSubject: x\r\n\r\nhello\r\n.\r\n"
ME = Address("anna", "example.org")
FAR, FARTHER = Address("x", "example.com"), Address("y", "example.net")


class Signer:
    """Says what it was given."""

    def ensure_key(self):
        pass

    def sign(self, header, digest, sender):
        self.header, self.digest = header, digest
        return b"DKIM-Signature: %s\r\n" % digest.hex().encode()

    def domain_for(self, header, sender):
        return "example.org"


@pytest.fixture
def queue(tmp_path):
    return Spool(str(tmp_path / "queue"))


@pytest.fixture
def router(tmp_path, queue):
    store = FileStore()
    yield Router(Directory(str(tmp_path)), store, queue, Signer())
    store.close()


def to(*addresses, **options):
    return Envelope(ME,
                    tuple(each if isinstance(each, Recipient) else Recipient(each)
                          for each in addresses), **options)


def queued(queue):
    """(Message, its octets) of all in the queue."""
    found = []
    for message in queue.messages():
        with queue.body(message.identity) as file:
            found.append((message, file.read()))
    return found


def submit(router, envelope, *chunks, origin=Origin("ESMTPSA", "client", "192.0.2.1"), **options):
    return deliver(router, envelope, *chunks, origin=origin, submitter=ANNA, **options)


def test_all_who_are_elsewhere_share_one_message_of_the_queue(router, queue):
    recipients = Recipient(FAR, ("SUCCESS", "DELAY"), "rfc822;x@example.com"), Recipient(FARTHER)
    outcomes = submit(router, to(*recipients, ret="HDRS", envid="e1", body="8BITMIME"), MINE)
    assert codes(outcomes) == [250, 250] and "queued as" in outcomes[0].reply.text
    (message, body), = queued(queue)
    assert outcomes[0].reply.text.endswith(message.identity)
    assert (message.sender, message.ret, message.envid) == (ME, "HDRS", "e1")
    assert [(each.address, each.notify, each.orcpt)
            for each in message.recipients] == list(recipients)
    assert body.startswith(b"Received: from client") and body.endswith(b"hello\r\n.\r\n")
    assert b"\r\nDate: " in body and b"Return-Path" not in body and b"Delivered-To" not in body
    assert message.identity.encode() in body.partition(b"\r\nFrom:")[0]
    assert message.size == len(message.head) + len(body)


def test_who_is_named_twice_gets_it_once(router, queue):
    outcomes = submit(router, to(Recipient(FAR, ("DELAY",)), FARTHER, FAR), MINE)
    assert codes(outcomes) == [250, 250, 250]
    (message, _), = queued(queue)
    assert [(each.address, each.notify) for each in message.recipients] == [
        (FAR, ("DELAY",)), (FARTHER, ())]


def test_the_signature_is_of_what_leaves(router, queue):
    submit(router, to(FAR), *[MINE[cut:cut + 1] for cut in range(len(MINE))])
    (message, body), = queued(queue)
    header, _, text = body.partition(b"\r\n\r\n")
    expected = BodyHash()
    expected.update(text)
    assert router.signer.header == header + b"\r\n\r\n"
    assert router.signer.digest == expected.digest()
    assert message.head == b"DKIM-Signature: %s\r\n" % expected.digest().hex().encode()
    assert message.signed_as == "example.org"


def test_here_and_elsewhere(router, queue):
    assert codes(submit(router, to(FAR, Address("bert", "example.org")), MINE)) == [250, 250]
    (message, body), = queued(queue)
    assert [each.address for each in message.recipients] == [FAR]
    local, = inbox(router, "bert")
    assert local.endswith(body) and b"DKIM" not in local


@pytest.mark.parametrize("victim, step", [("bert", "stage"), ("anna", "sync"), ("bert", "deliver")])
def test_what_fails_here_does_not_leave(tmp_path, queue, router, victim, step):
    router.store = Failing(router.store, {victim: (step, errors.NoSpace())})
    outcomes = submit(router,
                      to(FAR, Address("anna", "example.org"), Address("bert", "example.org")), MINE)
    assert {each.reply.code for each in outcomes if each.recipient.domain != "example.org"
            or step != "deliver"} <= {452, 451}
    assert queued(queue) == [] and not [name for name in os.listdir(str(tmp_path / "queue"))
                                        if name != "changes"]


@pytest.mark.parametrize("error, code",
                         [(spool_module.NoSpace("full"), 452),
                          (spool_module.Unavailable("dead"), 451)])
@pytest.mark.parametrize("step", ["begin", "write", "sync", "commit"])
def test_a_queue_that_fails_is_told_and_leaves_nothing(router, queue, monkeypatch, step, error,
                                                       code):
    def fail(*arguments):
        raise error
    if step == "begin":
        monkeypatch.setattr(queue, "begin", fail)
    else:
        monkeypatch.setattr(spool_module.Arriving, step, fail)
    outcomes = submit(router, to(FAR, Address("bert", "example.org")), MINE)
    assert outcomes[0].reply.code == code
    assert step == "commit" or inbox(router, "bert") == []
    assert queued(queue) == []


def test_eight_bits_and_utf8_are_noticed(router, queue):
    submit(router, to(FAR, smtputf8=True), MINE)
    submit(router, to(FAR), MINE + "ü".encode("utf-8") + b"\r\n")
    submit(router, to(FAR, smtputf8=True),
           MINE.replace(b"Subject: x", "Subject: ü".encode("utf-8")))
    submit(router, to(Address("ü", "example.com"), smtputf8=True), MINE)
    assert [(message.eight_bit, message.smtputf8) for message, _ in queued(queue)] == [
        (False, False), (True, False), (True, True), (False, True)]


@pytest.mark.parametrize("address", ["x@b\u00fccher.example", "x@fa\u00df.example"])
def test_an_international_domain_needs_no_smtputf8(router, queue, address):
    submit(router, to(Address.parse(address), smtputf8=True), MINE)
    (message, body), = queued(queue)
    assert not message.smtputf8 and (message.head + body).decode("ascii")


def test_nul_does_not_leave(router, queue):
    assert codes(submit(router, to(FAR), MINE + b"\0")) == [550]
    assert queued(queue) == []


def test_strangers_do_not_relay(router, queue):
    assert codes(deliver(router, Envelope(SENDER, (Recipient(FAR),)), MESSAGE)) == [550]
    assert queued(queue) == []


def test_a_closed_relay_is_open_to_the_program_that_holds_it(router, queue, monkeypatch):
    monkeypatch.setattr(router.directory.settings.relay, "disabled", True)
    assert codes(submit(router, to(FAR), MINE)) == [550]
    assert codes(deliver(router, to(FAR), MINE, origin=None)) == [250]
    assert len(queued(queue)) == 1


def test_success_is_told_where_it_was_asked_for(router):
    told = []
    router.notify = lambda *arguments: told.append(arguments)
    asking, silent = Recipient(Address("anna", "example.org"),
                               ("SUCCESS",)), Recipient(Address("bert", "example.org"))
    submit(router, to(asking, silent, Recipient(FAR, ("SUCCESS",))), MINE)
    (identity, envelope, readers, header, arrived), = told
    assert asking in readers and all(each.address.domain == "example.org" for each in readers)
    assert header.startswith(b"Received: ") and header.endswith(b"\r\n\r\n")
    submit(router, to(silent, Recipient(FAR, ("SUCCESS",))), MINE)
    submit(router, to(Recipient(asking.address, ("FAILURE",))), MINE)
    assert len(told) == 2, "one who asked is elsewhere: nobody here is told of"
    assert [each for each in told[1][2] if "SUCCESS" in each.notify] == []


def test_a_notice_that_fails_does_not_take_the_message_back(router):
    def fail(*arguments):
        raise OSError("no")
    router.notify = fail
    assert codes(
        submit(router, to(Recipient(Address("anna", "example.org"), ("SUCCESS",))), MINE)) == [250]
    assert len(inbox(router, "anna")) == 1
