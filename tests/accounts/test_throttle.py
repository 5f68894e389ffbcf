"""The throttle: delays grow and end, affect only the guesser, and need bounded memory."""

import threading

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


def fail(throttle, times, peer=GUESSER, user="alice", guess=None):
    for _ in range(times):
        throttle.admit(peer, user, guess).failed()


def succeed(throttle, peer=HOME, user="alice"):
    throttle.admit(peer, user).succeeded()


def asked(throttle, peer=GUESSER, user="alice"):
    """(wait, hold) of an attempt that ends without an answer."""
    with throttle.admit(peer, user) as attempt:
        return attempt.wait, attempt.hold


def test_a_few_mistakes_cost_nothing(throttle):
    fail(throttle, ADDRESS_FREE - 1)
    assert asked(throttle) == (0.0, 0.0)


def test_the_wait_doubles_up_to_five_minutes(throttle, clock):
    waits = []
    fail(throttle, ADDRESS_FREE - 1)
    for _ in range(12):
        fail(throttle, 1)
        waits.append(asked(throttle)[0])
        clock.go(waits[-1] + 0.5)
    assert waits[:5] == pytest.approx([1, 2, 4, 8, 16], rel=0.1)
    assert waits[-1] == pytest.approx(room.LONGEST_WAIT, rel=0.1)
    assert waits == sorted(waits)


def test_a_grant_begins_the_next_wait_so_parallel_tries_gain_nothing(throttle, clock):
    fail(throttle, ADDRESS_FREE + 5)
    clock.go(room.LONGEST_WAIT)
    assert asked(throttle, GUESSER, "alice")[0] == 0
    assert asked(throttle, GUESSER, "alice")[0] > 0
    assert asked(throttle, ("192.0.2.1", 99), "bob")[0] > 0, "another user, another port"


def test_being_refused_changes_nothing(throttle):
    fail(throttle, ADDRESS_FREE)
    before = asked(throttle)[0]
    for _ in range(100):
        assert asked(throttle)[0] == before > 0


def test_everything_is_forgotten_in_time(throttle, clock):
    fail(throttle, 1000)
    clock.go(room.LONGEST_WAIT * 10 + 1)
    assert asked(throttle)[0] == 0
    clock.go(room.FORGET_ONE * (ADDRESS_FREE + 10))
    fail(throttle, ADDRESS_FREE - 1)
    assert asked(throttle)[0] == 0


def test_a_user_is_never_locked_out_from_elsewhere(throttle):
    for number in range(3000):
        fail(throttle, 3, ("10.0.%d.%d" % divmod(number, 250), 1))
    wait, hold = asked(throttle, HOME)
    assert wait == 0 and 0 < hold <= room.LONGEST_HOLD
    assert asked(throttle, HOME, "bob") == (0.0, 0.0)


def test_who_got_in_from_an_address_is_not_held_there(throttle, clock):
    succeed(throttle, HOME, "alice")
    for number in range(USER_FREE * 3):
        fail(throttle, 1, ("10.0.0.%d" % number, 1))
    fail(throttle, ADDRESS_FREE * 3, HOME, "bob")       # a neighbour behind the same router
    assert asked(throttle, HOME, "alice") == (0.0, 0.0)
    assert asked(throttle, HOME, "carol")[0] > 0


def test_a_known_pair_has_to_wait_for_its_own_failures(throttle, clock):
    succeed(throttle, HOME, "alice")
    fail(throttle, PAIR_FREE + 3, HOME)
    wait = asked(throttle, HOME, "alice")[0]
    assert wait > 0
    clock.go(wait)
    assert asked(throttle, HOME, "alice")[0] == 0
    assert asked(throttle, HOME, "alice")[0] > 0
    succeed(throttle, HOME, "alice")
    assert asked(throttle, HOME, "alice") == (0.0, 0.0)


def test_an_own_account_washes_off_no_guesses_at_others(throttle):
    for _ in range(ADDRESS_FREE + 3):
        fail(throttle, 1, GUESSER, "alice")
        succeed(throttle, GUESSER, "mallory")
    assert asked(throttle, GUESSER, "alice")[0] > 0


def test_the_same_wrong_passphrase_counts_once(throttle, clock):
    for _ in range(100):
        fail(throttle, 1, HOME, guess=b"old")
    assert asked(throttle, HOME, "alice") == (0.0, 0.0)
    for number in range(ADDRESS_FREE):
        fail(throttle, 1, HOME, guess=b"guess %d" % number)
    assert asked(throttle, HOME, "alice")[0] > 0


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
    assert (asked(throttle, (other, 2, 0, 0), "bob")[0] > 0) == same


def test_a_wide_ipv6_network_waits_at_last(throttle):
    for number in range(room.NETWORK_FREE + 1):
        fail(throttle, 1, ("2001:db8:1:%x::1" % number, 1))
    assert asked(throttle, ("2001:db8:1:ffff::1", 1), "zoe")[0] > 0
    assert asked(throttle, ("2001:db8:2::1", 1), "zoe")[0] == 0


@pytest.mark.parametrize("peer", [None, "", (), ("", 0), "/run/socket"])
def test_a_peer_without_address(throttle, peer):
    for _ in range(100):
        fail(throttle, 1, peer)
    succeed(throttle, peer, "alice")
    assert asked(throttle, peer)[0] == 0


