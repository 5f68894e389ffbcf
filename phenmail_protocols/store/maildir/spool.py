"""Lines that would need too much memory: sorted, or in parts, in a temporary file.

A line is a str without "/", such as a file name. The file has no name, so it is gone with the
process. If the disk is full, lines stay in memory.
"""
import heapq
import logging
import os

from .filenames import unique_name

PARTS = 64  # of Parts
_RUN = 8192  # lines that are sorted at once; a long sort would hold the interpreter lock
_TOGETHER = 256  # lines of one part that are written at once
_IN_MEMORY = 4  # runs of SortedLines that need no file
_BLOCK = 8192  # bytes that are read at once
log = logging.getLogger("phenmail.store")


class _Spool:
    """Blocks of lines in a file without a name."""

    def __init__(self, folder):
        self._folder = folder
        self._descriptor = -1
        self._end = 0
        self._failed = False

    def put(self, lines):
        """Keep a list of lines; returns what `get` needs to find it."""
        if not self._failed:
            try:
                return self._write("".join([line + "/" for line in lines]))
            except OSError as error:
                self._failed = True
                if not self._end:
                    self.close()
                log.warning("%s: no temporary file, using memory: %s", self._folder, error)
        return lines

    def _write(self, text):
        if self._descriptor < 0:
            path = os.path.join(self._folder, unique_name())
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL
                                       | getattr(os, "O_CLOEXEC", 0), 0o600)
            os.unlink(path)
        data, start = os.fsencode(text), self._end
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], start + written)
        self._end += written
        return start, self._end

    def get(self, block):
        """The lines of a block, from the disk or from memory."""
        return iter(block) if isinstance(block, list) else self._read(*block)

    def _read(self, start, end):
        rest = b""
        while start < end:
            data = os.pread(self._descriptor, min(_BLOCK, end - start), start)
            if not data:
                raise OSError("a temporary file was truncated")
            start += len(data)
            whole, _, rest = (rest + data).rpartition(b"/")
            if whole:
                yield from os.fsdecode(whole).split("/")

    def close(self):
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close


class SortedLines:
    """Add lines, then iterate once: they come in order."""

    def __init__(self, folder):
        """`folder`: for the temporary file."""
        self._spool = _Spool(folder)
        self._run = []
        self._in_memory = []  # the first runs, one behind the other
        self._runs = []  # blocks of the spool
        self.count = 0

    def extend(self, lines):
        """Add a few lines."""
        self._run += lines
        self.count += len(lines)
        if len(self._run) >= _RUN:
            run, self._run = self._run, []
            run.sort()
            if len(self._in_memory) < _IN_MEMORY * _RUN:
                self._in_memory += run
            else:
                self._runs.append(self._spool.put(run))

    def close(self):
        self._spool.close()

    def __iter__(self):
        # Runs that are sorted already are merged quickly.
        run = sorted(self._in_memory + self._run)
        return heapq.merge(run, *map(self._spool.get, self._runs)) if self._runs else iter(run)


class Parts:
    """Lines in PARTS parts, each in the order in which they were added."""

    def __init__(self, folder):
        """`folder`: for the temporary file."""
        self._spool = _Spool(folder)
        self._open = [[] for _ in range(PARTS)]
        self._blocks = [[] for _ in range(PARTS)]

    def add(self, number, line):
        """Add to the part `number % PARTS`."""
        lines = self._open[number % PARTS]
        lines.append(line)
        if len(lines) >= _TOGETHER:
            self._blocks[number % PARTS].append(self._spool.put(lines))
            self._open[number % PARTS] = []

    def close(self):
        self._spool.close()

    def take(self, number):
        """Yield the lines of a part, once."""
        blocks, self._blocks[number] = self._blocks[number], []
        lines, self._open[number] = self._open[number], []
        for block in blocks:
            yield from self._spool.get(block)
        yield from lines
