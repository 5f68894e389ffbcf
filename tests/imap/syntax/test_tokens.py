"""Tokens: character classes over all octets, strings, numbers, lists, the place of errors."""
import time

import pytest

from phenmail_protocols.imap.syntax import tokens
from phenmail_protocols.imap.syntax.tokens import ArgumentRejected, BadSyntax, Scanner

OCTETS = [bytes((octet,)) for octet in range(256)]
# RFC 3501 9: atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials
# / resp-specials
ATOM = set(range(33, 127)) - set(b'(){%*"\\]')


def accepts(read, *parts):
    scan = Scanner(list(parts))
    try:
        return read(scan), scan.at_end()
    except BadSyntax:
        return None


@pytest.mark.parametrize("name, allowed", [
    ("atom", ATOM), ("tag", (ATOM | set(b"]")) - set(b"+")), ("astring", ATOM | set(b"]")),
    ("list_mailbox", ATOM | set(b"]%*")),
])
def test_character_classes_over_all_octets(name, allowed):
    """"&" is an atom character, but alone it is not modified UTF-7."""
    for octet in OCTETS:
        found = accepts(getattr(Scanner, name), b"a" + octet + b"b")
        assert (found is not None and found[1]) is (octet[0] in allowed), octet


def test_what_a_quoted_string_may_hold_over_all_octets():
    for octet in OCTETS:
        found = accepts(Scanner.string, b'"' + octet + b'"')
        assert (found == (octet, True)) is (octet not in (b"\r", b"\n", b"\0", b'"', b"\\")), octet
        escaped = accepts(Scanner.string, b'"a\\' + octet + b'"')
        assert (escaped is not None and escaped[1]) is (octet in (b'"', b"\\")), octet


def test_what_a_literal_may_hold_over_all_octets():
    for octet in OCTETS:
        assert accepts(Scanner.string, b"", octet, b"") == (
            None if octet == b"\0" else (octet, True)), octet


def test_which_octets_end_a_number():
    for octet in OCTETS:
        scan = Scanner([b"12" + octet])
        assert scan.number() == (int(b"12" + octet) if octet.isdigit() else 12)


@pytest.mark.parametrize("line, value", [
    (b'""', b""), (b'"a b"', b"a b"), (b'"\\"\\\\"', b'"\\'), (b'"\xc3\xa9"', b"\xc3\xa9"),
    (b'"{3}"', b"{3}"), (b"{3", None), (b'"a', None),
    (b'"a\\"', None), (b"NIL", None), (b"", None), (b'"a\r"', None),
])
def test_quoted_strings(line, value):
    found = accepts(Scanner.string, line)
    assert found == (None if value is None else (value, True))


@pytest.mark.parametrize("line, value", [(b"NIL", None), (b"nil", None), (b'"NIL"', b"NIL"),
                                         (b'""', b"")])
def test_nstring(line, value):
    assert accepts(Scanner.nstring, line) == (value, True)


@pytest.mark.parametrize("line, value", [
    (b"0", 0), (b"007", 7), (b"4294967295", 4294967295), (b"4294967296", None), (b"9" * 5000, None),
    (b"-1", None), (b"", None), (b"x", None),
])
def test_numbers(line, value):
    assert accepts(Scanner.number, line) == (None if value is None else (value, True))


def test_positive_numbers_do_not_begin_with_zero():
    assert accepts(Scanner.positive, b"10") == (10, True)
    assert accepts(Scanner.positive, b"0") is accepts(Scanner.positive, b"01") is None


def test_literals_come_between_the_lines():
    scan = Scanner([b"a ", b"b\r\nc", b" ", b"", b" d"])
    assert scan.atom() == b"a" and not scan.at_literal()
    scan.space()
    assert scan.at_literal() and not scan.at_end() and scan.string() == b"b\r\nc"
    scan.space()
    assert scan.astring() == b""
    scan.space()
    assert scan.atom() == b"d" and scan.at_end()
    scan.end()


def test_an_atom_directly_before_a_literal_is_not_joined_with_it():
    scan = Scanner([b"a", b"b", b""])
    assert scan.astring() == b"a"
    with pytest.raises(BadSyntax):
        scan.space()


@pytest.mark.parametrize("line", [b"x", b"x ", b"x  "])
def test_spaces_at_the_end_are_forgiven(line):
    scan = Scanner([line])
    scan.atom()
    assert not scan.more()
    scan.end()


@pytest.mark.parametrize("parts", [[b"x y"], [b"x\t"], [b"x", b"", b""], [b"x ", b"", b""]])
def test_nothing_else_may_follow(parts):
    scan = Scanner(parts)
    scan.atom()
    with pytest.raises(BadSyntax):
        scan.end()


