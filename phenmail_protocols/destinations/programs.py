"""Programs: a user's command gets a message, and its exit status says what became of it.

What a command can rely on (the terms are those of Postfix's pipe(8) and local(8)):

- It is split into words like a shell command, but no shell runs it. Words that are exactly
  `{FROM}`, `{TO}` or `{USER}` become the envelope's sender, the recipient and the user's identity.
  The null sender is "", which dovecot-lda, procmail and maildrop all accept after `-f`. An address
  that begins with "-" gets a quoted local part (RFC 5321 4.1.2: the same address), so that it is
  not taken for an option.
- Standard input is the message with LF line ends, after Return-Path and Delivered-To. The command
  need not read it.
- It runs as the owner of the user's folder, never as root. If the folder belongs to root or is not
  a folder, it runs as `run-as`, and without that it does not run. A server that is not root runs
  it as itself. It starts in the user's folder if it owns that, else in "/".
- Its environment is PATH, LANG, the HOME, USER, LOGNAME and SHELL of the user it runs as (a uid
  without a passwd entry uses the identity as its name and the user's folder as its home), SENDER,
  RECIPIENT and EXTENSION (the part after "+"), and nothing else. These last three often pass
  through shells, so in them a character that is not a letter, a digit or one of !@%-_=+:,./ becomes
  "_", and so does a "-" at the beginning. The words above are exact.
- Status 0: delivered. 75: retry later; so are 126 and 127 (cannot be run, not found), death by a
  signal, and the time limit, after which the whole process group is killed. Any other status: the
  message bounces with the last lines of the command's output.
- If the server is killed while it writes, the command has a part of the message, as in all mail
  systems that use pipes. The whole message is delivered again.
"""
import logging
import os
import re
import sys
import threading
import time
from typing import NamedTuple

from ..children.privileges import NoUser, user_for
from ..children.program import GRACE, Run
from ..delivery import trace
from ..disk import open_beneath
from ..mail.reply import STOPPING, Reply

_SECONDS = 300.0
_LINES, _CHARACTERS = 5, 500  # of the output, in a bounce
PATH = "/usr/local/bin:/usr/bin:/bin"

# The codes of sysexits.h: our replies, with the codes that Postfix uses, and their meanings.
_EXITS = {
    64: (554, "5.3.5", "wrong usage"), 65: (554, "5.6.0", "wrong data"),
    66: (554, "5.3.0", "no input"), 67: (550, "5.1.1", "no such user"),
    68: (550, "5.1.2", "no such host"), 69: (554, "5.3.0", "unavailable"),
    70: (554, "5.3.0", "internal error"), 71: (554, "5.3.0", "system error"),
    72: (554, "5.3.0", "a system file is missing"),
    73: (554, "5.2.0", "cannot create the output file"),
    74: (554, "5.3.0", "input or output error"), 75: (451, "4.3.0", "try again later"),
    76: (554, "5.5.0", "protocol error"), 77: (550, "5.7.1", "permission denied"),
    78: (554, "5.3.5", "wrong configuration"), 126: (451, "4.3.0", "cannot be run"),
    127: (451, "4.3.0", "not found")}
_OTHER = (554, "5.3.0", "")
# The status of a shell whose own child was killed by a signal: 128 and the signal's number.
_SIGNALLED = range(129, 193)

# What shells may interpret, in SENDER, RECIPIENT and EXTENSION.
_UNSAFE = re.compile(r"[^0-9A-Za-z!@%_=+:,./\u00a1-\U0010ffff-]")

log = logging.getLogger("phenmail.destinations")


class Unusable(Exception):
    """The command cannot be run with these settings; str() says what to change."""


class Owner(NamedTuple):
    """The user that a command runs as. `is_other`: not the server's."""
    uid: int
    gid: int
    is_other: bool
    name: str
    home: str


class Programs:
    """Runs commands. Thread-safe; the callers bound how many run at once.

    `settings()`: the config.settings.Settings in force; `seconds`: a command's time limit; `grace`:
    seconds after that until it is killed.
    """

    def __init__(self, settings, seconds=_SECONDS, grace=GRACE, clock=time.monotonic):
        self._settings = settings
        self._seconds = seconds
        self._grace = grace
        self._clock = clock
        self._stopping = False
        self._running = set()
        self._changed = threading.Condition()

    def run(self, command, message, body, recipient, user, folder, tag=None):
        """Give a message to a command -> mail.reply.Reply.

        `message`: queue.model.Message; `body`: its bytes in wire form, a seekable binary file;
        `recipient`: Address; `tag`: the part after "+" or None; `user`: the identity; `folder`:
        the user's, absolute.
        """
        try:
            arguments = words(command, message.sender, recipient, user)
            owner = self._owner(folder, user)
        except Unusable as error:
            log.error("%s: <%s> waits, its command cannot be run: %s", message.identity, recipient,
                      error)
            return Reply(451, "4.3.5",
                         "The command for this address is misconfigured; see the server's log")
        environment = _environment(owner, message.sender, recipient, tag)
        run = None
        try:
            body.seek(0)
            run = self._begin(arguments, environment, folder, owner)
            if run is None:
                return STOPPING
            ended = run.attend(trace.traced_octets(message, recipient, body), self._seconds)
        except (OSError, ValueError) as error:
            log.error("%s: <%s> waits, cannot give the message to %s: %s", message.identity,
                      recipient, arguments[0], error)
            return Reply(451, "4.3.0", "The command for this address cannot be run")
        finally:
            self._end(run)
        reply = _reply(ended, self._seconds)
        _log(message, recipient, arguments[0], owner, ended, reply)
        return reply

    def _begin(self, arguments, environment, folder, owner):
        if self._stopping:
            return None
        python = self._settings().python or sys.executable
        if not python:
            raise OSError("the Python interpreter is unknown: set python")
        run = Run(python, [word.encode("utf-8", "surrogateescape") for word in arguments],
                  environment, _start_of(folder, owner),
                  (owner.uid, owner.gid) if owner.is_other else None, self._grace, self._clock)
        with self._changed:
            self._running.add(run)
            if self._stopping:  # set since the check above
                run.interrupt()
        return run

    def _end(self, run):
        with self._changed:
            self._running.discard(run)
            self._changed.notify_all()

    def interrupt(self):
        """End all commands and start no other; returns at once. Such attempts fail with 451."""
        with self._changed:
            self._stopping = True
            for run in self._running:
                run.interrupt()

    def stop(self, seconds=10.0):
        """`interrupt`, and wait up to `seconds` -> whether nothing runs any more."""
        self.interrupt()
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    def _owner(self, folder, identity):
        """-> Owner, never root. Raises Unusable."""
        if not hasattr(os, "geteuid"):
            raise Unusable("commands can be run only on POSIX systems")
        status = _status(folder)
        try:
            switched = user_for((0, 0) if status is None else (status.st_uid, status.st_gid),
                                self._settings().run_as)
        except NoUser as error:
            reason = error if status is not None else "it is not a folder, and run-as is unusable"
            raise Unusable("%s: %s; commands never run as root: give the folder to its user "
                           "(chown), or set run-as to another user" % (folder, reason))
        uid, gid = switched or (os.geteuid(), os.getegid())
        return Owner(uid, gid, switched is not None, *_entry(uid, identity, folder))


