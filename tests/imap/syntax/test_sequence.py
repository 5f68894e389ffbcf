"""Sequence sets: their syntax, their messages in a mailbox, and the compact form for UIDs."""
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.syntax.sequence import LARGEST, STAR, SequenceSet, build

UIDS = array("I", [3, 4, 5, 9, 20, 21, 4294967295])


def resolve(found, uids, count, as_uid):
    """The UIDs of a set's messages, from its slices."""
    return [uid for start, stop in found.slices(uids, count, as_uid) for uid in uids[start:stop]]


def _written(found):
    """A set as bytes of the wire."""
    return b",".join(b":".join(b"*" if number == STAR else b"%d" % number
                               for number in dict.fromkeys(pair)) for pair in found.ranges)


@pytest.mark.parametrize("data, ranges", [
    (b"1", [(1, 1)]), (b"*", [(STAR, STAR)]), (b"1:*", [(1, STAR)]), (b"*:1", [(STAR, 1)]),
    (b"4:2", [(4, 2)]),
    (b"1,3,5:7,*", [(1, 1), (3, 3), (5, 7), (STAR, STAR)]), (b"4294967295", [(LARGEST, LARGEST)]),
])
def test_a_set_is_read_and_written_back(data, ranges):
    found = SequenceSet.parse(data)
    assert found.ranges == tuple(ranges)
    assert _written(found) == data


@pytest.mark.parametrize("data", [
    b"", b"0", b"01", b"1:0", b",1", b"1,", b"1,,2", b"1:", b":1", b":", b"1:2:3", b"4294967296",
    b"99999999999", b"-1", b"+1", b"1 ",
    b" 1", b"1.2", b"a", b"**", b"1*", b"\xb2", b"1\n", b"1:\xd9\xa3",
])
def test_invalid_sets(data):
    with pytest.raises(ValueError):
        SequenceSet.parse(data)


def test_a_range_of_stars():
    assert SequenceSet.parse(b"*:*").ranges == ((STAR, STAR),)


def test_its_length_is_bounded():
    assert len(SequenceSet.parse(b",".join([b"1"] * 100)).ranges) == 100
    with pytest.raises(ValueError):
        SequenceSet.parse(b",".join([b"1"] * 40000))


@pytest.mark.parametrize("data, spans", [
    (b"4:2", [(2, 4)]), (b"*:9", [(7, 9)]), (b"9:*", [(7, 9)]), (b"*", [(7, 7)]),
    (b"1:3,2:5", [(1, 5)]), (b"5,1,3:4", [(1, 1), (3, 5)]),
    (b"1:9,2", [(1, 9)]), (b"1,2,3", [(1, 3)]),
])
def test_spans_put_the_last_number_for_the_star(data, spans):
    assert SequenceSet.parse(data).spans(7) == spans


@pytest.mark.parametrize("data, numbers, uids", [
    (b"1:*", [3, 4, 5, 9, 20, 21, 4294967295], [3, 4, 5, 9, 20, 21, 4294967295]),
    (b"*", [4294967295], [4294967295]),
    (b"2:3,3,2", [4, 5], [3]),
    (b"7:6", [21, 4294967295], []),
    (b"10:20", [], [20]),
    (b"100:*", [4294967295], [4294967295]),
    (b"4294967295:*", [4294967295], [4294967295]),
    (b"20,4,9:12", [9], [4, 9, 20]),
])
def test_slices_by_number_and_by_uid(data, numbers, uids):
    found = SequenceSet.parse(data)
    assert resolve(found, UIDS, len(UIDS), True) == uids
    assert resolve(found, list(UIDS), len(UIDS), True) == uids
    assert resolve(found, UIDS, len(UIDS), False) == numbers


def test_a_uid_range_beyond_the_last_still_holds_the_last():
    """RFC 3501 6.4.8: 559:* always includes the last message's UID."""
    assert resolve(SequenceSet.parse(b"559:*"), array("I", [1, 7]), 2, True) == [7]


def test_only_the_first_count_are_looked_at():
    found = SequenceSet.parse(b"1:*")
    assert resolve(found, UIDS, 2, True) == resolve(found, UIDS, 2, False) == [3, 4]
    assert not resolve(found, UIDS, 0, True) and found.slices(UIDS, 0, False) == []


@pytest.mark.parametrize("data, beyond", [(b"1:7", False), (b"8", True), (b"8:*", True),
                                          (b"*", False), (b"*:1", False), (b"1,9:2", True)])
def test_numbers_beyond_the_mailbox_are_noticed(data, beyond):
    assert SequenceSet.parse(data).beyond(7) is beyond
    assert SequenceSet.parse(data).beyond(0)


@pytest.mark.parametrize("numbers, data", [
    ([1], b"1"), ([1, 2, 3], b"1:3"), ([1, 3, 4, 9], b"1,3:4,9"),
    ([4294967294, 4294967295], b"4294967294:4294967295"),
    ([5, 1, 2], b"5,1:2"), ([3, 2, 1], b"3,2,1"), (array("I", [7, 8, 10]), b"7:8,10"),
])
def test_build_is_compact_and_keeps_the_order(numbers, data):
    assert build(numbers) == data


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 60), min_size=1), st.sets(st.integers(1, 60)))
def test_build_and_slices_are_inverse(numbers, others):
    """A set written from some UIDs finds exactly those of them that the mailbox has."""
    found = SequenceSet.parse(build(sorted(numbers)))
    present = array("I", sorted(others))
    assert resolve(found, present, len(present), True) == sorted(numbers & others)
    assert resolve(found, array("I", range(1, 61)), 60, False) == sorted(numbers)


_ELEMENT = st.one_of(st.integers(1, 30), st.just(STAR))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(_ELEMENT, _ELEMENT), min_size=1, max_size=5), st.sets(st.integers(1, 30)))
def test_slices_mean_what_the_rfc_says(ranges, present):
    """Against the literal definition: each number between the two ends; * is the last one."""
    uids = sorted(present)
    for as_uid in (True, False):
        last = (uids[-1] if as_uid else len(uids)) if uids else 0
        wanted = set()
        for low, high in ranges:
            low, high = [last if number == STAR else number for number in (low, high)]
            wanted.update(range(min(low, high), max(low, high) + 1))
        expected = [uid for number, uid in enumerate(uids, 1)
                    if (uid if as_uid else number) in wanted]
        assert resolve(SequenceSet(tuple(ranges)), uids, len(uids), as_uid) == expected


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=20), st.text("0123456789:,*", max_size=20).map(str.encode)))
def test_any_bytes_end(data):
    try:
        found = SequenceSet.parse(data)
    except ValueError:
        return
    items = [b":".join(dict.fromkeys(item.split(b":"))) for item in data.split(b",")]
    assert _written(found).split(b",") == items
