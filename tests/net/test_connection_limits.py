"""Who is let in, and who goes for whom: the gate alone, with a clock of its own."""

import threading

import pytest

from phenmail_protocols.net import connection_limits as gates
from phenmail_protocols.net.connection_limits import Gate


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Fake:
    """A connection that waits for its peer."""
    waits = True
    aborted = False

    def abort(self):
        self.aborted = True


def visits(gate, count, host="192.0.2.1", share="imap"):
    """`count` visits; in `host` a %d is the number."""
    return [gate.enter(host % number if "%" in host else host, share, Fake())
            for number in range(count)]


def test_the_total_counts_everybody():
    gate = Gate(total=2)
    first, second = gate.enter("192.0.2.1", "", Fake()), gate.enter("", "", Fake())
    assert first and second
    assert not gate.enter("192.0.2.2", "", Fake())
    second.leave()
    assert gate.enter("192.0.2.2", "", Fake())


@pytest.mark.parametrize("first, second, same", [
    ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False),
    ("2001:db8::1", "2001:db8::ffff:2", True),
    ("2001:db8:0:1::1", "2001:db8:0:ffff::1", True),  # one customer may have the whole /48
    ("2001:db8:1::1", "2001:db8:2::1", False),
    ("2001:db8::1", "2001:0db8:0:0:0::1", True),
    ("", "", False),                                  # a Unix socket has no address
])
def test_what_counts_as_one_address(first, second, same):
    gate = Gate(per_address=1)
    assert gate.enter(first, "", Fake())
    assert (gate.enter(second, "", Fake()) is None) is same


def test_no_limit_lets_everybody_in():
    gate = Gate()
    assert all(visits(gate, 1000))


def test_who_was_refused_leaves_no_trace_and_who_left_neither():
    gate = Gate(total=5, per_address=1)
    for number in range(1000):
        host = "192.0.2.%d" % (number % 250)
        visit = gate.enter(host, "", Fake())
        assert visit and not gate.enter(host, "", Fake())
        visit.leave()
    assert gate.inside == 0
    assert gate._by_network == {}, "grows with every address ever seen"


def test_strangers_of_one_protocol_leave_the_others_and_those_who_logged_in_alone():
    gate = Gate(total=40, strangers=5)
    known = []
    for _ in range(20):
        known += visits(gate, 1)
        known[-1].logged_in("user %d" % len(known))
    assert all(visits(gate, 5, "198.51.100.%d", "smtp"))
    assert visits(gate, 10, "203.0.113.%d", "smtp") == [None] * 10
    assert not any(visit.connection.aborted for visit in known)
    assert all(visits(gate, 5, "203.0.113.%d", "pop3"))
    assert not any(visit.connection.aborted for visit in known)
    assert gate.inside == 30


def test_the_greediest_network_makes_room_for_the_others():
    gate = Gate(strangers=10)
    honest = visits(gate, 1, "192.0.2.7")[0]
    greedy = visits(gate, 9, "198.51.100.1")
    assert visits(gate, 3, "198.51.100.1") == [None] * 3, "it gets no more by asking"
    assert all(visits(gate, 4, "203.0.113.%d"))
    assert sum(visit.connection.aborted for visit in greedy) == 4
    assert not honest.connection.aborted


def test_among_equals_the_oldest_goes_after_a_second():
    clock = Clock()
    gate = Gate(strangers=3, clock=clock)
    old = []
    for number in range(3):
        old += visits(gate, 1, "192.0.2.%d" % number)
        clock.now += 0.1
    assert gate.enter("192.0.2.9", "imap", Fake()) is None
    clock.now += gates.GRACE
    assert gate.enter("192.0.2.9", "imap", Fake())
    assert [visit.connection.aborted for visit in old] == [True, False, False]


def test_a_full_server_takes_the_newcomer_for_a_stranger_of_any_protocol():
    gate = Gate(total=6, strangers=6)
    greedy = visits(gate, 5, "198.51.100.1", "smtp")
    visits(gate, 1, "192.0.2.1")[0].logged_in("u")
    assert gate.enter("192.0.2.2", "imap", Fake())
    assert sum(visit.connection.aborted for visit in greedy) == 1


def test_who_logged_in_is_never_closed():
    clock = Clock()
    gate = Gate(total=4, clock=clock)
    known = visits(gate, 4)
    for visit in known:
        visit.logged_in("u")
        visit.logged_in("u")
    clock.now += 1000
    assert gate.enter("192.0.2.2", "imap", Fake()) is None
    assert not any(visit.connection.aborted for visit in known)


