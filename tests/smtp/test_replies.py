"""Replies on the wire: RFC 5321 4.2, RFC 2034."""
import re

import pytest

from phenmail_protocols.mail.reply import Reply
from phenmail_protocols.smtp import replies


@pytest.mark.parametrize("reply, more, octets", [
    (Reply(250, "2.0.0", "Ok"), (), b"250 2.0.0 Ok\r\n"),
    (Reply(354, "", "Go"), (), b"354 Go\r\n"),
    (Reply(250, "", "host"), ("SIZE 1", "HELP"), b"250-host\r\n250-SIZE 1\r\n250 HELP\r\n"),
    (Reply(214, "2.0.0", "a"), ("b",), b"214-2.0.0 a\r\n214 2.0.0 b\r\n"),
    (Reply(334, "", ""), (), b"334 \r\n"),
])
def test_wire(reply, more, octets):
    assert replies.wire(reply, *more) == octets


def test_no_text_begins_another_reply_or_is_too_long():
    wire = replies.wire(Reply(550, "5.1.1", "evil\r\n250 2.0.0 good\nñ" + "x" * 1000))
    assert wire.count(b"\n") == 1 and wire.count(b"\r") == 1
    assert len(wire) <= 512 and b"?" in wire


def test_the_class_of_a_reply_fits_its_enhanced_code():
    known = [value for value in vars(replies).values() if isinstance(value, Reply)]
    assert len(known) > 20
    for reply in known:
        assert not reply.enhanced or reply.enhanced[0] == str(reply.code)[0], reply
        assert re.fullmatch(rb"\d{3} [ -~]+\r\n", replies.wire(reply)), reply
