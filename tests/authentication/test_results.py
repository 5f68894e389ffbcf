"""Authentication-Results: what is written, and which forged fields are removed."""
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phenmail_protocols.authentication import results
from phenmail_protocols.authentication.results import Result, field, summary, without_ours

HOST = "mx.example.org"


def test_the_whole_field():
    found = [Result("spf", "pass", "", (("smtp.mailfrom", "example.com"),)),
             Result("dkim", "fail", "body hash did not verify", (
                 ("header.d", "example.com"), ("header.s", "s"), ("header.a", "rsa-sha256"),
                 ("header.b", "ab/c=+12"))),
             Result("dmarc", "pass", "", (("header.from", "example.com"),))]
    assert field(HOST, found) == (
        b"Authentication-Results: mx.example.org;\r\n"
        b"\tspf=pass smtp.mailfrom=example.com;\r\n"
        b"\tdkim=fail reason=\"body hash did not verify\" header.d=example.com\r\n"
        b"\t header.s=s header.a=rsa-sha256 header.b=\"ab/c=+12\";\r\n"
        b"\tdmarc=pass header.from=example.com\r\n")
    assert field(HOST, []) == b"Authentication-Results: mx.example.org;\r\n\tnone\r\n"


@given(st.text(max_size=300), st.text(max_size=40))
@settings(max_examples=200)
def test_no_property_breaks_the_field(value, reason):
    written = field(HOST, [Result("spf", "none", "",
                                  (("smtp.helo", value), ("smtp.mailfrom", "a.example")))])
    assert b"smtp.mailfrom=a.example" in written and written.endswith(b"\r\n")
    lines = written[:-2].split(b"\r\n")
    assert all(line[:1] == b"\t" and len(line) < 998 for line in lines[1:])
    assert not re.search(rb"[^\t\r\n -~]", written) and b"\r\n\r\n" not in written
    unquoted = re.sub(rb'"(?:[^"\\]|\\.)*"', b"q", written)
    assert unquoted.count(b";") == 1 and unquoted.count(b"=") <= 3


def test_the_summary():
    assert summary([]) == ""
    assert summary([Result("dkim", "none")]) == "dkim=none"
    assert summary([Result("dmarc", "fail"), Result("dkim", "fail"), Result("dkim", "pass"),
                    Result("spf", "softfail"),
                    Result("dkim", "neutral")]) == "spf=softfail dkim=pass dmarc=fail"
    assert not results.is_known(Result("dkim", "perfect")) and not results.is_known(
        Result("x", "pass"))


OURS = [
    b"Authentication-Results: mx.example.org; spf=pass\r\n",
    b"AUTHENTICATION-results:MX.Example.ORG;spf=pass\r\n",
    b"Authentication-Results : mx.example.org 1; spf=pass\r\n",
    b"Authentication-Results:\r\n\tmx.example.org;\r\n\tspf=pass\r\n",
    b"Authentication-Results: (a (nested;) \\) comment) mx.example.org (b) ; spf=pass\r\n",
    b'Authentication-Results: "mx.example.org"; spf=pass\r\n',
    b'Authentication-Results: "mx\\.example.org"; spf=pass\r\n',
    b"Authentication-Results: mx.example.org/1; spf=pass\r\n",
    b"Authentication-Results: mx.example.org. ; spf=pass\r\n",
    b"Authentication-Results: mx.example.org\r\n",
    b"Authentication-Results: spf=pass mx.example.org\r\n",
    b"Authentication-Results: (never; closed mx.example.org; spf=pass\r\n",
    b'Authentication-Results: "never; closed mx.example.org; spf=pass\r\n',
    b"Authentication-Results:mx.example.org; none\n",
    b"Authentication-Results:\tx@mx.example.org; none\r\n",
]
FOREIGN = [
    b"Authentication-Results: mx.example.com; spf=pass smtp.mailfrom=mx.example.org\r\n",
    b"Authentication-Results: notmx.example.org; spf=pass\r\n",
    b"Authentication-Results: mx.example.org.example.com; spf=pass\r\n",
    b"Authentication-Results: a.mx.example.org; spf=pass\r\n",
    b"X-Authentication-Results: mx.example.org; spf=pass\r\n",
    b"ARC-Authentication-Results: i=1; mx.example.org; spf=pass\r\n",
    b"Subject: Authentication-Results: mx.example.org; spf=pass\r\n",
    b"Authentication-Results: mx.example.com; x=\"mx.example.org\" (mx.example.org)\r\n",
]


