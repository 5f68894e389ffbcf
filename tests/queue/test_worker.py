"""The queue's threads with the real spool: what is sent when, what a bad destination costs the
others, and how a stop ends it all."""
import logging
import threading
import time

import pytest

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.net import workers
from phenmail_protocols.queue.model import (
    DELAYED,
    DONE,
    FAILED,
    RELAYED,
    WAITING,
    Recipient,
    Unreachable,
)
from phenmail_protocols.queue.retry import Policy
from phenmail_protocols.queue.spool import NoSpace, Spool

from .queuehouse import DEADLINE, DOWN, LATER, NEVER, NOW, TAKEN, Gate, House


@pytest.fixture
def make(tmp_path):
    """`make(**options)` -> a House, which is stopped at the end. All use the same folder."""
    houses = []

    def build(**options):
        houses.append(House(tmp_path / "queue", **options))
        return houses[-1]

    yield build
    for house in houses:
        assert house.worker.stop(), "threads are left"


@pytest.fixture
def house(make):
    house = make()
    house.worker.start()
    house.settle()
    return house


# What leaves when.

def test_new_mail_wakes_the_queue(house):
    """Only the news can: otherwise the queue's thread waits for 20 s."""
    house.add("a", "bob@example.org")
    house.world.until(lambda: house.world.attempts, "the message was not sent")
    house.settle()
    assert house.world.attempts == [
        ("example.org", "a", ("bob@example.org",), b"Subject: a\r\n\r\nhello\r\n")]
    assert house.spool.identities() == []
    assert house.worker.status()[:4] == (0, 0, None, True)


def test_new_mail_leaves_within_milliseconds(house):
    times = []
    for number in range(20):
        begun = time.monotonic()
        house.add("m%d" % number, "bob@example.org")
        house.world.until(lambda: len(house.world.attempts) > number, "the message was not sent")
        times.append(time.monotonic() - begun)
    assert sorted(times)[10] < 0.25, "half of the messages took longer, with their commit"


def test_what_waits_at_the_start_leaves(make):
    house = make()
    for number in range(7):
        house.add("m%d" % number, "bob@example.org")
    house.worker.start()
    house.settle()
    assert sorted(house.world.identities()) == ["m%d" % number for number in range(7)]
    assert house.spool.identities() == []


def test_recipients_at_one_destination_go_together(house):
    house.add("a", "bob@example.org", "eve@example.net", "dan@example.org")
    house.settle()
    assert sorted(attempt[2] for attempt in house.world.attempts) == [
        ("bob@example.org", "dan@example.org"), ("eve@example.net",)]
    assert house.spool.identities() == []


def test_each_recipient_gets_its_own_answer(house):
    house.world.behaviour["example.org"] = (TAKEN, LATER, NEVER)
    house.add("a", "bob@example.org", "dan@example.org", "eve@example.org")
    house.settle()
    bob, dan, eve = house.state("a").recipients
    assert (bob.status, bob.owed, bob.reply) == (DONE, "", TAKEN)
    assert (dan.status, dan.attempts, dan.reply, dan.next) == (WAITING, 1, LATER, NOW + 300)
    assert (eve.status, eve.owed, eve.reply) == (DONE, "", NEVER)
    assert house.reporter.told == [("a", FAILED, ("eve@example.org",))]
    house.world.behaviour.clear()
    house.advance(299)
    assert len(house.world.attempts) == 1
    house.advance()
    assert house.world.attempts[1][2] == ("dan@example.org",)
    assert house.spool.identities() == []


def test_recipients_that_failed_together_are_tried_together(make):
    house = make()
    house.worker._attempts._jitter = iter([number / 7 for number in range(7)]).__next__
    house.world.behaviour["example.org"] = LATER
    house.worker.start()
    house.add("a", "bob@example.org", "dan@example.org")
    for _ in range(4):
        house.settle()
        house.advance()
    assert {attempt[2] for attempt in house.world.attempts} == {
        ("bob@example.org", "dan@example.org")}
    assert len(house.world.attempts) == 5


