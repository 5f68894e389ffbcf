"""TOP's part of a message, whatever its cut, beside the plain way to say it."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.pop3.excerpt import excerpt


def plainly(message, lines):
    """RFC 1939 7 in the words of split."""
    if message.startswith(b"\r\n"):
        end = 2
    else:
        found = message.find(b"\r\n\r\n")
        if found < 0:
            return message
        end = found + 4
    body = message[end:].split(b"\n")
    pieces = [piece + b"\n" for piece in body[:-1]] + ([body[-1]] if body[-1] else [])
    return message[:end] + b"".join(pieces[:lines])


def cut(message, size):
    return [message[start:start + size] for start in range(0, len(message), size)]


MESSAGES = [
    b"", b"\r\n", b"A: b\r\n", b"A: b\r\n\r\n", b"A: b\r\n\r\none\r\ntwo\r\nthree",
    b"\r\none\r\n\r\ntwo\r\n", b"A: b\r\nC: d",
    b"A: b\r\n\r\n" + b"\r\n" * 3000, b"A: b\r\n\r\n" + b"x" * 3000 + b"\r\nend\r\n",
    b"A: b\r\n\r\n" + b"".join(b"line %d\r\n" % number for number in range(2000)),
]


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000, 100000])
def test_any_cut_gives_the_same(message, size):
    for lines in (0, 1, 2, 3, 1500, 10 ** 18):
        assert b"".join(excerpt(cut(message, size), lines)) == plainly(message, lines)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([b"\r\n", b"a", b".", b"A: b", b"\r", b"\r\n\r\n"]),
                max_size=30).map(b"".join),
       st.integers(1, 9), st.integers(0, 12))
def test_beside_the_plain_way(message, size, lines):
    assert b"".join(excerpt(cut(message, size), lines)) == plainly(message, lines)


def test_nothing_is_read_beyond_what_is_sent():
    def chunks():
        yield b"A: b\r\n\r\none\r\n"
        raise AssertionError("read on")
    assert b"".join(excerpt(chunks(), 1)) == b"A: b\r\n\r\none\r\n"
    assert b"".join(excerpt(chunks(), 0)) == b"A: b\r\n\r\n"
