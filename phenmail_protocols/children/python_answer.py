"""What a Python filter answered, as values. Pure; accepts any bytes.

`python_child` describes the lines. A script can write anything into its answer, so nothing here
allows more than a script may ask for anyway.
"""
import signal
from typing import NamedTuple, Optional, Tuple

from ..config.addresses import is_mail_address
from ..config.filtering import flag_named
from ..mail.writing import printable
from .python_limits import MOST_COPIES, MOST_FLAGS

_MOST_LOG_LINES, _LONGEST_LOG_LINE = 5, 200

# The limit of processor time equals that of wall time, so the kernel may be first to enforce it.
_OUT_OF_TIME = "signal %d" % getattr(signal, "SIGXCPU", -1)
_DECISIONS = ("accept", "reject", "discard", "forward")


class Decision(NamedTuple):
    """`word`: accept, reject, discard or forward; `argument`: the mailbox, the reason, "" or the
    address, as config.filtering.split_action gives them.
    """
    word: str
    argument: str = ""


class Result(NamedTuple):
    """What one Python filter decided.

    `decision`: None asks the next filter. `flags`, `copies` (addresses): what else the script
    wants; empty if it failed without a decision. `log_lines`: for the user's log, without text of
    the message; empty if all went well.
    """
    decision: Optional[Decision] = None
    flags: Tuple[str, ...] = ()
    copies: Tuple[str, ...] = ()
    log_lines: Tuple[str, ...] = ()


def failed(text):
    """The Result of a filter that did not run; `text` (str) says why."""
    return Result(log_lines=(text,))


def read(data, seconds):
    """The bytes of an answer -> Result. `seconds`: how long the script was allowed to run.

    The first decision stands, whatever follows it.
    """
    answer = _Answer()
    for line in data.decode("utf-8", "replace").split("\n"):
        answer.take(line)
    return answer.result(seconds)


class _Answer:
    """What the lines up to now said. `garbage`: a line of no known form came."""

    def __init__(self):
        self.decision, self.ended, self.garbage = None, False, False
        self.flags, self.copies, self.log_lines, self.process_end = [], [], [], ""

    def take(self, line):
        word, _, text = line.partition(" ")
        if word in _DECISIONS:
            self._decide(word, text)
        elif word == "flag":
            self._add(self.flags, flag_named(text), MOST_FLAGS, "flag(): not a flag")
        elif word == "copy":
            address = text if is_mail_address(text) else None
            self._add(self.copies, address, MOST_COPIES, "copy(): not an address")
        elif word == "error":
            self.log_lines.append(printable(text[:_LONGEST_LOG_LINE]))
        elif word == "end":
            self.ended = True
        elif word in ("exit", "signal", "late"):
            self.process_end = line
        elif line and word != "begun":
            self.garbage = True

    def _decide(self, word, text):
        if self.decision is not None or self.garbage:
            return
        if word == "forward" and not is_mail_address(text):
            self.log_lines.append("forward(): not an address")
            self.garbage = True
        elif word == "accept" and not text:
            self.garbage = True
        else:
            self.decision = Decision(word, text)

    def _add(self, found, value, most, complaint):
        if self.decision is None and value not in found:
            if value is None or len(found) >= most:
                self.log_lines.append(complaint)
            else:
                found.append(value)

    def result(self, seconds):
        problem = self._problem(seconds)
        if problem:
            self.log_lines.append(problem)
        log_lines = tuple(dict.fromkeys(self.log_lines))[:_MOST_LOG_LINES]
        if self.decision is None and (self.log_lines or self.garbage):
            return Result(log_lines=log_lines)
        return Result(self.decision, tuple(self.flags), tuple(self.copies), log_lines)

    def _problem(self, seconds):
        """What went wrong with the process, "" if nothing did."""
        word, _, number = self.process_end.partition(" ")
        if word == "late" or self.process_end == _OUT_OF_TIME:
            return "stopped: it did not end within %g s" % seconds
        if self.ended:
            return "" if not self.garbage or self.log_lines else "its answer is invalid"
        if word == "signal":
            return "signal %s ended it" % printable(number[:_LONGEST_LOG_LINE])
        return "its answer is invalid" if self.garbage else "it ended without an answer"
