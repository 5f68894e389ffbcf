"""The durable queue: messages on their way out, each an immutable file of octets and a small file that says where it stands.

It must not know when a message is due, where it goes, or how it is sent.  Nobody but this file and `spool_files` knows the names below.

    files in the folder        what it is                                       who ends it
    ID.body, locked            a message arrives                                its `Arriving`: commit or discard
    ID.body, ID.state          a queued message; locked: somebody has a claim   the claim that finds it over, or removes it
    ID.body alone, unlocked    half arrived or half removed, by a crash         `sweep`
    ID.state alone             the same, after power loss                       `sweep`
    ID.tmp                     a state being written, by who has the lock       its rename to ID.state; else `sweep`
    ID.body, ID.state.broken   a state that can't be read, set aside            a person, who mends it and names it ID.state
    changes/ID                 another process says "look at this again"        `take_changes`

Invariants:

1. A message is queued from the moment its state has its name until that name is gone.  Its octets are whole and synced before that
   moment, and go after the state does.  So nothing that is queued is ever half.
2. A state is replaced by one rename, of a file that is synced: readers see the old one or the new one.
3. Who writes a state has the flock on the body: the message's `Arriving`, or a process with claims.  The kernel drops it with its
   holder, so a killed process leaves no claim behind, and what it left half is known by being unlocked.
4. The octets are never changed once they are queued, and are as many as the state says.

What a crash leaves.  kill -9: before the rename in `commit` nothing is queued, and nobody was told that it was; after it the message is
there.  An update is there or not; a removed message is gone.  Power loss: what `commit` and durable updates returned from is there.  What
did not wait for the disk (a removal that was not durable, too) may come back: then mail is sent a second time, never lost.

In one process claims on one message share one lock and one value, so that its destinations are served side by side.  A change for
which there is no room on the disk is raised as NoSpace and still holds as long as this process lives: nobody gets mail again and
again because the disk is full.
"""
import logging
import os
import threading
import time

from ..disk.locks import FileLock, LockTimeout
from .spool_files import (
    BODY,
    BROKEN,
    STATE,
    Broken,
    Busy,
    Files,
    NoSpace,  # noqa: F401 - for callers
    NoSuchMessage,
    SpoolError,
    Unavailable,
    as_spool_error,
    write_all,
)

_ROOM_STEP = 8 * 1024 * 1024  # octets of a message after which the disk's room is looked at again
_POLL = 0.05  # seconds between looks at a lock that another process has

log = logging.getLogger("phenmail.relay")


