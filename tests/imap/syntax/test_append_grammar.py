"""What follows a message of APPEND on its line (RFC 3502, RFC 6855 4)."""
import pytest

from phenmail_protocols.imap.syntax.append_grammar import next_message
from phenmail_protocols.imap.syntax.tokens import BadSyntax, Scanner
from phenmail_protocols.imap.syntax.values import (
    LITERAL,
    LITERAL8,
    UTF8,
    AppendMessage,
    StreamedLiteral,
)

MESSAGE = StreamedLiteral(9)


@pytest.mark.parametrize("parts, form, message", [
    ([b""], LITERAL, None), ([b" "], LITERAL, None), ([b""], LITERAL8, None), ([b")"], UTF8, None),
    ([b") "], UTF8, None),
    ([b" ", MESSAGE, b""], LITERAL, ((), None, LITERAL)),
    ([b"  ", MESSAGE, b""], LITERAL, ((), None, LITERAL)),
    ([b" ~", MESSAGE, b""], LITERAL, ((), None, LITERAL8)),
    ([b") (\\Seen x) ", MESSAGE, b""], UTF8, (("\\Seen", "x"), None, LITERAL)),
    ([b' (a) " 1-Jan-1970 00:00:01 +0000" UTF8 (~', MESSAGE, b""], LITERAL8, (("a",), 1, UTF8)),
])
def test_next_message(parts, form, message):
    expected = message and AppendMessage(*message, size=9, streams=True)
    assert next_message(Scanner(parts), form) == expected


@pytest.mark.parametrize("parts, form", [
    ([b")"], LITERAL), ([b""], UTF8), ([b" )"], UTF8), ([b"))"], UTF8), ([b" x"], LITERAL),
    ([b" ()"], LITERAL), ([b"   ", MESSAGE, b""], LITERAL), ([b"", MESSAGE, b""], LITERAL),
    ([b" ", MESSAGE, b""], UTF8), ([b" UTF8 (", MESSAGE, b""], LITERAL), ([b"\0"], LITERAL),
    ([b" ", MESSAGE, b"x"], LITERAL), ([b" x ", MESSAGE, b""], LITERAL),
    ([b' "x" ', MESSAGE, b""], LITERAL), ([b" (\\Foo) ", MESSAGE, b""], LITERAL),
])
def test_what_is_no_message(parts, form):
    with pytest.raises(BadSyntax):
        next_message(Scanner(parts), form)
