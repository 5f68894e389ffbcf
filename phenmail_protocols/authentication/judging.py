"""What came in is judged: SPF, DKIM and DMARC, by a process beside the server.

The server's side: small, loads none of the packages.  The process (`judging_child`) is started with the first message, ended when
it was idle, replaced after MESSAGES_OF_ONE or any fault.  It has the staged message's descriptor and a socket, and nothing else
of the server's; as root's child it becomes `run-as` or "nobody".

Promised: `judge` never raises, and returns within a few seconds of the time that a judgement may take, whatever a sender's DNS or
message does: what could not be found out is a temperror.  MOST_AT_ONCE are judged at once, MOST_OF_ONE of one address; one that
waits longer for its turn than a judgement may take is not judged.
"""
import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from typing import NamedTuple

from ..children import privileges, python_pool
from ..children.child import CannotStart, Gone, Process
from ..children.idle import Keeper
from ..disk.plain import PLAIN
from ..net.address import network
from . import results
from .dmarc import MOST_AUTHORS
from .results import Result

log = logging.getLogger("phenmail.delivery")

MOST_AT_ONCE = 8
MOST_OF_ONE = 3  # of one peer, whose slow DNS then holds up its own mail only
MESSAGES_OF_ONE = 1000  # then the process is replaced
FAILED_FOR = 60.0  # seconds that a process that did not start is not tried again
PACKAGES = (("dns", "dnspython"), ("spf", "pyspf"), ("dkim", "dkimpy"))
METHODS = (("spf", {"dns", "spf"}), ("dkim", {"dns", "dkim"}), ("dmarc", {"dns", "spf", "dkim"}))

_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Behind the standard library, so that nothing of ours stands in for a part of it.
_BEGIN = ("import sys; sys.path += sys.argv[1].split('\\n'); "
          "from phenmail_protocols.authentication import judging_child; judging_child.main(sys.argv[2:])")
_QUESTIONS = 4  # of all the time, a question to the DNS may take one part
_SLOWEST_START = 30.0  # an old SD card: there is more to load than for a filter
_TRIES = 2


class Judgement(NamedTuple):
    """`field`: the whole Authentication-Results field in wire form, CRLF included (bytes); `auth`: for filters, as
    results.summary; `reject`: the message is to be refused (550 5.7.26), with `reason` (str) as the text."""
    field: bytes
    auth: str
    reject: bool = False
    reason: str = ""


