"""Find plugins by name, create them, start and stop them.

The package's docstring says where a name is looked up. Everything here is a plugin's own code, so
any exception is possible, and a call may never return.
"""
import logging
import threading
import time

GROUP = "phenmail.plugins"  # of entry points
BUILT_IN = "mail"
MAX_SIZE = 25 << 20

log = logging.getLogger("phenmail.delivery")


class Unusable(Exception):
    """The plugin does not exist or cannot be used; str() says why. The cause has the traceback."""


class _Plugin:
    """A plugin that was found. `where`: as Loader._where returns it."""

    __slots__ = ("name", "where", "receive", "begin", "end", "is_concurrent", "max_size",
                 "has_begun")

    def __init__(self, name, where, given):
        made = given() if isinstance(given, type) else given
        has_method = hasattr(made, "mail_received")
        self.name, self.where = name, where
        self.receive = made.mail_received if has_method else made
        if not callable(self.receive):
            raise TypeError("%r has no mail_received and is not callable" % (made,))
        # A mere callable may be of any type, whose other attributes mean something else.
        self.begin = getattr(made, "start", None) if has_method else None
        self.end = getattr(made, "stop", None) if has_method else None
        self.is_concurrent = bool(has_method and getattr(made, "concurrent", False))
        self.max_size = int(getattr(made, "max_size", MAX_SIZE)) if has_method else MAX_SIZE
        self.has_begun = False


class Loader:
    """The plugins that were found, by name. Any thread may call it.

    Arguments as in calling.Plugins.
    """

    def __init__(self, given, configured, server, entry_points):
        self._given = dict(given)
        self._configured = configured
        self._server = server
        self._entry_points = entry_points
        self._lock = threading.Lock()
        # One lock for each name: a plugin whose `start` hangs must not delay others.
        self._loading = {}
        self._known = {}
        self._begun = []  # in this order
        self._is_stopped = False

    def names(self):
        """The given and the configured plugins."""
        return list(dict.fromkeys(list(self._given) + list(self._configured() or {})))

    def is_concurrent(self, name):
        """Whether a plugin, if it was found, accepts several calls at once."""
        plugin = self._known.get(name)
        return plugin is not None and plugin.has_begun and plugin.is_concurrent

    def find(self, name):
        """-> a _Plugin that was started. Raises Unusable."""
        where = self._where(name)
        with self._lock:
            loading = self._loading.setdefault(name, threading.Lock())
        with loading:
            plugin = self._known.get(name)
            if plugin is not None and plugin.where != where:
                self._replace(plugin)
                plugin = None
            if plugin is None:
                plugin = self._known[name] = self._made(name, where)
            if not plugin.has_begun:
                self._begin(plugin)
            return plugin

    def _where(self, name):
        """-> (kind, "module:object" or None). An entry point is looked up only once."""
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
        if self._entry_points is None:
            from .entrypoints import read
            self._entry_points = read
        target = self._entry_points(GROUP).get(name)
        if target is None:
            raise Unusable("there is no plugin of this name")
        return "entry point", target

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
            raise Unusable("it cannot be loaded (%s %s)" % where if where[1]
                           else "it cannot be created") from error

    def _begin(self, plugin):
        try:
            if plugin.begin is not None:
                plugin.begin(self._server)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise Unusable("its start failed") from error
        with self._lock:
            plugin.has_begun = not self._is_stopped
            if plugin.has_begun:
                self._begun.append(plugin)
        if not plugin.has_begun:
            _end(plugin, 1.0)
            raise Unusable("the server has stopped meanwhile")

    def _replace(self, plugin):
        """Forget a plugin, because the settings name another one now."""
        with self._lock:
            del self._known[plugin.name]
            has_begun = plugin in self._begun
            if has_begun:
                self._begun.remove(plugin)
        if has_begun:
            _end(plugin, 5.0)

    def close(self):
        """Start no plugin from now on."""
        with self._lock:
            self._is_stopped = True

    def stop(self, end):
        """Stop all plugins, the last one first -> the names of those that did not return.

        `end`: when to give up, as time.monotonic().
        """
        with self._lock:
            begun, self._begun = self._begun[::-1], []
        hanging = []
        for number, plugin in enumerate(begun):
            share = max(0.1, end - time.monotonic()) / (len(begun) - number)
            if not _end(plugin, share):
                hanging.append(plugin.name)
        return hanging


def _imported(target):
    """The object of "module:object", "module:object.attribute" or "module"."""
    import importlib
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for attribute in path.split(".") if path else ():
        found = getattr(found, attribute)
    return found


def _end(plugin, seconds):
    """Call a plugin's `stop` in a thread -> whether it returned in time; if not, the thread stays.
    """
    if plugin.end is None:
        return True

    def end():
        try:
            plugin.end()
        except BaseException:
            log.exception("plugin %s: its stop failed", plugin.name)

    thread = threading.Thread(target=end, name="phenmail-plugin-stop", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()
