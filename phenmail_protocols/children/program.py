"""One run of a user's command: started, fed, read and ended in one thread, with bounded time and
memory.

Invariants:
1. The command leads its own process group, and signals go to the group.
2. No signal is sent after the leader was reaped: its number may belong to another process by then.
3. The command's standard input stays open until the command has the whole message or is dead,
   because it would take an early end of file for the message's end.

Knows no mail, no user and no configuration.
"""
import logging
import os
import signal
import time
from typing import NamedTuple, Optional

from ..net.readiness import Readiness
from .child_side import LAUNCHED
from .interpreter import command

GRACE = 2.0  # seconds from SIGTERM to SIGKILL, to remove locks and temporary files
UNKILLABLE = 5.0  # seconds for SIGKILL to work; a program that waits for a disk is left behind
KEPT = 4096  # octets of the end of its output
PIECE = 65536  # octets that a pipe holds on Linux
# A command that passed its output to another process can end without closing the pipe, so its
# status is polled.
SHORTEST, LONGEST = 0.001, 0.1  # seconds between two polls

DESCRIPTORS = 1024  # programs that use select(2) rely on it

log = logging.getLogger("phenmail.children")


class Ended(NamedTuple):
    """How a command ended.

    `code`: its exit status, the negative number of the signal that ended it, or None if unknown.
    `launched`: the command began; otherwise `code` and `output` are those of `program_child`.
    `output`: the end of its standard output and error, at most KEPT bytes. `late`: it exceeded its
    time. `interrupted`: the server is stopping. In both cases it was ended, and what it
    had done by then is unknown. `seconds`: how long it took.
    """
    code: Optional[int]
    launched: bool
    output: bytes
    late: bool
    interrupted: bool
    seconds: float


