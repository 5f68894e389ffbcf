"""A machine with one mail server on it: started, killed, switched off and on again, its disk full,
its clock wrong.

Everything that runs on its disk runs under the disk layer: the server, the words of the command
line, and the foreign program (`dropper.py`). Clients are not on it. It knows nothing of mail but
how the server is configured.
"""
import json
import os
import subprocess
import sys
import threading
import time

from . import replay
from .layer import Layer

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, "phenmail.py")
DROPPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dropper.py")
USERS = ("alice", "bob")
PASSPHRASE = "secret"
_PLAIN = {"host": "127.0.0.1", "port": 0, "tls": "none", "plaintext-auth": True}
SETTINGS = {
    "sender-domain": "example.org",
    "domains": {"example.org": dict({user: "/%s/mail" % user for user in USERS},
                                    postmaster=":alice", abuse=":alice")},
    "smtp": {"listen": [_PLAIN]}, "imap": {"listen": [_PLAIN]}, "pop": {"listen": [_PLAIN]},
    "lmtp": {"host": "127.0.0.1", "port": 0},
    "relay": False,
    "limits": {},
}
START = 30          # seconds that a start may take


class Machine:
    """`ground` is an empty folder; the server's log and the layer's files lie beside the root in
    it."""

    def __init__(self, library, ground, dice):
        self.dice = dice
        self.root = os.path.join(ground, "root")
        self.work = os.path.join(ground, "work")
        os.mkdir(self.work)
        os.makedirs(os.path.join(self.root, "device", "system", "mail"))
        with open(os.path.join(self.root, "device", "system", "mail", "mail.jcfg"), "w") as file:
            json.dump(SETTINGS, file)
        self.layer = Layer(library, self.root, self.work)
        self.log_path = os.path.join(self.work, "server.log")
        self.ports_path = os.path.join(self.work, "ports")
        self.ports = {}
        self.server = self.dropper = None
        self._talking = threading.Lock()
        for user in USERS:
            code, output = self.word("user", "passwd", user + "@example.org",
                                     typed=PASSPHRASE + "\n")
            assert code == 0, output
        self._switch_on()

    def _switch_on(self):
        self.layer.boot()
        self._disk = replay.Disk(self.layer.root)

    # Processes

    def start(self):
        """Starts server and dropper; True when clients can connect, False when the server died on
        the way."""
        if os.path.exists(self.ports_path):
            os.unlink(self.ports_path)
        with open(self.log_path, "ab") as log:
            self.server = subprocess.Popen([sys.executable, PROGRAM, "--root", self.root,
                                            "--ports-file", self.ports_path, "serve"],
                                           env=self.layer.environment("server"),
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START
        while not os.path.exists(self.ports_path):
            if self.server.poll() is not None:
                return False
            if time.monotonic() > end:
                raise AssertionError("the server does not start:\n" + self.log())
            time.sleep(0.01)
        with open(self.ports_path) as file:
            self.ports = json.load(file)
        return True

    @property
    def is_up(self):
        return self.server is not None and self.server.poll() is None

    def wait_for_death(self, seconds):
        """True when the server died in that time."""
        try:
            self.server.wait(seconds)
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill(self):
        """SIGKILL for the server."""
        if self.is_up:
            self.layer.kill_process(self.server.pid)
        self.server.wait(START)

    def stop(self):
        """SIGTERM; the exit status."""
        self.server.terminate()
        return self.server.wait(START)

    def lose_power(self, mode):
        """Everything stops here and now; the disk holds what the replayer leaves ("strict" or
        "random"); a new boot id."""
        self.layer.power_off()
        for process in (self.server, self.dropper):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(START)
        self._end_dropper()
        self._disk.follow(self.layer.records())
        getattr(self._disk, mode)(self.layer.root, *([self.dice] if mode == "random" else []))
        self._switch_on()

    def word(self, *words, **options):
        """Runs a word of the command line to its end: (exit status, output)."""
        process = subprocess.Popen([sys.executable, PROGRAM, "--root", self.root] + list(words),
                                   env=self.layer.environment("word"),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT)
        output, _ = process.communicate(options.get("typed", "").encode(), timeout=START)
        return process.returncode, output.decode()

    def drop(self, **order):
        """Gives the foreign program an order; its answer, or None when it is gone."""
        with self._talking:
            try:
                if self.dropper is None:
                    self.dropper = subprocess.Popen([sys.executable, "-S", DROPPER],
                                                    env=self.layer.environment("dropper"),
                                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                self.dropper.stdin.write(json.dumps(order).encode() + b"\n")
                self.dropper.stdin.flush()
                line = self.dropper.stdout.readline()
            except (OSError, ValueError):
                line = b""
        if not line.endswith(b"\n"):
            self._end_dropper()
            return None
        return json.loads(line.decode())

    def _end_dropper(self):
        with self._talking:
            dropper, self.dropper = self.dropper, None
            if dropper is not None:
                dropper.kill()
                dropper.wait(START)
                dropper.stdout.close()
                try:
                    dropper.stdin.close()
                except OSError:
                    pass

    def mail_folder(self, user):
        return os.path.join(self.root, user, "mail")

    def log(self, last=4000):
        with open(self.log_path, "rb") as file:
            return file.read()[-last:].decode("utf-8", "replace")

    def close(self):
        """Ends what still runs."""
        if self.is_up:
            self.kill()
        self._end_dropper()
        self.layer.close()
