"""A program in a terminal of its own: keys in, what it shows out."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios

from tests.interop.house import SECONDS

_ROWS, _COLUMNS = 50, 200
_CONTROL = re.compile(rb"\x1b\][^\a\x1b]*(?:\a|\x1b\\)|\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\(B")


class Terminal:
    """`said`: all that it has shown, with the control sequences."""

    def __init__(self, command, **environment):
        self.said = b""
        self._ours, its = pty.openpty()
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        env = dict(TERM="xterm", LC_ALL="C.UTF-8", TZ="UTC", LINES=str(_ROWS),
                   COLUMNS=str(_COLUMNS), PATH=os.environ.get("PATH", os.defpath))
        env.update(environment)
        self._child = subprocess.Popen(
            command, stdin=its, stdout=its, stderr=its, env=env, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # aerc opens /dev/tty
        os.close(its)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._child.kill()
        self._child.wait()
        os.close(self._ours)

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def await_text(self, text):
        """Read until it has shown `text` (str), from now on."""
        start = len(self.said)
        while text.encode() not in self._plain(start):
            assert self._read(), "it ended without %r:\n%s" % (text, self._shown())

    def await_end(self):
        """Read until the program ends, which it has to do with exit code 0."""
        while self._read():
            pass
        assert self._child.wait(SECONDS) == 0, self._shown()

    def _read(self):
        """-> False if the program closed its end."""
        ready = select.select([self._ours], [], [], SECONDS)[0]
        assert ready, "it waits for something:\n" + self._shown()
        try:
            self.said += os.read(self._ours, 65536)
        except OSError:
            return False
        return True

    def _plain(self, start):
        return _CONTROL.sub(b"", self.said[start:])

    def _shown(self):
        return self._plain(0)[-3000:].decode("utf-8", "replace")
