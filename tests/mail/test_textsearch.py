"""Which texts a message contains: decoded, in one pass, however the message is cut."""
import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import textsearch
from phenmail_protocols.mail.headers import body_offset
from phenmail_protocols.mail.structure import scan
from phenmail_protocols.mail.textsearch import Needle
from phenmail_protocols.text.collation import fold

from .samples import NESTED, UGLY, multipart, wire


def reader(data):
    last = [0]

    def read(start, end):
        assert start >= last[0], "ranges ascend"
        last[0] = end
        return [data[i:min(i + 5, end)] for i in range(start, end, 5)]
    return read


def holds(data, text, header=True):
    needle = Needle.of(text, header)
    return needle in textsearch.find([needle], scan(data), reader(data))


@pytest.mark.parametrize("key, header, found", [
    ("one\r\ntwo", False, True), ("BODY INSIDE", False, True), ("subject: inside", False, True),
    ("subject: outer", False, False),
    ("subject: outer", True, True), ("a;b.pdf", False, True), ("QUJD", False, False),
    ("nowhere", True, False), ("", False, True)])
def test_search_in_a_message(key, header, found):
    assert holds(NESTED, key, header) is found


def test_search_decodes():
    encoded = base64.b64encode("Gr\u00fc\u00dfe aus K\u00f6ln".encode()).decode()
    data = multipart(
        "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n" + encoded,
        head="MIME-Version: 1.0\nSubject: =?utf-8?Q?=C3=84rger?=\n")
    assert holds(data, "GR\u00dcSSE AUS", False) and holds(data, "gru\u0308sse", False)
    assert holds(data, "\u00e4RGER") and not holds(data, "\u00e4rger", False)


@pytest.mark.parametrize("name", sorted(UGLY))
def test_search_in_ugly_messages(name):
    assert not holds(UGLY[name], "no such words")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab", max_size=4), max_size=8), st.text("ab", min_size=1, max_size=4),
       st.integers(1, 6), st.integers(0, 2))
def test_a_match_may_lie_across_pieces_and_not_across_texts(pieces, key, size, kind):
    window, textsearch._WINDOW = textsearch._WINDOW, size
    try:
        found = textsearch._windows([(kind, pieces), (kind, ["a"])], len(key) - 1, lambda: None)
        assert any(key in text for _, text in found) is (key in "".join(pieces) or key == "a")
    finally:
        textsearch._WINDOW = window


@pytest.mark.parametrize("blank, found", [(" ", True), ("  ", False), ("\t", False)])
def test_blanks_are_one_in_fields_and_as_they_are_in_bodies(blank, found):
    for head, body, expected in (("X: a\n\tb", "x", True), ("X: y", "a b", found)):
        data = multipart("Content-Type: text/plain\n%s\n\n%s" % (head, body))
        assert holds(data, "a%sb" % blank) is expected


def test_many_keys_in_one_pass():
    parts = ["Content-Type: text/plain\n\nword%03d and so on" % number for number in range(300)]
    data = multipart(*parts)
    needles = [Needle.of("word%03d" % number, False) for number in range(0, 600, 2)]
    reads = []

    def read(start, end):
        reads.append(start)
        return [data[start:end]]
    assert len(textsearch.find(needles, scan(data), read)) == 150
    assert reads == sorted(reads)


def test_find_looks_in_bounded_steps():
    class Enough(Exception):
        pass

    def look():
        raise Enough()
    with pytest.raises(Enough):
        textsearch.find([Needle.of("x", True)], scan(NESTED), reader(NESTED), look)


def test_what_plain_text_tells():
    plain = wire(
        "Subject: hello\n world\nContent-Type: text/plain; charset=\"UTF-8\"\n\nsome text\n")
    text = textsearch.plain(plain)

    def told(key):
        needle = Needle.of(key, True)
        found, unsure = textsearch.sift([needle], text, body_offset(plain))
        return True if found else None if unsure else False
    assert told("absent") is False and told("caf\u00e9") is False and told("hello world") is None
    assert told("some text") is True and told("HELLO") is True
    assert told("ject: hello") is None  # blanks beside a colon may have been written otherwise
    for unsure in (plain + b"\xe9", plain + b"=?", plain.replace(b"UTF-8", b"UTF-7"),
                   plain + b"Base64", plain + b"charset"):
        assert textsearch.plain(unsure) is None


_LINES = [b"ab", b"a", b"b", b" ", b"\t", b"\r\n", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"a: b",
          b"Content-Type: text/plain; charset=utf-16\r\n\r\n",
          b"Content-Type: text/plain; charset=hz\r\n\r\n", b"\xe9", b"=?us-ascii?Q?=61b?=",
          b"Content-Transfer-Encoding: base64\r\n",
          b"Content-Type: image/ab\r\n", b"Content-Type : (c)\r\n text/ab\r\n"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_LINES), max_size=15).map(b"".join),
       st.text("ab \t:", min_size=1, max_size=4), st.booleans())
def test_the_short_cut_agrees(data, key, header):
    text, needle = textsearch.plain(data), Needle.of(key, header)
    if text is not None:
        found, unsure = textsearch.sift([needle], text, body_offset(data))
        if needle not in unsure:
            assert (needle in found) is holds(data, key, header)


@pytest.mark.parametrize("value, text", [
    (b" Ann Smith <ann@x.org>", 'ann smith <ann@x.org>\0"ann smith" <ann@x.org>'),
    (b"a@b (Comment)", 'comment <a@b>\0"comment" <a@b>'),
    (b"G: a@b, c@d;", "g: <a@b>, <c@d>;\0g: <a@b>, <c@d>;"), (b"", "\0"),
    (b'"a \\"b\\"" <c@d>', 'a "b" <c@d>\0"a \\"b\\"" <c@d>'), (b"x@", "x\0x"),
    (b"<x@>", "<x>\0<x>"), (b"<a@b>,\r\n\t<c@d>", "<a@b>, <c@d>\0<a@b>, <c@d>"),
    (b'"local part"@x.y', '<local part@x.y>\0<"local part"@x.y>'),
    (b"=?utf-8?q?=C3=84_=0A_b?= <a@b>", fold('\u00c4 b <a@b>\0"\u00c4 b" <a@b>')),
])
def test_addresses(value, text):
    assert textsearch.address_text(value) == text


@pytest.mark.parametrize("place", [0, 1, 65530, 65535, 65536, 65540, 131071, 199997])
def test_very_long_fields(place):
    text = "a" * place + "key" + "a" * (199997 - place)
    assert textsearch.is_in("key", text) and not textsearch.is_in("kay", text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_field(value):
    for read in (textsearch.field_text, textsearch.address_text):
        text = read(value)
        assert "  " not in text and "\n" not in text and "\t" not in text
