"""DEFLATE around a connection's octets: splits, bounds, broken data, the end."""
import random
import socket
import time
import zlib

import pytest

from phenmail_protocols.net import deflate
from phenmail_protocols.net.deflate import BrokenData, Deflate
from phenmail_protocols.net.errors import Disconnected, TimedOut
from tests.deflated import deflater

from .peer import PATIENCE, own_thread
from .test_connection import Pair

EMPTY_BLOCK = b"\0\0\0\xff\xff"


class Wire:
    """A non-blocking socket that gives and takes as many octets as it likes."""

    def __init__(self, pieces=(), dice=None):
        self.pieces = list(pieces)
        self.dice = dice
        self.sent = b""

    def recv(self, limit):
        if not self.pieces:
            raise BlockingIOError
        piece, rest = self.pieces[0][:limit], self.pieces[0][limit:]
        self.pieces[:1] = [rest] if rest else []
        return piece

    def send(self, data):
        count = self.dice.randrange(1, 2000)
        if count > 1000:
            raise BlockingIOError
        self.sent += bytes(data[:count])
        return min(count, len(data))

    def pending(self):
        return 0


def over(wire, received=b""):
    return Deflate(wire.recv, wire.send, wire.pending, received)


def all_of(stream, wire, limit):
    """What a stream gives until it would wait, in pieces of up to `limit()` octets."""
    while wire.pieces or stream.pending():
        try:
            yield stream.recv(limit())
        except BlockingIOError:
            assert not stream.pending()


def sentences(dice):
    words = b"FETCH STORE 1:* (FLAGS) \\Seen BODY[] {10+}\r\n 17 \0 \xff".split(b" ")
    return [b" ".join(dice.choice(words) for _ in range(dice.randrange(40))) + b"\r\n"
            for _ in range(dice.randrange(1, 60))] + [dice.choice(words) * dice.randrange(9000)]


@pytest.mark.parametrize("seed", range(40))
def test_any_split_gives_the_same_octets(seed):
    dice = random.Random(seed)
    pack, said = deflater(dice.randrange(10), dice.randrange(9, 16)), sentences(dice)
    packed = b"".join(map(pack, said))
    step = 1 if seed % 4 == 0 else len(packed)
    pieces, start = [], 0
    while start < len(packed):
        end = start + dice.randrange(1, step + 1)
        pieces.append(packed[start:end])
        start = end
    first, wire = pieces.pop(0) if seed % 2 else b"", Wire(pieces)
    found = all_of(over(wire, first), wire, lambda: dice.randrange(1, 5000))
    assert b"".join(found) == b"".join(said)


@pytest.mark.parametrize("seed", range(10))
def test_a_slow_peer_receives_the_same_octets(seed):
    dice = random.Random(seed)
    wire, inflater = Wire(dice=dice), zlib.decompressobj(-15)
    stream = over(wire)
    for each in sentences(dice):
        while True:
            try:
                assert stream.send(each) == len(each)
                break
            except BlockingIOError:
                continue
        received, wire.sent = wire.sent, b""
        assert inflater.decompress(received) == each, "each piece is flushed"
        assert received.endswith(EMPTY_BLOCK[1:])


def test_a_bomb_is_inflated_piece_by_piece():
    bomb = deflater(9)(bytes(20000000)) + deflater(9)(b"x")
    assert len(bomb) < 30000
    wire, total = Wire([bomb]), 0
    stream = over(wire)
    for piece in all_of(stream, wire, lambda: 1000000):
        assert len(piece) <= deflate.INFLATED and len(stream._received) <= deflate.RECEIVED
        total += len(piece)
    assert total == 20000001 and piece[-1:] == b"x"


def test_an_idle_stream_holds_no_octets():
    wire = Wire([deflater()(b"x" * 1000)], random.Random(1))
    stream = over(wire)
    assert stream.recv(2000) == b"x" * 1000
    wire.send = lambda data: len(data)
    stream.send(b"y" * 100000)
    assert not stream.pending()
    assert (stream._received, stream._inflated, stream._unsent) == (b"", b"", b"")


