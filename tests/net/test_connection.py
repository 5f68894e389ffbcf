"""A connection on real sockets: bounds of octets and time, STARTTLS, waiting, and every way to
end."""

import os
import socket
import ssl
import struct
import threading
import time

import pytest

from phenmail_protocols.net import connection, readiness
from phenmail_protocols.net.connection import Connection, Limits
from phenmail_protocols.net.errors import Disconnected, LineTooLong, Overdue, Stopping, TimedOut
from phenmail_protocols.net.waker import Waker

from .peer import PATIENCE, Peer, client_context, own_thread

NOISE = os.urandom(1 << 20) * 20  # more than the system's buffers take, even compressed


class Pair(object):
    """A Connection and its peer over TCP on 127.0.0.1."""

    def __init__(self, limits=Limits(read=PATIENCE, write=PATIENCE, handshake=PATIENCE)):
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            door.listen(1)
            self.peer = Peer(socket.create_connection(door.getsockname(), PATIENCE))
            self.server = Connection(door.accept()[0], limits=limits)

    def secure(self, certificates, client=None):
        """Both ends speak TLS from here on."""
        outcome = own_thread(self.server.start_tls, certificates.context())
        self.peer.secure(client)
        outcome()
        return self

    def compress(self):
        """Both ends compress from here on."""
        self.server.start_deflate()
        self.peer.compress()
        return self

    def close(self):
        self.peer.close()
        self.server.close()


@pytest.fixture(params=["plain", "tls", "deflate", "tls deflate"])
def pair(request, certificates):
    made = Pair()
    if "tls" in request.param:
        made.secure(certificates)
    if "deflate" in request.param:
        made.compress()
    yield made
    made.close()


@pytest.fixture
def plain():
    made = Pair()
    yield made
    made.close()


# -- reading and writing
# --------------------------------------------------------------------------------------------------

def test_lines_in_and_out(pair):
    pair.peer.send(b"EHLO a\r\nNOOP\n")
    assert pair.server.read_line(100) == b"EHLO a\r\n"
    assert pair.server.has_input(), "the second line came with the first"
    assert pair.server.read_line(100) == b"NOOP\n"
    assert not pair.server.has_input()
    pair.server.write(b"250 ok\r\n")
    pair.server.write(b"")
    assert pair.peer.line() == b"250 ok\r\n"


def test_a_line_over_its_limit_leaves_the_stream_in_step(pair):
    sent = own_thread(pair.peer.send, b"x" * 300000 + b"\r\nNOOP\r\n")
    with pytest.raises(LineTooLong):
        pair.server.read_line(1000)
    assert pair.server.read_line(1000) == b"NOOP\r\n"
    sent()


def test_much_data_both_ways(pair):
    body = bytes(range(256)) * 8192  # 2 MB: more than any buffer of the system on the way
    sent = own_thread(pair.peer.send, body)
    got = []
    pair.server.read_exactly(len(body), got.append)
    sent()
    assert b"".join(got) == body
    assert max(len(piece) for piece in got) <= 65536
    received = own_thread(pair.peer.file.read, len(body))
    pair.server.write(body)
    assert received() == body


def test_tls_input_that_is_decrypted_already_counts_as_input(certificates):
    made = Pair().secure(certificates)
    made.peer.send(b"A\r\n" + b"x" * 10000)
    assert made.server.read_line(100) == b"A\r\n"
    while made.server.buffered():
        made.server.read_chunk(100)
    made.peer.send(b"y" * 16000)
    assert made.server.read_chunk(10) == b"y" * 10
    assert made.server.has_input(), "15990 octets wait inside OpenSSL"
    assert made.server.wait(PATIENCE) == "input"
    made.close()


def test_who_it_is(plain):
    assert plain.server.peer == plain.peer.sock.getsockname()
    assert plain.server.is_loopback
    assert plain.server.tls is False
    assert plain.server.tls_info() is None


def test_replies_are_not_held_back(plain):
    assert plain.server._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_descriptors_over_1024():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1200, hard))
    fill = []
    try:
        while not fill or fill[-1].fileno() < 1030:
            fill.append(socket.socket())
        made, waker = Pair(), Waker()
        assert made.server._socket.fileno() > 1024
        made.peer.send(b"NOOP\r\n")
        assert made.server.read_line(10) == b"NOOP\r\n"
        waker.set()
        assert made.server.wait(PATIENCE, waker) == "wake"
        waker.close()
        made.close()
    finally:
        for sock in fill:
            sock.close()


