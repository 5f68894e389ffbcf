"""What a client does after COMPRESS=DEFLATE (RFC 4978), for tests: with Python's zlib alone."""
import io
import zlib


def deflater(level=6, bits=15):
    """-> function: octets -> compressed and flushed octets."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return lambda data: compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)


class Inflated(io.RawIOBase):
    """A buffered file of compressed octets -> what they inflate to."""

    def __init__(self, stream):
        self._stream = stream
        self._inflater = zlib.decompressobj(-15)

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            rest = self._inflater.unconsumed_tail or self._stream.read1(65536)
            inflated = self._inflater.decompress(rest, len(buffer))
            if inflated or not rest:
                buffer[:len(inflated)] = inflated
                return len(inflated)

    def close(self):
        self._stream.close()
        super().close()


def inflated(stream):
    """-> a buffered file, with `readline`."""
    return io.BufferedReader(Inflated(stream))
