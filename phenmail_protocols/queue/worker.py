"""The threads that empty the queue: `phenmail-queue` knows what is due, `phenmail-queue-N` send.

What must be remembered is in the spool. The worker alone drives the rest, each of which knows
nothing of the others: `schedule` says which message is next, `attempt` makes one attempt, the
thread pool runs what was chosen. A sending thread has a slot: it serves one destination over one
connection while that has something to send, and then takes another slot. The lock guards the
schedule; it is never held while anything is read, written or sent.

How a message gets from the spool to an attempt:

    commit, another process, the start of the server
        -> _hear or _look_around   its identity is in _news or _backlog
        -> _examine                its state is read; the schedule has its entries
        -> _dispatch               an entry is due and its destination has a slot: a thread starts
        -> _serve                  Attempts.make
        -> _go_on                  the schedule learns the outcome; the slot gets its next message
"""
import logging
import random
import threading
import time
from collections import deque
from typing import Dict, NamedTuple, Optional

from ..net.workers import Workers
from .attempt import ANSWERED, DOWN, REPORTS, Attempts, Target
from .schedule import Schedule
from .spool import Broken, NoSuchMessage, SpoolError

_LOOK = 1.0  # seconds: the longest wait, and the period of looking for other processes' changes
_RELOAD = 3600.0  # seconds until the whole queue is read again, in case a change was not announced
_TROUBLE = 60.0  # seconds until the spool is read again after an error
_JUMP = 60.0  # seconds: if the wall clock went back by more, all times are computed again
_AT_ONCE = 50  # messages that are read between two looks at the clock
_WINDOW = 60.0  # seconds for which new mail does not try a destination that was found down
_GRACE = 0.4  # the part of a stop's time in which attempts may end by themselves

log = logging.getLogger("phenmail.relay")


class Status(NamedTuple):
    """Messages and connections of the queue, the time of the next planned attempt (epoch seconds,
    or None), whether there is nothing to do before it, and {destination: messages there}."""
    messages: int
    active: int
    next: Optional[float]
    is_quiet: bool
    destinations: Dict[str, int]


