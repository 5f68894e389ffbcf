"""Command lines: each form as a value, what is wrong as a GrammarError, whatever the bytes."""
import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.pop3 import grammar
from phenmail_protocols.pop3.commands import TABLE
from phenmail_protocols.pop3.grammar import Apop, GrammarError, Top
from phenmail_protocols.protocol.auth_argument import Auth

DIGEST = b"c4c9334bac560ecc979e58001b3e22fb"


@pytest.mark.parametrize("line, keyword, argument", [
    (b"QUIT\r\n", b"QUIT", b""),
    (b"quit\n", b"QUIT", b""),
    (b"quit", b"QUIT", b""),
    (b"\r\n", b"", b""),
    (b"", b"", b""),
    (b"List 3 \r\n", b"LIST", b"3 "),
    (b"PASS  two  spaces \r\n", b"PASS", b" two  spaces "),
    (b"PASS a\rb\r\n", b"PASS", b"a\rb"),
    (b"PASS a\r\r\n", b"PASS", b"a\r"),
    (b"LIST\t1\r\n", b"LIST\t1", b""),
])
def test_split(line, keyword, argument):
    assert grammar.split(line) == (keyword, argument)


@pytest.mark.parametrize("parse, argument, value", [
    (grammar.parse_nothing, b"", None),
    (grammar.parse_nothing, b"  ", None),
    (grammar.parse_number, b"1", 1),
    (grammar.parse_number, b" 007 ", 7),
    (grammar.parse_number, b"0", 0),
    (grammar.parse_number_or_nothing, b"", None),
    (grammar.parse_number_or_nothing, b" ", None),
    (grammar.parse_number_or_nothing, b"12", 12),
    (grammar.parse_top, b"1 0", Top(1, 0)),
    (grammar.parse_top, b" 3  99999999 ", Top(3, 99999999)),
    (grammar.parse_name, b"anna@example.org", "anna@example.org"),
    (grammar.parse_name, "ñandú ".encode("utf-8"), "ñandú"),
    (grammar.parse_name, b"a b", "a b"),
    (grammar.parse_passphrase, b"correct horse", "correct horse"),
    (grammar.parse_passphrase, b" both ", " both "),
    (grammar.parse_passphrase, b"\xff", "\udcff"),
    (grammar.parse_apop, b"mrose " + DIGEST, Apop("mrose", DIGEST)),
    (grammar.parse_apop, b"a b  " + DIGEST.upper() + b" ", Apop("a b", DIGEST)),
    (grammar.parse_auth, b"", None),
    (grammar.parse_auth, b"plain", Auth("PLAIN", None)),
    (grammar.parse_auth, b"PLAIN =", Auth("PLAIN", b"")),
    (grammar.parse_auth, b"Scram-Sha-256 biws", Auth("SCRAM-SHA-256", b"n,,")),
    (grammar.parse_language, b"", None),
    (grammar.parse_language, b"*", "*"),
    (grammar.parse_language, b"EN-boont ", "en-boont"),
])
def test_values(parse, argument, value):
    assert parse(argument) == value


@pytest.mark.parametrize("parse, argument", [
    (grammar.parse_nothing, b"x"),
    (grammar.parse_number, b""), (grammar.parse_number, b"1 2"), (grammar.parse_number, b"-1"),
    (grammar.parse_number, b"1" * 11),
    (grammar.parse_number, "٣".encode("utf-8")),
    (grammar.parse_number_or_nothing, b"x"),
    (grammar.parse_top, b"1"), (grammar.parse_top, b"1 2 3"), (grammar.parse_top, b"1 -2"),
    (grammar.parse_top, b"1 " + b"9" * 19),
    (grammar.parse_name, b""), (grammar.parse_name, b" "), (grammar.parse_name, b"\xff"),
    (grammar.parse_name, b"a\0b"),
    (grammar.parse_passphrase, b""),
    (grammar.parse_apop, b"mrose"), (grammar.parse_apop, b"mrose " + DIGEST[1:]),
    (grammar.parse_apop, b" " + DIGEST),
    (grammar.parse_auth, b"PLAIN a b"), (grammar.parse_auth, b"PLAIN !!!"),
    (grammar.parse_auth, b"PLAIN abc"),
    (grammar.parse_auth, b"X" * 21), (grammar.parse_auth, b"PL/AIN"),
    (grammar.parse_language, b"en_GB"), (grammar.parse_language, b"en de"),
    (grammar.parse_language, b"toolongtag"),
])
def test_errors_say_what_was_expected(parse, argument):
    with pytest.raises(GrammarError) as wrong:
        parse(argument)
    assert wrong.value.text


WORDS = [b" ", b"*", b"=", b"1", b"99999999999", b"en", DIGEST, base64.b64encode(b"\0anna\0x"),
         b"PLAIN", b"\xff", b"\0", b"\r", b"-"]
ARGUMENTS = st.one_of(st.binary(max_size=60),
                      st.lists(st.sampled_from(WORDS), max_size=6).map(b"".join))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(TABLE)), ARGUMENTS)
def test_every_argument_is_a_value_or_a_grammar_error(keyword, argument):
    found, given_argument = grammar.split(keyword.lower() + b" " + argument + b"\r\n")
    assert (found, given_argument) == (keyword, argument)
    try:
        TABLE[keyword].parse(argument)
    except GrammarError as wrong:
        assert wrong.text


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_every_line_splits(line):
    keyword, argument = grammar.split(line)
    assert b" " not in keyword and len(keyword) + len(argument) <= len(line)
