"""Connections to the servers that mail is fetched from: names, TCP, TLS, bounded reading.

IMAP (imap_client.py) and POP3 share it. A passphrase never leaves this machine unencrypted: without
TLS, `connect` gives only connections to the loopback.
"""
import re
import socket
import threading
import time

from ..net import tls, tlsclient
from ..net.address import is_loopback, normalised
from ..net.errors import Disconnected, LineTooLong
from ..net.lines import BoundedReader
from ..net.readiness import Readiness
from ..text.domains import AddressError, ascii_domain
from .source import FetchError

CONNECT = 20.0  # seconds for one address
HANDSHAKE = 30.0  # seconds for TLS
SILENCE = 120.0  # seconds of one wait for the server
GREETING = 60.0  # seconds from the connection to the end of STARTTLS
_ADDRESSES = 6  # of one name, that are tried
_KEEP = 86400.0  # seconds until the system's CA certificates are read again
_PIECE = 64 * 1024  # octets that are written at once


class Contexts:
    """The TLS contexts that connections share, because the CA certificates need 1.3 MB.

    Whoever opens sources keeps one. Any thread may call it.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._known = {}  # by `verify`: (context, when it becomes too old)

    def get(self, verify):
        """-> ssl.SSLContext; see tlsclient.client_context. Raises OSError."""
        now = time.monotonic()
        with self._lock:
            context, until = self._known.get(verify, (None, 0.0))
            if context is None or now > until:
                context = tlsclient.client_context(verify)
                self._known[verify] = context, now + _KEEP
            return context


class Wire(BoundedReader):
    """One connection. `server` names it in texts. For one thread, except `abort`.

    Every method that waits raises FetchError: after SILENCE, after the deadline, at the end of the
    connection, after `abort`.
    """

    __slots__ = ("server", "secure", "is_aborted", "_socket", "_lock", "_deadline")

    def __init__(self, server):
        BoundedReader.__init__(self, drain=0)
        self.server = server
        self.secure = self.is_aborted = False
        self._socket = None
        self._lock = threading.Lock()
        self._deadline = None

    def connect(self, port):
        """Resolve the name, and connect to the first of its addresses that answers."""
        problem = None
        for family, kind, protocol, _, address in _addresses(self.server, port)[:_ADDRESSES]:
            try:
                self._use(socket.socket(family, kind, protocol))
                self._socket.settimeout(CONNECT)
                self._socket.connect(address)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._keep_alive()
                return
            except OSError as error:
                problem = error
                self.close()
        raise self._failed(_connection_problem(self.server, port, problem))

    def _use(self, sock):
        with self._lock:
            self._socket = sock
            if self.is_aborted:
                raise OSError("stopped")

    def _keep_alive(self):
        """Let TCP notice a dead connection within some five minutes, also during IDLE."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 120), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 6)):
            if hasattr(socket, name):
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    @property
    def is_loopback(self):
        """Whether the server is this machine."""
        try:
            return is_loopback(normalised(self._socket.getpeername())[0])
        except OSError:
            return False

    def start_tls(self, context, fingerprint=None):
        """The TLS handshake. `fingerprint`: SHA-256 that the certificate must have, or None.

        Octets that arrived before it must not count as if they came over TLS (RFC 3501 6.2.1).
        Raises FetchError, tlsclient.Unverified.
        """
        if self.buffered():
            raise FetchError("%s sent data before the TLS handshake" % self.server)
        try:
            self._socket.settimeout(HANDSHAKE)
            self._use(tlsclient.client_side(self._socket, context, self.server))
            tlsclient.handshake(self._socket)
            if fingerprint:
                tlsclient.require_fingerprint(self._socket, fingerprint)
        except tlsclient.Unverified:
            raise
        except (OSError, ValueError) as error:
            raise self._failed("TLS with %s failed: %s" % (self.server, words(error)))
        self.secure = True

    def fingerprint(self):
        """SHA-256 of the server's certificate as "AA:BB:…", "" without TLS."""
        return tlsclient.fingerprint(self._socket) if self.secure else ""

    # Time

    def set_deadline(self, seconds):
        """Let all that is sent and received from now on have `seconds` together. None: no end."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def _left(self):
        """Seconds that the next wait may take."""
        if self._deadline is None:
            return SILENCE
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout("deadline")
        return min(left, SILENCE)

    # Input

    def read_line(self, limit):
        """The next line with its LF; FetchError if it has more than `limit` octets."""
        try:
            return BoundedReader.read_line(self, limit)
        except (LineTooLong, Disconnected):
            raise FetchError("%s sent a line of more than %d octets" % (self.server, limit))

    def read(self, count):
        """The next `count` octets. The caller bounds `count`."""
        pieces = []
        self.read_exactly(count, pieces.append)
        return b"".join(pieces)

    def _receive(self, limit):
        try:
            self._ready().settimeout(self._left())
            data = self._socket.recv(limit)
        except socket.timeout:
            raise self._failed("%s sent nothing in time" % self.server)
        except (OSError, ValueError) as error:
            raise self._failed("lost the connection to %s: %s" % (self.server, words(error)))
        if not data:
            raise self._failed("%s closed the connection" % self.server)
        return data

    def wait_line(self, seconds, wake, limit):
        """Wait until a line of at most `limit` octets can be read -> whether it can.

        Ends early, with False, while `wake` (net.waker.Waker, or None) is set. Never blocks in a
        read, even if only a part of a TLS record came.
        """
        end = time.monotonic() + seconds
        blocked = (BlockingIOError,) + (tls.blocked()[0] if self.secure else ())
        woken = None if wake is None else wake.fileno()
        own = self._ready().fileno()
        readiness = Readiness(readable=(own,) if wake is None else (own, woken))
        while not self.has_line():
            if self.buffered() > limit:
                raise FetchError("%s sent a line of more than %d octets" % (self.server, limit))
            if self.secure and self._socket.pending():
                self._take_arrived(blocked)  # of a TLS record that was partly read
                continue
            left = end - time.monotonic()
            ready = [number for number, _ in readiness.wait(max(0.0, left))]
            if woken in ready or (not ready and left <= 0):
                return False
            self._take_arrived(blocked)
        return True

    def _take_arrived(self, blocked):
        """Add to the buffer what has arrived, without waiting."""
        try:
            self._socket.settimeout(0)
            while True:
                piece = self._socket.recv(16 * 1024)
                if not piece:
                    raise self._failed("%s closed the connection" % self.server)
                self._data = self._data[self._start:] + piece
                self._start = 0
                if not (self.secure and self._socket.pending()):
                    return
        except blocked:
            return
        except (OSError, ValueError) as error:
            raise self._failed("lost the connection to %s: %s" % (self.server, words(error)))

    # Output

    def send(self, data):
        """Send all of `data`."""
        view = memoryview(data)
        try:
            while view:
                self._ready().settimeout(self._left())
                view = view[self._socket.send(view[:_PIECE]):]
        except socket.timeout:
            raise self._failed("%s accepted no data in time" % self.server)
        except (OSError, ValueError) as error:
            raise self._failed("lost the connection to %s: %s" % (self.server, words(error)))

    # Its end

    def _ready(self):
        if self._socket is None:
            raise OSError("it is closed")
        return self._socket

    def _failed(self, text):
        return FetchError("stopped" if self.is_aborted else text)

    def abort(self):
        """From any thread: whoever waits on this connection gets FetchError at once."""
        with self._lock:
            self.is_aborted = True
            if self._socket is not None:
                try:
                    # The base class: SSLSocket.shutdown would also forget that it speaks TLS.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        """May be called again."""
        with self._lock:
            sock, self._socket = self._socket, None
            if sock is not None:
                sock.close()


def connect(account, upgrade, contexts=None, began=None):
    """Connect to `account.server` as its protocol says -> Wire; its greeting is not read yet.

    `upgrade(wire)`: the protocol's dialogue before STARTTLS on a new connection: it reads the
    greeting and asks for TLS -> the greeting (bytes) that is to be read after the handshake, or
    None if the server does not offer TLS. It is called for protocols without implicit TLS, except
    on the loopback without "starttls". `contexts`: a Contexts, to share it; `began(wire)`: gives
    whoever may have to stop this the Wire, for its `abort`, before it connects.

    Raises FetchError.
    """
    contexts = contexts or Contexts()
    wanted = account.fingerprint
    wire = Wire(account.server)
    try:
        _establish(wire, account, upgrade, lambda: contexts.get(not wanted), wanted, began)
    except tlsclient.Unverified as error:
        wire.close()
        hint = "" if wanted else _hint(account, upgrade, contexts, began)
        raise FetchError("the certificate of %s is not trusted: %s%s" % (
            account.server, words(error), hint))
    except OSError as error:
        wire.close()
        raise FetchError("cannot use TLS: %s" % words(error))
    except BaseException:
        wire.close()
        raise
    return wire


def _establish(wire, account, upgrade, context, fingerprint, began):
    """Connect, and begin TLS where it must be, with `context()`.

    Raises FetchError, tlsclient.Unverified, OSError.
    """
    if began is not None:
        began(wire)
    wire.connect(account.port)
    if account.protocol in ("imaps", "pops"):
        wire.start_tls(context(), fingerprint)
    elif account.starttls or not wire.is_loopback:
        wire.set_deadline(GREETING)
        greeting = upgrade(wire)
        if greeting is None:
            raise FetchError(
                "%s offers no TLS on port %d, so the passphrase would be sent in clear: use "
                "protocol %ss" % (account.server, account.port, account.protocol))
        wire.start_tls(context(), fingerprint)
        wire.unread(greeting)
        wire.set_deadline(None)


def _hint(account, upgrade, contexts, began):
    """What to write to trust the certificate that could not be verified; "" if it is not known."""
    wire = Wire(account.server)
    try:
        _establish(wire, account, upgrade, lambda: contexts.get(False), None, began)
        found = wire.fingerprint()
    except (FetchError, OSError):
        found = ""
    finally:
        wire.close()
    return '. If it is the right server, trust it with "fingerprint": "%s"' % found if found else ""


def _addresses(server, port):
    """getaddrinfo's answers for a host name in any spelling, or an address. Raises FetchError."""
    try:
        name = ascii_domain(server)
        return socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise FetchError("cannot resolve %s now: %s" % (server, words(error)))
        raise FetchError("unknown host %s: %s" % (server, words(error)))
    except (AddressError, OSError, ValueError, OverflowError) as error:
        raise FetchError("unknown host %s: %s" % (server, words(error)))


def _connection_problem(server, port, error):
    if isinstance(error, socket.timeout):
        return "no answer from %s port %d within %d seconds" % (server, port, CONNECT)
    if isinstance(error, ConnectionRefusedError):
        return "%s refuses connections on port %d" % (server, port)
    return "cannot connect to %s port %d: %s" % (server, port, words(error))


def words(error):
    """The text of an OSError, without numbers and places in source files."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return re.sub(r"^\[[A-Z0-9:_ ]+\] | \(_ssl\.c:\d+\)$", "", text)
