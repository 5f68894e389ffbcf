"""The threads that drain the queue: one that knows when (`phenmail-queue`), and a bounded set that sends (`phenmail-queue-N`).

All that is to be remembered is in the spool; here is only who is next.  `agenda` knows who waits, `slots` whose turn it is,
`attempt` what is done with one message.  A sending thread serves one destination with one courier while there is something for
it, and then takes the next one.  The lock is held for looking and choosing, never while something is read, written or sent.
"""
import logging
import random
import threading
import time
from collections import deque
from typing import NamedTuple, Optional, Tuple

from ..net.workers import Workers
from .agenda import Agenda
from .attempt import ANSWERED, DOWN, REPORTS, Attempts, Call
from .model import Reply
from .slots import Apart, Slots
from .spool import Broken, NoSuchMessage, SpoolError

_LOOK = 1.0         # seconds: the longest wait, the period at which other processes' announcements are looked for
_RELOAD = 3600.0    # seconds after which the whole queue is read again: nothing rots because somebody forgot to tell
_TROUBLE = 60.0     # seconds until the spool is looked at again when it could not be read
_JUMP = 60.0        # seconds by which the wall clock went back, against which all moments are judged anew
_AT_ONCE = 50       # messages read between two looks at the clock
_WINDOW = 60.0      # seconds for which a destination that could not be had is not tried again, for new mail either
_GRACE = 0.4        # the part of a stop's time in which attempts may end by themselves

_log = logging.getLogger("phenmail.relay")


class Destination(NamedTuple):
    """How a destination stands: messages that wait for it, connections to it, since when it is down (epoch seconds, or None), and
    the last failure (or None)."""
    name: str
    waiting: int
    active: int
    down_since: Optional[float]
    reply: Optional[Reply]


class Status(NamedTuple):
    """How the queue stands: messages, connections, the moment of the next planned attempt (epoch seconds, or None), whether there
    is nothing to do before it, and the destinations, most messages first."""
    messages: int
    active: int
    next: Optional[float]
    is_quiet: bool
    destinations: Tuple[Destination, ...]


