"""The child process that becomes a user's command: it drops the server's rights, then calls exec.

Words:  REPORT DESCRIPTORS UID:GID COMMAND [ARGUMENT...]

REPORT is the descriptor of a pipe that the command does not get. LAUNCHED is written there just
before the exec, and FAILED_AFTER_ALL if the exec fails: if only LAUNCHED arrives, the exit status
is the command's. DESCRIPTORS is the limit of open files. UID:GID is the user to become, "" for
the present one.

The process stays the same, so its id, session and standard streams are the command's. COMMAND is
looked up in PATH, never by a shell. The umask is 077 and every signal has its default action.

On failure it exits with FAILED (EX_TEMPFAIL of sysexits.h: "try again") and prints one line to
standard error that begins with "phenmail: ".
"""
import errno
import os
import sys

from .child_side import LAUNCHED, become, set_limit, settle

FAILED = 75
FAILED_AFTER_ALL = b", failed"


def execute(command, report):
    """Become the command. Raises the most informative OSError.

    It imports nothing: the new user may not be able to read this interpreter's files.
    """
    environment = dict(os.environ)
    environment.pop("LC_CTYPE", None)  # Python sets it where the system has no C.UTF-8 (PEP 538)
    search_path = environment.get("PATH", "").split(":")
    places = [""] if "/" in command[0] else [place + "/" for place in search_path]
    os.write(report, LAUNCHED)
    reason = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for place in places:
        try:
            os.execve(place + command[0], command, environment)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                reason = error
    os.write(report, FAILED_AFTER_ALL)
    raise reason


def main(words):
    """Returns only if the command could not be started -> the exit status."""
    report, descriptors, user = words[:3]
    command = words[3:]
    try:
        settle()
        os.umask(0o077)
        set_limit("RLIMIT_NOFILE", int(descriptors))
        os.set_inheritable(int(report), False)
        if user:
            uid, gid = [int(number) for number in user.split(":")]
            become(uid, gid)
        execute(command, int(report))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        sys.stderr.write("phenmail: cannot run %s: %s\n" % (command[0], reason))
    return FAILED
