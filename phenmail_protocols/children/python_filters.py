"""Python filters: scripts that users wrote, each asked about one message in its own process.

A script gets the standard library; `msg`, an email.message.Message of the first MESSAGE_OCTETS (if
those have too many lines or parts for the email package, only the header is parsed, and the body is
one text); `envelope`, a dict of sender, recipient, tag, auth (str) and size (of the whole message);
and accept(mailbox="INBOX"), reject(reason), discard(), forward(address), flag(name) and
copy(address). The first decision stands and ends the script.

The caller decides whether a script may run. `python_limits` has all numbers. What is promised,
also against a hostile script, if the server is root and so runs each owner's scripts as that owner:

1. A script has its owner's rights and no others: not the server's, nor its descriptors,
   environment, standard streams or working directory.
2. Each message has a new fork of a process in which no script ever ran. Nothing that a script does
   to Python, signals, descriptors or threads affects the next message.
3. A script ends: after SECONDS of wall time or as much processor time, its process group is killed.
   It cannot write files (it can create empty ones and remove its owner's) and cannot start
   processes or threads; its memory and descriptors are limited.
4. The message is delivered in any case: by the decision, or by the next filter with a line in the
   user's log.
5. The number of scripts at work is limited, in all and for each script. One that hangs delays only
   its own messages, unless there are several.

Not promised:

- that a script cannot use the network, read what its owner may read, or signal its owner's
  processes, such as the one that it was forked from (which is then replaced; the script is killed
  in time).
- if the server is an ordinary user: that scripts cannot reach its files and the server itself.
  They run as that user then.
- limits on memory that belongs to nobody (System V segments), and limits that the system lacks
  (macOS: memory).
"""
import hashlib
import logging
import os
import signal
import time

from . import privileges, python_answer
from .child import START_SECONDS, Process
from .interpreter import CannotStart, command, interpreter
from .pool import Busy, Limits, Pool
from .python_limits import (
    ANSWER_OCTETS,
    CODE_OCTETS,
    MESSAGE_OCTETS,
    MOST_OF_ONE,
    MOST_PROCESSES,
    MOST_RUNS,
    REQUESTS_OF_ONE,
    SECONDS,
    WAIT_SECONDS,
)

log = logging.getLogger("phenmail.children")


class PythonFilters:
    """`python`: the interpreter, by default this one; `run_as`: a user's name or None, for folders
    that belong to root; `seconds`: a script's time; `idle`: seconds after which an unused process
    is ended. Starts nothing before the first `run`. Thread-safe.
    """

    def __init__(self, python=None, run_as=None, clock=time.monotonic, seconds=SECONDS, idle=60.0):
        self._python = python
        self._run_as = run_as
        self._seconds = seconds
        limits = Limits(MOST_PROCESSES, MOST_RUNS, MOST_OF_ONE, REQUESTS_OF_ONE)
        self.pool = Pool("Python filters", self._process, limits, idle, clock)

    def _process(self, user):
        return _Process(interpreter(self._python), user, self._seconds)

    def run(self, code, message, envelope, owner, requester=None):
        """Ask one Python filter about one message -> python_answer.Result.

        `code`: the script (str); `message`: bytes, the path of a file or a descriptor of one;
        `envelope`: a mapping or an object with sender, recipient, tag, auth (anything that str()
        accepts, None for nothing) and size (int); `owner`: (uid, gid) of the user's folder;
        `requester`: who is limited to MOST_OF_ONE, by default one script of one user. A script's
        failure is a Result too. Raises OSError if the message cannot be read or the server is out
        of descriptors.
        """
        try:
            source = _source(code)
            user = privileges.user_for(owner, self._run_as)
            requester = requester or (user, hashlib.sha256(source).digest())
            with self.pool.turn(requester, WAIT_SECONDS):
                answer = self.pool.ask(user, source, _envelope_octets(envelope),
                                       _first_octets(message))
        except Busy:
            return python_answer.failed("not run: too many Python filters are running")
        except (CannotStart, privileges.NoUser) as error:
            return python_answer.failed("not run: %s" % error)
        return python_answer.read(answer, self._seconds)

    def stop(self):
        """Begin no script, let those that run finish, end all processes. Repeatable."""
        self.pool.stop(self._seconds + 5.0)


class _Process(Process):
    """The server's side of `python_child`."""

    what = "Python filters"
    longest_answer = ANSWER_OCTETS

    def _command(self):
        return self._words("serve", "%g" % self._seconds)

    def _words(self, task, value):
        return command(self._python, "children.python_child", [task, value] + self._user_words())

    def _kill_stray(self, pid):
        """Kill as the script's user: the number may belong to another process by now."""
        if self._user is None:
            try:
                os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass
            return
        import subprocess
        try:
            killer = self._spawn(self._words("kill", str(pid)), subprocess.DEVNULL)
        except OSError as error:
            log.warning("Python filters: cannot end process %d: %s", pid, error)
            return
        try:
            killer.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            killer.kill()
            killer.wait()


def _source(code):
    """The bytes of a script. Raises CannotStart if it cannot run here."""
    if os.name != "posix":
        raise CannotStart("Python filters need a POSIX system")
    source = code.encode("utf-8", "surrogatepass")
    if len(source) > CODE_OCTETS:
        raise CannotStart("the code has %d octets, at most %d are allowed"
                          % (len(source), CODE_OCTETS))
    return source


def _first_octets(message):
    if isinstance(message, (bytes, bytearray, memoryview)):
        return bytes(message[:MESSAGE_OCTETS])
    if isinstance(message, int):
        return os.pread(message, MESSAGE_OCTETS, 0)
    with open(message, "rb") as file:
        return file.read(MESSAGE_OCTETS)


def _envelope_octets(envelope):
    values = [_value(envelope, name) for name in ("sender", "recipient", "tag", "auth", "size")]
    texts = ["" if value is None else " ".join(str(value).splitlines()) for value in values]
    return "\n".join(texts[:4] + [str(int(values[4] or 0))]).encode("utf-8", "replace")


def _value(envelope, name):
    return envelope.get(name) if hasattr(envelope, "get") else getattr(envelope, name, None)
