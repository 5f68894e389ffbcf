"""Lines that every server has to accept (RFC 2683 3.2.1.5: 8000 octets); too many errors."""
import pytest

from phenmail_protocols.config.settings import Limits

from . import wire

NUMBERS = ",".join(str(number) for number in range(100000, 101200))  # of 8 399 octets
KEYWORDS = " ".join("$K%d" % (number % 20) for number in range(1800))


@pytest.mark.parametrize("command", [
    "UID FETCH %s FLAGS" % NUMBERS, "UID STORE %s +FLAGS.SILENT (\\Seen)" % NUMBERS,
    "UID COPY %s Sent" % NUMBERS, "UID MOVE %s Sent" % NUMBERS, "UID EXPUNGE %s" % NUMBERS,
    "UID SEARCH UID %s" % NUMBERS, "SEARCH NOT UID %s" % NUMBERS,
    "SEARCH SUBJECT %s" % ("x" * 8000), "SEARCH %s" % ("NOT DELETED " * 700 + "ALL"),
    "UID FETCH 1 (%s)" % " ".join("BODY.PEEK[HEADER.FIELDS (X-%d)]" % number
                                  for number in range(250)),
    "UID FETCH 1 BODY.PEEK[HEADER.FIELDS (%s)]" % " ".join(
        "X-%d" % number for number in range(1600)),
    "UID STORE 1 +FLAGS.SILENT (%s)" % KEYWORDS, "UID STORE 1 FLAGS.SILENT %s" % KEYWORDS,
    "STATUS INBOX (%s)" % " ".join(["MESSAGES"] * 900),
    "ENABLE %s" % " ".join("X%d" % number for number in range(1700)),
])
def test_a_line_of_more_than_8000_octets(client, command):
    assert len(command) >= 8000
    client.append(b"A: b\r\n\r\n")
    client.ok(command)


@pytest.mark.parametrize("wrong", ["FOO", "FETCH 1:x FLAGS", "FETCH 99 FLAGS", "STARTTLS"])
def test_ten_errors_in_a_row_end_a_session(connect, wrong):
    client = connect()
    for _ in range(Limits().errors - 1):
        assert client.ask(wrong)[-1].startswith(b"BAD")
    assert client.ask(wrong)[-1].startswith(b"BAD") and client.line().startswith(b"* BYE")


@pytest.mark.parametrize("right", ["NOOP", "STATUS INBOX (MESSAGES)"])
def test_errors_of_a_whole_day_do_not(connect, right):
    client = connect()
    for _ in range(3):
        for _ in range(Limits().errors - 1):
            assert client.ask("FETCH 99 FLAGS")[-1].startswith(b"BAD")
        client.ok(right)
    client.ok("CHECK")


def test_a_refusal_neither_counts_nor_breaks_the_row(connect):
    client = connect()
    for _ in range(Limits().errors - 1):
        client.ask("FOO")
    for _ in range(Limits().errors):
        assert client.ask("SELECT nowhere")[-1].startswith(b"NO")
    client.ask("FOO")
    assert client.line().startswith(b"* BYE")


def test_failed_logins_are_counted_whatever_lies_between(store, tmp_path):
    with wire.Client(wire.server(store, tmp_path / "mail")) as client:
        for _ in range(Limits().login_failures - 1):
            assert client.ask("LOGIN u wrong")[-1].startswith(b"NO")
            client.ok("NOOP")
        assert client.ask("LOGIN u wrong")[-1].startswith(b"NO")
        assert client.line().startswith(b"* BYE")
