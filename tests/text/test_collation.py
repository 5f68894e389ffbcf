"""Folding: forms of one text are one, and pieces give what the whole gives."""
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.text.collation import fold, fold_pieces


@pytest.mark.parametrize("one, other", [
    ("caf\u00e9", "cafe\u0301"), ("stra\u00dfe", "STRASSE"), ("STRA\u1e9eE", "strasse"),
    ("\u0130stanbul", "istanbul"), ("Isparta", "\u0131sparta"),
    ("\u03c3\u03bf\u03c2", "\u03a3\u039f\u03a3"), ("\ufb01ne", "FINE"), ("\uff21\uff22", "ab"),
    ("a\u00a0b", "A B"), ("\u212b", "\u00e5"),
    ("\ud55c", "\u1112\u1161\u11ab"), ("\u1ec7", "e\u0302\u0323"),
])
def test_the_same(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize("one, other", [("caf\u00e9", "caf\u00ea"), ("o", "\u00f6"), ("ss", "s"),
                                        ("a b", "ab")])
def test_not_the_same(one, other):
    assert fold(one) != fold(other)


def test_every_letter_in_every_form():
    for number in list(range(0xd800)) + list(range(0xe000, 0x20000)):
        letter = chr(number)
        folded = fold(letter)
        assert fold(folded) == folded == fold(letter.upper()) == fold(letter.lower()), hex(number)
        assert folded == fold(unicodedata.normalize("NFD",
                                                    letter)) == fold(
            unicodedata.normalize("NFC", letter)), hex(number)


_LETTERS = st.text(st.sampled_from(
    "aeiI\u0130\u00e9\u0301\u0307\u0323\u1ec7\u03c2\ufb03\u0345\ud55c") | st.characters(),
                   max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(_LETTERS, max_size=6))
def test_pieces_give_what_the_whole_gives(pieces):
    assert "".join(fold_pieces(pieces)) == fold("".join(pieces))


@pytest.mark.parametrize("letter", ["a", "\u00e9", "e\u0301", "\u0301\u0323", "\ufdfa"])
def test_long_texts(letter):
    text = letter * 5000
    pieces = list(fold_pieces((text,)))
    assert "".join(pieces) == fold(text) and max(map(len, pieces)) < 50000
