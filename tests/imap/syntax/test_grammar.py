"""Whole commands: the arguments of each, literals, tags, errors; what the reader asks."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.imap.syntax import grammar
from phenmail_protocols.imap.syntax.command_grammar import STATUS_ITEMS
from phenmail_protocols.imap.syntax.grammar import ArgumentRejected, BadSyntax
from phenmail_protocols.imap.syntax.sequence import SAVED, SequenceSet
from phenmail_protocols.imap.syntax.values import (
    LITERAL,
    LITERAL8,
    UTF8,
    Append,
    AppendMessage,
    Authenticate,
    Command,
    Copy,
    Create,
    Criterion,
    EventGroup,
    Fetch,
    HasFlag,
    InSet,
    List,
    Login,
    Notify,
    Rename,
    Resync,
    Search,
    Section,
    Select,
    SetQuota,
    Sort,
    Status,
    Store,
    StreamedLiteral,
    Thread,
)
from phenmail_protocols.imap.table import TABLE

WITHOUT_ARGUMENTS = ("CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "IDLE", "CHECK",
                     "CLOSE", "UNSELECT", "EXPUNGE")


def numbers(data):
    return SequenceSet.parse(data)


def parse(parts):
    return grammar.parse(parts, TABLE)


GOOD = [
    # not authenticated
    ([b"AUTHENTICATE PLAIN"], "AUTHENTICATE", Authenticate("PLAIN", None)),
    ([b"authenticate scram-sha-256 AGEAYg=="], "AUTHENTICATE",
     Authenticate("SCRAM-SHA-256", b"\0a\0b")),
    ([b"AUTHENTICATE EXTERNAL ="], "AUTHENTICATE", Authenticate("EXTERNAL", b"")),
    ([b"LOGIN joe secret"], "LOGIN", Login("joe", "secret")),
    ([b'LOGIN "joe" "a \\"b\\\\"'], "LOGIN", Login("joe", 'a "b\\')),
    ([b"LOGIN ", b"joe", b" ", b"p\xc3\xa4ss", b""], "LOGIN", Login("joe", "p\xe4ss")),
    ([b'LOGIN joe@example.org "p\xc3\xa4ss"'], "LOGIN", Login("joe@example.org", "p\xe4ss")),
    # any state
    ([b"ID NIL"], "ID", ()),
    ([b"ID ()"], "ID", ()),
    ([b'ID ("name" "x" "os" NIL)'], "ID", (("name", "x"), ("os", None))),
    ([b"ENABLE CONDSTORE qresync condstore"], "ENABLE", ("CONDSTORE", "QRESYNC")),
    ([b"COMPRESS deflate"], "COMPRESS", "DEFLATE"),
    # authenticated
    ([b"SELECT inbox"], "SELECT", Select("INBOX")),
    ([b'EXAMINE "A b/&AMQ-"'], "EXAMINE", Select("A b/\xc4")),
    ([b"SELECT x (condstore)"], "SELECT", Select("x", True)),
    ([b"SELECT x (QRESYNC (7 9))"], "SELECT", Select("x", True, Resync(7, 9))),
    ([b"SELECT x (CONDSTORE QRESYNC (7 0 41,43:211 (5,7 15,22)))"], "SELECT", Select(
        "x", True, Resync(7, 0, numbers(b"41,43:211")))),
    ([b"SELECT x (QRESYNC (7 9 (1 2)))"], "SELECT", Select(
        "x", True, Resync(7, 9))),
    ([b"STORE 1 (UNCHANGEDSINCE 5) FLAGS (a)"], "STORE", Store(
        numbers(b"1"), "replace", False, ("a",), False, 5)),
    ([b"FETCH 1 BINARY[2.1]<0.9>"], "FETCH", Fetch(numbers(b"1"), (
        Section(False, (2, 1), "BINARY", frozenset(), (0, 9), b"BINARY[2.1]<0>"),), False)),
    ([b"FETCH 1 (binary.peek[] BINARY.SIZE[3])"], "FETCH", Fetch(numbers(b"1"), (
        Section(True, (), "BINARY", frozenset(), None, b"BINARY[]"),
        Section(True, (3,), "BINARY.SIZE", frozenset(), None, b"BINARY.SIZE[3]")), False)),
    ([b"FETCH 1 FLAGS (CHANGEDSINCE 5)"], "FETCH", Fetch(
        numbers(b"1"), ("FLAGS", "MODSEQ"), False, 5)),
    ([b"UID FETCH 1 (MODSEQ) (vanished changedsince 5)"], "UID FETCH", Fetch(
        numbers(b"1"), ("MODSEQ",), True, 5, True)),
    ([b"GETQUOTA \"\""], "GETQUOTA", b""),
    ([b"GETQUOTAROOT inbox"], "GETQUOTAROOT", "INBOX"),
    ([b"SETQUOTA ", b"a b", b" (storage 1 MESSAGE 9223372036854775807)"], "SETQUOTA",
     SetQuota(b"a b", {"STORAGE": 1, "MESSAGE": (1 << 63) - 1})),
    ([b"SETQUOTA a ()"], "SETQUOTA", SetQuota(b"a", {})),
    ([b"CREATE a/b/"], "CREATE", Create("a/b/")),
    ([b"CREATE x (USE (\\sent \\Archive))"], "CREATE", Create("x", ("\\Sent", "\\Archive"))),
    ([b"DELETE x"], "DELETE", "x"),
    ([b"RENAME INBOX ", b"old mail", b""], "RENAME", Rename("INBOX", "old mail")),
    ([b"SUBSCRIBE ", b"x", b""], "SUBSCRIBE", "x"),
    ([b"UNSUBSCRIBE x"], "UNSUBSCRIBE", "x"),
    ([b'LIST "" *'], "LIST", List("", ("*",))),
    ([b'LIST "" ""'], "LIST", List("", ("",))),
    ([b"LIST ~/mail/ %"], "LIST", List("~/mail/", ("%",))),
    ([b'LIST "" "a/%"'], "LIST", List("", ("a/%",))),
    ([b"list (subscribed) \"\" \"*\" return (special-use)"], "LIST",
     List("", ("*",), ("SUBSCRIBED",), ("SPECIAL-USE",), (), True)),
    ([b'LIST () "" (a "b%" INBOX)'], "LIST", List("", ("a", "b%", "INBOX"), (), (), (), True)),
    ([b'LIST "" % RETURN (CHILDREN STATUS (MESSAGES UNSEEN))'], "LIST",
     List("", ("%",), (), ("CHILDREN", "STATUS"), ("MESSAGES", "UNSEEN"), True)),
    ([b'LSUB "" inbox*'], "LSUB", List("", ("inbox*",))),
    ([b"STATUS inbox (messages RECENT uidnext UIDVALIDITY UNSEEN MESSAGES)"], "STATUS",
     Status("INBOX", ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"))),
    ([b"APPEND inbox ", b"hello", b""], "APPEND",
     Append("INBOX", AppendMessage((), None, LITERAL, 5, False))),
    ([b"APPEND x (\\seen $a) ", StreamedLiteral(0), b""], "APPEND",
     Append("x", AppendMessage(("\\Seen", "$a"), None, LITERAL, 0, True))),
    ([b'APPEND x () "17-Jul-1996 02:44:25 -0700" ', b"m", b""], "APPEND",
     Append("x", AppendMessage((), 837596665, LITERAL, 1, False))),
    ([b"APPEND ", b"x", b' " 1-Jan-1970 00:00:01 +0000" ~', b"a\0b", b""], "APPEND",
     Append("x", AppendMessage((), 1, LITERAL8, 3, False))),
    ([b"APPEND x utf8 (~", StreamedLiteral(7), b""], "APPEND",
     Append("x", AppendMessage((), None, UTF8, 7, True))),
    ([b"APPEND x UTF8 (~", b"1234567", b")"], "APPEND",
     Append("x", AppendMessage((), None, UTF8, 7, False))),
    # selected
    ([b"UID EXPUNGE 1:*"], "UID EXPUNGE", numbers(b"1:*")),
    ([b"COPY 2:4 x"], "COPY", Copy(numbers(b"2:4"), "x", False)),
    ([b"uid copy 5 ", b"x", b""], "UID COPY", Copy(numbers(b"5"), "x", True)),
    ([b"MOVE * x"], "MOVE", Copy(numbers(b"*"), "x", False)),
    ([b"UID MOVE 1373,1378:1379 \"Lists/dev\""], "UID MOVE",
     Copy(numbers(b"1373,1378:1379"), "Lists/dev", True)),
    ([b"STORE 1 FLAGS ()"], "STORE", Store(numbers(b"1"), "replace", False, (), False)),
    ([b"STORE 1:* +flags.silent (\\deleted)"], "STORE", Store(
        numbers(b"1:*"), "add", True, ("\\Deleted",), False)),
    ([b"UID STORE 1 -FLAGS \\Seen $x \\SEEN"], "UID STORE", Store(
        numbers(b"1"), "remove", False, ("\\Seen", "$x"), True)),
    ([b"FETCH 1 FLAGS"], "FETCH", Fetch(numbers(b"1"), ("FLAGS",), False)),
    ([b"UID FETCH 1:* (UID FLAGS)"], "UID FETCH", Fetch(numbers(b"1:*"), ("UID", "FLAGS"), True)),
    ([b"SEARCH UNSEEN"], "SEARCH", Search(HasFlag("\\Seen", False), False)),
    ([b"UID SEARCH CHARSET utf-8 UID 7"], "UID SEARCH", Search(InSet(numbers(b"7"), True), True)),
    ([b"SEARCH return () 7"], "SEARCH", Search(InSet(numbers(b"7"), False), False, ("ALL",))),
    ([b"SEARCH RETURN (MIN max COUNT min SAVE) CHARSET utf-8 $"], "SEARCH",
     Search(InSet(SAVED, False), False, ("MIN", "MAX", "COUNT", "SAVE"))),
    ([b"FETCH $ FLAGS"], "FETCH", Fetch(SAVED, ("FLAGS",), False)),
    ([b"SORT (subject reverse DATE) utf-8 UNSEEN"], "SORT", Sort(
        (Criterion("SUBJECT", False), Criterion("DATE", True)), HasFlag("\\Seen", False), False)),
    ([b"UID SORT RETURN (COUNT) (DISPLAYFROM) us-ascii 7"], "UID SORT", Sort(
        (Criterion("DISPLAYFROM", False),), InSet(numbers(b"7"), False), True, ("COUNT",))),
    ([b"THREAD references utf-8 7"], "THREAD", Thread(
        "REFERENCES", InSet(numbers(b"7"), False), False)),
    ([b"UID THREAD ORDEREDSUBJECT utf-8 7"], "UID THREAD", Thread(
        "ORDEREDSUBJECT", InSet(numbers(b"7"), False), True)),
    ([b"NOTIFY SET (personal (MailboxName))"], "NOTIFY", Notify(
        False, (EventGroup("PERSONAL", (), frozenset(["MailboxName"])),))),
] + [([name.encode()], name, None) for name in WITHOUT_ARGUMENTS]


def with_tag(parts, tag=b"a1"):
    return [tag + b" " + parts[0]] + parts[1:]


@pytest.mark.parametrize("parts, name, arguments", GOOD)
def test_every_command(parts, name, arguments):
    found = parse(with_tag(parts))
    assert found == Command(b"a1", name, arguments) and type(found.arguments) is type(arguments)


@pytest.mark.parametrize("parts, name, arguments", GOOD)
def test_every_command_with_trailing_data(parts, name, arguments):
    """A space at the end is allowed; anything more is an error."""
    spaced = with_tag(parts)
    assert parse(spaced[:-1] + [spaced[-1] + b" "]) == Command(b"a1", name, arguments)
    for rest in (b" (", b"\r", b'"', b" \\"):
        with pytest.raises(BadSyntax):
            parse(spaced[:-1] + [spaced[-1] + rest])
    with pytest.raises(BadSyntax):
        parse(spaced + [b"x", b""])


@pytest.mark.parametrize("parts, name, arguments", GOOD)
def test_every_command_cut_short_ends_with_its_tag(parts, name, arguments):
    line = with_tag(parts)[0]
    for end in range(len(line)):
        try:
            assert parse([line[:end]]).tag == b"a1"
        except BadSyntax as error:
            assert error.tag == (line[:end].partition(b" ")[0] or None)
            assert error.text and all(32 <= octet < 127 for octet in error.text)


def test_every_row_of_the_table_is_tried_here():
    assert {name for _, name, _ in GOOD} == set(TABLE)


@pytest.mark.parametrize("line", [
    b"AUTHENTICATE", b"AUTHENTICATE PLAIN ====", b"AUTHENTICATE PLAIN A", b"AUTHENTICATE PLAIN *",
    b'AUTHENTICATE "PLAIN"',
    b"LOGIN", b"LOGIN joe", b"LOGIN joe ", b'LOGIN "joe"secret', b"LOGIN joe a b",
    b'LOGIN joe "dom\\user"', b"LOGIN (a) b", b"LOGIN joe pass\xe4",
    b"COMPRESS", b"COMPRESS ", b"COMPRESS (DEFLATE)", b"COMPRESS DEFLATE 9",
    b"ID", b"ID (name x)", b'ID ("name")', b'ID "x"', b'ID ("a" "b" )', b"ENABLE", b"ENABLE ",
    b"ENABLE (X)", b"NOOP x", b"NOOP(", b"CAPABILITY 1", b"COMPRESS", b"COMPRESS GZIP",
    b"SELECT", b"SELECT ", b"SELECT a b", b"SELECT (a)", b"SELECT a (FOO)",
    b"SELECT a (CONDSTORE (1 2))", b"SELECT a (QRESYNC 1 2)", b"CREATE",
    b"CREATE x (", b"CREATE x (FOO (\\Sent))",
    b"CREATE x (USE \\Sent)", b"CREATE x (USE (Sent))", b"CREATE x (USE (\\Sent)", b"RENAME a",
    b"RENAME a b c", b"DELETE", b"LIST", b'LIST ""',
    b'LIST "" a b', b'LIST "" ()', b'LIST "" (a', b'LIST (FOO) "" *', b'LIST "" * RETURN',
    b'LIST "" * RETURN (FOO)', b'LIST "" * RETURN (STATUS)',
    b'LIST "" * RETURN (STATUS ())', b'LSUB "" * RETURN (CHILDREN)', b'LSUB (SUBSCRIBED) "" *',
    b'LSUB "" (a b)', b"STATUS x", b"STATUS x ()",
    b"STATUS x (FOO)", b"STATUS x MESSAGES", b"STATUS x (MESSAGES", b"APPEND", b"APPEND x",
    b"APPEND x (\\Seen)", b'APPEND x "hello"',
    b"APPEND x (\\Recent) ", b'APPEND x "1-Jan-1970 00:00:01 +0000" ',
    b'APPEND x "32-Jan-1970 00:00:01 +0000" ', b"EXPUNGE 1", b"UID", b"UID ",
    b"UID EXPUNGE", b"UID EXPUNGE 0", b"COPY 1", b"COPY x y", b"COPY 1 a b", b"MOVE 1,", b"STORE 1",
    b"STORE 1 FLAGS",
    b"STORE 1 FLAGS ", b"STORE 1 FLAG (x)", b"STORE 1 *FLAGS (x)", b"STORE 1 FLAGS.LOUD (x)",
    b"STORE 1 +FLAGS (\\Recent)", b"STORE 1 +FLAGS (\\*)",
    b"STORE 1 +FLAGS (a) b", b"STORE a +FLAGS (a)", b"STORE 1 (UNCHANGEDSINCE) FLAGS (a)",
    b"FETCH", b"FETCH 1", b"FETCH 1 ", b"FETCH a FLAGS",
    b"FETCH 1 (FLAGS", b"FETCH 1 FLAGS x", b"FETCH 1FLAGS", b"FETCH 1  FLAGS", b"SEARCH",
    b"SEARCH ", b"SEARCH RETURN ALL ALL", b"SEARCH RETURN (ALL)", b"SEARCH RETURN (FEW) ALL",
    b"SEARCH RETURN (ALL ) ALL", b"SORT (SUBJECT) UTF-8", b"SORT SUBJECT UTF-8 ALL",
    b"SORT () UTF-8 ALL",
    b"SORT (REVERSE) UTF-8 ALL", b"SORT (REVERSE REVERSE DATE) UTF-8 ALL", b"SORT (DAY) UTF-8 ALL",
    b"THREAD UTF-8 ALL", b"THREAD BY-DATE UTF-8 ALL",
    b"THREAD REFERENCES UTF-8", b"FETCH $:1 FLAGS", b"FETCH 1,$ FLAGS",
    b"", b" ", b" NOOP", b"NOOP\0",
])
def test_syntax_errors(line):
    with pytest.raises(BadSyntax) as failed:
        parse([b"x.7 " + line])
    assert failed.value.tag == b"x.7" and not isinstance(failed.value, ArgumentRejected)
    assert b"expected" in failed.value.text and b" at octet " in failed.value.text


@pytest.mark.parametrize(
    "line", [b"FROBNICATE", b"NO OP", b"n\xc3\xb6\xc3\xb6p", b"UID NOOP", b"UID UID"])
def test_unknown_commands(line):
    with pytest.raises(BadSyntax) as failed:
        parse([b"x.7 " + line])
    assert failed.value.tag == b"x.7" and not isinstance(failed.value, ArgumentRejected)
    assert failed.value.text == b"unknown command"


@pytest.mark.parametrize("line", [b"", b" ", b" NOOP", b"+ NOOP", b"* NOOP", b"(a NOOP",
                                  b"a+b NOOP", b"\xff NOOP", b"%", b'"a" NOOP', b"{3}", b"\r"])
def test_without_a_tag_there_is_none_in_the_error(line):
    with pytest.raises(BadSyntax) as failed:
        parse([line])
    assert failed.value.tag in (None, b"a")


@pytest.mark.parametrize("tag", [b"a", b"A0001", b"]", b"1", b".", b"a]b.c-d!", b"&"])
def test_tags(tag):
    assert parse([tag + b" noop"]) == Command(tag, "NOOP", None)


def test_an_error_names_the_command_and_the_place():
    with pytest.raises(BadSyntax) as failed:
        parse([b"a1 uid store ", b"x", b" FLAGS"])
    assert failed.value.text == b"UID STORE: expected a sequence set at octet 14"
    with pytest.raises(BadSyntax) as failed:
        parse([b"a1 status ", b"0123456789", b" (MESSAGES FOO)"])
    assert failed.value.text == b"STATUS: expected a STATUS item (%b) at octet 32" % (
        " ".join(STATUS_ITEMS).encode())


@pytest.mark.parametrize("parts, code", [
    ([b"SELECT a&b"], b"CANNOT"), ([b"LIST &b *"], b"CANNOT"),
    ([b"SEARCH CHARSET X-NONE ALL"], b"BADCHARSET (US-ASCII UTF-8)"),
    ([b'LOGIN joe "\xe9"'], b"AUTHENTICATIONFAILED"), ([b"APPEND &b ", b"x", b""], b"CANNOT"),
])
def test_rejected_arguments(parts, code):
    with pytest.raises(ArgumentRejected) as refused:
        parse(with_tag(parts))
    assert refused.value.code == code and refused.value.tag == b"a1"


def test_a_literal_with_nul_is_no_string():
    with pytest.raises(BadSyntax):
        parse([b"a1 LOGIN ", b"joe\0", b" x"])


@pytest.mark.parametrize("parts", [[b"a LOGIN ", b" x"], [b"a SELECT ", b""],
                                   [b"a SEARCH SUBJECT ", b""], [b"a APPEND ", b" ", b"m", b""]])
def test_a_streamed_literal_is_appends_message_only(parts):
    with pytest.raises(BadSyntax) as failed:
        parse(parts[:1] + [StreamedLiteral(99)] + parts[1:])
    assert failed.value.tag == b"a"


def test_a_streamed_literal_is_carried_along():
    literal = StreamedLiteral(1 << 40)
    found = parse([b"a append x ", literal, b""])
    assert found.arguments.message.size == 1 << 40 and found.arguments.message.streams
    with pytest.raises(BadSyntax) as failed:
        parse([b"a append x ", literal, b" y"])
    assert failed.value.text.endswith(b"at octet %d" % ((1 << 40) + 12))


@pytest.mark.parametrize("line, size, non_sync, binary, piece", [
    (b"a LOGIN {3}", 3, False, False, b"a LOGIN "), (b"a LOGIN {3+}", 3, True, False, b"a LOGIN "),
    (b"{0}", 0, False, False, b""),
    (b"a APPEND x ~{12}", 12, False, True, b"a APPEND x ~"), (b"x ~{1+}", 1, True, True, b"x ~"),
    (b"{007}", 7, False, False, b""),
    (b"{999999999999999999}", 999999999999999999, False, False, b""),
    (b"{9999999999999999999}", 1 << 63, False, False, b""),
    (b"{" + b"9" * 8000 + b"+}", 1 << 63, True, False, b""),
])
def test_a_literal_at_the_end_of_a_line(line, size, non_sync, binary, piece):
    mark = grammar.literal_at_end(line)
    assert mark[:3] == (size, non_sync, binary) and line[:mark.start] == piece


@pytest.mark.parametrize("line", [
    b"", b"a NOOP", b"{3", b"3}", b"{}", b"{+}", b"{-1}", b"{3-}", b"{3}x", b"{3} ", b'"{3}"',
    b"{3}\n", b"{ 3}", b"{3 }", b"{\xb2}", b"{3++}", b"{0x3}",
])
def test_no_literal_at_the_end(line):
    assert grammar.literal_at_end(line) is None


@pytest.mark.parametrize("parts, streams", [
    ([b"a APPEND x "], True), ([b"a append x (\\Seen) "], True),
    ([b'a APPEND "x y" () "17-Jul-1996 02:44:25 -0700" '], True),
    ([b'a APPEND x "17-Jul-1996 02:44:25 -0700" ~'], True), ([b"a APPEND ", b"x", b" "], True),
    ([b"a APPEND ", b"x", b" (b) "], True),
    ([b"a APPEND &bad "], True), ([b"a APPEND "], False), ([b"a APPEND"], False),
    ([b"a APPEND x"], False), ([b"a APPEND x  "], False),
    ([b"a APPEND x ("], False), ([b"a APPEND x (\\Bad) "], False), ([b'a APPEND x "'], False),
    ([b"a SELECT x "], False), ([b"a LOGIN "], False),
    ([b"APPEND x "], False), ([b""], False), ([b"a APPEND x ", b"message", b""], False),
    ([b"a UID APPEND x "], False),
])
def test_which_literal_may_stream(parts, streams):
    assert grammar.may_stream(parts) is streams


_WORDS = sorted(name.encode() for name in TABLE) + [
    b"(", b")", b'"', b'"x"', b"INBOX", b"1:*", b"\\Seen", b"FLAGS", b"+FLAGS", b"BODY[", b"]",
    b"HEADER.FIELDS", b"<0.1>", b"NIL", b"~", b"*", b"\\",
    b"MESSAGES", b"RETURN", b"SUBJECT", b"\xff", b"\0"]
_PIECE = st.one_of(st.binary(max_size=12), st.lists(st.sampled_from(_WORDS),
                                                    max_size=6).map(b" ".join))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(_PIECE, st.one_of(st.binary(max_size=6), st.just(StreamedLiteral(5)))),
                max_size=3), _PIECE, st.booleans())
def test_any_command_ends_with_a_value_or_an_error(pairs, last, tagged):
    parts = [piece for pair in pairs for piece in pair] + [last]
    if tagged:
        parts[0] = b"a " + parts[0]
    for pieces in (parts, parts[:1]):
        try:
            found = parse(pieces)
            assert found.name in TABLE
        except BadSyntax as error:
            assert all(32 <= octet < 127 for octet in error.text)
        assert grammar.may_stream(pieces) in (True, False)
    grammar.literal_at_end(last)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(GOOD), st.data())
def test_a_damaged_command_ends(row, data):
    line = bytearray(with_tag(row[0])[0])
    line[data.draw(st.integers(0, len(line) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse([bytes(line)] + row[0][1:])
    except BadSyntax:
        pass
