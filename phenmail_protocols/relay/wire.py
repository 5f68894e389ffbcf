"""One TCP connection to a server, and time: octets out, replies in, each within a total deadline. TLS by net.tlsclient.

A socket's timeout counts anew with every octet, so a peer that sends one a minute would never trip it. Here each wait gets only
what is left until the deadline; when that has run out, or anything else goes wrong, `Lost` is raised and the connection is to be
closed. Another thread may `abort` it at any moment. Knows nothing of SMTP beyond the form of replies.
"""
import socket
import threading
import time
from typing import NamedTuple

from ..mail.reply import Reply
from ..mail.writing import printable
from ..net import tlsclient
from ..net.readiness import Readiness
from .replies import MOST_TEXT, Garbled, ReplyReader

_PIECE = 16 * 1024  # what is read at once
_LAST_WORDS = 2.0  # seconds for what the server said before it closed


class Deadlines(NamedTuple):
    """Seconds for each step in all (RFC 5321 section 4.5.3.2): the connection to one address; the greeting; the TLS handshake; a
    command and its answer; the answer to DATA; each piece of the message; the answer to its end; the goodbye."""
    connect: float = 30.0
    greeting: float = 300.0
    handshake: float = 60.0
    command: float = 300.0
    data: float = 120.0
    piece: float = 180.0
    end: float = 600.0
    quit: float = 2.0


class Lost(Exception):
    """The connection is of no more use. `reply` (mostly 4xx) says why, for whoever was waited for."""

    def __init__(self, reply):
        super().__init__(reply.text)
        self.reply = reply


class HandshakeFailed(Lost):
    """TLS did not come about. `unverified`: it was the certificate."""

    def __init__(self, text, unverified=False):
        super().__init__(later("4.7.5", text))
        self.unverified = unverified


def later(enhanced, text):
    """Our own words for what may go better the next time: a Reply with 451."""
    return Reply(451, enhanced, printable(text[:MOST_TEXT]))


class Wire(object):
    """A connection; `peer` is how texts call the server. All methods but `abort` are for one thread."""

    __slots__ = ("secure", "_peer", "_clock", "_socket", "_lock", "_aborted", "_replies", "_input")

    def __init__(self, peer, clock=time.monotonic):
        self.secure = False
        self._peer = peer
        self._clock = clock
        self._socket = None
        self._lock = threading.Lock()
        self._aborted = False
        self._replies = ReplyReader()
        self._input = None

    def connect(self, ip, port, seconds):
        """Connects to an IPv4 or IPv6 address (text). Raises Lost."""
        try:
            self._use(socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM))
            self._socket.settimeout(seconds)
            self._socket.connect((ip, port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except socket.timeout:
            raise self._lost("4.4.1", "%s does not answer: no connection within %d seconds" % (self._peer, seconds))
        except (OSError, OverflowError) as error:
            raise self._lost("4.4.1", "cannot connect to %s: %s" % (self._peer, _words(error)))
        self._input = Readiness(readable=(self._socket.fileno(),))

    def _use(self, sock):
        with self._lock:
            self._socket = sock
            if self._aborted:
                raise OSError("aborted")

    def start_tls(self, context, server_name, seconds):
        """Becomes a TLS connection. What came before it in the clear must not count as if it came over TLS (RFC 3207 section
        4.2). Returns the TLS socket, for a look at its certificates. Raises HandshakeFailed."""
        if not self._replies.is_empty():
            raise HandshakeFailed("%s said more than it should before the TLS handshake" % self._peer)
        try:
            self._socket.settimeout(seconds)
            self._use(tlsclient.client_side(self._socket, context, server_name))
            tlsclient.handshake(self._socket)
        except tlsclient.Unverified as error:
            raise HandshakeFailed("the certificate of %s is not to be trusted: %s" % (self._peer, _words(error)), unverified=True)
        except (OSError, ValueError) as error:
            if self._aborted:
                raise self._lost("4.7.5", "")
            raise HandshakeFailed("TLS with %s fails: %s" % (self._peer, _words(error)))
        self.secure = True
        return self._socket

    def send(self, data, seconds):
        """Sends all of `data`. Raises Lost."""
        if self._socket is None:
            raise self._lost("4.4.2", "the connection to %s is closed" % self._peer)
        end = self._clock() + seconds
        try:
            self._socket.settimeout(seconds)
            sent = self._socket.send(data)
            if sent == len(data):
                return
            view = memoryview(data)[sent:]
            while view:
                self._socket.settimeout(self._left(end))
                view = view[self._socket.send(view):]
        except socket.timeout:
            raise self._lost("4.4.2", "%s takes nothing for %d seconds" % (self._peer, seconds))
        except (OSError, ValueError) as error:
            raise self._lost("4.4.2", "lost the connection to %s: %s" % (self._peer, _words(error)))

    def read_reply(self, seconds):
        """The next reply as `replies.Heard`, whole within `seconds`. Raises Lost."""
        try:
            heard = self._replies.take()
            if heard is None:
                heard = self._receive_reply(self._clock() + seconds)
            return heard
        except socket.timeout:
            raise self._lost("4.4.2", "%s does not answer within %d seconds" % (self._peer, seconds))
        except Garbled as error:
            raise self._lost("4.5.0", "cannot understand %s: %s" % (self._peer, error))
        except (OSError, ValueError) as error:
            raise self._lost("4.4.2", "lost the connection to %s: %s" % (self._peer, _words(error)))

    def _receive_reply(self, end):
        while True:
            self._socket.settimeout(self._left(end))
            piece = self._socket.recv(_PIECE)
            if not piece:
                raise self._lost("4.4.2", "%s closed the connection" % self._peer)
            self._replies.feed(piece)
            heard = self._replies.take()
            if heard is not None:
                return heard

    def unfinished(self):
        """The reply (`replies.Heard`) that began and did not end before the connection was lost,
        or None."""
        return self._replies.unfinished()

    def last_words(self):
        """The reply that a server sent before it closed in the middle of what we sent, or None."""
        try:
            return self.read_reply(_LAST_WORDS)
        except Lost:
            return None

    def _left(self, end):
        left = end - self._clock()
        if left <= 0:
            raise socket.timeout("deadline")
        return left

    def _lost(self, enhanced, text):
        return Lost(later("4.3.2", "this server stops") if self._aborted else later(enhanced, text))

    def is_quiet(self):
        """Whether the connection stands and the server has said nothing unasked, which would be its goodbye. Does not wait."""
        if self._socket is None or self._aborted or not self._replies.is_empty():
            return False
        return not self._input.wait(0)

    def abort(self):
        """From any thread: whoever waits on this connection gets Lost at once."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                try:
                    # the base class: SSLSocket.shutdown would also forget that it speaks TLS
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    pass

    @property
    def is_open(self):
        """Whether there is a connection to close."""
        return self._socket is not None

    def close(self):
        """Closes the socket. May be called again."""
        with self._lock:
            sock, self._socket = self._socket, None
            if sock is not None:
                sock.close()


def _words(error):
    """An OSError in words, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
