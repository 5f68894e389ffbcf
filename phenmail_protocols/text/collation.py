"""How texts are compared without case, for searches and filters.

`fold` follows i;unicode-casemap (RFC 5051): compatibility decomposition, so that a composed letter
equals the decomposed one and a ligature equals its letters; then Unicode's full case folding, so
that sharp s equals ss and a final sigma any other. The dot of the Turkish i does not count,
because most people who search for "istanbul" cannot type another i.

Texts are compared by substring (RFC 3501 section 6.4.4): `fold(key) in fold(text)`. Pure.
"""
from typing import Iterable, Iterator
from unicodedata import combining, normalize

# Characters that are folded at once. Folding holds the interpreter lock, and sorts the marks on
# one letter slowly: these take at most 2 ms.
_PIECE = 1024
_MOST_MARKS = 30  # a letter with more marks is cut anywhere


def fold(text: str) -> str:
    """The form in which a text is compared; fold(fold(text)) == fold(text)."""
    if len(text) > _PIECE:
        return "".join(fold_pieces((text,)))
    try:
        text.encode("ascii")  # str.isascii is new in Python 3.7
    except UnicodeEncodeError:
        return _fold(text)
    return text.lower()


def fold_pieces(pieces: Iterable[str]) -> Iterator[str]:
    """A text in pieces of any size -> non-empty pieces of its `fold`."""
    rest = ""
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            text = rest + piece[start:start + _PIECE]
            # Marks on the last letter may follow in the next piece.
            cut = _last_letter(text)
            rest = text[cut:]
            if cut:
                yield fold(text[:cut]) if cut <= _PIECE else _fold(text[:cut])
    if rest:
        yield fold(rest)


def _fold(text: str) -> str:
    decomposed = normalize("NFKD", text)
    text = decomposed.casefold()
    if "\u0345" in decomposed:
        # This mark alone becomes a letter, so the marks after it are sorted again (Unicode, D146).
        text = normalize("NFKD", text)
    return text.replace("\u0131", "i").replace("i\u0307", "i")


def _last_letter(text: str) -> int:
    """Where the last letter begins that is not a mark."""
    cut = len(text) - 1
    while cut > 0 and combining(text[cut]) and len(text) - cut <= _MOST_MARKS:
        cut -= 1
    return cut
