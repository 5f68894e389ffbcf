"""One account of one user while the server runs: its rounds, its failures, when it is due."""
import logging
import random
import threading
import time

from ..net.waker import Waker
from . import identity, status
from .filing import Filing, Later
from .keeping.state import State
from .rounds import Rounds
from .source import FetchError, LoginRefused, Throttled

log = logging.getLogger("phenmail.fetch")

# Seconds until a failed round is repeated: the first time, and at most; it doubles in between. A
# server that refused a login may lock the account if it is asked too often.
_FAILED, _REFUSED, _LATER = (60.0, 3600.0), (900.0, 21600.0), (60.0, 900.0)
_THROTTLED, _LONGEST_THROTTLE = (900.0, 21600.0), 2 * 86400.0
# Until a connection that ended while it waited for mail is made again, at most; this doubles each
# time that one had not waited so long.
_CUT, _SHORT = 5.0, 60.0
_SPREAD = 0.2  # of each time, at random, so that accounts do not come together


class Job:
    """One account. `look` and `wait` are for one thread at a time, the rest for any.

    `owner`: an identity; `account`: settings.FetchAccount; `folders`: the owner's mail folders;
    `open_folder()` -> OwnedFolder for its state; `connect(account, began)` -> Source;
    `due`: when the next round is (time.monotonic); `is_running`: a thread works on it; `began`:
    when the round began that runs now, or None.
    """

    def __init__(self, owner, account, folders, router, store, open_folder, connect,
                 clock=time.time):
        self.owner = owner
        self.account = account
        self.folders = folders
        self.order = identity.order_key(owner, account)
        self.status = status.Status(owner, account)
        self.due = 0.0
        self.is_running = False
        self.began = None
        self._failures = 0
        self._cuts = 0  # of connections that waited for mail for a short time, one after the other
        self._clock = clock
        self._connect = connect
        self._lock = threading.Lock()
        self._stopped = False
        self._is_interrupted = False  # since the last round began
        self._is_hurried = False  # since the last round began
        self._wire = None  # of the connection, to shut it down
        self._waker = None
        self._state = State(open_folder, identity.account_key(account), bool(account.remove), clock)
        self._rounds = Rounds(
            account, folders, self._state, Filing(router, account, owner, clock), store,
            self.status, self._connected, self.is_stopped, clock)

    def __str__(self):
        return "%s/%s" % (self.owner, self.account.name)

    def is_stopped(self):
        return self._stopped or self._is_interrupted

    def stop(self):
        """Let a round or a wait end at once."""
        with self._lock:
            self._stopped = True
            if self._wire is not None:
                self._wire.abort()
            if self._waker is not None:
                self._waker.set()

    def interrupt(self):
        """Let a round end at once: others wait for its place."""
        with self._lock:
            self._is_interrupted = True
            if self._wire is not None:
                self._wire.abort()

    def hurry(self):
        """Somebody wants a round now."""
        with self._lock:
            self._failures = 0
            self._is_hurried = True
            self.due = 0.0
            if self._waker is not None:
                self._waker.set()

    def close(self):
        """The end, when no thread works on it: note in the state that nothing is missing."""
        try:
            if not self.is_running:
                self._state.close()
        except OSError as error:
            log.warning("%s: the state cannot be closed, so the next start looks for what was "
                        "fetched: %s", self, error)

    def _began(self, wire):
        with self._lock:
            self._wire = wire
            if self.is_stopped():
                wire.abort()

    def _connected(self):
        return self._connect(self.account, self._began)

    # Rounds

    def look(self):
        """One round -> seconds until the next one. Raises nothing."""
        found = self.status
        found.state, found.last_try = status.FETCHING, int(self._clock())
        before, said = found.fetched, found.problems + found.left
        with self._lock:
            self._is_hurried = self._is_interrupted = False
        self.began = time.monotonic()
        try:
            is_more = self._rounds.look()
        except FetchError as error:
            wait = self._failed(error)
        except Exception:
            log.exception("%s: internal error while mail is fetched", self)
            wait = self._failed(FetchError("internal error; see the server's log"))
        else:
            if found.error:
                log.info("%s: works again", self)
            found.error, found.last_success = "", int(self._clock())
            self._failures = 0
            wait = 0.0 if is_more else _spread(self.account.period)
        finally:
            self.began = None
        if found.fetched > before:
            log.info("%s: %d messages fetched", self, found.fetched - before)
        for text in found.problems + found.left:
            if text not in said:
                log.warning("%s: %s", self, text)
        self._rest(wait)
        return wait

    def _failed(self, error):
        """A round failed -> seconds until the next."""
        self._rounds.abandon()
        if self._stopped:
            return 0.0
        if self._is_interrupted:
            error = FetchError("the server is slow, and accounts of other users waited")
        kind = next(bounds for kinds, bounds in (
            (LoginRefused, _REFUSED), (Throttled, _THROTTLED), (Later, _LATER),
            (FetchError, _FAILED)) if isinstance(error, kinds))
        wait = min(kind[0] * 2.0 ** min(self._failures, 30), kind[1])
        wait = _spread(_throttled(error) or wait)
        self._failures += 1
        text = status.shown(str(error))
        if text != self.status.error:
            log.warning("%s: %s; next attempt in %d s", self, text, wait)
        self.status.error = text
        return wait

    def _rest(self, seconds):
        with self._lock:
            self.due = 0.0 if self._is_hurried else time.monotonic() + seconds
        self.status.state, self.status.next_try = status.WAITING, int(self._clock() + seconds)

    # Between rounds

    @property
    def can_wait(self):
        """Whether `wait` works."""
        return self.account.idle and not self._stopped and self._rounds.can_wait

    def wait(self, seconds):
        """Keep the connection, until there may be new mail or `seconds` have passed -> whether to
        look now; False: the connection is lost and `due` says when to look."""
        with self._lock:
            waker = self._waker = Waker()
            if self._stopped or not self.due:
                waker.set()
        self.status.state, began = status.IDLING, time.monotonic()
        try:
            self._rounds.wait(seconds, waker)
            return True
        except NotImplementedError:  # it announces IDLE, and refuses it; `due` is when it was
            return False
        except FetchError as error:
            if not self._stopped:
                log.info("%s: the connection ended: %s", self, status.shown(str(error)))
            self._cuts = self._cuts + 1 if time.monotonic() - began < _SHORT else 1
            pause = min(random.uniform(1.0, _CUT) * 2.0 ** min(self._cuts - 1, 30),
                        max(_CUT, self.account.period))
            if isinstance(error, Throttled):
                pause = max(pause, _throttled(error) or _THROTTLED[0])
            self._rest(pause)
            return False
        finally:
            with self._lock:
                self._waker = None
            waker.close()

    def leave(self):
        """No thread works on it any more: close its connection."""
        self._rounds.abandon()
        self.status.state = status.WAITING
        with self._lock:
            self._wire = None


def _throttled(error):
    """The seconds that a server asks to wait, None if it does not."""
    if isinstance(error, Throttled) and error.seconds is not None:
        return max(1.0, min(float(error.seconds), _LONGEST_THROTTLE))
    return None


def _spread(seconds):
    return seconds * random.uniform(1 - _SPREAD / 2, 1 + _SPREAD / 2)
