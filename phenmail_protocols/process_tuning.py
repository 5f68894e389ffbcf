"""Processor cores and memory of this process.

The command line uses it; a program that embeds the server decides for itself.
"""
import os

PERIOD = 30.0  # seconds between two calls of `OneCore.settle`
_CLEARLY = 0.2  # of a core's time: what another core must have more to spare


class OneCore:
    """Keeps all threads on the least loaded processor core.

    Python runs one thread at a time. On several cores, passing the interpreter lock wakes another
    core; on one it is a plain switch. Deliveries per second on two cores with nothing else
    running: 1010 on both, 1600 on one; with a connection for each message 590 and 1110.
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
        """Choose a core again, and move all threads to it."""
        if not self._cores:
            return
        try:
            self._core = self._choose()
        except OSError:  # the system does not say what its cores do
            return
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setaffinity(int(thread), {self._core})
            except OSError:
                pass  # it has ended, or must not be moved

    def _choose(self):
        """The present core, unless another has clearly more time to spare.

        What this process used itself counts as spare time of the present core.
        """
        import time
        idle, used = _idle_seconds(), time.process_time()
        spare = {core: idle.get(core, 0.0) - self._idle.get(core, 0.0) for core in self._cores}
        ours, self._idle, self._used = used - self._used, idle, used
        best = max(sorted(spare), key=spare.get)
        if self._core is None:
            return best
        gain = spare[best] - spare[self._core] - ours
        return best if gain > _CLEARLY * PERIOD else self._core


def _idle_seconds():
    """Seconds that each core was idle since the system's start -> {core: seconds}."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    with open("/proc/stat") as file:
        for line in file:
            words = line.split()
            if words and words[0][:3] == "cpu" and words[0][3:].isdigit():
                found[int(words[0][3:])] = int(words[4]) / tick
    return found


def _fastest(cores):
    """Those of `cores` that are not the slow ones of a big.LITTLE chip."""
    speeds = {}
    for core in cores:
        try:
            with open("/sys/devices/system/cpu/cpu%d/cpu_capacity" % core) as file:
                speeds[core] = int(file.read())
        except (OSError, ValueError):
            return cores
    return {core for core in cores if speeds[core] == max(speeds.values())}


def frugal_memory():
    """Make glibc use one arena for all threads -> a function that returns free pages to the system.

    By default glibc has an arena for each of many threads, and each keeps what its thread used:
    10 000 connections of invalid input left 16 MB behind, with one arena nothing.
    """
    try:
        import ctypes
        library = ctypes.CDLL(None)
        library.mallopt(-8, 1)  # M_ARENA_MAX
        trim = library.malloc_trim
    except (ImportError, OSError, AttributeError, TypeError):
        return lambda: None  # another C library
    return lambda: trim(0)


def forget_the_start(trim):
    """Return the memory that only the start needed, about a megabyte. `trim`: frugal_memory()."""
    import gc
    gc.collect()
    trim()
