"""Content-* fields, as written well and as found in the wild."""
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.mail import mimefields
from phenmail_protocols.mail.mimefields import Description, content_type, describe


@pytest.mark.parametrize("value, expected", [
    (b" text/plain", (b"text", b"plain", ())),
    (b"Text/HTML; Charset=UTF-8", (b"Text", b"HTML", ((b"Charset", b"UTF-8"),))),
    (b'text/plain;\r\n charset="a;b" ;x=y', (b"text", b"plain",
                                             ((b"charset", b"a;b"), (b"x", b"y")))),
    (b"(c) text (c) / (c) plain (c) ; (c) a (c) = (c) b (c)", (b"text", b"plain", ((b"a", b"b"),))),
    (b"text/plain; charset", (b"text", b"plain", ())),
    (b"text/plain; ; =x; a=b", (b"text", b"plain", ((b"a", b"b"),))),
    (b"text/plain junk; a=b", (b"text", b"plain", ((b"a", b"b"),))),
    (b"image/png; name==?utf-8?b?AA==?= ; a=b", (b"image", b"png",
                                                 ((b"name", b"=?utf-8?b?AA==?="), (b"a", b"b")))),
    (b'image/png; name="open', (b"image", b"png", ((b"name", b"open"),))),
    (b'image/png; name="a\\"b"', (b"image", b"png", ((b"name", b'a"b'),))),
    (b"a/b; x*1=two; x*0=one; y=z", (b"a", b"b", ((b"y", b"z"), (b"x", b"onetwo")))),
    (b"a/b; x*0*=utf-8''%41; x*1=100%", (b"a", b"b", ((b"x*", b"utf-8''%41100%25"),))),
    (b"a/b; x*=utf-8''%41", (b"a", b"b", ((b"x*", b"utf-8''%41"),))),
    (b"a/b; x*0=one; x*2=three", (b"a", b"b", ((b"x*0", b"one"), (b"x*2", b"three")))),
    (b"a/b; *=x; *0=y", (b"a", b"b", ((b"*", b"x"), (b"*0", b"y")))),
    (b"", (None, b"", ())), (b"text", (None, b"", ())), (b"text/", (None, b"", ())),
    (b"/plain", (None, b"", ())), (b"; a=b", (None, b"", ())),
])
def test_content_type(value, expected):
    assert content_type(value) == expected


def test_describe_everything():
    said = describe(
        b"content-type: a/b\r\nContent-ID: <i>\r\nCONTENT-DESCRIPTION: d\r\n e\r\n"
        b"Content-Transfer-Encoding: Base64 (x)\r\nContent-MD5: m\r\n"
        b"Content-Disposition: inline; a=b\r\nContent-Language: en, de-AT\r\n"
        b"Content-Location: l\r\nSubject: no\r\n\r\n")
    assert said == Description(b"a", b"b", (), b"<i>", b"d e", b"Base64", b"m",
                               (b"inline", ((b"a", b"b"),)), (b"en", b"de-AT"), b"l")


def test_repeated_and_empty_fields():
    assert describe(b"") == describe(b"Subject: x\r\n\r\n") == Description()
    said = describe(
        b"Content-Type: a/b\r\nContent-Type: c/d\r\nContent-Transfer-Encoding:\r\n"
        b"Content-Transfer-Encoding: 8bit;\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"Content-Disposition:\r\nContent-Disposition: inline; x=y\r\n"
        b"Content-Disposition: attachment\r\n")
    assert (said.type, said.encoding, said.disposition) == (b"a", b"7bit",
                                                            (b"inline", ((b"x", b"y"),)))
    assert describe(b"Content-Disposition: \r\n").disposition == (b"", ())


_PIECES = st.lists(st.sampled_from([b"text", b"/", b"plain", b";", b"=", b'"', b"*0", b"*1", b"*",
                                    b"(", b")", b" ", b"\r\n ", b"\\", b"name", b","])
                   | st.binary(max_size=3), max_size=25).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(_PIECES)
def test_any_bytes_describe_something(value):
    for name in (b"Content-Type", b"Content-Disposition", b"Content-Language",
                 b"Content-Transfer-Encoding"):
        assert isinstance(describe(name + b": " + value), Description)


@settings(max_examples=150, deadline=None)
@given(_PIECES)
def test_the_usual_forms_are_only_short_cuts(value):
    class Never:
        @staticmethod
        def match(*_):
            return None
    header = (b"Content-Type: text/plain" + value + b"\r\nContent-Disposition: x" + value
              + b"\r\nContent-Transfer-Encoding: " + value)
    quick = describe(header)
    usual = mimefields._USUAL_TYPE, mimefields._USUAL_PARAMETER, mimefields._USUAL_TOKEN
    mimefields._USUAL_TYPE = mimefields._USUAL_PARAMETER = mimefields._USUAL_TOKEN = Never
    try:
        assert describe(header) == quick
    finally:
        mimefields._USUAL_TYPE, mimefields._USUAL_PARAMETER, mimefields._USUAL_TOKEN = usual
