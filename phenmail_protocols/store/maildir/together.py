"""Several new messages that become visible together, or not at all, even if the process is killed.

A Maildir has no way to rename several files at once. So a record of all of them is written beside
the mailboxes and synced, then the files are renamed, and then the record is removed; all that under
the account's file lock. Who takes the lock and finds a record knows that its writer was killed, and
finishes the renames before anything else. The messages' bytes and their UIDs are on the disk
already.

Other programs that read the Maildir, such as mutt, do not know this lock: they may see the first
messages some milliseconds before the last ones.
"""
import logging
import os
import re

from ...disk import atomic
from ...disk.regular_files import read_plain, set_aside, set_aside_unless_plain
from .. import errors
from . import files
from .tree import make_maildir

NAME = "phenmail.arriving"
_LONGEST = 1 << 18  # bytes of a record: over 1000 messages
# The user could write a record, too, so it cannot name files elsewhere.
_FOLDER = re.compile(r"(\.[^/.][^/]*)?")
_MESSAGE = re.compile(r"(?:new|cur)/([A-Za-z0-9._-]+),S=\d+,W=\d+(?::2,[A-Za-z]*)?")
log = logging.getLogger("phenmail.store")


def begin(tree, folder, messages):
    """Write the record: files that lie in the account's `tmp` will be renamed into a mailbox.

    `messages`: their paths below the mailbox's folder. Raises OSError, errors.Limit.
    """
    data = "\n".join([folder] + messages).encode("ascii")
    if len(data) > _LONGEST:
        raise errors.Limit("There are too many messages to add at once.")
    path = os.path.join(tree.path, NAME)
    set_aside_unless_plain(path)
    atomic.sync_directory(os.path.join(tree.path, "tmp"))
    atomic.write_file(path, data)


def end(tree):
    """All messages have been renamed, or none has: remove the record. Raises OSError."""
    files.unlink(os.path.join(tree.path, NAME))


def finish(tree):
    """If there is a record, finish what its writer began. What fails is logged."""
    path = os.path.join(tree.path, NAME)
    if not os.path.lexists(path):
        return
    try:
        if set_aside_unless_plain(path):
            return
        count = _rename_all(tree, path)
        os.unlink(path)
        log.warning("%s: a process was killed while it added messages; the last %d were added now",
                    tree.path, count)
    except OSError as error:
        log.error("%s: messages that a killed process was adding are missing, and the next use of "
                  "the account retries: %s", path, error)
    except ValueError as error:
        log.error("%s is set aside, because it is no record of new messages: %s", path, error)
        set_aside(path)


def _rename_all(tree, path):
    """Rename the files that still lie in tmp; returns their number."""
    folder, *messages = read_plain(path, _LONGEST).decode("ascii").split("\n")
    if not _FOLDER.fullmatch(folder) or not tree.has(folder):
        raise ValueError("it names no mailbox")
    make_maildir(tree.path_of(folder))  # an empty part may be missing
    count = 0
    for message in messages:
        found = _MESSAGE.fullmatch(message)
        if not found:
            raise ValueError("it names no message")
        try:
            os.rename("%s/tmp/%s" % (tree.path, found.group(1)),
                      "%s/%s" % (tree.path_of(folder), message))
            count += 1
        except FileNotFoundError:
            pass
    for part in "new", "cur":
        atomic.sync_directory("%s/%s" % (tree.path_of(folder), part))
    return count
