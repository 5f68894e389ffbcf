"""The server's side of a child process that answers requests: it starts, asks and ends it.

Knows descriptors, deadlines and processes, and nothing about mail or what answers mean. The child
is exec'ed in its own session, with no descriptor of the server's but its end of a socket pair, and
with ENVIRONMENT; it changes its user itself. `python_child` describes the protocol.
"""
import array
import logging
import socket
import threading
import time

from .child_side import READY, REQUEST
from .interpreter import ENVIRONMENT, CannotStart

log = logging.getLogger("phenmail.children")

START_SECONDS = 10.0  # until it is ready, on an old SD card
_BEGIN = 5.0  # seconds until it has taken a request
_GRACE = 2.0  # beyond a request's time until the process must have answered
_END = 2.0  # until it has ended after the end of its input


class Gone(Exception):
    """The child did not take the request, so another child may."""


class Process:
    """`python`: the interpreter; `user`: (uid, gid) to become or None; `seconds`: for a request.

    A subclass names what it is for (`what`), how long it may take to start (`starting`, seconds),
    the most bytes of an answer, and its command line (`_command`). Any number of threads may ask
    at once. The pool counts requests: `asked` in all, `working` now, the last one at `since`.
    """

    what = ""
    starting = START_SECONDS
    longest_answer = 65536

    def __init__(self, python, user, seconds):
        self.asked = self.working = 0
        self.since = 0.0
        self._python = python
        self._user = user
        self._seconds = seconds
        self._child = None
        self._control = None
        self._lock = threading.Lock()  # held while it starts, and while a request is sent
        self._over = False
        self._failure = None  # why it could not be started

    @property
    def pid(self):
        """The process id (int), None before the start."""
        return self._child and self._child.pid

    def ask(self, code, envelope, message, beside=()):
        """bytes each -> the bytes of an answer.

        `beside`: descriptors that the child gets after that of the request's socket. Raises
        CannotStart, Gone, and OSError if the server is out of descriptors.
        """
        ours, theirs = socket.socketpair()
        try:
            try:
                self._request([theirs.fileno()] + list(beside), len(envelope), len(message), code)
            finally:
                theirs.close()
            return self._answer(ours, envelope + message)
        finally:
            ours.close()

    def _request(self, descriptors, envelope_size, message_size, code):
        with self._lock:
            if self._failure is not None:
                raise CannotStart(self._failure)
            if self._over:
                raise Gone
            if self._child is None:
                self._start()
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
            try:
                self._control.sendmsg([REQUEST.pack(len(code), envelope_size, message_size)],
                                      rights)
                self._control.sendall(code)
            except OSError:  # it has ended, or hangs after half a request
                self._end_now()
                raise Gone

    def _answer(self, channel, octets):
        pid = _Listener(channel, _BEGIN).first_line()
        if not pid.startswith(b"begun "):
            self._give_up()
            raise Gone
        listener = _Listener(channel, self._seconds + _GRACE)
        try:
            channel.sendall(octets)
        except OSError:
            pass  # it died before it had everything, and its answer says so
        answer = pid + listener.rest(self.longest_answer)
        if not listener.ended and not listener.too_much:
            log.warning("%s: process %d does not answer, killing it", self.what, self._child.pid)
            self._give_up()
        if self._child.poll() is not None:
            self._kill_stray(int(pid.split()[1]))
        return answer

    def _start(self):
        ours, theirs = socket.socketpair()
        try:
            self._child = self._spawn(self._command(), theirs)
        except (OSError, ValueError) as error:
            ours.close()
            self._fail("cannot start %s: %s" % (self._python, error))
        finally:
            theirs.close()
        self._control = ours
        if _Listener(ours, self.starting).first_line() != READY:
            self._end_now()
            self._fail("%s cannot run %s: it exited with status %s"
                       % (self._python, self.what, self._child.returncode))
        ours.settimeout(_BEGIN)
        log.debug("%s: process %d started", self.what, self._child.pid)

    @staticmethod
    def _spawn(words, stdin):
        import subprocess
        return subprocess.Popen(words, stdin=stdin, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd="/", env=ENVIRONMENT,
                                start_new_session=True)

    def _fail(self, text):
        self._over, self._failure = True, text
        raise CannotStart(text)

    def _command(self):
        """The child's command line. It becomes `user` itself."""
        raise NotImplementedError

    def _user_words(self):
        return [str(number) for number in self._user or ()]

    def _give_up(self):
        with self._lock:
            self._end_now()

    def _end_now(self):
        self._over = True
        if self._child is not None:
            if self._child.poll() is None:
                self._child.kill()
            self._child.wait()
            self._control.close()

    def _kill_stray(self, pid):
        """End process group `pid`, which the dead child may have left behind.

        A child that starts no processes needs nothing.
        """

    def close(self):
        """End the child and the requests that it still works on."""
        with self._lock:
            self._over = True
            if self._child is None:
                return
            self._control.close()
            import subprocess
            try:
                self._child.wait(_END)
            except subprocess.TimeoutExpired:
                self._end_now()

    @property
    def usable(self):
        """Whether to send it another request. It may have died unnoticed."""
        return not self._over


class _Listener:
    """Reads from a socket until its end, a line's end, too much data, or a deadline (seconds)."""

    def __init__(self, channel, seconds):
        self._channel = channel
        self._deadline = time.monotonic() + seconds
        self.ended = self.too_much = False
        channel.settimeout(seconds)

    def _receive(self, size, flags=0):
        left = self._deadline - time.monotonic()
        if left <= 0:
            return b""
        self._channel.settimeout(left)
        try:
            data = self._channel.recv(size, flags)
        except socket.timeout:
            return b""
        except OSError:
            data = b""
        self.ended = not data
        return data

    def first_line(self):
        """The first short line and nothing after it; less if it did not come in time."""
        line = b""
        while not line.endswith(b"\n") and len(line) < 40:
            ahead = self._receive(40 - len(line), socket.MSG_PEEK)
            if not ahead:
                break
            line += self._receive(ahead.find(b"\n") + 1 or len(ahead))
        return line

    def rest(self, most):
        """All bytes until the end; reads no more after `most` bytes."""
        parts, size = [], 0
        while size <= most:
            data = self._receive(65536)
            if not data:
                break
            parts.append(data)
            size += len(data)
        self.too_much = size > most
        return b"".join(parts)
