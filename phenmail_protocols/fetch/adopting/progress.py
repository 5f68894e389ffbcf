"""What the user sees while mail is copied: how far it is, how long it will take, and pauses."""
import time

from ...mail.writing import printable

_EVERY = 0.5  # seconds between two updates of a terminal's line
_EVERY_PLAIN = 60.0  # seconds between two lines where there is no terminal
_WINDOW = 60.0  # seconds whose speed the estimate is based on
_LOOK = 1.0  # seconds of one part of a pause
# Octets that a message takes besides its own: the time for each message, at usual speeds.
EACH = 20000
_ASSUMED = 2000000  # octets in a second, before anything was measured


class Progress:
    """`write(text)`: shows text to the user; `is_terminal`: a line may be written over itself;
    `clock`, `sleep`: as in `time`."""

    def __init__(self, write, is_terminal=False, clock=time.monotonic, sleep=time.sleep,
                 wall=time.time):
        self._write = write
        self._is_terminal = is_terminal
        self._clock = clock
        self._sleep = sleep
        self._wall = wall
        self._total = self._done = (0, 0)  # messages, octets
        self._samples = []  # (time, work done)
        self._shown_at = -_EVERY_PLAIN
        self._on_line = 0  # characters of the line that can be written over
        self._box = ""

    def begin(self, messages, octets):
        """So much is to be copied."""
        self._total = messages, octets
        self._samples = [(self._clock(), 0)]

    def box(self, name):
        """The next mailbox."""
        self._box = name

    def advance(self, messages, octets):
        """So much was copied, or skipped."""
        self._done = self._done[0] + messages, self._done[1] + octets
        now = self._clock()
        if now - self._samples[-1][0] >= 1:
            self._samples.append((now, _work(*self._done)))
            while len(self._samples) > 2 and now - self._samples[1][0] > _WINDOW:
                self._samples.pop(0)
        if now - self._shown_at >= (_EVERY if self._is_terminal else _EVERY_PLAIN):
            self._shown_at = now
            self._show(self.line())

    def line(self):
        """How far it is, in words."""
        messages, octets = self._total
        return "%s: %d of %d messages, %s of %s%s" % (
            self._box, self._done[0], max(messages, self._done[0]), amount(self._done[1]),
            amount(max(octets, self._done[1])), self._left())

    def _left(self):
        begin, before = self._samples[0]
        seconds = self._clock() - begin
        work = _work(*self._done) - before
        if seconds < 3 or work <= 0:
            return ""
        left = max(0, _work(*self._total) - _work(*self._done)) * seconds / work
        return ", %s left" % duration(left)

    def _show(self, text):
        text = printable(text)
        if not self._is_terminal:
            self._write(text + "\n")
            return
        text = text[:79]
        self._write("\r" + text + " " * (self._on_line - len(text)))
        self._on_line = len(text)

    def say(self, text):
        """Write a line that stays."""
        if self._on_line:
            self._write("\r" + " " * self._on_line + "\r")
            self._on_line = 0
        self._write(printable(text) + "\n")

    def pause(self, seconds, why):
        """Say why and until when, and wait. KeyboardInterrupt ends it."""
        seconds = max(1.0, seconds)
        until = self._wall() + seconds
        form = "%H:%M:%S" if seconds < 3600 else "%Y-%m-%d %H:%M"
        self.say("%s; continues at %s (%s). Ctrl-C stops; the same command resumes later." % (
            why, time.strftime(form, time.localtime(until)), duration(seconds)))
        # By the wall clock as well: a laptop may sleep meanwhile.
        end = self._clock() + seconds
        while self._clock() < end and self._wall() < until:
            self._sleep(min(_LOOK, max(0.0, end - self._clock())))
        self._samples = [(self._clock(), _work(*self._done))]


def _work(messages, octets):
    return messages * EACH + octets


def estimate(messages, octets, limit=0):
    """About how many seconds copying takes. `limit`: octets a day, 0 for none."""
    seconds = _work(messages, octets) / _ASSUMED
    return max(seconds, octets / limit * 86400 - 86400 if limit else 0)


def amount(octets):
    """Octets in words."""
    for unit in ("octets", "KB", "MB"):
        if octets < 1000:
            return "%.3g %s" % (octets, unit)
        octets /= 1000.0
    return "%.1f GB" % octets if octets < 100 else "%d GB" % octets


def duration(seconds):
    """Seconds in words, roughly."""
    if seconds < 60:
        return "%d s" % max(1, seconds)
    if seconds < 5400:
        return "%d min" % round(seconds / 60)
    if seconds < 172800:
        return "%.1f h" % (seconds / 3600)
    return "%.1f days" % (seconds / 86400)
