"""HTTP/1.1 as client: one request and its response, bounded in time and size.

It follows no redirect, uses no proxy and keeps no connection. `http.client` writes the request and
parses the response; it is imported late. RFC 9110, RFC 9112.
"""
import io
import socket
import time
from typing import NamedTuple

from . import tlsclient

_CONNECT = 15.0  # seconds for one address


class Response(NamedTuple):
    """`kind`: the media type in lower case, without parameters; `has_length`: whether the server
    said where the body ends. If not, `body` is empty: whoever cuts the connection could shorten it.
    """
    status: int
    kind: str
    body: bytes
    has_length: bool


def countdown(seconds, monotonic=time.monotonic):
    """-> left(): the seconds that are left; raises socket.timeout (an OSError) when none are."""
    end = monotonic() + seconds

    def left():
        remaining = end - monotonic()
        if remaining <= 0:
            raise socket.timeout("the web server took too long")
        return remaining
    return left


def connect(ips, port, left):
    """A socket to the first address that accepts the connection. Raises OSError."""
    problem = OSError("no address")
    for ip in ips:
        try:
            return socket.create_connection((ip, port), min(_CONNECT, left()))
        except OSError as error:
            problem = error
    raise problem


def secure(sock, context, name, left):
    """`sock` -> TLS socket after the handshake; `name`: of the server. It takes `sock` over.

    Raises OSError (tlsclient.Unverified is one), with `sock` closed.
    """
    try:
        sock = tlsclient.client_side(sock, context, name)
        sock.settimeout(left())
        tlsclient.handshake(sock)
        return sock
    except BaseException:
        sock.close()
        raise


def exchange(sock, left, authority, method, target, headers, body=None, most=64 * 1024):
    """Send one request -> Response.

    `left`: see `countdown`; `authority`: for the field Host; `headers`: dict; `body`: bytes or
    None; `most`: octets of the response's body; with its header it has at most twice as many.
    Raises OSError; ValueError if the response is no HTTP, too large or cut off.
    """
    import http.client
    connection = http.client.HTTPConnection(authority)
    connection.sock = _BoundedSocket(sock, left, 2 * most)  # so it does not connect
    try:
        connection.request(method, target, body, dict(headers, Connection="close"))
        with connection.getresponse() as response:
            has_length = response.length is not None or response.chunked
            kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
            data = response.read(most + 1) if has_length else b""
            if len(data) > most:
                raise ValueError("the response has more than %d bytes" % most)
            if response.length:
                raise ValueError("the response is cut off")
            return Response(response.status, kind, data, has_length)
    except http.client.HTTPException as error:
        raise ValueError("the response is no HTTP: %s" % (
            type(error).__name__ if isinstance(error, http.client.LineTooLong)
            else "%.100r" % str(error)))


class _BoundedSocket(io.RawIOBase):
    """The socket that http.client uses, bounded: `left()` gives the seconds for the next operation,
    and at most `room` octets are read."""

    def __init__(self, sock, left, room):
        super().__init__()
        self._sock = sock
        self._left = left
        self._room = self._most = room

    def sendall(self, data):
        self._sock.settimeout(self._left())
        self._sock.sendall(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        self._sock.settimeout(self._left())
        count = self._sock.recv_into(buffer)
        self._room -= count
        if self._room < 0:
            raise ValueError("the response has more than %d bytes" % self._most)
        return count

    def makefile(self, _):
        return io.BufferedReader(self)

    def close(self):
        """Nothing: http.client closes its side before the response is read."""
