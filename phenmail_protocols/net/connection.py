"""One accepted connection: bounded reading, writing, deadlines, STARTTLS, waiting for input or a wake-up. Knows no protocol.

The socket is non-blocking and every wait is a poll, so that each one can end at the nearest of the time one read may take, the
deadline of the whole command, and the server's stop; no system call is spent on socket timeouts. Only the connection's own thread
calls its methods, except `interrupt` and `abort`. Long work between reads and writes calls `look`
in small steps, which also makes it wait for its turn. Reading lines and chunks is `lines.BoundedReader`'s part.
"""

import socket
import threading
from contextlib import contextmanager
from time import monotonic, sleep
from typing import NamedTuple

from . import tls
from .address import is_loopback, normalised
from .errors import Disconnected, LineTooLong, Overdue, Stopping, TimedOut
from .gate import Visit
from .lines import BoundedReader
from .readiness import GONE, STAYS, Readiness, presence
from .turns import LONGEST, TURN, Turns, computed

__all__ = ["Connection", "Disconnected", "Limits", "LineTooLong", "Overdue", "Stopping", "TimedOut"]

_NO_VISIT = Visit()
_TURN = 0.1               # seconds between two tries for a place among the handshakes
PIECE = 128 * 1024        # what is written in one go, and joined for it
# Seconds of work for a peer that sends nothing more: mostly it is gone, but it may be a script that
# reads on.
HALF_CLOSED_FOR = 1.0
CLOSING_DRAIN = 64 * 1024  # unread input that is taken at the end, so that closing does not reset our last line away


class Limits(NamedTuple):
    """Bounds of a connection. Seconds: `read` of one wait for input, `write` of one piece of at most 128 KB, `handshake` of a whole TLS
    handshake. `drain`: octets of a too long line that are read and dropped before the connection is given up."""
    read: float = 300.0
    write: float = 300.0
    handshake: float = 30.0
    drain: int = 1 << 20


