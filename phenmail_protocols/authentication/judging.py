"""SPF, DKIM and DMARC of incoming mail: the server's side.

The checks run in a child process, `judging_child`, because their packages need memory and parse
hostile input. It is started for the first message, ended when idle, and replaced after
MESSAGES_OF_ONE messages or any failure. It gets the staged message's descriptor and a socket, and
nothing else of the server. If the server is root, it runs as `run-as` or "nobody".

Promises:
1. `judge` never raises.
2. It returns within a few seconds of `seconds`, whatever a sender's DNS or message does. A check
   that could not be completed is a temperror.
3. A slow network delays only its own mail: at most MOST_AT_ONCE messages are checked at once, at
   most MOST_OF_ONE from one network. A message that waits longer than `seconds` for its turn is
   accepted without checks.
"""
import importlib.util
import json
import logging
import os
import sys
import time
from typing import NamedTuple

from ..children import privileges
from ..children.child import Process
from ..children.interpreter import CannotStart, command, interpreter
from ..children.pool import Busy, Limits, Pool
from ..disk.regular_files import PLAIN
from ..net.address import network
from . import results
from .dmarc import MOST_AUTHORS
from .results import Result

log = logging.getLogger("phenmail.authentication")

MOST_AT_ONCE = 8
MOST_OF_ONE = 3
MESSAGES_OF_ONE = 1000
_PACKAGES = (("dns", "dnspython"), ("spf", "pyspf"), ("dkim", "dkimpy"))
_METHODS = (("spf", {"dns", "spf"}), ("dkim", {"dns", "dkim"}), ("dmarc", {"dns", "spf", "dkim"}))
_QUERIES = 4  # one DNS query may take this part of the time
_START_SECONDS = 30.0  # from an old SD card: the child loads more than a filter does


class Judgement(NamedTuple):
    """`field`: the whole Authentication-Results field in wire form, with CRLF (bytes); `auth`: for
    filters, as results.summary; `reject`: refuse the message (550 5.7.26) with `reason` (str).
    """
    field: bytes
    auth: str
    reject: bool = False
    reason: str = ""


