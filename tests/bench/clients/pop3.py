"""A POP3 client that only sends commands and reads to the end of the answer."""
import socket

from ..messages import ADDRESS, PASSPHRASE


class Pop3:
    """A connection on which nobody has logged in yet."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), 120)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._until(b"\r\n")

    def _until(self, end):
        data = b""
        while not data.endswith(end):
            piece = self._socket.recv(262144)
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
            if data.startswith(b"-ERR"):
                raise ConnectionError("refused: %r" % data)
        return data

    def _ask(self, line, end=b"\r\n"):
        self._socket.sendall(line + b"\r\n")
        return self._until(end)

    def login(self):
        """How many messages the maildrop has."""
        self._ask(b"USER " + ADDRESS.encode("ascii"))
        self._ask(b"PASS " + PASSPHRASE.encode("ascii"))
        return int(self._ask(b"STAT").split()[1])

    def retrieve(self, number):
        return self._ask(b"RETR %d" % number, b"\r\n.\r\n")

    def close(self):
        self._socket.close()
