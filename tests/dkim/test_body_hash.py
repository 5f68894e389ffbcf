"""The hash of a body in pieces, compared with dkimpy's of the whole."""

import hashlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phenmail_protocols.dkim.body_hash import BodyHash

dkim = pytest.importorskip("dkim")


def hashed(*chunks):
    body = BodyHash()
    for chunk in chunks:
        body.update(chunk)
    return body.digest()


def dkimpys(body):
    return hashlib.sha256(dkim.canonicalization.Relaxed.canonicalize_body(body)).digest()


class SmallPieces(BodyHash):
    """Pieces so small that their ends fall everywhere."""
    PIECE = 5


PIECES = st.sampled_from([b" ", b"\t", b"\r", b"\n", b"\r\n", b"  ", b" \r\n", b"a", b".", b"\xff",
                          b"\r\n\r\n", b"word " * 5,
                           b" " * 30])


def sent(body):
    """A body without a final line end gets one on the wire, and verifiers hash that."""
    return body + b"\r\n" if body and not body.endswith(b"\r\n") else body


@pytest.mark.parametrize("kind", [BodyHash, SmallPieces])
@given(pieces=st.lists(PIECES, max_size=14), cuts=st.lists(st.integers(1, 9), max_size=8))
@settings(max_examples=150)
@example(pieces=[], cuts=[])
@example(pieces=[b"a", b" ", b"\r", b"\r\n", b" "], cuts=[1, 1, 1, 1])
@example(pieces=[b"\r\n", b"\r", b"\r\n"], cuts=[3])
def test_the_hash_of_a_body_in_pieces_is_that_of_the_whole(kind, pieces, cuts):
    rest, body = b"".join(pieces), kind()
    for cut in cuts:
        body.update(rest[:cut])
        rest = rest[cut:]
    body.update(rest)
    assert body.digest() == dkimpys(sent(b"".join(pieces)))


@pytest.mark.parametrize("size", [65535, 65536, 65537, 200000])
def test_the_hash_of_a_large_body(size):
    lines = b"a\r\n" + b"\r\n" * size + b"some text\t \r\n" * (size // 10)
    assert hashed(lines) == hashed(lines[:size], lines[size:]) == dkimpys(lines)


def test_a_digest_in_between_changes_nothing():
    body = BodyHash()
    body.update(b"one \r")
    assert body.digest() == dkimpys(b"one \r\r\n")
    body.update(b"\ntwo\r\n\r\n")
    assert body.digest() == body.digest() == dkimpys(b"one\r\ntwo\r\n")
