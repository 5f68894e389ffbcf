"""The process in which code filters run: a program of its own, with the standard library only.

    python -I -S python_child.py serve SECONDS [UID GID]    its descriptor 0 is a Unix stream socket to the server
    python -I -S python_child.py kill PID [UID GID]         ends a script that outlived its `serve`

`serve` reads what filters need once, becomes UID and GID, says "ready\\n" and waits.  For each request it forks a *run*, which
has limits, parses one message, runs one script (`python_run`, the file beside this one) and ends; no run leaves anything for the
next.  (It is safe to fork here: this process has one thread.)  Compiled code is kept between runs.  It ends at the end of its
input.

A request is REQUEST (lengths of code, envelope, message), with one descriptor beside it: the run's own socket to the server; then
the code.  Over the run's socket it answers "begun PID\\n", and then reads envelope and message.  The run says one line for each
thing, at once, so that what is said stays said however the script ends:

    flag NAME, copy ADDRESS                                    any number, before a decision
    accept MAILBOX, reject REASON, discard, forward ADDRESS    the decision
    error line N: TYPE                                         the script raised; without the text, which may be the mail's
    end                                                        the script is over
and this process, when the run is over: exit STATUS, signal NUMBER or late.  `python_answer` reads them.

What a script may be relied on *not* to do, and what not, stands in `python_pool`.
"""
import array
import marshal
import math
import os
import signal
import struct
import sys
import time

REQUEST = struct.Struct("!III")
READY = b"ready\n"

DESCRIPTORS = 64  # of this process; a run gets fewer
KEPT_CODES = 64


# -- the process that waits ------------------------------------------------------------------------------------------------------


class Run:
    """One script at work: its socket, when it has to be over, whether it was not."""

    __slots__ = ("channel", "deadline", "late")

    def __init__(self, channel, deadline):
        self.channel = channel
        self.deadline = deadline
        self.late = False


class Server:
    """Takes requests over `control` (a socket) until its end; each run has `seconds`. `python_run`: that module."""

    def __init__(self, control, seconds, python_run):
        import select
        import socket
        self._socket = socket
        self._python_run = python_run
        self._control = control
        self._seconds = seconds
        self._runs = {}  # pid -> Run
        self._codes = {}  # source -> code object, the one used last at the end
        self._compiling = {}  # descriptor of a pipe -> (source, what came through it)
        self._mapped = python_run.address_space()
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        self._poll.register(self._woken, select.POLLIN)
        self._readable = select.POLLIN

    def serve(self):
        """Until the server closes its side, or is gone."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake)
        try:
            while self._step():
                pass
        finally:
            for pid in self._runs:
                _kill(pid)

    def _step(self):
        """Wait for something and do it; False at the end of input."""
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
        """Milliseconds until the next deadline, None where nothing runs."""
        times = [run.deadline for run in self._runs.values() if not run.late]
        return max(0, math.ceil((min(times) - time.monotonic()) * 1000)) if times else None

    def _take(self):
        """One request; False at the end of input."""
        socket = self._socket
        head, beside, _, _ = self._control.recvmsg(REQUEST.size, socket.CMSG_SPACE(array.array("i").itemsize))
        if not head:
            return False
        descriptors = array.array("i")
        for level, kind, data in beside:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[:len(data) - len(data) % descriptors.itemsize])
        head += _exactly(self._control, REQUEST.size - len(head))
        code_size, envelope_size, message_size = REQUEST.unpack(head)
        source = _exactly(self._control, code_size)
        descriptor, = descriptors
        os.set_inheritable(descriptor, False)
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor)
        self._begin(channel, source, envelope_size, message_size)
        return True

    def _begin(self, channel, source, envelope_size, message_size):
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
            self._poll.register(reader, self._readable)
        if pid is None:
            channel.close()
            return
        self._runs[pid] = Run(channel, deadline)
        self._poll.register(channel, 0)  # only that the other side has gone
        self._say(channel, "begun %d\n" % pid)

    def _be_run(self, channel, writer, source, code, envelope_size, message_size):
        """In the fork: nothing of this process stays open but what the run needs."""
        os.setsid()  # its own group, to be killed as one; and it can't leave it
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _close_all_but([descriptor for descriptor in (channel.fileno(), writer) if descriptor is not None])
        self._python_run.limit(self._seconds, self._mapped)
        envelope = _exactly(channel, envelope_size)
        message = _exactly(channel, message_size)
        self._python_run.run_script(self._python_run.Voice(channel.fileno()), code, source, writer, envelope, message)

    def _keep_code(self, descriptor):
        """A run has compiled what others will need. It wrote this before it ran anything."""
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
            return  # it could not be compiled, or the run was killed meanwhile
        self._codes.pop(source, None)
        self._codes[source] = code
        if len(self._codes) > KEPT_CODES:
            del self._codes[next(iter(self._codes))]

    def _hung_up(self, descriptor):
        """Nobody waits for that answer any more, or the script has shut the socket."""
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
            _kill_group(pid)  # what is left of it, where RLIMIT_NPROC is not known
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
            channel.send(text.encode("ascii"), self._socket.MSG_DONTWAIT | getattr(self._socket, "MSG_NOSIGNAL", 0))
        except OSError:
            pass  # the script has filled it or shut it: the server sees that something is missing


def _exactly(channel, size):
    """That many bytes. Raises EOFError."""
    parts = []
    while size:
        data = channel.recv(min(size, 262144))
        if not data:
            raise EOFError("the other side has gone")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _kill(pid):
    if not _kill_group(pid):  # it has none of its own yet
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


# -- becoming it -----------------------------------------------------------------------------------------------------------------


def settle(python_run):
    """Nothing of what the server's process was: signals, output, processor; what scripts use is read now, while it can be."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    errors_instead = (signal.SIGPIPE, signal.SIGXFSZ)
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_IGN if number in errors_instead else signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # no such signal, or none that can be set
    if hasattr(os, "sched_setaffinity"):
        try:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))  # the server keeps to one processor
        except OSError:
            pass
    python_run.set_limit("RLIMIT_CORE", 0, 0)
    python_run.set_limit("RLIMIT_NOFILE", DESCRIPTORS, DESCRIPTORS)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.stderr = open(1, "w", encoding="utf-8", errors="replace", closefd=False)
    python_run.preload()


def become(uid, gid):
    """Be that user, with no other group and no way back. Raises OSError."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if 0 in (os.getuid(), os.geteuid(), os.getgid(), os.getegid()):
        raise OSError("still root")


def serve(seconds, user):
    """Be the process that waits, at descriptor 0, as `user` ([uid, gid], or [] for whoever this is)."""
    import importlib
    import socket
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # isolated, Python does not look beside this file
    python_run = importlib.import_module("python_run")
    del sys.path[0]
    settle(python_run)
    if user:
        become(*user)
    control.sendall(READY)
    Server(control, seconds, python_run).serve()


def main(words):
    """`words`: the command line behind the file's name."""
    task, value, user = words[0], words[1], [int(word) for word in words[2:]]
    if task == "serve":
        serve(float(value), user)
    elif task == "kill":
        if user:
            become(*user)
        _kill_group(int(value))


if __name__ == "__main__":
    main(sys.argv[1:])
