"""Stands for all other mail servers: an SMTP server (RFC 5321) that accepts mail for any address.

It listens on the loopback and keeps the mail in memory.
"""
import threading
import time
from typing import NamedTuple, Tuple

from .acceptor import Acceptor

_LINE = 64 * 1024
_EXTENSIONS = ("outside.example", "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE")


class Sent(NamedTuple):
    """One message as it was sent.

    `sender` ("" for none) and `recipients` are those of the envelope; `data`: its octets with CRLF.
    """
    sender: str
    recipients: Tuple[str, ...]
    data: bytes


class Catcher:
    """`address`: (host, port). `sent`: a list of Sent, in the order of arrival."""

    def __init__(self):
        self._answers = {}
        self._sent = []
        self._came = threading.Condition()
        self._acceptor = Acceptor("outside", self._serve)
        self.address = self._acceptor.address

    def answer(self, recipient, reply):
        """From now on reply "550 5.1.1 No such user" or the like to RCPT; None: accept again."""
        if reply is None:
            self._answers.pop(recipient.lower(), None)
        else:
            self._answers[recipient.lower()] = reply

    @property
    def sent(self):
        with self._came:
            return list(self._sent)

    def wait(self, count, seconds):
        """`sent`, as soon as it has `count` messages, at the latest after `seconds`."""
        end = time.monotonic() + seconds
        with self._came:
            while len(self._sent) < count and time.monotonic() < end:
                self._came.wait(max(0.0, end - time.monotonic()))
            return list(self._sent)

    def close(self):
        """End all connections and threads."""
        self._acceptor.close()

    # The dialogue

    def _serve(self, sock):
        with sock.makefile("rb") as lines:
            _Dialogue(self._answers, self._keep, lines, sock.sendall).run()

    def _keep(self, sent):
        with self._came:
            self._sent.append(sent)
            self._came.notify_all()


class _Dialogue:
    """One connection."""

    def __init__(self, answers, keep, lines, send):
        self._answers, self._keep, self._lines, self._send = answers, keep, lines, send
        self._sender, self._recipients = "", []

    def run(self):
        self._reply("220 outside.example accepts everything")
        while True:
            line = self._lines.readline(_LINE)
            if not line:
                return
            verb = line[:4].strip().upper()
            act = {b"EHLO": self._ehlo, b"MAIL": self._mail, b"RCPT": self._rcpt,
                   b"DATA": self._data}.get(verb)
            if act is not None:
                act(line)
            else:
                self._sender, self._recipients = "", []
                self._reply("221 2.0.0 Bye" if verb == b"QUIT" else "250 2.0.0 Ok")
            if verb == b"QUIT":
                return

    def _reply(self, *lines):
        self._send("".join([line + "\r\n" for line in lines]).encode("utf-8"))

    def _ehlo(self, _line):
        self._reply(*["250%s%s" % (" " if word is _EXTENSIONS[-1] else "-", word)
                      for word in _EXTENSIONS])

    def _mail(self, line):
        self._sender, self._recipients = _path(line), []
        self._reply("250 2.1.0 Ok")

    def _rcpt(self, line):
        recipient = _path(line)
        reply = self._answers.get(recipient.lower(), "250 2.1.5 Ok")
        if reply.startswith("2"):
            self._recipients.append(recipient)
        self._reply(reply)

    def _data(self, _line):
        if not self._recipients:
            self._reply("554 5.5.1 No valid recipients")
            return
        self._reply("354 End data with <CR><LF>.<CR><LF>")
        data = []
        while True:
            line = self._lines.readline(_LINE)
            if not line:
                return  # the connection was lost, so nothing was sent
            if line == b".\r\n":
                break
            data.append(line[1:] if line.startswith(b".") else line)  # RFC 5321 4.5.2
        self._keep(Sent(self._sender, tuple(self._recipients), b"".join(data)))
        self._sender, self._recipients = "", []
        self._reply("250 2.0.0 Ok")


def _path(line):
    """The address between < and > in MAIL or RCPT -> str."""
    return line.partition(b"<")[2].rpartition(b">")[0].decode("utf-8", "replace")
