"""Postfix's smtp-sink: where relayed mail ends in the benchmarks. It keeps nothing and counts."""
import os
import re
import shutil

from .process import Child, Missing, await_banner, free_port


class Sink:
    """`count()` of the messages that it has taken so far."""

    name = "smtp-sink"

    def __init__(self, folder, port=None):
        self._program = shutil.which("smtp-sink", path=os.environ.get("PATH", "") + ":/usr/sbin")
        if self._program is None:
            raise Missing("smtp-sink")
        self.port = port or free_port()
        self.child = None
        self._log = os.path.join(folder, "sink")

    def start(self):
        user = [] if os.geteuid() else ["-u", "nobody"]
        self.child = Child([self._program, "-c"] + user + ["127.0.0.1:%d" % self.port, "128"],
                           self._log)
        await_banner(self.child, self.port)
        return self

    def count(self):
        with open(self._log, "rb") as file:
            file.seek(max(0, os.stat(self._log).st_size - 100))
            told = re.findall(rb"mesg=(\d+)\r", file.read())
        return int(told[-1]) if told else 0

    def octets(self):
        """How many octets it has read so far, about."""
        with open("/proc/%d/io" % self.child.pid) as file:
            return int(file.readline().split()[1])

    def stop(self):
        if self.child is not None:
            self.child.stop()
