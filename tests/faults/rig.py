"""One account, its oracle, and workers that are killed, cut off and started again on it."""
import json
import os
import random
import signal
import subprocess
import sys
import threading

from . import journal, replay
from .oracle import Oracle, Reading, Seen

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
PATIENCE = 60       # seconds that one worker may take: then it hangs


class Broken(AssertionError):
    """Promises were broken; the text has them and the way there."""


class Rig:
    """Runs workers one after the other below `layer`; each start reads the whole account, and the oracle checks what it read."""

    def __init__(self, layer, name):
        self.layer, self.name = layer, name
        self.folder = os.path.join(layer.root, "mail")
        self.oracle = Oracle()
        self.dice = random.Random(name)
        self.excuses = {}           # for the next check
        self.runs = self.readings = 0
        self._trace, self._disk = [], None
        if not os.path.isdir(self.folder):
            os.mkdir(self.folder)

    def run(self, arm=None, early=None, expect=None, **job):
        """Starts a worker, reads, checks, does the job; its exit status.

        `early` is called before the start, `arm` when the worker is about to begin; both may set rules of the layer. `expect`: the exit
        status that it must have (None: any way to die or end). Raises Broken.
        """
        self.runs += 1
        job = dict(dict(folder=self.folder, boot=self.layer.boot_id, seed="%s.%d" % (self.name, self.runs), rounds=0, verbs=["deliver"],
                        prefix="%s.%d" % (self.name, self.runs)), **job)
        self._trace = [(self.layer.control.sequence, "start %s" % json.dumps(job))]
        if early:
            early()
        process = subprocess.Popen([sys.executable, "-S", WORKER, json.dumps(job)], env=self.layer.environment("store", 1),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            errors = self._converse(process, arm)
            status = process.wait()
        finally:
            hung = not watchdog.is_alive()
            watchdog.cancel()
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()
        self.layer.clear()
        if hung:
            raise Broken("the worker hung\n" + self.way())
        if errors or status not in ((0, -signal.SIGKILL) if expect is None else (expect,)):
            raise Broken("the worker ended with %d\n%s\n%s" % (status, errors, self.way()))
        return status

    def _converse(self, process, arm):
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break
            answer = json.loads(line.decode())
            if "reading" in answer:
                self._check(answer["reading"])
                continue
            self._trace.append((self.layer.control.sequence, line.decode().strip()))
            self.oracle.hear(answer)
            if "ready" in answer:
                if arm:
                    arm()
                try:
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
                except BrokenPipeError:
                    pass
        return process.stderr.read().decode()

    def _check(self, reading):
        self.readings += 1
        excuses, self.excuses = self.excuses, {}
        broken = self.oracle.check(parse_reading(reading), **excuses)
        if broken:
            raise Broken("%s\n%s" % ("\n".join(broken), self.way()))

    def way(self, last=60):
        """What was asked, answered and done to the disk since the last start."""
        first = self._trace[0][0] if self._trace else 0
        steps = [(number, 1, text) for number, text in self._trace]
        steps += [(record.sequence, 0, "    %(operation)s %(path)s %(target)s" % record._asdict()) for record in self.layer.records()
                  if record.sequence >= first and record.operation != "mark"]
        return "seed %s, run %d:\n%s" % (self.name, self.runs, "\n".join(text for _, _, text in sorted(steps)[-last:]))

    # Power.

    def watch_disk(self):
        """From here on a power loss can be made of the journal."""
        self.layer.boot()
        self._disk = replay.Disk(self.layer.root)

    def lose_power(self, mode="strict"):
        """The machine goes down as it stands: the root becomes what its disk held ("strict", "random" or "kept"), with a new boot id."""
        self._disk.follow(self.layer.records())
        getattr(self._disk, mode)(self.layer.root, *([self.dice] if mode == "random" else []))
        self.excuses = dict(self.excuses, power_lost=True)
        self.watch_disk()

    # Steps.

    def census(self, verb, rounds=6):
        """The named steps of a verb: sorted list of "operation:pattern", seen while it runs alone."""
        first = []
        self.run(verbs=[verb], rounds=rounds, expect=0, arm=lambda: first.append(self.layer.control.sequence))
        return sorted({name_of(record) for record in self.layer.records()
                       if record.sequence > first[0] and record.operation != "mark" and not record.path.endswith("-shm")})


def name_of(record):
    """The step that a record is an instance of."""
    pattern = journal.shape(record.path)
    return "%s:%s%s" % (record.operation, pattern, ">" + journal.shape(record.target) if record.target else "")


def parse_reading(rows):
    """{mailbox: Reading} of the JSON that a worker prints."""
    return {mailbox: Reading(validity, uidnext, highest, {int(uid): Seen(digest, token, frozenset(flags), modseq, trouble)
                                                          for uid, (digest, token, flags, modseq, trouble) in messages.items()})
            for mailbox, (validity, uidnext, highest, messages) in rows.items()}