@pytest.mark.parametrize("host",
                         ["::", ":", ":::", "1:2", "g::1", "1:2:3:4:5:6:7:8:9::", "a" * 999])
def test_odd_addresses_do_no_harm(throttle, host):
    fail(throttle, ADDRESS_FREE, (host, 1))
    assert asked(throttle, (host, 2), "alice")[0] > 0


def test_memory_is_bounded_and_the_worst_stay(clock):
    throttle = Throttle(clock, capacity=100)
    fail(throttle, ADDRESS_FREE + 9)
    for number in range(5000):
        peer = ("10.%d.%d.1" % divmod(number, 250), 1)
        fail(throttle, 1, peer, "user %d" % number, b"%d" % number)
        succeed(throttle, peer, "user %d" % number)
    assert len(throttle) <= 400
    assert asked(throttle)[0] > 0


# Attempts that have not ended


def run(*calls):
    """Run calls at once; wait for all."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("known, free", [(False, ADDRESS_FREE), (True, PAIR_FREE)])
def test_of_guesses_at_once_no_more_are_looked_at_than_one_after_the_other(throttle, known, free):
    if known:
        succeed(throttle, GUESSER)
    looked_at, together = [], threading.Barrier(95)

    def guess(number):
        together.wait(30)
        with throttle.admit(GUESSER, "alice", b"%d" % number) as attempt:
            if not attempt.wait:
                looked_at.append(number)
                attempt.failed()
    run(*[lambda number=number: guess(number) for number in range(95)])
    assert len(looked_at) == free


def test_guesses_that_have_not_ended_count_for_the_next(clock):
    throttle = Throttle(clock, patience=0.0)
    begun = [throttle.admit(GUESSER, "alice", b"%d" % number) for number in range(ADDRESS_FREE)]
    assert not any(attempt.wait for attempt in begun)
    assert throttle.admit(GUESSER, "bob", b"x").busy, "the address has no guess left"
    begun[0].succeeded()
    assert not throttle.admit(GUESSER, "bob", b"x").busy, "it gave its guess back"


def test_users_behind_one_router_who_are_right_all_get_in_at_once(throttle):
    inside, together = [], threading.Barrier(95)

    def log_in(number):
        together.wait(30)
        with throttle.admit(HOME, "user %d" % number, b"right") as attempt:
            assert not attempt.wait and not attempt.busy
            attempt.succeeded()
            inside.append(number)
    run(*[lambda number=number: log_in(number) for number in range(95)])
    assert len(inside) == 95


def test_programs_of_one_user_with_one_passphrase_are_one_guess(clock):
    throttle = Throttle(clock, patience=0.0)
    fail(throttle, ADDRESS_FREE - 1)
    programs = [throttle.admit(GUESSER, "alice", b"the same") for _ in range(50)]
    assert not any(attempt.wait or attempt.busy for attempt in programs)
    for attempt in programs:
        attempt.failed()
    clock.go(1)
    assert throttle.admit(GUESSER, "alice", b"another").wait == 0, (
        "fifty times the same counted once")
    assert asked(throttle)[0] > 0


def test_a_single_grant_is_waited_for_and_not_doubled(clock):
    throttle = Throttle(clock, patience=0.0)
    fail(throttle, ADDRESS_FREE + 1)
    clock.go(10)
    granted = throttle.admit(GUESSER, "alice", b"one")
    assert not granted.wait
    clock.go(10)
    assert throttle.admit(GUESSER, "alice", b"two").busy, "although the wait is over"
    granted.failed()
    assert throttle.admit(GUESSER, "alice", b"two").wait > 0


@pytest.mark.parametrize("ipv6", [False, True])
def test_an_attempt_that_breaks_off_leaves_no_count(clock, ipv6):
    throttle = Throttle(clock, patience=0.0)
    peer = ("2001:db8::1", 1) if ipv6 else GUESSER
    for number in range(1000):
        with pytest.raises(ZeroDivisionError):
            with throttle.admit(peer, "alice", b"%d" % number) as attempt:
                assert not attempt.wait and not attempt.busy
                1 / 0
    assert asked(throttle, peer) == (0.0, 0.0)
    assert not any(table._begun for table in (throttle._networks, throttle._users, throttle._known))
    assert not throttle._running


def test_parallel_guesses_in_one_ipv6_network_count_for_it(clock):
    throttle = Throttle(clock, patience=0.0)
    attempts = [throttle.admit(("2001:db8:1:%x::1" % number, 1), "alice", b"%d" % number)
                for number in range(room.NETWORK_FREE + 5)]
    assert [attempt.busy for attempt in attempts] == [False] * room.NETWORK_FREE + [True] * 5


def test_parallel_guesses_at_a_user_from_many_addresses_are_held_back(throttle):
    holds = [throttle.admit(("10.0.0.%d" % number, 1), "alice", b"%d" % number).hold
             for number in range(USER_FREE + 10)]
    assert holds[:USER_FREE] == [0.0] * USER_FREE
    assert holds[USER_FREE:] == sorted(holds[USER_FREE:]) and 0 < holds[USER_FREE] < holds[
        -1] == room.LONGEST_HOLD
