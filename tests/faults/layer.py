"""The disk layer as the tests hold it: compiles `disklayer.c`, gives processes their environment,
sets its rules, reads its journal.

It knows nothing of mail. One `Layer` watches one root folder; any number of processes may run under
it, one after the other or at once.
"""
import ctypes
import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys

from . import journal

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "disklayer.c")
RULES = 16
KILL, FREEZE, FAIL = 1, 2, 3
# What needs space on the disk: these fail when it is full.
SPACE = "create,write,allocate,mkdir,link,symlink"


class MissingCompiler(Exception):
    """The layer cannot be built here; the text names what is missing."""


class _Rule(ctypes.Structure):
    _fields_ = [("armed", ctypes.c_uint32), ("action", ctypes.c_uint32), ("after", ctypes.c_uint32),
                ("error", ctypes.c_int32),
                ("skip", ctypes.c_uint64), ("count", ctypes.c_uint64), ("hits", ctypes.c_uint64),
                ("operation", ctypes.c_char * 64), ("pattern", ctypes.c_char * 256),
                ("role", ctypes.c_char * 32)]


class _Control(ctypes.Structure):
    """The part of `struct control` that Python touches; the lock behind it belongs to the
    library."""

    _fields_ = [("magic", ctypes.c_uint32), ("frozen", ctypes.c_uint32),
                ("sequence", ctypes.c_uint64), ("journal_end", ctypes.c_uint64),
                ("clock_shift", ctypes.c_int64), ("rules", _Rule * RULES)]


def build(folder):
    """Compiles the library into `folder`; its path. Raises MissingCompiler."""
    if not sys.platform.startswith("linux"):
        raise MissingCompiler("the disk layer needs Linux (LD_PRELOAD, /proc)")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise MissingCompiler("cc is missing (Debian: apt-get install gcc libc6-dev)")
    library = os.path.join(folder, "disklayer.so")
    subprocess.check_call([compiler, "-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-o", library,
                           SOURCE, "-ldl", "-lpthread"])
    return library


class Rules:
    """What the layer is to do; `control` and `_functions` are the maker's to set."""

    control = _functions = None

    # `step` is "operation:pattern": names of operations with commas (or *), an fnmatch pattern on
    # the path below the root.

    def kill(self, step, nth=1, after=False, role=""):
        """The process that comes to the nth operation of this step dies there by SIGKILL. Returns
        the rule (its `hits` counts)."""
        return self._arm(KILL, step, nth, after, role)

    def freeze(self, step, nth=1, after=False, role=""):
        """The same for the whole machine: no process does any further operation; each dies at its
        next."""
        return self._arm(FREEZE, step, nth, after, role)

    def fail(self, step, error=errno.ENOSPC, nth=1, count=0, half=False, role=""):
        """The step fails with the error, `count` times (0: until cleared). `half`: first, half of a
        write is still written."""
        return self._arm(FAIL, step, nth, half, role, error, count)

    def _arm(self, action, step, nth, after, role, error=0, count=0):
        operation, _, pattern = step.partition(":")
        with self:
            rule = next(rule for rule in self.control.rules if not rule.armed)
            rule.action, rule.after, rule.error, rule.skip, rule.count, rule.hits = action, int(
                after), error, nth - 1, count, 0
            rule.operation = operation.replace("space", SPACE).encode()
            rule.pattern, rule.role = (pattern or "*").encode(), role.encode()
            rule.armed = 1
        return rule

    def clear(self, rule=None):
        """Takes back one rule, or all."""
        with self:
            for each in (self.control.rules if rule is None else (rule,)):
                each.armed = 0

    def __enter__(self):
        """Holds every watched operation up."""
        self._functions.faults_take(ctypes.byref(self.control))
        return self

    def __exit__(self, *_):
        self._functions.faults_leave(ctypes.byref(self.control))


class Own(Rules):
    """The rules of the layer under which this very process runs, as its environment says."""

    def __init__(self):
        self._functions = ctypes.CDLL(os.environ["LD_PRELOAD"])
        with open(os.environ["FAULTS_CONTROL"], "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)
        self.control = _Control.from_buffer(self._memory)

    def forget(self):
        """Begin the journal anew: the number of operations since the last call."""
        with self:
            done, self.control.sequence, self.control.journal_end = self.control.sequence, 0, 0
        return done


class Layer(Rules):
    """The disk below `root`, watched. `work` is a folder outside of it for the control block and
    the journal."""

    def __init__(self, library, root, work):
        self.library, self.root = library, os.path.realpath(root)
        self.journal_path = os.path.join(work, "journal")
        self.boot_path = os.path.join(work, "boot_id")
        self._control_path = os.path.join(work, "control")
        self._functions = ctypes.CDLL(library)
        size = self._functions.faults_create(self._control_path.encode())
        if size < ctypes.sizeof(_Control):
            raise OSError("no control block at %s" % self._control_path)
        with open(self._control_path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)
        self.control = _Control.from_buffer(self._memory)
        self.boots = 0
        self.boot()

    def boot(self):
        """A new boot id for the processes that start from now on, a running machine, and an empty
        journal; rules are cleared."""
        self.boots += 1
        with open(self.boot_path, "w") as file:
            file.write(self.boot_id + "\n")
        self.clear()
        self.control.frozen = 0
        self.control.journal_end = 0
        with open(self.journal_path, "wb"):
            pass

    @property
    def boot_id(self):
        return "00000000-0000-4000-8000-%012d" % self.boots

    def environment(self, role="", mark_descriptor=None):
        """What a process to be watched needs in its environment, on top of the usual."""
        values = dict(LD_PRELOAD=self.library, FAULTS_CONTROL=self._control_path,
                      FAULTS_JOURNAL=self.journal_path,
                      FAULTS_ROOT=self.root, FAULTS_ROLE=role, FAULTS_BOOT_ID=self.boot_path)
        if mark_descriptor is not None:
            values["FAULTS_MARK_FD"] = str(mark_descriptor)
        return dict(os.environ, **values)

    def shift_clock(self, seconds):
        """From now on the wall clock of the watched processes is this far from the real one."""
        self.control.clock_shift = int(seconds * 1000000000)

    def power_off(self):
        """No process does any further operation from here on."""
        with self:
            self.control.frozen = 1

    def kill_process(self, process):
        """SIGKILL from outside, but never between an operation and its record, so that the journal
        stays true."""
        with self:
            os.kill(process, signal.SIGKILL)

    def records(self):
        """The journal as it stands: list of `journal.Record`."""
        with self:
            end = self.control.journal_end
        with open(self.journal_path, "rb") as file:
            return list(journal.parse(file.read(end)))

    def close(self):
        del self.control
        self._memory.close()