def test_one_courier_for_the_messages_that_wait(make):
    house = make(per_destination=1)
    for number in range(20):
        house.add("m%02d" % number, "bob@example.org")
    gate = house.world.behaviour["example.org"] = Gate()
    house.worker.start()
    house.world.until(lambda: house.world.attempts, "nothing was sent")
    gate.is_open.set()
    house.settle()
    assert [len(house.world.attempts), len(house.world.couriers)] == [20, 1]
    assert house.world.couriers[0].is_closed
    assert house.world.identities() == ["m%02d" % number for number in range(20)]


def test_limits_of_connections(make):
    house = make(connections=7, per_destination=2)
    gates = {}
    for number in range(5):
        name = "live%d.example" % number
        house.worker._schedule.trust(name)
        gates[name] = house.world.behaviour[name] = Gate()
        for again in range(4):
            house.add("m%d%d" % (number, again), "bob@" + name)
    house.worker.start()
    house.world.until(lambda: len(house.world.active) == 7, "not all connections are used")
    used = [courier.destination for courier in house.world.active]
    assert max(used.count(name) for name in gates) == 2
    for gate in gates.values():
        gate.is_open.set()
    house.settle()
    assert house.world.most == 7
    assert len(house.world.attempts) == 20 and house.spool.identities() == []


def test_a_long_row_lets_others_have_their_turn(make):
    house = make(connections=1)
    for number in range(30):
        house.add("m%02d" % number, "bob@long.example")
    house.add("z", "bob@short.example")

    is_read, read = threading.Event(), house.spool.read

    def tell(identity):
        if identity == "z":
            is_read.set()
        return read(identity)

    def slowly(courier, message):
        assert is_read.wait(DEADLINE), "the queue is not read while something is sent"
        house.clock.advance(1)
        return TAKEN

    house.spool.read = tell
    house.world.behaviour["long.example"] = slowly
    house.worker.start()
    house.settle()
    assert 0 < house.world.identities().index("z") < 12, "5 s for each while others wait"
    assert len(house.world.couriers) == 3


def test_what_hangs_costs_the_living_nothing(make):
    house = make(connections=20)
    hanging = Gate(LATER)
    for number in range(25):
        house.world.behaviour["dead%d.example" % number] = hanging
        house.add("m%02d" % number, "bob@dead%d.example" % number)
    house.worker._schedule.trust("live.example")
    house.worker.start()
    house.world.until(
        lambda: len(house.world.active) == 15, "three quarters are for who is not known")
    for number in range(50):
        house.add("l%d" % number, "bob@live.example")
        house.world.until(
            lambda: len(house.world.identities("live.example")) > number, "it waits for the dead")
    assert len(house.world.active) >= 15
    hanging.is_open.set()
    house.settle()
    assert len(house.world.attempts) == 75


def test_held_messages_wait_for_their_release(house):
    house.add("a", "bob@example.org", held=True)
    house.settle()
    assert house.world.attempts == [] and house.worker.status().messages == 0
    with house.spool.claim("a") as claim:
        claim.update(lambda message: message._replace(held=False))
    house.spool.changed("a")
    house.settle()
    assert house.world.identities() == ["a"]


def test_other_processes_are_heard_within_a_second(house, tmp_path):
    house.world.behaviour["example.org"] = LATER
    house.add("a", "bob@example.org")
    house.settle()
    other = Spool(str(tmp_path / "queue"))
    with other.claim("a") as claim:
        claim.update(
            lambda message: message._replace(recipients=(message.recipients[0]._replace(next=0.0),))
        )
    other.changed("a")
    house.settle()
    assert len(house.world.attempts) == 1, "it was not yet time to look"
    house.advance(1)
    assert len(house.world.attempts) == 2


def test_a_message_that_another_process_has_in_hand_is_looked_at_again(make, tmp_path):
    house = make()
    house.add("a", "bob@example.org")
    with Spool(str(tmp_path / "queue")).claim("a"):
        house.worker.start()
        house.settle()
        assert house.world.attempts == []
    house.advance()
    assert house.clock() <= NOW + 10 and house.world.identities() == ["a"]


