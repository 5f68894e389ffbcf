"""Dot stuffing: which octets end a text, which are text, and which are refused (SMTP smuggling)."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.net import dots


def feed(chunks):
    """(text, done, rest, bare) after all chunks; what comes after the end mark is rest."""
    unstuffer = dots.Unstuffer()
    text, rest, done = b"", b"", False
    for chunk in chunks:
        data, done, after = unstuffer.feed(chunk)
        text += data
        rest += after
    assert done == unstuffer.done
    return text, done, rest, unstuffer.bare_cr_or_lf


def octets(data):
    return [data[i:i + 1] for i in range(len(data))]


# stuffed text, what it means, whether CR or LF is bare; each ends properly
ENDED = [
    (b".\r\n", b"", False),
    (b"\r\n.\r\n", b"\r\n", False),
    (b"a\r\n.\r\n", b"a\r\n", False),
    (b"..\r\n.\r\n", b".\r\n", False),
    (b".a\r\n.\r\n", b"a\r\n", False),
    (b"...\r\n.\r\n", b"..\r\n", False),
    (b"a\r\n..\r\n..b\r\n.\r\n", b"a\r\n.\r\n.b\r\n", False),
    (b"a\r\n.b\r\n.\r\n", b"a\r\nb\r\n", False),
    (b"a.\r\nb .c\r\n.\r\n", b"a.\r\nb .c\r\n", False),
    (b"\r\n\r\n\r\n.\r\n", b"\r\n\r\n\r\n", False),
    (b"\0\xff\r\n.\r\n", b"\0\xff\r\n", False),
    # what other servers took for an end mark
    (b"a\n.\nMAIL\r\n.\r\n", b"a\n.\nMAIL\r\n", True),
    (b"a\n.\r\nMAIL\r\n.\r\n", b"a\n.\r\nMAIL\r\n", True),
    (b"a\r\n.\nMAIL\r\n.\r\n", b"a\r\n\nMAIL\r\n", True),
    (b"a\r\n.\rMAIL\r\n.\r\n", b"a\r\n\rMAIL\r\n", True),
    (b"a\r.\r\nMAIL\r\n.\r\n", b"a\r.\r\nMAIL\r\n", True),
    (b"a\r.\rMAIL\r\n.\r\n", b"a\r.\rMAIL\r\n", True),
    (b"a\r\r\n.\r\n", b"a\r\r\n", True),
    (b"a\r\n\r.\r\nb\r\n.\r\n", b"a\r\n\r.\r\nb\r\n", True),
    (b"a\r\n.\r\r\nb\r\n.\r\n", b"a\r\n\r\r\nb\r\n", True),
    (b"a\r\n\n.\r\nb\r\n.\r\n", b"a\r\n\n.\r\nb\r\n", True),
    (b".\nb\r\n.\r\n", b"\nb\r\n", True),
    (b".\rb\r\n.\r\n", b"\rb\r\n", True),
    (b"\n.\r\n.\r\n", b"\n.\r\n", True),
]


@pytest.mark.parametrize("trailing", [b"", b"QUIT\r\n", b".\r\n", b"\r\n.\r\n", b"\n"])
@pytest.mark.parametrize("stuffed, text, bare", ENDED)
def test_a_text_whole_octet_by_octet_and_with_trailing_data(stuffed, text, bare, trailing):
    assert feed([stuffed + trailing]) == (text, True, trailing, bare)
    assert feed(octets(stuffed + trailing)) == (text, True, trailing, bare)


@pytest.mark.parametrize("stuffed, text, bare", ENDED)
def test_a_text_cut_in_two_at_every_place(stuffed, text, bare):
    for cut in range(len(stuffed) + 1):
        assert feed([stuffed[:cut], stuffed[cut:]]) == (text, True, b"", bare), "cut at %d" % cut


@pytest.mark.parametrize("data", [b"", b".", b".\r", b"\r\n", b"a\r\n.\r", b"a\n.\n", b"a\r.\r",
                                  b"a\n.\r\n", b"a\r\n.\n", b"a.\r\n", b"a\r\n..\r\n"])
def test_what_does_not_end_a_text(data):
    assert feed([data])[1] is False
    assert feed(octets(data))[1] is False


def test_a_bare_cr_at_the_end_of_a_chunk_is_seen_when_the_next_comes():
    unstuffer = dots.Unstuffer()
    assert unstuffer.feed(b"a\r")[0] == b"a"
    assert not unstuffer.bare_cr_or_lf
    assert unstuffer.feed(b"b")[0] == b"\rb"
    assert unstuffer.bare_cr_or_lf


def test_after_the_end_everything_is_rest():
    unstuffer = dots.Unstuffer()
    unstuffer.feed(b".\r\n")
    assert unstuffer.feed(b"QUIT\r\n") == (b"", True, b"QUIT\r\n")


def model(data):
    """(text, rest or None, bare) the slow way: octet by octet, as RFC 5321 4.1.1.4 and 4.5.2 say
    it."""
    text, position, line_start = bytearray(), 0, True
    while position < len(data):
        if line_start and data[position:position + 3] == b".\r\n":
            return bytes(text), data[position + 3:], bare(bytes(text))
        if line_start and data[position:position + 1] == b".":
            line_start = False
            position += 1
            continue
        text += data[position:position + 1]
        line_start = data[position:position + 1] == b"\n" and data[
            position - 1:position] == b"\r" and position > 0
        position += 1
    return bytes(text), None, bare(bytes(text))


def bare(text):
    left = text.replace(b"\r\n", b"")
    return b"\r" in left or b"\n" in left


TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"\r", b"\n", b"a", b"\r\n.", b"\r\n.\r\n", b"bc"]),
                max_size=30)


@given(TEXT, st.lists(st.integers(1, 5), min_size=1, max_size=5))
@settings(max_examples=400, deadline=None)
def test_unstuffing_equals_the_slow_model_for_any_cut(parts, sizes):
    data = b"".join(parts)
    chunks, position, turn = [], 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[position:position + size])
        position, turn = position + size, turn + 1
    text, done, rest, is_bare = feed(chunks)
    expected, expected_rest, expected_bare = model(data)
    assert done == (expected_rest is not None)
    if done:
        assert (text, rest, is_bare) == (expected, expected_rest, expected_bare)
    else:
        assert expected.startswith(text), "gave out what is not text"
        assert len(expected) - len(text) <= 4, "held back more than may begin an end mark"


@pytest.mark.parametrize("text, stuffed", [
    (b"", b".\r\n"),
    (b"a\r\n", b"a\r\n.\r\n"),
    (b"a", b"a\r\n.\r\n"),
    (b".\r\n", b"..\r\n.\r\n"),
    (b"\r\n", b"\r\n.\r\n"),
    (b"a\r\n.\r\n..b\r\nc.\r\n", b"a\r\n..\r\n...b\r\nc.\r\n.\r\n"),
    (b"a\r\n\r\n", b"a\r\n\r\n.\r\n"),
    (b".", b"..\r\n.\r\n"),
])
def test_stuffing_whole_octet_by_octet_and_with_empty_chunks(text, stuffed):
    assert b"".join(dots.stuff([text])) == stuffed
    assert b"".join(dots.stuff(octets(text))) == stuffed
    assert b"".join(dots.stuff([b"", text, b""])) == stuffed


@given(st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"\r\n.\r\n"]), max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_is_stuffed_comes_back(parts):
    text = b"".join(parts)
    closed = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
    assert feed(dots.stuff(parts)) == (closed, True, b"", False)


def test_big_texts_are_quick_also_when_every_line_has_a_dot():
    for line in (b"x" * 70 + b"\r\n", b"..\r\n"):
        chunk = line * (65536 // len(line))
        unstuffer = dots.Unstuffer()
        start = time.perf_counter()
        for _ in range(160):  # 10 MB
            unstuffer.feed(chunk)
        took = time.perf_counter() - start
        assert took < 2.0, "10 MB took %.2f s: a loop over lines?" % took
