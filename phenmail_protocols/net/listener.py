"""A listening socket: a thread that accepts, and a thread for each connection. Knows no protocol.

The accepting thread never waits for a client: the TLS handshake happens in the connection's own
thread, and a client that is refused gets a line without waiting. A stop ends accepting, interrupts
the connections so that their handlers send a last reply, and cuts off the rest after a while.
"""
import errno
import logging
import os
import socket
import socketserver
import stat
import threading
from time import monotonic

from .address import normalised
from .connection import Connection, Limits
from .connection_limits import Gate
from .errors import CertificateError, Disconnected
from .fair_turns import Turns
from .readiness import Readiness
from .waker import Waker
from .workers import Workers

log = logging.getLogger("phenmail.net")

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 0.2  # seconds without accepting when descriptors or memory ran out
GRACE = 0.6  # part of a stop's time in which handlers may end by themselves
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
PORT_TRIES = 10  # a port that is free in one family may be taken in the other


class Listener(socketserver.ThreadingTCPServer):
    """Listens on one address from the moment it is made; serves connections after `start`.

    `name`: for thread names and the log. `host`: an address of either family. `port`: 0 takes a
    free one. `handle(connection)`: is called in a thread for each Connection, which is closed
    after it; it may raise Disconnected. `certificates`: has `context()`; with `implicit_tls` the
    handshake comes before `handle`. `gate`: a Gate; `share`: the name of its part for this
    protocol; `too_many`: the octets for clients that it refuses (not sent with implicit TLS).
    `limits`: of each connection. `turns`: a Turns, shared with other listeners.
    Raises OSError if the address is not available.
    """

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs share the port

    def __init__(self, name, host, port, handle, **options):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._prepare(name, handle, **options)
        self._open((host, port))

    def _prepare(self, name, handle, certificates=None, implicit_tls=False, gate=None,
                 too_many=b"", limits=Limits(), share="", turns=None):
        self.name = name
        self._handle = handle
        self._certificates = certificates
        self._implicit_tls = implicit_tls
        self._gate = Gate() if gate is None else gate
        self._share = share
        self._turns = Turns() if turns is None else turns
        self._too_many = b"" if implicit_tls else too_many
        self._limits = limits
        self._workers = Workers(name, self._work)
        self._stopped = False
        self._acceptor = None
        self._refused = 0
        self._warned = None  # when `_warn` last did

    def _open(self, address):
        super().__init__(address, None, bind_and_activate=False)
        try:
            self.server_bind()
            self.server_activate()
        except Exception:
            self.server_close()
            raise
        self.socket.setblocking(False)  # a client may vanish between poll and accept
        self._waker = Waker()

    def server_bind(self):
        """Bind. An IPv6 socket takes only IPv6, because IPv4 has its own listener."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    @property
    def host(self):
        """The address it listens on."""
        return self.server_address[0]

    @property
    def port(self):
        """The port it listens on."""
        return self.server_address[1]

    def connections(self):
        """How many connections are served now."""
        return len(self._workers)

    # Accepting

    def start(self):
        """Begin to accept, in a thread of its own."""
        acceptor = threading.Thread(
            target=self.serve_forever, name="phenmail-%s-accept" % self.name, daemon=True)
        acceptor.start()
        self._acceptor = acceptor  # only now: a thread that did not start cannot be joined

    def serve_forever(self, poll_interval=None):
        """Accept until `stop`, in the calling thread. It sleeps while no client comes."""
        readiness = Readiness(readable=(self.fileno(), self._waker.fileno()))
        while not self._stopped:
            readiness.wait()
            if not self._stopped:
                self._accept_one()

    def _accept_one(self):
        try:
            self._handle_request_noblock()
        except Exception:  # such as MemoryError; the listener must go on
            log.exception("%s: cannot accept a connection, trying again", self.name)
            self._pause()

    def _pause(self):
        """Wait a little, unless the server stops."""
        Readiness(readable=(self._waker.fileno(),)).wait(PAUSE)

    def get_request(self):
        """Accept one client. Without descriptors or memory for it, it stays in the queue."""
        try:
            return self.socket.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._warn("%s: cannot accept connections, trying again: %s", self.name, error)
                self._pause()
            raise

    def _turn_away(self, request):
        try:
            request.setblocking(False)
            if self._too_many:
                request.send(self._too_many)
            request.recv(4096)  # with unread input, closing would reset our line away
        except OSError:
            pass
        self.shutdown_request(request)

    def _warn(self, text, *values):
        """Log a warning at most once a minute, so that a flood of clients is no flood of lines."""
        now = monotonic()
        if self._warned is None or now - self._warned > 60:
            self._warned = now
            log.warning(text, *values)

    def process_request(self, request, client_address):
        """Give a connection its thread, or refuse it if the gate does."""
        peer, visit = normalised(client_address), None
        try:
            connection = Connection(request, peer, self._limits, self._turns)
            visit = self._gate.enter(peer[0], self._share, connection)
            if visit is None:
                self._refused += 1
                self._warn("%s: too many connections, refused %d so far, the last from %s",
                           self.name, self._refused, peer[0])
                self._turn_away(request)
                return
            connection.visit = visit
            self._workers.start(connection)
        except (OSError, RuntimeError, MemoryError) as error:  # client gone, or no thread
            if visit is not None:
                visit.leave()
            self._warn("%s: cannot serve %s, closing the connection: %s",
                       self.name, peer[0], error)
            self._turn_away(request)

    def handle_error(self, request, client_address):
        """Log an error of our own while accepting; socketserver would print it."""
        log.exception("%s: error while accepting %s", self.name, client_address)

    # Serving

    def _work(self, connection):
        try:
            if self._implicit_tls:
                connection.start_tls(self._certificates.context())
            self._handle(connection)
        except Disconnected as end:
            log.debug("%s: %s: %s", self.name, connection.peer[0], end)
        except CertificateError as error:
            self._warn("%s: no TLS, closing the connection from %s: %s",
                       self.name, connection.peer[0], error)
        except Exception:
            log.exception("%s: internal error, closing the connection from %s",
                          self.name, connection.peer[0])
        finally:
            try:
                connection.close()
            finally:
                connection.visit.leave()
                if connection.visit.is_displaced:
                    self._warn("%s: too many connections, closed one from %s to admit another",
                               self.name, connection.peer[0])

    # Stopping

    def stop(self, deadline=5.0):
        """End accepting and all connections within `deadline` seconds, and close.

        -> the threads that did not end; there should be none.
        """
        return stop_all([self], deadline)

    def shutdown(self):
        """socketserver's name for `stop`."""
        self.stop()

    def _stop_accepting(self):
        if not self._stopped:
            self._stopped = True
            self._waker.set()
            if self._acceptor is not None and self._acceptor is not threading.current_thread():
                self._acceptor.join()
            self._workers.stop()
            self.server_close()
            self._waker.close()


