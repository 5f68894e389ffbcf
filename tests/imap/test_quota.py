"""QUOTA, QUOTA=RES-STORAGE, QUOTA=RES-MESSAGE (RFC 9208)."""
import pytest

from phenmail_protocols.config.settings import Quota
from phenmail_protocols.store.filestore import FileStore

from . import wire

MESSAGE = b"Subject: hello\r\n\r\n" + b"x" * 980 + b"\r\n"  # 1000 octets


class Limited:
    """A client of a user with a quota that tests change."""

    def __init__(self, folder):
        self.limit = None
        self.store = FileStore(poll=3600, limit_of=lambda _: self.limit)
        self.server = wire.server(self.store, folder)
        self.client = wire.Client(self.server)
        self.client.log_in("INBOX")

    def close(self):
        self.client.close()
        self.store.close()


@pytest.fixture
def limited(tmp_path):
    limited = Limited(tmp_path / "mail")
    yield limited
    limited.close()


def test_capabilities(limited):
    words = limited.client.ok("CAPABILITY")[0].split()
    assert {b"QUOTA", b"QUOTA=RES-STORAGE", b"QUOTA=RES-MESSAGE"} <= set(words)
    assert b"QUOTASET" not in words


@pytest.mark.parametrize("limit, resources", [
    (Quota(10240, 50), b"STORAGE 2 10 MESSAGE 2 50"), (Quota(bytes=4096), b"STORAGE 2 4"),
    (Quota(messages=5), b"MESSAGE 2 5")])
def test_usage_and_limits(limited, limit, resources):
    client, limited.limit = limited.client, limit
    client.append(MESSAGE)
    client.append(MESSAGE, mailbox="Sent")
    assert client.ok("GETQUOTA user") == [b"* QUOTA user (%b)" % resources]
    assert client.ok('GETQUOTA "user"') == client.ok("GETQUOTA {4+}\r\nuser")
    for name, shown in ("INBOX", b"INBOX"), ("inbox", b"INBOX"), ("Sent", b"Sent"), (
            "not/there", b"not/there"), ('"Entw&APw-rfe"', b"Entw&APw-rfe"):
        assert client.ok("GETQUOTAROOT " + name) == [
            b"* QUOTAROOT %b user" % shown, b"* QUOTA user (%b)" % resources]


def test_without_a_quota(limited):
    client = limited.client
    assert client.ok("GETQUOTAROOT INBOX") == [b"* QUOTAROOT INBOX"]
    assert client.ask("GETQUOTA user") == [b"NO [NONEXISTENT] No such quota root"]
    assert client.append(MESSAGE)[-1].startswith(b"OK ")


@pytest.mark.parametrize("root", ["USER", '""', "other", '"u\\"x"'])
def test_another_root(limited, root):
    limited.limit = Quota(4096, 5)
    assert limited.client.ask("GETQUOTA " + root) == [b"NO [NONEXISTENT] No such quota root"]


@pytest.mark.parametrize("arguments", [
    "user (STORAGE 512)", "user ()", '"" (STORAGE 512 MESSAGE 9223372036854775807)', "x (FOO 1)"])
def test_set_quota(limited, arguments):
    limited.limit = Quota(4096, 5)
    assert limited.client.ask("SETQUOTA " + arguments)[-1].startswith(b"NO [NOPERM] ")


@pytest.mark.parametrize("command", [
    "GETQUOTA", "GETQUOTA user x", "GETQUOTA (user)", "GETQUOTAROOT", "GETQUOTAROOT a b", "SETQUOTA",
    "SETQUOTA user", "SETQUOTA user (STORAGE)", "SETQUOTA user (STORAGE -1)",
    "SETQUOTA user (STORAGE 9223372036854775808)", "SETQUOTA user STORAGE 1"])
def test_wrong_syntax(limited, command):
    assert limited.client.ask(command)[-1].startswith(b"BAD ")


def test_only_after_login(limited):
    with wire.Client(limited.server) as client:
        for command in "GETQUOTA user", "GETQUOTAROOT INBOX", "SETQUOTA user ()":
            assert client.ask(command)[-1].startswith(b"BAD ")
        assert not any(b"QUOTA" in line for line in client.ok("CAPABILITY"))


def test_a_message_that_does_not_fit(limited):
    client, limited.limit = limited.client, Quota(bytes=2500)
    for name in "INBOX", "Sent":
        assert client.append(MESSAGE, mailbox=name)[-1].startswith(b"OK [APPENDUID ")
    assert client.append(MESSAGE)[-1].startswith(b"NO [OVERQUOTA] ")
    assert client.append(MESSAGE[-400:])[-1].startswith(b"OK ")
    client.send(b"a APPEND INBOX {1000}\r\n")
    assert client.line().startswith(b"a NO [OVERQUOTA] ")  # before the message is sent
    assert client.append(MESSAGE, mailbox="nowhere")[-1].startswith(b"NO [TRYCREATE] ")


