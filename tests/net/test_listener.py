"""Listeners on real sockets: who is let in, who never stalls whom, and that a stop ends everything
in time."""

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from phenmail_protocols.net import listener
from phenmail_protocols.net.connection import Limits
from phenmail_protocols.net.connection_limits import Gate
from phenmail_protocols.net.errors import Stopping
from phenmail_protocols.net.tls import Certificates

from .peer import PATIENCE, client_context, dial, serving


def echo(connection):
    """Greets, gives every line back, says goodbye when the server stops."""
    connection.write(b"hello\r\n")
    try:
        while True:
            connection.write(connection.read_line(1000))
    except Stopping:
        connection.write(b"goodbye\r\n")


def greeted(port, **options):
    peer = dial(port, **options)
    assert peer.line() == b"hello\r\n"
    return peer


# -- serving
# --------------------------------------------------------------------------------------------------

def test_many_clients_at_once():
    with serving(echo) as server:
        peers = [greeted(server.port) for _ in range(30)]
        for number, peer in enumerate(peers):
            peer.send(b"%d\r\n" % number)
        assert [peer.line() for peer in peers] == [b"%d\r\n" % number for number in range(30)]
        for peer in peers:
            peer.close()


def test_implicit_tls_verified_by_the_standard_library(certificates):
    with serving(echo, certificates=certificates, implicit_tls=True) as server:
        peer = dial(server.port).secure(client_context(certificates.certificate_path))
        assert peer.line() == b"hello\r\n"
        assert peer.sock.version() in ("TLSv1.2", "TLSv1.3")
        peer.close()


def test_clients_that_never_shake_hands_stall_nobody(certificates):
    with serving(echo, certificates=certificates, implicit_tls=True) as server:
        silent = [dial(server.port) for _ in range(20)]
        for peer in silent[10:]:
            peer.send(b"\x16\x03\x01\x02\x00\x01")
        greeted(server.port, tls=True).close()
        for peer in silent:
            peer.close()


def test_a_half_open_handshake_ends_by_itself(certificates):
    with serving(echo, certificates=certificates, implicit_tls=True,
                 limits=Limits(handshake=0.05)) as server:
        peer = dial(server.port)
        assert peer.rest() == b"", "cut off, without a word of plaintext"
        peer.close()


def test_without_a_certificate_tls_clients_are_cut_off_and_the_log_says_why(tmp_path, caplog):
    missing = Certificates(str(tmp_path / "none.pem"), str(tmp_path / "none.key"))
    with serving(echo, certificates=missing, implicit_tls=True) as server:
        peer = dial(server.port)
        assert peer.rest() == b""
        peer.close()
    assert "none.pem" in caplog.text


def test_an_error_in_a_handler_ends_that_connection_only(caplog):
    def fails(connection):
        if connection.read_line(100) == b"fail\r\n":
            raise RuntimeError("from the handler")
        connection.write(b"fine\r\n")

    with serving(fails) as server:
        first, second = dial(server.port), dial(server.port)
        first.send(b"fail\r\n")
        assert first.rest() == b""
        second.send(b"go\r\n")
        assert second.line() == b"fine\r\n"
        first.close()
        second.close()
    assert "from the handler" in caplog.text


def test_threads_are_named_daemons_and_leave_the_registry():
    seen = []

    def note(connection):
        seen.append((threading.current_thread().name, threading.current_thread().daemon))
        connection.write(b"hello\r\n")

    with serving(note) as server:
        for _ in range(200):
            peer = greeted(server.port)
            assert peer.rest() == b""
            peer.close()
        assert len(server._workers) + len(server._workers.threads()) < 20, "the registry grows"
    assert all(name.startswith("phenmail-test-") and daemon for name, daemon in seen)


# -- who is let in
# --------------------------------------------------------------------------------------------------

def test_one_too_many_is_told_and_closed_and_room_comes_back():
    gate = Gate(total=2)
    with serving(echo, gate=gate, too_many=b"421 too many\r\n") as server:
        first, second = greeted(server.port), greeted(server.port)
        third = dial(server.port)
        third.send(b"EHLO early\r\n")
        assert third.rest() == b"421 too many\r\n"
        assert gate.inside == 2
        second.close()
        until = time.monotonic() + PATIENCE
        said = None
        while said != b"hello\r\n":  # the second's thread is about to notice
            assert time.monotonic() < until, "room never comes back"
            with dial(server.port) as fourth:
                said = fourth.line()
        first.close()
        third.close()
    assert gate.inside == 0


