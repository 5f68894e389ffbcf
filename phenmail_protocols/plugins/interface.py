"""Plugins: Python objects that get mail.  What they are and what their answers mean; the door to them.

A plugin is found by the name that an action has (".name parameters"), first among the objects that the embedding program gave,
then in the `plugins` section, then among those built in (`mail`), then among the entry points `phenmail.plugins` of installed
packages.  It is an object with

    mail_received(message, origin, parameters)
    start(server)      where it has one, before the first message; `server` is the MailServer, whose send_mail it may use
    stop()             where it has one, when the server stops; calls may still run that did not come back in time
    concurrent = True  where several threads may be in mail_received at once; otherwise one at a time
    max_size = 1 << 28 where it takes messages over 25 MB

or a class of such, made without arguments; or any callable that takes the same three.  `message` is an email.message.EmailMessage,
`origin` a pluginmail.Origin, `parameters` the text behind the name.  What became of the message:

    it returns (anything but False)  the plugin has it, and all that matters is safe: the queue forgets it
    False, or any exception          it comes again, later each time, until the queue gives up and returns it to its sender,
                                     who is told that the plugin failed, and no more; the log has the traceback
    PluginRefused(text)              it is returned at once, with this text

It may come twice (the machine fails between the return and the note of it): `origin.identity` stays the same.  It is called in the
threads of the queue.  Before it answers a sender by itself it asks `origin.obstacle()`.  `call_limits` has what it can hold of
them.  The rest (`host`) is loaded with the first plugin.
"""
import threading

from ..mail.reply import STOPPING


class Plugins:
    """Finds plugins and hands them messages.  Any thread may call it.  It starts and stops once.

    `given`: {name: plugin}; `configured()` -> {name: "module:object"} or None, as the settings have it now; `server`: what plugins
    are started with; `entry_points(group)` -> {name: "module:object"}, None reads those of `sys.path`; `more`: as
    pluginhost.PluginHost has it.  Raises TypeError for a given object that is no plugin.
    """

    def __init__(self, given, configured, server, entry_points=None, **more):
        for name, plugin in given.items():
            if not (callable(plugin) or hasattr(plugin, "mail_received")):
                raise TypeError("plugin %s: an object with mail_received, or a callable, was expected, not %r" % (name, plugin))
        self._has_some = lambda: bool(given or configured())
        self._arguments = (given, configured, server, entry_points), more
        self._lock = threading.Lock()
        self._host = None
        self._is_stopped = False

    def start(self):
        """Start what was given and what is configured; what fails is logged, and tried again with its first message."""
        if self._has_some():
            self._loaded().start()

    def stop(self, seconds=5.0):
        """End all plugins, the last one first, within `seconds` -> whether all came back.  No call begins from now on."""
        with self._lock:
            self._is_stopped = True
        return self._host is None or self._host.stop(seconds)

    def hand(self, name, parameters, message, body, recipient, tag=None):
        """Gives a message to a plugin -> mail.reply.Reply: 250, 4xx (later) or 5xx.  Raises nothing.

        `message`: queue.model.Message; `body`: its octets in wire form, a binary file that can be sought in; `recipient`: the
        Address that it came for, and `tag` what the directory found behind its "+".
        """
        host = self._loaded()
        return host.hand(name, parameters, message, body, recipient, tag) if host is not None else STOPPING

    def _loaded(self):
        """None once it has stopped."""
        with self._lock:
            if self._host is None and not self._is_stopped:
                from .host import PluginHost
                arguments, more = self._arguments
                self._host = PluginHost(*arguments, **more)
            return self._host
