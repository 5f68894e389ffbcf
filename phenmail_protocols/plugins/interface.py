"""Plugins: Python objects that get mail.  What they are and what their answers mean.

A plugin is found by the name in an action (".name parameters"): first among the objects that the
embedding program gave, then in the `plugins` section, then among the built-in ones (`mail`), then
among the entry points `phenmail.plugins` of installed packages.  It is an object with

    mail_received(message, origin, parameters)
    start(server)      optional, before the first message; `server` is the MailServer
    stop()             optional, when the server stops; calls that did not return may still run
    concurrent = True  if several threads may be in mail_received at once; default: one at a time
    max_size = 1 << 28 if it accepts messages over 25 MB

or a class of such, made without arguments, or any callable with the same three arguments. `message`
is an email.message.EmailMessage, `origin` an email_message.Origin, `parameters` the text after the
name.  The outcome:

    it returns (not False)    once it returns, the plugin owns the message; the queue forgets it
    False, or any exception   the queue retries, later each time, and at last bounces the message;
                              the sender learns that the plugin failed, the log has the traceback
    PluginRefused(text)       the message bounces at once, with this text

A message may come twice (if the machine fails between the return and the queue's note of it);
`origin.identity` stays the same.  The queue's threads call the plugin.  Before it answers a sender
by itself, it asks `origin.obstacle()`.  `call_limits` bounds the threads that it can block.
"""
import threading

from ..mail.reply import STOPPING


class Plugins:
    """Finds plugins and gives them messages.  Any thread may call it.  It starts and stops once.

    `given`: {name: plugin}; `configured()` -> {name: "module:object"} or None, from the settings in
    force; `server`: passed to `start`; `entry_points(group)` -> {name: "module:object"}, None reads
    those of `sys.path`; `more`: as host.PluginHost has it.  Raises TypeError for a given object
    that is not a plugin.
    """

    def __init__(self, given, configured, server, entry_points=None, **more):
        for name, plugin in given.items():
            if not (callable(plugin) or hasattr(plugin, "mail_received")):
                raise TypeError(
                    "plugin %s: an object with mail_received, or a callable, was expected, not %r"
                    % (name, plugin))
        self._has_some = lambda: bool(given or configured())
        self._arguments = (given, configured, server, entry_points), more
        self._lock = threading.Lock()
        self._host = None
        self._is_stopped = False

    def start(self):
        """Start the given and configured plugins.

        A failure is logged; the next message retries.
        """
        if self._has_some():
            self._loaded().start()

    def stop(self, seconds=5.0):
        """Stop all plugins, the last one first, within `seconds` -> whether all returned."""
        with self._lock:
            self._is_stopped = True
        return self._host is None or self._host.stop(seconds)

    def hand(self, name, parameters, message, body, recipient, tag=None):
        """Give a message to a plugin -> mail.reply.Reply: 250, 4xx (later) or 5xx.  Raises nothing.

        `message`: queue.model.Message; `body`: its bytes in wire form, a seekable binary file;
        `recipient`: Address; `tag`: the part after "+" or None.
        """
        host = self._loaded()
        return host.hand(name, parameters, message, body, recipient,
                         tag) if host is not None else STOPPING

    def _loaded(self):
        """The PluginHost, None after the stop."""
        with self._lock:
            if self._host is None and not self._is_stopped:
                from .host import PluginHost
                arguments, more = self._arguments
                self._host = PluginHost(*arguments, **more)
            return self._host
