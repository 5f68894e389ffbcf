"""Counting connections, in all and per address."""

import threading

import pytest

from phenmail_protocols.net.gate import Gate


def test_the_total_counts_everybody():
    gate = Gate(total=2)
    assert gate.enter("192.0.2.1") and gate.enter("")
    assert not gate.enter("192.0.2.2")
    gate.leave("")
    assert gate.enter("192.0.2.2")


@pytest.mark.parametrize("first, second, same", [
    ("192.0.2.1", "192.0.2.1", True),
    ("192.0.2.1", "192.0.2.2", False),
    ("2001:db8::1", "2001:db8::ffff:2", True),       # one host has the whole /64
    ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ("2001:db8::1", "2001:0db8:0:0:0::1", True),
    ("", "", False),                                  # a Unix socket has no address
])
def test_what_counts_as_one_address(first, second, same):
    gate = Gate(per_address=1)
    assert gate.enter(first)
    assert gate.enter(second) is not same


def test_no_limit_lets_everybody_in():
    gate = Gate()
    assert all(gate.enter("192.0.2.1") for _ in range(1000))


def test_who_was_refused_leaves_no_trace_and_who_left_neither():
    gate = Gate(total=5, per_address=1)
    for number in range(1000):
        host = "192.0.2.%d" % (number % 250)
        assert gate.enter(host)
        assert not gate.enter(host)
        gate.leave(host)
    assert gate.inside == 0
    assert gate._by_address == {}, "grows with every address ever seen"


def test_threads_do_not_lose_count():
    gate = Gate(per_address=3)
    worst = []

    def visit():
        for _ in range(300):
            if gate.enter("192.0.2.1"):
                worst.append(gate.inside)
                gate.leave("192.0.2.1")

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert max(worst) <= 3
    assert gate.inside == 0