class Spool:
    """The queue in one folder, for any thread; other processes may have a Spool on it at the same time.

    Methods raise SpoolError, of which the rest are subclasses, and no OSError.
    """

    def __init__(self, folder, clock=time.time, reserve=0):
        """`folder` is made when the first message comes.  `clock()`: epoch seconds, for messages that don't say when they arrived.
        `reserve`: octets of the disk that new messages leave free, so that the states of others can still be written."""
        self._files = Files(folder, reserve)
        self._clock = clock
        self._released = threading.Condition()
        self._shared = {}  # identity -> _Shared, of messages with claims
        self._unsaved = {}  # identity -> (what the disk has, what is true), where the disk did not take a change
        self._watchers = []

    def begin(self, identity):
        """A new message -> its Arriving, a context manager that discards what was not committed.

        `identity`: letters, digits, ``.-_``.  Raises NoSpace, Unavailable; SpoolError where there is such a message.
        """
        self._files.check_room()
        return Arriving(self._files, self._clock, self._tell, identity)

    # Looking.

    def identities(self):
        """The names of all queued messages, sorted: no file is opened."""
        return self._files.names(STATE)

    def broken(self):
        """The names of messages that were set aside, sorted."""
        return self._files.names(BROKEN)

    def read(self, identity):
        """The Message as it stands.  Raises NoSuchMessage; Broken, after which it is set aside."""
        return self._files.load(identity)

    def messages(self):
        """Each queued Message, one at a time, in the order of names.  What goes meanwhile, or is set aside, is left out."""
        for identity in self.identities():
            try:
                message = self._files.load(identity)
            except (NoSuchMessage, Broken):
                continue
            yield message

    def body(self, identity):
        """The message's octets (without `head`) -> a binary file at its beginning, which the caller closes.  Raises NoSuchMessage."""
        try:
            return open(self._files.path(identity, BODY), "rb")
        except FileNotFoundError:
            raise NoSuchMessage(identity)
        except OSError as error:
            raise as_spool_error(error)

    # News.

    def watch(self, callback):
        """From now on `callback(identity)` is called, in the thread that caused it, for each message that is committed here or named to
        `changed`.  It must be quick."""
        self._watchers.append(callback)

    def changed(self, identity):
        """Who serves the queue is to look at this message again: told at once where that is this Spool's watcher, else by a file that
        the serving process finds (`take_changes`).  Raises NoSuchMessage for what can be no name, NoSpace, Unavailable."""
        if self._watchers:
            self._tell(identity)
        else:
            self._files.announce(identity)

    def take_changes(self):
        """Which messages other processes named since the last call -> list of identities; some may be gone."""
        return self._files.take_announced()

    def _tell(self, identity):
        for callback in self._watchers:
            try:
                callback(identity)
            except Exception:  # it is not the fault of who brought the message
                log.exception("news of %s made its watcher fail", identity)

    def sweep(self):
        """At start: remove what a crash left half.  May run beside arriving messages and claims, of other processes too."""
        self._files.sweep()

    # Claims.

    def claim(self, identity, destination=None, timeout=0):
        """Take a message in hand -> Claim.

        `destination` (str): what goes there, so that other threads of this process can have the rest; None: all of it.  `timeout`:
        seconds to wait while others have it.  Raises Busy, NoSuchMessage, Broken, Unavailable.
        """
        end = time.monotonic() + timeout if timeout else 0.0
        while True:
            try:
                return self._claim(identity, destination)
            except Busy:
                left = end - time.monotonic() if timeout else 0.0
                if left <= 0:
                    raise
                with self._released:
                    self._released.wait(min(left, _POLL))

    def _claim(self, identity, destination):
        with self._released:
            shared = self._shared.get(identity)
            if shared is None:
                shared = self._shared[identity] = _Shared(self._files.path(identity, BODY))
            shared.take(identity, destination)
        try:
            with shared.lock:
                if shared.message is None:
                    self._open(identity, shared)
                if shared.gone:
                    raise NoSuchMessage(identity)
        except BaseException:
            self._let_go(identity, shared, destination)
            raise
        return Claim(self, identity, destination, shared)

    def _open(self, identity, shared):
        """Lock the message for this process, and only then read it."""
        try:
            shared.file_lock.acquire()
        except LockTimeout:
            raise Busy("another program has the message %s in hand" % identity)
        except FileNotFoundError:
            raise NoSuchMessage(identity)
        except OSError as error:
            raise as_spool_error(error)
        try:
            shared.on_disk = self._files.load_whole(identity)
        except BaseException:
            shared.file_lock.release()
            raise
        on_disk, true = self._unsaved.get(identity, (None, None))
        if on_disk is not None and on_disk != shared.on_disk:  # somebody else's change is newer
            self._unsaved.pop(identity, None)
            on_disk = None
        shared.message = shared.on_disk if on_disk is None else true

    def _let_go(self, identity, shared, destination):
        with self._released:
            shared.taken.discard(destination)
            last = not shared.taken
            if last:
                del self._shared[identity]
                if not shared.gone:
                    shared.file_lock.release()
            self._released.notify_all()
        if last and shared.gone:  # the disk frees what was the body, which takes time
            shared.file_lock.release()

    def _save(self, shared, message):
        """A new value of a claimed message, under its lock."""
        shared.message = message
        try:
            if message.over:
                self._files.remove(message.identity)
                shared.gone = True
            else:
                self._files.write_state(message)
        except SpoolError:
            self._unsaved[message.identity] = (shared.on_disk, message)
            raise
        shared.on_disk = message
        self._unsaved.pop(message.identity, None)


class _Shared:
    """What the claims of one process on one message share."""

    __slots__ = ("lock", "file_lock", "taken", "message", "on_disk", "gone")

    def __init__(self, path):
        self.lock = threading.Lock()  # for message, on_disk and gone
        self.file_lock = FileLock(path, 0, create=False)
        self.taken = set()  # destinations, or None alone; under the Spool's lock
        self.message = None
        self.on_disk = None
        self.gone = False

    def take(self, identity, destination):
        if destination in self.taken or None in self.taken or destination is None and self.taken:
            raise Busy("the message %s is being sent at this moment" % identity)
        self.taken.add(destination)


