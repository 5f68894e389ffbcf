"""Users' filters during a delivery: who has filters, their verdict, and the user's log afterwards.

The modules that filters need are loaded for the first user who has a filter file. A failure here
never delays mail: it goes to INBOX. Any thread may call it.
"""
import contextlib
import logging
import os
import threading
import time

from ..net.fair_turns import OneEach

log = logging.getLogger("phenmail.filters")

_FILE = "filters.jcfg"
_AT_ONCE = 2  # users whose filters run at once: each may compute for a second
_SECONDS = 20.0  # after which no Python filter is started for the same message


class Screening:
    """`directory`: accounts.directory.Directory; `authorizations`:
    accounts.authorization.Authorizations; `host()`: this server's name; `send(envelope, chunks)`:
    sends an answer.
    """

    def __init__(self, directory, authorizations, host, send):
        self._directory = directory
        self._authorizations = authorizations
        self._host = host
        self._send = send
        self._lock = threading.Lock()
        self._asking = OneEach(_AT_ONCE)
        self._rooms = None  # _Loaded
        self._is_stopped = False

    def rules(self, folder):
        """The filters of the user of a mail folder -> rules.Rules, or None for none."""
        try:
            user = self._directory.user_settings(folder)
            path = user.filters or os.path.join(folder, _FILE)
            if not user.use_global_filters and not os.path.exists(path):
                return None
            rules, log_lines = self._loaded().files.rules(
                user, folder, self._directory.settings.global_filters)
            if log_lines:
                self._loaded().user_log.tell(folder, log_lines)
            return rules or None
        except Exception:
            log.exception("%s: the filters failed, so the message goes to INBOX", folder)
            return None

    def until(self):
        """Until when Python filters are started for a message that arrives now: a client waits."""
        return time.monotonic() + _SECONDS

    def verdict(self, rules, folder, message, until):
        """What the rules say about a rules.FilteredMessage -> verdict.Verdict.

        `until`: of the message, shared by all its recipients.
        """
        def search_apart(pattern, text):
            if time.monotonic() >= until:
                raise NotSearched("the filters before it took too long")
            with self._meanwhile(folder):
                return self._scripts().search(pattern, text, folder)

        from .matching import NotSearched
        self._asking.enter(folder)
        try:
            return rules.evaluate(
                message, lambda rule, seen: self._run_code(rule, folder, seen, until), search_apart)
        finally:
            self._asking.leave(folder)

    def finished(self, folder, verdict, message, is_refused, name):
        """After a message was kept, or refused by this verdict: write the user's log and send the
        vacation answer.

        `name`: the message's name in the log.
        """
        try:
            from .rules import lines
            log_lines = lines(verdict, message, is_refused)
            if log_lines:
                self._loaded().user_log.tell(folder, log_lines, name)
            if verdict.vacation is not None:
                self._answer(folder, verdict.vacation, message, name)
        except Exception:
            log.exception("%s: the user's log or the vacation answer failed", name)

    def _answer(self, folder, vacation, message, name):
        answer = self._loaded().answers.answer(folder, vacation, message)
        if answer is not None:
            self._send(answer.envelope, answer.chunks)
            self._loaded().user_log.tell(
                folder, ["vacation answer sent to %s" % str(message.sender)], name)

    def _run_code(self, rule, folder, message, until):
        """As Rules.evaluate wants it."""
        if time.monotonic() >= until:
            from ..children.python_answer import failed
            return failed("not run: the filters before it took too long")
        with self._meanwhile(folder):
            return self._scripts().run(rule, folder, message)

    @contextlib.contextmanager
    def _meanwhile(self, folder):
        """While a child process works, this user's filters can be asked about the next message."""
        self._asking.leave(folder)
        try:
            yield
        finally:
            self._asking.enter(folder)

    def _scripts(self):
        with self._lock:
            rooms = self._rooms
            if rooms.scripts is None:
                from .python import Scripts
                rooms.scripts = Scripts(self._directory.root, self._authorizations,
                                        lambda: self._directory.settings)
                if self._is_stopped:
                    rooms.scripts.stop()
            return rooms.scripts

    def _loaded(self):
        with self._lock:
            if self._rooms is None:
                self._rooms = _Loaded(self._directory.root, self._host)
            return self._rooms

    def stop(self):
        """Start no more Python filters, and let no message wait for its turn."""
        self._asking.open()
        with self._lock:
            self._is_stopped = True
            scripts = self._rooms.scripts if self._rooms is not None else None
        if scripts is not None:
            scripts.stop()


class _Loaded:
    """What is loaded for the first user who has filters."""

    def __init__(self, root, host):
        from .user_filters import FilterFiles
        from .user_log import UserLog
        from .vacation import Answers
        self.files = FilterFiles(root)
        self.user_log = UserLog(time.time)
        self.answers = Answers(host, time.time)
        self.scripts = None