def test_the_octets_before_the_end_can_be_read():
    ended = zlib.compressobj(wbits=-15)
    stream = over(Wire([ended.compress(b"last") + ended.flush() + b"anything"]))
    assert stream.recv(2) == b"la" and stream.recv(10) == b"st"
    for _ in range(2):
        assert stream.pending(), "a read does not wait"
        with pytest.raises(BrokenData):
            stream.recv(10)


def test_a_lack_of_memory_is_the_end():
    stream = over(Wire([b"x"]))

    class Poor:
        def compress(self, data, limit=None):
            raise MemoryError

        decompress = compress

    stream._compressor = stream._inflater = Poor()
    with pytest.raises(BrokenData):
        stream.recv(10)
    with pytest.raises(BrokenData):
        stream.send(b"x")


# -- on a connection

@pytest.fixture
def plain():
    made = Pair()
    yield made
    made.close()


@pytest.mark.parametrize("junk", [b"a NOOP\r\n" * 5, b"\xff" * 50, bytes(range(200))])
def test_broken_data_are_the_end(plain, junk):
    plain.server.start_deflate()
    plain.peer.send(junk)
    with pytest.raises(Disconnected) as ended:
        while True:
            plain.server.read_chunk()
    assert not isinstance(ended.value, TimedOut)


def test_broken_data_end_a_wait(plain):
    plain.compress()
    plain.peer.sock.sendall(b"\xff" * 50)
    with pytest.raises(Disconnected):
        assert plain.server.wait(PATIENCE) == "input"
        plain.server.read_chunk()


def test_octets_that_arrived_before_are_compressed(plain):
    plain.peer.send(b"COMPRESS\r\n" + deflater()(b"NOOP\r\nNOOP\r\n"))
    assert plain.server.read_line(100) == b"COMPRESS\r\n"
    plain.server.start_deflate()
    assert plain.server.buffered() == 0 and plain.server.has_input()
    assert plain.server.wait(0) == "input"
    assert plain.server.read_line(100) == b"NOOP\r\n"
    assert plain.server.has_input()


def test_blocks_without_octets_are_no_input(pair_over_tls):
    pair_over_tls.compress()
    socket_of = pair_over_tls.peer.sock
    for _ in range(3):
        socket_of.sendall(EMPTY_BLOCK * 1000)
        assert pair_over_tls.server.wait(0.02) == "timeout"
        assert not pair_over_tls.server.has_input()
    socket_of.sendall(deflater()(b"x"))
    assert pair_over_tls.server.wait(PATIENCE) == "input"


@pytest.fixture
def pair_over_tls(certificates):
    made = Pair().secure(certificates)
    yield made
    made.close()


def test_a_deadline_holds_against_a_bomb(plain):
    plain.compress()
    plain.server.drain = 1 << 40
    bomb = deflater(9)(bytes(100 << 20))
    done = own_thread(plain.peer.sock.sendall, bomb * 30)
    start = time.monotonic()
    plain.server.set_deadline(0.1)
    with pytest.raises(TimedOut):
        plain.server.read_exactly(1 << 40, lambda data: None)
    assert time.monotonic() - start < PATIENCE / 2
    plain.peer.sock.shutdown(socket.SHUT_RDWR)
    plain.server.close()
    try:
        done()
    except OSError:
        pass


def test_half_an_octet_is_no_input(plain):
    plain.compress()
    packed = plain.peer.deflate(b"NOOP\r\n")
    plain.peer.sock.sendall(packed[:1])
    assert plain.server.wait(0.02) == "timeout"
    plain.peer.sock.sendall(packed[1:])
    assert plain.server.wait(PATIENCE) == "input"
    assert plain.server.read_line(100) == b"NOOP\r\n"