def test_one_user_has_an_eighth_of_all_connections_and_the_oldest_goes():
    gate = Gate(total=160)
    theirs = visits(gate, 25, "192.0.2.%d")
    for visit in theirs:
        visit.logged_in("bob")
        visit.logged_in("bob")
    assert [visit.connection.aborted for visit in theirs] == [True] * 5 + [False] * 20
    others = visits(gate, 20, "198.51.100.%d")
    for visit in others:
        visit.logged_in("alice")
    assert not any(visit.connection.aborted for visit in others)
    for visit in theirs:
        visit.leave()
    again = visits(gate, 20)
    for visit in again:
        visit.logged_in("bob")
    assert not any(visit.connection.aborted for visit in again), "those who left do not count"


def test_where_the_threads_of_too_many_have_not_ended_yet_the_new_one_goes(monkeypatch):
    monkeypatch.setattr(gates, "LEAVING", 1)
    gate = Gate(total=16)
    theirs = visits(gate, gates.LEAST + 2)
    for visit in theirs:
        visit.logged_in("bob")
    assert [n for n, visit in enumerate(theirs) if visit.connection.aborted] == [0, gates.LEAST + 1]


def test_who_waits_for_the_server_is_not_closed():
    clock = Clock()
    gate = Gate(strangers=2, clock=clock)
    busy, idle = visits(gate, 2, "192.0.2.%d")
    busy.connection.waits = False
    clock.now += 2 * gates.GRACE
    assert gate.enter("192.0.2.9", "imap", Fake())
    assert idle.connection.aborted and not busy.connection.aborted


def test_work_for_a_stranger_has_an_end_but_in_a_transaction():
    """A wrong passphrase is held back for seconds: that must not keep a place."""
    clock = Clock()
    gate = Gate(strangers=2, clock=clock)
    held, sending = visits(gate, 2, "192.0.2.%d")
    held.connection.waits = sending.connection.waits = False
    sending.busy = True
    clock.now += 2 * gates.WORK
    assert gate.enter("192.0.2.9", "imap", Fake())
    assert held.connection.aborted and not sending.connection.aborted


def test_a_transaction_goes_only_for_a_much_smaller_network_or_after_its_time():
    clock = Clock()
    gate = Gate(strangers=5, clock=clock)
    sending = visits(gate, 2, "192.0.2.1") + visits(gate, 2,
                                                    "192.0.2.2") + visits(gate, 1, "192.0.2.3")
    for visit in sending:
        visit.busy = True
    clock.now += 5
    assert gate.enter("192.0.2.9", "imap", Fake()) is None
    clock.now += gates.TRANSACTION
    sending[0].served()
    assert gate.enter("192.0.2.9", "imap", Fake())
    large = Gate(strangers=5, clock=clock)
    sending = visits(large, 5)
    for visit in sending:
        visit.busy = True
    assert large.enter("192.0.2.9", "imap", Fake()), "five against one are too many"


def test_one_address_at_its_limit_makes_room_for_itself():
    clock = Clock()
    gate = Gate(per_address=3, clock=clock)
    stale = visits(gate, 3)
    assert gate.enter("192.0.2.1", "imap", Fake()) is None
    clock.now += 2 * gates.GRACE
    assert gate.enter("192.0.2.1", "imap", Fake())
    assert [visit.connection.aborted for visit in stale].count(True) == 1


def test_threads_of_displaced_connections_are_bounded_too():
    gate = Gate(strangers=100)
    greedy = visits(gate, 100)
    newcomers = visits(gate, 90, "198.51.100.%d")
    assert newcomers.count(None) == 90 - gates.LEAVING
    assert gate.inside == 100 + gates.LEAVING
    for visit in greedy:
        if visit.connection.aborted:
            visit.leave()
    assert gate.enter("203.0.113.1", "imap", Fake())


def test_handshakes_have_places_and_a_newcomer_gets_one():
    clock = Clock()
    gate = Gate(handshakes=2, clock=clock)
    first, second, third, other = visits(gate, 3) + visits(gate, 1, "198.51.100.1")
    assert first.begin_handshake() and second.begin_handshake()
    assert not third.begin_handshake()
    assert other.begin_handshake(), "its network has none yet"
    assert first.connection.aborted and not second.connection.aborted
    other.end_handshake()
    assert third.begin_handshake()
    first.leave()
    second.leave()
    assert len(gate._handshakes) == 1


def test_threads_do_not_lose_count():
    gate = Gate(per_address=3)
    worst = []

    def visit():
        for _ in range(300):
            entered = gate.enter("192.0.2.1", "", Fake())
            if entered:
                worst.append(gate.inside)
                entered.leave()

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert max(worst) <= 3
    assert gate.inside == 0