class Connection(BoundedReader):
    """A connected stream socket (TCP or Unix) and what the peer sent. It takes the socket over and closes it.

    `peer`: (host, port) as text and number, IPv4 in IPv6 as IPv4; ("", 0) for a Unix socket. `tls`: whether TLS is on.
    `read_timeout`: seconds that one wait for input may take; may be set at any time.
    `visit`: by what its handler tells the gate. `waits`: whether it waits for the peer now.
    """

    __slots__ = ("peer", "tls", "read_timeout", "_limits", "_socket", "_send", "_blocked", "_want_read", "_want_write", "_input",
                 "_deadline", "_stopping", "_closed", "_mute", "_lock", "_next_look",
                 "_half_closed", "_turn_ends", "_turns", "_computed", "visit", "waits")

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
        self._turns = Turns() if turns is None else turns
        self._begin_turn(monotonic())
        self._next_look = 0.0
        self._half_closed = None  # when it was first seen that the peer sends nothing more
        self._stopping = False   # set by interrupt(): the next read raises Stopping
        self._closed = False
        self._mute = False       # a write failed: the stream is torn, nothing more may be written
        self._lock = threading.Lock()  # a stop from another thread never meets a descriptor that was just closed or replaced
        self._blocked = (BlockingIOError,)  # what "not now" looks like; TLS also says which way it is blocked
        self._want_read = self._want_write = ()
        self._use(sock)
        if sock.family != getattr(socket, "AF_UNIX", None):
            _quicken(sock)

    def _use(self, sock):
        self._socket = sock
        self._send = sock.send
        self._input = Readiness(readable=(sock.fileno(),))

    # -- what it is ---------------------------------------------------------------------------------------------------------------

    @property
    def local(self):
        """Our own (host, port), in the form of `peer`. Raises Disconnected after the end."""
        try:
            return normalised(self._socket.getsockname())
        except OSError as error:
            raise Disconnected(str(error))

    @property
    def is_loopback(self):
        """Whether the peer is on this machine: loopback address or Unix socket."""
        return is_loopback(self.peer[0])

    def tls_info(self):
        """(version, cipher) such as ("TLSv1.3", "TLS_AES_256_GCM_SHA384"), or None without TLS."""
        if not self.tls:
            return None
        cipher = self._socket.cipher()
        return (self._socket.version() or "", cipher[0] if cipher else "")

    # -- time ---------------------------------------------------------------------------------------------------------------------

    def set_deadline(self, seconds):
        """From now on all reads and writes together have `seconds`, then raise TimedOut, however lively the peer is. None: no deadline."""
        self._deadline = None if seconds is None else monotonic() + seconds

    def extend_deadline(self, seconds):
        """Give `seconds` more than the deadline allows, if there is one."""
        if self._deadline is not None:
            self._deadline += seconds

    @contextmanager
    def deadline(self, seconds):
        """Context manager: set_deadline for a block. An outer deadline that ends sooner stays in force."""
        outer = self._deadline
        inner = monotonic() + seconds
        self._deadline = inner if outer is None else min(inner, outer)
        try:
            yield self
        finally:
            self._deadline = outer

    def look(self, peer=True):
        """To be called again and again by work that neither reads nor writes: some 0.2
        microseconds, now and then a system call, and where it takes long a wait for its turn.

        Raises Stopping, Overdue after the deadline and, with `peer`, Disconnected when the peer is
        gone.
        """
        now = monotonic()
        if now < self._next_look:
            return
        if now >= self._turn_ends:
            now = self._end_turn(now)
        self._next_look = now + TURN
        self._check()
        if self._deadline is not None and now >= self._deadline:
            raise Overdue()
        if peer:
            self._look_at_peer(now)

    def _end_turn(self, now):
        """The next turn is as long as the last one was in the end. Who only waited needs none."""
        spent = computed() - self._computed
        if spent >= TURN:
            return self.await_turn(min(spent, LONGEST))
        self._turn_ends = now + TURN - spent
        return now

    def await_turn(self, seconds):
        """To be called before work of some `seconds` that calls `look` less often than it should;
        returns the time then. Raises Stopping, Overdue."""
        begins = monotonic() + self._turns.take(seconds)
        while True:
            now = monotonic()
            if now >= begins:
                self._begin_turn(now)
                return now
            self._check()
            if self._deadline is not None and now >= self._deadline:
                raise Overdue()
            sleep(min(begins - now, _TURN))

    def _begin_turn(self, now):
        self._turn_ends = now + TURN
        self._computed = computed()

    def _look_at_peer(self, now):
        seen = presence(self._socket)
        if seen == STAYS:
            return
        if self._half_closed is None:
            self._half_closed = now
        if seen == GONE or now >= self._half_closed + HALF_CLOSED_FOR:
            raise Disconnected("the peer is gone")

    def _await(self, readiness, seconds):
        """Polls until ready. Raises TimedOut after `seconds` or at the deadline."""
        if self._deadline is not None:
            seconds = min(seconds, self._deadline - monotonic())
            if seconds <= 0:
                raise TimedOut("deadline")
        if not self._poll(readiness, seconds):
            raise TimedOut("nothing for %d seconds" % seconds)

    def _poll(self, readiness, seconds):
        self.waits = True
        try:
            return readiness.wait(seconds)
        finally:
            self.waits = False
            self._begin_turn(monotonic())

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def has_input(self):
        """Whether a read would find octets that already arrived in this process (RFC 2920: then replies are not flushed yet)."""
        return self._start < len(self._data) or (self.tls and self._pending() > 0)

    def _pending(self):
        try:
            return self._socket.pending()
        except (OSError, ValueError):
            return 0

    def _receive(self, limit):
        while True:
            self._check()
            if not (self.tls and self._pending()):
                self._await(self._input, self.read_timeout)
                self._check()  # before the read: an end of file in TLS would make the goodbye impossible
            piece = self._receive_now(limit)
            if piece:
                return piece

    def _receive_now(self, limit):
        """What is there, without waiting; empty when there is nothing yet. The end of the stream raises Disconnected."""
        try:
            piece = self._socket.recv(limit)
        except self._blocked as blocked:
            if isinstance(blocked, self._want_write):  # TLS has to send before it can read
                self._await(self._output(), self._limits.write)
            return b""
        except (OSError, ValueError) as error:  # ValueError: TLS on a socket that is no longer connected
            self._check()
            raise Disconnected(str(error))
        if not piece:
            self._check()
            raise Disconnected("end of file")
        return piece

    def _check(self):
        if self._stopping:
            raise Stopping("the server stops")
        if self._closed:
            raise Disconnected("closed")

    def wait(self, timeout, waker=None):
        """Waits up to `timeout` seconds: "input" when something can be read, "wake" when `waker` was set, else "timeout".

        Has its own time, whatever deadline is set. What arrives is taken into the buffer, so part of a TLS record is not yet "input".
        Raises Disconnected (the peer went), Stopping.
        """
        end = monotonic() + timeout
        descriptors = (self._socket.fileno(),) if waker is None else (self._socket.fileno(), waker.fileno())
        self._check()
        if self.has_input():
            return "input"
        readiness = Readiness(readable=descriptors)
        while True:
            found = self._poll(readiness, max(0.0, end - monotonic()))
            ready = [descriptor for descriptor, _ in found]
            self._check()
            if descriptors[0] in ready:
                piece = self._receive_now(4096)
                if piece:
                    self.unread(piece)
                    return "input"
            if waker is not None and descriptors[1] in ready:
                return "wake"
            if monotonic() >= end:
                return "timeout"

    # -- writing ------------------------------------------------------------------------------------------------------------------

    def write(self, data):
        """Sends all of `data` (bytes). Raises Disconnected, or TimedOut when 128 KB take too long or the deadline ends."""
        if self._mute:
            raise Disconnected("an earlier write failed")
        if len(data) > PIECE:
            self._write_pieces(data)
        elif data:
            sent = self._send_now(data)
            if sent != len(data):
                self._write_rest(data, sent)

    def _write_pieces(self, data):
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            self._write_rest(view[start:start + PIECE], 0)

    def _send_now(self, data):
        """How many octets of `data` went out without waiting."""
        try:
            return self._send(data)
        except self._blocked:
            return 0
        except (OSError, ValueError) as error:
            self._mute = True
            raise Disconnected(str(error))

    def _write_rest(self, data, sent):
        """Sends `data` from offset `sent` on, within the time for one piece."""
        view = memoryview(data)[sent:]
        end = monotonic() + self._limits.write
        try:
            while view:
                try:
                    # TLS wants the very same octets again after "not now"
                    view = view[self._send(view):]
                except self._blocked as blocked:
                    readiness = self._input if isinstance(blocked, self._want_read) else self._output()
                    self._await(readiness, max(0.0, end - monotonic()))
        except (OSError, ValueError) as error:
            self._mute = True
            raise Disconnected(str(error))
        except Disconnected:
            self._mute = True
            raise

    def _output(self):
        return Readiness(writable=(self._socket.fileno(),))

    # -- TLS ----------------------------------------------------------------------------------------------------------------------

    def start_tls(self, context):
        """Becomes the server of a TLS connection by `context` (ssl.SSLContext), within the time for a handshake.

        Plaintext that was received before is dropped, never read as if it had come over TLS (RFC 3207 4.2); returns how many octets.
        Raises Disconnected, TimedOut, Stopping; the connection is then no longer usable.
        """
        dropped = self.drop_buffered()
        try:
            with self.deadline(self._limits.handshake):
                self._await_handshake()
                try:
                    with self._lock:
                        if self._closed:
                            raise Disconnected("closed")
                        self._use(tls.server_side(self._socket, context))
                    self.tls = True
                    self._want_read, self._want_write = tls.blocked()
                    self._blocked = self._want_read + self._want_write
                    self._shake_hands()
                finally:
                    self.visit.end_handshake()
        except (OSError, ValueError) as error:
            self._mute = True
            self._check()  # an interrupt looks to OpenSSL like the peer's end
            raise Disconnected("TLS handshake: %s" % error)
        except Disconnected:
            self._mute = True
            raise
        return dropped

    def _await_handshake(self):
        """Waits for the first octets, since a silent client is worth no TLS state, then for a
        place."""
        self._await(self._input, self._limits.handshake)
        self._check()
        self.waits = True
        try:
            while not self.visit.begin_handshake():
                if monotonic() >= self._deadline:
                    raise TimedOut("too many TLS handshakes at once")
                sleep(_TURN)
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

    # -- the end ------------------------------------------------------------------------------------------------------------------

    def interrupt(self):
        """From any thread: the reader gets Stopping now or at its next read. Writing still works."""
        self._stopping = True
        self._shut(socket.SHUT_RD)

    def abort(self):
        """From any thread: the connection is over, whatever its thread is waiting for. The thread itself closes the socket."""
        self._stopping = True
        self._mute = True
        self._shut(socket.SHUT_RDWR)

    def _shut(self, how):
        with self._lock:
            if not self._closed:
                try:
                    # the base class: SSLSocket.shutdown would also forget that it speaks TLS
                    socket.socket.shutdown(self._socket, how)
                except OSError:
                    pass

    def close(self):
        """Ends TLS with close_notify, without waiting, and closes the socket. May be called again."""
        if self._closed:
            return
        self.drop_buffered()
        try:
            if self.tls and not self._mute:
                self._socket.unwrap()
        except (OSError, ValueError):
            pass
        with self._lock:
            self._closed = True
            _drain(self._socket)
            self._socket.close()


def _quicken(sock):
    """Replies go out at once; peers that vanished during a long idle time are noticed."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        pass


def _drain(sock):
    """Takes what the peer sent and nobody read: closing with unread input resets the connection, and our last line may be lost."""
    try:
        socket.socket.recv(sock, CLOSING_DRAIN)
    except (OSError, ValueError):
        pass