def words(command, sender, recipient, user):
    """A command -> its words (str), with addresses and identity filled in. Raises Unusable."""
    import shlex
    try:
        given = shlex.split(command)
    except ValueError as error:
        raise Unusable("%r cannot be split into words: %s" % (command, error))
    if not given or not given[0] or "\0" in command:
        raise Unusable("%r contains no command" % command)
    if user.startswith("-"):
        raise Unusable("the identity %r would be taken for an option of the command" % user)
    values = {"{FROM}": as_word(sender), "{TO}": as_word(recipient), "{USER}": user}
    return given[:1] + [values.get(word, word) for word in given[1:]]


def as_word(address):
    """An Address -> its text, which never looks like an option; None (<>) -> ""."""
    if address is None:
        return ""
    text = str(address)
    if text.startswith("-"):
        text = '"%s"%s' % (address.local, text[len(address.local):])
    return text


def _status(folder):
    """The os.stat result of a folder, or None.

    None also if the path contains a symbolic link, which may lead to another owner's folder.
    """
    try:
        return open_beneath.folder_status(folder)
    except OSError:
        return None


def _start_of(folder, owner):
    """The folder to start in."""
    status = _status(folder)
    is_own = status is not None and status.st_uid == owner.uid and os.access(folder, os.X_OK)
    return folder if is_own else "/"


def _entry(uid, identity, folder):
    """(name, home) from passwd; for a uid without an entry the identity and the folder."""
    import pwd
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return identity, folder
    return entry.pw_name, entry.pw_dir


def _environment(owner, sender, recipient, tag):
    given = (("PATH", PATH), ("LANG", "C.UTF-8"), ("SHELL", "/bin/sh"), ("HOME", owner.home),
             ("USER", owner.name), ("LOGNAME", owner.name), ("SENDER", _harmless(as_word(sender))),
             ("RECIPIENT", _harmless(as_word(recipient))), ("EXTENSION", _harmless(tag or "")))
    # In UTF-8, whatever the locale of this process.
    return {name.encode("ascii"): value.encode("utf-8", "surrogateescape") for name, value in given}


def _harmless(text):
    text = _UNSAFE.sub("_", text)
    return "_" + text[1:] if text.startswith("-") else text


def _reply(ended, seconds):
    if ended.interrupted:
        return STOPPING
    code, enhanced = 451, "4.3.0"
    if not ended.launched:
        text = "cannot be run"
    elif ended.late:
        text = "did not exit within %g seconds" % seconds
    elif ended.code is None:
        text = "exited with unknown status"
    elif ended.code < 0 or ended.code in _SIGNALLED:
        text = "was killed by signal %d" % (-ended.code if ended.code < 0 else ended.code - 128)
    elif ended.code == 0:
        return Reply(250, "2.0.0", "Delivered to the command for this address")
    else:
        code, enhanced, meaning = _EXITS.get(ended.code, _OTHER)
        text = "exited with status %d%s" % (ended.code, meaning and " (%s)" % meaning)
    output = last_lines(ended.output)
    return Reply(code, enhanced, "The command for this address %s%s" % (
        text, output and ": " + output))


def last_lines(output):
    """The last lines of a command's output (bytes) -> one printable line, joined by " / "."""
    # Control characters would reach the log and the terminal of whoever reads the bounce.
    lines = [" ".join("".join([each if each.isprintable() else " " for each in line]).split())
             for line in output.decode("utf-8", "replace").splitlines()]
    return " / ".join([line for line in lines if line][-_LINES:])[-_CHARACTERS:]


def _log(message, recipient, command, owner, ended, reply):
    level = logging.INFO if reply.delivered else logging.WARNING
    if not ended.launched or ended.code in (126, 127):
        level = logging.ERROR  # retrying will not help until somebody acts
    log.log(level, "%s: to=<%s> command=%s as=%s status=%s seconds=%.1f %d %s %s", message.identity,
            recipient, command, owner.name, ended.code, ended.seconds, reply.code, reply.enhanced,
            reply.text)
