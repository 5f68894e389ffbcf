"""Reading commands whole and byte by byte; literals that are accepted, refused or dropped."""
import pytest

from phenmail_protocols.imap import reader
from phenmail_protocols.imap.syntax import values
from phenmail_protocols.net.lines import BoundedReader
from phenmail_protocols.protocol.session import TooMuchInput


class Wire(BoundedReader):
    """A connection with all its input, in pieces of `cut` octets."""

    def __init__(self, data, cut=1 << 20):
        BoundedReader.__init__(self)
        self._pieces = [data[start:start + cut] for start in range(0, len(data), cut)]
        self.asked = []
        self.received = []

    def _receive(self, limit):
        piece = self._pieces.pop(0)
        if len(piece) > limit:
            self._pieces.insert(0, piece[limit:])
        return piece[:limit]

    def acknowledge(self):
        """Only a socket needs to be told."""


def read(data, cut=1 << 20, logged_in=True, largest=1 << 20):
    wire = Wire(data + b"next NOOP\r\n", cut)
    return reader.Reader(wire, wire.asked.append, wire.received.append, largest), wire


CASES = [
    (b"a NOOP\r\n", [b"a NOOP"], 0),
    (b"a NOOP\n", [b"a NOOP"], 0),
    (b"a LOGIN {1}\r\nu {2}\r\npp\r\n", [b"a LOGIN ", b"u", b" ", b"pp", b""], 2),
    (b"a LOGIN {1+}\r\nu {2+}\r\n\r\n\r\n", [b"a LOGIN ", b"u", b" ", b"\r\n", b""], 0),
    (b"a LOGIN {0+}\r\n {0}\r\n\r\n", [b"a LOGIN ", b"", b" ", b"", b""], 1),
    (b'a LOGIN u "{3}"\r\n', [b'a LOGIN u "{3}"'], 0),
    (b"\r\n", [b""], 0),
]


@pytest.mark.parametrize("cut", [1 << 20, 1])
@pytest.mark.parametrize("data, parts, asked", CASES)
def test_commands(data, parts, asked, cut):
    take, wire = read(data, cut)
    assert take.command(True) == (parts, None)
    assert len(wire.asked) == asked
    assert take.command(True).parts == [b"next NOOP"]


@pytest.mark.parametrize("cut", [1 << 20, 1])
@pytest.mark.parametrize("mark, non_sync", [(b"{5}", False), (b"{5+}", True)])
def test_append_leaves_its_message_on_the_wire(cut, mark, non_sync):
    take, wire = read(b"a APPEND {5+}\r\nINBOX (\\Seen) " + mark + b"\r\nhello\r\n", cut)
    taken = take.command(True)
    assert taken.parts[:3] == [b"a APPEND ", b"INBOX", b" (\\Seen) "]
    assert isinstance(taken.parts[3], values.StreamedLiteral) and taken.parts[3].size == 5
    assert taken.body == (5, non_sync) and not wire.asked
    got = []
    assert take.body(taken.body, got.append) == ([b""], None)
    assert b"".join(got) == b"hello" and sum(wire.received) == 5
    assert len(wire.asked) == (not non_sync)
    assert take.command(True).parts == [b"next NOOP"]


def test_append_before_login_is_a_command_like_others():
    take, _ = read(b"a APPEND INBOX {5+}\r\nhello\r\n")
    assert take.command(False).body is None


@pytest.mark.parametrize("logged_in, limit", [(False, reader.LITERAL_BEFORE_LOGIN),
                                              (True, reader.LITERAL)])
def test_too_big_a_literal(logged_in, limit):
    fits = b"a LOGIN {%d+}\r\n%s x\r\n" % (limit, b"u" * limit)
    take, _ = read(fits)
    assert len(take.command(logged_in).parts) == 3
    # the client that does not wait: all is dropped, further literals of the command, too
    take, wire = read(b"a LOGIN {%d+}\r\n%s {3+}\r\nabc\r\n" % (limit + 1, b"u" * (limit + 1)))
    with pytest.raises(reader.CommandRefused) as refused:
        take.command(logged_in)
    assert refused.value.tag == b"a" and refused.value.code == b"TOOBIG" and not wire.asked
    assert take.command(logged_in).parts == [b"next NOOP"]
    # the client that waits sends nothing
    take, wire = read(b"a LOGIN {%d}\r\n" % (limit + 1))
    with pytest.raises(reader.CommandRefused):
        take.command(logged_in)
    assert not wire.asked
    assert take.command(logged_in).parts == [b"next NOOP"]


