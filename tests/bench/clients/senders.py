"""Sends mail over many connections at once; a program of its own.

One thread, poll, answers looked at as little as they need be: about the cost of a
C program, and the same for every server. Prints JSON:
`began` and `ended` (time.monotonic, which all processes share), `accepted`,
`refused` (texts), `processor` (seconds of processor time that it took itself).
"""
import argparse
import json
import resource
import select
import socket
import subprocess
import sys
import time

from ..messages import ADDRESS, message
from .one_message import LOGIN

_HELLO = (b"EHLO client.example\r\n",)


def send(port, count, connections, each, prefix, recipient=None):
    """Run it as a process of its own and return what it says, as a dict.

    To `recipient` the mailbox's user writes, who logs in before; without one somebody writes to
    that user.
    """
    output = subprocess.check_output([
        sys.executable, "-m", __name__, str(port), "--count", str(count), "--connections",
        str(connections),
        "--each", str(each), "--prefix", prefix] + (["--recipient", recipient] if recipient
                                                    else []))
    return json.loads(output.decode("ascii"))


class Sender:
    """One connection after the other, each with `each` messages; `bodies` is an iterator that all
    share.

    `hello` is said once a connection, `envelope` for each message.
    """

    def __init__(self, port, each, bodies, refused, hello, envelope):
        self._port = port
        self._each = each
        self._bodies = bodies
        self._refused = refused
        self._lines = hello + envelope
        self._again = len(hello)
        self.accepted = 0
        self.socket = None

    def connect(self):
        """False: there is nothing left to send."""
        self._body = next(self._bodies, None)
        if self._body is None:
            return False
        self._left = self._each
        self._step = 0
        self._reply = b""
        self.socket = socket.create_connection(("127.0.0.1", self._port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return True

    def readable(self):
        """Take an answer, send what comes next; False when the connection is over."""
        data = self.socket.recv(4096)
        if not data:
            raise ConnectionError("the server closed the connection")
        data = self._reply = self._reply + data
        if data[-1:] != b"\n" or data[data.rfind(b"\n", 0, -1) + 4:][:1] == b"-":
            return True
        self._reply = b""
        if data[:1] not in b"23":
            self._refused.append(data.decode("ascii", "replace"))
        return self._next()

    def _next(self):
        step = self._step
        if step < len(self._lines):
            self.socket.sendall(self._lines[step])
        elif step == len(self._lines):
            self.socket.sendall(self._body)
        elif step == len(self._lines) + 1:
            self.accepted += 1
            self._left -= 1
            self._body = next(self._bodies, None) if self._left else None
            if self._body is None:
                self.socket.sendall(b"QUIT\r\n")
            else:
                step = self._again
                self.socket.sendall(self._lines[step])
        else:
            self.socket.close()
            return False
        self._step = step + 1
        return True


def envelope(sender, recipient):
    return (b"MAIL FROM:<%s>\r\n" % sender.encode("ascii"),
            b"RCPT TO:<%s>\r\n" % recipient.encode("ascii"), b"DATA\r\n")


def run(port, count, connections, each, prefix, recipient):
    author = ADDRESS if recipient else None
    bodies = iter([message(number, "%s-%d" % (prefix, number), author=author) + b".\r\n"
                   for number in range(count)])
    refused = []
    hello = _HELLO + ((LOGIN,) if recipient else ())
    said = envelope(author or "sender@other.example", recipient or ADDRESS)
    senders = [Sender(port, each or count, bodies, refused, hello, said)
               for _ in range(min(connections, count))]
    poll, by_descriptor = select.poll(), {}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()

    def connect(sender):
        if sender.connect():
            by_descriptor[sender.socket.fileno()] = sender
            poll.register(sender.socket, select.POLLIN)

    for sender in senders:
        connect(sender)
    while by_descriptor:
        for descriptor, _ in poll.poll(60000):
            sender = by_descriptor[descriptor]
            if not sender.readable():
                poll.unregister(descriptor)
                del by_descriptor[descriptor]
                connect(sender)
    ended = time.monotonic()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {"began": began, "ended": ended, "accepted": sum(sender.accepted for sender in senders),
            "refused": refused,
            "processor": after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--each", type=int, default=0,
                        help="messages a connection; 0: as many as there are")
    parser.add_argument("--prefix", default="message")
    parser.add_argument("--recipient", help="log in, and write to this address")
    options = parser.parse_args()
    print(json.dumps(run(options.port, options.count, options.connections, options.each,
                         options.prefix, options.recipient)))


if __name__ == "__main__":
    main()
