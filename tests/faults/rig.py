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
    """Runs workers one after the other below `layer`; each start reads the whole account, and the
    oracle checks what it read."""

    worker = WORKER

    def __init__(self, layer, name):
        self.layer, self.name = layer, name
        self.folder = os.path.join(layer.root, "mail")
        self.oracle = Oracle()
        self.dice = random.Random(name)
        self.excuses = {}           # for the next check
        self.runs = self.readings = 0
        self._before, self._trace, self._disk, self._process = [], [], None, None
        if not os.path.isdir(self.folder):
            os.mkdir(self.folder)

    def run(self, arm=None, early=None, expect=None, **job):
        """Starts a worker, reads, checks, does the job; its exit status.

        `early` is called before the start, `arm` when the worker is about to begin; both may set
        rules of the layer. `expect`: the exit status that it must have (None: any way to die or
        end). Raises Broken.
        """
        self.runs += 1
        job = dict(dict(folder=self.folder, boot=self.layer.boot_id,
                        seed="%s.%d" % (self.name, self.runs), rounds=0, verbs=["deliver"],
                        prefix="%s.%d" % (self.name, self.runs)), **job)
        self._before, self._trace = self._trace, []
        self._note("start %s" % json.dumps(job))
        if early:
            early()
        self._send(job)
        status, trouble = self._converse(arm)
        self.layer.clear()
        if trouble or status not in ((0, -signal.SIGKILL) if expect is None else (expect,)):
            raise Broken("the worker ended with %d\n%s\n%s" % (status, trouble, self.way()))
        return status

    def _send(self, job):
        if self._process is None:
            self._process = subprocess.Popen([sys.executable, "-S", self.worker],
                                             env=self.layer.environment("store", 1),
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()

    def _converse(self, arm):
        """Listens to one worker until its end: (exit status, what went wrong)."""
        trouble, watchdog = "", None
        try:
            for line in self._process.stdout:
                try:
                    answer = json.loads(line.decode())
                except ValueError:
                    continue        # an answer that a kill cut short was never given
                if "pid" in answer:
                    watchdog = threading.Timer(PATIENCE, os.kill, (answer["pid"], signal.SIGABRT))
                    watchdog.start()
                elif "exit" in answer:
                    return os.WIFSIGNALED(answer["exit"]) and -os.WTERMSIG(
                        answer["exit"]) or os.WEXITSTATUS(answer["exit"]), trouble
                elif "reading" in answer:
                    self._check(answer["reading"])
                else:
                    trouble += answer.get("error", "") if "failed" not in answer else ""
                    self._hear(answer, arm)
        finally:
            if watchdog:
                watchdog.cancel()
        raise Broken("the process that forks the workers is gone\n" + self.way())

    def _hear(self, answer, arm):
        self._note(json.dumps(answer))
        self.oracle.hear(answer)
        if "ready" in answer:
            if arm:
                arm()
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def close(self):
        """Ends the process that forks."""
        if self._process is not None:
            self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None

    def _check(self, reading):
        self.readings += 1
        excuses, self.excuses = self.excuses, {}
        broken = self.oracle.check(parse_reading(reading), **excuses)
        if broken:
            raise Broken("%s\n%s" % ("\n".join(broken), self.way()))

    def way(self, last=150):
        """What was asked, answered and done to the disk since the start of the run before."""
        trace = self._before + self._trace
        steps = sorted(trace + [step for step in self._steps_done() if step[0] >= trace[0][0]])
        lines = []
        for _, _, text in steps:
            if lines and lines[-1][0] == text:
                lines[-1][1] += 1
            else:
                lines.append([text, 1])
        return "seed %s, run %d:\n%s" % (self.name, self.runs, "\n".join(
            text + (" (%d times)" % count if count > 1 else "") for text, count in lines[-last:]))

    def _steps_done(self):
        """What the journal has, as lines of a trace."""
        return [(record.sequence, 0, "    %(operation)s %(path)s %(target)s" % record._asdict())
                for record in self.layer.records() if record.operation != "mark"]

    def _note(self, text):
        self._trace.append((self.layer.control.sequence, 1, text))

    # Power.

    def watch_disk(self):
        """From here on a power loss can be made of the journal."""
        self.layer.boot()
        self._disk = replay.Disk(self.layer.root)

    def lose_power(self, mode="strict"):
        """The machine goes down as it stands: the root becomes what its disk held ("strict",
        "random" or "kept"), with a new boot id."""
        self._disk.follow(self.layer.records())
        self._trace += self._steps_done()
        self._note("power lost (%s)" % mode)
        getattr(self._disk, mode)(self.layer.root, *([self.dice] if mode == "random" else []))
        self.excuses = dict(self.excuses, power_lost=True)
        self.watch_disk()

    # Steps.

    def census(self, verb, rounds=6):
        """The named steps of a verb: sorted list of "operation:pattern", seen while it runs
        alone."""
        first = []
        self.run(verbs=[verb], rounds=rounds, expect=0,
                 arm=lambda: first.append(self.layer.control.sequence))
        return sorted({name_of(record) for record in self.layer.records()
                       if record.sequence > first[0] and record.operation != "mark"
                       and not record.path.endswith("-shm")})


def name_of(record):
    """The step that a record is an instance of."""
    pattern = journal.shape(record.path)
    return "%s:=%s%s" % (record.operation, pattern, ">" + journal.shape(record.target)
                         if record.target else "")


def parse_reading(rows):
    """{mailbox: Reading} of the JSON that a worker prints."""
    return {mailbox: Reading(validity, uidnext, highest,
                             {int(uid): Seen(digest, token, frozenset(flags), modseq, trouble)
                              for uid, (digest, token, flags, modseq, trouble) in messages.items()})
            for mailbox, (validity, uidnext, highest, messages) in rows.items()}
