"""Sends one message over an open SMTP or LMTP connection, for what is timed message by message."""
import base64
import socket
import time

from ..messages import ADDRESS, PASSPHRASE

LOGIN = b"AUTH PLAIN %s\r\n" % base64.b64encode(b"\0%s\0%s" % (ADDRESS.encode("ascii"),
                                                               PASSPHRASE.encode("ascii")))


class OneMessage:
    """`greeting`: b"EHLO" or b"LHLO". To `recipient` the mailbox's user writes, who logs in;
    without one somebody to that user."""

    def __init__(self, port, greeting, recipient=None):
        self._sender = ADDRESS if recipient else "sender@other.example"
        self._recipient = recipient or ADDRESS
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer()
        self._ask(greeting + b" client.example")
        if recipient:
            self._ask(LOGIN.rstrip())

    def send(self, data):
        """The moment (time.perf_counter) at which its acceptance was there."""
        self.begin()
        self.stream([data])
        return time.perf_counter()

    def begin(self):
        self._ask(b"MAIL FROM:<%s>" % self._sender.encode("ascii"))
        self._ask(b"RCPT TO:<%s>" % self._recipient.encode("ascii"))
        self._ask(b"DATA")

    def stream(self, blocks):
        """Send the content, whose last line ends and no line of which begins with a dot: how many
        octets."""
        sent = 0
        for block in blocks:
            self._socket.sendall(block)
            sent += len(block)
        self._socket.sendall(b".\r\n")
        self._answer()
        return sent

    def _ask(self, line):
        self._socket.sendall(line + b"\r\n")
        self._answer()

    def _answer(self):
        data = b""
        while not data.endswith(b"\n") or data[data.rfind(b"\n", 0, -1) + 4:][:1] == b"-":
            piece = self._socket.recv(4096)
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        if data[:1] not in b"23":
            raise ConnectionError("refused: %r" % data)

    def close(self):
        self._socket.close()