def test_one_address_may_not_take_all_of_several_listeners():
    gate = Gate(total=10, per_address=2)
    with serving(echo, gate=gate, too_many=b"no\r\n") as one, serving(
            echo, gate=gate, too_many=b"no\r\n") as two:
        peers = [greeted(one.port), greeted(two.port)]
        third = dial(two.port)
        assert third.rest() == b"no\r\n"
        for peer in peers + [third]:
            peer.close()


def test_one_too_many_gets_no_plaintext_where_tls_is_expected(certificates):
    with serving(echo, gate=Gate(total=0), too_many=b"no\r\n", certificates=certificates,
                 implicit_tls=True) as server:
        peer = dial(server.port)
        assert peer.rest() == b""
        peer.close()


def test_no_room_for_a_thread_turns_the_client_away(monkeypatch):
    gate = Gate()
    with serving(echo, gate=gate, too_many=b"421 later\r\n") as server:
        start = threading.Thread.start

        def refuse(thread):
            if thread.name.startswith("phenmail-test-"):
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        peer = dial(server.port)
        assert peer.rest() == b"421 later\r\n"
        peer.close()
        monkeypatch.setattr(threading.Thread, "start", start)
        greeted(server.port).close()
    assert gate.inside == 0


def test_an_error_while_accepting_does_not_end_the_listener(monkeypatch, caplog):
    real, failures = listener.Listener.get_request, [MemoryError("no room to accept")]

    def accept(self):
        if failures:
            raise failures.pop()
        return real(self)

    monkeypatch.setattr(listener.Listener, "get_request", accept)
    with serving(echo) as server:
        greeted(server.port).close()
    assert not failures
    assert "no room to accept" in caplog.text


OUT_OF_DESCRIPTORS = """
import os, resource, socket, threading, time
from phenmail_protocols.net import listener

def echo(connection):
    connection.write(b"hello\\r\\n")
    connection.read_line(100)

server = listener.Listener("test", "127.0.0.1", 0, echo)
server.start()
clients = [socket.socket() for _ in range(40)]
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 5, 4096))
for client in clients:
    client.settimeout(10)
    client.connect(("127.0.0.1", server.port))
before = time.process_time()
threading.Event().wait(0.5)
spent = time.process_time() - before
assert spent < 0.2, "accepting without descriptors spins: %.2f s" % spent
greeted = 0
while clients:
    client = clients.pop(0)
    assert client.recv(100) == b"hello\\r\\n"
    client.close()
assert server.stop(5) == []
print("served all")
"""


def test_running_out_of_descriptors_is_survived_without_a_busy_loop():
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts descriptors in /proc")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    child = subprocess.Popen([sys.executable, "-c", OUT_OF_DESCRIPTORS], cwd=root,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = child.communicate(timeout=30)
    assert output.strip() == b"served all", errors.decode()


# -- stopping
# --------------------------------------------------------------------------------------------------

def test_a_stop_says_goodbye_to_all_in_time(certificates):
    server = listener.Listener("test", "127.0.0.1", 0, echo)
    secure = listener.Listener("secure", "127.0.0.1", 0, echo, certificates=certificates,
                               implicit_tls=True)
    server.start()
    secure.start()
    peers = [greeted(server.port) for _ in range(5)] + [greeted(secure.port, tls=True)
                                                        for _ in range(5)]
    half_open = dial(secure.port)
    start = time.monotonic()
    assert listener.stop_all([server, secure], PATIENCE) == []
    assert time.monotonic() - start < PATIENCE / 3, "waited for something"
    assert [peer.rest() for peer in peers] == [b"goodbye\r\n"] * 10
    with pytest.raises(OSError):
        dial(server.port)
    for peer in peers + [half_open]:
        peer.close()
    assert not [thread for thread in threading.enumerate()
                if thread.name.startswith(("phenmail-test-", "phenmail-secure-"))]


def test_a_stop_cuts_off_who_does_not_read():
    def pours(connection):
        connection.write(b"hello\r\n")
        while True:
            connection.write(b"x" * 100000)

    server = listener.Listener("test", "127.0.0.1", 0, pours)
    server.start()
    peer = greeted(server.port)
    assert server.stop(0.5) == []
    peer.close()


def test_a_stop_names_the_threads_that_do_not_end():
    release = threading.Event()

    def stubborn(connection):
        connection.write(b"hello\r\n")
        release.wait(PATIENCE)

    server = listener.Listener("test", "127.0.0.1", 0, stubborn)
    server.start()
    peer = greeted(server.port)
    start = time.monotonic()
    left = server.stop(0.1)
    assert time.monotonic() - start < PATIENCE / 2
    assert [thread.name for thread in left] == ["phenmail-test-1"]
    release.set()
    left[0].join(PATIENCE)
    peer.close()