def test_absurd_literals_end_the_connection():
    take, _ = read(b"a LOGIN {99999999999999999999+}\r\n")
    with pytest.raises(TooMuchInput):
        take.command(True)


def test_many_small_literals_are_too_many():
    take, _ = read(b"a SEARCH" + b" {1+}\r\nx" * 600 + b"\r\n")
    with pytest.raises(reader.CommandRefused):
        take.command(True)
    assert take.command(True).parts == [b"next NOOP"]


def test_all_literals_together_have_a_limit():
    take, _ = read(b"a SEARCH" + (b" {60000+}\r\n" + b"x" * 60000) * 6 + b"\r\n")
    with pytest.raises(reader.CommandRefused):
        take.command(True)
    assert take.command(True).parts == [b"next NOOP"]


@pytest.mark.parametrize("logged_in, limit", [(False, reader.LINE), (True, reader.LINE)])
def test_too_long_a_line(logged_in, limit):
    take, _ = read(b"a NOOP " + b"x" * limit + b"\r\n")
    with pytest.raises(reader.CommandRefused) as refused:
        take.command(logged_in)
    assert refused.value.tag == b"a"
    assert take.command(logged_in).parts == [b"next NOOP"]


@pytest.mark.parametrize("cut", [1 << 20, 7])
def test_what_too_long_a_line_announces_is_no_command(cut):
    take, _ = read(b"a NOOP " + b"x" * reader.LINE + b" {8+}\r\nb NOOP\r\n {3+}\r\nc d\r\n", cut)
    with pytest.raises(reader.CommandRefused):
        take.command(True)
    assert take.command(True).parts == [b"next NOOP"]


def test_too_long_a_line_behind_a_literal_has_its_tag():
    take, _ = read(b"a LOGIN {1+}\r\nu" + b"x" * reader.LINE + b"\r\n")
    with pytest.raises(reader.CommandRefused) as refused:
        take.command(True)
    assert refused.value.tag == b"a"
    assert take.command(True).parts == [b"next NOOP"]


@pytest.mark.parametrize("data", [b"hello\r\n", b"hello {3+}\r\nabc\r\n", b"hello {3}\r\n",
                                  b"hello" + b"x" * reader.LINE + b"\r\n"])
def test_a_message_that_nobody_wants(data):
    take, wire = read(b"a APPEND INBOX {5+}\r\n" + data)
    take.drop(take.command(True).body)
    assert not wire.asked
    assert take.command(True).parts == [b"next NOOP"]


def test_a_message_that_nobody_wants_and_the_client_waits():
    take, wire = read(b"a APPEND INBOX {5}\r\n")
    take.drop(take.command(True).body)
    assert not wire.asked
    assert take.command(True).parts == [b"next NOOP"]


@pytest.mark.parametrize("rest, part", [
    (b" {8+}\r\nb NOOP\r\n\r\n", b" "), (b" {8}\r\n", b" "), (b") ~{8+}\r\nb NOOP\r\n\r\n", b") ~"),
    (b" (x) {8+}\r\n1 2 3 45 {1+}\r\nx\r\n", b" (x) ")])
def test_a_second_message_stays_on_the_wire(rest, part):
    take, wire = read(b"a APPEND INBOX {5+}\r\nhello" + rest)
    following = take.body(take.command(True).body, lambda data: None)
    assert following.parts == [part, (8,), b""] and following.body == (8, b"+" in rest)
    take.drop(following.body)
    assert take.command(True).parts == [b"next NOOP"] and not wire.asked


def test_too_long_a_line_behind_a_message_is_never_valid():
    rest = b" " + b"x" * reader.LINE + b"{3+}\r\nabc\r\n"
    take, _ = read(b"a APPEND INBOX {5+}\r\nhello" + rest)
    following = take.body(take.command(True).body, lambda data: None)
    assert following.parts[0].startswith(b"\0") and following.body.size == 3
    take.drop(following.body)
    assert take.command(True).parts == [b"next NOOP"]


def test_tag_of():
    assert reader.tag_of([]) is None
    assert reader.tag_of([b"a1 LOGIN "]) == b"a1"
    assert reader.tag_of([b"(a) LOGIN "]) is None
    assert reader.tag_of([b"a.1"]) == b"a.1"
