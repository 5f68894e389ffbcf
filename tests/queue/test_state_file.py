"""The JSON form of a queued message: each message survives the round trip; all else is refused."""
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.queue import state_file
from phenmail_protocols.queue.model import (
    DELAYED,
    DELIVERED,
    DONE,
    EXPANDED,
    FAILED,
    RELAYED,
    WAITING,
    Message,
    Recipient,
)

TEXT = st.text(max_size=20)
SECONDS = st.floats(-1e18, 1e18)
ADDRESSES = st.builds(Address, TEXT, TEXT)
REPLIES = st.builds(Reply, st.integers(200, 599), TEXT, TEXT, TEXT)
RECIPIENTS = st.builds(
    Recipient,
    ADDRESSES, notify=st.lists(TEXT, max_size=3).map(tuple), orcpt=st.none() | TEXT,
    status=st.sampled_from([WAITING, DONE]), reply=st.none() | REPLIES,
    attempts=st.integers(0, 10**6), next=SECONDS, last=SECONDS, waited=SECONDS,
    owed=st.sampled_from(["", FAILED, DELAYED, RELAYED, DELIVERED, EXPANDED]), warned=st.booleans(),
    via=TEXT)
MESSAGES = st.builds(
    Message,
    st.just("1.a"), st.none() | ADDRESSES, st.lists(RECIPIENTS, min_size=1, max_size=4).map(tuple),
    SECONDS, head=st.binary(max_size=50), size=st.integers(0, 10**12), eight_bit=st.booleans(),
    smtputf8=st.booleans(), ret=st.none() | TEXT, envid=st.none() | TEXT, held=st.booleans(),
    signed_as=TEXT)

PLAIN = Message("1.a", None, (Recipient(Address("bob", "example.com")),), 5.0)
# All values that are not the defaults, for what is read from a file.
FULL = Message(
    "1.a", Address("ann", "example.org"),
    (
        Recipient(
            Address("b b", "example.com"), ("SUCCESS", "FAILURE"), "rfc822;b@example.com", DONE,
            Reply(550, "5.1.1", "No", "mx.example.com"), 3, 7.5, 6.0, 4.0, FAILED, True, "agent"),),
    5.25, b"DKIM-Signature: \xff\r\n", 1000, True, True, "HDRS", "QQ314159", True, "example.org")


@given(MESSAGES)
@settings(max_examples=100)
def test_every_message_comes_back(message):
    again = state_file.decode("1.a", state_file.encode(message))
    assert again == message
    assert [list(map(type, each)) for each in again.recipients] == [
        list(map(type, each)) for each in message.recipients]


def test_what_is_usual_is_small():
    data = state_file.encode(PLAIN)
    assert len(data) < 100 and b"bob" in data


def test_numbers_of_seconds_may_be_written_without_a_point():
    message = state_file.decode(
        "1.a",
        b'{"version":1,"sender":null,"arrived":5,"recipients":[{"address":["bob","example.com"]}]}')
    assert message == PLAIN and type(message.arrived) is float


def paths(value, way=()):
    """Every place of a JSON document."""
    yield way
    for key in (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()):
        yield from paths(value[key], way + (key,))


def with_value(document, way, value):
    document = json.loads(json.dumps(document))
    place = document
    for key in way[:-1]:
        place = place[key]
    place[way[-1]] = value
    return json.dumps(document).encode("ascii")


DOCUMENT = json.loads(state_file.encode(FULL).decode("ascii"))


def may_be(way, old, new):
    """Whether a value may stand where another one does."""
    if way == ("sender",) and new is None:
        return True
    if type(old) is float:
        return type(new) in (int, float)
    return type(new) is type(old)


@pytest.mark.parametrize(
    "way", [way for way in paths(DOCUMENT) if way], ids=lambda way: ".".join(map(str, way)))
def test_a_value_of_another_type_is_refused(way):
    assert state_file.decode("1.a", json.dumps(DOCUMENT).encode("ascii")) == FULL
    old = DOCUMENT
    for key in way:
        old = old[key]
    for new in ({}, [], [[]], [1, 2, 3, 4], None, True, "x", 5, 1.5, 10 ** 30):
        if not may_be(way, old, new):
            with pytest.raises(ValueError):
                state_file.decode("1.a", with_value(DOCUMENT, way, new))


@pytest.mark.parametrize("way", [("recipients", 0, "attempts"), ("size",)])
def test_a_count_below_nothing_is_refused(way):
    with pytest.raises(ValueError):
        state_file.decode("1.a", with_value(DOCUMENT, way, -1))


BOB = {"address": ["bob", "example.com"]}


def state(**changes):
    """The JSON of a message, with changes; None leaves a key out."""
    values = dict({"version": 1, "sender": ["ann", "example.org"], "arrived": 5,
                   "recipients": [BOB]}, **changes)
    values = {key: value for key, value in values.items() if value is not None}
    return json.dumps(values, separators=(",", ":")).encode("ascii")


def test_the_state_that_is_changed_below_is_a_good_one():
    assert state_file.decode("1.a", state()).recipients == PLAIN.recipients


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"7", b"[" * 100000, b'{"a":' * 100000, b"\xff\xfe",
        '{"versi\u00f6n": 1}'.encode("utf-8"),
        state(version=2), state(recipients=[]), state(recipients=None), state(sender=None),
        state(arrived=None), state(recipients=[{}]), state(recipients=[["bob", "example.com"]]),
        state(color=1), state(recipients=[dict(BOB, color=1)]),
        state(recipients=[dict(BOB, status="sent")]), state(recipients=[dict(BOB, owed="money")]),
        state(arrived=float("nan")), state().replace(b":5", b":1e999"),
        state().replace(b":5", b":" + b"9" * 1000000), state_file.encode(PLAIN)[:-1],
        state_file.encode(PLAIN) + b"{}", state_file.encode(PLAIN) + b"\0" * 100, b"\0" * 100],
    ids=lambda data: repr(data[:30]) + str(len(data)))
def test_what_is_no_state_is_refused(data):
    with pytest.raises(ValueError):
        state_file.decode("1.a", data)


@given(
    st.binary(max_size=200)
    | st.text(alphabet='{}[]":,0123456789.eversion', max_size=200).map(
        lambda text: text.encode("ascii")))
@settings(max_examples=200)
def test_any_octets_end_in_a_message_or_a_value_error(data):
    try:
        assert isinstance(state_file.decode("1.a", data), Message)
    except ValueError:
        pass


@given(st.integers(0, 10 ** 6), st.integers(0, 255))
@settings(max_examples=200)
def test_a_damaged_octet_is_refused_or_a_whole_message(position, value):
    data = bytearray(state_file.encode(FULL))
    data[position % len(data)] = value
    try:
        found = state_file.decode("1.a", bytes(data))
    except ValueError:
        return
    assert state_file.decode("1.a", state_file.encode(found)) == found