class Judge:
    """`settings()`: the config.settings.Settings in force; `host()`: our authserv-id (str, A-labels).

    `python`: the interpreter, by default settings.python or this one; `seconds`: for one judgement; `idle`: seconds after which
    the process is ended.  Starts nothing before the first `judge`.  Thread-safe.
    """

    def __init__(self, settings, host, python=None, clock=time.monotonic, seconds=10.0, idle=60.0):
        self._settings = settings
        self._host = host
        self._python = python
        self._clock = clock
        self._seconds = seconds
        self._idle = idle
        self._turns = threading.Condition()  # of the next
        self._judging = Counter()  # network of a peer -> its messages
        self._lock = threading.Lock()  # of all below
        self._process = None
        self._failure = (None, None, "")  # (what was tried, until when, why)
        self._absent = None  # frozenset of modules that are not there
        self._stopping = threading.Event()
        self._keeper = Keeper("phenmail-judging", self._lock, self._stopping, idle / 4, self.end_idle, lambda: self._process is None)

    def judge(self, peer, helo, sender, path, start=0):
        """One message -> Judgement; never raises.

        `peer`: the client's address as text; `helo`: what it calls itself, ""; `sender`: Address, None for <>; `path`: the staged
        message with LF line ends, or all in wire form, written to its end; `start`: where in it the message begins as it came
        (before are our own fields).
        """
        host = self._host()
        try:
            end = time.monotonic() + self._seconds
            opinion = self._opinion(host, peer, helo, "" if sender is None else str(sender), path, start, end)
            return self._judgement(host, *opinion)
        except CannotStart as error:
            log.debug("not judged: %s", error)
        except Exception:
            log.exception("a message could not be judged")
        return self._judgement(host, self._unknown())

    def _judgement(self, host, found, reject=False, domain=""):
        reject = bool(reject and self._settings().inbound.dmarc == "enforce")
        reason = "the domain %s refuses mail in its name that can't be authenticated (DMARC)" % domain
        if not domain:
            reason = "From names more than %d domains, whose policies are not asked (DMARC)" % (
                MOST_AUTHORS)
        return Judgement(results.field(host, found), results.summary(found), reject, reason if reject else "")

    def _unknown(self):
        return [Result(method, "temperror") for method in self._methods()]

    def _opinion(self, host, peer, helo, sender, path, start, end):
        """-> (list of Result, whether to reject, the domain that asks for it). Raises CannotStart, OSError, ValueError."""
        if not self._methods():
            return ([],)
        key = network(peer)
        if not self._take_turn(key):
            log.warning("too many messages are being judged: one from %s is taken as it is", peer)
            return (self._unknown(),)
        try:
            resolver = self._settings().resolver
            question = self._seconds / _QUESTIONS
            case = json.dumps(dict(
                peer=peer, helo=helo, sender=sender, host=host, start=start, seconds=max(0.0, end - time.monotonic()),
                nameservers=resolver.nameservers if resolver else (),
                timeout=min(resolver.timeout, question) if resolver else question))
            file = os.open(path, PLAIN)  # in a user's folder, perhaps, who must not lead us elsewhere
            try:
                return self._read(self._ask(case.encode("ascii"), file))
            finally:
                os.close(file)
        finally:
            self._give_turn_back(key)

    def _take_turn(self, key):
        """Wait until one more of that network may be judged; False where that takes too long."""
        def is_free():
            return self._judging[key] < MOST_OF_ONE and sum(self._judging.values()) < MOST_AT_ONCE
        with self._turns:
            if not self._turns.wait_for(is_free, self._seconds):
                return False
            self._judging[key] += 1
            return True

    def _give_turn_back(self, key):
        with self._turns:
            self._judging[key] -= 1
            if not self._judging[key]:
                del self._judging[key]
            self._turns.notify_all()

    def _read(self, answer):
        """The process' answer, which may be anything at all; without one all is unknown."""
        text = answer.partition(b"\n")[2]
        if not text:
            return (self._unknown(),)
        values = json.loads(text.decode("ascii"))
        if isinstance(values, str):
            log.error("a message could not be judged: %s", values[:200])
            return (self._unknown(),)
        found, reject, domain = values
        found = [Result(str(method), str(word), str(reason), tuple((str(name), str(value)) for name, value in properties))
                 for method, word, reason, properties in found]
        if not all(results.is_known(each) and results.is_printable(each.reason) for each in found):
            raise ValueError("words that do not exist: %r" % (found,))
        return found, reject is True, domain if results.is_printable(domain) else ""

    # -- the process

    def _ask(self, case, file):
        for _ in range(_TRIES):
            process = self._begin()
            try:
                return process.ask(b"", case, b"", (file,))
            except Gone:
                continue
            except CannotStart as error:
                self._failed(process, error)
                raise
            finally:
                self._give_back(process)
        raise CannotStart("the process that judges ends again and again")

    def _begin(self):
        """The process, with one more at work. Raises CannotStart."""
        kind = self._kind()
        ended = None
        with self._lock:
            if self._stopping.is_set():
                raise CannotStart("the server stops")
            tried, until, why = self._failure
            if tried == kind and self._clock() < until:
                raise CannotStart(why)
            process = self._process
            if process is None or not process.is_fresh(kind):
                ended = self._retire()
                process = self._process = _Process(kind, self._seconds)
                self._keeper.wake()
            process.working += 1
            process.asked += 1
        if ended is not None:
            ended.close()
        return process

    def _kind(self):
        """(interpreter, whether it is this one, user) as the settings are now. Raises CannotStart."""
        settings = self._settings()
        python = self._python or settings.python
        try:
            user = privileges.user_for((0, 0), settings.run_as or "nobody")
        except privileges.NoUser as error:
            raise CannotStart(str(error))
        return python_pool.interpreter(python), python is None or python == sys.executable, user

    def _failed(self, process, error):
        with self._lock:
            known = self._failure[0] == process.kind
            self._failure = (process.kind, self._clock() + FAILED_FOR, str(error))
        if not known:
            log.error("what comes in is not judged: %s", error)

    def _give_back(self, process):
        with self._lock:
            process.working -= 1
            process.since = self._clock()
            ends = process is not self._process and not process.working
        if ends:
            process.close()

    def _retire(self):
        """Under the lock: the process is not used any more -> it, where nobody else will close it."""
        process, self._process = self._process, None
        return process if process is not None and not process.working else None

    def end_idle(self):
        """End the process where nobody has asked it for `idle` seconds."""
        ended = None
        with self._lock:
            process = self._process
            if process is not None and not process.working and self._clock() - process.since >= self._idle:
                ended = self._retire()
        if ended is not None:
            ended.close()

    def stop(self):
        """Nothing is judged any more; what is being judged then is a temperror. May be called again."""
        with self._lock:
            self._stopping.set()
            process, self._process = self._process, None
        if process is not None:
            process.close()
        self._keeper.join()

    # -- what is there

    def _methods(self):
        absent = self._not_there()
        return [method for method, needed in METHODS if not absent & needed]

    def _not_there(self):
        if self._absent is None:
            import importlib.util
            own = (self._python or self._settings().python) in (None, sys.executable)
            self._absent = frozenset(module for module, _ in PACKAGES if own and importlib.util.find_spec(module) is None)
        return self._absent

    def complaints(self):
        """What is missing for a whole judgement, for people (list of str)."""
        absent = self._not_there()
        return ["the Python package %s is not installed: what comes in is judged without it" % package
                for module, package in PACKAGES if module in absent]


class _Process(Process):
    """The process at the server's side.  `kind`: (interpreter, whether it is this one, user)."""

    what = "judging"
    starting = _SLOWEST_START

    def __init__(self, kind, seconds):
        super().__init__(kind[0], kind[2], seconds)
        self.kind = kind

    def is_fresh(self, kind):
        return self.usable and self.kind == kind and self.asked < MESSAGES_OF_ONE

    def _command(self, *_):
        # Isolated, and nothing is looked for where the server was started: an own interpreter gets our places to look in, another
        # one has its own.
        same = self.kind[1]
        places = [place for place in sys.path if os.path.isabs(place) and os.path.exists(place)] if same else []
        return [self._python, "-I"] + ["-S"] * same + ["-c", _BEGIN, "\n".join([_TOP] + places)] + [
            str(number) for number in self._user or ()]

    def _kill_stray(self, pid):
        """It has no children."""
