"""What a plugin gets of any octets: a message, or Unreadable, in bounded time."""
import io
import time

import hypothesis
import hypothesis.strategies as st
import pytest

from phenmail_protocols.plugins.email_message import Unreadable, read
from phenmail_protocols.queue.model import Message
from tests.plugins.pluginhouse import BOB, NOW, ROBOT

PIECES = st.sampled_from([
    b"Content-Type: ", b"multipart/mixed; boundary=b", b"message/rfc822", b"text/plain; charset=",
    b"\r\n", b"\r\n\r\n", b"--b", b"--b--",
    b"Subject: =?utf-8?q?=FF?=", b"From: <@", b"Date: ", b"Message-ID: <[", b"\xff", b"\xc3\xbc",
    b" ", b'"', b";", b"Content-Transfer-Encoding: base64"])


def parsed(content, **values):
    return read(Message("6-1", BOB, (), NOW, size=len(content), **values), io.BytesIO(content),
                ROBOT, None)


@hypothesis.settings(max_examples=150)
@hypothesis.given(st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=40).map(b"".join)),
                  st.booleans())
def test_every_message_is_read_or_told(content, smtputf8):
    try:
        message, origin = parsed(content, smtputf8=smtputf8)
    except Unreadable:
        return
    assert origin.sender == "bob@example.net"
    assert str(message.get("Delivered-To")).startswith("robot@example.org")


@pytest.mark.parametrize("content", [
    b"\r\n" * 1000002,
    b"".join(
        [b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (n, n)
         for n in range(2000)]),
    b"Content-Type: multipart/mixed; boundary=b\r\n" + b"X: multipart/\r\n" * 100 + b"\r\n"
    + b"\r\n" * 900000],
    ids=["lines", "depth", "both"])
def test_what_costs_too_much_is_told_soon(content):
    begun = time.monotonic()
    with pytest.raises(Unreadable):
        parsed(content)
    assert time.monotonic() - begun < 20.0


def test_a_file_that_was_read_before_is_read_from_its_beginning():
    body = io.BytesIO(b"Subject: one\r\n\r\nx\r\n")
    body.read()
    message, _ = read(Message("6-1", None, (), NOW), body, ROBOT, "a")
    assert message["Subject"] == "one"


def test_marks_of_programs_are_found_in_the_head_and_in_the_file():
    assert parsed(b"Precedence: bulk\r\n\r\n")[1].automatic
    assert parsed(b"\r\n", head=b"Precedence: bulk\r\n")[1].automatic
    assert not parsed(b"\r\nPrecedence: bulk\r\n")[1].automatic


@pytest.mark.parametrize("results, forged", [
    (b"spf=pass smtp.mailfrom=bob@example.net;\r\n\tdkim=none; dmarc=pass header.from=example.net",
     False),
    (b"spf=fail;\r\n\tdkim=fail header.d=a.example; dkim=pass header.d=example.net", False),
    (b"spf=fail; dkim=none", True), (b"spf=pass;\r\n\tdmarc=fail header.from=example.net", True),
    (b"none", False)])
def test_nobody_answers_forged_senders(results, forged):
    head = b"Authentication-Results: mx.example.org; " + results + b"\r\n"
    assert parsed(b"Subject: x\r\n\r\n",
                  head=head)[1].automatic == ("its sender may be forged" if forged else "")
    assert parsed(head + b"Subject: x\r\n\r\n")[1].automatic == ""  # that is the sender's own