# -- time
# --------------------------------------------------------------------------------------------------

def test_a_silent_peer_times_out_and_can_still_be_told():
    made = Pair(Limits(read=0.05))
    with pytest.raises(TimedOut):
        made.server.read_line(100)
    made.server.write(b"421 too slow\r\n")
    assert made.peer.line() == b"421 too slow\r\n"
    made.close()


def test_a_deadline_holds_against_a_peer_that_sends_octet_by_octet(pair):
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.02):
            pair.peer.send(b"x")

    sent = own_thread(trickle)
    start = time.monotonic()
    pair.server.set_deadline(0.2)
    with pytest.raises(TimedOut):
        pair.server.read_line(1000)
    assert time.monotonic() - start < PATIENCE / 2, "the deadline began anew with each octet"
    stop.set()
    sent()


def test_a_deadline_holds_against_a_peer_that_never_stops_sending():
    made = Pair(Limits(drain=1 << 40))
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            made.peer.sock.sendall(b"x" * 10000)

    sent = own_thread(flood)
    made.server.set_deadline(0.2)
    with pytest.raises(TimedOut):
        made.server.read_line(1000)
    stop.set()
    made.server.close()
    try:
        sent()
    except OSError:
        pass
    made.close()


def test_a_peer_that_reads_nothing_times_out(pair):
    with pytest.raises(TimedOut):
        with pair.server.deadline(0.1):
            pair.server.write(NOISE)
    with pytest.raises(Disconnected):
        pair.server.write(b"the stream is torn: nothing may follow")


def test_one_piece_has_its_own_time_to_be_written():
    made = Pair(Limits(write=0.05))
    with pytest.raises(TimedOut):
        made.server.write(b"x" * 50000000)
    made.close()


def test_an_inner_deadline_does_not_extend_the_outer_one(plain):
    with plain.server.deadline(0.05):
        with plain.server.deadline(PATIENCE):
            with pytest.raises(TimedOut):
                plain.server.read_line(10)
    plain.peer.send(b"after\r\n")
    assert plain.server.read_line(10) == b"after\r\n"


# -- STARTTLS
# --------------------------------------------------------------------------------------------------

def test_starttls_drops_what_was_sent_before_it(certificates):
    made = Pair()
    made.peer.send(b"STARTTLS\r\nMAIL FROM:<injected@example.org>\r\n")
    assert made.server.read_line(100) == b"STARTTLS\r\n"
    assert made.server.buffered() == len(b"MAIL FROM:<injected@example.org>\r\n")
    outcome = own_thread(made.server.start_tls, certificates.context())
    made.peer.secure()
    outcome()
    assert made.server.buffered() == 0
    made.peer.send(b"EHLO after\r\n")
    assert made.server.read_line(100) == b"EHLO after\r\n"
    assert made.server.tls
    version, cipher = made.server.tls_info()
    assert version in ("TLSv1.2", "TLSv1.3") and cipher
    made.close()


def test_a_half_open_handshake_times_out(certificates):
    made = Pair(Limits(handshake=0.05))
    made.peer.send(b"\x16\x03\x01")
    with pytest.raises(TimedOut):
        made.server.start_tls(certificates.context())
    made.close()


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello",
                                     b"\0" * 100, b"\xff" * 20000])
def test_garbage_instead_of_a_handshake_is_the_end(certificates, garbage):
    made = Pair()
    made.peer.send(garbage)
    with pytest.raises(Disconnected):
        made.server.start_tls(certificates.context())
    with pytest.raises(Disconnected):
        made.server.write(b"plaintext after a failed handshake")
    made.close()


def test_a_peer_that_goes_during_the_handshake(certificates):
    made = Pair()
    made.peer.close()
    with pytest.raises(Disconnected):
        made.server.start_tls(certificates.context())
    made.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_refused(certificates):
    made = Pair()
    context = client_context()
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    else:
        context.options |= ssl.OP_NO_TLSv1_2 | getattr(ssl, "OP_NO_TLSv1_3", 0)
    context.set_ciphers("ALL:@SECLEVEL=0")
    outcome = own_thread(made.server.start_tls, certificates.context())
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        made.peer.secure(context)
    made.peer.sock.close()
    with pytest.raises(Disconnected):
        outcome()
    made.close()


