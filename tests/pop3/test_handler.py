"""Real connections: every octet as it is, TLS, time, stop, big messages, and what is on the disk
afterwards."""
import base64
import hashlib
import hmac
import pathlib
import poplib
import socket
import ssl
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phenmail import MailServer
from phenmail_protocols.net.connection import Connection
from phenmail_protocols.net.errors import Disconnected, Overdue, Stopping
from phenmail_protocols.pop3 import handler, maildrop

PASSPHRASE = "correct horse"
ANNA = "anna@example.org"
MESSAGES = [
    b"Subject: one\r\n\r\nhello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.dot\r\nmid.dot\r\n...\r\n",
    b".\r\n",
    b"\r\n\r\n",
    b"Subject: =?broken\r\nno colon\r\n\xff\xfe 8-bit \xc3\xb1\r\n\r\n\x01\x7f\x80\r\n",
    b"Subject: no last line end\r\n\r\n.end",
    b"Subject: long lines\r\n\r\n" + b"." * 300000 + b"\r\n.\r\n",
    b"Subject: many lines\r\n\r\n" + b".\r\n" * 200000,
]


@pytest.fixture(scope="module")
def server():
    with MailServer(users={ANNA: PASSPHRASE, "bert@example.org": PASSPHRASE}) as running:
        yield running


@pytest.fixture
def inbox(server):
    """`inbox(texts)`: anna has these messages and no others."""
    return lambda messages, user=ANNA: fill(server, messages, user)


def folder(server, user=ANNA):
    return server.directory.account(user).folder


def fill(server, messages, user=ANNA):
    account = server.store.account(folder(server, user))
    mailbox = account.open("INBOX")
    mailbox.remove(mailbox.state().uids.tolist())
    mailbox.close()
    for message in messages:
        with account.stage() as staged:
            staged.write(message)
            account.deliver("INBOX", staged)


def kept(server, user=ANNA):
    return server.store.account(folder(server, user)).status("INBOX").messages


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


class Wire:
    """A client that shows every octet."""

    def __init__(self, server, name="pop3", login=True):
        self.socket = socket.create_connection(("127.0.0.1", server.port(name)), timeout=20)
        if name == "pop3s":
            self.socket = context().wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        self.greeting = self.line()
        if login:
            assert self.say(b"USER " + ANNA.encode("ascii"))[:3] == b"+OK"
            assert self.say(b"PASS " + PASSPHRASE.encode("ascii"))[:3] == b"+OK"

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        return self.file.readline()

    def say(self, line):
        self.send(line + b"\r\n")
        return self.line()

    def text(self):
        """What follows +OK, as it is on the wire, the end mark included."""
        lines = [self.line()]
        while lines[-1] != b".\r\n":
            assert lines[-1], "the connection ended"
            lines.append(self.line())
        return b"".join(lines)

    def begin_tls(self):
        assert self.say(b"STLS")[:3] == b"+OK"
        self.file.close()
        self.socket = context().wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.socket.close()


def on_the_wire(message):
    """RFC 1939 3, said line by line; a last line without its end gets one."""
    lines = message.split(b"\r\n")
    if not lines[-1]:
        lines.pop()
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n"
                    for line in lines) + b".\r\n"


@pytest.mark.parametrize("way", ["pop3", "stls", "pop3s"])
def test_every_octet_as_it_is(server, inbox, way):
    inbox(MESSAGES)
    with Wire(server, "pop3s" if way == "pop3s" else "pop3", login=way != "stls") as wire:
        if way == "stls":
            wire.begin_tls()
            assert wire.say(b"AUTH PLAIN " + base64.b64encode(
                b"\0" + ANNA.encode() + b"\0" + PASSPHRASE.encode()))[:3] == b"+OK"
        for number, message in enumerate(MESSAGES, 1):
            assert wire.say(b"RETR %d" % number)[:3] == b"+OK"
            assert wire.text() == on_the_wire(message), "message %d" % number
            assert wire.say(b"LIST %d" % number) == b"+OK %d %d\r\n" % (number, len(message))
            assert wire.say(b"TOP %d 99999999" % number)[:3] == b"+OK"
            assert wire.text() == on_the_wire(message), "TOP of message %d" % number
        assert wire.say(b"TOP 8 150000")[:3] == b"+OK"
        assert wire.text() == on_the_wire(MESSAGES[7][:MESSAGES[7].index(b"\r\n\r\n") + 4]
                                          + b".\r\n" * 150000)
        assert wire.say(b"STAT") == b"+OK 8 %d\r\n" % sum(map(len, MESSAGES))
        assert wire.say(b"QUIT") == b"+OK Goodbye\r\n" and wire.line() == b""
    assert kept(server) == len(MESSAGES)