def test_two_servers_on_one_queue_send_nothing_twice(make, tmp_path):
    first, second = make(), make()
    for number in range(40):
        first.add(
            "m%02d" % number, "bob%d@example%d.org" % (number, number % 3),
            "eve@example%d.org" % (number % 2))
    first.worker.start()
    second.worker.start()
    for _ in range(10):
        for house in (first, second):
            house.settle()
            house.advance(5)
    assert first.spool.identities() == []
    sent = [
        (attempt[0], attempt[1]) for house in (first, second) for attempt in house.world.attempts]
    assert len(sent) == len(set(sent)), "a message was sent twice"


# Destinations that are down.

def test_one_looks_and_all_that_is_due_is_put_off(make):
    house = make()
    for number in range(10):
        house.add("m%d" % number, "bob@dead.example")
    house.world.behaviour["dead.example"] = DOWN
    house.worker.start()
    house.settle()
    assert len(house.world.attempts) <= 2, "two connections at the most found out"
    for number in range(10):
        recipient, = house.state("m%d" % number).recipients
        assert (recipient.attempts, recipient.reply, recipient.next) == (1, DOWN.reply, NOW + 300)
    before = len(house.world.attempts)
    house.add("new", "bob@dead.example")
    house.settle()
    assert len(house.world.attempts) == before, "new mail does not knock at once either"
    house.clock.advance(100)
    house.add("newer", "bob@dead.example")
    house.settle()
    assert house.world.identities()[before:] == ["newer"], "but after a while"


