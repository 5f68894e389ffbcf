"""One accepted connection: bounded reading and writing, deadlines, TLS, DEFLATE, waiting.

Knows no protocol. Lines and chunks are cut by `lines.BoundedReader`.

1. The socket is non-blocking, and every wait is a poll. It ends at the nearest of three times:
   that of one read or write, the command's deadline, the server's stop.
2. Only the connection's own thread calls its methods, except `interrupt` and `abort`.
3. Long work between reads and writes calls `look` in small steps, which also makes it take turns
   with the long work of other connections (`turns`).
4. After a failed write the stream is torn: nothing more is written.
"""
import socket
import threading
from contextlib import contextmanager
from time import monotonic, sleep
from typing import NamedTuple

from . import tls
from .address import is_loopback, normalised
from .connection_limits import Visit
from .deflate import Deflate
from .errors import Disconnected, Overdue, Stopping, TimedOut
from .fair_turns import TURN, Turn, Turns
from .lines import BoundedReader
from .readiness import Presence, Readiness

_NO_VISIT = Visit()
_RETRY = 0.1  # seconds between two looks while it waits for a turn or a handshake
PIECE = 128 * 1024  # octets that are written at once
CLOSING_DRAIN = 64 * 1024  # octets of unread input that are read at the end


class Limits(NamedTuple):
    """Bounds of a connection.

    Seconds: `read` of one wait for input, `write` of one piece, `handshake` of a TLS handshake.
    `drain`: octets of a too long line that are read and dropped before the connection is closed.
    """
    read: float = 300.0
    write: float = 300.0
    handshake: float = 30.0
    drain: int = 1 << 20


