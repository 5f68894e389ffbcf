"""Lines, chunks and counted octets: each case whole, octet by octet, and with trailing data."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.net.errors import Disconnected, LineTooLong
from phenmail_protocols.net.lines import BoundedReader


class Script(BoundedReader):
    """Gives the pieces of a list, then the end."""

    def __init__(self, pieces, drain=1 << 20):
        BoundedReader.__init__(self, drain)
        self.pieces = [piece for piece in pieces if piece]
        self.asked = []

    def _receive(self, limit):
        self.asked.append(limit)
        if not self.pieces:
            raise Disconnected("end of script")
        piece = self.pieces.pop(0)
        if len(piece) > limit:
            self.pieces.insert(0, piece[limit:])
        return piece[:limit]


def octets(data):
    return [data[i:i + 1] for i in range(len(data))]


def outcomes(reader, limit):
    """All lines until the end; "long" for a refused one."""
    seen = []
    while True:
        try:
            seen.append(reader.read_line(limit))
        except LineTooLong:
            seen.append("long")
        except Disconnected:
            return seen


CASES = [
    (b"", []),
    (b"NOOP\r\n", [b"NOOP\r\n"]),
    (b"bare\nLF\n", [b"bare\n", b"LF\n"]),
    (b"cr\ralone\r\n", [b"cr\ralone\r\n"]),
    (b"\r\n\n", [b"\r\n", b"\n"]),
    (b"12345678\r\n", [b"12345678\r\n"]),
    (b"123456789\r\n", ["long"]),
    (b"1234567890123456789012345\r\nnext\r\n", ["long", b"next\r\n"]),
    (b"a\r\nno end", [b"a\r\n"]),
    (b"a\r\nno end that is long", [b"a\r\n"]),
    (b"\0\xff\r\n", [b"\0\xff\r\n"]),
]


@pytest.mark.parametrize("data, expected", CASES)
def test_lines_whole_and_octet_by_octet_and_in_pairs(data, expected):
    assert outcomes(Script([data]), 10) == expected
    assert outcomes(Script(octets(data)), 10) == expected
    assert outcomes(Script([data[i:i + 2] for i in range(0, len(data), 2)]), 10) == expected


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_what_follows_a_line_stays(cut):
    data = b"DATA\r\nbody and more"
    reader = Script([data[i:i + cut] for i in range(0, len(data), cut)])
    assert reader.read_line(10) == b"DATA\r\n"
    got = []
    reader.read_exactly(len(data) - 6, got.append)
    assert b"".join(got) == b"body and more"
    with pytest.raises(Disconnected):
        reader.read_chunk()


@given(st.lists(st.binary(max_size=30)), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_lines_equal_a_naive_model_for_any_cut(pieces, limit):
    lines = b"".join(pieces).split(b"\n")[:-1]
    expected = [line + b"\n" if len(line) < limit else "long" for line in lines]
    assert outcomes(Script(pieces), limit) == expected


def test_a_line_without_end_is_given_up():
    reader = Script([b"x" * 1000] * 1000, drain=5000)
    with pytest.raises(Disconnected):
        reader.read_line(100)
    assert len(reader.asked) < 10, "read far beyond what it may drop"
    assert reader.buffered() == 0, "kept what it should drop"


def test_no_piece_is_bigger_than_64_kb():
    reader = Script([b"x" * 500000])
    assert len(reader.read_chunk(1 << 30)) <= 65536
    sizes = []
    reader.read_exactly(400000, lambda piece: sizes.append(len(piece)))
    assert sum(sizes) == 400000
    assert max(sizes) <= 65536


def test_a_chunk_is_what_is_buffered_first():
    reader = Script([b"A\r\nabcdef", b"ghi"])
    reader.read_line(10)
    assert reader.read_chunk(4) == b"abcd"
    assert reader.read_chunk() == b"ef"
    assert reader.read_chunk() == b"ghi"


def test_read_exactly_nothing_reads_nothing():
    reader = Script([])
    reader.read_exactly(0, pytest.fail)
    assert reader.asked == []


def test_read_exactly_of_too_little_ends():
    with pytest.raises(Disconnected):
        Script([b"abc"]).read_exactly(4, lambda piece: None)


def test_unread_comes_first_again():
    reader = Script([b"one\r\ntwo\r\n"])
    reader.read_line(10)
    reader.unread(b"zero\r\n")
    reader.unread(b"")
    assert outcomes(reader, 10) == [b"zero\r\n", b"two\r\n"]


def test_buffered_and_dropped():
    reader = Script([b"STARTTLS\r\nRSET\r\n"])
    reader.read_line(20)
    assert reader.buffered() == 6
    reader.drop_buffered()
    assert reader.buffered() == 0
    assert outcomes(reader, 20) == []


def test_nothing_is_kept_when_all_was_read():
    reader = Script([b"A\r\nB\r\n"])
    reader.read_line(10)
    reader.read_line(10)
    assert reader._data == b"", "an idle connection keeps its buffer"
