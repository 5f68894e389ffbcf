"""The plugins of this server: found by name, made, started, called, stopped.

`interface` says what a plugin is and what its answers mean, `call_limits` what it can block, and
`email_message` makes what it gets.  Loaded for the first plugin.
"""
import functools
import logging
import threading
import time

from ..delivery.replies import PluginRefused
from ..mail import automatic
from ..mail.reply import STOPPING, Reply
from ..mail.writing import printable
from . import call_limits, email_message
from .answer_rate import AnswerRate

GROUP = "phenmail.plugins"
BUILT_IN = "mail"
MAX_SIZE = 25 << 20

_LONGEST_REASON = 500
_SECONDS_BETWEEN_COMPLAINTS = 60.0
_BUSY = Reply(451, "4.3.2", "The plugin for this address is busy, try again later")
_MISSING = Reply(451, "4.3.5", "The plugin for this address is not there")
_FAILED = Reply(451, "4.3.0", "The plugin for this address failed")
_NOT_TAKEN = Reply(451, "4.3.0", "The plugin for this address did not take the message")
_TOO_LARGE = Reply(552, "5.3.4",
                   "The message is larger than what the plugin for this address takes")
_UNREADABLE = Reply(554, "5.6.0",
                    "The message is built in a way that the plugin for this address can not read")
_TAKEN = Reply(250, "2.0.0", "Ok, the plugin for this address took it")

log = logging.getLogger("phenmail.delivery")


class _Unusable(Exception):
    """The plugin does not exist or cannot be used; str() says why.  The cause has the traceback."""


class _Plugin:
    """A plugin that was found.  `where`: as PluginHost._where gives it."""

    __slots__ = ("name", "where", "take", "begin", "end", "is_concurrent", "max_size", "has_begun")

    def __init__(self, name, where, given):
        made = given() if isinstance(given, type) else given
        has_method = hasattr(made, "mail_received")
        self.name, self.where = name, where
        self.take = made.mail_received if has_method else made
        if not callable(self.take):
            raise TypeError("%r has no mail_received and can't be called" % (made,))
        # A mere callable may be of any type: its other attributes are its own business.
        self.begin = getattr(made, "start", None) if has_method else None
        self.end = getattr(made, "stop", None) if has_method else None
        self.is_concurrent = bool(has_method and getattr(made, "concurrent", False))
        self.max_size = int(getattr(made, "max_size", MAX_SIZE)) if has_method else MAX_SIZE
        self.has_begun = False