class Connection(BoundedReader):
    """Takes over a connected stream socket (TCP or Unix) and closes it.

    `peer`: (host, port), an IPv4 address in IPv6 form as IPv4; ("", 0) for a Unix socket.
    `tls`: whether TLS is active. `read_timeout`: seconds of one wait for input, may be set at any
    time. `visit`: its gate.Visit. `waits`: whether it waits for the peer now.
    """

    __slots__ = ("peer", "tls", "read_timeout", "visit", "waits", "_limits", "_socket", "_recv",
                 "_send", "_pending", "_blocked", "_want_read", "_want_write", "_input",
                 "_deadline", "_stopping", "_closed", "_torn", "_lock", "_next_look",
                 "_presence", "_turn")

    def __init__(self, sock, peer=None, limits=Limits(), turns=None):
        BoundedReader.__init__(self, limits.drain)
        sock.setblocking(False)
        self.peer = normalised(sock.getpeername()) if peer is None else peer
        self.tls = False
        self.read_timeout = limits.read
        self.visit = _NO_VISIT
        self.waits = False
        self._limits = limits
        self._deadline = None
        self._turn = Turn(Turns() if turns is None else turns)
        self._next_look = 0.0
        self._presence = Presence()
        self._stopping = False  # set by `interrupt`
        self._closed = False
        self._torn = False
        # A stop from another thread must not meet a descriptor that was just closed or replaced.
        self._lock = threading.Lock()
        self._blocked = (BlockingIOError,)  # "not now"; with TLS the kind tells the direction
        self._want_read = self._want_write = ()
        self._use(sock, lambda: 0)
        if sock.family != getattr(socket, "AF_UNIX", None):
            _set_options(sock)

    def acknowledge(self):
        """Acknowledge now what was received.

        Python's imaplib sends the line end after a literal in a segment of its own, which its
        system holds back until then (RFC 896): 40 ms for each APPEND (RFC 1122 4.2.3.2).
        """
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (OSError, AttributeError):
            pass  # a Unix socket, or another system than Linux

    def _use(self, sock, pending):
        self._socket = sock
        self._recv, self._send, self._pending = sock.recv, sock.send, pending
        self._input = Readiness(readable=(sock.fileno(),))

    @property
    def is_loopback(self):
        """Whether the peer is on this machine: loopback address or Unix socket."""
        return is_loopback(self.peer[0])

    def tls_info(self):
        """(version, cipher) like ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), or None without TLS."""
        if not self.tls:
            return None
        cipher = self._socket.cipher()
        return (self._socket.version() or "", cipher[0] if cipher else "")

    # Time

    def set_deadline(self, seconds):
        """Let all reads and writes from now on have `seconds` together, then raise TimedOut.

        None: no deadline.
        """
        self._deadline = None if seconds is None else monotonic() + seconds

    def extend_deadline(self, seconds):
        """Let the deadline, if there is one, be later by `seconds`."""
        if self._deadline is not None:
            self._deadline += seconds

    def prolong_deadline(self, seconds):
        """Let the deadline, if there is one, be `seconds` from now or later."""
        if self._deadline is not None:
            self._deadline = max(self._deadline, monotonic() + seconds)

    @contextmanager
    def deadline(self, seconds):
        """Context manager: `set_deadline` for a block. An earlier outer deadline stays."""
        outer = self._deadline
        inner = monotonic() + seconds
        self._deadline = inner if outer is None else min(inner, outer)
        try:
            yield self
        finally:
            self._deadline = outer

    def look(self, peer=True):
        """For work that neither reads nor writes, which calls this in small steps.

        It costs 0.2 microseconds; now and then a system call; in long work also a wait for a turn.
        Raises Stopping, Overdue after the deadline and, with `peer`, Disconnected if the peer is
        gone.
        """
        now = monotonic()
        if now < self._next_look:
            return
        if now >= self._turn.ends:
            seconds = self._turn.next()
            now = now if seconds is None else self.await_turn(seconds)
        self._next_look = now + TURN
        self._check()
        if self._deadline is not None and now >= self._deadline:
            raise Overdue()
        if peer and self._presence.is_over(self._socket, now):
            raise Disconnected("the peer has disconnected")

    def await_turn(self, seconds):
        """Before work of about `seconds` that cannot call `look`: wait for a turn -> the time then.

        Raises Stopping, Overdue.
        """
        begins = self._turn.take(seconds)
        while True:
            now = monotonic()
            if now >= begins:
                self._turn.begin()
                return now
            self._check()
            if self._deadline is not None and now >= self._deadline:
                raise Overdue()
            sleep(min(begins - now, _RETRY))

    def _await(self, readiness, seconds):
        """Poll until ready. Raises TimedOut after `seconds` or at the deadline."""
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - monotonic())
            if seconds <= 0:
                raise TimedOut("deadline")
        if not self._poll(readiness, seconds):
            raise TimedOut("no data for %d seconds" % seconds)

    def _poll(self, readiness, seconds):
        self.waits = True
        try:
            return readiness.wait(seconds)
        finally:
            self.waits = False
            self._turn.begin()

    def _check(self):
        if self._stopping:
            raise Stopping("the server is stopping")
        if self._closed:
            raise Disconnected("closed")

    # Reading

    def has_input(self):
        """Whether a read returns at once, because octets have arrived in this process."""
        return self._start < len(self._data) or self._has_pending()

    def _has_pending(self):
        """Whether TLS or DEFLATE holds octets that can be read without waiting."""
        try:
            return self._pending() > 0
        except (OSError, ValueError):
            return False

    def _receive(self, limit):
        while True:
            self._check()
            if self._has_pending():
                self._pace()
            else:
                self._await(self._input, self.read_timeout)
                # Before the read: after an end of file, TLS could not send the goodbye.
                self._check()
            piece = self._receive_now(limit)
            if piece:
                return piece

    def _pace(self):
        """A small input may inflate to much, and no wait for more interrupts that work."""
        try:
            self.look(peer=False)
        except Overdue:
            raise TimedOut("deadline") from None

    def _receive_now(self, limit):
        """What can be read without waiting, perhaps nothing. Raises Disconnected at the end."""
        try:
            piece = self._recv(limit)
        except self._blocked as blocked:
            if isinstance(blocked, self._want_write):  # TLS has to send before it can read
                self._await(self._output(), self._limits.write)
            return b""
        except (OSError, ValueError) as error:  # ValueError: TLS on a socket that lost its peer
            self._check()
            raise Disconnected(str(error))
        if not piece:
            self._check()
            raise Disconnected("end of file")
        return piece

    def wait(self, timeout, waker=None):
        """Wait up to `timeout` seconds, whatever the deadline.

        -> "input" if something can be read, "wake" if `waker` was set, else "timeout". Input is
        read into the buffer, because part of a TLS record is not input yet. Raises Disconnected,
        Stopping.
        """
        end = monotonic() + timeout
        descriptor = self._socket.fileno()
        self._check()
        if self.has_input():
            return "input"
        readiness = Readiness(
            (descriptor,) if waker is None else (descriptor, waker.fileno()))
        while True:
            found = self._poll(readiness, max(0.0, end - monotonic()))
            ready = [each for each, _ in found]
            self._check()
            if descriptor in ready:
                piece = self._receive_now(4096)
                if piece:
                    self.unread(piece)
                    return "input"
            if waker is not None and waker.fileno() in ready:
                return "wake"
            if monotonic() >= end:
                return "timeout"

    # Writing

    def write(self, data):
        """Send all of `data` (bytes).

        Raises TimedOut if one piece takes too long or the deadline ends, and Disconnected.
        """
        if self._torn:
            raise Disconnected("an earlier write failed")
        if len(data) > PIECE:
            view = memoryview(data)
            for start in range(0, len(view), PIECE):
                self._write_rest(view[start:start + PIECE])
        elif data:
            sent = self._send_now(data)
            if sent != len(data):
                self._write_rest(memoryview(data)[sent:])

    def _send_now(self, data):
        """Send without waiting -> how many octets."""
        try:
            return self._send(data)
        except self._blocked:
            return 0
        except (OSError, ValueError) as error:
            self._torn = True
            raise Disconnected(str(error))

    def _write_rest(self, view):
        """Send all of a piece, within the time for one."""
        end = monotonic() + self._limits.write
        try:
            while view:
                try:
                    view = view[self._send(view):]  # after "not now", TLS wants the same octets
                except self._blocked as blocked:
                    wants_read = isinstance(blocked, self._want_read)
                    readiness = self._input if wants_read else self._output()
                    self._await(readiness, max(0.0, end - monotonic()))
        except (OSError, ValueError) as error:
            self._torn = True
            raise Disconnected(str(error))
        except Disconnected:
            self._torn = True
            raise

    def can_write(self):
        """Whether a short write would not wait."""
        return not self._torn and bool(self._output().wait(0))

    def _output(self):
        return Readiness(writable=(self._socket.fileno(),))

    # TLS

    def start_tls(self, context):
        """Become the server of a TLS connection with `context` (ssl.SSLContext).

        Plaintext that arrived before is dropped, never read as if it had come over TLS (RFC 3207
        4.2). Raises Disconnected, TimedOut, Stopping; then the connection is no longer usable.
        """
        self.drop_buffered()
        try:
            with self.deadline(self._limits.handshake):
                self._await_handshake()
                try:
                    with self._lock:
                        if self._closed:
                            raise Disconnected("closed")
                        secured = tls.server_side(self._socket, context)
                        self._use(secured, secured.pending)
                    self.tls = True
                    self._want_read, self._want_write = tls.blocked()
                    self._blocked = self._want_read + self._want_write
                    self._shake_hands()
                finally:
                    self.visit.end_handshake()
        except (OSError, ValueError) as error:
            self._torn = True
            self._check()  # to OpenSSL, an interrupt looks like the peer's end
            raise Disconnected("TLS handshake: %s" % error)
        except Disconnected:
            self._torn = True
            raise

    def _await_handshake(self):
        """Wait for the first octets, because a silent client is not worth TLS state; then wait for
        a place among the handshakes."""
        self._await(self._input, self._limits.handshake)
        self._check()
        self.waits = True
        try:
            while not self.visit.begin_handshake():
                if monotonic() >= self._deadline:
                    raise TimedOut("too many TLS handshakes at once")
                sleep(_RETRY)
                self._check()
        finally:
            self.waits = False

    def _shake_hands(self):
        while True:
            self._check()
            try:
                return self._socket.do_handshake()
            except self._want_read:
                self._await(self._input, self._limits.handshake)
            except self._want_write:
                self._await(self._output(), self._limits.handshake)

    # Compression

    def start_deflate(self):
        """Both sides compress from now on, below TLS; so is what was received already."""
        stream = Deflate(self._recv, self._send, self._pending, self._take(self.buffered()))
        self._recv, self._send, self._pending = stream.recv, stream.send, stream.pending
        self._blocked += (BlockingIOError,)

    # The end

    def interrupt(self):
        """From any thread: let the present or next read raise Stopping. Writing still works."""
        self._stopping = True
        self._shut(socket.SHUT_RD)

    def abort(self):
        """From any thread: end the connection, whatever its thread waits for.

        That thread closes the socket.
        """
        self._stopping = True
        self._torn = True
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how):
        with self._lock:
            if not self._closed:
                try:
                    # The base class's method: SSLSocket.shutdown would also forget the TLS state.
                    socket.socket.shutdown(self._socket, how)
                except OSError:
                    pass

    def close(self):
        """End TLS with close_notify, without waiting, and close. May be called again."""
        if self._closed:
            return
        self.drop_buffered()
        try:
            if self.tls and not self._torn:
                self._socket.unwrap()
        except (OSError, ValueError):
            pass
        with self._lock:
            self._closed = True
            try:
                # Closing with unread input resets the connection, and the peer may lose our last
                # line. The base class's method, because it reads below TLS.
                socket.socket.recv(self._socket, CLOSING_DRAIN)
            except (OSError, ValueError):
                pass
            self._socket.close()


def _set_options(sock):
    """Send replies at once; notice peers that vanished during a long idle time."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        pass