class UnixListener(Listener):
    """Listens on a Unix socket at `path`, made with `mode`.

    A socket that a dead server left there is replaced.
    """

    def __init__(self, name, path, handle, mode=0o660, **options):
        self.address_family = socket.AF_UNIX
        self.path = path
        self._mode = mode
        self._prepare(name, handle, **options)
        self._open(path)

    def server_bind(self):
        """Bind. Nobody can connect before the mode is set, because it does not listen yet."""
        _remove_dead_socket(self.path)
        super().server_bind()
        os.chmod(self.path, self._mode)
        self._identity = _identity(self.path)

    def server_close(self):
        """Close, and remove the socket's name unless another server has replaced it."""
        super().server_close()
        if getattr(self, "_identity", None) is not None and _identity(self.path) == self._identity:
            os.unlink(self.path)

    @property
    def host(self):
        """The path."""
        return self.path

    @property
    def port(self):
        """None: a Unix socket has no port."""
        return None


def _identity(path):
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove_dead_socket(path):
    """Remove a socket on which nobody listens. Any other file stays, and binding fails."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            pass


def stop_all(listeners, deadline=5.0):
    """Stop all listeners together within `deadline` seconds -> the threads that did not end."""
    end = monotonic() + deadline
    for listener in listeners:
        listener._stop_accepting()
    for listener in listeners:
        for connection in listener._workers.jobs():
            connection.interrupt()
    _join(listeners, monotonic() + GRACE * max(0.0, end - monotonic()))
    for listener in listeners:
        for connection in listener._workers.jobs():
            connection.abort()
    return _join(listeners, end)


def _join(listeners, end):
    """Wait for the connections' threads until `end` -> those that still run."""
    threads = [thread for listener in listeners for thread in listener._workers.threads()
               if thread is not threading.current_thread()]
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    return [thread for thread in threads if thread.is_alive()]


def listen(name, host, port, handle, **options):
    """-> list of Listeners for `host`: one for each of its addresses.

    "" and "*" are every address of IPv4 and IPv6; a machine without IPv6 gets IPv4 only. All
    listeners have the same port, even if `port` is 0. `options`: as Listener. Raises OSError.
    """
    for _ in range(PORT_TRIES - 1):
        try:
            return _listen_once(name, host, port, handle, options)
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    return _listen_once(name, host, port, handle, options)


def _listen_once(name, host, port, handle, options):
    made, unavailable = [], None
    try:
        for address in _addresses(host):
            try:
                made.append(Listener(
                    name, address, made[0].port if made else port, handle, **options))
            except OSError as error:
                if error.errno not in NO_IPV6 or ":" not in address:
                    raise
                unavailable = error
        if not made:
            raise unavailable
    except Exception:
        stop_all(made)
        raise
    return made


def _addresses(host):
    """The addresses to listen on, IPv4 first."""
    if host in ("", "*"):
        return ["0.0.0.0", "::"] if socket.has_ipv6 else ["0.0.0.0"]
    if not any(char > "\x7f" for char in host):
        host = host.encode("ascii")  # str would load the codec for IDN, which costs 1 MB
    found = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    addresses = {(family == socket.AF_INET6, name[0]) for family, _, _, _, name in found
                 if family in (socket.AF_INET, socket.AF_INET6)}
    return [address for _, address in sorted(addresses)]
