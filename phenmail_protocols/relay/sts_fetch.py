"""Fetches MTA-STS policies over HTTPS: one GET, certificate verified, no redirect, nothing cached, all within a time and a size.

`http.client` is loaded when the first one is fetched. Sources: RFC 8461 3.3 (fetching), RFC 9110 8.3 (Content-Type).
"""

import io
import socket
import time

from ..net import tlsclient
from .routes import NoRoute
from .sts import LARGEST, NotFetched

SECONDS = 60.0           # for all: connecting, TLS, and every octet
SECONDS_TO_CONNECT = 15.0  # to one address
MOST = 2 * LARGEST       # octets of the answer, header included
PATH = "/.well-known/mta-sts.txt"


class Https(object):
    """`Https(routes)(domain)` gives a policy. The web server's addresses are asked of `routes`, so that the `resolver` setting holds.
    `context`: makes the SSLContext for one fetch."""

    def __init__(self, routes, port=443, context=lambda: tlsclient.client_context(True), seconds=SECONDS, monotonic=time.monotonic):
        self._routes = routes
        self._port = port
        self._context = context
        self._seconds = seconds
        self._monotonic = monotonic

    def __call__(self, domain):
        """The octets of the domain's policy file, not looked into. Raises sts.NotFetched."""
        import http.client
        host = "mta-sts." + domain
        deadline = self._monotonic() + self._seconds
        try:
            with self._connect(host, deadline) as secure:
                return _get(host, Wire(secure, deadline, self._monotonic))
        except NoRoute as error:
            raise NotFetched("%s: %s" % (host, error.reply.text))
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise NotFetched("%s: %s" % (host, str(error) or type(error).__name__))

    def _connect(self, host, deadline):
        """A TLS socket to the first of the host's addresses that takes the connection. Raises NoRoute, OSError."""
        problem = OSError("no address")
        for ip in self._routes.addresses(host, self._port).ips:
            try:
                plain = socket.create_connection((ip, self._port), min(SECONDS_TO_CONNECT, _left(deadline, self._monotonic)))
            except OSError as error:
                problem = error
                continue
            return self._secure(plain, host, deadline)
        raise problem

    def _secure(self, plain, host, deadline):
        secure = plain
        try:
            secure = tlsclient.client_side(plain, self._context(), host)
            secure.settimeout(_left(deadline, self._monotonic))
            tlsclient.handshake(secure)
        except BaseException:
            secure.close()
            raise
        return secure


def _left(deadline, monotonic):
    left = deadline - monotonic()
    if left <= 0:
        raise socket.timeout("it took too long")
    return left


def _get(host, wire):
    """The body of one GET. Raises ValueError, OSError, http.client.HTTPException."""
    import http.client
    connection = http.client.HTTPConnection(host)  # a socket that is there already is used as it is
    connection.sock = wire
    connection.request("GET", PATH, headers={"Connection": "close"})
    with connection.getresponse() as response:
        if response.status != 200:
            raise ValueError("the web server answers %d, not 200" % response.status)
        kind = response.getheader("Content-Type", "")
        if kind.partition(";")[0].strip().lower() != "text/plain":
            raise ValueError("the policy is %.60r, not text/plain" % kind)
        if response.length is None and not response.chunked:
            raise ValueError("the answer does not say where it ends")  # and who cuts the connection would make a shorter policy of it
        body = response.read(LARGEST + 1)
        if len(body) > LARGEST:
            raise ValueError("more than %d octets" % LARGEST)
        if response.length:
            raise ValueError("the answer is cut off")
    return body


class Wire(object):
    """What http.client wants of a socket. No wait goes beyond the deadline, however slowly the octets come, and no more than MOST come.
    Closing it closes nothing: the answer is read after http.client has closed its side."""

    def __init__(self, sock, deadline, monotonic):
        self._sock = sock
        self._deadline = deadline
        self._monotonic = monotonic
        self._room = MOST

    def sendall(self, data):
        self._sock.settimeout(_left(self._deadline, self._monotonic))
        self._sock.sendall(data)

    def read_into(self, buffer):
        """Octets that came, at least one but at the end; their number. Raises OSError, ValueError."""
        self._sock.settimeout(_left(self._deadline, self._monotonic))
        count = self._sock.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise ValueError("the answer is longer than %d octets" % MOST)
        return count

    def makefile(self, _):
        return io.BufferedReader(_Answer(self))

    def close(self):
        pass


class _Answer(io.RawIOBase):
    def __init__(self, wire):
        super().__init__()
        self._wire = wire

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._wire.read_into(buffer)
