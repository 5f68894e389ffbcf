"""The names of message files.

A message lies in `new` (no program has looked at it) or in `cur`, where its name ends in `:2,` and
one letter for each flag, in ascending order (https://cr.yp.to/proto/maildir.html). The part before
the colon never changes. In it, `,S=` is the size of the file (Maildir++) and `,W=` its size with
CRLF line ends (Dovecot).
"""
import functools
import itertools
import os
import re
import socket
import time

INFO = ":2,"
_counter = itertools.count(1)
_NO_HOST = re.compile(r"[^A-Za-z0-9._-]")
# Bytes that we keep out of names: the index and every locale must read a name alike.
ODD = re.compile(r"[^ -~]")
_SIZE = re.compile(r",S=(\d{1,18})(?=[,:]|$)")
_WIRE_SIZE = re.compile(r",W=(\d{1,18})(?=[,:]|$)")
_ARRIVAL = re.compile(r"(\d{1,11})\.F([0-9a-f]{32})\.")
_BOTH_SIZES = re.compile(r",S=(\d{1,18}),W=(\d{1,18})(?=[,:]|$)")


def unique_name():
    """A name that no other delivery on any host has (Maildir's rules)."""
    now = time.time()
    return "%d.M%06dP%dQ%d.%s" % (now, now % 1 * 1000000, os.getpid(), next(_counter), _host())


def arrival_name(key):
    """A unique name that says which message of another server this is. `key`: 32 hex digits.

    The same message may come twice in a second: a second file in its place would change what its
    UID names.
    """
    return "%d.F%s.P%dQ%d.%s" % (time.time(), key, os.getpid(), next(_counter), _host())


def arrival_key(name, since):
    """The key in a name that `arrival_name` made at or after `since` (epoch seconds), or None."""
    found = _ARRIVAL.match(name)
    return found.group(2) if found and int(found.group(1)) >= since else None


@functools.lru_cache(maxsize=None)
def _host():
    return _NO_HOST.sub("_", socket.gethostname())[:64]


def with_sizes(name, size, wire_size):
    return "%s,S=%d,W=%d" % (name, size, wire_size)


def size_fields(name):
    """The part of a name that gives its sizes, or ""."""
    found, wire = _SIZE.search(name), _WIRE_SIZE.search(name)
    return (found.group() if found else "") + (wire.group() if wire else "")


def wire_size(name, size):
    """Octets as served, from the name; None if the name does not give them.

    `size` is the file's size in bytes: a name that disagrees with it is not believed.
    """
    both = _BOTH_SIZES.search(name)  # as Dovecot and we write them
    if both:
        found, wire = map(int, both.groups())
    else:
        found, wire = (each and int(each.group(1)) for each in (
            _SIZE.search(name), _WIRE_SIZE.search(name)))
    return wire if found == size and wire is not None and size <= wire else None


def path_of(folder, message):
    """The path at which a message's file should be; `message` has `fresh`, `name`, `letters`."""
    return "%s/%s" % (folder, relative_path(message.fresh, message.name, message.letters))


def relative_path(fresh, name, letters):
    """The path of a message below its folder."""
    return "new/" + name if fresh else "cur/%s%s%s" % (name, INFO, letters)


def split(file_name):
    """`(name, letters)` of a file. Unknown letters stay if they are ASCII; all are sorted."""
    name, _, info = file_name.partition(":")
    return name, _letters(info)


@functools.lru_cache(maxsize=1024)
def _letters(info):
    """The letters behind the colon. Few combinations of flags are in use."""
    if not info.startswith("2,"):
        return ""
    return "".join(sorted(set(ODD.sub("", info[2:].partition(",")[0]))))
