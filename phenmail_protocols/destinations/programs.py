"""External delivery agents: a user's command gets a message, and its exit status says what became
of it.

What a command can rely on (CONFIG.md, Actions; the terms are those of Postfix's pipe(8) and
local(8)):

- It is split into words as a shell would split it, but no shell runs it.  Words that are `{FROM}`,
  `{TO}` or `{USER}` as a whole become the envelope's sender, the recipient and the user's identity.
  The null sender is "", which dovecot-lda, procmail and maildrop all accept after `-f`.  An address
  that begins with "-" gets a quoted local part (RFC 5321 4.1.2: the same address), so that it is
  not an option.
- Standard input is the message with LF line ends, after Return-Path and Delivered-To.  It need not
  be read.
- It runs as the owner of the user's folder, never as root.  If the folder belongs to root or is not
  a folder, it runs as `run-as`, and without that it does not run.  A server that is not root runs
  it as itself.  It starts in the user's folder if it owns that, else in "/".
- Its environment is PATH, LANG, the HOME, USER, LOGNAME and SHELL of the user it runs as (a uid
  without a passwd entry uses the identity as its name and the user's folder as its home), SENDER,
  RECIPIENT and EXTENSION (the part after "+"), and nothing else.  These last three often pass
  through shells, so a character that is not a letter, a digit or one of !@%-_=+:,./ becomes "_" in
  them, and so does a "-" at their beginning.  The words above are exact.
- Status 0: delivered.  75: later; so are 126 and 127 (cannot be run, not found), a signal, and the
  time limit, at which the whole process group is ended.  Any other: the message bounces with the
  last lines of the command's output.
- A server that is killed while it writes leaves the command with a part of the message, as in all
  mail systems that use pipes.  The whole message is delivered again.
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
from ..disk import beneath
from ..mail.reply import STOPPING, Reply

SECONDS = 300.0
LINES, CHARACTERS = 5, 500  # of its output, in a bounce
PATH = "/usr/local/bin:/usr/bin:/bin"

# sysexits.h: what Postfix's and our own codes (RFC 3463) for them are, and what the numbers mean.
_EXITS = {64: (554, "5.3.5", "wrong usage"), 65: (554, "5.6.0", "wrong data"), 66: (554, "5.3.0",
                                                                                    "no input"),
          67: (550, "5.1.1", "no such user"), 68: (550, "5.1.2", "no such host"),
          69: (554, "5.3.0", "unavailable"), 70: (554, "5.3.0", "internal error"),
          71: (554, "5.3.0", "system error"), 72: (554, "5.3.0", "a system file is missing"),
          73: (554, "5.2.0", "the output file can not be made"),
          74: (554, "5.3.0", "input or output error"), 75: (451, "4.3.0", "try again later"),
          76: (554, "5.5.0", "protocol error"), 77: (550, "5.7.1", "permission denied"),
          78: (554, "5.3.5", "wrong configuration"), 126: (451, "4.3.0", "it can not be run"),
          127: (451, "4.3.0", "it was not found"),}
_OTHER = (554, "5.3.0", "")
# A shell's status for a program of its own that a signal ended is 128 and its number.
_SIGNALLED = range(129, 193)

_UNSAFE = re.compile(r"[^0-9A-Za-z!@%_=+:,./\u00a1-\U0010ffff-]")

log = logging.getLogger("phenmail.delivery")


class Unusable(Exception):
    """The command cannot run with these settings; str() says what to change."""


class Owner(NamedTuple):
    """The user a command runs as.  `switch`: it is another user than the server's."""
    uid: int
    gid: int
    switch: bool
    name: str
    home: str