def test_pipelining(server, inbox):
    """RFC 2449 6.6: any number of commands in one piece, also behind a login, and byte by byte."""
    inbox(MESSAGES)
    commands = b"USER anna\r\nPASS correct horse\r\n" + b"".join(
        b"RETR %d\r\nNOOP\r\nDELE %d\r\n" % (number, number)
        for number in range(1, len(MESSAGES) + 1)) + b"RSET\nQUIT\r\n"
    got = []
    for pieces in ([commands], [commands[at:at + 1] for at in range(len(commands))]):
        with Wire(server, login=False) as wire:
            sender = threading.Thread(target=lambda: [wire.send(piece) for piece in pieces])
            sender.start()
            got.append(wire.file.read())
            sender.join()
    assert got[0] == got[1] and got[0].count(b"\r\n+OK Done\r\n") == len(MESSAGES)
    for message in MESSAGES:
        assert on_the_wire(message) in got[0]
    assert got[0].endswith(b"+OK Goodbye\r\n") and kept(server) == len(MESSAGES)


def test_poplib(server, inbox):
    inbox(MESSAGES[:3])
    client = poplib.POP3("127.0.0.1", server.port("pop3"), timeout=20)
    client.stls(context())
    client.apop("anna", PASSPHRASE)
    assert client.stat() == (3, sum(map(len, MESSAGES[:3])))
    assert b"\r\n".join(client.retr(2)[1]) + b"\r\n" == MESSAGES[1]
    assert len(client.uidl()[1]) == 3 and client.top(1, 0)[1] == [b"Subject: one", b""]
    client.dele(1)
    client.rset()
    client.dele(3)
    assert client.quit()[:3] == b"+OK"
    client = poplib.POP3_SSL("127.0.0.1", server.port("pop3s"), context=context(), timeout=20)
    client.user(ANNA)
    client.pass_(PASSPHRASE)
    assert client.stat()[0] == 2
    client.close()


def test_every_mechanism_of_accounts(server):
    with Wire(server, login=False) as wire:
        challenge = base64.b64decode(wire.say(b"AUTH CRAM-MD5")[2:])
        proof = hmac.new(PASSPHRASE.encode(), challenge, "md5").hexdigest()
        assert wire.say(base64.b64encode(("anna " + proof).encode()))[:3] == b"+OK"
    with Wire(server, login=False) as wire:
        first = b"n=anna,r=abc"
        answer = base64.b64decode(wire.say(b"AUTH SCRAM-SHA-256 "
                                           + base64.b64encode(b"n,," + first))[2:])
        fields = dict(field.split(b"=", 1) for field in answer.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", PASSPHRASE.encode(), base64.b64decode(fields[b"s"]),
                                     int(fields[b"i"]))
        last = b"c=biws,r=" + fields[b"r"]
        key = hmac.new(salted, b"Client Key", "sha256").digest()
        signature = hmac.new(hashlib.sha256(key).digest(), b",".join((first, answer, last)),
                             "sha256").digest()
        proof = bytes(a ^ b for a, b in zip(key, signature))
        verifier = wire.say(base64.b64encode(last + b",p=" + base64.b64encode(proof)))
        assert base64.b64decode(verifier[2:]).startswith(b"v=")
        assert wire.say(b"")[:3] == b"+OK"


def test_a_lost_connection_deletes_nothing_and_frees_the_maildrop(server, inbox):
    inbox(MESSAGES[:2])
    with Wire(server) as wire:
        assert wire.say(b"DELE 1")[:3] == b"+OK"
    with Wire(server) as wire:  # waits for the other's end at most PATIENCE
        assert wire.say(b"STAT")[:6] == b"+OK 2 "


