"""Python filters: scripts that users wrote, each asked about one message in its own process.

A script gets the standard library; `msg`, an email.message.Message of the first MESSAGE_OCTETS (of
the header only, with the body as one text, if those have more than 30000 lines, 1000 parts or 50
boundaries); `envelope`, a dict of sender, recipient, tag, auth (str) and size (of the whole
message); and accept(mailbox="INBOX"), reject(reason), discard(), forward(address), flag(name) and
copy(address).  The first decision stands and ends the script.

The caller decides whether a script may run.  Promised then, also against a hostile script, if the
server is root and so runs each owner's scripts as that owner:
- It has its owner's rights and no others: not the server's, nor its descriptors, environment,
  standard streams or working directory.
- Each message has a new fork of a process in which no script ever ran.  Nothing that a script does
  to Python, signals, descriptors or threads is there for the next message.
- It ends: after 2 s of wall time or as much processor time, its process group is killed.  It has
  128 MB of memory, no core file and 32 descriptors.  It cannot write files (RLIMIT_FSIZE; it can
  create empty ones and remove its owner's) and cannot start processes or threads.
- The message goes on in any case: to the decision, or to the next filter with a line in the log.
- At most MOST_OF_ONE scripts of one code and MOST_RUNS in all are at work.  One that hangs delays
  only its own messages, unless there are several.
Not promised:
- that it cannot use the network, read what its owner may read, or signal its owner's processes,
  such as the one that it was forked from (which is then replaced; the script is killed in time).
- if the server is an ordinary user: that scripts cannot reach its files and the server itself.
  They run as that user then.
- limits on memory that belongs to nobody (System V segments), and limits that the system lacks
  (macOS: memory).
"""
import hashlib
import os
import time

from . import privileges, python_answer
from .child import PythonProcess
from .interpreter import CannotStart, interpreter
from .pool import Busy, Limits, Pool
from .python_answer import Decision, Result

__all__ = ["PythonFilters", "Decision", "Result"]

MESSAGE_OCTETS = 1024 * 1024
CODE_OCTETS = 256 * 1024
MOST_PROCESSES = 4
MOST_RUNS = 8  # scripts at work, of all
MOST_OF_ONE = 2  # and of one code of one owner
REQUESTS_OF_ONE = 1000  # then a process is replaced
_WAIT = 30.0  # for a turn


class PythonFilters:
    """`python`: the interpreter, by default this one; `run_as`: a user's name or None, for folders
    that belong to root.

    `seconds`: a script's time; `idle`: seconds after which an unused process is ended.  Starts
    nothing before the first `run`.  Thread-safe.
    """

    def __init__(self, python=None, run_as=None, clock=time.monotonic, seconds=2.0, idle=60.0):
        self._python = python
        self._run_as = run_as
        self._seconds = seconds
        self.pool = Pool("code filters", self._process,
                         Limits(MOST_PROCESSES, MOST_RUNS, MOST_OF_ONE, REQUESTS_OF_ONE), idle,
                         clock)

    def _process(self, user):
        return PythonProcess(interpreter(self._python), user, self._seconds)

    def run(self, code, message, envelope, owner, requester=None):
        """Ask one Python filter about one message -> Result.

        `code`: the script (str); `message`: bytes, the path of a file or a descriptor of one;
        `envelope`: a mapping or an object with sender, recipient, tag, auth (anything that str()
        understands, None for nothing) and size (int); `owner`: (uid, gid) of the user's folder;
        `requester`: at most MOST_OF_ONE scripts of one are at work, by default of one code of one
        user.  Nothing that a script or its process does raises.  Raises OSError if the message
        cannot be read or the server is out of descriptors.
        """
        try:
            source = self._source(code)
            user = privileges.user_for(owner, self._run_as)
            with self.pool.turn(requester or (user, hashlib.sha256(source).digest()), _WAIT):
                answer = self.pool.ask(user, source, _envelope_octets(envelope),
                                       _first_octets(message))
        except Busy:
            return python_answer.failed("not run: too many code filters are at work")
        except (CannotStart, privileges.NoUser) as error:
            return python_answer.failed("not run: %s" % error)
        return python_answer.read(answer, self._seconds)

    def _source(self, code):
        """The bytes of a script.  Raises CannotStart if no script can run here."""
        if os.name != "posix":
            raise CannotStart("code filters need a POSIX system")
        source = code.encode("utf-8", "surrogatepass")
        if len(source) > CODE_OCTETS:
            raise CannotStart("the code has %d octets and may have %d" % (len(source), CODE_OCTETS))
        return source

    def stop(self):
        """Begin no script, let those at work finish, end all processes.  Repeatable."""
        self.pool.stop(self._seconds + 5.0)


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
