"""Command lines of POP3 as values: bytes in, values out.

RFC 1939 3 and 9 (keywords and arguments), RFC 5034 (AUTH), RFC 6856 (LANG).  Pure:
knows no session, no socket and no policy.  Whatever the bytes, the outcome is a value
or a `GrammarError`.

Deviations, all on the lenient side: a line may end with LF alone (a person at netcat
ends it so, and no line here carries another's mail), and spaces may stand twice or at
the end where the argument is no secret.
"""
import re
from typing import NamedTuple, Optional

from ..accounts import sasl


class GrammarError(ValueError):
    """What was expected instead; `text` may be shown."""

    def __init__(self, text):
        super().__init__(text)
        self.text = text


class Top(NamedTuple):
    """TOP: a message number and how many lines of the body."""
    number: int
    lines: int


class Apop(NamedTuple):
    """APOP: a name and 32 hexadecimal digits."""
    name: str
    digest: bytes


class Auth(NamedTuple):
    """AUTH; `mechanism` in upper case, `initial` is decoded, b"" for `=`, or None."""
    mechanism: str
    initial: Optional[bytes]


_NUMBER = re.compile(rb"[0-9]{1,10}")
_TOP = re.compile(rb"([0-9]{1,10}) +([0-9]{1,18})")
_APOP = re.compile(rb"(.+?) +([0-9a-fA-F]{32})", re.DOTALL)
_AUTH = re.compile(rb"([A-Za-z0-9_-]{1,20})(?: +([^ ]+))?")
_LANGUAGE = re.compile(rb"[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*")


def split(line):
    """A line with its end -> (keyword in upper case, argument as it is written), both bytes."""
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
    """PASS: all that follows the one space, spaces too (RFC 1939 7) -> str.

    What is not UTF-8 keeps its bytes as lone surrogates, as in the SASL dialogues.
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
    """`mechanism [initial response]` -> Auth; None where there is no argument (a list is wanted)."""
    argument = argument.strip(b" ")
    if not argument:
        return None
    found = _AUTH.fullmatch(argument)
    if found is None:
        raise GrammarError("Expected AUTH mechanism [initial response]")
    mechanism, initial = found.groups()
    try:
        initial = None if initial is None else sasl.decode(initial)
    except sasl.Malformed:
        raise GrammarError("Expected base64 (RFC 4648)") from None
    return Auth(mechanism.decode("ascii").upper(), initial)


def parse_language(argument):
    """LANG: a language tag (RFC 5646) or `*` -> str in lower case, or None."""
    tag = argument.strip(b" ")
    if not tag:
        return None
    if not _LANGUAGE.fullmatch(tag):
        raise GrammarError("Expected a language tag as in LANG en")
    return tag.decode("ascii").lower()


def _text(octets):
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise GrammarError("Expected a name in UTF-8") from None
    if "\0" in text:
        raise GrammarError("Expected a name without NUL")
    return text