class Judge:
    """`settings()`: the config.settings.Settings in force; `host()`: our authserv-id (str,
    A-labels); `python`: the interpreter, by default settings.python or this one; `seconds`: for one
    message; `idle`: seconds after which the process is ended.

    Starts nothing before the first `judge`. Thread-safe.
    """

    def __init__(self, settings, host, python=None, clock=time.monotonic, seconds=10.0, idle=60.0):
        self._settings = settings
        self._host = host
        self._python = python
        self._seconds = seconds
        self._missing = None  # frozenset of modules that are not installed
        self.pool = Pool("judging", lambda kind: _Process(kind, seconds),
                         Limits(1, MOST_AT_ONCE, MOST_OF_ONE, MESSAGES_OF_ONE), idle, clock)

    def judge(self, peer, helo, sender, path, start=0):
        """One message -> Judgement.

        `peer`: the client's address as text; `helo`: its HELO name or ""; `sender`: Address, None
        for <>; `path`: the staged message, complete, with LF line ends or all in wire form;
        `start`: where the message as received begins in it, after our own fields.
        """
        host = self._host()
        try:
            end = time.monotonic() + self._seconds
            sender = "" if sender is None else str(sender)
            return self._judgement(host, *self._verdict(host, peer, helo, sender, path, start, end))
        except CannotStart as error:
            log.debug("not checked: %s", error)
        except Exception:
            log.exception("cannot check a message from %s, accepting it without SPF, DKIM and "
                          "DMARC", peer)
        return self._judgement(host, self._unknown())

    def _judgement(self, host, found, reject=False, domain=""):
        reject = bool(reject and self._settings().inbound.dmarc == "enforce")
        reason = ""
        if reject and domain:
            reason = "the domain %s rejects unauthenticated mail in its name (DMARC)" % domain
        elif reject:
            reason = "From contains more than %d domains, too many to check (DMARC)" % MOST_AUTHORS
        return Judgement(results.field(host, found), results.summary(found), reject, reason)

    def _unknown(self):
        return [Result(method, "temperror") for method in self._methods()]

    def _verdict(self, host, peer, helo, sender, path, start, end):
        """-> (list of Result, whether to reject, the domain that asks for it).

        Raises CannotStart, OSError, ValueError.
        """
        if not self._methods():
            return ([],)
        resolver = self._settings().resolver
        timeout = self._seconds / _QUERIES
        try:
            with self.pool.turn(network(peer), self._seconds):
                case = json.dumps(dict(
                    peer=peer, helo=helo, sender=sender, host=host, start=start,
                    seconds=max(0.0, end - time.monotonic()),
                    nameservers=resolver.nameservers if resolver else (),
                    timeout=min(resolver.timeout, timeout) if resolver else timeout))
                # It may be in a user's folder: no symbolic link is followed.
                file = os.open(path, PLAIN)
                try:
                    return self._read(self._ask(case.encode("ascii"), file))
                finally:
                    os.close(file)
        except Busy:
            log.warning("too many messages are being checked, accepting one from %s without checks",
                        peer)
            return (self._unknown(),)

    def _read(self, answer):
        """The child's answer, which may be any bytes. Raises ValueError."""
        text = answer.partition(b"\n")[2]
        if not text:
            return (self._unknown(),)
        values = json.loads(text.decode("ascii"))
        if isinstance(values, str):
            log.error("cannot check messages, accepting them without SPF, DKIM and DMARC: %s",
                      values[:200])
            return (self._unknown(),)
        found, reject, domain = values
        found = [Result(str(method), str(word), str(reason),
                        tuple((str(name), str(value)) for name, value in properties))
                 for method, word, reason, properties in found]
        if not all(results.is_known(each) and results.is_printable(each.reason) for each in found):
            raise ValueError("unknown results: %r" % (found,))
        return found, reject is True, domain if results.is_printable(domain) else ""

    # -- the process

    def _ask(self, case, file):
        return self.pool.ask(self._kind(), b"", case, b"", (file,))

    def _kind(self):
        """(interpreter, whether it is this one, user) by the current settings.

        Raises CannotStart.
        """
        settings = self._settings()
        python = self._python or settings.python
        try:
            user = privileges.user_for((0, 0), settings.run_as or "nobody")
        except privileges.NoUser as error:
            raise CannotStart(str(error))
        return interpreter(python), python is None or python == sys.executable, user

    def stop(self):
        """Judge nothing more; a judgement in progress becomes a temperror. Repeatable."""
        self.pool.stop(0)

    # -- packages

    def _methods(self):
        missing = self._missing_modules()
        return [method for method, needed in _METHODS if not missing & needed]

    def _missing_modules(self):
        """Known only if the child is this interpreter; else it reports what it cannot do."""
        if self._missing is None:
            is_ours = (self._python or self._settings().python) in (None, sys.executable)
            self._missing = frozenset(module for module, _ in _PACKAGES if is_ours
                                      and importlib.util.find_spec(module) is None)
        return self._missing

    def complaints(self):
        """What a full judgement lacks, for people (list of str)."""
        return ["the Python package %s is not installed: incoming mail is checked without it"
                % package for module, package in _PACKAGES if module in self._missing_modules()]


class _Process(Process):
    """The server's side of the child. `kind`: (interpreter, whether it is this one, user)."""

    what = "judging"
    starting = _START_SECONDS

    def __init__(self, kind, seconds):
        super().__init__(kind[0], kind[2], seconds)
        self.kind = kind

    def _command(self):
        # Our own interpreter searches where this process does, another one where it likes.
        places = [place for place in sys.path if os.path.isabs(place) and os.path.exists(place)]
        return command(self._python, "authentication.judging_child", self._user_words(),
                       places if self.kind[1] else [])
