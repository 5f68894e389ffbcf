"""How texts are compared where neither case nor the way a letter is encoded counts: the one
function that every search key, every filter and every index of texts uses.

It follows i;unicode-casemap (RFC 5051): compatibility decomposition, so that a composed letter
equals the decomposed one and a ligature equals its letters; and the full case folding of Unicode,
so that sharp s equals ss and a final sigma any other. Of the Turkish i the dot does not count: most
who look for "istanbul" cannot type any other i.

A text is compared by substring (RFC 3501 section 6.4.4): `fold(key) in fold(text)`. Pure.
"""
from typing import Iterable, Iterator
from unicodedata import combining, normalize

__all__ = ["fold", "fold_pieces"]

# The interpreter lock is held while a piece is folded, and marks on one letter are sorted slowly:
# at most 2 ms for so many characters.
_PIECE = 1024
# A letter with more marks than this is cut anywhere.
_MOST_MARKS = 30


def fold(text: str) -> str:
    """The form of a text in which it is compared. fold(fold(text)) == fold(text)."""
    if len(text) > _PIECE:
        return "".join(fold_pieces((text,)))
    return text.lower() if _is_ascii(text) else _fold(text)


def fold_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """`fold` for a text in pieces of any size: together they give what fold gives for the whole.
    None is empty.
    """
    rest = ""
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            text = rest + piece[start:start + _PIECE]
            # The marks of the last letter may be in the next piece.
            cut = _last_letter(text)
            rest = text[cut:]
            if cut:
                yield fold(text[:cut]) if cut <= _PIECE else _fold(text[:cut])
    if rest:
        yield fold(rest)


def _is_ascii(text: str) -> bool:
    try:
        text.encode("ascii")  # str.isascii is not in Python 3.6
    except UnicodeEncodeError:
        return False
    return True


def _fold(text: str) -> str:
    decomposed = normalize("NFKD", text)
    text = decomposed.casefold()
    if "\u0345" in decomposed:
        # The one mark that becomes a letter: those behind it are sorted anew (Unicode, D146).
        text = normalize("NFKD", text)
    return text.replace("\u0131", "i").replace("i\u0307", "i")


def _last_letter(text: str) -> int:
    """Where the last letter of a text begins that is not a mark on the one before."""
    cut = len(text) - 1
    while cut > 0 and combining(text[cut]) and len(text) - cut <= _MOST_MARKS:
        cut -= 1
    return cut
