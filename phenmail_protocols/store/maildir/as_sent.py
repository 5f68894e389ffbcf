"""A message exactly as it was sent, for messages that may have binary content.

Files in a mailbox have other line ends (staged.py), which binary content would not survive. So such
a message is collected here until it is known what it has.
"""
from .. import errors

_CHUNK = 65536
_IN_MEMORY = 262144  # octets; larger messages go to a file


class AsSent:
    """Octets in memory, or in a file without a name in `tmp`. All methods but `close` may raise
    errors.StoreError, and errors.NoSpace if the disk is full."""

    def __init__(self, folder):
        import tempfile  # imported late: few clients send such messages
        self.size = 0
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=folder + "/tmp")

    def write(self, data):
        """Take the next octets."""
        self.size += len(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise errors.from_os(error) from error

    def chunks(self, start, end):
        """Yield the octets between these offsets."""
        while start < end:
            try:
                self._file.seek(start)
                data = self._file.read(min(_CHUNK, end - start))
            except OSError as error:
                raise errors.from_os(error) from error
            if not data:
                raise errors.Unavailable()
            start += len(data)
            yield data

    def close(self):
        """Forget the octets."""
        try:
            self._file.close()
        except OSError:
            pass
