"""Headers: where they end, choosing fields byte for byte, unfolding, and decoding to text."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import headers

from .samples import UGLY

HEADER = (
    b"From: a@example.org\r\nreceived: one;\r\n\ttwo\r\nSubject : spaced\r\nX-Subject: no\r\n"
    b"SUBJECT: again\r\n folded\r\n"
    b"garbage line\r\n and more\r\nTo:\r\n\r\n")


def names(*words):
    return frozenset(words)


@pytest.mark.parametrize("data, offset", [
    (b"", 0), (b"\r\nx", 2), (b"\nx", 1), (b"a: b", 4), (b"a: b\r\n", 6), (b"a: b\r\n\r\nx", 8),
    (b"a: b\n\nx\r\n\r\n", 6),
    (b"a: b\r\n\nx", 7), (b"a: b\n\r\nx\n\n", 7), (b"a: b\r\r\n\r\n", 9)])
def test_where_the_body_begins(data, offset):
    assert headers.split_header(data) == (data[:offset], offset)


def test_fields_in_order_with_their_bytes():
    found = headers.fields(HEADER)
    assert [field.name for field in found] == [b"From", b"received", b"Subject", b"X-Subject",
                                               b"SUBJECT", b"", b"To"]
    assert found[1].value == b" one;\r\n\ttwo" and found[1].raw == b"received: one;\r\n\ttwo\r\n"
    assert found[5].raw == b"garbage line\r\n and more\r\n"
    assert b"".join(field.raw for field in found) + b"\r\n" == HEADER


def test_select_gives_the_lines_as_they_are():
    assert headers.select(HEADER,
                          names(b"subject",
                                b"to")) == b"Subject : spaced\r\nSUBJECT: again\r\n folded\r\nTo:\r\n\r\n"
    assert headers.select(HEADER, names(b"received")) == b"received: one;\r\n\ttwo\r\n\r\n"
    assert headers.select(HEADER, names(b"nothing")) == b"\r\n"
    assert headers.select(b"\r\n", names(b"nothing")) == b"\r\n"
    assert headers.select(HEADER, names()) == b"\r\n"


def test_select_not_gives_all_the_others():
    assert headers.select(HEADER, names(b"subject", b"received", b"to"), negate=True) == (
        b"From: a@example.org\r\nX-Subject: no\r\ngarbage line\r\n and more\r\n\r\n")
    assert headers.select(HEADER, names(), negate=True) == HEADER


def test_select_gives_an_empty_line_only_where_there_is_one():
    """RFC 3501 6.4.5: it is left out "in the case of a message which has no body and no blank
    line"."""
    for cut in (b"Subject: x", b"Subject: x\r", b"Subject: x\r\n", b"Subject: x\r\n\r\n",
                b"Subject: x\n\n"):
        assert headers.select(b"A: b\r\n" + cut,
                              names(b"subject")) == cut.replace(b"\n\n", b"\n\r\n")
        assert headers.select(cut + b"", names(b"a")) == (b"\r\n"
                                                          if cut.endswith((b"\n\n", b"\n\r\n"))
                                                          else b"")
    assert headers.select(b"",
                          names(b"subject")) == headers.select(b"", names(b"subject"), True) == b""


def test_select_takes_names_literally():
    assert headers.select(b"ab: 1\r\na.b: 2\r\n\r\n", names(b"a.b")) == b"a.b: 2\r\n\r\n"
    assert headers.select(b"a(b: 1\r\n\r\n", names(b"a(b")) == b"a(b: 1\r\n\r\n"


def test_first_and_collect():
    assert headers.first(HEADER, b"Subject") == b" spaced"
    assert headers.first(HEADER, b"bcc") is None
    assert headers.first(b"X: y", b"x") == b" y"
    assert headers.collect(HEADER, names(b"subject", b"to",
                                         b"cc")) == {b"subject": [b" spaced", b" again\r\n folded"],
                                                     b"to": [b""]}


@pytest.mark.parametrize("value, unfolded", [
    (b" plain", b"plain"), (b" one\r\n two", b"one two"), (b" one\r\n\ttwo", b"one two"),
    (b"\r\n two", b" two"), (b" a \r\n  b ", b"a   b "),
    (b" one\n two\r\n", b"one two"), (b"", b""), (b" \r\n\tx", b" x")])
def test_unfold(value, unfolded):
    assert headers.unfold(value) == unfolded


def test_one_line():
    assert headers.one_line(b" \t a \r\n\t b\0c  ") == b"a bc"


