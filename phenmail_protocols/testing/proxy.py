"""A TCP proxy on the loopback that breaks connections or slows them down on demand.

Knows no protocol, so TLS passes through it.
"""
import socket
import threading
from collections import deque
from typing import NamedTuple

from .acceptor import Acceptor, shut

CLIENT, SERVER = "client", "server"

_PIECE = 64 * 1024
_CONNECT = 10.0


class _Drop(NamedTuple):
    octets: int
    side: str


class _Slow(NamedTuple):
    seconds: float
    octets: int


_BRISK = _Slow(0.0, _PIECE)


class Proxy:
    """`name`: of the service, for threads; `target`: (host, port) of the real server.

    `address`: (host, port) to which clients connect.
    """

    def __init__(self, name, target):
        self._target = target
        self._drops = deque()
        self._slow = _BRISK
        self._acceptor = Acceptor("proxy-" + name, self._serve)
        self._name = "phenmail-proxy-" + name
        self.address = self._acceptor.address

    # Faults

    def drop_after(self, octets, side=CLIENT, connections=1):
        """Break the next connections after exactly `octets` octets from that side."""
        if side not in (CLIENT, SERVER):
            raise ValueError("side: expected %r or %r, not %r" % (CLIENT, SERVER, side))
        self._drops.extend([_Drop(octets, side)] * connections)

    def slow(self, seconds, octets=1024):
        """From now on delay each piece of `octets` octets by `seconds`, in both directions."""
        self._slow = _Slow(seconds, octets)

    def cut(self):
        """Break all present connections."""
        self._acceptor.cut()

    def heal(self):
        """Cause no more faults. Broken connections stay broken."""
        self._drops.clear()
        self._slow = _BRISK

    def close(self):
        """End all connections and threads."""
        self._acceptor.close()

    # The work

    def _serve(self, client):
        try:
            drop = self._drops.popleft()
        except IndexError:
            drop = None
        if drop is not None and drop.octets <= 0:
            return
        with socket.create_connection(self._target, _CONNECT) as server:
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=self._pump, args=(server, client, drop, SERVER),
                                    name=self._name, daemon=True)
            back.start()
            self._pump(client, server, drop, CLIENT)
            back.join()

    def _pump(self, source, sink, drop, side):
        """Copy one direction until its end, or until a fault."""
        left = drop.octets if drop is not None and drop.side == side else None
        try:
            while True:
                slow = self._slow
                data = source.recv(slow.octets)
                if slow.seconds and data and self._acceptor.stopping.wait(slow.seconds):
                    break
                sink.sendall(data if left is None else data[:left])
                if left is not None and len(data) >= left:
                    break
                left = None if left is None else left - len(data)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
        except OSError:
            pass  # one side is broken, so break both
        shut(source)
        shut(sink)
