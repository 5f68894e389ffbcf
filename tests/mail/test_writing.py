"""Fields and texts of strangers' words: one field comes out, whatever went in."""
import email.header
import quopri
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import headers, writing

HOSTILE = st.text(max_size=200) | st.lists(st.sampled_from(
    ["\r\nBcc: eve@example.org", "\r\n\r\nbody", "\n", "\r", "\0", "\u2028", "\u202e", "\ud800",
     " ", "  ",
     "x" * 1200, "\u00e9" * 500, "=?utf-8?q?=0D=0AX:?=", ";", "\t"]), max_size=8).map("".join)


def test_a_field_is_folded_at_blanks():
    written = writing.field("Diagnostic-Code", "smtp; 550 5.1.1 " + "words " * 20)
    assert written.startswith(b"Diagnostic-Code: smtp; 550") and written.endswith(b"words\r\n")
    assert max(map(len, written.split(b"\r\n"))) <= 78 and written.count(b"\r\n ") == 1
    assert headers.unfold(headers.fields(written)[
        0].value) == b"smtp; 550 5.1.1 " + b"words " * 19 + b"words"


@pytest.mark.parametrize("value, line", [
    ("a\r\nBcc: eve@example.org", b"X: a  Bcc: eve@example.org\r\n"),
    ("a\0b\x7fc", b"X: a b c\r\n"), ("caf\u00e9", b"X: caf?\r\n"),
    ("\ud800", b"X:\r\n"), ('"odd  user"@example.org', b'X: "odd  user"@example.org\r\n'),
    ("", b"X:\r\n")])
def test_what_does_not_show_goes(value, line):
    assert writing.field("X", value) == line


@settings(max_examples=150)
@given(HOSTILE, st.booleans())
def test_one_field_whatever_comes(value, utf8):
    written = writing.field("X-Name", value, utf8)
    assert written.endswith(b"\r\n") and len(headers.fields(written)) == 1
    lines = written[:-2].split(b"\r\n")
    assert all(line.startswith(b" ") and line.strip()
               for line in lines[1:]), "a line is no continuation"
    assert all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)
    text = written[:-2].replace(b"\r\n", b"").decode("utf-8" if utf8 else "ascii")
    assert not [char for char in text
                if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@settings(max_examples=100)
@given(HOSTILE)
def test_encoded_words_are_read_again(value):
    written = writing.encoded_words(value)
    assert writing.is_ascii(written.encode("utf-8"))
    assert all(len(word) <= 75 for word in written.split(" ") if word.startswith("=?"))
    if written != value:
        assert str(email.header.make_header(
            email.header.decode_header(written))) == writing.printable(value)


def test_plain_text_is_not_encoded():
    assert writing.encoded_words("Not delivered: Lunch") == "Not delivered: Lunch"
    assert writing.encoded_words("=?utf-8?q?x?=").startswith("=?utf-8?B?")


@settings(max_examples=150)
@given(st.lists(st.sampled_from([b"\r\n", b"\r", b" ", b"\t", b".", b"=", b"\xc3\xa9", b"From ",
                                 b"x" * 100, b"\0"])
                | st.binary(max_size=5), max_size=30).map(b"".join)
       .map(lambda data: data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")))
def test_quoted_printable_is_read_again(data):
    written = writing.quoted_printable(data)
    assert writing.fits_in_7_bits(written) and all(len(line) <= 78
                                                   for line in written.split(b"\r\n"))
    assert written.count(b"\r") == written.count(b"\n") == written.count(b"\r\n")
    assert quopri.decodestring(written.replace(b"\r\n", b"\n")) == data.replace(b"\r\n", b"\n")


def test_what_needs_no_encoding():
    assert writing.fits_in_7_bits(b"") and writing.fits_in_7_bits(b"x" * 998 + b"\r\ny")
    assert not writing.fits_in_7_bits(b"x" * 999) and not writing.fits_in_7_bits(b"\xc3\xa9")
