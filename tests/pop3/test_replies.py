"""Replies: their wire form, and that no text can begin a second one."""
import pytest

from phenmail_protocols.pop3 import replies
from phenmail_protocols.store import errors


def test_wire_form():
    assert replies.ok("2 320").wire == b"+OK 2 320\r\n"
    assert replies.error("no", replies.AUTH).wire == b"-ERR [AUTH] no\r\n"
    assert replies.error("no").wire == b"-ERR no\r\n"


def test_one_line_of_at_most_512_octets():
    reply = replies.error("a\r\n+OK b\0ü" + "x" * 600, replies.TEMPORARY)
    assert reply.wire.startswith(b"-ERR [SYS/TEMP] a  +OK b ?xxx")
    assert reply.wire.count(b"\n") == 1 and len(reply.wire) <= 512


def test_listing():
    assert replies.listing(replies.ok("x"),
                           iter([b"1 2", b"2 3"])) == b"+OK x\r\n1 2\r\n2 3\r\n.\r\n"
    assert replies.listing(replies.ok("x"), []) == b"+OK x\r\n.\r\n"


@pytest.mark.parametrize("failure, code", [
    (errors.InUse(), "IN-USE"), (errors.Unavailable(), "SYS/TEMP"), (errors.NoSpace(), "SYS/TEMP"),
    (errors.StoreError(), "SYS/TEMP"),
    (errors.NotFound(), "SYS/PERM"),
])
def test_every_error_of_the_store_has_a_code(failure, code):
    assert replies.of_store_error(failure).code == code


def test_every_reply_is_well_formed():
    for name, reply in vars(replies).items():
        if isinstance(reply, replies.Reply):
            assert reply.wire.startswith((b"+OK ", b"-ERR ")) and reply.wire.endswith(b"\r\n"), name
