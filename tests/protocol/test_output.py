"""Replies are joined into large writes, and the deadline grows with what is sent."""
import pytest

from phenmail_protocols.net.errors import Disconnected, Overdue
from phenmail_protocols.protocol.output import LAST_WORDS, PIECE, Output


class Connection:
    """Notes what is written, and by how much the deadline was moved."""

    def __init__(self, end=None):
        self.written, self.extended, self.deadline, self.end = [], 0.0, None, end

    def set_deadline(self, seconds):
        self.deadline = seconds

    def extend_deadline(self, seconds):
        assert seconds >= 0
        self.extended += seconds

    def write(self, data):
        self.written.append(data)

    def look(self, peer):
        if self.end is not None:
            raise self.end()


def test_output_is_joined():
    connection = Connection()
    output = Output(connection, 1024)
    for _ in range(3 * PIECE):
        output.write(b"x")
    output.write(b"")
    output.flush()
    output.flush()
    assert [len(piece) for piece in connection.written] == [PIECE] * 3


def test_what_is_sent_and_received_extends_the_deadline():
    connection = Connection()
    output = Output(connection, 1000)
    output.write(b"x" * 500)
    assert not connection.written and not connection.extended
    output.flush()
    output.allow(2000)
    assert connection.extended == 2.5


def test_a_command_that_took_too_long_has_time_for_its_reply():
    connection = Connection(Overdue)
    with pytest.raises(KeyError):
        Output(connection, 1, KeyError).look()
    assert connection.deadline == LAST_WORDS
    with pytest.raises(Disconnected):
        Output(Connection(Disconnected), 1, KeyError).look()
