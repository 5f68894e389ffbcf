"""A server as a child process: started, looked at through /proc, ended by its process id."""
import os
import signal
import socket
import subprocess
import time

PATIENCE = 30.0


class Missing(Exception):
    """The server's program is not on this machine, or can't be run by this user."""


class Child:
    """A program in a process group of its own; what it prints goes to `log`.

    A Python program keeps its compiled modules beside the log, as an installed
    one does beside itself, whatever the caller's environment says.
    """

    def __init__(self, arguments, log, environment=None):
        environment = dict(os.environ,
                           PYTHONPYCACHEPREFIX=os.path.join(os.path.dirname(log), "compiled"),
                           **(environment or {}))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
                env=environment)
        self.log = log
        self.pid = self._process.pid

    def check(self):
        """Raises RuntimeError with the log's end when the program is over."""
        if self._process.poll() is not None:
            with open(self.log, "rb") as file:
                raise RuntimeError("the server ended: %s"
                                   % file.read()[-2000:].decode("utf-8", "replace"))

    def wait(self, seconds):
        """Wait until it ends by itself. Raises RuntimeError if it fails or takes longer."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise RuntimeError("no end after %d s" % seconds)
        if code:
            with open(self.log, "rb") as file:
                raise RuntimeError("exit code %d: %s" % (
                    code, file.read()[-2000:].decode("utf-8", "replace")))

    def stop(self):
        """End it and what it started: SIGTERM to its group, and SIGKILL after a while."""
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(10)

    def _signal(self, number):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass

    def memory(self):
        """Its resident set in bytes."""
        return status(self.pid, "VmRSS")

    def proportional_memory(self):
        """Its proportional set in bytes: pages that others share count in part."""
        with open("/proc/%d/smaps_rollup" % self.pid) as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))

    def most_memory(self):
        """The largest that its resident set ever was, or since `forget_most_memory`."""
        return status(self.pid, "VmHWM")

    def forget_most_memory(self):
        with open("/proc/%d/clear_refs" % self.pid, "w") as file:
            file.write("5")

    def threads(self):
        """How many threads it has."""
        return len(os.listdir("/proc/%d/task" % self.pid))

    def processor_seconds(self):
        """What it and all that it started has used so far; told in hundredths of a second."""
        ticks = 0
        for name in os.listdir("/proc"):
            if name.isdigit():
                ticks += _ticks(name, self.pid)
        return ticks / os.sysconf("SC_CLK_TCK")


    def rest(self, most=120.0):
        """Wait until it has worked off what it does in idle moments; at most `most` seconds."""
        end, before = time.monotonic() + most, self.processor_seconds()
        while time.monotonic() < end:
            time.sleep(1.5)
            now = self.processor_seconds()
            if now - before <= 0.03:
                return
            before = now


def _ticks(name, session):
    """Processor time of a process (and of its children that ended) if it belongs to that
    session."""
    try:
        with open("/proc/%s/stat" % name) as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0  # it ended just now
    return sum(map(int, fields[11:15])) if int(fields[3]) == session else 0


def status(pid, field):
    """A size of /proc/PID/status in bytes."""
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise KeyError(field)


def free_port():
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_banner(child, port, pause=0.02):
    """Wait until a server greets on `port`."""
    end = time.monotonic() + PATIENCE
    while True:
        child.check()
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                if connection.recv(512):
                    return
        except OSError:
            pass
        if time.monotonic() > end:
            raise RuntimeError("no server on port %d after %d s" % (port, PATIENCE))
        time.sleep(pause)


class PythonPeer:
    """A server in Python: `module`, run as a program with a port and a Maildir. Mail that it
    accepted is in the Maildir, so nothing `waits`."""

    module = None
    waits = False

    def __init__(self, folder, python):
        self.maildir = os.path.join(folder, "mail")
        self.smtp = free_port()
        self._python = python
        self._log = os.path.join(folder, "log")
        self.child = None

    def start(self):
        self.child = Child([self._python, "-m", self.module, str(self.smtp), self.maildir],
                           self._log)
        await_banner(self.child, self.smtp)
        return self

    def stop(self):
        if self.child is not None:
            self.child.stop()


def await_file(child, path):
    end = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        child.check()
        if time.monotonic() > end:
            raise RuntimeError("%s did not appear" % path)
        time.sleep(0.005)
