"""A listening socket, a thread that accepts, and a thread for each connection. Knows no protocol.

The accepting thread never waits for a client: the TLS handshake happens in the connection's own thread, and who is one too many is
turned away without waiting. A stop ends accepting, interrupts the connections (their handlers say goodbye), and after a grace cuts off
those that are left.
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
from .errors import CertificateError, Disconnected
from .gate import Gate
from .readiness import Readiness
from .turns import Turns
from .waker import Waker
from .workers import Workers

_log = logging.getLogger("phenmail.net")

EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
PAUSE = 0.2          # seconds without accepting when descriptors or memory ran out
GRACE = 0.6          # part of a stop's time in which handlers may end by themselves
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
PORT_TRIES = 10      # a free port of one family may be taken in the other


class Listener(socketserver.ThreadingTCPServer):
    """One address that is listened on from the moment this is made; connections are served after `start`.

    name: goes into thread names and the log. host: an address of either family. port: 0 takes a free one; `port` says which.
    handle(connection): called in a thread of its own for each Connection, which is closed after it. It may raise Disconnected at will.
    certificates: has `context()`; with `implicit_tls` the handshake comes before `handle`.
    gate: a Gate; share: the name of the part of it that is used. too_many: the bytes for whom it
    does not let in (not sent with implicit TLS). limits: of each connection. turns: a Turns that
    its connections share with those of other listeners.
    Raises OSError when the address cannot be had.
    """

    request_queue_size = 128
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs share the port

    def __init__(self, name, host, port, handle, certificates=None, implicit_tls=False, gate=None,
                 too_many=b"", limits=Limits(), share="", turns=None):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._prepare(name, handle, certificates, implicit_tls, gate, too_many, limits, share,
                      turns)
        self._open((host, port))

    def _prepare(self, name, handle, certificates, implicit_tls, gate, too_many, limits, share,
                 turns):
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
        self._told = None

    def _open(self, address):
        socketserver.ThreadingTCPServer.__init__(self, address, None, bind_and_activate=False)
        try:
            self.server_bind()
            self.server_activate()
        except Exception:
            self.server_close()
            raise
        self.socket.setblocking(False)  # a client that vanished between poll and accept must not hold the thread
        self._waker = Waker()

    def server_bind(self):
        """Binds; IPv6 sockets take IPv6 only, since IPv4 has its own."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        socketserver.ThreadingTCPServer.server_bind(self)

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

    # -- accepting ----------------------------------------------------------------------------------------------------------------

    def start(self):
        """Begins to accept, in a thread of its own."""
        acceptor = threading.Thread(target=self.serve_forever, name="phenmail-%s-accept" % self.name, daemon=True)
        acceptor.start()
        self._acceptor = acceptor  # one that was not started can't be waited for

    def serve_forever(self, poll_interval=None):
        """Accepts until `stop`, in the calling thread. Sleeps while nobody comes."""
        readiness = Readiness(readable=(self.fileno(), self._waker.fileno()))
        while not self._stopped:
            readiness.wait()
            if not self._stopped:
                self._accept_one()

    def _accept_one(self):
        try:
            self._handle_request_noblock()
        except Exception:  # out of memory, for instance: whatever it is, the next client finds somebody who accepts
            _log.exception("%s: accepting", self.name)
            self._pause()

    def _pause(self):
        """A little time without accepting, unless the server stops."""
        Readiness(readable=(self._waker.fileno(),)).wait(PAUSE)

    def get_request(self):
        """Accepts one. Without descriptors or memory for it, waits a little: the client stays in the queue."""
        try:
            return self.socket.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._tell("%s: cannot accept: %s", self.name, error)
                self._pause()
            raise

    def _refuse(self, request, host):
        self._refused += 1
        self._tell("%s: %d connections were too many so far, the last from %s",
                   self.name, self._refused, host)
        self._turn_away(request)
        self.shutdown_request(request)

    def _turn_away(self, request):
        try:
            request.setblocking(False)
            if self._too_many:
                request.send(self._too_many)
            request.recv(4096)  # unread input would reset the connection before our line is read
        except OSError:
            pass

    def _tell(self, text, *values):
        """A warning at most once a minute: a flood of clients is no flood of lines."""
        now = monotonic()
        if self._told is None or now - self._told > 60:
            self._told = now
            _log.warning(text, *values)

    def process_request(self, request, client_address):
        """Gives the connection its thread; who is one too many gets `too_many`."""
        peer, visit = normalised(client_address), None
        try:
            connection = Connection(request, peer, self._limits, self._turns)
            visit = self._gate.enter(peer[0], self._share, connection)
            if visit is None:
                self._refuse(request, peer[0])
                return
            connection.visit = visit
            self._workers.start(connection)
        except (OSError, RuntimeError, MemoryError) as error:  # it is gone already, or there is no room for a thread
            if visit is not None:
                visit.leave()
            self._tell("%s: cannot serve %s: %s", self.name, peer[0], error)
            self._turn_away(request)
            self.shutdown_request(request)

    def handle_error(self, request, client_address):
        """An error of our own while accepting goes to the log, not to standard error."""
        _log.exception("%s: accepting from %s", self.name, client_address)

    # -- serving ------------------------------------------------------------------------------------------------------------------

    def _work(self, connection):
        try:
            if self._implicit_tls:
                connection.start_tls(self._certificates.context())
            self._handle(connection)
        except Disconnected as end:
            _log.debug("%s: %s: %s", self.name, connection.peer[0], end)
        except CertificateError as error:
            self._tell("%s: no TLS: %s", self.name, error)
        except Exception:
            _log.exception("%s: serving %s", self.name, connection.peer[0])
        finally:
            try:
                connection.close()
            finally:
                connection.visit.leave()
                if connection.visit.is_displaced:
                    self._tell("%s: too many connections, closed one from %s to "
                               "admit another", self.name, connection.peer[0])

    # -- stopping -----------------------------------------------------------------------------------------------------------------

    def stop(self, deadline=5.0):
        """Ends accepting and all connections within `deadline` seconds, and closes. Returns the threads that did not end (it should be none)."""
        return stop_all([self], deadline)

    def shutdown(self):
        """What socketserver calls it: `stop`."""
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
    """The same on a Unix socket at `path`, which is made with `mode`. A socket that a dead server left there is replaced."""

    def __init__(self, name, path, handle, certificates=None, gate=None, too_many=b"",
                 limits=Limits(), share="", turns=None, mode=0o660):
        self.address_family = socket.AF_UNIX
        self.path = path
        self._mode = mode
        self._prepare(name, handle, certificates, False, gate, too_many, limits, share, turns)
        self._open(path)

    def server_bind(self):
        """Binds. Nobody can connect before the mode is set, as it does not listen yet."""
        _remove_dead_socket(self.path)
        socketserver.ThreadingTCPServer.server_bind(self)
        os.chmod(self.path, self._mode)
        self._identity = _identity(self.path)

    def server_close(self):
        """Closes, and removes the socket's name while it is still ours."""
        socketserver.ThreadingTCPServer.server_close(self)
        if getattr(self, "_identity", None) is not None and _identity(self.path) == self._identity:
            os.unlink(self.path)

    @property
    def host(self):
        """The path."""
        return self.path

    @property
    def port(self):
        """None: it has no port."""
        return None


