"""What a Python filter may use: time, memory, files, processes, and the size of what it exchanges.

`python_child` enforces the wall time and calls `apply` in each run; `python_filters` counts how
many run at once. The standard library is enough for this module, because children load it.
"""
import math

from .child_side import set_limit

SECONDS = 2.0  # wall time of one run; processor time is limited to the same, in whole seconds
MEMORY = 128 * 1024 * 1024  # bytes of address space that a run may add to what is mapped before
RESERVE = 4 * 1024 * 1024  # of it, released to be able to report that memory ran out
# No core file, no file content, no process or thread, few descriptors, no POSIX message queue.
_RESOURCES = (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0), ("RLIMIT_NOFILE", 32),
              ("RLIMIT_MSGQUEUE", 0))

MESSAGE_OCTETS = 1024 * 1024  # of a message, from its beginning
CODE_OCTETS = 256 * 1024
ANSWER_OCTETS = 65536
MOST_FLAGS = MOST_COPIES = 100  # in one answer
LONGEST_VALUE = 1000  # characters of a mailbox, an address, a flag or a reason

# What the email package parses quickly. Beyond that its time grows with the product of lines and
# boundaries (1 MB of "--x" lines: 3 s), and a sender could make every filter run out of time. So
# only the header of such a message is parsed.
MOST_LINES, MOST_PARTS, MOST_BOUNDARIES = 30000, 1000, 50

MOST_RUNS = 8  # at once
MOST_OF_ONE = 2  # at once, of one script of one owner
MOST_PROCESSES = 4  # that wait for requests, one for each owner
REQUESTS_OF_ONE = 1000  # then a process is replaced
WAIT_SECONDS = 30.0  # for a turn, if too many scripts run


def address_space():
    """Bytes that this process has mapped, None if the system cannot limit them.

    A locale archive alone can be 200 MB, so the limit is set relative to this.
    """
    import resource
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 512 * 1024 * 1024 if hasattr(resource, "RLIMIT_AS") else None


def apply(seconds, mapped):
    """Limit this process for good: `seconds` of processor time, and MEMORY beyond `mapped` (bytes;
    None: no limit)."""
    processor = max(1, math.ceil(seconds))
    limits = [(name, value, value) for name, value in _RESOURCES]
    limits.append(("RLIMIT_CPU", processor, processor + 1))
    if mapped is not None:
        limits.append(("RLIMIT_AS", mapped + MEMORY, mapped + MEMORY))
    for name, soft, hard in limits:
        try:
            set_limit(name, soft, hard)
        except (ValueError, OSError):
            pass  # macOS defines limits that it does not enforce
