"""Slow work on accounts in idle moments: it prepares what listing and searching need.

One thread for each server runs steps. A step is a function of an Account. It does one piece of
work, which takes at most some 50 ms and has short transactions of its own, and returns whether more
is left. The thread begins when no mail has arrived for a moment, pauses after each piece so that
other threads can run, and serves the accounts in turns. Nothing depends on this work: what is not
done yet is done when it is first needed.
"""
import logging
import os
import threading
import time
from collections import OrderedDict

from . import errors

_TURN = 0.5  # seconds for one account, before the next one has its turn
_PATIENCE = 2.0  # seconds; while mail keeps arriving, one piece is done in each such period
_FULL = 30.0  # seconds without work after the disk was full
_SHARE = 0.25  # a pause lasts at least this share of the time that the work took
_PAUSE = 0.001  # seconds; the shortest pause
_MOST = 10000  # accounts that may wait; those that have waited longest are forgotten
_STOP = 1.0  # seconds that `stop` waits for a piece
log = logging.getLogger("phenmail.store")


class Stopped(Exception):
    """Ends a step because the server stops."""


class IdleWork:
    """All methods may be called from any thread. The thread starts with the first `wake`."""

    def __init__(self, account_at, quiet=0.5):
        """`account_at(folder)` returns an Account; `quiet`: seconds without new mail before work
        begins."""
        self._account_at = account_at
        self._quiet = quiet
        self._steps = []
        self._changed = threading.Condition()
        self._waiting = OrderedDict()  # folder of an account -> the steps that it needs
        self._quiet_from = 0.0  # work begins at this time, unless more mail arrives
        self._latest = 0.0  # arriving mail does not postpone the next piece beyond this time
        self._gives_way = 0.0  # when `look` pauses next
        self._is_sleeping = False  # the thread has no work and waits for `_changed`
        self._stopping = False
        self._thread = None

    def add_step(self, step):
        """Call `step(account)` for each account that was woken, until it returns False: nothing is
        left. The steps that were added earlier come first."""
        with self._changed:
            self._steps.append(step)

    def wake(self, account, has_mail=True):
        """Call this when there may be work in an account. `has_mail`: mail arrived, so the work
        waits a moment.

        This takes microseconds. It may be called under the account's lock.
        """
        now = time.monotonic()
        with self._changed:
            if self._stopping or not self._steps:
                return
            if not self._waiting:
                self._latest = now + _PATIENCE
            self._waiting[account.folder] = list(self._steps)
            if len(self._waiting) > _MOST:
                self._waiting.popitem(last=False)
            if has_mail:
                self._quiet_from = max(self._quiet_from, now + self._quiet)
            if self._is_sleeping:
                self._is_sleeping = False
                self._changed.notify()
            elif self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="phenmail-store-idle-work", daemon=True)
                self._thread.start()

    def postpone(self):
        """A client waits for long work: wait as for mail that arrives."""
        self._quiet_from = max(self._quiet_from, time.monotonic() + self._quiet)

    def stop(self):
        """End the thread after its current piece of work; wait for at most _STOP seconds."""
        with self._changed:
            self._stopping = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_STOP)

    def look(self):
        """A long step calls this often. It pauses now and then, so that other threads can run.

        Raises Stopped when the server stops. Do not call it under a lock.
        """
        if self._stopping:
            raise Stopped()
        now = time.monotonic()
        if now > self._gives_way:
            time.sleep(_PAUSE)
            self._gives_way = time.monotonic() + _PAUSE / _SHARE

    def _run(self):
        while True:
            folder, steps = self._next()
            if folder is None:
                return
            left = self._turn(folder, steps)
            with self._changed:
                self._latest = max(self._quiet_from, time.monotonic() + _PATIENCE)
                if left and not self._stopping:
                    self._waiting.setdefault(folder, left)

    def _next(self):
        """Wait for an account's turn: (folder, steps); (None, None) when the server stops."""
        with self._changed:
            while not self._stopping:
                if not self._waiting:
                    self._is_sleeping = True
                    self._changed.wait()
                    continue
                rest = min(self._quiet_from, self._latest) - time.monotonic()
                if rest <= 0:
                    return self._waiting.popitem(last=False)
                self._changed.wait(rest)
        return None, None

    def _turn(self, folder, steps):
        """Work for one account until its turn ends or mail arrives; returns the steps that have
        more to do."""
        try:
            if not os.path.isdir(folder):
                return []  # the account was deleted; a transaction would make its folder again
            account = self._account_at(folder)
            ends = time.monotonic() + _TURN
            while steps:
                if not self._piece(steps[0], account):
                    steps = steps[1:]
                now = time.monotonic()
                if now > ends or now < self._quiet_from:
                    break
            return steps
        except errors.NoSpace:
            log.warning("%s: the disk is full; work in idle moments continues in %d seconds",
                        folder, _FULL)
            with self._changed:
                self._quiet_from = time.monotonic() + _FULL
            return steps
        except Stopped:
            pass
        except errors.StoreError as error:
            log.warning("%s: work in idle moments failed; retrying after the next change: %s",
                        folder, error)
        except Exception:
            log.exception("%s: work in idle moments failed; retrying after the next change",
                          folder)
        return []

    def _piece(self, step, account):
        """Do one piece of work, then pause; returns whether more is left."""
        if self._stopping:
            return False
        began = time.monotonic()
        self._gives_way = began + _PAUSE / _SHARE
        more = step(account)
        time.sleep(max(_PAUSE, _SHARE * (time.monotonic() - began)))
        return more
