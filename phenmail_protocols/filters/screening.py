"""Users' filters on their way into a delivery: who has some, what they say, and what a user is told afterwards.

All that filters need (patterns, code filters' processes, users' logs) is loaded with the first user who has a filter file.
Decides nothing itself and files nothing; what goes wrong here never holds up mail: it goes to INBOX.  Any thread may call it.
"""
import logging
import os
import threading
import time

from ..net.turns import OneEach

log = logging.getLogger("phenmail.delivery")

_FILE = "filters.jcfg"
_AT_ONCE = 2  # users whose filters are asked: each may compute for a second
_SECONDS = 20.0  # after which no code filter is begun for the same message


class Screening:
    """`directory`: accounts.directory.Directory; `authorizations`: accounts.authorization.Authorizations; `host()`: this server's name; `send(envelope, chunks)`: brings an answer on its way; `clock()`: epoch seconds."""

    def __init__(self, directory, authorizations, host, send, clock=time.time, monotonic=time.monotonic):
        self._directory = directory
        self._authorizations = authorizations
        self._host = host
        self._send = send
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asking = OneEach(_AT_ONCE)
        self._rooms = None  # _Rooms
        self._is_stopped = False

    def rules(self, folder):
        """The filters of the user of a mail folder -> filters.Rules, or None for none."""
        try:
            user = self._directory.user_settings(folder)
            if not user.use_global_filters and not os.path.exists(user.filters or os.path.join(folder, _FILE)):
                return None
            rules, told = self._loaded().files.rules(user, folder, self._directory.settings.global_filters)
            if told:
                self._loaded().user_log.tell(folder, told)
            return rules or None
        except Exception:
            log.exception("%s: its filters were not asked", folder)
            return None

    def until(self):
        """Until when code filters are run for a message that is there now: who brings it waits for the answer."""
        return self._monotonic() + _SECONDS

    def verdict(self, rules, folder, letter, until):
        """What they say of a filters.Letter -> filters.Verdict.  `until`: of its message, for whomever it is."""
        def search_apart(pattern, text):
            if self._monotonic() >= until:
                raise NotSearched("the filters before it took too long")
            return self._scripts().search(pattern, text, folder)

        from .matching import NotSearched
        self._asking.enter(folder)
        try:
            return rules.evaluate(
                letter, lambda rule, seen: self._run_code(rule, folder, seen, until), search_apart)
        finally:
            self._asking.leave(folder)

    def finished(self, folder, verdict, letter, is_refused, name):
        """A message is kept, or refused by this verdict: the user's log is told, and its sender answered where the user is away.

        `name`: what the log calls the message.
        """
        try:
            from .rules import lines
            told = lines(verdict, letter, is_refused)
            if told:
                self._loaded().user_log.tell(folder, told, name)
            if verdict.vacation is not None:
                self._answer(folder, verdict.vacation, letter, name)
        except Exception:
            log.exception("%s: what came after its delivery failed", name)

    def _answer(self, folder, vacation, letter, name):
        answer = self._loaded().answers.answer(folder, vacation, letter)
        if answer is not None:
            self._send(answer.envelope, answer.chunks)
            self._loaded().user_log.tell(folder, ["answered %s, as the user is away" % str(letter.sender)], name)

    def _run_code(self, rule, folder, letter, until):
        """As Rules.evaluate wants it."""
        if self._monotonic() >= until:
            from ..children.python_answer import failed
            return failed("not run: the filters before it took too long")
        self._asking.leave(folder)  # others are asked while the script runs in its process
        try:
            return self._scripts().run(rule, folder, letter)
        finally:
            self._asking.enter(folder)

    def _scripts(self):
        with self._lock:
            rooms = self._rooms
            if rooms.scripts is None:
                from .python import Scripts
                rooms.scripts = Scripts(self._directory.root, self._authorizations, lambda: self._directory.settings)
                if self._is_stopped:
                    rooms.scripts.stop()
            return rooms.scripts

    def _loaded(self):
        with self._lock:
            if self._rooms is None:
                self._rooms = _Rooms(self._directory.root, self._host, self._clock)
            return self._rooms

    def stop(self):
        """No code filter runs any more, and no message waits for its turn."""
        self._asking.open()
        with self._lock:
            self._is_stopped = True
            scripts = self._rooms.scripts if self._rooms is not None else None
        if scripts is not None:
            scripts.stop()


class _Rooms:
    """What is loaded with the first user who has filters."""

    def __init__(self, root, host, clock):
        from .user_filters import FilterFiles
        from .user_log import UserLog
        from .vacation import Answers
        self.files = FilterFiles(root)
        self.user_log = UserLog(clock)
        self.answers = Answers(host, clock)
        self.scripts = None
