"""A scripted HTTPS server on the loopback."""

import contextlib
import socket
import threading

PATIENCE = 10.0  # seconds
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"


@contextlib.contextmanager
def web(pair, *chunks):
    """Answers each request with `chunks`; yields (its port, a list of the requests).

    `pair`: its certificate, an authority.Pair."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(5)
    port, requests, over = listening.getsockname()[1], [], threading.Event()

    def serve():
        while True:
            plain, _ = listening.accept()
            if over.is_set():
                plain.close()
                return
            plain.settimeout(PATIENCE)
            try:
                _answer(pair.server_context(), plain, requests, chunks)
            except OSError:
                plain.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield port, requests
    finally:
        over.set()
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        thread.join(PATIENCE)
        listening.close()
        assert not thread.is_alive(), "the web server did not end"


def _answer(context, plain, requests, chunks):
    with context.wrap_socket(plain, server_side=True) as secure:
        request = piece = secure.recv(4096)
        while piece and b"\r\n\r\n" not in request:
            piece = secure.recv(4096)
            request += piece
        requests.append(request)
        for chunk in chunks:
            secure.sendall(chunk)
