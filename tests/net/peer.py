"""The other end of a connection, for tests: a blocking socket with a deadline on everything, plain
or TLS."""

import contextlib
import socket
import ssl
import threading

from phenmail_protocols.net import listener, tls
from tests.deflated import deflater, inflated

PATIENCE = 10.0  # seconds until a test that waits for a peer fails


class Peer(object):
    """A client. `lines` it reads, bytes it sends."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(PATIENCE)
        self.file = sock.makefile("rb")
        self.deflate = None  # once it compresses: octets -> compressed octets

    def send(self, data):
        self.sock.sendall(data if self.deflate is None else self.deflate(data))

    def compress(self):
        """From now on it sends and expects compressed octets."""
        self.file, self.deflate = inflated(self.file), deflater()

    def line(self):
        return self.file.readline()

    def rest(self):
        """All until the end; a reset counts as an end."""
        try:
            return self.file.read()
        except (ConnectionResetError, ssl.SSLError):
            return b""

    def secure(self, context=None):
        """Becomes a TLS client (nothing may be buffered)."""
        self.file.close()
        self.sock = (context or client_context()).wrap_socket(self.sock,
                                                              server_hostname="localhost")
        self.file = self.sock.makefile("rb")
        return self

    def close(self):
        self.file.close()
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def client_context(certificate=None):
    """Trusts `certificate` (path), or anybody."""
    if certificate:
        return ssl.create_default_context(cafile=certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def dial(port, host="127.0.0.1", tls=False):
    peer = Peer(socket.create_connection((host, port), PATIENCE))
    return peer.secure() if tls else peer


@contextlib.contextmanager
def serving(handle, **options):
    """A started Listener on a free port of 127.0.0.1; stopped after, and no thread may be left."""
    server = listener.Listener("test", "127.0.0.1", 0, handle, **options)
    server.start()
    try:
        yield server
    finally:
        assert server.stop(PATIENCE) == [], "threads that did not end"


def own_thread(function, *arguments):
    """Runs `function` in a thread; gives a callable that waits for it and gives its value or raises
    its exception."""
    result = []

    def run():
        try:
            result.append((function(*arguments), None))
        except BaseException as error:
            result.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def outcome():
        thread.join(PATIENCE)
        assert result, "did not end"
        value, error = result[0]
        if error is not None:
            raise error
        return value

    return outcome


def make_certificates(folder):
    """A self-signed pair in `folder` (text) as tls.Certificates."""
    certificate, key = folder + "/certificate.pem", folder + "/key.pem"
    tls.ensure_self_signed(certificate, key, ["mail.example.org"])
    return tls.Certificates(certificate, key)
