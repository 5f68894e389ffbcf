"""Both ways of waiting behave alike."""

import select
import socket
import time

import pytest

from phenmail_protocols.net import readiness

KINDS = [readiness.SelectorReadiness] + ([readiness.PollReadiness] if hasattr(select, "poll")
                                         else [])


@pytest.fixture
def ends():
    made = socket.socketpair()
    yield made
    for end in made:
        end.close()


@pytest.mark.parametrize("kind", KINDS)
def test_readable_writable_and_neither(kind, ends):
    ours, theirs = ends
    assert not kind(readable=[ours.fileno()]).wait(0.01)
    assert [fd for fd, _ in kind(writable=[ours.fileno()]).wait(10)] == [ours.fileno()]
    theirs.send(b"x")
    both = kind(readable=[ours.fileno(), theirs.fileno()])
    assert [fd for fd, _ in both.wait(10)] == [ours.fileno()]
    assert [fd for fd, _ in both.wait()] == [ours.fileno()], "None waits for it"
    assert [fd for fd, _ in both.wait(10 ** 9)] == [ours.fileno()], (
        "a wait longer than poll can count")


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_end_going_is_readiness(kind, ends):
    ours, theirs = ends
    theirs.close()
    assert kind(readable=[ours.fileno()]).wait(10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_wait_is_not_rounded_down_to_none(kind, ends):
    start = time.monotonic()
    for _ in range(20):
        kind(readable=[ends[0].fileno()]).wait(0.0005)
    assert time.monotonic() - start >= 0.009, "spins near the end of a deadline"
