"""What comes back from a script's process: any octets at all."""

import signal

import pytest
from hypothesis import given, settings, strategies

from phenmail_protocols.children.python_answer import Decision, Result, read
from phenmail_protocols.children.python_limits import ANSWER_OCTETS

LINES = strategies.lists(strategies.one_of(
    strategies.sampled_from([
        b"accept a", b"accept ", b"reject", b"discard", b"forward a@example.org", b"forward x",
        b"flag work", b"flag a b",
        b"copy x", b"copy a@example.org", b"error line 1: X", b"end", b"exit 0", b"exit x",
        b"signal 9", b"late", b"begun 1"]),
    strategies.binary(max_size=20)), max_size=12)


@settings(max_examples=300)
@given(LINES)
def test_any_lines(lines):
    result = read(b"\n".join(lines), 2.0)
    assert isinstance(result, Result)
    assert all(text.isprintable() and len(text) <= 200
               for text in result.log_lines) and len(result.log_lines) <= 5
    if result.decision is None and result.log_lines:
        assert result.flags == result.copies == ()
    if result.decision is not None:
        assert isinstance(result.decision, Decision)
        decisions = [line.decode("utf-8", "replace") for line in b"\n".join(lines).split(b"\n")
                     if line.split(b" ")[0] in (b"accept", b"reject", b"discard", b"forward")]
        assert " ".join(result.decision).rstrip() == decisions[0].rstrip()
    if result == Result():
        said = b"\n".join(lines).split(b"\n")
        assert any(line == b"end" or line.startswith(b"end ")
                   for line in said), "silence is no answer"


@given(strategies.binary(max_size=300))
def test_any_octets(data):
    assert isinstance(read(data, 2.0), Result)


@pytest.mark.parametrize("data, result", [
    (b"begun 1\nend \n\nexit 0\n", Result()),
    (b"begun 1\naccept a\nend \n\nexit 0\n", Result(Decision("accept", "a"))),
    (b"begun 1\naccept a\nreject b\nflag c\nend \n\nexit 0\n", Result(Decision("accept", "a"))),
    (b"begun 1\nflag a\nend \n\nexit 0\n", Result(None, ("a",))),
    (b"begun 1\nflag a\nerror line 1: X\nend \n\nexit 0\n", Result(log_lines=("line 1: X",))),
    (b"begun 1\nflag a\n\nlate\n", Result(log_lines=("stopped: it did not end within 2 s",))),
    (b"begun 1\nflag a\naccept b\n\nlate\n",
     Result(Decision("accept", "b"), ("a",), log_lines=("stopped: it did not end within 2 s",))),
    (b"begun 1\n\nsignal 11\n", Result(log_lines=("signal 11 ended it",))),
    (b"begun 1\n\nsignal %d\n" % signal.SIGXCPU,
     Result(log_lines=("stopped: it did not end within 2 s",))),
    (b"begun 1\n\nexit 0\n", Result(log_lines=("it ended without an answer",))),
    (b"begun 1\n", Result(log_lines=("it ended without an answer",))),
    (b"", Result(log_lines=("it ended without an answer",))),
    (b"begun 1\ngarbage\naccept a\nend \n", Result(log_lines=("its answer is invalid",))),
    (b"begun 1\naccept a\ngarbage\nend \n\nexit 0\n",
     Result(Decision("accept", "a"), log_lines=("its answer is invalid",))),
    (b"begun 1\nforward x\naccept a\nend \n", Result(log_lines=("forward(): not an address",))),
    (b"begun 1\nerror \x1b[2J\xff\nend \n", Result(log_lines=(" [2J\ufffd",))),
    (b"error x\n" * 1000, Result(log_lines=("x", "it ended without an answer"))),
])
def test_answers(data, result):
    assert read(data, 2.0) == result


def test_bounds():
    many = b"".join(b"flag f%d\n" % number for number in range(5000))[:ANSWER_OCTETS]
    result = read(many + b"\naccept a\nend \n", 2.0)
    assert result.decision == Decision("accept", "a") and len(result.flags) == 100
    assert result.log_lines == ("flag(): not a flag",)
    assert read(b"error " + b"x" * 1000 + b"\x1b\nend \n", 2.0).log_lines == ("x" * 200,)
