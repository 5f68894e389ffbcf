"""A whole server with few connections: strangers lock nobody out, by number or by time."""
import socket
import ssl
import time

import pytest

import phenmail

USER, PASSPHRASE = "anna@example.test", "a pass phrase"
LOGIN = b"a LOGIN %s {13+}\r\n%s" % (USER.encode(), PASSPHRASE.encode())
PATIENCE = 10.0
PROTOCOLS = ("smtp", "submission", "imap", "imaps", "pop3", "pop3s")


def serving(**limits):
    values = {key.replace("_", "-"): value for key, value in limits.items()}
    return phenmail.MailServer(users={USER: PASSPHRASE}, settings={"limits": values})


class Wire:
    """A client from an address of its own."""

    def __init__(self, server, name, source="127.0.0.1", tls=False):
        self.socket = socket.create_connection(("127.0.0.1", server.port(name)), PATIENCE,
                                               (source, 0))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def line(self):
        return self.file.readline()

    def say(self, line):
        self.socket.sendall(line + b"\r\n")
        return self.line()

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def dial():
    made = []

    def connect(*arguments, **options):
        made.append(Wire(*arguments, **options))
        return made[-1]
    yield connect
    for wire in made:
        wire.close()


@pytest.mark.parametrize("name, begin", [
    ("smtp", b""), ("smtp", b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n"),
    ("submission", b"EHLO x\r\n"),
    ("imap", b"a NOOP\r\n"), ("imaps", b""), ("imaps", b"\x16\x03\x01\x02\x00\x01"),
    ("pop3", b"USER x\r\n"), ("pop3s", b"\x16")])
def test_a_crowd_from_few_addresses_locks_nobody_out(dial, name, begin):
    with serving(connections=64, connections_per_address=100) as server:
        for number in range(70):
            try:
                dial(server, name, "127.0.0.%d" % (number % 3 + 1)).socket.sendall(begin)
            except OSError:  # refused
                pass
        for other in PROTOCOLS:
            wire = dial(server, other, "127.0.0.99", tls=other in ("imaps", "pop3s"))
            assert wire.line()[:4] in (b"220 ", b"* OK", b"+OK "), other
            if other == "imap":
                assert b"a OK" in wire.say(LOGIN)


def test_who_logged_in_stays_whatever_strangers_do(dial):
    with serving(connections=16) as server:
        imap = dial(server, "imap", "127.0.0.99")
        imap.line()
        assert b"a OK" in imap.say(LOGIN)
        for number in range(60):
            for name in ("imap", "pop3", "smtp", "submission"):
                dial(server, name, "127.0.0.%d" % (number % 50 + 1))
        assert imap.say(b"b NOOP").startswith(b"b OK")


def trickle(wire, piece):
    """Sends `piece` again and again until the server ends the connection; -> seconds."""
    start = time.monotonic()
    wire.socket.settimeout(0.02)
    while time.monotonic() < start + PATIENCE:
        try:
            wire.socket.sendall(piece)
            if not wire.socket.recv(65536):
                break
        except socket.timeout:
            pass
        except OSError:
            break
    return time.monotonic() - start


@pytest.mark.parametrize("name, piece", [
    ("submission", b"x"), ("submission", b"NOOP\r\n"), ("submission", b"EHLO x\r\n"),
    ("submission", b"RSET\r\n"),
    ("imap", b"x"), ("imap", b"a NOOP\r\n"), ("imap", b"a LOGIN {1}\r\n"),
    ("imap", b"a CAPABILITY\r\n" * 99),
    ("pop3", b"x"), ("pop3", b"CAPA\r\n"), ("pop3", b"CAPA\r\n" * 99)])
def test_the_time_before_login_is_a_total(dial, name, piece):
    with serving(login_timeout=1, errors=1000) as server:
        assert 0.5 < trickle(dial(server, name), piece) < PATIENCE / 2


@pytest.mark.parametrize("begin", [b"", b"EHLO x\r\nMAIL FROM:<a@b.example>\r\n"])
@pytest.mark.parametrize("piece",
                         [b"x", b"NOOP\r\n", b"RSET\r\n", b"EHLO x\r\nMAIL FROM:<>\r\nRSET\r\n"])
def test_the_time_before_a_message_is_a_total(dial, begin, piece):
    with serving(smtp_idle_timeout=1, errors=1000) as server:
        wire = dial(server, "smtp")
        wire.socket.sendall(begin)
        assert 0.5 < trickle(wire, piece) < PATIENCE / 2


def test_a_message_gives_the_time_anew(dial):
    with serving(smtp_idle_timeout=2) as server:
        wire = dial(server, "smtp")
        wire.line()
        assert wire.say(b"HELO x")[:3] == b"250"
        until = time.monotonic() + 3
        while time.monotonic() < until:
            for line in (b"MAIL FROM:<a@b.example>", b"RCPT TO:<%s>" % USER.encode()):
                assert wire.say(line)[:3] == b"250"
            assert wire.say(b"DATA")[:3] == b"354"
            assert wire.say(b"Subject: x\r\n\r\nx\r\n.")[:3] == b"250"


def test_a_login_lifts_the_time(dial):
    with serving(login_timeout=1) as server:
        wire = dial(server, "imap")
        wire.line()
        assert b"a OK" in wire.say(LOGIN)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert wire.say(b"b NOOP").startswith(b"b OK")


def test_stalled_handshakes_leave_turns_to_others(dial):
    with serving(tls_handshakes=6, connections=400, connections_per_address=300) as server:
        for number in range(30):
            dial(server, "imaps", "127.0.0.%d" % (number % 3 + 1)).socket.sendall(
                b"\x16\x03\x01\x02\x00\x01\x00\x01")
        for number in range(4):
            assert dial(server, "imaps", "127.0.0.%d" % (number + 50),
                        tls=True).line().startswith(b"* OK")
