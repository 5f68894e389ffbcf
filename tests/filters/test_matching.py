"""What filters compare (headers, addresses, envelope, size, body), and how."""
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.config.settings import Filter
from phenmail_protocols.filters import matching
from phenmail_protocols.filters.matching import View, condition
from phenmail_protocols.filters.rules import FilteredMessage
from phenmail_protocols.mail.address import Address

HEADER = b"""Received: from mail.example.net ([192.0.2.1])
\tby mx.example.org (phenmail) with ESMTPS id abcdef.1
From: =?utf-8?q?B=C3=B6b?= <Bob@example.net>
To: "Alice, the boss" <alice@example.org>,
 dan@example.com (Dan)
subject : Re: [dev] =?utf-8?b?w5xiZXI=?= long
 lines
X-Twice: one
X-Twice: two
X-Raw: caf\xc3\xa9
X-Empty:

"""
BOB, ALICE = Address("Bob", "example.net"), Address("alice+lists", "example.org")


def letter(header=HEADER, **changes):
    values = dict(header=header.replace(b"\n", b"\r\n"), sender=BOB, recipient=ALICE, tag="lists",
                  size=2048, auth="spf=pass dmarc=fail")
    values.update(changes)
    return FilteredMessage(**values)


def fits(header, content, mode="contains", of=None):
    headers = (header,) if isinstance(header, str) else header
    return condition(Filter("match", headers, mode,
                            content))(View(of or letter(), lambda pattern, text: False))


@pytest.mark.parametrize("header, mode, content, expected", [
    ("Subject", "contains", "[DEV] über", True),
    ("SUBJECT", "is", "re: [dev] über long lines", True),
    ("Subject", "is", "re: [dev] über", False),
    ("Subject", "startswith", "re: [dev]", True),
    ("Subject", "endswith", "LONG LINES", True),
    ("Subject", "regex", r"^re: \[dev\] Ü\w+ long lines$", True),
    ("Subject", "contains", "=?utf-8", False),
    ("Sub", "contains", "dev", False),
    ("X-Twice", "is", "two", True),
    ("X-Raw", "is", "CAFÉ", True),
    ("X-Raw", "is", "cafe\u0301", True),
    ("Subject", "contains", "U\u0308BER", True),
    ("From", "startswith", "bo\u0308b", True),
    ("X-Raw", "endswith", "FE\u0301", True),
    ("X-Empty", "regex", "^$", True),
    ("X-Absent", "regex", "", False),
    ("From", "is", "böb <bob@example.net>", True),
    ("From", "is", "BOB@EXAMPLE.NET", True),
    ("From", "endswith", "@example.net", True),
    ("To", "endswith", "@example.com", True),
    ("To", "startswith", "alice@", True),
    ("To", "is", "alice", False),
    (("X-Absent", "To"), "contains", "dan@", True),
    (("X-Absent", "X-Empty"), "contains", "dan@", False),
    ("Received", "contains", "id abcdef.1", True),
    ("*from", "is", "bob@example.net", True),
    ("*to", "is", "alice+lists@example.org", True),
    ("*tag", "is", "Lists", True),
    ("*auth", "contains", "dmarc=fail", True),
    ("*size", "contains", ">2k", False),
    ("*size", "is", ">= 2 KB", True),
    ("*size", "contains", "<2049", True),
    ("*size", "contains", "2048", True),
    ("*size", "contains", "2047", False),
    ("*size", "contains", "<=1M", True),
])
def test_comparisons(header, mode, content, expected):
    assert fits(header, content, mode) is expected


def test_a_bounce_and_what_is_not_known():
    bare = letter(sender=None, tag=None, auth="")
    assert fits("*from", "<>", "is", bare)
    assert not fits("*tag", ".*", "regex", bare) and not fits("*auth", ".*", "regex", bare)


def test_the_body_of_a_message_is_decoded_and_bounded(tmp_path):
    path = str(tmp_path / "message")
    parts = (
        b"Return-Path: <bob@example.net>\nContent-Type: multipart/mixed; boundary=x\nSubject: "
        b"secret\n\nno part\n--x\n"
        b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: "
        b"quoted-printable\n\nGr=FC=\n=DFe\n\n--x\n"
        b"Content-Type: application/octet-stream\n\nbinary\n--x\nContent-Type: text/html; "
        b"charset=utf-8\n"
        b"Content-Transfer-Encoding: base64\n\nPGI+w7xiZXI8L2I+\n--x--\n")
    for data in (parts, parts.replace(b"\n", b"\r\n")):
        with open(path, "wb") as file:
            file.write(data)
        assert matching.body_texts(path) == ["Grüße", "<b>über</b>"]
        assert fits("*body", "GRÜSSE",
                    of=letter(path=path)) and fits(("Subject", "*body"), "über</b>", "endswith",
                                                   letter(path=path))
        assert not fits("*body", "secret",
                        of=letter(path=path)) and not fits("*body", "binary", of=letter(path=path))
    with open(path, "wb") as file:
        file.write(b"\n" + b"x" * 65535 + b"yz")
    assert matching.body_texts(path) == ["x" * 65535 + "y"]