def test_a_stop_before_the_start_and_a_second_one():
    server = listener.Listener("test", "127.0.0.1", 0, echo)
    assert server.stop() == []
    assert server.stop() == []


def test_a_handler_may_stop_the_server():
    stopped = []

    def stops(connection):
        connection.write(b"hello\r\n")
        stopped.append(server.stop(PATIENCE))
        connection.write(b"stopped\r\n")

    server = listener.Listener("test", "127.0.0.1", 0, stops)
    server.start()
    peer = greeted(server.port)
    assert peer.line() == b"stopped\r\n"
    assert stopped == [[]]
    peer.close()


def test_stops_leave_no_descriptor_open(certificates):
    def count():
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts descriptors in /proc")
    with serving(echo):
        pass
    before = count()
    for _ in range(3):
        with serving(echo, certificates=certificates, implicit_tls=True) as server:
            greeted(server.port, tls=True).close()
            dial(server.port).close()
    assert count() <= before


# -- addresses
# --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("host", ["", "*"])
def test_every_address_is_two_listeners_on_one_port(host):
    servers = listener.listen("test", host, 0, echo)
    try:
        assert len({server.port for server in servers}) == 1
        for server in servers:
            server.start()
        for server in servers:
            peer = greeted(server.port, host="::1" if ":" in server.host else "127.0.0.1")
            peer.close()
    finally:
        assert listener.stop_all(servers, PATIENCE) == []


def test_a_machine_without_ipv6_gets_ipv4(monkeypatch):
    real = listener.Listener.server_bind

    def bind(self):
        if self.address_family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "no IPv6 here")
        real(self)

    monkeypatch.setattr(listener.Listener, "server_bind", bind)
    servers = listener.listen("test", "*", 0, echo)
    assert [server.host for server in servers] == ["0.0.0.0"]
    listener.stop_all(servers)
    with pytest.raises(OSError):
        listener.listen("test", "::1", 0, echo)


def test_a_name_is_all_its_addresses():
    servers = listener.listen("test", "localhost", 0, echo)
    assert "127.0.0.1" in [server.host for server in servers]
    assert len({server.port for server in servers}) == 1
    listener.stop_all(servers)


def test_a_port_that_is_taken():
    with serving(echo) as server:
        with pytest.raises(OSError) as refused:
            listener.listen("test", "127.0.0.1", server.port, echo)
        assert refused.value.errno == errno.EADDRINUSE


def test_a_free_port_that_is_taken_in_the_other_family_is_tried_again(monkeypatch):
    real, tries = listener.Listener.server_bind, []

    def bind(self):
        if self.address_family == socket.AF_INET6:
            tries.append(self)
            if len(tries) < 3:
                raise OSError(errno.EADDRINUSE, "taken")
            raise OSError(errno.EAFNOSUPPORT, "enough of it")
        real(self)

    monkeypatch.setattr(listener.Listener, "server_bind", bind)
    servers = listener.listen("test", "*", 0, echo)
    assert len(tries) == 3 and len(servers) == 1
    listener.stop_all(servers)


def test_the_peer_is_who_connected():
    seen = []

    def note(connection):
        seen.append(connection.peer)

    with serving(note) as server:
        with dial(server.port) as peer:
            expected = peer.sock.getsockname()
            assert peer.rest() == b""
    assert seen == [expected]


# -- Unix sockets
# --------------------------------------------------------------------------------------------------

def unix_line(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(path)
        return client.recv(100)


def test_a_unix_socket_from_bind_to_stop(tmp_path):
    path = str(tmp_path / "lmtp")
    server = listener.UnixListener("test", path, echo, mode=0o600)
    server.start()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert unix_line(path) == b"hello\r\n"
    assert server.stop(PATIENCE) == []
    assert not os.path.exists(path)


def test_a_dead_socket_is_replaced_and_a_living_one_is_not(tmp_path):
    path = str(tmp_path / "lmtp")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    server = listener.UnixListener("test", path, echo)
    server.start()
    with pytest.raises(OSError):
        listener.UnixListener("other", path, echo)
    assert unix_line(path) == b"hello\r\n", "the one that failed took the name away"
    server.stop(PATIENCE)


def test_a_file_in_the_way_stays(tmp_path):
    path = tmp_path / "lmtp"
    path.write_bytes(b"precious")
    with pytest.raises(OSError):
        listener.UnixListener("test", str(path), echo)
    assert path.read_bytes() == b"precious"