class Programs:
    """Runs commands.  Any thread may call it; its callers bound how many run at once."""

    def __init__(self, settings, seconds=SECONDS, grace=GRACE, clock=time.monotonic):
        """`settings()`: the config.settings.Settings in force; `seconds`: a command's time;
        `grace`: seconds after that until it is killed.
        """
        self._settings = settings
        self._seconds = seconds
        self._grace = grace
        self._clock = clock
        self._stopping = False
        self._running = set()
        self._changed = threading.Condition()

    def run(self, command, message, body, recipient, user, folder, tag=None):
        """Give a message to a command -> mail.reply.Reply: 250, 4xx (later) or 5xx.

        `message`: queue.model.Message; `body`: its bytes in wire form, a seekable binary file;
        `recipient`: Address; `tag`: the part after "+" or None; `user`: the identity; `folder`:
        absolute.
        """
        try:
            arguments = words(command, message.sender, recipient, user)
            owner = self._owner(folder, user)
        except Unusable as error:
            log.error("%s: <%s> waits, its command is not run: %s", message.identity, recipient,
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
            log.error("%s: <%s> waits, %s could not be given the message: %s", message.identity,
                      recipient, arguments[0], error)
            return Reply(451, "4.3.0", "The command for this address could not be run")
        finally:
            self._end(run)
        reply = _reply(ended, self._seconds)
        _tell(message, recipient, arguments[0], owner, ended, reply)
        return reply

    def _begin(self, arguments, environment, folder, owner):
        if self._stopping:
            return None
        python = self._settings().python or sys.executable
        if not python:
            raise OSError("no Python interpreter is known; set python")
        run = Run(python, [word.encode("utf-8", "surrogateescape") for word in arguments],
                  environment, _start_of(folder, owner), (owner.uid, owner.gid) if owner.switch
                  else None, self._grace, self._clock)
        with self._changed:
            self._running.add(run)
            if self._stopping:
                run.interrupt()
        return run

    def _end(self, run):
        with self._changed:
            self._running.discard(run)
            self._changed.notify_all()

    def interrupt(self):
        """End all commands now and start no other; such an attempt fails with 451.

        Returns at once.
        """
        with self._changed:
            self._stopping = True
            for run in self._running:
                run.interrupt()

    def stop(self, seconds=10.0):
        """`interrupt`, then wait up to `seconds` until nothing runs -> whether that is so."""
        self.interrupt()
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    def _owner(self, folder, identity):
        """-> Owner.  Raises Unusable if that is root."""
        if not hasattr(os, "geteuid"):
            raise Unusable("commands are run on POSIX systems only")
        status = _status(folder)
        try:
            switched = user_for((0, 0) if status is None else (status.st_uid, status.st_gid),
                                self._settings().run_as)
        except NoUser as error:
            reason = error if status is not None else "it is no folder, and no run-as can be used"
            raise Unusable("%s: %s; nothing runs as root: give the folder to its user (chown), "
                           "or set run-as to another user" % (folder, reason))
        uid, gid = switched or (os.geteuid(), os.getegid())
        return Owner(uid, gid, switched is not None, *_entry(uid, identity, folder))


def words(command, sender, recipient, user):
    """A command -> its words (str), with addresses and identity filled in.

    `sender` None is <>.  Raises Unusable.
    """
    import shlex  # late: seldom needed
    try:
        given = shlex.split(command)
    except ValueError as error:
        raise Unusable("%r can not be split into words: %s" % (command, error))
    if not given or not given[0] or "\0" in command:
        raise Unusable("%r names no command" % command)
    if user.startswith("-"):
        raise Unusable("the identity %r would be an option of the command" % user)
    values = {"{FROM}": as_word(sender), "{TO}": as_word(recipient), "{USER}": user}
    return given[:1] + [values.get(word, word) for word in given[1:]]


def as_word(address):
    """An Address -> its text, which is never an option; None (<>) -> ""."""
    if address is None:
        return ""
    text = str(address)
    if text.startswith("-"):
        text = '"%s"%s' % (address.local, text[len(address.local):])
    return text


def _status(folder):
    """The status of a real folder, else None: a link, also on the way, may lead to another owner's.
    """
    try:
        return beneath.folder_status(folder)
    except OSError:
        return None


def _start_of(folder, owner):
    status = _status(folder)
    return folder if status is not None and status.st_uid == owner.uid and os.access(
        folder, os.X_OK) else "/"


def _entry(uid, identity, folder):
    """(name, home) from the passwd file; a uid without an entry has the identity and the folder."""
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
    # UTF-8 whatever this process was started with.
    return {name.encode("ascii"): value.encode("utf-8", "surrogateescape") for name, value in given}


def _harmless(text):
    text = _UNSAFE.sub("_", text)
    return "_" + text[1:] if text.startswith("-") else text


def _reply(ended, seconds):
    if ended.interrupted:
        return Reply(451, "4.3.2", "The command for this address was stopped with the server")
    if not ended.launched:
        return _said(ended, 451, "4.3.0", "can not be run")
    if ended.late:
        return _said(ended, 451, "4.3.0", "did not end within %g seconds" % seconds)
    if ended.code is None:
        return _said(ended, 451, "4.3.0", "ended, nobody knows how")
    if ended.code < 0 or ended.code in _SIGNALLED:
        return _said(ended, 451, "4.3.0", "was ended by signal %d" % (-ended.code if ended.code < 0
                                                                      else ended.code - 128))
    if ended.code == 0:
        return Reply(250, "2.0.0", "Ok, the command for this address took it")
    code, enhanced, meaning = _EXITS.get(ended.code, _OTHER)
    return _said(ended, code, enhanced,
                 "ended with status %d%s" % (ended.code, meaning and " (%s)" % meaning))


def _said(ended, code, enhanced, text):
    output = last_lines(ended.output)
    return Reply(code, enhanced, "The command for this address %s%s"
                 % (text, output and ": " + output))


def last_lines(output):
    """The end of a command's output -> one printable line, its lines joined by " / "."""
    lines = [" ".join("".join([each if each.isprintable() else " " for each in line]).split())
             for line in output.decode("utf-8", "replace").splitlines()]
    return " / ".join([line for line in lines if line][-LINES:])[-CHARACTERS:]


def _tell(message, recipient, command, owner, ended, reply):
    level = logging.INFO if reply.delivered else logging.WARNING
    if not ended.launched or ended.code in (126, 127):
        level = logging.ERROR  # it will not be better until somebody does something
    log.log(level, "%s: to=<%s> command=%s as=%s status=%s seconds=%.1f %d %s %s", message.identity,
            recipient, command, owner.name, ended.code, ended.seconds, reply.code, reply.enhanced,
            reply.text)
