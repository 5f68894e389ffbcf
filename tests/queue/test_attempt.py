"""One attempt: whom it sends to, what state it writes, and what others do meanwhile."""
import pytest

from phenmail_protocols.mail.address import Address, AddressError
from phenmail_protocols.queue.attempt import ANSWERED, DOWN, REPORTS, TEMPORARY, Attempts, Target
from phenmail_protocols.queue.model import (
    DELAYED,
    DONE,
    FAILED,
    RELAYED,
    WAITING,
    Message,
    Recipient,
    Unreachable,
)
from phenmail_protocols.queue.retry import Policy
from phenmail_protocols.queue.spool import NoSpace, Spool

from .queuehouse import DOWN as NOBODY
from .queuehouse import LATER, NEVER, NOW, TAKEN, Reporter


class Courier:
    """Replies with `answer`; `meanwhile()` is called during the delivery."""

    def __init__(self, answer, dsn=False, meanwhile=None):
        self.answer, self.dsn, self.meanwhile, self.seen = answer, dsn, meanwhile, []

    def deliver(self, message, recipients, body):
        self.seen.append([str(each.address) for each in recipients])
        if self.meanwhile is not None:
            self.meanwhile()
        if isinstance(self.answer, Exception):
            raise self.answer
        return (self.answer,) * len(recipients)


class Bench:
    def __init__(self, folder):
        self.spool, self.reporter, self.smarthost = Spool(str(folder)), Reporter(), None
        self.attempts = Attempts(
            self.spool, Policy(), self.destination_of, self.reporter, lambda: NOW, lambda: 0.5)

    def destination_of(self, recipient):
        if recipient.address.domain.startswith("-"):
            raise AddressError("it has no ASCII form")
        return self.smarthost or recipient.address.domain

    def add(self, *recipients, **values):
        with self.spool.begin("a") as arriving:
            arriving.write(b"Subject: a\r\n\r\n")
            return arriving.commit(
                Message(
                    "a", values.pop("sender", Address("me", "home.example")),
                    tuple(
                        Recipient(Address(*each.split("@"))) if isinstance(each, str) else each
                        for each in recipients),
                    NOW, **values))

    def make(self, courier, name="x.org", is_cut=False, **values):
        return self.attempts.make("a", Target(name, lambda: courier, lambda: is_cut, **values))

    def recipients(self):
        return self.spool.read("a").recipients


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize(
    "answer, lesson",
    [
        (TAKEN, ANSWERED), (NEVER, ANSWERED), (LATER, TEMPORARY), (NOBODY, DOWN),
        (Unreachable(NEVER), TEMPORARY), (KeyError("a fault"), TEMPORARY)],
    ids=repr)
def test_what_is_learnt_of_the_destination(bench, answer, lesson):
    bench.add("bob@x.org")
    outcome = bench.make(Courier(answer))
    assert outcome.lesson == lesson
    assert outcome.is_broken == isinstance(answer, KeyError)


def test_what_is_left_to_do(bench):
    bench.add("bob@x.org", "eve@y.org")
    assert bench.make(Courier(LATER)).due == {"x.org": NOW + 300}, (
        "other destinations are in others' hands")
    assert bench.make(Courier(NEVER), "y.org").due == {REPORTS: 0.0}
    assert bench.make(None, REPORTS).due == {}
    assert bench.reporter.told == [("a", FAILED, ("eve@y.org",))]


def test_nothing_is_done_before_its_time(bench):
    bench.add(Recipient(Address("bob", "x.org"), attempts=1, last=NOW - 10, next=NOW + 200))
    courier = Courier(TAKEN)
    assert bench.make(courier).due == {"x.org": NOW + 200} and courier.seen == []
    bench.make(courier, back_since=NOW - 20)
    assert courier.seen == [], "it was tried after the destination had come back"
    bench.make(courier, back_since=NOW - 5)
    assert courier.seen == [["bob@x.org"]]


def test_all_that_wait_go_once_one_of_them_is_due(bench):
    bench.add(Recipient(Address("bob", "x.org"), next=NOW + 200), "dan@x.org",
              Recipient(Address("eve", "x.org"), status=DONE, owed=FAILED))
    courier = Courier(TAKEN)
    bench.make(courier)
    assert courier.seen == [["bob@x.org", "dan@x.org"]]


def test_who_is_refused_without_an_attempt_is_deferred(bench):
    bench.add("bob@x.org")
    outcome = bench.make(None, refusal=NOBODY.reply)
    assert (outcome.due, outcome.lesson) == ({"x.org": NOW + 300}, None)
    assert bench.recipients()[0].reply == NOBODY.reply


def test_the_peer_that_reports_itself(bench):
    bench.add(
        Recipient(Address("bob", "x.org"), ("SUCCESS",)),
        Recipient(Address("eve", "y.org"), ("SUCCESS",)))
    bench.make(Courier(TAKEN, dsn=True))
    bench.make(Courier(TAKEN, dsn=False), "y.org")
    assert [each.owed for each in bench.recipients()] == ["", RELAYED]