def test_several_messages_of_one_append(limited):
    client, limited.limit = limited.client, Quota(2500, 3)
    two = b"APPEND INBOX {1000+}\r\n%b {1000+}\r\n%b" % (MESSAGE, MESSAGE)
    assert client.ask(two + b" {600+}\r\n" + MESSAGE[-600:])[-1].startswith(b"NO [OVERQUOTA] ")
    assert client.ok("STATUS INBOX (MESSAGES)") == [b"* STATUS INBOX (MESSAGES 0)"]
    assert client.ask(two + b" {400+}\r\n" + MESSAGE[-400:])[-1].startswith(b"OK [APPENDUID ")
    assert client.ok("GETQUOTA user") == [b"* QUOTA user (STORAGE 3 2 MESSAGE 3 3)"]


def test_copy_and_move(limited):
    client, limited.limit = limited.client, Quota(messages=3)
    client.append(MESSAGE)
    client.append(MESSAGE)
    assert client.ask("COPY 1:2 Sent")[-1].startswith(b"NO [OVERQUOTA] ")
    assert client.ok("STATUS Sent (MESSAGES)") == [b"* STATUS Sent (MESSAGES 0)"]
    assert client.ask("UID COPY 1 Sent")[-1].startswith(b"OK [COPYUID ")
    client.ok("MOVE 1:2 Junk")
    assert client.ok("GETQUOTA user") == [b"* QUOTA user (MESSAGE 3 3)"]


def test_a_full_mailbox_can_be_emptied(limited):
    client = limited.client
    for _ in range(3):
        client.append(MESSAGE)
    limited.limit = Quota(2000, 2)
    assert client.ok("GETQUOTA user") == [b"* QUOTA user (STORAGE 3 1 MESSAGE 3 2)"]
    client.ok("STORE 1:2 +FLAGS (\\Deleted)")
    client.ok("EXPUNGE")
    assert client.append(b"A: b\r\n\r\nc\r\n")[-1].startswith(b"OK ")


def test_what_an_expunge_would_free(limited):
    client = limited.client
    for text in b"one", b"three", b"fourteen":
        client.append(b"A: b\r\n\r\n" + text)
    items = "(MESSAGES DELETED DELETED-STORAGE)"
    assert client.ok("STATUS INBOX " + items) == [
        b"* STATUS INBOX (MESSAGES 3 DELETED 0 DELETED-STORAGE 0)"]
    client.ok("STORE 1,3 +FLAGS (\\Deleted)")
    line = b"* STATUS INBOX (MESSAGES 3 DELETED 2 DELETED-STORAGE 27)"
    assert client.ok("STATUS INBOX " + items) == [line]
    assert client.ok('LIST "" INBOX RETURN (STATUS %s)' % items)[-1] == line
    assert client.ok("STATUS INBOX (DELETED-STORAGE)") == [b"* STATUS INBOX (DELETED-STORAGE 27)"]
    assert client.ok("STATUS Sent (DELETED)") == [b"* STATUS Sent (DELETED 0)"]


def test_messages_of_another_program(limited, tmp_path):
    """Their sizes are not known at first."""
    limited.limit = Quota(bytes=4000)
    limited.client.append(MESSAGE)
    for number in range(2):
        with open("%s/mail/cur/%d.x.y:2,ST" % (tmp_path, number), "wb") as file:
            file.write(MESSAGE.replace(b"\r\n", b"\n"))
    limited.client.ok("SELECT INBOX")
    assert limited.client.ask("COPY 2:3 Sent")[-1].startswith(b"NO [OVERQUOTA]")
    assert limited.client.ok("STATUS INBOX (DELETED DELETED-STORAGE)") == [
        b"* STATUS INBOX (DELETED 2 DELETED-STORAGE 2000)"]
    assert limited.client.ok("GETQUOTA user") == [b"* QUOTA user (STORAGE 3 3)"]


def test_resources_that_are_switched_off(limited):
    limited.limit = Quota(4096, 5)
    for off, shown in ("QUOTA=RES-STORAGE", b"MESSAGE 0 5"), ("QUOTA=RES-MESSAGE", b"STORAGE 0 4"):
        with wire.Client(limited.server._replace(without=frozenset([off]))) as client:
            client.log_in("INBOX")
            assert client.ok("GETQUOTA user") == [b"* QUOTA user (%b)" % shown]
    limited.limit = Quota(messages=5)
    with wire.Client(limited.server._replace(without=frozenset(["QUOTA=RES-MESSAGE"]))) as client:
        client.log_in("INBOX")
        assert client.ok("GETQUOTAROOT INBOX") == [b"* QUOTAROOT INBOX"]


def test_other_sessions_see_the_same(limited):
    limited.limit = Quota(messages=2)
    limited.client.append(MESSAGE)
    with wire.Client(limited.server) as other:
        other.log_in("INBOX")
        other.append(MESSAGE)
        for client in limited.client, other:
            assert client.ok("GETQUOTA user")[0] == b"* QUOTA user (MESSAGE 2 2)"
        assert limited.client.append(MESSAGE)[-1].startswith(b"NO [OVERQUOTA]")
