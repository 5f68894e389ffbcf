"""Code filters: Python that users wrote, asked about one message each, in processes of their own.

What a script gets, beside the standard library: `msg`, an email.message.Message of the message's first MESSAGE_OCTETS (where
those have more than 30000 lines, 1000 parts or 50 boundaries: of the header only, with the body as one text); `envelope`, a
dict of sender, recipient, tag, auth (str) and size (of the whole message); and accept(mailbox="INBOX"), reject(reason),
discard(), forward(address), flag(name) and copy(address).  The first decision stands and stops the script.

Whether somebody may have a script run at all is decided by the caller.  Here is what holds then.

Promised, also against a script that wants harm, where the server is root and so each owner's scripts run as that owner:
- It has the owner's rights and no others: not the server's, not its descriptors, environment, standard streams or working
  directory.
- Each message has a fresh fork of a process in which no script ever ran: nothing that a script does to Python, to `email`, to
  signals, descriptors or threads is there for the next message.
- It ends: 2 s of wall time, as much processor time, then its process group is killed.  128 MB of memory, no core file, 32
  descriptors. It writes no file (RLIMIT_FSIZE; it can make empty ones and remove what is its owner's), and makes no process
  or thread.
- Whatever it does, the message goes on: to its decision, or to the next filter and a line in the log.  What it can say in its
  answer is what it may ask for anyway.
- At most MOST_OF_ONE scripts of one code and MOST_RUNS in all are at work: one that hangs holds up its own messages only, unless
  there are several such.
Not promised:
- that it can't use the network, or read what its owner may read; that it can't signal what belongs to its owner, the process that
  it was forked from as well (then that is replaced, and the script itself is killed at its time).
- where the server itself runs as an ordinary user: that the scripts are kept from its files and from the server.  They run
  as that user then.
- memory that is nobody's (System V segments), and limits that the system does not have (macOS: memory).
"""
import hashlib
import os
import time

from . import privileges, python_answer
from .child import PythonProcess
from .interpreter import CannotStart, interpreter
from .pool import Busy, Limits, Pool
from .python_answer import Decision, Result

__all__ = ["CodeFilters", "Decision", "Result"]

MESSAGE_OCTETS = 1024 * 1024
CODE_OCTETS = 256 * 1024
MOST_PROCESSES = 4
MOST_RUNS = 8  # scripts at work, of all
MOST_OF_ONE = 2  # and of one code of one owner
REQUESTS_OF_ONE = 1000  # then a process is replaced
_WAIT = 30.0  # for a turn


class CodeFilters:
    """`python`: the interpreter, by default this one; `run_as`: for folders of root's, a user's name or None.

    `seconds`: a script's time; `idle`: seconds after which an unused process is ended.  Starts
    nothing before the first `run`.  Thread-safe.
    """

    def __init__(self, python=None, run_as=None, clock=time.monotonic, seconds=2.0, idle=60.0):
        self._python = python
        self._run_as = run_as
        self._seconds = seconds
        self.pool = Pool("code filters", self._process, Limits(MOST_PROCESSES, MOST_RUNS, MOST_OF_ONE, REQUESTS_OF_ONE), idle, clock)

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
                answer = self.pool.ask(user, source, _envelope_octets(envelope), _first_octets(message))
        except Busy:
            return python_answer.failed("not run: too many code filters are at work")
        except (CannotStart, privileges.NoUser) as error:
            return python_answer.failed("not run: %s" % error)
        return python_answer.read(answer, self._seconds)

    def _source(self, code):
        """The octets of a script. Raises CannotStart where no script can run here."""
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
