"""The throttle: delays grow, end, hit the guesser and nobody else, in bounded memory."""

import pytest

from phenmail_protocols.accounts import throttle as room
from phenmail_protocols.accounts.throttle import ADDRESS_FREE, PAIR_FREE, USER_FREE, Throttle

from .house import Clock

GUESSER, HOME = ("192.0.2.1", 1), ("198.51.100.9", 2)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(clock)


def fail(throttle, times, peer=GUESSER, user="alice"):
    for _ in range(times):
        throttle.failed(peer, user)


def test_a_few_mistakes_cost_nothing(throttle):
    fail(throttle, ADDRESS_FREE - 1)
    assert throttle.admit(GUESSER, "alice") == (0.0, 0.0)


def test_the_wait_doubles_up_to_five_minutes(throttle, clock):
    waits = []
    fail(throttle, ADDRESS_FREE - 1)
    for _ in range(12):
        fail(throttle, 1)
        waits.append(throttle.delay(GUESSER, "alice"))
        clock.go(waits[-1] + 0.5)
    assert waits[:5] == pytest.approx([1, 2, 4, 8, 16], rel=0.1)
    assert waits[-1] == pytest.approx(room.LONGEST_WAIT, rel=0.1)
    assert waits == sorted(waits)


def test_a_grant_begins_the_next_wait_so_parallel_tries_gain_nothing(throttle, clock):
    fail(throttle, ADDRESS_FREE + 5)
    clock.go(room.LONGEST_WAIT)
    assert throttle.admit(GUESSER, "alice").wait == 0
    assert throttle.admit(GUESSER, "alice").wait > 0
    assert throttle.admit(("192.0.2.1", 99), "bob").wait > 0, "another user, another port"


def test_asking_alone_changes_nothing(throttle):
    fail(throttle, ADDRESS_FREE)
    before = throttle.delay(GUESSER, "alice")
    for _ in range(100):
        throttle.delay(GUESSER, "alice")
        throttle.admit(GUESSER, "alice")        # refused each time
    assert throttle.delay(GUESSER, "alice") == before


def test_everything_is_forgotten_in_time(throttle, clock):
    fail(throttle, 1000)
    clock.go(room.LONGEST_WAIT * 10 + 1)
    assert throttle.delay(GUESSER, "alice") == 0
    clock.go(room.FORGET_ONE * (ADDRESS_FREE + 10))
    fail(throttle, ADDRESS_FREE - 1)
    assert throttle.delay(GUESSER, "alice") == 0


def test_a_user_is_never_locked_out_from_elsewhere(throttle):
    for number in range(3000):
        fail(throttle, 3, ("10.0.%d.%d" % divmod(number, 250), 1))
    admission = throttle.admit(HOME, "alice")
    assert admission.wait == 0 and 0 < admission.hold <= room.LONGEST_HOLD
    assert throttle.admit(HOME, "bob") == (0.0, 0.0)


def test_who_got_in_from_an_address_is_not_held_there(throttle, clock):
    throttle.succeeded(HOME, "alice")
    for number in range(USER_FREE * 3):
        fail(throttle, 1, ("10.0.0.%d" % number, 1))
    fail(throttle, ADDRESS_FREE * 3, HOME, "bob")       # a neighbour behind the same router
    assert throttle.admit(HOME, "alice") == (0.0, 0.0)
    assert throttle.admit(HOME, "carol").wait > 0


def test_a_known_pair_has_to_wait_for_its_own_failures(throttle, clock):
    throttle.succeeded(HOME, "alice")
    fail(throttle, PAIR_FREE + 3, HOME)
    wait = throttle.admit(HOME, "alice").wait
    assert wait > 0
    clock.go(wait)
    assert throttle.admit(HOME, "alice").wait == 0
    assert throttle.admit(HOME, "alice").wait > 0
    throttle.succeeded(HOME, "alice")
    assert throttle.admit(HOME, "alice") == (0.0, 0.0)


def test_an_own_account_washes_off_no_guesses_at_others(throttle):
    for _ in range(ADDRESS_FREE + 3):
        fail(throttle, 1, GUESSER, "alice")
        throttle.succeeded(GUESSER, "mallory")
    assert throttle.admit(GUESSER, "alice").wait > 0


def test_the_same_wrong_passphrase_counts_once(throttle, clock):
    for _ in range(100):
        throttle.failed(HOME, "alice", b"old")
    assert throttle.admit(HOME, "alice") == (0.0, 0.0)
    for number in range(ADDRESS_FREE):
        throttle.failed(HOME, "alice", b"guess %d" % number)
    assert throttle.admit(HOME, "alice").wait > 0


@pytest.mark.parametrize("one, other, same", [
    ("::ffff:192.0.2.1", "192.0.2.1", True),
    ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
    ("2001:db8:1:2::1", "2001:DB8:0001:0002::1%eth0", True),
    ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
    ("::1", "::2", True),
    ("192.0.2.1", "192.0.2.2", False),
])
def test_which_addresses_are_one(throttle, one, other, same):
    fail(throttle, ADDRESS_FREE, (one, 1, 0, 0))
    assert (throttle.delay((other, 2, 0, 0), "bob") > 0) == same


def test_a_wide_ipv6_network_waits_at_last(throttle):
    for number in range(room.NETWORK_FREE + 1):
        fail(throttle, 1, ("2001:db8:1:%x::1" % number, 1))
    assert throttle.admit(("2001:db8:1:ffff::1", 1), "zoe").wait > 0
    assert throttle.admit(("2001:db8:2::1", 1), "zoe").wait == 0


@pytest.mark.parametrize("peer", [None, "", (), ("", 0), "/run/socket"])
def test_a_peer_without_address(throttle, peer):
    for _ in range(100):
        throttle.failed(peer, "alice")
    throttle.succeeded(peer, "alice")
    throttle.admit(peer, "alice")


@pytest.mark.parametrize("host", ["::", ":", ":::", "1:2", "g::1", "1:2:3:4:5:6:7:8:9::", "a" * 999])
def test_odd_addresses_do_no_harm(throttle, host):
    fail(throttle, ADDRESS_FREE, (host, 1))
    assert throttle.admit((host, 2), "alice").wait > 0


def test_memory_is_bounded_and_the_worst_stay(clock):
    throttle = Throttle(clock, capacity=100)
    fail(throttle, ADDRESS_FREE + 9)
    for number in range(5000):
        peer = ("10.%d.%d.1" % divmod(number, 250), 1)
        throttle.failed(peer, "user %d" % number, b"%d" % number)
        throttle.succeeded(peer, "user %d" % number)
    assert len(throttle) <= 400
    assert throttle.delay(GUESSER, "alice") > 0
