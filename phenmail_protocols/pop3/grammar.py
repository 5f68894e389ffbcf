"""Command lines of POP3: bytes in, values out.

RFC 1939 3 and 9 (keywords and arguments), RFC 5034 (AUTH), RFC 6856 (LANG). Pure: knows no
session, no socket and no policy. Any bytes give a value or a `GrammarError`.

Accepted beyond the RFCs: a line that ends with LF alone (netcat sends it, and no line here is part
of a message), and repeated or trailing spaces where the argument is not a secret.
"""
import re
from typing import NamedTuple

from ..accounts import sasl
from ..protocol import auth_argument


class GrammarError(ValueError):
    """A command that does not parse; `text` says what was expected."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class Top(NamedTuple):
    """TOP: a message number, and a number of lines of the body."""
    number: int
    lines: int


class Apop(NamedTuple):
    """APOP: a name and 32 hexadecimal digits."""
    name: str
    digest: bytes


_NUMBER = re.compile(rb"[0-9]{1,10}")
_TOP = re.compile(rb"([0-9]{1,10}) +([0-9]{1,18})")
_APOP = re.compile(rb"(.+?) +([0-9a-fA-F]{32})", re.DOTALL)
_LANGUAGE = re.compile(rb"[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*")


def split(line):
    """A line with its line end -> (keyword in upper case, argument as written), both bytes."""
    if line[-1:] == b"\n":
        line = line[:-2] if line[-2:] == b"\r\n" else line[:-1]
    keyword, _, argument = line.partition(b" ")
    return keyword.upper(), argument


def parse_nothing(argument):
    """For commands without an argument -> None."""
    if argument.strip(b" "):
        raise GrammarError("This command takes no argument")


def parse_number(argument):
    """RETR, DELE: a message number -> int."""
    number = argument.strip(b" ")
    if not _NUMBER.fullmatch(number):
        raise GrammarError("Expected a message number after the command")
    return int(number)


def parse_number_or_nothing(argument):
    """LIST, UIDL: a message number -> int, or None."""
    return parse_number(argument) if argument.strip(b" ") else None


def parse_top(argument):
    """`message lines` -> Top."""
    found = _TOP.fullmatch(argument.strip(b" "))
    if found is None:
        raise GrammarError("Expected TOP message lines, two numbers")
    return Top(int(found.group(1)), int(found.group(2)))


def parse_name(argument):
    """USER: a login name in UTF-8 (RFC 6856 2.3) -> str."""
    name = argument.strip(b" ")
    if not name:
        raise GrammarError("Expected your name after the command")
    return _text(name)


def parse_passphrase(argument):
    """PASS: everything after the space, which may contain spaces (RFC 1939 7) -> str.

    Octets that are not UTF-8 become lone surrogates, as in SASL dialogues.
    """
    if not argument:
        raise GrammarError("Expected your passphrase after the command")
    return argument.decode("utf-8", "surrogateescape")


def parse_apop(argument):
    """`name digest` -> Apop."""
    found = _APOP.fullmatch(argument.strip(b" "))
    if found is None:
        raise GrammarError("Expected APOP name digest, with 32 hexadecimal digits")
    return Apop(_text(found.group(1)), found.group(2).lower())


def parse_auth(argument):
    """`mechanism [initial response]` -> Auth; without an argument (a list is wanted), None."""
    argument = argument.strip(b" ")
    if not argument:
        return None
    try:
        auth = auth_argument.parse(argument)
    except sasl.Malformed:
        raise GrammarError("Expected base64 (RFC 4648)") from None
    if auth is None:
        raise GrammarError("Expected AUTH mechanism [initial response]")
    return auth


def parse_language(argument):
    """LANG: a language tag (RFC 5646) or `*` -> str in lower case, or None."""
    tag = argument.strip(b" ")
    if not tag:
        return None
    if not _LANGUAGE.fullmatch(tag):
        raise GrammarError("Expected a language tag like en")
    return tag.decode("ascii").lower()


def _text(octets):
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise GrammarError("Expected a name in UTF-8") from None
    if "\0" in text:
        raise GrammarError("Expected a name without NUL")
    return text
