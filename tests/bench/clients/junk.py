"""Connections that never become a conversation, at most so many at once; a program of its own.

A client that stops within the TLS handshake, one that sends its line a byte at a
time, one that sends garbage, one with a line without end, one that only connects.
"""
import itertools
import os
import select
import socket
import subprocess
import sys
import time

HELD = 0.4  # seconds that each connection stays
TOGETHER = 200
_HELLO = bytes.fromhex("16030100f8010000f40303") + bytes(32)  # the beginning of a ClientHello


def run(ports, count):
    """`ports`: those with TLS from the start, and others. Runs it as a process of its own."""
    subprocess.check_call([sys.executable, "-m", __name__, ",".join(map(str, ports["tls"])),
                           ",".join(map(str, ports["plain"])), str(count)])


def _kinds(tls, plain):
    """(port, pieces to send) for one connection after the other."""
    every = itertools.cycle(tls + plain)
    secret, clear = itertools.cycle(tls), itertools.cycle(plain)
    while True:
        yield next(secret), [_HELLO]
        yield next(clear), [b"E", b"H", b"L", b"O", b" "]
        yield next(every), [os.urandom(600) + b"\r\n"] * 3
        yield next(clear), [b"A" * 3000] * 4
        yield next(every), []


class Junk:
    def __init__(self, port, pieces):
        self._pieces = pieces
        self.ends = time.monotonic() + HELD
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setblocking(False)

    def go_on(self):
        """Send the next piece; False when it is over."""
        try:
            if self._pieces:
                self.socket.send(self._pieces.pop(0))
        except (BlockingIOError, OSError):
            self._pieces = []
        return time.monotonic() < self.ends

    def close(self):
        self.socket.close()


def main():
    tls, plain = ([int(port) for port in text.split(",")] for text in sys.argv[1:3])
    kinds = itertools.islice(_kinds(tls, plain), int(sys.argv[3]))
    living, more = [], True
    while living or more:
        while more and len(living) < TOGETHER:
            kind = next(kinds, None)
            more = kind is not None
            if more:
                living.append(Junk(kind[0], list(kind[1])))
        select.poll().poll(50)
        staying = []
        for junk in living:
            if junk.go_on():
                staying.append(junk)
            else:
                junk.close()
        living = staying


if __name__ == "__main__":
    main()
