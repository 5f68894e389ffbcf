"""Sorts in steps. To sort a large mailbox at once, `list.sort` would hold the interpreter lock for
over 100 ms, and delay all other connections.
"""
from heapq import merge
from itertools import islice

STEP = 2000  # items that are sorted at once: a few milliseconds


def sort(items, key, look, reverse=False):
    """A sorted list of `items` (a sequence), stable like `sorted`. `look` is called between
    steps."""
    runs = []
    for start in range(0, len(items), STEP):
        look()
        runs.append(sorted(items[start:start + STEP], key=key, reverse=reverse))
    if len(runs) == 1:
        return runs[0]
    found, merged = [], merge(*runs, key=key, reverse=reverse)
    while len(found) < len(items):
        look()
        found += islice(merged, STEP)
    return found
