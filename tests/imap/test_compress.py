"""COMPRESS=DEFLATE (RFC 4978)."""
import zlib

MESSAGE = b"From: a@example.org\r\nSubject: hello\r\n\r\n" + b"How are you?\r\n" * 400


def test_all_is_compressed_behind_the_tagged_response(client):
    client.send(b"a COMPRESS DEFLATE\r\n")
    assert client.line() == b"a OK DEFLATE active"
    compressor, inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)
    client.send(compressor.compress(b"b NOOP\r\n") + compressor.flush(zlib.Z_SYNC_FLUSH))
    assert inflater.decompress(client.socket.recv(1000)) == b"b OK NOOP completed\r\n"


def test_a_session(client, connect):
    client.compress()
    assert client.append(MESSAGE)[-1].startswith(b"OK [APPENDUID")
    assert MESSAGE in client.ok("FETCH 1 BODY[]")[0]
    other = connect()
    assert MESSAGE in other.ok("FETCH 1 BODY[]")[0]


def test_mechanisms_have_any_case(client):
    client.send(b"a compress deflate\r\n")
    assert client.line() == b"a OK DEFLATE active"
