"""How many plugin calls run at once, and how much a call that never returns can block.

A call that hangs cannot be stopped. So a plugin has one call at a time unless it accepts several;
all plugins together have a bounded number of threads, including those that wait, and one plugin has
at most half of them; and the messages that they hold in memory are bounded. A caller that has to
wait too long gets a temporary failure, and the queue retries.
"""
import contextlib
import logging
import threading

log = logging.getLogger("phenmail.delivery")

MOST = 8
WAIT = 10.0  # seconds for a turn
LONG = 60.0  # seconds after which the log reports a call that has not returned
_OCTETS = 64 << 20  # of all messages that plugins have now


class Busy(Exception):
    """No call can begin now."""


class Stopped(Exception):
    """The server is stopping; no call begins any more."""


class _Turns:
    """Of one plugin: running calls; callers, including those that wait; whether a call hangs."""

    __slots__ = ("running", "callers", "late")

    def __init__(self):
        self.running = self.callers = 0
        self.late = False


class Calls:
    """Any thread may ask. `most`: threads of all plugins together; `wait`, `long`: seconds."""

    def __init__(self, most=MOST, wait=WAIT, long=LONG):
        self._most, self._wait, self._long = most, wait, long
        self._lock = threading.Condition(threading.Lock())
        self._turns = {}
        self._watches = set()
        self._callers = self._octets = 0
        self._is_stopped = False

    @contextlib.contextmanager
    def turn(self, name, size, is_concurrent, identity):
        """For the time of one call of a plugin, with a message of `size` bytes.

        `is_concurrent()`: whether the plugin accepts several calls now; `identity`: for the log.
        Raises Busy or Stopped instead of beginning.
        """
        turns = self._enter(name, size, is_concurrent)
        watch = threading.Timer(self._long, self._tell, (turns, name, identity))
        watch.name, watch.daemon = "phenmail-plugin-watch", True
        try:
            with self._lock:
                self._watches.add(watch)
                watch.start()
            yield
        finally:
            watch.cancel()
            self._leave(turns, size, watch)
            if watch.is_alive():
                watch.join(1.0)  # after a stop, none of our threads is left

    def _enter(self, name, size, is_concurrent):
        with self._lock:
            turns = self._turns.setdefault(name, _Turns())
            if self._is_stopped:
                raise Stopped
            if self._callers >= self._most or turns.callers >= max(1, self._most // 2):
                raise Busy
            turns.callers += 1
            self._callers += 1

            def may_begin():
                # A stop or a call that hangs ends the waiting, too.
                return self._is_stopped or turns.late or (
                    (not turns.running or is_concurrent())
                    and (not self._octets or self._octets + size <= _OCTETS))

            began = self._lock.wait_for(may_begin, self._wait)
            if not began or self._is_stopped or turns.late:
                turns.callers -= 1
                self._callers -= 1
                raise Stopped if self._is_stopped else Busy
            turns.running += 1
            self._octets += size
            return turns

    def _leave(self, turns, size, watch):
        with self._lock:
            self._watches.discard(watch)
            turns.running -= 1
            turns.callers -= 1
            turns.late = turns.late and turns.running > 0
            self._callers -= 1
            self._octets -= size
            self._lock.notify_all()

    def _tell(self, turns, name, identity):
        with self._lock:
            turns.late = True
            self._lock.notify_all()
        log.error("%s: plugin %s has not returned for %g s; it cannot be stopped, and gets no "
                  "other message until it returns", identity, name, self._long)

    def stop(self, seconds):
        """Begin no call from now on; wait up to `seconds` -> whether none runs any more."""
        with self._lock:
            self._is_stopped = True
            self._lock.notify_all()
            is_quiet = self._lock.wait_for(lambda: not self._callers, seconds)
            for watch in self._watches:
                watch.cancel()
            return is_quiet

    def names(self):
        """The plugins that have a call now -> sorted list."""
        with self._lock:
            return sorted(name for name, turns in self._turns.items() if turns.running)
