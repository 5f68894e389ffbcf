"""What the user sees."""
import pytest

from phenmail_protocols.fetch.adopting.progress import Progress, amount, duration, estimate


class Screen(object):

    def __init__(self, is_terminal):
        self.text, self.now = "", 100.0
        self.progress = Progress(self.write, is_terminal, lambda: self.now, self.sleep,
                                 lambda: self.now)

    def write(self, text):
        self.text += text

    def sleep(self, seconds):
        self.now += max(seconds, 0.01)


def test_a_line_that_is_written_over():
    screen = Screen(True)
    screen.progress.begin(100, 400000)
    screen.progress.box("INBOX")
    for _ in range(50):
        screen.now += 1
        screen.progress.advance(1, 4000)
    lines = screen.text.split("\r")
    assert lines[-1].rstrip() == "INBOX: 50 of 100 messages, 200 KB of 400 KB, 50 s left"
    assert "\n" not in screen.text
    screen.progress.say("done")
    assert screen.text.endswith("\rdone\n")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_there_cannot_change_the_terminal(is_terminal):
    screen = Screen(is_terminal)
    screen.progress.begin(1, 1)
    screen.progress.box("\x1b]0;x\x07\x9b2J\n")
    screen.progress.advance(1, 1)
    screen.progress.say("\x1b[2J does not exist there any more")
    assert not set(screen.text) & set("\x1b\x07\x9b") and screen.text.count("\n") <= 2


def test_without_a_terminal_there_are_few_lines():
    screen = Screen(False)
    screen.progress.begin(1000, 4000)
    for _ in range(1000):
        screen.now += 0.3
        screen.progress.advance(1, 4)
    assert 4 <= screen.text.count("\n") <= 6


def test_more_than_was_announced():
    screen = Screen(False)
    screen.progress.begin(1, 10)
    screen.now += 10
    for _ in range(3):
        screen.progress.advance(1, 100)
    assert "3 of 3 messages, 300 octets of 300 octets" in screen.progress.line()


def test_a_pause():
    screen = Screen(False)
    screen.progress.begin(1, 10)
    screen.progress.pause(7300, "The disk is full")
    assert 7300 <= screen.now - 100 < 7302
    assert screen.text.startswith("The disk is full; continues at 1970-01-01 ")
    assert "(2.0 h). Ctrl-C stops; the same command resumes later.\n" in screen.text


@pytest.mark.parametrize("function, value, expected", [
    (amount, 999, "999 octets"), (amount, 1000, "1 KB"), (amount, 1234567, "1.23 MB"),
    (amount, 2500000000, "2.5 GB"), (amount, 1e12, "1000 GB"),
    (duration, 0.1, "1 s"), (duration, 59, "59 s"), (duration, 90, "2 min"),
    (duration, 6000, "1.7 h"), (duration, 500000, "5.8 days")])
def test_words(function, value, expected):
    assert function(value) == expected


def test_estimates():
    assert estimate(1000, 20000000) == 20.0
    assert estimate(10, 25000, limit=10000) == 2.5 * 86400 - 86400