def test_lines_too_long_keep_the_session_in_step(server):
    with Wire(server) as wire:
        assert wire.say(b"NOOP " + b"x" * 100000) == b"-ERR Line too long\r\n"
        assert wire.say(b"NOOP") == b"+OK Done\r\n"
        assert wire.say(b"NOOP\0")[:4] == b"-ERR"


def test_imap_and_pop3_of_two_accounts_side_by_side(server, inbox):
    inbox(MESSAGES[:1])
    inbox(MESSAGES[:2], "bert@example.org")
    with Wire(server) as anna, Wire(server, login=False) as bert:
        bert.say(b"USER bert")
        assert bert.say(b"PASS correct horse").startswith(b"+OK Logged in, 2 ")
        assert anna.say(b"STAT")[:6] == b"+OK 1 "


def test_a_message_that_cannot_be_read(server, inbox):
    inbox(MESSAGES[:2])
    with Wire(server) as wire:
        for path in paths(server):
            path.unlink()
        assert wire.say(b"RETR 1").startswith(b"-ERR [SYS/TEMP]")
        assert wire.say(b"STAT")[:6] == b"+OK 2 "
        assert wire.say(b"DELE 2")[:3] == b"+OK"
        assert wire.say(b"QUIT")[:3] == b"+OK"


def paths(server):
    return [path for part in ("new", "cur")
            for path in pathlib.Path(folder(server), part).iterdir()]