class Run:
    """A command that has been started. Call `attend` once, in one thread; `interrupt` in any."""

    def __init__(self, python, arguments, environment, folder, owner=None, grace=GRACE,
                 clock=time.monotonic):
        """`python`: the interpreter that launches it; `arguments`, `environment`: bytes; `folder`:
        its working directory; `owner`: (uid, gid) to become, None for no change; `grace`: seconds
        between SIGTERM and SIGKILL. Raises OSError if it cannot be started, ValueError for an
        argument that cannot be one.
        """
        self._grace, self._clock = grace, clock
        self._must_end = False
        self._late = self._interrupted = False
        self._heard = bytearray()
        self._chunks = iter(())
        self._rest = memoryview(b"")
        self._readiness = None
        self._began = clock()
        self._input = self._output = self._report = -1
        self._process = self._start(python, arguments, environment, folder, owner)

    def _start(self, python, arguments, environment, folder, owner):
        import subprocess
        theirs = []
        try:
            given, self._input = os.pipe()
            theirs.append(given)
            self._output, said = os.pipe()
            theirs.append(said)
            self._report, report = os.pipe()
            theirs.append(report)
            for descriptor in (self._input, self._output, self._report):
                os.set_blocking(descriptor, False)
            if owner is not None:
                _give_away(given, owner)
                _give_away(said, owner)
            user = "" if owner is None else "%d:%d" % owner
            words = command(python, "children.program_child", [str(report), str(DESCRIPTORS), user])
            return subprocess.Popen(words + arguments, stdin=given, stdout=said, stderr=said,
                                    env=environment, cwd=folder, close_fds=True, pass_fds=(report,),
                                    start_new_session=True)
        except BaseException:
            self._close()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def interrupt(self):
        """End it now; `attend` returns soon."""
        self._must_end = True

    def attend(self, chunks, seconds):
        """Write `chunks` (an iterable of non-empty bytes) to its standard input, wait for its end
        -> Ended.

        It has `seconds`. It need not read its whole input. What the iterable raises is raised
        after the command was killed.
        """
        self._chunks = iter(chunks)
        try:
            code = self._until_the_end(self._began + seconds)
            # Take the rest of the pipe, without waiting for other processes that have it open.
            self._hear(pieces=16)
            launched = self._was_launched()
        finally:
            self._end_now()
        return Ended(code, launched, bytes(self._heard), self._late, self._interrupted,
                     self._clock() - self._began)

    def _until_the_end(self, limit):
        """-> Ended.code; None also if it must be killed."""
        pause, terminated = SHORTEST, None
        while True:
            try:
                code = self._status(terminated is not None)
            except ChildProcessError:
                log.error("process %d: unknown exit status: the host program ignores SIGCHLD, or "
                          "reaps children that are not its own", self._process.pid)
                self._process.returncode = 0  # for Popen; it has been reaped
                return None
            if code is not None:
                return code
            now = self._clock()
            if terminated is None and (self._must_end or now >= limit):
                terminated = now
                self._late, self._interrupted = not self._must_end, self._must_end
                self._signal(signal.SIGTERM)
            elif terminated is not None and now >= terminated + self._grace:
                return None
            pause = SHORTEST if self._exchange(pause) else min(2 * pause, LONGEST)

    def _exchange(self, pause):
        """Wait for the pipes, at most `pause` seconds -> whether anything moved."""
        if self._readiness is None:
            self._readiness = Readiness(readable=() if self._output < 0 else (self._output,),
                                        writable=() if self._input < 0 else (self._input,))
        self._readiness.wait(pause)
        fed = self._feed()
        return self._hear() or fed

    def _feed(self):
        if self._input < 0:
            return False
        try:
            if not self._rest:
                self._rest = memoryview(next(self._chunks, b""))
            if self._rest:
                self._rest = self._rest[os.write(self._input, self._rest):]
                return True
        except BlockingIOError:
            return False
        except BrokenPipeError:
            self._rest = memoryview(b"")
        self._input = self._closed(self._input)
        return True

    def _hear(self, pieces=1):
        """Read its output, so that it never blocks -> whether anything moved."""
        moved = False
        for _ in range(pieces):
            if self._output < 0:
                break
            try:
                piece = os.read(self._output, PIECE)
            except BlockingIOError:
                break
            moved = True
            if not piece:
                self._output = self._closed(self._output)
            self._heard += piece
            del self._heard[:-KEPT]
        return moved

    def _was_launched(self):
        try:
            return os.read(self._report, 64) == LAUNCHED
        except BlockingIOError:
            return False

    def _closed(self, descriptor):
        os.close(descriptor)
        self._readiness = None
        return -1

    def _status(self, all_of_it):
        """Its exit status or negative signal, after reaping it; None while it runs.

        `all_of_it`: kill its group with it. Popen is not asked, because it reports success for a
        child that other code reaped.
        """
        pid = self._process.pid
        if all_of_it and hasattr(os, "waitid"):  # not on macOS
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
            self._signal(signal.SIGKILL)
        reaped, status = os.waitpid(pid, os.WNOHANG)
        if not reaped:
            return None
        self._process.returncode = (-os.WTERMSIG(status) if os.WIFSIGNALED(status)
                                    else os.WEXITSTATUS(status))
        return self._process.returncode

    def _signal(self, number):
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:  # it changed its user
            log.error("cannot end process %d: %s", self._process.pid, error)

    def _end_now(self):
        """Kill it before its input ends, whatever happened."""
        import subprocess
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
            try:
                self._process.wait(UNKILLABLE)
            except subprocess.TimeoutExpired:
                log.error("process %d does not end after SIGKILL, leaving it behind",
                          self._process.pid)
        self._close()

    def _close(self):
        for descriptor in (self._input, self._output, self._report):
            if descriptor >= 0:
                os.close(descriptor)
        self._input = self._output = self._report = -1


def _give_away(descriptor, owner):
    """Give a pipe to the command's user, who otherwise could not open it by name (/dev/stdin)."""
    try:
        os.fchown(descriptor, *owner)
    except OSError:  # not every system allows this, and the descriptor itself works anyway
        pass
