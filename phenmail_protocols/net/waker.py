"""Waking a thread that waits in `Connection.wait` or in the listener's loop."""
import socket
import threading


class Waker:
    """Ends one wait from any thread. It costs two descriptors, so IDLE makes one and closes it.

    `set` does nothing after `close`: a late call must not write into a descriptor that the system
    has given to another file since.
    """

    __slots__ = ("_reader", "_writer", "_lock", "_is_set")

    def __init__(self):
        self._reader, self._writer = socket.socketpair()
        self._lock = threading.Lock()
        self._is_set = False

    def set(self):
        """End the present or the next wait, until `clear`."""
        with self._lock:
            if not self._is_set and self._writer is not None:
                self._is_set = True
                self._writer.send(b"w")

    def clear(self):
        """Undo `set`. Call it before looking for changes, so that none is missed."""
        with self._lock:
            if self._is_set and self._reader is not None:
                self._is_set = False
                self._reader.recv(1)

    def fileno(self):
        """A descriptor that is readable while this is set."""
        return self._reader.fileno()

    def close(self):
        """Close both descriptors."""
        with self._lock:
            reader, writer, self._reader, self._writer = self._reader, self._writer, None, None
        for end in (reader, writer):
            if end is not None:
                end.close()
