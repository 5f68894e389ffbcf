"""Special uses of mailboxes (RFC 6154): what each is for.

A mailbox may have been given uses when it was created. They are in a small file in its folder, and
so stay with it when it is renamed or its Maildir moves. Without that file, its name decides. Only
one mailbox has a use: one that it was given to comes before one that has it by its name.
"""
import logging
import os

from ...disk import atomic
from ...disk.regular_files import read_plain

FILE = "phenmail-special-use"  # one line: the uses, with spaces between
_BY_NAME = {"sent": "\\Sent", "drafts": "\\Drafts", "trash": "\\Trash",
            "junk": "\\Junk", "archive": "\\Archive"}
#: The uses that a mailbox may have. \All and \Flagged stand for virtual mailboxes.
USES = tuple(_BY_NAME.values())
_LARGEST = 256  # bytes
log = logging.getLogger("phenmail.store")


def by_name(name):
    """The use of a mailbox with this name, as a tuple."""
    use = _BY_NAME.get(name.lower())
    return (use,) if use else ()


def given(path):
    """The uses that the mailbox in the folder `path` was given, as a tuple.

    A damaged file counts as none, and words in it that are no use are ignored.
    """
    try:
        words = read_plain(os.path.join(path, FILE), _LARGEST).decode("ascii", "replace").split()
    except FileNotFoundError:
        return ()
    except OSError as error:
        log.warning("%s/%s is ignored, because it cannot be read: %s", path, FILE, error)
        return ()
    return tuple(use for use in USES if use in words)


def give(path, uses):
    """Give uses to the mailbox in the folder `path`, durably. Raises OSError."""
    atomic.write_file(os.path.join(path, FILE), " ".join(uses).encode("ascii") + b"\n")


def distribute(given_uses):
    """The uses in force: `{name: uses}`, of `{name: uses that were given}` for all mailboxes.

    If several were given the same use (a copied folder), the first by name has it.
    """
    found, taken = {}, set()
    for name in sorted(given_uses, key=lambda name: (not given_uses[name], name)):
        uses = given_uses[name] or by_name(name)
        found[name] = tuple(use for use in uses if use not in taken)
        taken.update(uses)
    return found
