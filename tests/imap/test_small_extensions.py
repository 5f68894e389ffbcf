"""Extensions of a few lines: WITHIN (RFC 5032), STATUS=SIZE (8438), APPENDLIMIT (7889)."""
import time

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.mail import dates

from . import wire


@pytest.mark.parametrize("keys, found", [
    ("YOUNGER 100", b"3"), ("YOUNGER 5000", b"2 3"), ("OLDER 5000", b"1"), ("OLDER 100", b"1 2"),
    ("OLDER 100 YOUNGER 5000", b"2"), ("NOT OLDER 5000", b"2 3"), ("YOUNGER 4294967295", b"1 2 3")])
def test_within(client, keys, found):
    for age in 10000, 3000, 0:
        date = dates.format_internal(int(time.time()) - age).decode()
        client.append(b"A: b\r\n\r\n", date='"%s"' % date)
    client.ok("NOOP")
    assert client.ok("SEARCH " + keys) == [b"* SEARCH " + found]


@pytest.mark.parametrize("keys",
                         ["YOUNGER", "OLDER 0", "YOUNGER -1", "OLDER x", "OLDER 4294967296"])
def test_what_is_no_age(client, keys):
    assert client.ask("SEARCH " + keys)[-1].startswith(b"BAD")


def test_the_size_of_a_mailbox(client):
    assert client.ok("STATUS Sent (SIZE)") == [b"* STATUS Sent (SIZE 0)"]
    client.append(b"A: b\r\n\r\n")
    client.append(b"A: b\r\n\r\nxyz\r\n")
    assert client.ok("STATUS INBOX (SIZE MESSAGES)") == [b"* STATUS INBOX (SIZE 21 MESSAGES 2)"]
    line = client.ok('LIST "" INBOX RETURN (STATUS (SIZE))')[1]
    assert line == b"* STATUS INBOX (SIZE 21)"


def test_the_size_of_messages_that_another_program_put_there(client, tmp_path):
    client.append(b"A: b\r\n\r\n")
    for name in "1.foreign.host", "2.foreign.host":
        (tmp_path / "mail" / "new" / name).write_bytes(b"A: b\n\nxyz\n")
    assert client.ok("STATUS INBOX (SIZE MESSAGES)")[0] == (
        b"* STATUS INBOX (SIZE 34 MESSAGES 3)")
    (tmp_path / "mail" / "cur" / "3.foreign.host:2,T").write_bytes(b"A: b\n\n\n")
    assert client.ok("STATUS INBOX (DELETED DELETED-STORAGE)")[0] == (
        b"* STATUS INBOX (DELETED 1 DELETED-STORAGE 10)")


def test_the_largest_message(store, tmp_path):
    limits = Limits()._replace(message_size=1000)
    with wire.Client(wire.server(store, tmp_path / "mail", limits=limits)) as client:
        client.log_in("INBOX")
        assert b" APPENDLIMIT=1000" in client.ok("CAPABILITY")[0]
        assert client.ok("STATUS INBOX (APPENDLIMIT)") == [b"* STATUS INBOX (APPENDLIMIT 1000)"]
        assert client.append(b"A: b\r\n\r\n" + b"x" * 1000)[-1].startswith(b"NO [TOOBIG]")
