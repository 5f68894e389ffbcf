"""Sorting more lines than should be in memory at once.

Lines are sorted in runs, and the runs are merged. Most runs are kept in a temporary file. If the
disk is full, they stay in memory.
"""
import heapq
import logging
import os

from .filenames import unique_name

_RUN = 8192  # lines that are sorted at once; a long sort would hold the interpreter lock
_IN_MEMORY = 4  # runs
_BLOCK = 8192  # bytes of a run that are read at once
log = logging.getLogger("phenmail.store")


class SortedLines:
    """Lines of printable ASCII and NUL. Add them, then iterate once: they come in order."""

    def __init__(self, folder):
        """`folder`: for the temporary file."""
        self._folder = folder
        self._run = []
        self._runs = []  # lists in memory
        self._spans = []  # (start, end) of runs in the file
        self._descriptor = -1
        self._end = 0
        self.count = 0

    def add(self, line):
        self._run.append(line)
        self.count += 1
        if len(self._run) >= _RUN:
            self._close_run()

    def _close_run(self):
        run, self._run = self._run, []
        run.sort()
        if len(self._runs) >= _IN_MEMORY:
            try:
                self._write(run)
                return
            except OSError as error:
                log.warning("%s: no temporary file, memory is used: %s", self._folder, error)
        self._runs.append(run)

    def _write(self, run):
        if self._descriptor < 0:
            path = os.path.join(self._folder, unique_name())
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL
                                       | getattr(os, "O_CLOEXEC", 0), 0o600)
            os.unlink(path)
        data = "".join([line + "\n" for line in run]).encode("ascii")
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self._end + written)
        self._spans.append((self._end, self._end + written))
        self._end += written

    def __iter__(self):
        self._run.sort()
        return heapq.merge(self._run, *(self._runs + [self._lines(*span) for span in self._spans]))

    def _lines(self, start, end):
        rest = b""
        while start < end:
            data = os.pread(self._descriptor, min(_BLOCK, end - start), start)
            if not data:
                raise OSError("the temporary file was truncated")
            start += len(data)
            whole, _, rest = (rest + data).rpartition(b"\n")
            if whole:
                yield from whole.decode("ascii").split("\n")

    def close(self):
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close