def test_one_success_makes_all_that_waits_due(house, caplog):
    caplog.set_level(logging.WARNING, "phenmail.relay")
    house.world.behaviour["dead.example"] = DOWN
    for number in range(10):
        house.add("m%d" % number, "bob@dead.example")
    house.settle()
    status = house.worker.status()
    assert status.destinations == {"dead.example": 10}
    dead, = house.worker._schedule.destinations()
    assert (dead.down_since, dead.reply) == (NOW, DOWN.reply)
    assert (status.messages, status.active, status.next) == (10, 0, NOW + 300)
    house.world.behaviour.clear()
    house.clock.advance(70)
    house.add("new", "bob@dead.example")
    house.settle()
    assert house.spool.identities() == [], "they wait although the destination is back"
    down, back = [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert down.startswith("dead.example is down; messages waiting: ") and down.endswith(
        "; 451 nobody there")
    assert back == "dead.example is back after 70 s; messages to send now: 10"


def test_a_greylisting_destination_is_not_down(house):
    house.world.behaviour["example.org"] = LATER
    house.add("a", "bob@example.org")
    house.settle()
    house.add("b", "bob@example.org")
    house.settle()
    assert house.world.identities() == ["a", "b"]
    house.world.behaviour.clear()
    house.add("c", "bob@example.org")
    house.settle()
    assert house.spool.identities() == ["a", "b"], "each waits for its own time"


def test_a_destination_that_never_will_be_had(house):
    house.world.behaviour["null.example"] = Unreachable(Reply(556, "5.1.10", "null MX"))
    house.add("a", "bob@null.example", "dan@null.example")
    house.add("b", "bob@null.example")
    house.settle()
    assert sorted(house.reporter.told) == [
        ("a", FAILED, ("bob@null.example", "dan@null.example")),
        ("b", FAILED, ("bob@null.example",))]
    assert house.spool.identities() == []


def test_a_live_destination_beside_hundreds_that_wait(make):
    house = make()
    house.world.behaviour["dead.example"] = DOWN
    for number in range(300):
        house.add("m%03d" % number, "bob@dead.example")
    house.worker.start()
    begun = time.monotonic()
    house.add("live", "bob@live.example")
    house.world.until(
        lambda: house.world.identities("live.example"), "the living wait for the dead")
    assert time.monotonic() - begun < 1
    house.settle()
    assert {
        house.state(identity).recipients[0].attempts for identity in house.spool.identities()
    } == {1}


# Days.

@pytest.mark.parametrize("behaviour", [DOWN, LATER], ids=["down", "greylists"])
def test_five_days(house, behaviour):
    house.world.behaviour["dead.example"] = behaviour
    house.add("a", "bob@dead.example")
    house.settle()
    moments = []
    while house.spool.identities():
        assert len(moments) < 100, "it never ends"
        house.advance()
        moments.append((house.clock() - NOW, list(house.reporter.told)))
    warned = next(moment for moment, told in moments if told)
    assert 14400 <= warned < 14500
    assert house.reporter.told == [
        ("a", DELAYED, ("bob@dead.example",)), ("a", FAILED, ("bob@dead.example",))]
    assert 432000 <= moments[-1][0] < 433000
    assert 30 < len(house.world.attempts) < 50


def test_a_clock_that_went_back_keeps_nobody_waiting(house):
    house.world.behaviour["example.org"] = LATER
    house.add("a", "bob@example.org")
    house.settle()
    house.clock.now -= 3e8  # years; the monotonic clock stands
    house.settle()
    assert len(house.world.attempts) == 2
    assert house.state("a").recipients[0].next < house.clock() + 1000


def test_a_clock_that_jumps_ahead_expires_nothing(house):
    house.world.behaviour["example.org"] = LATER
    house.add("a", "bob@example.org")
    house.settle()
    house.clock.now += 3e8
    house.settle()
    recipient, = house.state("a").recipients
    assert (recipient.status, recipient.attempts) == (WAITING, 2)


def test_the_whole_queue_is_read_again_each_hour(house, tmp_path):
    """Another process queued a message and announced nothing."""
    other = House(tmp_path / "queue", clock=house.clock)
    other.add("a", "bob@example.org")
    house.settle()
    assert house.world.attempts == []
    house.advance(3601)
    assert house.world.identities() == ["a"]


# What goes wrong.

def test_an_exception_in_a_courier_defers(house, caplog):
    house.world.behaviour["example.org"] = ZeroDivisionError("a fault in the courier")
    house.add("a", "bob@example.org")
    house.settle()
    recipient, = house.state("a").recipients
    assert (recipient.status, recipient.attempts, recipient.reply[:2]) == (
        WAITING, 1, (451, "4.3.0"))
    assert any(
        record.exc_info and "ZeroDivisionError" in str(record.exc_info[0])
        for record in caplog.records)
    assert house.world.couriers[0].is_closed
    house.world.behaviour.clear()
    house.advance()
    assert house.spool.identities() == [] and len(house.world.couriers) == 2


@pytest.mark.parametrize("answer", [(), (TAKEN,), (TAKEN,) * 3, None], ids=repr)
def test_a_courier_without_an_answer_for_each_defers(house, answer):
    house.world.behaviour["example.org"] = answer
    house.add("a", "bob@example.org", "dan@example.org")
    house.settle()
    assert [each.reply[:2] for each in house.state("a").recipients] == [(451, "4.3.0")] * 2


def test_no_courier_at_all(make, caplog):
    house = make()
    house.worker._courier_for = lambda destination: {}[destination]
    house.worker.start()
    house.add("a", "bob@example.org")
    house.settle()
    assert house.state("a").recipients[0].attempts == 1 and "KeyError" in caplog.text


def test_a_close_that_fails_stops_nobody(house, monkeypatch):
    monkeypatch.setattr("tests.queue.queuehouse.Courier.close", lambda self: 1 / 0)
    for number in range(3):
        house.add("m%d" % number, "bob@example.org")
        house.settle()
    assert house.spool.identities() == []


@pytest.mark.parametrize(
    "trouble", [Unreachable(Reply(452, "4.3.1", "the disk is full")), ZeroDivisionError("a fault")],
    ids=repr)
def test_a_report_that_fails_is_tried_again(house, trouble):
    house.world.behaviour["example.org"] = NEVER
    house.reporter.trouble.append(trouble)
    house.add("a", "bob@example.org")
    house.settle()
    recipient, = house.state("a").recipients
    assert (recipient.status, recipient.owed, house.reporter.told) == (DONE, FAILED, [])
    house.advance()
    assert house.reporter.told == [("a", FAILED, ("bob@example.org",))]
    assert len(house.world.attempts) == 1 and house.spool.identities() == []


def test_what_is_owed_is_written_before_it_is_told_and_until_it_is(make, tmp_path):
    """A crash between the report and the state repeats the report; one before loses nothing."""
    house = make()
    seen = []
    house.reporter.look = lambda message: seen.append(
        Spool(str(tmp_path / "queue")).read(message.identity).recipients[0].owed)
    house.reporter.trouble.append(SystemError("as if the program ended here"))
    house.world.behaviour["example.org"] = NEVER
    house.worker.start()
    house.add("a", "bob@example.org")
    house.settle()
    house.worker.stop()
    after = make()
    after.worker.start()
    after.settle()
    assert seen == [FAILED]
    assert (
        after.reporter.told == [("a", FAILED, ("bob@example.org",))] and after.world.attempts == [])


def test_two_kinds_of_news_are_two_reports(house):
    house.world.behaviour["example.org"] = (TAKEN, NEVER, NEVER)
    house.add(
        "a", Recipient(Address("bob", "example.org"), ("SUCCESS",)), "dan@example.org",
        "eve@example.org")
    house.settle()
    assert house.reporter.told == [
        ("a", RELAYED, ("bob@example.org",)), ("a", FAILED, ("dan@example.org", "eve@example.org"))]


def test_a_broken_state_is_set_aside_and_the_rest_goes_on(make, tmp_path):
    house = make()
    house.add("a", "bob@example.org")
    house.add("b", "bob@example.org")
    (tmp_path / "queue" / "a.state").write_bytes(b"{")
    house.worker.start()
    house.settle()
    assert house.world.identities() == ["b"]
    assert (house.spool.identities(), house.spool.broken()) == ([], ["a"])


def full(*_):
    raise NoSpace("no space left on device")


def test_a_full_disk_loses_and_repeats_nothing(make, monkeypatch):
    house = make()
    house.add("a", "bob@example.org", "dan@example.net")
    house.add("b", "bob@dead.example")
    house.world.behaviour.update({"dead.example": DOWN, "example.net": LATER})
    with monkeypatch.context() as disk:
        disk.setattr(house.spool._files, "write_state", full)
        disk.setattr(house.spool._files, "remove", full)
        house.worker.start()
        house.settle()
        for _ in range(3):
            house.advance(61)
        assert house.world.identities("example.org") == ["a"], "who has it gets it again and again"
        assert house.spool.read("a").recipients[0].status == WAITING, "the test's disk is not full"
    house.world.behaviour.clear()
    house.advance(61)
    assert house.spool.read("a").recipients[0].status == DONE, (
        "there is room, and it is not written")
    house.advance(300)
    assert house.spool.identities() == []
    assert house.world.identities("example.org") == ["a"]


def test_a_spool_that_cannot_be_read_is_read_later(make, monkeypatch, caplog):
    house = make()
    house.add("a", "bob@example.org")
    with monkeypatch.context() as disk:
        disk.setattr(house.spool, "identities", full)
        disk.setattr(house.spool, "sweep", full)
        house.worker.start()
        house.settle()
    assert house.world.attempts == [] and "no space left" in caplog.text
    house.advance(61)
    assert house.world.identities() == ["a"]


def test_a_state_that_cannot_be_read_is_read_later(make, monkeypatch):
    house = make()
    house.add("a", "bob@example.org")
    with monkeypatch.context() as disk:
        disk.setattr(house.spool, "read", full)
        house.worker.start()
        house.settle()
    house.advance(61)
    assert house.world.identities() == ["a"]


def test_no_thread_to_be_had(house, monkeypatch, caplog):
    def no_thread(slot):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as machine:
        machine.setattr(house.worker._workers, "start", no_thread)
        house.add("a", "bob@example.org")
        house.settle()
    assert house.world.attempts == [] and "can't start new thread" in caplog.text
    house.advance()
    assert house.world.identities() == ["a"]


# The end.

def test_a_stop_in_the_middle_leaves_no_trace(house):
    house.world.behaviour["hangs.example"] = Gate()
    house.add("a", "bob@hangs.example")
    house.add("b", "bob@hangs.example", "eve@example.org")
    house.world.until(
        lambda: len(house.world.active) == 2 and house.world.identities("example.org"),
        "nothing hangs")
    before = house.state("a")
    begun = time.monotonic()
    assert house.worker.stop(2.0), "threads are left"
    assert 0.5 < time.monotonic() - begun < 2, (
        "attempts have some time to end by themselves, but not all")
    assert house.state("a") == before and before.recipients[0].attempts == 0
    assert [(each.status, each.attempts) for each in house.state("b").recipients] == [
        (WAITING, 0), (DONE, 1)]
    assert all(courier.is_closed for courier in house.world.couriers)


def test_who_took_the_message_before_the_stop_does_not_get_it_again(house):
    def late(courier, message):
        courier.aborted.wait(DEADLINE)
        return (TAKEN, LATER, NEVER)

    house.world.behaviour["slow.example"] = late
    house.add("a", "bob@slow.example", "dan@slow.example", "eve@slow.example")
    house.world.until(lambda: house.world.active, "nothing is sent")
    assert house.worker.stop(1.0)
    assert [(each.status, each.attempts, each.owed) for each in house.state("a").recipients] == [
        (DONE, 1, ""), (WAITING, 0, ""), (DONE, 1, FAILED)]


def test_a_stop_does_not_wait_for_what_is_not_begun(make):
    house = make(connections=2)
    house.world.behaviour["dead.example"] = DOWN
    for number in range(300):
        house.add("m%03d" % number, "bob@dead.example")
    house.worker.start()
    house.world.until(lambda: house.world.attempts, "nothing is sent")
    begun = time.monotonic()
    assert house.worker.stop()
    assert time.monotonic() - begun < 1
    states = [house.state(identity).recipients[0].attempts for identity in house.spool.identities()]
    assert len(states) == 300 and set(states) <= {0, 1}


def test_a_stop_is_bounded_by_its_time(house):
    """Even if a courier ignores `abort`."""
    held = threading.Event()
    house.world.behaviour["deaf.example"] = lambda courier, message: held.wait(DEADLINE) and LATER
    house.add("a", "bob@deaf.example")
    house.world.until(lambda: house.world.active, "nothing is sent")
    begun = time.monotonic()
    assert not house.worker.stop(0.5)
    assert time.monotonic() - begun < 2
    held.set()


def test_a_worker_that_never_started_stops(make):
    assert make().worker.stop()


def test_threads_have_names_and_go_when_there_is_nothing_to_do(make, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.05)
    house = make()
    gate = house.world.behaviour["example.org"] = Gate()
    before = set(threading.enumerate())
    house.worker.start()
    house.add("a", "bob@example.org")
    house.world.until(lambda: house.world.active, "nothing is sent")
    ours = set(threading.enumerate()) - before
    assert sorted(thread.name for thread in ours) == ["phenmail-queue", "phenmail-queue-1"]
    assert all(thread.daemon for thread in ours)
    gate.is_open.set()
    sender, = [thread for thread in ours if thread.name == "phenmail-queue-1"]
    sender.join(DEADLINE)
    assert not sender.is_alive()


# What an operator reads.

def test_one_line_an_attempt(house, caplog):
    caplog.set_level(logging.INFO, "phenmail.relay")
    house.world.behaviour["example.org"] = (TAKEN, LATER, NEVER)
    house.add("a", "bob@example.org", "dan@example.org", "eve@example.org")
    house.settle()
    house.world.behaviour["example.org"] = DOWN
    house.advance(301)
    bob, dan, eve, again = [
        record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    first = ("a: to=<%s@example.org> destination=example.org host=mx.example.org code=%s "
             "attempts=1 delay=0.0 %s")
    assert bob == first % ("bob", "250 2.0.0", "sent: taken")
    assert dan == first % ("dan", "451 4.2.0", "deferred for 300 s: greylisted")
    assert eve == first % ("eve", "550 5.1.1", "failed: no such user")
    assert again == (
        "a: to=<dan@example.org> destination=example.org host=- code=451 4.4.1 attempts=2 "
        "delay=301.0 deferred for 600 s: nobody there")


def test_a_policy_of_seconds_has_a_window_of_its_own(make):
    house = make(policy=Policy(5.0, 60.0, 100.0, 1000.0))
    house.world.behaviour["dead.example"] = DOWN
    house.worker.start()
    house.add("a", "bob@dead.example")
    house.settle()
    house.advance()
    assert house.world.identities() == ["a", "a"] and house.clock() == NOW + 5
