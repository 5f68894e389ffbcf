"""One TCP connection to a mail server: bytes out, replies in, TLS, and deadlines.

A socket's timeout starts anew with each byte, so a server that sends one byte a minute would never
trip it. Here each operation gets only what is left until its own deadline. If that passes, or
anything else fails, `Lost` is raised, and the caller closes the connection.

Knows nothing of SMTP beyond the form of replies.
"""
import socket
import threading
import time
from typing import NamedTuple

from ..mail.reply import STOPPING, Reply
from ..mail.writing import printable
from ..net import tlsclient
from ..net.readiness import Readiness
from ..queue.model import Unreachable
from .smtp_replies import MOST_TEXT, MalformedReply, ReplyReader

_PIECE = 16 * 1024  # bytes of one read
_LAST_REPLY = 2.0  # seconds to wait for what the server sent before it closed


class Deadlines(NamedTuple):
    """Seconds for each step as a whole (RFC 5321 4.5.3.2).

    `connect`: to one address; `command`: a command and its reply; `data`: the reply to DATA;
    `piece`: each piece of the message; `end`: the reply to the final dot.
    """
    connect: float = 30.0
    greeting: float = 300.0
    handshake: float = 60.0
    command: float = 300.0
    data: float = 120.0
    piece: float = 180.0
    end: float = 600.0
    quit: float = 2.0


class Lost(Unreachable):
    """The connection can no longer be used. `reply` (mostly 4xx) says why."""


class HandshakeFailed(Lost):
    """TLS could not be established."""

    def __init__(self, text):
        super().__init__(temporary("4.7.5", text))


class Unverified(HandshakeFailed):
    """The server's certificate is not the one that the policy requires."""


def temporary(enhanced, text):
    """A Reply with 451 in our own words."""
    return Reply(451, enhanced, printable(text[:MOST_TEXT]))


class Wire:
    """A connection. `peer` names the server in texts. For one thread, except `abort`."""

    __slots__ = ("secure", "is_aborted", "_peer", "_socket", "_lock", "_replies", "_input")

    def __init__(self, peer):
        self.secure = self.is_aborted = False
        self._peer = peer
        self._socket = self._input = None
        self._lock = threading.Lock()
        self._replies = ReplyReader()

    def connect(self, ip, port, seconds):
        """Connect to an IPv4 or IPv6 address (text), also again after `close`. Raises Lost."""
        self.secure, self._replies = False, ReplyReader()
        try:
            family = socket.AF_INET6 if ":" in ip else socket.AF_INET
            self._use(socket.socket(family, socket.SOCK_STREAM))
            self._socket.settimeout(seconds)
            self._socket.connect((ip, port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except socket.timeout:
            raise self._lost("4.4.1", "cannot connect to %s: no answer within %d seconds" % (
                self._peer, seconds))
        except (OSError, OverflowError) as error:
            raise self._lost("4.4.1", "cannot connect to %s: %s" % (self._peer, _words(error)))
        self._input = Readiness(readable=(self._socket.fileno(),))

    def _use(self, sock):
        with self._lock:
            self._socket = sock
            if self.is_aborted:
                raise OSError("aborted")

    def start_tls(self, context, server_name, seconds):
        """The TLS handshake -> the TLS socket, for a look at its certificate.

        Bytes that arrived before it must not count as if they came over TLS (RFC 3207 4.2). Raises
        HandshakeFailed.
        """
        if not self._replies.is_empty():
            raise HandshakeFailed("%s sent data before the TLS handshake" % self._peer)
        try:
            self._socket.settimeout(seconds)
            self._use(tlsclient.client_side(self._socket, context, server_name))
            tlsclient.handshake(self._socket)
        except tlsclient.Unverified as error:
            raise Unverified("cannot verify the certificate of %s: %s" % (
                self._peer, _words(error)))
        except (OSError, ValueError) as error:
            if self.is_aborted:
                raise self._lost("4.7.5", "")
            raise HandshakeFailed("TLS with %s failed: %s" % (self._peer, _words(error)))
        self.secure = True
        return self._socket

    def send(self, data, seconds):
        """Send all of `data`. Raises Lost."""
        if self._socket is None:
            raise self._lost("4.4.2", "the connection to %s is closed" % self._peer)
        end = time.monotonic() + seconds
        view = memoryview(data)
        try:
            while view:
                self._socket.settimeout(_left(end))
                view = view[self._socket.send(view):]
        except socket.timeout:
            raise self._lost("4.4.2", "%s accepted no data for %d seconds" % (self._peer, seconds))
        except (OSError, ValueError) as error:
            raise self._lost("4.4.2", "lost the connection to %s: %s" % (self._peer, _words(error)))

    def read_reply(self, seconds):
        """The next reply (smtp_replies.RawReply), complete within `seconds`. Raises Lost."""
        end = time.monotonic() + seconds
        try:
            while True:
                raw = self._replies.take()
                if raw is not None:
                    return raw
                self._socket.settimeout(_left(end))
                piece = self._socket.recv(_PIECE)
                if not piece:
                    raise self._lost("4.4.2", "%s closed the connection" % self._peer)
                self._replies.feed(piece)
        except socket.timeout:
            raise self._lost("4.4.2", "no reply from %s within %d seconds" % (self._peer, seconds))
        except MalformedReply as error:
            raise self._lost("4.5.0", "unexpected data from %s: %s" % (self._peer, error))
        except (OSError, ValueError) as error:
            raise self._lost("4.4.2", "lost the connection to %s: %s" % (self._peer, _words(error)))

    def unfinished(self):
        """The reply that began but did not end before the connection was lost, or None."""
        return self._replies.unfinished()

    def last_reply(self):
        """The reply that the server sent before it closed while we were sending, or None."""
        try:
            return self.read_reply(_LAST_REPLY)
        except Lost:
            return None

    def _lost(self, enhanced, text):
        return Lost(STOPPING if self.is_aborted else temporary(enhanced, text))

    def is_quiet(self):
        """Whether the connection stands and the server sent nothing unasked; does not wait.

        Unrequested data would be a 421 reply.
        """
        if self._socket is None or self.is_aborted or not self._replies.is_empty():
            return False
        return not self._input.wait(0)

    def abort(self):
        """From any thread: whoever waits on this connection gets Lost at once."""
        with self._lock:
            self.is_aborted = True
            if self._socket is not None:
                try:
                    # The base class: SSLSocket.shutdown would also forget that it speaks TLS.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    pass

    @property
    def is_open(self):
        return self._socket is not None

    def close(self):
        """May be called again."""
        with self._lock:
            sock, self._socket = self._socket, None
            if sock is not None:
                sock.close()


def _left(end):
    """Seconds until the monotonic time `end`. Raises socket.timeout if it has passed."""
    left = end - time.monotonic()
    if left <= 0:
        raise socket.timeout("deadline")
    return left


def _words(error):
    """The text of an OSError, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
