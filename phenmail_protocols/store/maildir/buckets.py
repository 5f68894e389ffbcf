"""Names in buckets, to compare and to list a folder of any size in little memory.

A bucket has the names with the same hash. A message stays in its bucket whatever its flags are, and
also when mbsync writes its own UID into the name (",U=7").

A print of a set of names has one number for each bucket: the sum of the hashes of its names. If
two sets have the same print, they are equal; the chance that they are not is one in 2**64.
"""
import re

COUNT = 1024
ALL = frozenset(range(COUNT))
_U = re.compile(r",U=\d+")


def without_u(name):
    """`name` without mbsync's UID."""
    return _U.sub("", name) if ",U=" in name else name


def bucket(name):
    """The bucket of a file name; its flags do not matter."""
    return hash(without_u(name.partition(":")[0])) % COUNT


def print_of(names):
    """The print of file names such as "1.a.b:2,S", an iterable."""
    sums = [0] * COUNT
    for file_name in names:
        name = file_name.partition(":")[0]
        if ",U=" in name:
            name = _U.sub("", name)
        sums[hash(name) % COUNT] += hash(file_name)
    return sums


def sum_of(names):
    """The sum of a print, which takes less time."""
    return sum(map(hash, names))


def differing(one, other):
    """The buckets in which two prints differ, as a set."""
    return {number for number, sums in enumerate(zip(one, other)) if sums[0] != sums[1]}