class PluginHost:
    """Arguments and methods as in interface.Plugins.

    `most`: queue threads that plugins may use, those that wait included; or `calls`:
    call_limits.Calls.  `clock()`: seconds.
    """

    def __init__(self, given, configured, server, entry_points=None, most=call_limits.MOST,
                 calls=None, clock=time.monotonic):
        self._given = dict(given)
        self._configured = configured
        self._server = server
        self._entry_points = entry_points
        self._calls = calls or call_limits.Calls(most)
        self._clock = clock
        self._rate = AnswerRate(clock)
        self._lock = threading.Lock()
        # a lock for each name: a plugin that does not come back from its start holds up no other
        self._loading = {}
        self._known = {}
        self._begun = []  # in this order
        self._told = {}  # name -> when its absence was last told
        self._is_stopped = False

    def start(self):
        """Start the given and the configured plugins."""
        for name in list(self._given) + [name for name in self._configured() or {}
                                         if name not in self._given]:
            try:
                self._find(name)
            except _Unusable as error:
                self._complain(name, error)

    def stop(self, seconds):
        """Stop all plugins, the last one first -> whether all returned."""
        end = time.monotonic() + seconds
        with self._lock:
            self._is_stopped = True
        self._calls.stop(seconds / 2)
        with self._lock:
            begun, self._begun = self._begun[::-1], []
        hanging = []
        for number, plugin in enumerate(begun):
            share = max(0.1, end - time.monotonic()) / (len(begun) - number)
            if not _ended(plugin, share):
                hanging.append(plugin.name)
        hanging += [name for name in self._calls.names() if name not in hanging]
        if hanging:
            log.error("plugins that did not come back: %s", ", ".join(hanging))
        return not hanging

    def hand(self, name, parameters, message, body, recipient, tag=None):
        """-> mail.reply.Reply.  Raises nothing."""
        try:
            with self._calls.turn(name, message.size, lambda: self._is_concurrent(name),
                                  message.identity):
                reply = self._give(self._find(name), parameters, message, body, recipient, tag)
        except call_limits.Busy:
            reply = _BUSY
        except call_limits.Stopped:
            return STOPPING
        except _Unusable as error:
            self._complain(name, error)
            return _MISSING
        except BaseException:
            log.exception("%s: the plugin %s could not be called", message.identity, name)
            reply = _FAILED
        log.log(logging.INFO if reply.delivered else logging.WARNING,
                "%s: to=<%s> plugin=%s %d %s %s", message.identity, recipient, name, reply.code,
                reply.enhanced, reply.text)
        return reply

    def _is_concurrent(self, name):
        plugin = self._known.get(name)
        return plugin is not None and plugin.has_begun and plugin.is_concurrent

    def _give(self, plugin, parameters, message, body, recipient, tag):
        if message.size > plugin.max_size:
            return _TOO_LARGE
        try:
            content, origin = email_message.read(message, body, recipient, tag)
        except email_message.Unreadable as error:
            log.warning("%s: the plugin %s is not asked, the message can't be read: %s",
                        message.identity, plugin.name, error)
            return _UNREADABLE
        if message.sender is not None:
            sender = automatic.correspondent(message.sender)
            # Not by the address, which has tags, aliases and perhaps a catch-all.
            origin.rate = functools.partial(self._rate.take, (plugin.name, parameters), sender,
                                            message.identity)
        try:
            taken = plugin.take(content, origin, parameters)
        except PluginRefused as refusal:
            return Reply(550, "5.7.0", printable(str(refusal.text))[:_LONGEST_REASON]
                         or "The message was refused")
        except BaseException:  # a SystemExit is meant for nobody here
            log.exception("%s: the plugin %s failed", message.identity, plugin.name)
            return _FAILED
        return _NOT_TAKEN if taken is False else _TAKEN

    # Finding

    def _find(self, name):
        """-> a _Plugin that was started.  Raises _Unusable."""
        where = self._where(name)
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            plugin = self._known.get(name)
            if plugin is not None and plugin.where != where:
                self._let_go(plugin)
                plugin = None
            if plugin is None:
                plugin = self._known[name] = self._made(name, where)
            if not plugin.has_begun:
                self._begin(plugin)
            return plugin

    def _where(self, name):
        """-> (kind, "module:object" or None).  An entry point that was found once stays."""
        if name in self._given:
            return "given", None
        target = (self._configured() or {}).get(name)
        if target is not None:
            return "configured", target
        if name == BUILT_IN:
            return "built in", None
        known = self._known.get(name)
        if known is not None and known.where[0] == "entry point":
            return known.where
        target = self._offered().get(name)
        if target is None:
            raise _Unusable("nobody offers it")
        return "entry point", target

    def _offered(self):
        if self._entry_points is None:
            from .entrypoints import read
            self._entry_points = read
        return self._entry_points(GROUP)

    def _made(self, name, where):
        try:
            if where[0] == "given":
                return _Plugin(name, where, self._given[name])
            if where[0] == "built in":
                from .echo import Echo
                return _Plugin(name, where, Echo)
            return _Plugin(name, where, _imported(where[1]))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _Unusable("it can't be loaded (%s %s)" % where if where[1]
                            else "it can't be made") from error

    def _begin(self, plugin):
        try:
            if plugin.begin is not None:
                plugin.begin(self._server)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise _Unusable("its start failed") from error
        with self._lock:
            plugin.has_begun = not self._is_stopped
            if plugin.has_begun:
                self._begun.append(plugin)
        if not plugin.has_begun:
            _ended(plugin, 1.0)
            raise _Unusable("the server has stopped meanwhile")

    def _let_go(self, plugin):
        """The settings name another plugin now."""
        with self._lock:
            del self._known[plugin.name]
            has_begun = plugin in self._begun
            if has_begun:
                self._begun.remove(plugin)
        if has_begun:
            _ended(plugin, 5.0)

    def _complain(self, name, error):
        now = self._clock()
        with self._lock:
            last = self._told.get(name)
            if last is not None and now - last < _SECONDS_BETWEEN_COMPLAINTS:
                return
            self._told[name] = now
        log.error("the plugin %s can't be used, its mail waits: %s", name, error,
                  exc_info=error.__cause__)


def _imported(target):
    """The object of "module:object", "module:object.attribute" or "module"."""
    import importlib
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for attribute in path.split(".") if path else ():
        found = getattr(found, attribute)
    return found


def _ended(plugin, seconds):
    """Call a plugin's `stop` in a thread -> whether it returned in time; if not, the thread stays.
    """
    if plugin.end is None:
        return True

    def end():
        try:
            plugin.end()
        except BaseException:
            log.exception("the plugin %s failed at its stop", plugin.name)

    thread = threading.Thread(target=end, name="phenmail-plugin-stop", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
