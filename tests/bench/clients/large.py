"""Brings or takes one message of many megabytes; a program of its own, so that it does not disturb
who measures.

Prints JSON: `seconds`, `octets`, `processor` (its own processor time).
"""
import argparse
import json
import resource
import socket
import subprocess
import sys
import time

from ..messages import ADDRESS, FAR, PASSPHRASE
from .imap import Imap
from .one_message import OneMessage

_LINE = b"VGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZyBhbmQgcnVucyBvZmYu\r\n"
_BLOCK = _LINE * 3360  # some 256 KB
_HEAD = (
    b"From: <%b>\r\nTo: <me@bench.example>\r\nSubject: big\r\nMessage-ID: <%b@other.example>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=edge\r\n\r\n"
    b"--edge\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n"
    b"--edge\r\nContent-Type: application/octet-stream; name=big\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n")
_FOOT = b"--edge--\r\n"
PIECE = 65536


def start(what, port, size):
    """The program as a child process."""
    return subprocess.Popen([sys.executable, "-m", __name__, what, str(port), str(size)],
                            stdout=subprocess.PIPE)


def result(child):
    """What it printed, once it has ended."""
    output = child.communicate()[0]
    if child.returncode:
        raise RuntimeError("the client failed")
    return json.loads(output.decode("ascii"))


def octets(size, name, author="big@other.example"):
    """The message in blocks; its last line ends."""
    head = _HEAD % (author.encode("ascii"), name)
    yield head
    whole, rest = divmod(size - len(head) - len(_FOOT), len(_BLOCK))
    for _ in range(whole):
        yield _BLOCK
    yield _LINE * (rest // len(_LINE))
    yield _FOOT


def bring_data(port, size):
    sender = OneMessage(port, b"EHLO")
    sender.begin()
    return sender.stream(octets(size, b"data"))


def bring_submission(port, size):
    """To somebody far away, who is at home at the relay's next hop."""
    sender = OneMessage(port, b"EHLO", FAR)
    sender.begin()
    return sender.stream(octets(size, b"submission", ADDRESS))


def bring_append(port, size):
    client = Imap(port).login()
    return client.stream(b"INBOX", list(octets(size, b"append")))


def take_fetch(port, size):
    return _drain_fetch(_selected(port), b"BODY.PEEK[]")


def take_structure(port, size):
    return _drain_fetch(_selected(port), b"BODYSTRUCTURE")


def take_pieces(port, size):
    client = _selected(port)
    return sum(_drain_fetch(client, b"BODY.PEEK[]<%d.%d>" % (offset, PIECE))
               for offset in range(0, size, PIECE))


def _selected(port):
    client = Imap(port).login()
    client.command(b"SELECT INBOX")
    return client


def _drain_fetch(client, item):
    return client.drained(b"FETCH * (%b)" % item)


def take_retr(port, size):
    """The last message of the maildrop by POP3."""
    connection = socket.create_connection(("127.0.0.1", port), 120)
    replies = connection.makefile("rb")
    replies.readline()
    for line in (b"USER " + ADDRESS.encode("ascii"), b"PASS " + PASSPHRASE.encode("ascii"),
                 b"STAT"):
        connection.sendall(line + b"\r\n")
        answer = replies.readline()
    connection.sendall(b"RETR " + answer.split()[1] + b"\r\n")
    taken, tail = 0, b""
    while not tail.endswith(b"\r\n.\r\n"):
        piece = connection.recv(262144)
        if not piece:
            raise ConnectionError("the server closed the connection")
        taken += len(piece)
        tail = (tail + piece)[-5:]
    return taken


WAYS = {"data": bring_data, "submission": bring_submission, "append": bring_append,
        "fetch": take_fetch, "pieces": take_pieces,
        "structure": take_structure, "retr": take_retr}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(WAYS))
    parser.add_argument("port", type=int)
    parser.add_argument("size", type=int)
    options = parser.parse_args()
    began = time.monotonic()
    octets_moved = WAYS[options.what](options.port, options.size)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"seconds": time.monotonic() - began, "octets": octets_moved,
                      "processor": usage.ru_utime + usage.ru_stime}))


if __name__ == "__main__":
    main()
