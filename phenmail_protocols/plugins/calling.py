"""Call plugins with messages; what they return or raise becomes the reply.

The package's docstring says what each outcome means, `call_limits` what a call can block.
"""
import functools
import logging
import threading
import time

from ..delivery.recipient_replies import PluginRefused
from ..mail import automatic
from ..mail.reply import STOPPING, Reply
from ..mail.writing import printable
from . import call_limits, email_message
from .answer_rate import AnswerRate
from .loading import Loader, Unusable

_LONGEST_REASON = 500
_SECONDS_BETWEEN_COMPLAINTS = 60.0
_BUSY = Reply(451, "4.3.2", "The plugin for this address is busy, try again later")
_MISSING = Reply(451, "4.3.5", "The plugin for this address is not available, try again later")
_RAISED_EXCEPTION = Reply(451, "4.3.0", "The plugin for this address failed")
_RETURNED_FALSE = Reply(451, "4.3.0", "The plugin for this address did not accept the message")
_TOO_LARGE = Reply(552, "5.3.4", "The message is too large for the plugin for this address")
_UNREADABLE = Reply(554, "5.6.0", "The plugin for this address cannot read the message's structure")
_ACCEPTED = Reply(250, "2.0.0", "Ok, accepted by the plugin for this address")

log = logging.getLogger("phenmail.delivery")


class Plugins:
    """Finds plugins and gives them messages. Any thread may call it. It starts and stops once.

    `given`: {name: plugin}; `configured()` -> {name: "module:object"} or None, from the settings in
    force; `server`: passed to a plugin's `start`; `entry_points(group)` -> {name: "module:object"},
    None reads those of `sys.path`; `most`: threads of the queue that plugins may use, including
    those that wait; or `calls`: call_limits.Calls; `clock()`: seconds. Raises TypeError for a
    given object that is not a plugin.
    """

    def __init__(self, given, configured, server, entry_points=None, most=call_limits.MOST,
                 calls=None, clock=time.monotonic):
        for name, plugin in given.items():
            if not (callable(plugin) or hasattr(plugin, "mail_received")):
                raise TypeError("plugin %s: expected a callable or an object with mail_received, "
                                "not %r" % (name, plugin))
        self._loader = Loader(given, configured, server, entry_points)
        self._calls = calls or call_limits.Calls(most)
        self._clock = clock
        self._rate = AnswerRate(clock)
        self._lock = threading.Lock()
        self._logged = {}  # name -> when its absence was last logged

    def start(self):
        """Start the given and configured plugins.

        A failure is logged; the next message retries.
        """
        for name in self._loader.names():
            try:
                self._loader.find(name)
            except Unusable as error:
                self._complain(name, error)

    def stop(self, seconds=5.0):
        """Stop all plugins, the last one first, within `seconds` -> whether all returned."""
        end = time.monotonic() + seconds
        self._loader.close()
        self._calls.stop(seconds / 2)
        hanging = self._loader.stop(end)
        hanging += [name for name in self._calls.names() if name not in hanging]
        if hanging:
            log.error("plugins that did not return: %s", ", ".join(hanging))
        return not hanging

    def hand(self, name, parameters, message, body, recipient, tag=None):
        """Give a message to a plugin -> mail.reply.Reply: 250, 4xx (later) or 5xx. Raises nothing.

        `message`: queue.model.Message; `body`: its bytes in wire form, a seekable binary file;
        `recipient`: Address; `tag`: the part after "+" or None.
        """
        try:
            with self._calls.turn(name, message.size, lambda: self._loader.is_concurrent(name),
                                  message.identity):
                reply = self._call(self._loader.find(name), parameters, message, body, recipient,
                                   tag)
        except call_limits.Busy:
            reply = _BUSY
        except call_limits.Stopped:
            return STOPPING
        except Unusable as error:
            self._complain(name, error)
            return _MISSING
        except BaseException:
            log.exception("%s: plugin %s could not be called", message.identity, name)
            reply = _RAISED_EXCEPTION
        log.log(logging.INFO if reply.delivered else logging.WARNING,
                "%s: to=<%s> plugin=%s %d %s %s", message.identity, recipient, name, reply.code,
                reply.enhanced, reply.text)
        return reply

    def _call(self, plugin, parameters, message, body, recipient, tag):
        if message.size > plugin.max_size:
            return _TOO_LARGE
        try:
            content, origin = email_message.read(message, body, recipient, tag)
        except email_message.Unreadable as error:
            log.warning("%s: plugin %s is not called, the message cannot be parsed: %s",
                        message.identity, plugin.name, error)
            return _UNREADABLE
        if message.sender is not None:
            sender = automatic.correspondent(message.sender)
            # Counted by plugin and parameters: a plugin may have many addresses and tags.
            origin.rate = functools.partial(self._rate.take, (plugin.name, parameters), sender,
                                            message.identity)
        try:
            returned = plugin.receive(content, origin, parameters)
        except PluginRefused as refusal:
            return Reply(550, "5.7.0", printable(str(refusal.text))[:_LONGEST_REASON]
                         or "The message was refused")
        except BaseException:  # even SystemExit, which must not end the server
            log.exception("%s: plugin %s raised an exception", message.identity, plugin.name)
            return _RAISED_EXCEPTION
        return _RETURNED_FALSE if returned is False else _ACCEPTED

    def _complain(self, name, error):
        now = self._clock()
        with self._lock:
            last = self._logged.get(name)
            if last is not None and now - last < _SECONDS_BETWEEN_COMPLAINTS:
                return
            self._logged[name] = now
        log.error("plugin %s cannot be used, its mail waits in the queue: %s", name, error,
                  exc_info=error.__cause__)