def test_broken_tls_records_are_the_end(certificates):
    made = Pair().secure(certificates)
    made.server.write(b"x")  # the client's session tickets are out of the way
    socket.socket.send(made.peer.sock, b"\x17\x03\x03\x00\x20" + b"z" * 32)
    with pytest.raises(Disconnected) as ended:
        made.server.read_line(100)
    assert not isinstance(ended.value, TimedOut)
    made.close()


def test_half_a_tls_record_is_no_input_yet(certificates):
    made = Pair().secure(certificates)
    socket.socket.send(made.peer.sock, b"\x17\x03\x03\x00")
    assert made.server.wait(0.05) == "timeout"
    made.close()


# -- waiting
# --------------------------------------------------------------------------------------------------

def test_wait_sees_input_a_wake_and_nothing(pair):
    waker = Waker()
    assert pair.server.wait(0.01, waker) == "timeout"
    waker.set()
    waker.set()
    assert pair.server.wait(PATIENCE, waker) == "wake"
    assert pair.server.wait(PATIENCE, waker) == "wake", "it is set until it is cleared"
    waker.clear()
    waker.clear()
    assert pair.server.wait(0.01, waker) == "timeout"
    pair.peer.send(b"DONE\r\n")
    assert pair.server.wait(PATIENCE, waker) == "input"
    assert pair.server.has_input()
    assert pair.server.wait(0, waker) == "input"
    assert pair.server.read_line(100) == b"DONE\r\n"
    waker.close()


def test_wait_is_woken_by_another_thread(pair):
    waker = Waker()
    outcome = own_thread(pair.server.wait, PATIENCE, waker)
    waker.set()
    assert outcome() == "wake"
    waker.close()


def test_wait_is_not_cut_by_the_deadline_of_commands(plain):
    plain.server.set_deadline(0.0)
    assert plain.server.wait(0.01) == "timeout"


def test_wait_ends_when_the_peer_goes(pair):
    outcome = own_thread(pair.server.wait, PATIENCE)
    pair.peer.sock.close()
    pair.peer.close()
    with pytest.raises(Disconnected):
        outcome()


def test_a_late_wake_touches_no_descriptor():
    waker = Waker()
    waker.close()
    waker.close()
    reader, writer = socket.socketpair()  # takes the numbers that the waker had
    waker.set()
    waker.clear()
    reader.setblocking(False)
    writer.setblocking(False)
    for end in (reader, writer):
        with pytest.raises(BlockingIOError):
            end.recv(1)
    reader.close()
    writer.close()


# -- the end
# --------------------------------------------------------------------------------------------------

def test_the_end_of_the_stream(pair):
    pair.peer.send(b"half a li")
    pair.peer.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(Disconnected):
        pair.server.read_line(100)


def test_a_reset(pair):
    pair.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    pair.peer.close()
    with pytest.raises(Disconnected):
        pair.server.read_line(100)
    with pytest.raises(Disconnected):
        for _ in range(100):
            pair.server.write(b"anybody there?\r\n")


@pytest.mark.parametrize("act", ["read_line", "wait", "busy"])
def test_interrupt_ends_reading_and_leaves_time_for_a_goodbye(pair, act):
    if act == "read_line":
        outcome = own_thread(pair.server.read_line, 100)
    elif act == "wait":
        outcome = own_thread(pair.server.wait, PATIENCE)
    pair.server.interrupt()
    with pytest.raises(Stopping):
        if act == "busy":
            pair.server.read_line(100)
        else:
            outcome()
    pair.server.write(b"421 goodbye\r\n")
    pair.server.close()
    assert pair.peer.rest() == b"421 goodbye\r\n"


def test_interrupt_during_a_handshake(certificates):
    made = Pair()
    outcome = own_thread(made.server.start_tls, certificates.context())
    made.peer.send(b"\x16\x03\x01")
    made.server.interrupt()
    with pytest.raises(Stopping):
        outcome()
    made.close()


def test_abort_ends_a_write_that_nobody_reads(pair):
    outcome = own_thread(pair.server.write, NOISE)
    assert pair.peer.file.read(1000)
    pair.server.abort()
    with pytest.raises(Disconnected):
        outcome()