class Worker:
    """Sends what is in a Spool. `start` once; any thread may call the rest."""

    def __init__(self, spool, policy, destination_of, courier_for, reporter, clock=time.time,
                 monotonic=time.monotonic, connections=20, per_destination=2, jitter=random.random,
                 wait=threading.Event.wait, is_here=lambda destination: False):
        """`policy`: retry.Policy. `destination_of(Recipient)` -> str. `reporter`:
        bounces.Reporter. `connections` in all, `per_destination` to one. `is_here(destination)`:
        it is this server, for which there are half as many slots beside `connections`.
        `clock()`: epoch seconds; `monotonic()`: seconds; `wait(event, seconds)`: how the queue's
        thread waits.

        `courier_for(destination)` gives a courier, an object for one thread at a time.
        `deliver(message, recipients, body)` returns a Reply for each recipient, or raises
        Unreachable. `dsn`: whether the last peer took NOTIFY. `close()`. `abort()`, which any
        thread may call, makes `deliver` end at once with temporary replies.
        """
        self._spool, self._courier_for = spool, courier_for
        self._clock, self._monotonic, self._wait = clock, monotonic, wait
        self._attempts = Attempts(spool, policy, destination_of, reporter, clock, jitter)
        self._window = min(_WINDOW, policy.first / 5)
        self._lock = threading.Condition(threading.Lock())  # notified when no slot is in use
        self._schedule = Schedule(connections, per_destination, is_here)
        self._schedule.trust(REPORTS)
        self._workers = Workers("queue", self._serve_in_turn)
        self._thread = threading.Thread(target=self._run, name="phenmail-queue", daemon=True)
        self._called = threading.Event()
        self._news = deque()  # identities to read now
        self._backlog = []  # identities to read when there is no news
        self._reload_at = self._look_at = self._offset = float("-inf")
        self._is_looking = True  # the queue's thread does not yet know that nothing is to be done
        self._is_stopping = self._is_cut = False

    def start(self):
        """Read the queue in the background and send what is due, until `stop`."""
        self._spool.watch(self._hear)
        self._thread.start()

    def stop(self, seconds=5.0):
        """End all threads -> whether they ended in time. An attempt that is cut short was never
        made."""
        end = time.monotonic() + seconds
        with self._lock:
            self._is_stopping = True
        self._called.set()
        if not self._wait_until_idle(seconds * _GRACE):
            with self._lock:
                self._is_cut = True
                couriers = [slot.courier for slot in self._schedule.slots()
                            if slot.courier is not None]
            for courier in couriers:
                _quietly(courier.abort)
            self._wait_until_idle(end - time.monotonic())
        self._workers.stop()
        threads = [each for each in self._workers.threads() + [self._thread] if each.is_alive()]
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def wake(self):
        """Look now: the clock was moved, or a message is due."""
        self._called.set()

    def status(self):
        """-> Status."""
        with self._lock:
            destinations = {each.name: len(each.waits) + each.active
                            for each in self._schedule.destinations() if each.name != REPORTS}
            active, moment = len(self._schedule.slots()), self._schedule.next_time()
            is_quiet = not (active or self._is_looking or self._called.is_set()) and (
                moment is None or moment > self._clock())
            return Status(len(self._schedule), active, moment, is_quiet, destinations)

    # The queue's thread.

    def _hear(self, identity):
        if not self._is_stopping:
            self._news.append(identity)
            self._called.set()

    def _run(self):
        try:
            self._spool.sweep()
        except SpoolError as error:
            log.error("cannot clean up the queue: %s", error)
        while not self._is_stopping:
            self._called.clear()
            try:
                seconds = self._round()
            except Exception:
                log.exception("internal error in the queue thread; continuing")
                seconds = _LOOK
            if seconds > 0 and not self._is_stopping:
                self._is_looking = False
                self._wait(self._called, seconds)
                self._is_looking = True

    def _round(self):
        """Look at what is new and what is due -> seconds until there will be something to do."""
        self._look_around()
        for _ in range(_AT_ONCE):
            if not self._news and not self._backlog:
                break
            self._examine(self._news.popleft() if self._news else self._backlog.pop())
        with self._lock:
            now = self._clock()
            self._schedule.promote(now)
            self._dispatch()
            moment = self._schedule.next_time()
        if self._news or self._backlog:
            return 0.0
        return _LOOK if moment is None else max(0.0, min(_LOOK, moment - now))

    def _look_around(self):
        """Take other processes' announcements. List the whole queue at the start, once an hour,
        and when the clock went back."""
        tick = self._monotonic()
        offset = self._clock() - tick
        try:
            if tick >= self._reload_at or offset < self._offset - _JUMP:
                self._reload_at = tick + _RELOAD
                self._backlog = self._spool.identities()[::-1]
            if tick >= self._look_at:
                self._look_at = tick + _LOOK
                self._news.extend(self._spool.take_changes())
        except SpoolError as error:
            self._look_at = self._reload_at = tick + _TROUBLE
            log.error("cannot read the queue, retrying in %d s: %s", _TROUBLE, error)
        self._offset = offset

    def _examine(self, identity):
        """Read a message and schedule it."""
        try:
            message = self._spool.read(identity)
        except (NoSuchMessage, Broken):
            due = {}
        except SpoolError as error:
            self._reload_at = self._monotonic() + _TROUBLE
            log.error("%s: cannot read its state, retrying in %d s: %s", identity, _TROUBLE, error)
            return
        else:
            due = self._attempts.due_on_disk(message, self._clock())
        with self._lock:
            self._schedule.place(identity, due, self._clock())
            self._dispatch()

    def _dispatch(self):
        """Start threads for all that may be sent now. The lock is held."""
        while not self._is_stopping:
            slot = self._schedule.choose(self._monotonic())
            if slot is None:
                return
            try:
                self._workers.start(slot)
            except (RuntimeError, MemoryError) as error:
                log.error("cannot start a thread to send with, retrying in %d s: %s", _LOOK, error)
                self._give_up(slot, _LOOK)
                self._schedule.release(slot)
                return

    # The sending threads.

    def _serve_in_turn(self, slot):
        """A thread's job: one destination after the other."""
        while slot is not None:
            try:
                self._serve(slot)
            except Exception:
                log.exception("internal error while serving %s", slot.destination.name)
            slot = self._next_slot(slot)

    def _serve(self, slot):
        """Send what is ready for one destination."""
        destination = slot.destination
        while slot.identity is not None:
            with self._lock:
                refusal = destination.refusal(self._clock(), self._window)
                target = Target(destination.name, lambda: self._connect(slot),
                                lambda: self._is_cut, refusal, destination.back_since)
            outcome = self._attempts.make(slot.identity, target)
            if outcome.is_broken:
                _hang_up(slot)
            self._go_on(slot, outcome)
        _hang_up(slot)

    def _connect(self, slot):
        """-> the slot's courier, or None when `stop` would not abort it any more."""
        if slot.courier is None:
            slot.courier = self._courier_for(slot.destination.name)
        with self._lock:
            return None if self._is_cut else slot.courier

    def _go_on(self, slot, outcome):
        """Note the outcome of an attempt, and give the slot its next message, or None."""
        destination = slot.destination
        with self._lock:
            now, tick = self._clock(), self._monotonic()
            news = self._learn(destination, outcome, now)
            if self._schedule.finish(destination, slot.identity, outcome.due, now):
                self._hear(slot.identity)
            is_over = self._is_stopping or self._schedule.is_over(slot, tick)
            slot.identity = None if is_over else self._schedule.take(destination)
            slot.began = tick
            self._dispatch()
        if news:
            log.warning(*news)

    def _learn(self, destination, outcome, now):
        """Note what an Outcome says of its destination -> what to log, or None."""
        if outcome.lesson == ANSWERED:
            seconds = self._schedule.answered(destination, now)
            if seconds is not None:
                return ("%s is back after %d s; messages to send now: %d",
                        destination.name, seconds, len(destination.waits))
        elif outcome.lesson is not None:
            if destination.fail(outcome.reply, now, outcome.lesson == DOWN):
                return ("%s is down; messages waiting: %d; %d %s", destination.name,
                        len(destination.waits) + 1, outcome.reply.code, outcome.reply.text)
        return None

    def _next_slot(self, slot):
        """Give a slot back -> the next one, or None."""
        with self._lock:
            if slot.identity is not None:  # an error in the program
                self._give_up(slot, _RELOAD)
            self._schedule.release(slot)
            following = None
            if not self._is_stopping:
                following = self._schedule.choose(self._monotonic())
            if not self._schedule.slots():
                self._lock.notify_all()
                self._called.set()
            return following

    def _give_up(self, slot, seconds):
        """The slot's message was not tried; it waits. The lock is held."""
        now, destination = self._clock(), slot.destination
        self._schedule.finish(destination, slot.identity, {destination.name: now + seconds}, now)

    def _wait_until_idle(self, seconds):
        """Wait until no slot is in use -> whether that was within `seconds`."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._schedule.slots(), max(0.0, seconds))


def _hang_up(slot):
    courier, slot.courier = slot.courier, None
    if courier is not None:
        _quietly(courier.close)


def _quietly(action):
    """Call `action`, and log what it raises."""
    try:
        action()
    except Exception:
        log.exception("%r failed", action)
