"""Libraries in other languages, driven call by call: a script reads [method, arguments…] as one
line of JSON, calls its library, and writes the result as one line of JSON."""
import json
import os
import select
import subprocess

from tests.interop.house import SECONDS, TOP

# Where .ci/run installs the libraries that Debian does not have.
CLIENTS = os.path.join(TOP, ".venv", "clients")
SCRIPTS = os.path.dirname(os.path.abspath(__file__))


class Remote:
    """A script that runs. `remote("method", argument, …)` gives the result of a call.

    The script ends when its input does. A result {"error": text} fails the test.
    """

    def __init__(self, command, log, **environment):
        env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        env.update(environment)
        self._log = log
        with open(log, "wb") as errors:
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=errors, env=env)

    def __call__(self, method, *arguments):
        self._child.stdin.write(json.dumps([method] + list(arguments)).encode() + b"\n")
        self._child.stdin.flush()
        waiting = select.poll()  # select.select fails above 1024 descriptors
        waiting.register(self._child.stdout, select.POLLIN)
        ready = waiting.poll(SECONDS * 1000)
        line = self._child.stdout.readline() if ready else b""
        assert line, "%s gave no result\n%s" % (method, self._errors())
        result = json.loads(line.decode())
        assert not isinstance(result, dict) or "error" not in result, (method, arguments, result)
        return result

    def close(self):
        self._child.stdin.close()
        try:
            self._child.wait(SECONDS)
        finally:
            self._child.kill()
            self._child.wait()
            self._child.stdout.close()

    def _errors(self):
        with open(self._log, encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]
