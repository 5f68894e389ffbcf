"""What this machine is asked for: one processor core for all threads, and memory back.

The command line uses it; a program that embeds the server decides about
itself.
"""
import os

PERIOD = 30.0  # seconds between two looks, as `OneCore.settle` is called


class OneCore:
    """Keeps all threads on one processor core: the one with most to spare.

    Python runs one thread at a time. On several cores each hand-over wakes
    another core; on one it is a plain switch. Deliveries a second, two cores,
    nothing else running: 1010 spread, 1600 on one; with a connection for
    each message 590 and 1110.
    """

    def __init__(self):
        self._cores = set()
        if (hasattr(os, "sched_getaffinity") and os.path.exists("/proc/stat")
                and len(os.sched_getaffinity(0)) > 1):
            self._cores = _fastest(os.sched_getaffinity(0))
        self._core = None
        self._idle = {}
        self._used = 0.0

    def settle(self):
        """Choose anew, and bring threads that are elsewhere along."""
        if not self._cores:
            return
        try:
            self._core = self._choose()
        except OSError:  # the system doesn't say what its cores do
            return
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), {self._core})
            except OSError:
                pass  # it has ended, or it may not be moved

    def _choose(self):
        """Another core only if it has clearly more to spare than ours, with
        what we use of it ourselves."""
        import time
        idle, used = self._idle_seconds(), time.process_time()
        spare = {core: idle.get(core, 0.0) - self._idle.get(core, 0.0)
                 for core in self._cores}
        ours, self._idle, self._used = used - self._used, idle, used
        best = max(sorted(spare), key=spare.get)
        if self._core is None:
            return best
        gain = spare[best] - spare[self._core] - ours
        return best if gain > 0.2 * PERIOD else self._core

    def _idle_seconds(self):
        tick = os.sysconf("SC_CLK_TCK")
        found = {}
        with open("/proc/stat") as file:
            for line in file:
                words = line.split()
                if words and words[0][:3] == "cpu" and words[0][3:].isdigit():
                    found[int(words[0][3:])] = int(words[4]) / tick
        return found


def _fastest(cores):
    """Those of ``cores`` that are not the slow ones of a big.LITTLE chip."""
    speeds = {}
    for core in cores:
        try:
            with open("/sys/devices/system/cpu/cpu%d/cpu_capacity"
                      % core) as file:
                speeds[core] = int(file.read())
        except (OSError, ValueError):
            return cores
    return {core for core in cores if speeds[core] == max(speeds.values())}


def frugal_memory():
    """Have glibc keep one arena for all threads; the answer, called now and
    then, gives free pages back to the system.

    On its own it keeps an arena for each of many threads, and what they held:
    10 000 connections of nonsense left 16 MB behind, with this nothing.
    """
    try:
        import ctypes
        library = ctypes.CDLL(None)
        library.mallopt(-8, 1)  # M_ARENA_MAX
        trim = library.malloc_trim
    except (ImportError, OSError, AttributeError, TypeError):
        return lambda: None  # another C library has other manners
    return lambda: trim(0)


def forget_the_start(trim):
    """Give back what only the start needed, a megabyte or so."""
    import gc
    gc.collect()
    trim()
