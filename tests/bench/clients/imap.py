"""An IMAP client that only sends commands and reads to the tagged answer."""
import itertools
import socket
import time

from ..messages import DOMAIN, PASSPHRASE, USER


class CommandFailed(Exception):
    """The tagged answer was not OK."""


class Imap:
    """A connection on which nobody has logged in yet; `context`: an ssl.SSLContext for implicit
    TLS."""

    def __init__(self, port, context=None):
        self.socket = socket.create_connection(("127.0.0.1", port), 120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        self._tags = itertools.count(1)
        self.until(b"\r\n")

    def until(self, end):
        """All that comes until it ends with `end`."""
        pieces, tail = [], b""
        while not tail.endswith(end):
            piece = self.socket.recv(262144)
            if not piece:
                raise ConnectionError("the server closed the connection")
            pieces.append(piece)
            tail = (tail + piece)[-64:]
        return b"".join(pieces)

    def login(self, user=USER):
        """`user`: a local part."""
        self.command(("LOGIN %s@%s %s" % (user, DOMAIN, PASSPHRASE)).encode("ascii"))
        return self

    def command(self, command):
        """Run it and return all that came, the tagged line included. Raises CommandFailed."""
        tag = b"b%d" % next(self._tags)
        self.socket.sendall(tag + b" " + command + b"\r\n")
        return self.tagged(tag, command)

    def tagged(self, tag, command=b""):
        """What comes up to the line with `tag`, which no message holds at the start of a line."""
        mark = b"\r\n%s " % tag
        pieces, tail = [b"\r\n"], b"\r\n"
        while True:
            piece = self.socket.recv(262144)
            if not piece:
                raise ConnectionError("the server closed the connection")
            pieces.append(piece)
            tail = (tail + piece)[-1024:]
            found = tail.rfind(mark)
            if found >= 0 and tail.endswith(b"\r\n"):
                if tail[found + len(mark):][:2] != b"OK":
                    raise CommandFailed("%r: %r" % (command[:60], tail[found:]))
                return b"".join(pieces)

    def timed(self, command):
        """(seconds, answer)."""
        began = time.perf_counter()
        answer = self.command(command)
        return time.perf_counter() - began, answer

    def append(self, mailbox, data):
        """APPEND with a literal that waits for no prompt."""
        tag = b"b%d" % next(self._tags)
        self.socket.sendall(b"%s APPEND %s {%d+}\r\n%s\r\n" % (tag, mailbox, len(data), data))
        self.tagged(tag, b"APPEND")

    def stream(self, mailbox, blocks):
        """APPEND of a large message: how many octets."""
        tag, size = b"b%d" % next(self._tags), sum(map(len, blocks))
        self.socket.sendall(b"%s APPEND %s {%d+}\r\n" % (tag, mailbox, size))
        for block in blocks:
            self.socket.sendall(block)
        self.socket.sendall(b"\r\n")
        self.tagged(tag, b"APPEND")
        return size

    def drained(self, command):
        """As `command`, of a large answer that nobody wants to keep: how many octets."""
        tag = b"b%d" % next(self._tags)
        mark = b"\r\n%s OK" % tag
        self.socket.sendall(tag + b" " + command + b"\r\n")
        taken, tail = 0, b"\r\n"
        while mark not in tail or not tail.endswith(b"\r\n"):
            piece = self.socket.recv(262144)
            if not piece:
                raise ConnectionError("the server closed the connection")
            taken += len(piece)
            tail = (tail + piece)[-512:]
        return taken

    def idle(self):
        """Begin IDLE; `until` then waits for news, `done` ends it."""
        self._idle = b"b%d" % next(self._tags)
        self.socket.sendall(self._idle + b" IDLE\r\n")
        self.until(b"\r\n")

    def done(self):
        self.socket.sendall(b"DONE\r\n")
        self.tagged(self._idle, b"IDLE")

    def close(self):
        self.socket.close()
