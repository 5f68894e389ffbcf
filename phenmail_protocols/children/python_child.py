"""The child process in which Python filters run.

Words:  serve SECONDS [UID GID]    descriptor 0 is a Unix stream socket to the server
        kill PID [UID GID]         ends a script that outlived its `serve`

`serve` loads once what filters need, becomes UID and GID, sends READY and waits. For each request
it forks a *run*, which limits itself (`python_limits`), parses one message, runs one script
(`python_run`) and ends; no run leaves anything for the next. It is safe to fork here, because this
process has one thread. Compiled code is kept between runs. The process ends at the end of its
input.

A request is REQUEST (lengths of code, envelope, message), with one descriptor beside it, the run's
own socket to the server; then the code. Over the run's socket this process answers "begun PID\\n".
The run reads envelope and message from it, and writes each line at once, so that the line counts
however the script ends:

    flag NAME, copy ADDRESS                                    any number, before a decision
    accept MAILBOX, reject REASON, discard, forward ADDRESS    the decision
    error line N: TYPE       the script raised; no text, because that may quote the mail
    end                      the script has ended

When the run has ended, this process adds: exit STATUS, signal NUMBER, or late. `python_answer`
reads the lines. `python_filters` says what a script can and cannot do.
"""
import marshal
import math
import os
import select
import signal
import socket
import sys
import time

from . import python_limits, python_run
from .child_side import (
    READY,
    become,
    receive_exactly,
    receive_request,
    set_limit,
    settle,
    take_control,
)
from .interpreter import TOP

DESCRIPTORS = 64  # of this process; a run gets fewer
KEPT_CODES = 64


class Run:
    """One script at work: its socket, its deadline, and whether it missed it."""

    __slots__ = ("channel", "deadline", "late")

    def __init__(self, channel, deadline):
        self.channel = channel
        self.deadline = deadline
        self.late = False


