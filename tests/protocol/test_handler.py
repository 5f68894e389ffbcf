"""The loop of a connection, with a protocol of three commands over a socket pair."""
import socket
import threading
from typing import NamedTuple

import pytest

from phenmail_protocols.config.settings import Limits
from phenmail_protocols.net.connection import Connection
from phenmail_protocols.protocol import handler
from phenmail_protocols.protocol.output import Output
from phenmail_protocols.protocol.session import OutOfStep, Session, TooMuchInput

PATIENCE = 10.0


class Step(NamedTuple):
    wire: bytes
    then: str = "command"


class Service:
    directory, host, plaintext_auth, tls_context = None, "example.org", False, None
    limits = Limits()


class Account:
    name, folder = "anna", "/anna"


class Echo(Session):
    """Repeats each line; some words log in, quit or raise."""

    closed = False

    def greeting(self):
        return Step(b"hello\r\n")

    def line(self, line):
        if line == b"log in\r\n":
            self.account = Account
        if line == b"quit\r\n":
            return Step(b"bye\r\n", "close")
        error = {b"break\r\n": ZeroDivisionError, b"stuff\r\n": TooMuchInput,
                 b"torn\r\n": OutOfStep}.get(line)
        if error is not None:
            raise error("secret")
        return Step(line)

    def line_too_long(self):
        return Step(b"too long\r\n")

    def failed(self):
        return Step(b"failed\r\n")

    def close(self):
        self.closed = True


class Handler(handler.Handler):
    NEXT = Step(b"")
    ACTIONS = {"command": handler.Handler.run_line}
    STOPPING, IDLE, TOO_MUCH, INTERNAL = b"stopping\r\n", b"idle\r\n", b"too much\r\n", b"internal\r\n"


class Client:
    """The other end of a running Handler."""

    def __init__(self, **limits):
        self.socket, ours = socket.socketpair()
        self.socket.settimeout(PATIENCE)
        self.file = self.socket.makefile("rb")
        self.connection = Connection(ours, ("192.0.2.1", 1))
        self.session = Echo(Service(), ("192.0.2.1", 1))
        output = Output(self.connection, 1024)
        made = Handler(self.connection, Limits(**limits), PATIENCE, output, self.session)
        self.thread = threading.Thread(target=self._serve, args=(made,), daemon=True)

    def _serve(self, made):
        made.run()
        self.connection.close()

    def __enter__(self):
        self.thread.start()
        assert self.file.readline() == b"hello\r\n"
        return self

    def __exit__(self, *exception):
        self.file.close()
        self.socket.close()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive() and self.session.closed

    def say(self, data):
        self.socket.sendall(data)
        return self.file.readline()


def test_one_line_after_the_other():
    with Client() as client:
        assert client.say(b"a\r\n") == b"a\r\n"
        assert client.say(b"b\r\n") == b"b\r\n"
        assert client.say(b"quit\r\n") == b"bye\r\n" and client.file.read() == b""


def test_pipelining_sends_the_replies_together():
    with Client() as client:
        client.socket.sendall(b"a\r\nb\r\nc\r\nd")
        assert client.socket.recv(100) == b"a\r\nb\r\nc\r\n", (
            "they do not wait for the half of a command")


def test_a_line_that_is_too_long_is_answered():
    with Client(line=100) as client:
        assert client.say(b"x" * 200 + b"\r\n") == b"too long\r\n"
        assert client.say(b"a\r\n") == b"a\r\n"


def test_who_talks_without_a_login_has_one_time_for_all():
    with Client(login_timeout=0.3) as client:
        last = None
        while last != b"idle\r\n":
            assert last != b"", "closed without a word"
            try:
                last = client.say(b"a\r\n")
            except OSError:  # it was closed before it read this line
                last = client.file.readline()


def test_who_logged_in_may_be_silent_for_longer():
    with Client(login_timeout=0.3) as client:
        assert client.say(b"log in\r\n") == b"log in\r\n"
        client.socket.settimeout(0.5)
        with pytest.raises(socket.timeout):
            client.socket.recv(1)


@pytest.mark.parametrize("line, reply", [
    (b"break\r\n", b"failed\r\n"), (b"stuff\r\n", b"too much\r\n"), (b"torn\r\n", b"")])
def test_errors(line, reply):
    with Client() as client:
        assert client.say(line) == reply
        if reply == b"failed\r\n":
            assert client.say(b"a\r\n") == b"a\r\n"
        else:
            assert client.file.read() == b""


def test_a_stop_says_goodbye():
    with Client() as client:
        assert client.say(b"a\r\n") == b"a\r\n"
        client.connection.interrupt()
        assert client.file.read() == b"stopping\r\n"
