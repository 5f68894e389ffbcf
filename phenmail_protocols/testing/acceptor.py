"""A listening port on the loopback, with a thread for each connection. Knows no protocol."""
import socket
import threading

_HOST = "127.0.0.1"


class Acceptor:
    """Listens on a free port from its creation until `close`. `address`: (host, port).

    `name`: for the threads' names. `serve(sock)`: called for each connection, in its own thread.
    The socket is closed after it; `close` shuts it down, so that a waiting read ends.
    """

    def __init__(self, name, serve):
        self._serve = serve
        self._name = "phenmail-" + name
        self._lock = threading.Lock()
        self._open = {}  # socket -> thread
        self.stopping = threading.Event()
        self._listening = socket.socket()
        try:
            self._listening.bind((_HOST, 0))
            self._listening.listen(128)
            self.address = self._listening.getsockname()
            self._thread = threading.Thread(target=self._accept, name=self._name, daemon=True)
            self._thread.start()
        except BaseException:
            self._listening.close()
            raise

    def _accept(self):
        while True:
            try:
                sock = self._listening.accept()[0]
            except OSError:  # the client has disconnected already, or `close` was called
                if self.stopping.is_set():
                    return
                continue
            with self._lock:
                if self.stopping.is_set():
                    sock.close()
                    return
                thread = threading.Thread(target=self._work, args=(sock,), name=self._name,
                                          daemon=True)
                self._open[sock] = thread
            thread.start()

    def _work(self, sock):
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(sock)
        except OSError:
            pass  # the client has disconnected, or `close` was called
        finally:
            with self._lock:
                del self._open[sock]
            sock.close()

    def cut(self):
        """End all present connections."""
        with self._lock:
            for sock in self._open:
                shut(sock)

    def close(self, seconds=5.0):
        """End all connections and threads; wait up to `seconds` for each thread."""
        with self._lock:
            if self.stopping.is_set():
                return
            self.stopping.set()
            threads = list(self._open.values())
        self.cut()
        try:
            # On every system this wakes the thread that accepts.
            socket.create_connection(self.address, seconds).close()
        except OSError:
            pass
        for thread in [self._thread] + threads:
            thread.join(seconds)
        self._listening.close()


def shut(sock):
    """End a connection and wake the threads that read from it. Its owner closes the socket."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
