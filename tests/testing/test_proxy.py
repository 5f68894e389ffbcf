"""The proxy with faults: what breaks, where exactly, and that nothing is left."""
import socket
import threading
import time

import pytest

from phenmail_protocols.testing.acceptor import Acceptor
from phenmail_protocols.testing.proxy import CLIENT, SERVER, Proxy


@pytest.fixture
def echo():
    """An echo server; `heard()` returns everything, when a connection has ended."""
    heard, ended = bytearray(), threading.Event()

    def serve(sock):
        try:
            while True:
                data = sock.recv(65536)
                if not data:
                    return
                heard.extend(data)
                sock.sendall(data)
        finally:
            ended.set()
    server = Acceptor("echo", serve)
    server.heard = lambda: ended.wait(5) and bytes(heard)
    yield server
    server.close()


@pytest.fixture
def proxy(echo):
    proxy = Proxy("test", echo.address)
    yield proxy
    proxy.close()


def connect(proxy):
    return socket.create_connection(proxy.address, 5)


def all_of(sock):
    """What comes until the end of the connection, whichever way it ends."""
    data = b""
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return data
            data += piece
    except ConnectionError:
        return data


def test_without_faults_it_is_not_there(proxy, echo):
    data = bytes(range(256)) * 4096
    with connect(proxy) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data),
                                                  sock.shutdown(socket.SHUT_WR)))
        sender.start()
        assert all_of(sock) == data
        sender.join(5)
    assert echo.heard() == data


@pytest.mark.parametrize("octets", [1, 5, 10])
def test_it_breaks_after_exactly_so_many_octets_of_the_client(proxy, echo, octets):
    proxy.drop_after(octets)
    with connect(proxy) as sock:
        sock.sendall(b"0123456789abcdef")
        all_of(sock)
    assert echo.heard() == b"0123456789abcdef"[:octets]


@pytest.mark.parametrize("octets", [1, 5, 10])
def test_it_breaks_after_exactly_so_many_octets_of_the_server(proxy, octets):
    proxy.drop_after(octets, SERVER)
    with connect(proxy) as sock:
        sock.sendall(b"0123456789abcdef")
        assert all_of(sock) == b"0123456789abcdef"[:octets]


def test_what_is_sent_bit_by_bit_is_counted_together(proxy, echo):
    proxy.drop_after(3, CLIENT)
    with connect(proxy) as sock:
        for letter in (b"a", b"b"):
            sock.sendall(letter)
            assert sock.recv(1) == letter
        sock.sendall(b"cd")
        assert all_of(sock) in (b"", b"c")
    assert echo.heard() == b"abc"


def test_so_many_connections_break_and_then_no_more(proxy, echo):
    proxy.drop_after(0, connections=2)
    for _ in range(2):
        with connect(proxy) as sock:
            assert all_of(sock) == b""
    with connect(proxy) as sock:
        sock.sendall(b"well")
        assert sock.recv(4) == b"well"
    assert echo.heard() == b"well"


def test_cut_ends_those_that_are_there(proxy):
    with connect(proxy) as one, connect(proxy) as other:
        for sock in (one, other):
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        proxy.cut()
        assert all_of(one) == all_of(other) == b""
    with connect(proxy) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_slowness_is_for_each_piece_in_each_direction(proxy):
    with connect(proxy) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        proxy.slow(0.01, 10)
        sock.sendall(b"-")  # waits in recv with the old size: from the next piece on it is slow
        assert sock.recv(1) == b"-"
        start = time.monotonic()
        sock.sendall(b"0123456789" * 3)
        sock.shutdown(socket.SHUT_WR)
        assert all_of(sock) == b"0123456789" * 3
        # Three pieces on the way there, and the last of them on the way back.
        assert time.monotonic() - start >= 0.04
        proxy.heal()
    with connect(proxy) as sock:
        start = time.monotonic()
        sock.sendall(b"0" * 65536)
        sock.shutdown(socket.SHUT_WR)
        assert len(all_of(sock)) == 65536
        assert time.monotonic() - start < 1, "6554 pieces would take a minute"


def test_heal_forgets_what_was_to_break(proxy):
    proxy.drop_after(0, connections=5)
    proxy.heal()
    with connect(proxy) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_a_side_that_is_none_is_told(proxy):
    with pytest.raises(ValueError, match="client"):
        proxy.drop_after(1, "both")


def test_a_server_that_is_gone_ends_the_connection(echo):
    proxy = Proxy("test", echo.address)
    try:
        echo.close()
        with connect(proxy) as sock:
            assert all_of(sock) == b""
    finally:
        proxy.close()


def test_close_ends_connections_and_threads_even_slow_ones(echo):
    proxy = Proxy("test", echo.address)
    proxy.slow(60)
    with connect(proxy) as sock:
        sock.sendall(b"x")
        names = {thread.name for thread in threading.enumerate()}
        start = time.monotonic()
        proxy.close()
        proxy.close()
        assert time.monotonic() - start < 5
        assert all_of(sock) == b""
    assert "phenmail-proxy-test" in names
    assert [thread.name for thread in threading.enumerate() if "proxy" in thread.name] == []
    with pytest.raises(OSError):
        connect(proxy).close()
