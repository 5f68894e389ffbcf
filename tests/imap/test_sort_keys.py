"""What SORT and THREAD read from a header."""
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phenmail_protocols.imap.searching import sort_keys

HEADER = (b"From: =?utf-8?q?J=C3=BCrgen?= <jk@example.org>\r\nTo: Team: a@b, c@d;, e@f\r\n"
          b"Cc: \"X, Y\" <xy@example.org>\r\nDate: Mon, 1 Jan 2001 00:00:00 +0100\r\n"
          b"Subject: Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n"
          b"References: <a@x>\r\n <b@x>\r\nIn-Reply-To: <c@x>\r\n\r\n")


def digest(identity):
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def test_a_header():
    keys = sort_keys.read(HEADER)
    assert keys.sent == 978303600
    assert keys.subject == ("gru\u0308sse", True)
    assert (keys.sender, keys.to, keys.cc) == ("jk", "team", "xy")
    assert (keys.display_from, keys.display_to) == ("ju\u0308rgen", "team")
    assert keys.identity == digest("1@x") and keys.references == (digest("a@x"), digest("b@x"))


def test_nothing_there():
    assert sort_keys.read(b"\r\n") == (
        None, ("", False), "", "", "", "", "", None, ())


@pytest.mark.parametrize("fields, references", [
    (b"In-Reply-To: <a@b> <c@d>\r\n", ("a@b",)),
    (b"References: nothing\r\nIn-Reply-To: <a@b>\r\n", ("a@b",)),
    (b"References: <a@b>\r\nIn-Reply-To: <c@d>\r\n", ("a@b",)),
    (b"References: " + b"<a@b> " * 1500 + b"<c@d>\r\n", ("a@b",) * 99 + ("c@d",)),
])
def test_references(fields, references):
    found = sort_keys.read(fields + b"\r\n").references
    assert found == tuple(map(digest, references))


@pytest.mark.parametrize("value, display", [
    (b"a@b", "a@b"), (b"<a@b>", "a@b"), (b"\"\" <a@b>", "a@b"), (b"Ann <a@b>", "ann"), (b"", ""),
    (b"Friends: a@b;", "friends"), (b"undisclosed-recipients:;", "undisclosed-recipients"),
])
def test_display(value, display):
    assert sort_keys.read(b"From: " + value + b"\r\n\r\n").display_from == display


@given(st.lists(st.tuples(st.sampled_from(sorted(sort_keys.FIELDS)), st.binary(max_size=40)),
                max_size=9))
def test_what_is_kept_comes_back(fields):
    header = b"".join(b"%b: %b\r\n" % (name, value.replace(b"\r", b"").replace(b"\n", b""))
                      for name, value in fields) + b"\r\n"
    keys = sort_keys.read(header)
    assert sort_keys.from_bytes(sort_keys.to_bytes(keys)) == keys


def test_what_is_kept_of_a_message_is_bounded():
    """A character may become 18 when it is folded, and a header may have any size."""
    grows = "\ufdfa" * 5000
    header = "".join("%s: %s <a@b>\r\n" % (name, grows) for name in ("Subject", "From", "To", "Cc"))
    ids = "References: " + " ".join("<%0300d@x>" % number for number in range(2000)) + "\r\n\r\n"
    assert len(sort_keys.to_bytes(sort_keys.read((header + ids).encode()))) < 8192
