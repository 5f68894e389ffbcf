"""SPF, DKIM and DMARC of incoming mail, judged by a child process.

This is the server's side; it loads none of the packages.  `judging_child` is started for the first
message, ended when idle, and replaced after MESSAGES_OF_ONE or any failure.  It gets the staged
message's descriptor and a socket, and nothing else of the server.  If the server is root it runs
as `run-as` or "nobody".

Promised: `judge` never raises, and returns within a few seconds of the time that a judgement may
take, whatever a sender's DNS or message does.  What could not be found out is a temperror.
MOST_AT_ONCE messages are judged at once, MOST_OF_ONE of one network.  One that waits longer for its
turn than a judgement may take is not judged.
"""
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
from ..disk.plain import PLAIN
from ..net.address import network
from . import results
from .dmarc import MOST_AUTHORS
from .results import Result

log = logging.getLogger("phenmail.delivery")

MOST_AT_ONCE = 8
MOST_OF_ONE = 3  # of one peer, whose slow DNS then holds up its own mail only
MESSAGES_OF_ONE = 1000  # then the process is replaced
PACKAGES = (("dns", "dnspython"), ("spf", "pyspf"), ("dkim", "dkimpy"))
METHODS = (("spf", {"dns", "spf"}), ("dkim", {"dns", "dkim"}), ("dmarc", {"dns", "spf", "dkim"}))

_QUESTIONS = 4  # of all the time, a question to the DNS may take one part
_SLOWEST_START = 30.0  # an old SD card: there is more to load than for a filter


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
    A-labels).

    `python`: the interpreter, by default settings.python or this one; `seconds`: for one judgement;
    `idle`: seconds after which the process is ended.  Starts nothing before the first `judge`.
    Thread-safe.
    """

    def __init__(self, settings, host, python=None, clock=time.monotonic, seconds=10.0, idle=60.0):
        self._settings = settings
        self._host = host
        self._python = python
        self._seconds = seconds
        self._absent = None  # frozenset of modules that are not installed
        self.pool = Pool("judging", lambda kind: _Process(kind, seconds),
                         Limits(1, MOST_AT_ONCE, MOST_OF_ONE, MESSAGES_OF_ONE), idle, clock)

    def judge(self, peer, helo, sender, path, start=0):
        """One message -> Judgement; never raises.

        `peer`: the client's address as text; `helo`: its HELO name or ""; `sender`: Address, None
        for <>; `path`: the staged message, complete, with LF line ends or all in wire form;
        `start`: where the message as received begins in it (our own fields come before).
        """
        host = self._host()
        try:
            end = time.monotonic() + self._seconds
            opinion = self._opinion(host, peer, helo, "" if sender is None else str(sender), path,
                                    start, end)
            return self._judgement(host, *opinion)
        except CannotStart as error:
            log.debug("not judged: %s", error)
        except Exception:
            log.exception("a message could not be judged")
        return self._judgement(host, self._unknown())

    def _judgement(self, host, found, reject=False, domain=""):
        reject = bool(reject and self._settings().inbound.dmarc == "enforce")
        reason = ""
        if reject:
            reason = ("the domain %s refuses mail in its name that can't be authenticated (DMARC)"
                      % domain if domain else
                      "From names more than %d domains, whose policies are not asked (DMARC)"
                      % MOST_AUTHORS)
        return Judgement(results.field(host, found), results.summary(found), reject, reason)

    def _unknown(self):
        return [Result(method, "temperror") for method in self._methods()]

    def _opinion(self, host, peer, helo, sender, path, start, end):
        """-> (list of Result, whether to reject, the domain that asks for it).

        Raises CannotStart, OSError, ValueError.
        """
        if not self._methods():
            return ([],)
        try:
            with self.pool.turn(network(peer), self._seconds):
                return self._asked(peer, helo, sender, path, host, start, end)
        except Busy:
            log.warning("too many messages are being judged: one from %s is accepted unjudged",
                        peer)
            return (self._unknown(),)

    def _asked(self, peer, helo, sender, path, host, start, end):
        resolver = self._settings().resolver
        question = self._seconds / _QUESTIONS
        case = json.dumps(dict(peer=peer, helo=helo, sender=sender, host=host, start=start,
                               seconds=max(0.0, end - time.monotonic()),
                               nameservers=resolver.nameservers if resolver else (),
                               timeout=min(resolver.timeout, question) if resolver else question))
        file = os.open(path, PLAIN)  # perhaps in a user's folder: no link is followed
        try:
            return self._read(self._ask(case.encode("ascii"), file))
        finally:
            os.close(file)

    def _read(self, answer):
        """The child's answer, which may be any bytes; without one every result is unknown."""
        text = answer.partition(b"\n")[2]
        if not text:
            return (self._unknown(),)
        values = json.loads(text.decode("ascii"))
        if isinstance(values, str):
            log.error("a message could not be judged: %s", values[:200])
            return (self._unknown(),)
        found, reject, domain = values
        found = [Result(str(method), str(word), str(reason), tuple((str(name), str(value)) for name,
                                                                   value in properties)) for method,
                 word, reason, properties in found]
        if not all(results.is_known(each) and results.is_printable(each.reason) for each in found):
            raise ValueError("words that do not exist: %r" % (found,))
        return found, reject is True, domain if results.is_printable(domain) else ""

    # -- the process

    def _ask(self, case, file):
        return self.pool.ask(self._kind(), b"", case, b"", (file,))

    def _kind(self):
        """(interpreter, whether it is this one, user) as the settings are now.

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
        """Judge nothing more; a judgement in progress becomes a temperror.  Repeatable."""
        self.pool.stop(0)

    # -- what is there

    def _methods(self):
        absent = self._not_there()
        return [method for method, needed in METHODS if not absent & needed]

    def _not_there(self):
        if self._absent is None:
            import importlib.util
            own = (self._python or self._settings().python) in (None, sys.executable)
            self._absent = frozenset(module for module, _ in PACKAGES if own
                                     and importlib.util.find_spec(module) is None)
        return self._absent

    def complaints(self):
        """What is missing for a full judgement, for people (list of str)."""
        absent = self._not_there()
        return ["the Python package %s is not installed: what comes in is judged without it"
                % package for module, package in PACKAGES if module in absent]


class _Process(Process):
    """The server's side of the child.  `kind`: (interpreter, whether it is this one, user)."""

    what = "judging"
    starting = _SLOWEST_START

    def __init__(self, kind, seconds):
        super().__init__(kind[0], kind[2], seconds)
        self.kind = kind

    def _command(self):
        # then the child searches where this process does, else where it likes
        is_ours = self.kind[1]
        places = [place for place in sys.path if os.path.isabs(place) and os.path.exists(place)]
        return command(self._python, "authentication.judging_child", self._user_words(),
                       places if is_ours else [])