class Worker:
    """Sends what is in a Spool. `start()` once; any thread may call the rest."""

    def __init__(self, spool, policy, destination_of, courier_for, reporter, clock=time.time, monotonic=time.monotonic,
                 connections=20, per_destination=2, dice=random.random, wait=threading.Event.wait, is_here=lambda destination: False):
        """`policy`: schedule.Policy.  `destination_of(Recipient)` -> destination.  `reporter`: reports.Reporter.

        `courier_for(destination)` -> an object for one thread at a time, with `deliver(message, recipients, body)` -> a Reply for
        each, or Unreachable; `dsn`: whether the last peer was told NOTIFY; `close()`; and `abort()`, which any thread may call:
        from then on `deliver` ends at once with temporary replies.  `connections` in all, `per_destination` to one.
        `is_here(destination)`: it is no other server but this one; those have half as many slots of their own beside `connections`.
        `clock()`: epoch seconds; `monotonic()`: seconds; `wait(event, seconds)`: how the queue's thread waits.
        """
        self._spool, self._courier_for = spool, courier_for
        self._clock, self._monotonic, self._wait = clock, monotonic, wait
        self._attempts = Attempts(spool, policy, destination_of, reporter, clock, dice)
        self._window = min(_WINDOW, policy.first / 5)
        self._lock = threading.Condition(threading.Lock())  # for agenda and slots; told when no slot is used
        self._slots = Apart(Slots(connections, per_destination), Slots(max(1, connections // 2), per_destination), is_here)
        self._agenda = Agenda(self._slots.queue)
        self._slots.trust(REPORTS)
        self._workers = Workers("queue", self._serve_in_turn)
        self._thread = threading.Thread(target=self._run, name="phenmail-queue", daemon=True)
        self._called = threading.Event()
        self._news = deque()    # identities to be looked at, now
        self._backlog = []      # the same, when there is no news
        self._reload_at = self._look_at = self._offset = None
        self._is_looking = True  # the queue's thread has not found yet that there is nothing to do
        self._is_stopping = self._is_cut = False

    def start(self):
        """Read the queue in the background and send what is due, until `stop`."""
        self._spool.watch(self._hear)
        self._thread.start()

    def stop(self, seconds=5.0):
        """End all threads -> whether they ended in time. Attempts that are cut short were never made; a worker starts once."""
        end = time.monotonic() + seconds
        with self._lock:
            self._is_stopping = True
        self._called.set()
        if not self._rests(seconds * _GRACE):
            with self._lock:
                self._is_cut = True
                couriers = [slot.courier for slot in self._slots if slot.courier is not None]
            for courier in couriers:
                _quietly(courier.abort)
            self._rests(end - time.monotonic())
        self._workers.stop()
        threads = [thread for thread in self._workers.threads() + [self._thread] if thread.is_alive()]
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def wake(self):
        """Look now: the clock was moved, or a message's time has come."""
        self._called.set()

    def status(self):
        """-> Status."""
        with self._lock:
            destinations = [Destination(line.name, len(line.waits) + line.active, line.active, line.down_since, line.reply)
                            for line in self._agenda.lines() if line.name != REPORTS]
            moment = self._agenda.next_moment()
            is_quiet = not (len(self._slots) or self._is_looking or self._called.is_set()) and (
                moment is None or moment > self._clock())
            return Status(len(self._agenda), len(self._slots), moment, is_quiet,
                          tuple(sorted(destinations, key=lambda each: (-each.waiting, each.name))))

    # The queue's thread.

    def _hear(self, identity):
        """The spool's news."""
        if not self._is_stopping:
            self._news.append(identity)
            self._called.set()

    def _run(self):
        try:
            self._spool.sweep()
        except SpoolError as error:
            _log.error("the queue can't be swept: %s", error)
        while not self._is_stopping:
            self._called.clear()
            try:
                seconds = self._round()
            except Exception:
                _log.exception("the queue's thread failed, and goes on")
                seconds = _LOOK
            if seconds > 0 and not self._is_stopping:
                self._is_looking = False
                self._wait(self._called, seconds)
                self._is_looking = True

    def _round(self):
        """Look at what is new and at what is due -> seconds until there will be something to do."""
        self._look_around()
        for _ in range(_AT_ONCE):
            if not self._news and not self._backlog:
                break
            self._examine(self._news.popleft() if self._news else self._backlog.pop())
        with self._lock:
            now = self._clock()
            self._agenda.promote(now)
            self._dispatch()
            moment = self._agenda.next_moment()
        if self._news or self._backlog:
            return 0.0
        return _LOOK if moment is None else max(0.0, min(_LOOK, moment - now))

    def _look_around(self):
        """Other processes' announcements, and the whole queue at the start, once an hour, and when the clock went back."""
        tick = self._monotonic()
        offset = self._clock() - tick
        try:
            if self._offset is None or tick >= self._reload_at or offset < self._offset - _JUMP:
                self._reload_at = tick + _RELOAD
                self._backlog = self._spool.identities()[::-1]
            if self._look_at is None or tick >= self._look_at:
                self._look_at = tick + _LOOK
                self._news.extend(self._spool.take_changes())
        except SpoolError as error:
            self._look_at = self._reload_at = tick + _TROUBLE
            _log.error("the queue can't be read: %s", error)
        self._offset = offset

    def _examine(self, identity):
        """Read a message and note when it is due."""
        try:
            message = self._spool.read(identity)
        except (NoSuchMessage, Broken):
            dues = {}
        except SpoolError as error:
            self._reload_at = self._monotonic() + _TROUBLE
            _log.error("%s can't be read now: %s", identity, error)
            return
        else:
            dues = self._attempts.dues_on_disk(message, self._clock())
        with self._lock:
            self._agenda.place(identity, dues, self._clock())
            self._dispatch()

    def _dispatch(self):
        """Threads for all that may be sent now. The lock is held."""
        while not self._is_stopping:
            slot = self._slots.choose(self._agenda.take, self._monotonic())
            if slot is None:
                return
            try:
                self._workers.start(slot)
            except (RuntimeError, MemoryError) as error:
                _log.error("no thread to send with: %s", error)
                now = self._clock()
                self._agenda.finish(slot.line, slot.identity, {slot.line.name: now + _LOOK}, now)
                self._slots.release(slot)
                return

    # Sending threads.

    def _serve_in_turn(self, slot):
        """A thread's job: one destination after the other."""
        while slot is not None:
            try:
                self._serve(slot)
            except Exception:
                _log.exception("serving %s failed", slot.line.name)
            slot = self._end(slot)

    def _serve(self, slot):
        """Send what is ready for one destination."""
        while slot.identity is not None:
            with self._lock:
                refusal = slot.line.refusal(self._clock(), self._window)
                call = Call(slot.line.name, lambda: self._connect(slot), lambda: self._is_cut, refusal, slot.line.back_since)
            outcome = self._attempts.make(slot.identity, call)
            if outcome.is_broken:
                self._hang_up(slot)
            self._go_on(slot, outcome)
        self._hang_up(slot)

    def _connect(self, slot):
        """-> the slot's courier, or None: it would be aborted."""
        if slot.courier is None:
            slot.courier = self._courier_for(slot.line.name)
        with self._lock:
            return None if self._is_cut else slot.courier

    def _go_on(self, slot, outcome):
        """What an attempt brought is noted, and the slot gets its next message, or None."""
        line = slot.line
        with self._lock:
            now, tick = self._clock(), self._monotonic()
            told = self._learn(line, outcome, now)
            if self._agenda.finish(line, slot.identity, outcome.dues, now):
                self._hear(slot.identity)
            is_over = self._is_stopping or self._slots.is_over(slot, tick)
            slot.identity, slot.began = None if is_over else self._agenda.take(line), tick
            self._dispatch()
        if told:
            _log.warning(*told)

    def _learn(self, line, outcome, now):
        """What an Outcome says of the destination -> what is to be logged, or None. The lock is held."""
        if outcome.lesson == ANSWERED:
            self._slots.trust(line.name)
            seconds = line.answer(now)
            if seconds is not None:
                self._agenda.hurry(line)
                self._slots.queue(line)
                return "%s is back after %d s; messages that are due: %d", line.name, seconds, len(line.waits)
        elif outcome.lesson is not None and line.fail(outcome.reply, now, outcome.lesson == DOWN):
            return ("%s is down; messages that wait: %d; %d %s",
                    line.name, len(line.waits) + 1, outcome.reply.code, outcome.reply.text)
        return None

    def _hang_up(self, slot):
        courier = slot.courier
        if courier is not None:
            _quietly(courier.close)
            slot.courier = None

    def _end(self, slot):
        """Give a slot back -> the next one, or None."""
        with self._lock:
            now = self._clock()
            if slot.identity is not None:  # an error in the program
                self._agenda.finish(slot.line, slot.identity, {slot.line.name: now + _RELOAD}, now)
            self._slots.release(slot)
            self._agenda.prune(slot.line)
            following = None if self._is_stopping else self._slots.choose(self._agenda.take, self._monotonic())
            if not len(self._slots):
                self._lock.notify_all()
                self._called.set()
            return following

    def _rests(self, seconds):
        """Whether no slot is in use, within so many seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: not len(self._slots), max(0.0, seconds))


def _quietly(action):
    """What another's object raises is told, and stops nobody."""
    try:
        action()
    except Exception:
        _log.exception("%r failed", action)