def test_the_null_sender_is_not_warned(bench):
    bench.add(
        Recipient(Address("bob", "x.org"), attempts=7, last=NOW - 14400, waited=14000.0),
        sender=None)
    bench.make(Courier(LATER))
    recipient, = bench.recipients()
    assert (recipient.attempts, recipient.owed) == (8, "")


def test_what_an_operator_drops_meanwhile_stays_dropped(bench):
    bench.add("bob@x.org", "eve@y.org")

    def drop():
        with bench.spool.claim("a", "another thread") as claim:
            claim.update(lambda message: message._replace(recipients=(
                message.recipients[0]._replace(status=DONE), message.recipients[1])))

    assert bench.make(Courier(LATER, meanwhile=drop)).due == {}
    assert [each.status for each in bench.recipients()] == [DONE, WAITING]


def test_a_message_that_goes_meanwhile(bench):
    bench.add("bob@x.org")

    def remove():
        with bench.spool.claim("a", "another thread") as claim:
            claim.update(
                lambda message: message._replace(
                    recipients=(message.recipients[0]._replace(status=DONE),)))

    assert bench.make(Courier(LATER, meanwhile=remove)).due == {}
    assert bench.make(Courier(LATER)).due == {}
    assert bench.spool.identities() == []


def test_a_warning_that_is_being_told_when_the_message_fails(bench):
    """The bounce that is owed since then is not lost."""
    bench.add(Recipient(Address("bob", "x.org"), owed=DELAYED, warned=True))
    bench.reporter.look = lambda message: (
        message.recipients[0].owed == DELAYED and bench.make(Courier(NEVER)))
    assert bench.make(None, REPORTS).due == {}
    assert [kind for _, kind, _ in bench.reporter.told] == [DELAYED, FAILED]


def test_held_messages_wait_for_nothing(bench):
    message = bench.add(
        "bob@x.org", Recipient(Address("eve", "x.org"), status=DONE, owed=FAILED), held=True)
    courier = Courier(TAKEN)
    assert bench.attempts.due(message, NOW) == {}
    assert bench.make(courier).due == {} and bench.make(None, REPORTS).due == {}
    assert courier.seen == [] and bench.reporter.told == []


def test_a_smarthost_that_was_set_meanwhile(bench):
    bench.add("bob@x.org", "eve@y.org")
    bench.smarthost = "smarthost"
    courier = Courier(TAKEN)
    assert bench.make(courier).due == {"smarthost": 0.0} and courier.seen == []
    bench.make(courier, "smarthost")
    assert courier.seen == [["bob@x.org", "eve@y.org"]] and bench.spool.identities() == []


def test_a_domain_without_an_ascii_form_is_a_destination_all_the_same(bench):
    message = bench.add("bob@-x")
    assert bench.attempts.due(message, NOW) == {"-x": 0.0}
    bench.make(Courier(Unreachable(NEVER)), "-x")
    assert bench.recipients()[0].owed == FAILED


@pytest.mark.parametrize(
    "answer, status", [(LATER, WAITING), (NOBODY, WAITING), (NEVER, DONE)], ids=repr)
def test_an_attempt_that_was_cut_short_never_was(bench, answer, status):
    before, = bench.add("bob@x.org").recipients
    bench.make(Courier(answer), is_cut=True)
    recipient, = bench.recipients()
    assert recipient.status == status and (status == DONE or recipient == before)


def test_there_is_no_courier_when_the_server_stops(bench):
    before, = bench.add("bob@x.org").recipients
    assert bench.make(None).due == {"x.org": 0.0} and bench.recipients() == (before,)


def test_a_body_that_is_gone_defers(bench, tmp_path, monkeypatch):
    bench.add("bob@x.org")
    monkeypatch.setattr(
        bench.spool, "body", lambda identity: open(str(tmp_path / "no such file"), "rb"))
    assert bench.make(Courier(TAKEN)).due == {"x.org": NOW + 300}
    assert bench.recipients()[0].reply.enhanced == "4.3.0"


def test_what_only_memory_knows_is_not_due_again_at_once_by_what_the_disk_says(bench, monkeypatch):
    bench.add("bob@x.org")

    def full(*_):
        raise NoSpace("no space left on device")
    with monkeypatch.context() as disk:
        disk.setattr(bench.spool._files, "write_state", full)
        bench.make(Courier(LATER))
        stale = bench.spool.read("a")
        assert stale.recipients[0].attempts == 0, "the test's disk is not full"
        assert bench.attempts.due(stale, NOW) == {"x.org": 0.0}
        assert bench.attempts.due_on_disk(stale, NOW) == {"x.org": NOW + 60}
    bench.make(Courier(LATER))
    assert bench.attempts.due_on_disk(bench.spool.read("a"), NOW) == {"x.org": NOW + 300}