@pytest.mark.parametrize("size", [200000, 262144, 300000, 1200000, 2500000])
def test_the_body_behind_a_header_of_any_size(tmp_path, size):
    path = str(tmp_path / "message")
    header = b"Subject: x\n" + b"X-Filler: yyyyyyyyyyyyyyyy\n" * (
        size // 27) + b"X-Late: z\nMIME-Version: 1.0\n" + (
        b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n")
    for data in (header, header.replace(b"\n", b"\r\n")):
        with open(path, "wb") as file:
            file.write(data + b"R3LDvMOfZQ==\n")
        assert matching.body_texts(path) == ["Gr\u00fc\u00dfe"]
        assert matching.read_header(path) == header.replace(b"\n",
                                                            b"\r\n") and matching.read_header(
            path, len(data)) == b"R3LDvMOfZQ==\r\n"
        assert fits("X-Late", "z", of=letter(matching.read_header(path).replace(b"\r\n", b"\n")))


def test_a_body_of_many_parts_is_bounded(tmp_path):
    """1 000 parts are looked at; the rest is the last one's."""
    path = str(tmp_path / "message")
    with open(path, "wb") as file:
        file.write(b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
                   + b"--b\n\nx\n" * 1500)
    texts = matching.body_texts(path)
    assert len(texts) == 999 and texts[0] == "x" and texts[-1].startswith("x\n--b\n\nx")


def test_no_file_is_no_body(tmp_path):
    assert not fits("*body", ".*", "regex", letter(path=""))
    assert not fits("*body", ".*", "regex", letter(path=str(tmp_path / "gone")))


def test_a_header_is_decoded_once_and_only_if_asked_for(monkeypatch):
    decoded = []
    decode = matching.headers.decode
    monkeypatch.setattr(matching.headers, "decode", lambda value: decoded.append(value)
                        or decode(value))
    view = View(letter())
    for mode in ("contains", "regex", "contains"):
        condition(Filter("match", ("Subject",), mode, "nothing"))(view)
        condition(Filter("match", ("subject", "X-Absent"), mode, "nothing"))(view)
    assert len(decoded) == 1


def test_patterns_share_one_patience(monkeypatch):
    moments = iter(range(1000))
    monkeypatch.setattr(matching, "_clock", lambda: next(moments))
    view = View(letter())
    with pytest.raises(matching.OutOfTime):
        for _ in range(3):
            condition(Filter("match", ("Subject",), "regex", "x"))(view)


LARGE = {
    "long": b"Subject: " + b"a" * 250000 + b"\n\n", "folded": b"Subject:\n" + b" \n" * 120000
    + b"\n", "many": b"Subject: x\n" * 20000 + b"\n",
    "names": b"Subject:" * 30000 + b"\n\n", "no name": b"Subject" * 30000 + b"\n\n",
    "addresses": b"To: " + b"a@b," * 60000 + b"\n\n",
    "encoded": b"Subject: " + b"=?utf-8?q?a?= " * 20000 + b"\n\n"}


@pytest.mark.parametrize("header", list(LARGE.values()), ids=list(LARGE))
def test_large_headers_take_no_time(header):
    of = letter(header)
    began = time.perf_counter()
    for mode in ("contains", "endswith", "regex"):
        fits(("Subject", "To"), "(x+x+)+y", mode, of)
    assert time.perf_counter() - began < 3.0


@settings(max_examples=150)
@given(st.binary(max_size=60), st.sampled_from(["contains", "startswith", "endswith", "is",
                                                "regex"]))
def test_any_header_ends(data, mode):
    of = letter(b"subject:" + data + b"\nTo:" + data + b"\n" + data)
    assert fits(("Subject", "To"), "a.?", mode, of) in (True, False)


@pytest.mark.parametrize("content", [
    "bob@b\u00fccher.example", "B\u00dcCHER.example", "bob@xn--bcher-kva.example", "xn--"])
def test_a_rule_may_have_either_spelling_of_a_domain(content):
    address = Address.parse("bob@b\u00fccher.example")
    assert fits("*from", content, of=letter(sender=address))
    assert fits("*to", content, of=letter(recipient=address))
    assert not fits("*from", content) and not fits("*to", content)
