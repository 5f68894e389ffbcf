"""Responses as bytes: each form of string, status lines, flag lists, FETCH lines."""
import re
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap import responses
from phenmail_protocols.imap.commands import copy_move
from phenmail_protocols.imap.syntax import grammar
from phenmail_protocols.imap.syntax.sequence import SequenceSet
from phenmail_protocols.imap.syntax.tokens import Scanner
from phenmail_protocols.imap.table import TABLE

LITERAL = re.compile(rb"\{([0-9]+)\}\r\n")


def parts_of(wire):
    """What the reader would make of these bytes: line pieces and literals in turn."""
    parts, at = [], 0
    for mark in iter(lambda: LITERAL.search(wire, at), None):
        end = mark.end() + int(mark.group(1))
        parts += [wire[at:mark.start()], wire[mark.end():end]]
        at = end
    return parts + [wire[at:]]


@pytest.mark.parametrize("data, wire", [
    (b"", b'""'), (b"a b", b'"a b"'), (b'a"b\\', b'"a\\"b\\\\"'), (b"NIL", b'"NIL"'),
    (b"a\tb\x7f", b'"a\tb\x7f"'), (b"\xe9", b"{1}\r\n\xe9"),
    (b"a\r\nb", b"{4}\r\na\r\nb"), (b"\r", b"{1}\r\n\r"), (b"a\0b", b"{3}\r\na\0b"),
    (b"x" * 1024, b'"' + b"x" * 1024 + b'"'),
    (b"x" * 1025, b"{1025}\r\n" + b"x" * 1025),
])
def test_strings(data, wire):
    assert responses.string(data) == responses.nstring(data) == wire


def test_every_octet_as_a_string():
    for octet in range(256):
        data = bytes((octet,))
        quoted = 1 <= octet < 128 and octet not in (10, 13)
        assert responses.string(data)[:1] == (b'"' if quoted else b"{"), octet


@pytest.mark.parametrize("data, wire", [
    (b"INBOX", b"INBOX"), (b"a/b&-", b"a/b&-"), (b"", b'""'), (b"a b", b'"a b"'), (b"a]", b'"a]"'),
    (b"50%", b'"50%"'), (b"nil", b'"nil"'), (b"(", b'"("'),
    (b"\xe9", b"{1}\r\n\xe9"),
])
def test_astrings(data, wire):
    assert responses.astring(data) == wire


@pytest.mark.parametrize("name, wire", [("INBOX", b"INBOX"), ("Entw\xfcrfe", b"Entw&APw-rfe"),
                                        ("a b", b'"a b"'), ("A&B", b"A&-B"), ("NIL", b'"NIL"')])
def test_mailbox_names(name, wire):
    assert responses.mailbox(name, False) == wire


@pytest.mark.parametrize("name, wire", [
    ("INBOX", b"INBOX"), ("Entw\xfcrfe", b'"Entw\xc3\xbcrfe"'), ("a b", b'"a b"'), ("A&B", b"A&B"),
    ("NIL", b'"NIL"'), ("&AOQ-", b"&AOQ-"), ('\xe4"\\', b'"\xc3\xa4\\"\\\\"'),
    ("\xe4\r\n", b"{4}\r\n\xc3\xa4\r\n")])
def test_mailbox_names_in_utf8(name, wire):
    assert responses.mailbox(name, True) == wire


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40).filter(lambda data: b"\0" not in data))
def test_written_strings_read_back(data):
    for write, read in ((responses.string, Scanner.string), (responses.astring, Scanner.astring),
                        (responses.nstring, Scanner.nstring)):
        scan = Scanner(parts_of(write(data)))
        assert read(scan) == data and scan.at_end()


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20),
       st.booleans())
def test_mailbox_names_read_back(name, utf8):
    scan = Scanner(parts_of(responses.mailbox(name, utf8)), utf8)
    assert scan.list_mailbox() == name and scan.at_end()


@pytest.mark.parametrize("line, wire", [
    (responses.tagged(b"a1", b"OK", b"Done."), b"a1 OK Done.\r\n"),
    (responses.tagged(b"a1", b"NO", b"No.", b"TRYCREATE"), b"a1 NO [TRYCREATE] No.\r\n"),
    (responses.tagged(b"a1", b"NO", b"no x\r\n* BYE \xe9\0"), b"a1 NO no x??* BYE ??\r\n"),
    (responses.untagged_status(b"BYE", b"Goodbye."), b"* BYE Goodbye.\r\n"),
    (responses.untagged_status(b"OK", b"x", b"UIDNEXT 5"), b"* OK [UIDNEXT 5] x\r\n"),
    (responses.continuation(b"AGE="), b"+ AGE=\r\n"), (responses.continuation(), b"+ \r\n"),
])
def test_lines(line, wire):
    assert line == wire