def test_a_big_message_needs_no_memory_and_hinders_nobody(server, inbox):
    size = 48 << 20
    lines = b".0123456789" * 6 + b"\r\n"
    account = server.store.account(folder(server))
    inbox([])
    with account.stage() as staged:
        staged.write(b"Subject: big\r\n\r\n")
        piece = lines * (262144 // len(lines))
        while staged.size < size:
            staged.write(piece)
        account.deliver("INBOX", staged)
    worst = [0.0]
    done = threading.Event()
    with Wire(server) as big, Wire(server, login=False) as other:
        other.say(b"USER bert")
        other.say(b"PASS correct horse")

        def ping():
            while not done.is_set():
                began = time.monotonic()
                assert other.say(b"NOOP") == b"+OK Done\r\n"
                worst[0] = max(worst[0], time.monotonic() - began)
        pinger = threading.Thread(target=ping)
        before = resident()
        assert big.say(b"RETR 1")[:3] == b"+OK"
        pinger.start()
        received, tail, most = 0, b"", before
        while not tail.endswith(b"\r\n.\r\n"):
            data = big.file.read1(1 << 18)
            received += len(data)
            tail = (tail + data)[-5:]
            most = max(most, resident())
        done.set()
        pinger.join()
    assert received == staged.size + (staged.size - 16) // len(lines) + len(".\r\n")
    assert most - before < 16 << 20, "%d octets more" % (most - before)
    assert worst[0] < 2.0, worst
    inbox([])


def resident():
    """Octets of memory that this process has; 0 where nobody tells."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0


def small(**limits):
    made = MailServer(users={ANNA: PASSPHRASE})
    made.settings = made.settings._replace(limits=made.settings.limits._replace(**limits))
    return made


def test_time_before_the_login_and_after_it():
    with small(login_timeout=0.3, pop_idle_timeout=30.0) as server:
        with Wire(server, login=False) as wire, Wire(server) as inside:
            assert wire.line() == b"", "RFC 1939 3: no response is sent"
            assert inside.say(b"NOOP") == b"+OK Done\r\n"


@pytest.mark.parametrize("text", [b"CAPA\r\n", b"C"], ids=["commands", "octets"])
def test_a_stranger_who_keeps_talking_has_no_more_time(text):
    with small(login_timeout=0.5) as server:
        with Wire(server, login=False) as wire:
            end = time.monotonic() + 10
            with pytest.raises(OSError):
                while True:  # until the server has closed
                    assert time.monotonic() < end, "nobody is logged in, and nobody minds"
                    wire.send(text)
                    wire.socket.settimeout(0.05)
                    try:
                        while wire.socket.recv(4096):
                            pass
                        raise OSError("closed")
                    except socket.timeout:
                        pass


def test_a_client_that_takes_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(handler, "SLOWEST", 1 << 30)
    with small(command_timeout=0.5) as server:
        fill(server, [b"Subject: x\r\n\r\n" + b"x\r\n" * 200000])
        with Wire(server) as wire:
            wire.send(b"RETR 1\r\n" * 50)
            with Wire(server):  # has the maildrop once the first one has lost it
                pass


def test_stop_says_goodbye_and_removes_nothing():
    server = small()
    server.start()
    try:
        fill(server, MESSAGES[:1])
        with Wire(server) as inside, Wire(server, login=False) as outside:
            assert inside.say(b"DELE 1")[:3] == b"+OK"
            stopper = threading.Thread(target=server.stop)
            count = len(paths(server))
            stopper.start()
            assert inside.line().startswith(
                b"-ERR [SYS/TEMP] Server shutting down") and inside.line() == b""
            assert outside.line().startswith(b"-ERR [SYS/TEMP] Server shutting down")
            stopper.join(10)
            assert not stopper.is_alive() and count == 1
    finally:
        server.stop()


def test_one_too_many():
    with small(connections_per_address=1) as server:
        with Wire(server, login=False), Wire(server, login=False) as second:
            assert (second.greeting == b"-ERR [SYS/TEMP] Too many connections, try again later\r\n"
                    and second.line() == b"")


def test_the_inside_of_an_error_is_not_told(server, monkeypatch, caplog):
    monkeypatch.setattr(maildrop.Maildrop, "unique_id", lambda self, number: 1 // 0)
    fill(server, MESSAGES[:1])
    with Wire(server) as wire:
        assert wire.say(b"UIDL 1") == b"-ERR [SYS/TEMP] Internal error, try again later\r\n"
        assert wire.say(b"NOOP") == b"+OK Done\r\n"
    assert "ZeroDivisionError" in caplog.text


@settings(max_examples=15, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"A: b\r\n", b"\xff", b".\r\n"]),
                max_size=40).map(b"".join))
def test_any_message_comes_back(server, text):
    message = text + b"\r\n"
    fill(server, [message])
    with Wire(server) as wire:
        assert wire.say(b"RETR 1") == b"+OK %d octets\r\n" % len(message)
        assert wire.text() == on_the_wire(message)
        assert wire.say(b"QUIT")[:3] == b"+OK"


@pytest.mark.parametrize("command", [b"LIST", b"UIDL"])
def test_a_long_command_ends_at_its_deadline(server, inbox, monkeypatch, command):
    inbox(MESSAGES[:3])
    with Wire(server) as client:
        monkeypatch.setattr(Connection, "look", ending(Overdue))
        assert client.say(
            command) == b"-ERR [SYS/TEMP] The command took too long, try again later\r\n"
        assert client.say(b"NOOP")[:3] == b"+OK"


@pytest.mark.parametrize("command", [b"LIST", b"UIDL", b"QUIT"])
def test_a_long_command_ends_at_the_stop(server, inbox, monkeypatch, command):
    inbox(MESSAGES[:3])
    with Wire(server) as client:
        assert client.say(b"DELE 1")[:3] == b"+OK"
        monkeypatch.setattr(Connection, "look", ending(Stopping))
        assert client.say(command).startswith(
            b"-ERR [SYS/TEMP] Server shutting down") and client.line() == b""
    assert kept(server) == 3


@pytest.mark.parametrize("error", [Overdue, Stopping, Disconnected])
def test_nothing_is_said_inside_a_message(server, monkeypatch, error):
    fill(server, [b"Subject: big\n\n" + b"x" * 70 + b"\n" * 300000])
    with Wire(server) as client:
        number = client.say(b"STAT").split()[1]
        monkeypatch.setattr(Connection, "look", ending(error))
        client.send(b"RETR " + number + b"\r\n")
        assert b"-ERR" not in client.file.read()


def test_who_said_quit_need_not_wait(server, inbox, monkeypatch):
    inbox(MESSAGES[:3])
    def gone(self, peer=True):
        if peer:
            raise Disconnected("gone")
    with Wire(server) as client:
        assert client.say(b"DELE 1")[:3] == b"+OK"
        monkeypatch.setattr(Connection, "look", gone)
        assert client.say(b"QUIT")[:3] == b"+OK"
    assert kept(server) == 2


def ending(error):
    def look(self, peer=True):
        raise error()
    return look
