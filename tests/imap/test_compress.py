"""COMPRESS=DEFLATE (RFC 4978), with Python's zlib at the other end."""
import random
import re
import zlib

import pytest

from phenmail_protocols.config.settings import Limits
from tests.deflated import deflater, inflated

from . import wire

MESSAGE = b"From: a@example.org\r\nSubject: hello\r\n\r\n" + b"How are you?\r\n" * 400


def test_all_is_compressed_behind_the_tagged_response(client):
    client.send(b"a COMPRESS DEFLATE\r\n")
    assert client.line() == b"a OK DEFLATE active"
    pack, inflater = deflater(), zlib.decompressobj(-15)
    for _ in range(3):
        client.send(pack(b"b NOOP\r\n"))
        assert inflater.decompress(client.socket.recv(1000)) == b"b OK NOOP completed\r\n"


def test_a_session(client, connect):
    client.compress()
    assert client.append(MESSAGE)[-1].startswith(b"OK [APPENDUID")
    assert MESSAGE in client.ok("FETCH 1 BODY[]")[0]
    assert MESSAGE in connect().ok("FETCH 1 BODY[]")[0]
    client.send(b"a APPEND INBOX {%d}\r\n" % len(MESSAGE))
    client.until(b"+ ")
    client.send(MESSAGE + b"\r\n")
    client.until(b"a OK")
    assert client.ok("LOGOUT") == [b"* BYE Logging out"]
    assert client.line() == b""


def test_when_it_is_offered(connect):
    client = connect(login=False)
    assert b"COMPRESS" not in client.greeting
    assert b"COMPRESS" not in client.ok("CAPABILITY")[0]
    assert client.ask("COMPRESS DEFLATE") == [b"BAD Log in first"]
    assert b" COMPRESS=DEFLATE" in client.ask("LOGIN u p")[-1]
    assert b" COMPRESS=DEFLATE" in client.ok("CAPABILITY")[0]
    client.compress()
    assert b"COMPRESS" not in client.ok("CAPABILITY")[0]


@pytest.mark.parametrize("command", [
    "COMPRESS", "COMPRESS ", "COMPRESS GZIP", "COMPRESS DEFLATE DEFLATE", "COMPRESS (DEFLATE)",
    'COMPRESS "DEFLATE"', "COMPRESS DEFLATE64", "UID COMPRESS DEFLATE"])
def test_other_arguments_are_bad_and_change_nothing(client, command):
    assert client.ask(command)[-1].startswith(b"BAD ")
    client.ok("NOOP")
    client.compress()
    assert client.ask(command)[-1].startswith(b"BAD ")
    client.ok("NOOP")


def test_the_name_has_any_case(client):
    client.send(b"a compress deflate \r\n")
    assert client.line() == b"a OK DEFLATE active"


def test_a_second_time(client):
    client.compress()
    answer = b"NO [COMPRESSIONACTIVE] DEFLATE is active already"
    assert client.ask("COMPRESS DEFLATE") == [answer]
    client.ok("NOOP")


def test_starttls_cannot_follow(client):
    client.compress()
    assert client.ask("STARTTLS") == [b"BAD Already logged in"]
    client.ok("NOOP")


def test_over_tls(tls_server, connect, tls_client_context):
    client = connect(login=False, server=tls_server)
    client.ok("STARTTLS")
    client.socket = tls_client_context.wrap_socket(client.socket)
    client._stream = client.socket.makefile("rb")
    client.log_in("INBOX")
    client.compress()
    assert client.append(MESSAGE)[-1].startswith(b"OK [APPENDUID")
    assert MESSAGE in client.ok("FETCH 1 BODY[]")[0]
    client.send(b"i IDLE\r\n")
    client.until(b"+ ")
    client.send(b"DONE\r\n")
    client.until(b"i OK")
    client.connection.interrupt()
    assert client.line().startswith(b"* BYE")
    assert client.line() == b""


# -- input behind the command

def test_compressed_commands_that_arrive_with_it_are_run(client):
    """The client must wait for the response (RFC 4978 3). Some may not."""
    client.send(b"a COMPRESS DEFLATE\r\n" + deflater()(
        b"b NOOP\r\nc APPEND INBOX {%d+}\r\n%b\r\nd NOOP\r\n" % (len(MESSAGE), MESSAGE)))
    assert client.line() == b"a OK DEFLATE active"
    client._stream = inflated(client._stream)
    client.until(b"b OK")
    client.until(b"c OK")
    client.until(b"d OK")


def test_other_commands_that_arrive_with_it_are_not(client, caplog):
    client.send(b"a COMPRESS DEFLATE\r\nb DELETE Archive\r\nc NOOP\r\n")
    assert client.line() == b"a OK DEFLATE active"
    assert client.line() == b"", "the connection ends"
    client.thread.join(wire.PATIENCE)
    assert not caplog.records


def test_broken_data_end_the_connection(client, caplog, connect, tmp_path):
    client.compress()
    client.send(b"a APPEND INBOX {1000}\r\n")
    client.until(b"+ ")
    client.send(b"From: a@example.org\r\n")
    client.socket.sendall(b"\xff" * 100)
    assert client.line() == b""
    client.thread.join(wire.PATIENCE)
    assert not caplog.records
    assert not list((tmp_path / "mail" / "tmp").iterdir())
    assert b"* 0 EXISTS" in connect(None).ok("SELECT INBOX")