def test_an_error_says_what_and_where():
    scan = Scanner([b"a ", b"12345", b" !("])
    scan.atom(), scan.space(), scan.literal(), scan.space(), scan.atom()
    with pytest.raises(BadSyntax) as failed:
        scan.space()
    assert failed.value.text == b"expected a space at octet 10"
    assert failed.value.tag is failed.value.code is None


@pytest.mark.parametrize("data, name", [
    (b"INBOX", "INBOX"), (b"inbox", "INBOX"), (b'"iNbOx"', "INBOX"), (b"inbox/x", "inbox/x"),
    (b"&AMQ-", "\xc4"), (b'"a b/c"', "a b/c"),
    (b"a&-b", "a&b"), (b'""', ""), (b"&ATE-nbox", "\u0131nbox"),
])
def test_mailbox_names(data, name):
    assert accepts(Scanner.mailbox, data) == (name, True)


@pytest.mark.parametrize("data, name", [
    (b"inbox", "INBOX"), (b'"\xc3\x84 b"', "\xc4 b"), (b"&AMQ-", "&AMQ-"), (b"a&-b", "a&-b"),
    (b"a&b", "a&b"), (b'"&\xc3\x84"', "&\xc4")])
def test_mailbox_names_after_enable_utf8(data, name):
    scan = Scanner([data], True)
    assert scan.mailbox() == name and scan.at_end()


@pytest.mark.parametrize("parts", [[b'"\xc3\x84"'], [b"", b"\xc3\x84", b""]])
def test_a_name_with_8bit_octets_is_never_modified_utf7(parts):
    assert Scanner(parts).mailbox() == "\xc4"


@pytest.mark.parametrize("utf8, parts", [
    (False, [b"a&b"]), (False, [b"&AMQ"]), (False, [b"&AGE-"]), (False, [b'"\xc4"']),
    (False, [b"", b"\xc4", b""]), (True, [b"", b"\xc4", b""]), (True, [b"", b"\xed\xa0\x80", b""])])
def test_a_name_that_cannot_be_decoded_is_refused_with_no(utf8, parts):
    with pytest.raises(ArgumentRejected) as refused:
        Scanner(parts, utf8).mailbox()
    assert refused.value.code == b"CANNOT" and b"UTF-8" in refused.value.text


@pytest.mark.parametrize("data", [b'"\xc4"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"',
                                  b'"\xc0\xaf"', b'"a\xff"'])
def test_a_quoted_string_that_is_no_utf8_after_enable_utf8(data):
    for read in (Scanner.string, Scanner.astring, Scanner.nstring, Scanner.mailbox,
                 Scanner.list_mailbox):
        with pytest.raises(BadSyntax) as failed:
            read(Scanner([data], True))
        assert not isinstance(failed.value, ArgumentRejected)


@pytest.mark.parametrize("line, flag", [
    (b"\\seen", "\\Seen"), (b"\\ANSWERED", "\\Answered"), (b"\\Deleted", "\\Deleted"),
    (b"\\flagged", "\\Flagged"), (b"\\draft", "\\Draft"),
    (b"$Forwarded", "$Forwarded"), (b"work", "work"), (b"\\Recent", None), (b"\\*", None),
    (b"\\Foo", None), (b"\\", None), (b"a]", "a"),
    (b'"x"', None), (b"\xe9", None),
])
def test_flags(line, flag):
    found = accepts(Scanner.flag, line)
    assert (found and found[0]) == flag


@pytest.mark.parametrize("line, flags", [
    (b"()", ()), (b"(\\Seen)", ("\\Seen",)), (b"(\\Seen x \\seen)", ("\\Seen", "x")), (b"(", None),
    (b"(\\Seen", None), (b"( \\Seen)", None),
    (b"(\\Seen )", None), (b"\\Seen", None), (b"(a  b)", None),
])
def test_flag_lists(line, flags):
    assert accepts(Scanner.flag_list, line) == (None if flags is None else (flags, True))


def test_error_texts_hold_nothing_of_the_client():
    with pytest.raises(BadSyntax) as failed:
        Scanner([b"\xff\r\n* OK"]).atom()
    assert failed.value.text == b"expected an atom at octet 1"


def test_without_repeats():
    assert tokens.without_repeats("banana") == ("b", "a", "n")


def test_a_quoted_string_of_escapes_is_read_at_memory_speed():
    """With one replacement for each it held the interpreter lock for 70 ms."""
    body = b'\\\\\\"' * 15000
    started = time.process_time()
    found = tokens.Scanner([b'"' + body + b'"']).string()
    assert time.process_time() - started < 0.05
    assert found == b'\\"' * 15000


@pytest.mark.parametrize("written, meant", [(b'"a\\\\"', b"a\\"), (b'"\\""', b'"'),
                                            (b'"\\\\\\""', b'\\"'), (b'"\\"\\\\b"', b'"\\b'),
                                            (b'""', b"")])
def test_escapes_in_a_quoted_string(written, meant):
    assert tokens.Scanner([written]).string() == meant
