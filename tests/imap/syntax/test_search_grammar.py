"""SEARCH's keys: every one of RFC 3501, their tree, charsets, bounded nesting."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.syntax import search_grammar
from phenmail_protocols.imap.syntax.search_grammar import DEPTH_LIMIT
from phenmail_protocols.imap.syntax.sequence import SequenceSet
from phenmail_protocols.imap.syntax.tokens import ArgumentRejected, BadSyntax, Scanner
from phenmail_protocols.imap.syntax.values import (
    Address,
    And,
    Contains,
    HasFlag,
    Header,
    InSet,
    Not,
    OnDay,
    Or,
    Search,
    Size,
)


def search(*parts, uid=False):
    scan = Scanner(list(parts))
    scan.uid = uid
    found = search_grammar.search(scan)
    scan.end()
    return found


def same(one, other):
    """Equal in types, too: NamedTuples of two kinds may be equal as tuples."""
    return repr(one) == repr(other)


def number_set(data):
    return SequenceSet.parse(data)


@pytest.mark.parametrize("line, key", [
    (b"ALL", And(())), (b"ANSWERED", HasFlag("\\Answered", True)),
    (b"DELETED", HasFlag("\\Deleted", True)),
    (b"DRAFT", HasFlag("\\Draft", True)), (b"FLAGGED", HasFlag("\\Flagged", True)),
    (b"SEEN", HasFlag("\\Seen", True)),
    (b"UNANSWERED", HasFlag("\\Answered", False)), (b"UNDELETED", HasFlag("\\Deleted", False)),
    (b"UNDRAFT", HasFlag("\\Draft", False)),
    (b"UNFLAGGED", HasFlag("\\Flagged", False)), (b"unseen", HasFlag("\\Seen", False)),
    (b"RECENT", HasFlag("\\Recent", True)),
    (b"OLD", HasFlag("\\Recent", False)), (b"New", And((HasFlag("\\Recent", True),
                                                        HasFlag("\\Seen", False)))),
    (b"KEYWORD $x", HasFlag("$x", True)), (b"UNKEYWORD Work", HasFlag("Work", False)),
    (b"BCC a", Address("bcc", "a")), (b'CC "b c"', Address("cc", "b c")),
    (b"FROM x", Address("from", "x")), (b'SUBJECT ""', Header("subject", "")),
    (b"TO y", Address("to", "y")), (b'HEADER X-Y "z"', Header("x-y", "z")),
    (b'header "Message-ID" <a@b>', Header("message-id", "<a@b>")),
    (b"BODY word", Contains(False, "word")), (b"TEXT word", Contains(True, "word")),
    (b"LARGER 100", Size(True, 100)), (b"SMALLER 0", Size(False, 0)),
    (b"LARGER 9223372036854775807", Size(True, 9223372036854775807)),
    (b"BEFORE 1-Feb-1994", OnDay(False, "before", 8797)), (
        b'ON "01-Feb-1994"', OnDay(False, "on", 8797)),
    (b"SINCE 01-FEB-1994", OnDay(False, "since", 8797)), (
        b"SENTBEFORE 1-Jan-1970", OnDay(True, "before", 0)),
    (b"SENTON 31-dec-1969", OnDay(True, "on", -1)), (b"SENTSINCE 29-Feb-2000",
                                                     OnDay(True, "since", 11016)),
    (b"UID 1:*", InSet(number_set(b"1:*"), True)), (b"2,4:*", InSet(number_set(b"2,4:*"), False)),
    (b"*", InSet(number_set(b"*"), False)),
    (b"NOT SEEN", Not(HasFlag("\\Seen", True))), (b"OR SEEN 1",
                                                  Or(HasFlag("\\Seen", True),
                                                     InSet(number_set(b"1"), False))),
    (b"(SEEN)", HasFlag("\\Seen", True)), (b"(SEEN DRAFT)", And((
        HasFlag("\\Seen", True), HasFlag("\\Draft", True)))),
    (b"SEEN DRAFT", And((HasFlag("\\Seen", True), HasFlag("\\Draft", True)))),
    (b"OR NOT (SEEN 1) OR TO a CC b", Or(Not(And((HasFlag("\\Seen", True),
                                                  InSet(number_set(b"1"), False)))),
                                                  Or(Address("to", "a"), Address("cc", "b")))),
    (b"UNDELETED BODY \"body-marker-016\"", And((HasFlag("\\Deleted", False),
                                                 Contains(False, "body-marker-016")))),
    (b"SUBJECT ]", Header("subject", "]")), (b"SUBJECT \"caf\xc3\xa9\"",
                                             Header("subject", "caf\xe9")),
])
def test_every_key(line, key):
    assert same(search(line), Search(key, False))
    assert same(search(line, uid=True), Search(key, True))
    assert same(search(b"SEEN (" + line + b") DRAFT").key.keys[1], key)
    assert same(search(b"NOT (" + line + b")").key, Not(key))


def test_strings_may_be_literals():
    assert search(b"FROM ", b"x\r\ny", b" SEEN").key == And((
        Address("from", "x\r\ny"), HasFlag("\\Seen", True)))
    assert search(b"HEADER ", b"A b", b" ", b"", b"").key == Header("a b", "")


@pytest.mark.parametrize("charset, data, text", [
    (b"UTF-8", b"\xc3\xa9", "\xe9"), (b'"utf-8"', b"\xc3\xa9", "\xe9"),
    (b"ISO-8859-15", b"\xa4", "\u20ac"), (b"KOI8-R", b"\xc1", "\u0430"),
    (b"ISO-2022-JP", b"\x1b$B$\"\x1b(B", "\u3042"), (b"windows-1252", b"\x80", "\u20ac"),
    (b"US-ASCII", b"abc", "abc"), (b"big5", b"\xa4@", "\u4e00"),
])
def test_charsets(charset, data, text):
    found = search(b"CHARSET " + charset + b" SUBJECT ", data, b"")
    assert found.key == Header("subject", text)


@pytest.mark.parametrize("charset", [b"X-UNKNOWN", b"base64", b"zlib", b"idna", b"unicode_escape",
                                     b"rot13", b'""', b'"\xc3\xa9"', b'"../x"', b"os.path"])
def test_an_unknown_charset_is_refused_with_no(charset):
    with pytest.raises(ArgumentRejected) as refused:
        search(b"CHARSET " + charset + b" ALL")
    assert refused.value.code == b"BADCHARSET (US-ASCII UTF-8)"


@pytest.mark.parametrize("parts", [(b"SUBJECT ", b"\xff", b""), (b'SUBJECT "\xe9"',),
                                   (b'CHARSET UTF-8 TEXT "\xe9"',)])
def test_octets_that_are_not_the_charset_are_an_error(parts):
    with pytest.raises(BadSyntax) as failed:
        search(*parts)
    assert b"charset" in failed.value.text and failed.value.code is None


@pytest.mark.parametrize("line", [
    b"", b"FOO", b"SEENX", b"SEEN  DRAFT", b"()", b"(SEEN", b"SEEN)", b"( SEEN)", b"(SEEN )",
    b"NOT", b"NOT ", b"OR", b"OR SEEN", b"OR SEEN ",
    b"KEYWORD", b"KEYWORD \\Seen", b'KEYWORD "x"', b"SUBJECT", b"SUBJECT ", b"SUBJECT (a)",
    b"HEADER a", b"LARGER", b"LARGER x", b"LARGER -1",
    b"LARGER 9223372036854775808", b"BEFORE", b"BEFORE 1994-02-01", b"BEFORE 31-Feb-1994",
    b"BEFORE 1-Foo-1994", b"BEFORE 1-Feb-94",
    b'BEFORE "1-Feb-1994', b"BEFORE 1-Feb-1994x", b"BEFORE 0-Jan-2000", b"BEFORE 1-Jan-0000",
    b"UID", b"UID x", b"UID 0", b"0", b"1:", b"1 :2",
    b"CHARSET UTF-8", b"CHARSET", b"MODSEQ", b"SEEN,DRAFT", b"\xff", b'"SEEN"', b"NOT NOT", b"$1",
    b"$,1",
    b"ALLSEEN",
])
def test_invalid_searches(line):
    with pytest.raises(BadSyntax) as failed:
        search(line)
    assert not isinstance(failed.value, ArgumentRejected)


@pytest.mark.parametrize("opening, middle, closing", [(b"NOT ", b"SEEN", b""),
                                                      (b"(", b"SEEN", b")"),
                                                      (b"OR SEEN ", b"SEEN", b""),
                                                      (b"OR ", b"SEEN", b" SEEN")])
def test_nesting_is_bounded(opening, middle, closing):
    search(opening * DEPTH_LIMIT + middle + closing * DEPTH_LIMIT)
    for depth in (DEPTH_LIMIT + 1, 20000):
        with pytest.raises(BadSyntax) as failed:
            search(opening * depth + middle + closing * depth)
        assert b"50 levels" in failed.value.text


def test_an_error_says_where():
    with pytest.raises(BadSyntax) as failed:
        search(b"SEEN (DRAFT FOO)")
    assert failed.value.text == b"expected a search key at octet 13"


_WORD = st.sampled_from([b"SEEN", b"NOT", b"OR", b"(", b")", b"1:*", b"SUBJECT", b'"x"', b"UID",
                         b"BEFORE", b"1-Feb-1994", b"LARGER", b"CHARSET", b"UTF-8"])


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.lists(_WORD, max_size=12).map(b" ".join)))
def test_any_bytes_end(line):
    try:
        search(line)
    except BadSyntax:
        pass