class Claim:
    """A message, or one destination of it, in hand.  One thread; a context manager, or ends with `close`."""

    __slots__ = ("identity", "destination", "_spool", "_shared", "_open")

    def __init__(self, spool, identity, destination, shared):
        self.identity = identity
        self.destination = destination
        self._spool = spool
        self._shared = shared
        self._open = True

    @property
    def message(self):
        """The Message as it is now, with what other claims of this process changed; the last value where it was removed."""
        return self._shared.message

    def update(self, change, durable=True):
        """Make the message what `change(Message) -> Message` makes of it -> the new Message; one that is over is removed.

        `change` gets it as it is now, and must be quick.  `durable` False: the change outlives kill -9, perhaps not power loss.  Raises
        NoSuchMessage where another claim removed it; NoSpace or Unavailable, and then the change holds in this process only.
        """
        shared, files = self._shared, self._spool._files
        with shared.lock:
            if shared.gone or not self._open:
                raise NoSuchMessage(self.identity)
            mark, old, new = files.mark(), shared.message, change(shared.message)
            if new.head != old.head:
                new = new._replace(size=old.size - len(old.head) + len(new.head))
            self._spool._save(shared, new)
        if durable:
            files.sync(mark)
        return new

    def remove(self, durable=False):
        """The message is gone when it returns, whatever its state; `durable` as in `update`.  Raises Unavailable."""
        shared, files = self._shared, self._spool._files
        with shared.lock:
            mark = files.mark()
            files.remove(self.identity)
            shared.gone = True
            self._spool._unsaved.pop(self.identity, None)
        if durable:
            files.sync(mark)

    def body(self):
        """The octets behind `head`, as a binary file at its beginning, which the caller closes."""
        return self._spool.body(self.identity)

    def close(self):
        """Others may have it; may be called again."""
        if self._open:
            self._open = False
            self._spool._let_go(self.identity, self._shared, self.destination)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Arriving:
    """A message that is being queued.  One thread; ends with `commit` or `discard`, or as a context manager."""

    __slots__ = ("identity", "size", "path", "_files", "_clock", "_tell", "_mark", "_descriptor", "_lock", "_is_synced")

    def __init__(self, files, clock, tell, identity):
        self._mark = files.mark()
        self._descriptor, self._lock = files.create_body(identity)
        self.identity = identity
        self.size = 0  # octets so far
        self.path = files.path(identity, BODY)  # they can be read there
        self._files = files
        self._clock = clock
        self._tell = tell
        self._is_synced = False

    def write(self, data):
        """Take the next octets (wire form).  Raises NoSpace, Unavailable; then nothing is left of the message."""
        step = self.size // _ROOM_STEP
        self.size += len(data)
        self._is_synced = False
        try:
            if self.size // _ROOM_STEP != step:
                self._files.check_room()
            write_all(self._descriptor, data)
        except OSError as error:
            self.discard()
            raise as_spool_error(error)
        except SpoolError:
            self.discard()
            raise

    def sync(self):
        """The octets are on the disk when this returns, and nothing is queued yet.  Raises NoSpace, Unavailable; then nothing is left."""
        try:
            self._sync_octets()
        except OSError as error:
            self.discard()
            raise as_spool_error(error)

    def _sync_octets(self):
        if not self._is_synced:
            os.fsync(self._descriptor)
            self._is_synced = True

    def commit(self, message):
        """Queue it: durable when this returns -> the Message, with `size`, and `arrived` where that was 0, filled in.

        Raises NoSpace, Unavailable; then nothing is left of the message.
        """
        if message.identity != self.identity or not message.recipients:
            raise ValueError("that is no message for %s" % self.identity)
        if self._lock is None:
            raise SpoolError("the message %s was discarded" % self.identity)
        message = message._replace(size=len(message.head) + self.size, arrived=message.arrived or self._clock())
        try:
            self._sync_octets()
            self._files.write_state(message)
            self._files.sync(self._mark)
        except OSError as error:
            self.discard()
            raise as_spool_error(error)
        except BaseException:
            self.discard()
            raise
        self._close()
        self._tell(self.identity)
        return message

    def discard(self):
        """Nothing is left of the message; after `commit`, or again, it does nothing."""
        if self._lock is None:
            return
        try:
            self._files.remove(self.identity)
        except Unavailable as error:
            log.error("%s was not accepted, and can't be removed: %s", self.identity, error)
        finally:
            self._close()

    def _close(self):
        descriptor, self._descriptor, lock, self._lock = self._descriptor, -1, self._lock, None
        os.close(descriptor)
        lock.release()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.discard()