def test_a_closed_connection_only_says_so(pair):
    pair.server.close()
    pair.server.close()
    pair.server.interrupt()
    pair.server.abort()
    for act in (lambda: pair.server.read_line(10), lambda: pair.server.write(b"x"),
                lambda: pair.server.wait(1)):
        with pytest.raises(Disconnected):
            act()
    assert not pair.server.has_input()
    assert pair.peer.rest() == b""


def test_the_last_line_arrives_though_input_was_left_unread(plain):
    plain.peer.send(b"x" * 10000)
    assert plain.server.wait(PATIENCE) == "input"
    plain.server.write(b"500 enough\r\n")
    plain.server.close()
    assert plain.peer.rest() == b"500 enough\r\n"


def test_close_tells_tls_peers_that_it_is_the_end(certificates):
    made = Pair().secure(certificates)
    made.peer.sock.suppress_ragged_eofs = False
    made.server.write(b"bye\r\n")
    made.server.close()
    assert made.peer.file.read() == b"bye\r\n", "read without SSLEOFError: close_notify came"
    made.close()


def test_a_unix_socket_is_a_connection_too():
    ours, theirs = socket.socketpair()
    server = Connection(ours)
    assert server.peer == ("", 0) and server.is_loopback
    theirs.sendall(b"LHLO a\r\n")
    assert server.read_line(100) == b"LHLO a\r\n"
    server.close()
    theirs.close()


def test_no_file_but_tls_names_ssl():
    import os
    folder = os.path.dirname(connection.__file__)
    for name in os.listdir(folder):
        if name.endswith(".py") and name not in ("tls.py", "tlsclient.py"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                assert "import ssl" not in file.read(), name


# -- looking while working
# --------------------------------------------------------------------------------------------------

@pytest.fixture
def each_look(monkeypatch):
    """Every look is one at the clock and at the peer."""
    monkeypatch.setattr(connection, "TURN", -1.0)


def until_raised(look):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        look()


def test_look_leaves_what_the_peer_sent(pair, each_look):
    pair.peer.send(b"one\r\ntwo\r\n")
    pair.server.look()
    assert pair.server.read_line(100) == b"one\r\n"
    pair.server.look()
    assert pair.server.read_line(100) == b"two\r\n"


def test_look_sees_a_peer_that_is_gone(pair, each_look, monkeypatch):
    monkeypatch.setattr(readiness, "HALF_CLOSED_FOR", 0.0)
    pair.peer.send(b"still to be read\r\n")
    pair.peer.close()
    with pytest.raises(Disconnected):
        until_raised(pair.server.look)


def test_look_sees_a_reset_at_once(plain, each_look, monkeypatch):
    monkeypatch.setattr(readiness, "HALF_CLOSED_FOR", 1000.0)
    plain.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.peer.close()
    with pytest.raises(Disconnected):
        until_raised(plain.server.look)
    plain.server.look(peer=False)


def test_who_only_sends_nothing_more_has_a_while(plain, each_look, monkeypatch):
    plain.peer.sock.shutdown(socket.SHUT_WR)
    for _ in range(1000):
        plain.server.look()
    plain.server.write(b"answer\r\n")
    assert plain.peer.line() == b"answer\r\n"
    with pytest.raises(Disconnected):
        until_raised(plain.server.look)


def test_look_where_the_system_has_no_such_event(pair, each_look, monkeypatch):
    from phenmail_protocols.net import readiness
    monkeypatch.setattr(readiness, "_PEER_CLOSED", 0)
    monkeypatch.setattr(readiness, "HALF_CLOSED_FOR", 0.0)
    pair.server.look()
    pair.peer.send(b"line\r\n")
    pair.server.look()
    assert pair.server.read_line(100) == b"line\r\n"
    pair.peer.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(Disconnected):
        until_raised(pair.server.look)


def test_look_sees_the_deadline_and_the_stop(pair, each_look):
    pair.server.set_deadline(0.0)
    with pytest.raises(Overdue):
        pair.server.look()
    pair.server.set_deadline(PATIENCE)
    pair.server.look()
    pair.server.interrupt()
    with pytest.raises(Stopping):
        pair.server.look()