def _identity(path):
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _remove_dead_socket(path):
    """Removes a socket at `path` on which nobody listens; anything else there stays, and binding fails."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.settimeout(1.0)
        probe.connect(path)
    except ConnectionRefusedError:
        os.unlink(path)
    except OSError:
        pass
    finally:
        probe.close()


def stop_all(listeners, deadline=5.0):
    """Stops all `listeners` at once within `deadline` seconds: accepting ends, connections are interrupted, and cut off when the grace is
    over. Returns the threads that did not end."""
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
    """Waits for the threads of all connections until `end`; returns those that live on."""
    threads = [thread for listener in listeners for thread in listener._workers.threads() if thread is not threading.current_thread()]
    for thread in threads:
        thread.join(max(0.0, end - monotonic()))
    return [thread for thread in threads if thread.is_alive()]


def listen(name, host, port, handle, **options):
    """Listeners for `host`, a list: one for an address, one for each address of a name; "" or "*" is every address, IPv4 and IPv6.

    All have the same port, also where `port` is 0. A machine without IPv6 gets IPv4 only. options: as Listener. Raises OSError.
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
                made.append(Listener(name, address, made[0].port if made else port, handle, **options))
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
        host = host.encode("ascii")  # text would load the codec for IDN, a whole megabyte
    found = socket.getaddrinfo(host, None, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)
    addresses = [(family == socket.AF_INET6, name[0]) for family, _, _, _, name in found if family in (socket.AF_INET, socket.AF_INET6)]
    return [address for _, address in sorted(set(addresses))]