@pytest.mark.parametrize("value, text", [
    (b" hello", "hello"),
    (b"=?utf-8?Q?caf=C3=A9_au_lait?=", "caf\u00e9 au lait"),
    (b"=?UTF-8?B?w6k=?=", "\u00e9"),
    (b"=?iso-8859-1?q?a=E9?= and =?windows-1251?B?z/Do4uXy?=!",
     "a\u00e9 and \u041f\u0440\u0438\u0432\u0435\u0442!"),
    (b"=?utf-8?B?w6k=?=\r\n =?utf-8?Q?=C3=A8?=", "\u00e9\u00e8"),
    (b"=?utf-8?Q?=C3?= =?utf-8?Q?=A9?=", "\u00e9"),
    (b"=?utf-8?Q?a?= =?us-ascii?Q?b?=", "ab"),
    (b"=?utf-8*en?Q?=C3=A9?=", "\u00e9"),
    (b"=?ISO-2022-JP?B?GyRCJUYlOSVIGyhC?=", "\u30c6\u30b9\u30c8"),
    (b"=?x-nobody-knows?Q?=E9?=", "\u00e9"),
    (b"=?utf-8?B?w6k?=", "\u00e9"),
    (b"=?utf-8?B?w?=", ""),
    (b"=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
    (b"=?utf-8?Q?abc", "=?utf-8?Q?abc"),
    (b"=?utf-8?Q?bad=XX=?=", "bad=XX="),
    (b"caf\xc3\xa9", "caf\u00e9"),
    (b"caf\xe9", "caf\u00e9"),
    ("=?utf-8?Q?=C3=A9?= caf\u00e9".encode(), "\u00e9 caf\u00e9"),
])
def test_decode(value, text):
    assert headers.decode(value) == text


_TEXTS = st.lists(st.sampled_from([b"Subject", b":", b" ", b"\t", b"\r\n", b"\n", b"=?", b"?=",
                                   b"utf-8", b"?B?", b"?Q?", b"=", b"_"])
                  | st.binary(max_size=5), max_size=30).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(_TEXTS)
def test_any_bytes(data):
    header, offset = headers.split_header(data)
    assert header == data[:offset]
    assert b"".join(field.raw
                    for field in headers.fields(header)) == header[
        :sum(len(f.raw) for f in headers.fields(header))]
    chosen = headers.select(header, names(b"subject"))
    again = headers.select(chosen,
                           # the wire's empty line ends a header of LF lines too: then the form is
                           # mixed
                           names(b"subject"))
    assert again.replace(b"\r\n", b"\n") == chosen.replace(b"\r\n", b"\n")
    assert isinstance(headers.decode(data), str)
    assert b"\n" not in headers.unfold(data)
    headers.select(header, names(b"subject"), negate=True)
    first, collected = headers.first(header, b"subject"), headers.collect(header, names(b"subject"))
    assert collected.get(b"subject", [None])[0] == first


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"Subject: ", b"Subject:", b"To: ", b"X: ", b"x" * 30, b"y", b" ",
                                 b"\t", b"\r\n", b"\n", b"\r\n "]), max_size=40).map(b"".join),
       st.integers(1, 50), st.integers(12, 40), st.booleans())
def test_a_header_in_pieces_gives_the_same_fields(data, size, block, negate):
    """Whatever the cut, and wherever the blocks end that are looked at at once."""
    header, _ = headers.split_header(data)
    whole = b"".join(headers.selected((header,), names(b"subject", b"to"), negate))
    usual, headers._BLOCK = headers._BLOCK, block
    try:
        pieces = [header[at:at + size] for at in range(0, len(header), size)]
        assert b"".join(headers.selected(pieces, names(b"subject", b"to"), negate)) == whole
        limited = headers.Selection(names(b"subject", b"to"), 20, negate)
        assert (b"".join(map(limited.feed, pieces))
                + limited.close()) == whole[:-2 if whole.endswith(b"\n\r\n") or whole == b"\r\n"
                                            else None][:20]
    finally:
        headers._BLOCK = usual


@pytest.mark.parametrize("name", sorted(UGLY))
def test_select_and_its_negation_share_out_the_fields(name):
    header, _ = headers.split_header(UGLY[name])
    wanted = names(b"subject", b"content-type")
    ended = header if header.endswith(b"\n") else header + b"\r\n"
    for line in headers.select(header,
                               wanted).splitlines(True) + headers.select(
            header, wanted, True).splitlines(True):
        assert line.rstrip(b"\r\n") in ended


@pytest.mark.parametrize("cut", [1000, 65536, 1 << 22])
def test_blocks_hold_whole_fields_and_each_word(cut):
    long = b"Long: " + b"".join(b"word%06d " % number + b"\r\n " * (number % 3 == 0)
                                for number in range(90000)) + b"end\r\n"
    header = b"".join(b"F%d: value %d\r\n" % (number, number)
                      for number in range(20000)) + long + b"Last: x\r\n\r\n"
    pieces = [header[start:start + cut] for start in range(0, len(header), cut)]
    blocks = list(headers.blocks(pieces))
    assert all(len(block) < 2 * headers.LARGE + cut for block in blocks)
    fields = [field for block in blocks for field in headers.each_field(block)]
    assert [field for field in fields if field.name != b"Long"] == [
        field for field in headers.fields(header) if field.name != b"Long"]
    words = {word for field in fields for word in field.value.split()}
    assert words.issuperset(b"word%06d" % number for number in range(90000))


@given(st.lists(st.sampled_from([b"A: 1", b"B: 2", b" folded", b"\r\n", b"\n", b"A : x", b"nothing"])),
       st.booleans(), st.sampled_from([frozenset(), frozenset((b"a",)), frozenset((b"a", b"b"))]))
def test_a_small_header_is_chosen_from_like_a_large_one(pieces, negate, chosen):
    header = b"".join(pieces)
    assert headers.select(header, chosen, negate) == b"".join(
        headers.selected((header,), chosen, negate))