@pytest.mark.parametrize("keywords, full, writable, lines", [
    (("z", "a"), False, True, (rb"* FLAGS (%b a z)", rb"* OK [PERMANENTFLAGS (%b a z \*)] ")),
    (("z", "a"), True, True, (rb"* FLAGS (%b a z)", rb"* OK [PERMANENTFLAGS (%b a z)] ")),
    ((), False, False, (rb"* FLAGS (%b)", rb"* OK [PERMANENTFLAGS ()] ")),
])
def test_known_flags(keywords, full, writable, lines):
    for line, wire in zip(responses.known_flags(keywords, full, writable), lines):
        assert line.startswith(wire.replace(b"%b", rb"\Answered \Flagged \Deleted \Seen \Draft"))


def test_copyuid_pairs_read_back_in_step():
    pairs = [(1, 100), (2, 101), (7, 102), (8, 104)]
    _, _, sources, targets = copy_move._copyuid(1, pairs).split(b" ")
    flat = [[number for low, high in SequenceSet.parse(data).ranges
             for number in range(low, high + 1)] for data in (sources, targets)]
    assert list(zip(*flat)) == pairs


def test_flag_lists_are_kept_and_bounded():
    plain, recent = responses.FlagLists(), responses.FlagLists(recent=True)
    seen = frozenset(("\\Seen", "$x"))
    assert plain[seen] == b"(\\Seen $x)" and recent[seen] == b"(\\Seen \\Recent $x)"
    assert plain[frozenset()] == b"()"
    assert plain[seen] is plain[frozenset(("$x", "\\Seen"))]
    for number in range(5000):
        assert plain[frozenset(("k%d" % number,))] == b"(k%d)" % number
    assert len(plain) <= 4096


@pytest.mark.parametrize("ranges, recent", [
    ([], []), ([(1, 5)], [1, 4]), ([(4, 6), (9, 100)], [4, 9]), ([(0, 1000)], [1, 4, 9]),
    ([(5, 9)], []), ([(10, 20)], []),
])
def test_the_flag_column_marks_what_is_recent(ranges, recent):
    uids = array("I", [1, 4, 9])
    column = responses.flag_column([frozenset()] * 3, uids, ranges, responses.FlagLists(),
                                   responses.FlagLists(recent=True))
    assert column == [b"(\\Recent)" if uid in recent else b"()" for uid in uids]


def test_fetch_lines():
    lines = responses.fetch_lines([1, 7], [
        (b"UID", b"%d", array("I", [5, 4294967295])), (b"FLAGS", b"%b", [b"()", b"(\\Seen)"]),
        (b'BODY[HEADER.FIELDS ("50%d")]', b"%b", [b"{2}\r\n\r\n", b"NIL"])])
    assert list(lines) == [
        b'* 1 FETCH (UID 5 FLAGS () BODY[HEADER.FIELDS ("50%d")] {2}\r\n\r\n)\r\n',
        b'* 7 FETCH (UID 4294967295 FLAGS (\\Seen) BODY[HEADER.FIELDS ("50%d")] NIL)\r\n']


@pytest.mark.parametrize("epoch, date", [
    (0, b'"01-Jan-1970 00:00:00 +0000"'), (837596665, b'"17-Jul-1996 09:44:25 +0000"'),
    (-1, b'"31-Dec-1969 23:59:59 +0000"'),
    (4102444799, b'"31-Dec-2099 23:59:59 +0000"'),
    (253402300799, b'"31-Dec-9999 23:59:59 +0000"'), (253402300800,
                                                      b'"31-Dec-9999 00:00:00 +0000"'),
    (-62135596800, b'"01-Jan-0001 00:00:00 +0000"'), (-62135596801,
                                                      b'"01-Jan-0001 23:59:59 +0000"'),
])
def test_internal_dates(epoch, date):
    assert responses.internal_dates([epoch, epoch]) == [date, date]


@settings(max_examples=100, deadline=None)
@given(st.integers(-(1 << 33), 1 << 35))
def test_internal_dates_read_back(epoch):
    (date,) = responses.internal_dates([epoch])
    found = grammar.parse([b"a APPEND x " + date + b" ", b"m", b""], TABLE)
    assert found.arguments.message.date == epoch