def test_the_end_of_the_compressed_data_is_the_end(client):
    client.send(b"a COMPRESS DEFLATE\r\n")
    client.line()
    compressor = zlib.compressobj(wbits=-15)
    client.send(compressor.compress(b"b NOOP\r\n") + compressor.flush())
    client._stream = inflated(client._stream)
    assert client.line() == b"b OK NOOP completed"
    assert client.line() == b""


SAID = (b"NOOP", b"FETCH 1 (FLAGS)", b"STORE 1 +FLAGS (\\Seen)", b"SEARCH TEXT {3+}\r\nyou",
        b"APPEND INBOX {8+}\r\nA: b\r\n\r\n", b"IDLE\r\nDONE", b"FOO", b"STATUS INBOX (MESSAGES)",
        b"FETCH 1 BODY[]")


def transcript(server, said, cut):
    """The responses to `said`, of which `cut(octets)` makes the pieces to send; None: as it is."""
    with wire.Client(server) as client:
        client.log_in("INBOX")
        if cut is None:
            client.socket.sendall(said)
        else:
            client.compress()
            for piece in cut(client._deflate(said)):
                client.socket.sendall(piece)
        return [re.sub(rb"APPENDUID \d+", b"", line) for line in client.until(b"last ")]


@pytest.mark.parametrize("seed", range(4))
def test_any_split_gives_the_same_responses(store, tmp_path, seed):
    dice = random.Random(seed)
    said = b"".join(b"t%d %b\r\n" % (number, dice.choice(SAID)) for number in range(40))
    cuts = (None, lambda packed: [packed], lambda packed: [bytes((octet,)) for octet in packed],
            lambda packed: re.findall(b"(?s).{1,%d}" % dice.randrange(2, 99), packed))
    found = [transcript(wire.server(store, tmp_path / str(number)), said + b"last NOOP\r\n", cut)
             for number, cut in enumerate(cuts)]
    assert found[1:] == found[:1] * 3


# -- waiting and ending

def test_idle(client, connect):
    client.compress()
    for number in 1, 2:
        client.send(b"i IDLE\r\n")
        assert client.line() == b"+ idling"
        connect().append(MESSAGE)
        assert client.line() == b"* %d EXISTS" % number
        client.send(b"DONE\r\nj NOOP\r\n")
        client.until(b"i OK")
        client.until(b"j OK")


def test_idle_and_done_in_one_piece(client):
    client.compress()
    client.send(b"i IDLE\r\nDONE\r\nj NOOP\r\n")
    client.until(b"i OK")
    client.until(b"j OK")


@pytest.mark.parametrize("waiting", [b"", b"a IDLE\r\n", b"a APPEND INBOX {100}\r\n"])
def test_a_stop_is_told(client, waiting):
    client.compress()
    if waiting:
        client.send(waiting)
        client.until(b"+ ")
    client.connection.interrupt()
    assert client.line() == b"* BYE [UNAVAILABLE] The server is shutting down"
    assert client.line() == b""


def test_silence_is_told(server, connect):
    client = connect(server=server._replace(limits=Limits(imap_idle_timeout=0.2)))
    client.compress()
    assert client.line() == b"* BYE Idle timeout, closing connection"
    assert client.line() == b""


def test_half_a_compressed_command_has_a_time(server, connect):
    client = connect(server=server._replace(limits=Limits(command_timeout=0.2)))
    client.compress()
    client.send(b"a NOO")
    assert client.line() == b"* BYE Idle timeout, closing connection"


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_message_that_is_cut_off_is_not_appended(client, connect, tmp_path, cut):
    client.compress()
    client.send(b"a APPEND INBOX {%d}\r\n" % len(MESSAGE))
    client.until(b"+ ")
    client.socket.sendall(client._deflate(MESSAGE + b"\r\n")[:cut])
    client.close()
    assert not list((tmp_path / "mail" / "tmp").iterdir())
    assert b"* 0 EXISTS" in connect(None).ok("SELECT INBOX")


# -- bombs

def test_an_endless_line_ends_the_connection(client):
    client.compress()
    packed = client._deflate(b"x" * (64 << 20))
    assert len(packed) < 100000
    client.socket.sendall(packed)
    assert client.line() == b""


def test_a_long_line_is_dropped(client):
    client.compress()
    client.send(b"a " + b"x" * 1000000 + b"\r\n")
    assert client.line() == b"a BAD Line too long"
    client.ok("NOOP")


@pytest.mark.parametrize("command", [b"SEARCH TEXT {1000000+}", b"APPEND INBOX {1000000+}"])
def test_a_large_literal_is_dropped(store, tmp_path, command):
    limits = Limits()._replace(message_size=100000)
    with wire.Client(wire.server(store, tmp_path / "mail", limits=limits)) as client:
        client.log_in("INBOX")
        client.compress()
        client.send(b"a %b\r\n%b\r\nb NOOP\r\n" % (command, b"x" * 1000000))
        assert b"[TOOBIG]" in client.line()
        assert client.line() == b"b OK NOOP completed"


def test_a_literal_of_16_times_the_largest_message_ends_the_connection(store, tmp_path):
    limits = Limits()._replace(message_size=100000)
    with wire.Client(wire.server(store, tmp_path / "mail", limits=limits)) as client:
        client.log_in("INBOX")
        client.compress()
        client.send(b"a APPEND INBOX {1600001+}\r\n")
        assert client.until(b"* BYE")[-1].startswith(b"* BYE [TOOBIG]")