class Server:
    """Takes requests over `control` (a socket) until its end; each run may take `seconds`."""

    def __init__(self, control, seconds):
        self._control = control
        self._seconds = seconds
        self._runs = {}  # pid -> Run
        self._codes = {}  # source -> code object, the last used one last
        self._compiling = {}  # descriptor of a pipe -> (source, pieces of the code)
        self._mapped = python_limits.address_space()
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        self._poll.register(self._woken, select.POLLIN)

    def serve(self):
        """Work until the server closes its side or ends."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake)
        try:
            while self._step():
                pass
        finally:
            for pid in self._runs:
                _kill(pid)

    def _step(self):
        """Wait for events and handle them; False at the end of input."""
        for descriptor, _ in self._poll.poll(self._patience()):
            if descriptor == self._control.fileno():
                if not self._take():
                    return False
            elif descriptor == self._woken:
                os.read(self._woken, 4096)
            elif descriptor in self._compiling:
                self._keep_code(descriptor)
            else:
                self._hung_up(descriptor)
        self._reap()
        self._end_late()
        return True

    def _patience(self):
        """Milliseconds until the next deadline, None if nothing runs."""
        times = [run.deadline for run in self._runs.values() if not run.late]
        return max(0, math.ceil((min(times) - time.monotonic()) * 1000)) if times else None

    def _take(self):
        """Begin one run; False at the end of input."""
        request = receive_request(self._control, 1)
        if request is None:
            return False
        source, envelope_size, message_size, channel, _ = request
        code, reader, writer = self._codes.pop(source, None), None, None
        if code is not None:
            self._codes[source] = code
        else:
            reader, writer = os.pipe()
        deadline = time.monotonic() + self._seconds
        try:
            pid = os.fork()
        except OSError:
            pid = None
        if pid == 0:
            try:
                self._be_run(channel, writer, source, code, envelope_size, message_size)
            finally:
                os._exit(70)
        if writer is not None:
            os.close(writer)
            self._compiling[reader] = (source, [])
            self._poll.register(reader, select.POLLIN)
        if pid is None:
            channel.close()
            return True
        self._runs[pid] = Run(channel, deadline)
        self._poll.register(channel, 0)  # reports only that the other side has hung up
        self._say(channel, "begun %d\n" % pid)
        return True

    def _be_run(self, channel, writer, source, code, envelope_size, message_size):
        """In the fork: keep only the descriptors that the run needs."""
        os.setsid()  # its own process group, which it cannot leave, and which is killed as one
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_all_but([each for each in (channel.fileno(), writer) if each is not None])
        python_limits.apply(self._seconds, self._mapped)
        envelope = receive_exactly(channel, envelope_size)
        message = receive_exactly(channel, message_size)
        python_run.run_script(python_run.Voice(channel.fileno()), code, source, writer, envelope,
                              message)

    def _keep_code(self, descriptor):
        """A run has compiled a script. It wrote this code before it ran anything."""
        source, parts = self._compiling[descriptor]
        data = os.read(descriptor, 65536)
        parts.append(data)
        if data:
            return
        self._poll.unregister(descriptor)
        os.close(descriptor)
        del self._compiling[descriptor]
        try:
            code = marshal.loads(b"".join(parts))
        except (EOFError, ValueError, TypeError):
            return  # it could not be compiled, or the run was killed
        self._codes.pop(source, None)
        self._codes[source] = code
        if len(self._codes) > KEPT_CODES:
            del self._codes[next(iter(self._codes))]

    def _hung_up(self, descriptor):
        """Nobody waits for that answer any more, or the script has shut the socket: end it."""
        for pid, run in self._runs.items():
            if run.channel.fileno() == descriptor:
                self._poll.unregister(descriptor)
                _kill(pid)
                return

    def _end_late(self):
        now = time.monotonic()
        for pid, run in self._runs.items():
            if not run.late and now >= run.deadline:
                run.late = True
                _kill(pid)

    def _reap(self):
        while self._runs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            run = self._runs.pop(pid, None)
            if run is None:
                continue
            _kill_group(pid)  # processes of its own, if the system has no RLIMIT_NPROC
            if run.late:
                end = "late"
            elif os.WIFSIGNALED(status):
                end = "signal %d" % os.WTERMSIG(status)
            else:
                end = "exit %d" % os.WEXITSTATUS(status)
            self._say(run.channel, "\n%s\n" % end)  # the script may have left half a line
            try:
                self._poll.unregister(run.channel)
            except KeyError:
                pass
            run.channel.close()

    def _say(self, channel, text):
        try:
            channel.send(text.encode("ascii"), socket.MSG_DONTWAIT)
        except OSError:
            pass  # the script has filled it or shut it: the server sees that a line is missing


def _kill(pid):
    if not _kill_group(pid):  # it has no process group of its own yet
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def _kill_group(pid):
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        return False
    return True


def _close_all_but(descriptors):
    start = 3
    for descriptor in sorted(descriptors):
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, DESCRIPTORS)


def serve(seconds, user):
    """Answer requests at descriptor 0 as `user` ([uid, gid], or [] for the present one)."""
    control = take_control()
    settle(ignored=(signal.SIGPIPE, signal.SIGXFSZ))  # they become exceptions
    set_limit("RLIMIT_NOFILE", DESCRIPTORS)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stderr = open(1, "w", encoding="utf-8", errors="replace", closefd=False)
    python_run.preload()
    sys.path[:] = [place for place in sys.path if place != TOP]  # scripts get the standard library
    if user:
        become(*user)
    control.sendall(READY)
    Server(control, seconds).serve()


def main(words):
    """Do one of the two tasks; `words`: see the top of this file."""
    task, value, user = words[0], words[1], [int(word) for word in words[2:]]
    if task == "serve":
        serve(float(value), user)
    elif task == "kill":
        if user:
            become(*user)
        _kill_group(int(value))
