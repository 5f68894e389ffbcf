"""The grammar of command lines: tables, each octet once, and any bytes at all."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail.address import Address
from phenmail_protocols.mail.envelope import Recipient
from phenmail_protocols.protocol.auth_argument import Auth
from phenmail_protocols.smtp import grammar
from phenmail_protocols.smtp.grammar import Chunk, GrammarError, Mail

ANNA = Address("anna", "example.org")

PATHS = [
    (b"<anna@example.org>", ANNA),
    (b"<anna@EXAMPLE.org>", ANNA),
    (b"<>", None),
    (b"<a+b=c/d@x>", Address("a+b=c/d", "x")),
    (b"<first.last@a.b.c>", Address("first.last", "a.b.c")),
    (b'<"two words"@example.org>', Address("two words", "example.org")),
    (b'<"a\\"b@c"@example.org>', Address('a"b@c', "example.org")),
    (b'<"an\\na"@example.org>', Address("anna", "example.org")),
    (b"<a@[127.0.0.1]>", Address("a", "[127.0.0.1]")),
    (b"<a@[IPv6:::1]>", Address("a", "[ipv6:::1]")),
    (b"<@one.example,@two:anna@example.org>", ANNA),
    (b"<a@under_score.example>", Address("a", "under_score.example")),
    (b"<PostMaster>", Address("PostMaster", "")),
    ("<jürgen@exämple.net>".encode(), Address("jürgen", "xn--exmple-cua.net")),
    ("<anna@faß.example>".encode(), Address("anna", "xn--fa-hia.example")),
    ("<@bücher.example:anna@BÜCHER.example>".encode(), Address("anna", "xn--bcher-kva.example")),
    (b"<.anna@x>", Address(".anna", "x")), (b"<a..b@x>", Address("a..b", "x")),
    (b"<a.@x>", Address("a.", "x")),
]
NOT_PATHS = [
    b"", b"<", b">", b"anna@example.org", b"<anna@example.org", b"<anna>", b"<@example.org>",
    b"<anna@>",
    b"<a b@x>", b"<a@x y>", b"<a@.x>", b"<a@x.>", b"<a@x..y>", b"<a@[127.0.0.256]>", b"<a@[]>",
    b"<a@[x>", b'<"a@x>',
    b'<"a"b@x>', b"<a@x\r>", b"<a\0@x>", b"<\xff\xfe@x>", b"<a@-x>", b"<a@" + b"x" * 64 + b">",
    b"<a@" + b"x." * 200 + b"x>", b"<(c)a@x>",
]


@pytest.mark.parametrize("data, address", PATHS)
def test_paths(data, address):
    assert grammar.parse_path(data) == (address, b"")
    assert grammar.parse_path(data + b" REST=1") == (address, b" REST=1")


@pytest.mark.parametrize("data", NOT_PATHS, ids=range(len(NOT_PATHS)))
def test_what_is_no_path(data):
    with pytest.raises(GrammarError) as refused:
        grammar.parse_path(data)
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (501, "5.1.3")


@pytest.mark.parametrize("data", [data for data, _ in PATHS])
def test_a_path_cut_short_is_none(data):
    for length in range(len(data)):
        with pytest.raises(GrammarError):
            grammar.parse_path(data[:length])


def test_which_octets_stand_in_a_local_part():
    taken = {octet for octet in range(256) if _is_path(b"<a" + bytes([octet]) + b"b@x>")}
    assert taken == set(
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~.")


def test_which_octets_stand_in_a_domain():
    taken = {octet for octet in range(256) if _is_path(b"<a@x" + bytes([octet]) + b"x>")}
    assert taken == set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


def _is_path(data):
    try:
        return grammar.parse_path(data)[1] == b""
    except GrammarError:
        return False


@pytest.mark.parametrize("line, verb, rest", [
    (b"NOOP\r\n", b"NOOP", b""),
    (b"mail FROM:<a@b>  \r\n", b"MAIL", b"FROM:<a@b>"),
    (b"\r\n", b"", b""),
    (b" NOOP\r\n", b"", b"NOOP"),
])
def test_split(line, verb, rest):
    assert grammar.split(line) == (verb, rest)


@pytest.mark.parametrize("line", [b"", b"NOOP", b"NOOP\n", b"NOOP\r", b"\n"])
def test_a_line_needs_its_crlf(line):
    for parse in (grammar.split, grammar.without_crlf):
        with pytest.raises(GrammarError) as refused:
            parse(line)
        assert refused.value.reply.code == 500


@pytest.mark.parametrize("argument, mail", [
    (b"FROM:<anna@example.org>", Mail(ANNA)),
    (b"from: <>", Mail(None)),
    (b"FROM:<> SIZE=0", Mail(None, size=0)),
    (b"FROM:<> size=123 body=8bitmime SMTPUTF8 RET=full ENVID=a+2Bb AUTH=<>",
     Mail(None, 123, "8BITMIME", True, "FULL", "a+b", "<>")),
    (b"FROM:<>   BODY=7BIT  SIZE=9", Mail(None, size=9, body="7BIT")),
])
def test_mail(argument, mail):
    assert grammar.parse_mail(argument) == mail


@pytest.mark.parametrize("argument, code, enhanced", [
    (b"", 501, "5.5.4"), (b"TO:<a@b>", 501, "5.5.4"), (b"FROM", 501, "5.5.4"),
    (b"FROM:", 501, "5.1.7"), (b"FROM:<a@b", 501, "5.1.7"),
    (b"FROM:<postmaster>", 501, "5.1.7"),
    (b"FROM:<a@b>SIZE=1", 501, "5.5.4"), (b"FROM:<a@b> SIZE", 501, "5.5.4"),
    (b"FROM:<a@b> SIZE=-1", 501, "5.5.4"),
    (b"FROM:<a@b> SIZE=x", 501, "5.5.4"), (b"FROM:<a@b> SIZE=1 SIZE=1", 501, "5.5.4"),
    (b"FROM:<a@b> SIZE=" + b"9" * 30, 501, "5.5.4"),
    (b"FROM:<a@b> BODY=BINARYMIME", 501, "5.5.4"), (b"FROM:<a@b> RET=ALL", 501, "5.5.4"),
    (b"FROM:<a@b> SMTPUTF8=1", 501, "5.5.4"),
    (b"FROM:<a@b> ENVID=a+0D+0Ab", 501, "5.5.4"), (b"FROM:<a@b> ENVID=a+2", 501, "5.5.4"),
    (b"FROM:<a@b> ENVID", 501, "5.5.4"),
    (b"FROM:<a@b> X=1", 555, "5.5.4"), (b"FROM:<a@b> HOLDFOR=1", 555, "5.5.4"),
    (b"FROM:<a@b> =1", 501, "5.5.4"),
    (b"FROM:<a@b> NOTIFY=NEVER", 555, "5.5.4"), (b"FROM:<a@b> \n", 501, "5.5.4"),
    (b"FROM:<a@b> SMTPUTF8\n", 501, "5.5.4"),
])
def test_wrong_mail(argument, code, enhanced):
    with pytest.raises(GrammarError) as refused:
        grammar.parse_mail(argument)
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (code, enhanced)


@pytest.mark.parametrize("argument, recipient", [
    (b"TO:<anna@example.org>", Recipient(ANNA)),
    (b"to: <anna@example.org> notify=never", Recipient(ANNA, ("NEVER",))),
    (b"TO:<anna@example.org> NOTIFY=success,FAILURE,delay ORCPT=rfc822;Anna+2Bx@Example.org",
     Recipient(ANNA, ("SUCCESS", "FAILURE", "DELAY"), "rfc822;Anna+x@Example.org")),
    ("TO:<anna@example.org> ORCPT=utf-8;jürgen@x".encode(), Recipient(ANNA, (), "utf-8;jürgen@x")),
])
def test_rcpt(argument, recipient):
    assert grammar.parse_rcpt(argument) == (recipient, False)


@pytest.mark.parametrize("path, unicode", [
    ("<anna@example.org>", False), ("<änna@example.org>", True), ("<anna@exämple.org>", True),
    ("<@exämple.org:anna@example.org>", True)])
def test_which_paths_need_smtputf8(path, unicode):
    assert grammar.parse_rcpt(("TO:%s ORCPT=utf-8;ä@x" % path).encode()).unicode is unicode
    assert grammar.parse_rcpt(("TO:" + path).encode()).unicode is unicode
    assert grammar.parse_mail(("FROM:%s SIZE=1" % path).encode()).unicode is unicode
    assert grammar.parse_mail(("FROM: " + path).encode()).unicode is unicode


@pytest.mark.parametrize("argument, code", [
    (b"TO:<>", 501), (b"FROM:<a@b>", 501), (b"TO:a@b", 501), (b"TO:<a@b> NOTIFY", 501),
    (b"TO:<a@b> NOTIFY=NEVER,SUCCESS", 501),
    (b"TO:<a@b> NOTIFY=SUCCESS,SUCCESS", 501), (b"TO:<a@b> NOTIFY=", 501),
    (b"TO:<a@b> ORCPT=rfc822", 501), (b"TO:<a@b> ORCPT=x;a+0Ab", 501),
    (b"TO:<a@b> SIZE=1", 555),
])
def test_wrong_rcpt(argument, code):
    with pytest.raises(GrammarError) as refused:
        grammar.parse_rcpt(argument)
    assert refused.value.reply.code == code


@pytest.mark.parametrize("parse, argument, value", [
    (grammar.parse_bdat, b"0 LAST", Chunk(0, True)),
    (grammar.parse_bdat, b"123", Chunk(123, False)),
    (grammar.parse_bdat, b"1  last", Chunk(1, True)),
    (grammar.parse_auth, b"plain", Auth("PLAIN", None)),
    (grammar.parse_auth, b"PLAIN =", Auth("PLAIN", b"")),
    (grammar.parse_auth, b"SCRAM-SHA-256 AGE=", Auth("SCRAM-SHA-256", b"\0a")),
    (grammar.parse_host, b"mail.example.org", "mail.example.org"),
    (grammar.parse_host, b"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
    (grammar.parse_host, b"my_pc", "my_pc"), (grammar.parse_host, b"John's-PC", "John's-PC"),
    (grammar.parse_host, b"my pc", "my?pc"),
    (grammar.parse_host, "Bücher.example".encode(), "xn--bcher-kva.example"),
    (grammar.parse_host, "Jörg's PC".encode(), "J?rg's?PC"),
    (grammar.parse_host, b"a(b)\\\0\t\r\n\xff\xe2\x80\xae.", "a?b????????."),
    (grammar.parse_host, b"x" * 2000, "x" * 255),
    (grammar.parse_host, "☃.example".encode(), "?.example"),
    (grammar.parse_host, b"[fe80::1%eth0]", "[fe80::1%eth0]"),
    (grammar.parse_host, b'"x <a@b>; [1', "?x??a?b????1"),
    (grammar.parse_host, b"2001:db8::1", "2001:db8::1"),
    (grammar.parse_nothing, b"", None),
    (grammar.parse_text, b"any thing", "any thing"),
    (grammar.parse_needed_text, b"anna", "anna"),
])
def test_the_others(parse, argument, value):
    assert parse(argument) == value


@pytest.mark.parametrize("parse, argument", [
    (grammar.parse_bdat, b""), (grammar.parse_bdat, b"x"), (grammar.parse_bdat, b"-1"),
    (grammar.parse_bdat, b"1 FIRST"),
    (grammar.parse_bdat, b"1 LAST LAST"), (grammar.parse_bdat, b"9" * 21),
    (grammar.parse_auth, b""), (grammar.parse_auth, b"PLAIN A A"),
    (grammar.parse_auth, b"PLAIN A==="), (grammar.parse_auth, b"PL(AIN"),
    (grammar.parse_auth, b"PLAIN AGE=AGE="),
    (grammar.parse_host, b""), (grammar.parse_nothing, b"x"), (grammar.parse_needed_text, b""),
])
def test_the_others_wrong(parse, argument):
    with pytest.raises(GrammarError) as refused:
        parse(argument)
    assert refused.value.reply.code == 501


PARSERS = (grammar.split, grammar.parse_path, grammar.parse_parameters, grammar.parse_host,
           grammar.parse_mail, grammar.parse_rcpt,
           grammar.parse_bdat, grammar.parse_auth, grammar.parse_nothing,
           grammar.parse_text, grammar.parse_needed_text)
PIECES = st.sampled_from([b"FROM:", b"TO:", b"<", b">", b"@", b".", b'"', b"\\", b" ", b"a",
                          b"example.org", b"[127.0.0.1]", b"SIZE=1",
                          b"NOTIFY=", b"SUCCESS", b",", b"ORCPT=rfc822;", b"+41", b"+", b"=",
                          b"\r\n", b"\xc3\xa4", b"\xff", b"\0", b"LAST",
                          b"7", b":", b";"])


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=14).map(b"".join)))
def test_any_bytes_are_a_value_or_the_grammars_own_error(data):
    for parse in PARSERS:
        try:
            parse(data)
        except GrammarError as error:
            assert 500 <= error.reply.code <= 555 and error.reply.enhanced[
                :2] == "5." and error.reply.text


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=20),
       st.sampled_from(["example.org", "[127.0.0.1]", "xn--exmple-cua.net"]))
def test_what_an_address_writes_is_read_again(local, domain):
    address = Address(local, domain)
    try:
        wire = b"<%s>" % str(address).encode("utf-8")
    except UnicodeEncodeError:
        return
    try:
        read, rest = grammar.parse_path(wire)
    except GrammarError:
        return  # a local part that no address has, such as one with a control character
    assert (read, rest) == (address, b"")


@pytest.mark.parametrize("data", [b"<@" + b"a," * 6000, b"<" + b"a." * 6000, b'<"' + b"\\a" * 6000,
                                  b"<a@" + b"a." * 6000,
                                  b"<@" + b":" * 12000])
def test_no_line_takes_long(data):
    import time
    start = time.perf_counter()
    with pytest.raises(GrammarError):
        grammar.parse_path(data)
    assert time.perf_counter() - start < 0.5
