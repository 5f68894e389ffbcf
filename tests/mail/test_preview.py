"""Previews: which part, what of its text, how much."""
import time

import pytest

from phenmail_protocols.mail import preview, structure


def shown(message):
    wire = message.encode("utf-8") if isinstance(message, str) else message
    wire = wire.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return preview.preview(structure.scan(wire), lambda start, end: [wire[start:end]])


def plain(text):
    return shown("Subject: x\n\n" + text)


def html(text):
    return shown("Content-Type: text/html; charset=utf-8\n\n" + text)


@pytest.mark.parametrize("text, expected", [
    ("", ""), (" \n\t\n", ""), ("Hello,\n\nhow are\tyou?\n", "Hello, how are you?"),
    ("a\0b\x07c\x7fd", "a b c d"), ("ü 日本語\u00a0x", "ü 日本語 x"),
    ("\u200b\u200c \ufeff word \u034f", "word"), ("👩\u200d🚀 flies", "👩\u200d🚀 flies"),
    ("> old\n> lines\nnew\n", "new"), ("new\n\nAnn wrote:\n\n> old\n", "new"),
    ("Ann wrote:\n> old\nnew: \n", "new:"), ("> all\n>> quoted\n", "all quoted"),
    ("text\n-- \nAnn, Example Ltd.\n", "text"), ("-----BEGIN PGP MESSAGE-----\nx\n", ""),
    ("1:\n2\n", "1: 2"),
])
def test_plain_text(text, expected):
    assert plain(text) == expected


@pytest.mark.parametrize("text, expected", [
    ("<p>One</p><p>Two</p>", "One Two"), ("f<b>a</b>t<br>x", "fat x"),
    ("<html><head><title>T</title><style>p {a: b}</style></head><body>x</body></html>", "x"),
    ("<SCRIPT>if (a < b) {}</SCRIPT >x", "x"), ("<style>never closed", ""), ("a<!-- b > c -->d", "ad"),
    ("a<!-- never closed", "a"), ("<!DOCTYPE html><?xml x?>a", "a"), ("1 < 2 &lt; 3 &amp;lt;", "1 < 2 < 3 &lt;"),
    ("&uuml;&#252;&#xfc;&nbsp;&zwnj;&nbsp;x&notanentity;", "üüü x¬anentity;"), ("a<", "a<"), ("a<b", "a"),
    ("&#0;&#xD800;&#x110000;x", "\ufffd\ufffd\ufffdx"), ("<td>1</td><td>2</td>", "1 2"),
    ("<a href='x'>li</a>nk <img alt=\"y\">z", "link z"),
])
def test_html(text, expected):
    assert html(text) == expected


@pytest.mark.parametrize("length", [199, 200, 201, 5000])
def test_length(length):
    assert plain("x" * length) == "x" * min(length, 200)
    assert html("<i>x</i>" * length) == "x" * min(length, 200)
    assert plain("𝔘 " * length) == ("𝔘 " * min(length, 100)).rstrip()


MIXED = """Content-Type: multipart/%s; boundary=b

--b
%s

%s
--b
%s

%s
--b--
"""
TEXT, HTML = "Content-Type: text/plain", "Content-Type: text/html"
ATTACHED = TEXT + "\nContent-Disposition: attachment; filename=a.txt"


@pytest.mark.parametrize("message, expected", [
    (("mixed", TEXT, "one", TEXT, "two"), "one"), (("mixed", TEXT, "", TEXT, "two"), "two"),
    (("mixed", ATTACHED, "one", TEXT, "two"), "two"), (("mixed", ATTACHED, "1", ATTACHED, "2"), ""),
    (("alternative", HTML, "<p>h", TEXT, "p"), "p"), (("alternative", TEXT, "p", HTML, "<p>h"), "p"),
    (("alternative", TEXT, " ", HTML, "<p>h"), "h"),
    (("mixed", "Content-Type: image/png", "AAAA", HTML, "<p>h"), "h"),
    (("encrypted", TEXT, "one", TEXT, "two"), ""),
    (("mixed", "Content-Type: text/calendar", "BEGIN:VCALENDAR", "Content-Type: a/b", "x"), ""),
    (("mixed", "Content-Type: message/rfc822", "Subject: x\n\ninside", TEXT, "two"), "two"),
])
def test_parts(message, expected):
    assert shown(MIXED % message) == expected


@pytest.mark.parametrize("header, body, expected", [
    ("Content-Transfer-Encoding: base64", b"w7xiZXI=", "über"),
    ("Content-Transfer-Encoding: quoted-printable", b"=C3=BCb=\ner", "über"),
    ("Content-Type: text/plain; charset=iso-8859-1", b"\xfcber", "über"),
    ("Content-Type: text/plain; charset=iso-2022-jp", b"\x1b$BF|K\\\x1b(B", "日本"),
    ("Content-Type: text/plain; charset=nonsense", b"\xfcber", "über"),
    ("Content-Type: text/plain; charset=utf-8", b"\xff\xfe", "��"),
])
def test_encodings(header, body, expected):
    found = shown(b"MIME-Version: 1.0\n" + header.encode() + b"\n\n" + body)
    assert found == expected


@pytest.mark.parametrize("text", [
    "<style>" * 20000, "<" * 200000, "<b>" * 60000, "&" * 200000, "&amp" * 50000, "<!--" * 50000,
    "</style><style>" * 10000, "<a '" * 40000, ">" * 200000, "x:\n" * 60000, "\n" * 200000,
    "<i>\u200b</i>" * 30000, "a<i>" * 40000])
def test_hostile_texts_take_no_time(text):
    for show in plain, html:
        began = time.process_time()
        show(text)
        assert time.process_time() - began < 1
