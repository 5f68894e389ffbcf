"""Dropped messages: one wire form whatever they came in."""
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.dropfolder import message


def wire(data, size=None, monkeypatch=None):
    if size:
        monkeypatch.setattr(message, "PIECE", size)
    return b"".join(message.wire(io.BytesIO(data)))


@pytest.mark.parametrize("data, expected", [
    (b"A: b\n\nx\n", b"A: b\r\n\r\nx\r\n"),
    (b"A: b\r\n\r\nx\r\n", b"A: b\r\n\r\nx\r\n"),
    (b"A: b\r\rx\r", b"A: b\r\n\r\nx\r\n"),
    (b"A: b\n\nno end", b"A: b\r\n\r\nno end"),
    (b"From a@b Mon Jan  1 00:00:00 2024\nA: b\n\nFrom c\n", b"A: b\r\n\r\nFrom c\r\n"),
    (b"From a@b\r\nA: b\r\n", b"A: b\r\n"),
    (b"", b""), (b"\r", b"\r\n")])
@pytest.mark.parametrize("size", [None, 5, 6, 7])
def test_wire_form(data, expected, size, monkeypatch):
    if size and data[:5] == b"From ":
        pytest.skip("the line is looked for in the first piece")
    assert wire(data, size, monkeypatch) == expected


@settings(max_examples=100, deadline=None)
@given(data=st.text("a\r\n", max_size=30), size=st.integers(1, 7))
def test_any_cut_gives_the_same(data, size):
    data, kept = data.encode(), message.PIECE
    whole = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    message.PIECE = size
    try:
        assert b"".join(message.wire(io.BytesIO(data))) == whole
    finally:
        message.PIECE = kept


def test_pieces_are_small():
    assert max(len(piece) for piece in message.wire(io.BytesIO(b"\n" * 1000000))) <= 256 * 1024
