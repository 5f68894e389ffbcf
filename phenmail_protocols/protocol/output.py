"""Sends replies to the client: joins them into large writes, within the command's deadline.

The deadline is the connection's. A command has a fixed time, plus the time that its octets need
at the lowest accepted speed. So a large message may take long, but a client that stops reading is
disconnected.
"""
from ..net.errors import Overdue

PIECE = 65536  # octets: replies are joined until they have this size
LAST_WORDS = 30.0  # seconds to send the reply to a command that took too long


class Output:
    """`slowest`: octets a second; `piece`: octets that are sent at once; `overdue()`: makes the
    exception that `look` raises when the command has taken too long."""

    __slots__ = ("_connection", "_slowest", "_overdue", "_piece", "_waiting", "_size")

    def __init__(self, connection, slowest, overdue=Overdue, piece=PIECE):
        self._connection = connection
        self._slowest = slowest
        self._overdue = overdue
        self._piece = piece
        self._waiting = []
        self._size = 0

    def write(self, data):
        """Send `data` with the next `flush`, or at once if a piece is full."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= self._piece:
            self.flush()

    def flush(self):
        """Send the collected data. Raises Disconnected."""
        if not self._size:
            return
        waiting, size = self._waiting, self._size
        self._waiting, self._size = [], 0
        self._connection.extend_deadline(size / self._slowest)
        self._connection.write(b"".join(waiting) if len(waiting) > 1 else waiting[0])

    def allow(self, octets):
        """Extend the deadline, because these octets cross the wire in either direction."""
        self._connection.extend_deadline(octets / self._slowest)

    def look(self, peer=True):
        """Long commands call this between small steps; see `Connection.look`."""
        try:
            self._connection.look(peer)
        except Overdue:
            self._connection.set_deadline(LAST_WORDS)
            raise self._overdue() from None
