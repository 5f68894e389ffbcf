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
import logging
import os
import re
import sys
import threading
import time
from collections import Counter

from . import privileges, python_answer
from .child import PROGRAM, CannotStart, Gone, Process
from .idle import Keeper
from .python_answer import Decision, Result

__all__ = ["CodeFilters", "Decision", "Result"]

log = logging.getLogger("phenmail.delivery")

MESSAGE_OCTETS = 1024 * 1024
CODE_OCTETS = 256 * 1024
MOST_PROCESSES = 4
MOST_RUNS = 8  # scripts at work, of all
MOST_OF_ONE = 2  # and of one code of one owner
REQUESTS_OF_ONE = 1000  # then a process is replaced
FAILED_FOR = 60.0  # seconds that an interpreter that did not start is not tried again
_WAIT = 30.0  # for a turn
_TRIES = 3


class CodeFilters:
    """`python`: the interpreter, by default this one; `run_as`: for folders of root's, a user's name or None.

    `seconds`: a script's time; `idle`: seconds after which a process is ended that nobody has asked.  Starts nothing before
    the first `run`.  Thread-safe.
    """

    def __init__(self, python=None, run_as=None, clock=time.monotonic, seconds=2.0, idle=60.0):
        self._python = python
        self._run_as = run_as
        self._clock = clock
        self._seconds = seconds
        self._idle = idle
        self._changed = threading.Condition()  # of all below
        self._processes = {}  # user -> Process
        self._retired = set()  # those that still have work
        self._running = Counter()  # (user, digest of the code) -> scripts at work
        self._failures = {}  # user -> (until when, why)
        self._stopping = threading.Event()
        self._keeper = Keeper("phenmail-code-filters", self._changed, self._stopping, idle / 4, self.end_idle,
                              lambda: not self._processes)

    def run(self, code, message, envelope, owner):
        """Ask one code filter about one message.

        `code`: the script (str); `message`: octets, or the path of a file that holds them, or a descriptor of it; `envelope`: a mapping or an object
        with sender, recipient, tag, auth (anything that str() understands, None for nothing) and size (int); `owner`: (uid,
        gid) of the user's folder.  Out: Result; never raises for anything that a script or its process does.  Raises OSError
        where the message can't be read, or this process is out of descriptors.
        """
        try:
            source = self._source(code)
            user = privileges.user_for(owner, self._run_as)
        except (CannotStart, privileges.NoUser) as error:
            return python_answer.failed("not run: %s" % error)
        head = _envelope_octets(envelope)
        turn = (user, hashlib.sha256(source).digest())
        try:
            self._take_turn(turn)
            try:
                return self._ask(user, source, head, _first_octets(message))
            finally:
                self._give_turn_back(turn)
        except CannotStart as error:
            return python_answer.failed("not run: %s" % error)

    def _source(self, code):
        """The octets of a script. Raises CannotStart where no script can run here."""
        if os.name != "posix":
            raise CannotStart("code filters need a POSIX system")
        source = code.encode("utf-8", "surrogatepass")
        if len(source) > CODE_OCTETS:
            raise CannotStart("the code has %d octets and may have %d" % (len(source), CODE_OCTETS))
        return source

    def _ask(self, user, source, head, octets):
        for _ in range(_TRIES):
            process = self._process(user)
            try:
                answer = process.ask(source, head, octets)
            except Gone:
                continue
            except CannotStart as error:
                with self._changed:
                    known = user in self._failures
                    self._failures[user] = (self._clock() + FAILED_FOR, str(error))
                if not known:
                    log.error("code filters: %s", error)
                raise
            finally:
                self._give_back(user, process)
            return python_answer.read(answer, self._seconds)
        return python_answer.failed("not run: its process ends again and again")

    # -- turns

    def _take_turn(self, turn):
        """Wait until one more script may be at work. Raises CannotStart."""
        def is_free():
            return self._stopping.is_set() or (self._running[turn] < MOST_OF_ONE and sum(self._running.values()) < MOST_RUNS)
        with self._changed:
            if not self._changed.wait_for(is_free, _WAIT):
                raise CannotStart("too many code filters are at work")
            if self._stopping.is_set():
                raise CannotStart("the server stops")
            self._running[turn] += 1

    def _give_turn_back(self, turn):
        with self._changed:
            self._running[turn] -= 1
            if not self._running[turn]:
                del self._running[turn]
            self._changed.notify_all()

    # -- processes

    def _process(self, user):
        """The process of that user, with one more at work. Raises CannotStart."""
        evicted = None
        with self._changed:
            until, why = self._failures.get(user, (None, None))
            if until is not None:
                if self._clock() < until:
                    raise CannotStart(why)
                del self._failures[user]
            process = self._processes.get(user)
            if process is None:
                process = Process(interpreter(self._python), user, self._seconds)
                evicted = self._make_room()
                self._processes[user] = process
                self._keeper.wake()
            process.working += 1
            process.asked += 1
            process.since = self._clock()
        if evicted is not None:
            evicted.close()
        return process

    def _make_room(self):
        """Under the lock: take out the process that has been idle the longest; None where there is room."""
        if len(self._processes) < MOST_PROCESSES:
            return None
        idle = [user for user, process in self._processes.items() if not process.working]
        if not idle:
            return None  # a few more for a moment: there are never more than MOST_RUNS
        return self._processes.pop(min(idle, key=lambda user: self._processes[user].since))

    def _give_back(self, user, process):
        with self._changed:
            process.working -= 1
            process.since = self._clock()
            if not process.usable or process.asked >= REQUESTS_OF_ONE or len(self._processes) > MOST_PROCESSES:
                self._retired.add(process)
                if self._processes.get(user) is process:
                    del self._processes[user]
            ends = process in self._retired and not process.working
            if ends:
                self._retired.discard(process)
        if ends:
            process.close()

    # -- the end of processes

    def end_idle(self):
        """End the processes that nobody has asked for `idle` seconds."""
        with self._changed:
            old = [user for user, process in self._processes.items()
                   if not process.working and self._clock() - process.since >= self._idle]
            ended = [self._processes.pop(user) for user in old]
        for process in ended:
            process.close()

    def stop(self):
        """No script is begun any more; those at work have their time; then all processes are ended. May be called again."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, self._seconds + 5.0)
            ended = list(self._processes.values()) + list(self._retired)
            self._processes.clear()
            self._retired.clear()
        for process in ended:
            process.close()
        self._keeper.join()


def interpreter(python=None):
    """The Python to run filters with: what is set, else this one. Raises CannotStart where the host is no Python program."""
    if python is None:
        python = sys.executable
        name = os.path.basename(python or "").lower()
        if getattr(sys, "frozen", False) or not re.match(r"python|pypy", name):
            raise CannotStart("%s is no Python interpreter: set \"python\"" % (python or "the host"))
    if not os.path.isfile(PROGRAM):
        raise CannotStart("%s is no file" % PROGRAM)
    return python


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