@pytest.mark.parametrize("ours", OURS)
def test_forged_fields_are_removed(ours):
    assert without_ours(b"From: a\r\n" + ours + b"To: b\r\n\r\n",
                        HOST) == b"From: a\r\nTo: b\r\n\r\n"
    assert without_ours(ours, HOST) == b""
    assert without_ours(ours * 3 + b"\r\n", HOST) == b"\r\n"


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_names_others_stays(foreign):
    header = foreign + b"From: a\r\n" + foreign + b"\r\n"
    assert without_ours(header, HOST) == header
    assert without_ours(OURS[0] + header, HOST) == header


def test_names_of_two_spellings():
    header = "Authentication-Results: b\u00fccher.example; spf=pass\r\n".encode("utf-8")
    assert without_ours(header, "xn--bcher-kva.example") == b""
    assert without_ours(header, "xn--other.example") == header
    assert without_ours(b"Authentication-Results: XN--bcher-KVA.example\r\n",
                        "b\u00fccher.example") == b""


PIECES = st.lists(st.sampled_from([b"Authentication-Results", b":", b" ", b"mx.example.org", b";",
                                   b"(", b")", b'"', b"\\", b"\r\n",
                                   b"\n", b"\t", b"\r\n\r\n", b"a: b\r\n", b"\xff", b"="]),
                  max_size=25).map(b"".join)


@given(PIECES)
@settings(max_examples=300)
def test_any_header_loses_whole_fields_only(header):
    kept = without_ours(header, HOST)
    assert without_ours(kept, HOST) == kept
    if kept != header:
        assert b"authentication-results" in header.lower() and len(kept) < len(header)


def test_a_large_header_takes_no_time():
    import time
    begun = time.process_time()
    for text in (b"Authentication-Results: " + b"(" * 250000,
                 b"Authentication-Results: " + b"( " * 125000 + b")" * 125000,
                 b"Authentication-Results: a\r\n" * 9000,
                 b"Authentication-Results: " + b"\xc3\xbc. " * 60000,
                 b"Authentication-Results: " + b'"a" ' * 60000):
        without_ours(text + b"\r\n\r\n", HOST)
    assert time.process_time() - begun < 5


# -- what another server found

UPSTREAM = "mx.upstream.example"


@pytest.mark.parametrize("header, expected", [
    (b"Authentication-Results: mx.upstream.example;\r\n  dkim=pass header.i=@a.example;\r\n"
     b"\tspf=pass (mx: x designates ; 192.0.2.1) smtp.mailfrom=x; dmarc=fail (p=NONE)\r\n",
     "spf=pass dkim=pass dmarc=fail"),
    (b"authentication-results: MX.Upstream.Example 1; spf = softfail; dkim/1=none\r\n",
     "spf=softfail dkim=none"),
    # The next field of the same server counts, but not one behind another field.
    (b"Authentication-Results: mx.upstream.example; spf=pass\r\n"
     b"Authentication-Results: mx.upstream.example; dmarc=pass\r\n"
     b"Received: from x\r\n"
     b"Authentication-Results: mx.upstream.example; dkim=pass\r\n", "spf=pass dmarc=pass"),
    (b"Subject: x\r\nAuthentication-Results: mx.upstream.example; spf=fail\r\n", "spf=fail"),
    (b"Authentication-Results: other.example; spf=pass\r\n", ""),
    (b"Authentication-Results: upstream.example; spf=pass\r\n", ""),
    (b"Authentication-Results: mx.upstream.example.evil.example; spf=pass\r\n", ""),
    (b"Authentication-Results: other.example (mx.upstream.example); spf=pass\r\n", ""),
    (b"Authentication-Results: \"mx.upstream.example; spf=pass\r\n", ""),
    (b"Authentication-Results: mx.upstream.example; none\r\n", ""),
    (b"Authentication-Results: mx.upstream.example; spf=great; arc=pass; dkim\r\n", ""),
    (b"Authentication-Results: mx.upstream.example; x=\"a;\" spf=pass; dkim=pass\r\n", "dkim=pass"),
    (b"Authentication-Results:\r\n", ""), (b"", "")])
def test_what_a_trusted_server_found(header, expected):
    assert summary(results.of_server(header + b"\r\n", UPSTREAM)) == expected


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_field_of_a_server_can_be_read(value):
    found = results.of_server(b"Authentication-Results: mx.upstream.example;" + value + b"\r\n\r\n",
                              UPSTREAM)
    assert all(results.is_known(result) for result in found)
    assert len(results.of_server(
        b"Authentication-Results: mx.upstream.example" + b"; spf=pass" * 1000 + b"\r\n",
        UPSTREAM)) == 50
