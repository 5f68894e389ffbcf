"""Transfer encodings and charsets: lenient, and the same result however the data is cut."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import decoding
from phenmail_protocols.mail.decoding import Reader, codec_name, to_text
from phenmail_protocols.mail.structure import scan

from .samples import wire


def part(encoding="7bit", charset="utf-8"):
    return scan(wire("MIME-Version: 1.0\nContent-Type: text/plain; charset=%s\n"
                     "Content-Transfer-Encoding: %s\n\n" % (charset, encoding)))


@pytest.mark.parametrize("encoding, charset, body, text", [
    ("7bit", "us-ascii", b"plain", "plain"),
    ("8bit", "utf-8", "caf\u00e9".encode(), "caf\u00e9"),
    ("8bit", "iso-8859-1", b"caf\xe9 \x80", "caf\u00e9 \u20ac"),
    ("8bit", "us-ascii", b"caf\xe9 caf\xc3\xa9", "caf\u00e9 caf\u00e9"),
    ("8bit", "x-nobody", b"caf\xe9", "caf\u00e9"),
    ("8bit", "utf-8", b"caf\xe9!", "caf\ufffd!"),
    ("x-unknown", "utf-8", b"as it is =41", "as it is =41"),
    ("Quoted-Printable", "utf-8", b"caf=C3=A9 soft=\r\nbreak=20\r\nbad=ZZ =",
     "caf\u00e9 softbreak \r\nbad=ZZ "),
    ("base64", "utf-8", b"Y2Fm\r\nw6k=\r\nignored", "caf\u00e9"),
    ("BASE64", "utf-8", b"Y*2!Fm w6k", "caf\u00e9"),
    ("base64", "utf-8", b"Y", ""),
    ("base64", "windows-1251", b"z/Do4uXy", "\u041f\u0440\u0438\u0432\u0435\u0442"),
    ("7bit", "iso-2022-jp", b"\x1b$B%F%9%H\x1b(B", "\u30c6\u30b9\u30c8"),
    ("8bit", "ks_c_5601-1987", "\uc548\ub155".encode("cp949"), "\uc548\ub155"),
    ("7bit", "utf-7", b"caf+AOk-", "caf\u00e9"),
    ("7bit", "zlib", b"x", "x"), ("7bit", "idna", b"x", "x"), ("7bit", "undefined", b"x", "x"),
    ("7bit", '"../etc"', b"x", "x"),
])
def test_text(encoding, charset, body, text):
    leaf = part(encoding, charset)
    assert "".join(decoding.texts_of(leaf, (body,))) == text
    assert "".join(decoding.texts_of(leaf, [body[i:i + 1] for i in range(len(body))])) == text


@pytest.mark.parametrize("name, codec", [(b"UTF-8", "utf_8"), (b"us-ascii", None),
                                         (b"ISO-8859-1", "cp1252"), (b"gb2312", "gb18030"),
                                         (b"Shift_JIS", "cp932"),
                                         (b"windows-1252", "cp1252"),
                                         (b"iso-8859-15", "iso8859_15"), (b"KOI8-R", "koi8_r"),
                                         (b"", None), (b"rot13", None)])
def test_charset_names(name, codec):
    assert codec_name(name) == codec


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["7bit", "base64", "quoted-printable", "x-what"]),
       st.sampled_from(["utf-8", "us-ascii", "iso-2022-jp", "utf-7", "utf-16", "gb2312",
                        "hz-gb-2312", "cp1252", "nope"]),
       st.lists(st.sampled_from([b"=", b"\r\n", b"=\r\n", b"=C3", b"\x1b$B", b"~{", b"+", b"QUJD"])
                | st.binary(max_size=6), max_size=20).map(b"".join),
       st.integers(1, 9))
def test_any_bytes_decode_the_same_in_any_chunks(encoding, charset, body, size):
    leaf = part(encoding, charset)
    whole = "".join(decoding.texts_of(leaf, (body,)))
    assert isinstance(whole, str)
    pieces = list(decoding.texts_of(leaf, [body[i:i + size] for i in range(0, len(body), size)]))
    if charset in ("utf-8", "us-ascii", "cp1252", "nope"):
        assert "".join(pieces) == whole


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=12))
def test_any_charset_name_and_bytes(data, name):
    assert isinstance(to_text(data, name), str) and isinstance(Reader(name).feed(data, True), str)


def test_a_quoted_printable_line_without_end_stays_bounded():
    leaf = part("quoted-printable")
    pieces = list(decoding.texts_of(leaf, [b"=41" * 10000] * 20))
    assert "".join(pieces) == "A" * 200000 and max(map(len, pieces)) < 100000
