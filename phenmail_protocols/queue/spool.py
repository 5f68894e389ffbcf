"""The durable queue: each message is a file of octets that never changes, and a small state file.

The spool does not know when a message is due, where it goes, or how it is sent. Only this file and
`spool_files` know the names below.

States of a message:

    files in the folder        what it is                         what ends it
    ID.body, locked            a message arrives                  its `Arriving`: commit or discard
    ID.body, ID.state          it is queued; locked: claimed      the update that leaves it over
    ID.body alone, unlocked    a crash while it arrived or was    `sweep`
                               removed
    ID.state alone             the same, after a power loss       `sweep`
    ID.tmp                     a state that the holder of the     its rename to ID.state, or `sweep`
                               lock is writing
    ID.body, ID.state.broken   the state could not be read        a person, who mends it and renames
                                                                  it to ID.state
    changes/ID                 another process says "look at      `take_changes`
                               this message again"

Invariants:

1. A message is queued from the moment its state has its name until that name is gone. The octets
   are complete and synced before that moment, and are removed after the state. So nothing that is
   queued is ever half there.
2. A state is replaced by one rename of a synced file: readers see the old state or the new one.
3. Only the holder of the lock (flock) on the body writes a state: the message's `Arriving`, or a
   process with claims on it. When a process is killed, the kernel releases its locks. So it
   leaves no claim behind, and the missing lock shows what it left incomplete.
4. The octets never change once they are queued, and there are as many as the state says.

What a crash leaves. kill -9: before the rename in `commit` nothing is queued, and no client got a
250; after it the message is queued. An update is there completely or not at all. A removed
message is gone. Power loss: what a `commit` or a durable update wrote is there once it returned.
Other updates, also those that remove the message, may be undone: then mail is sent a second time,
but never lost.

In one process, claims on one message share one lock and one value, so that its destinations are
served side by side. A change that the disk does not take is raised (NoSpace, Unavailable), but it
holds as long as this process lives: a full disk must not send mail again and again.
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
    spool_errors,
    write_all,
)

_ROOM_STEP = 8 * 1024 * 1024  # octets of a message after which the disk's room is checked again
_POLL = 0.05  # seconds between looks at a lock that another process has

log = logging.getLogger("phenmail.relay")


class Spool:
    """The queue in one folder, for any thread. Other processes may have a Spool on it as well.

    Methods raise SpoolError and its subclasses, but never OSError.
    """

    def __init__(self, folder, reserve=0):
        """`folder` is created with the first message. `reserve`: octets of the disk that new
        messages leave free, so that the states of others can still be written."""
        self._files = Files(folder, reserve)
        self._released = threading.Condition()
        self._shared = {}  # identity -> _Shared, of messages with claims
        self._unsaved = {}  # identity -> (state on the disk, newer state that it did not take)
        self._watchers = []

    def begin(self, identity):
        """A new message -> its Arriving, a context manager that discards what is not committed.

        `identity`: letters, digits, ``.-_``. Raises NoSpace, Unavailable; SpoolError if there is
        such a message.
        """
        self._files.check_room()
        return Arriving(self._files, self._tell, identity)

    # Reading.

    def identities(self):
        """The sorted identities of all queued messages. No file is opened."""
        return self._files.names(STATE)

    def broken(self):
        """The sorted identities of messages that were set aside."""
        return self._files.names(BROKEN)

    def read(self, identity):
        """The Message as it stands. Raises NoSuchMessage; Broken, after which it is set aside."""
        return self._files.load(identity)

    def messages(self):
        """Each queued Message, one at a time, in the order of identities. What is removed or set
        aside meanwhile is left out."""
        for identity in self.identities():
            try:
                message = self._files.load(identity)
            except (NoSuchMessage, Broken):
                continue
            yield message

    def body(self, identity):
        """The message's octets (without `head`) -> a binary file at its beginning, which the caller
        closes. Raises NoSuchMessage."""
        with spool_errors(identity):
            return open(self._files.path(identity, BODY), "rb")

    def is_unsaved(self, identity):
        """Whether the disk did not take the message's last change, so that `read` is out of date
        and the next claim must write it."""
        return identity in self._unsaved

    # News.

    def watch(self, callback):
        """From now on call `callback(identity)` for each message that is committed here or named to
        `changed`, in the thread that does so. It must be quick."""
        self._watchers.append(callback)

    def changed(self, identity):
        """Have the message looked at again: by the watcher of this Spool, if there is one, else by
        the process that serves the queue, which finds a file (`take_changes`).

        Raises NoSuchMessage for an impossible name, NoSpace, Unavailable.
        """
        if self._watchers:
            self._tell(identity)
        else:
            self._files.announce(identity)

    def take_changes(self):
        """The identities that other processes named since the last call; some may be gone."""
        return self._files.take_announced()

    def _tell(self, identity):
        for callback in self._watchers:
            try:
                callback(identity)
            except Exception:  # the message is queued, so its client must get a 250
                log.exception("internal error in a watcher of the queue, for %s", identity)

    def sweep(self):
        """At the start, remove what a crash left half done. Messages may arrive and have claims
        meanwhile, also in other processes."""
        self._files.sweep()

    # Claims.

    def claim(self, identity, destination=None, timeout=0):
        """-> Claim on a message.

        `destination` (str): only what goes there, so that other threads of this process can have
        the rest; None: all of it. `timeout`: seconds to wait while others have it. Raises Busy,
        NoSuchMessage, Broken, Unavailable.
        """
        end = time.monotonic() + timeout
        while True:
            try:
                return self._claim(identity, destination)
            except Busy:
                left = end - time.monotonic()
                if not timeout or left <= 0:
                    raise
                with self._released:
                    self._released.wait(min(left, _POLL))

    def _claim(self, identity, destination):
        with self._released:
            shared = self._shared.get(identity)
            if shared is None:
                shared = self._shared[identity] = _Shared(self._files.path(identity, BODY))
            taken = shared.taken
            if destination in taken or None in taken or destination is None and taken:
                raise Busy("the message %s is being sent now" % identity)
            taken.add(destination)
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
        with spool_errors(identity):
            try:
                shared.file_lock.acquire()
            except LockTimeout:
                raise Busy("another program is using the message %s" % identity)
        try:
            shared.on_disk = self._files.load_whole(identity)
        except BaseException:
            shared.file_lock.release()
            raise
        shared.message = shared.on_disk
        before, newer = self._unsaved.get(identity, (None, None))
        if before == shared.on_disk:
            shared.message = newer
        else:  # another process wrote a newer state, which wins
            self._unsaved.pop(identity, None)

    def _let_go(self, identity, shared, destination):
        with self._released:
            shared.taken.discard(destination)
            last = not shared.taken
            if last:
                del self._shared[identity]
                if not shared.gone:
                    shared.file_lock.release()
            self._released.notify_all()
        if last and shared.gone:  # outside the lock, because freeing the octets takes time
            shared.file_lock.release()

    def _save(self, shared, message):
        """Write a new value of a claimed message. Its lock is held."""
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


class Claim:
    """The right to change a message, or what goes to one destination. For one thread; a context
    manager, or ends with `close`."""

    __slots__ = ("identity", "destination", "_spool", "_shared", "_open")

    def __init__(self, spool, identity, destination, shared):
        self.identity = identity
        self.destination = destination
        self._spool = spool
        self._shared = shared
        self._open = True

    @property
    def message(self):
        """The Message as it is now, with the changes of other claims in this process; the last
        value if it was removed."""
        return self._shared.message

    def update(self, change, durable=True):
        """Make the message what `change(Message) -> Message` returns -> the new Message. A message
        that is over is removed.

        `change` gets the message as it is now, and must be quick. `durable` False: the change
        survives kill -9, but perhaps not power loss. Raises NoSuchMessage if another claim removed
        it; NoSpace or Unavailable, and then the change holds in this process only.
        """
        shared, spool = self._shared, self._spool
        with shared.lock:
            if shared.gone or not self._open:
                raise NoSuchMessage(self.identity)
            mark, old, new = spool._files.mark(), shared.message, change(shared.message)
            if new.head != old.head:
                new = new._replace(size=old.size - len(old.head) + len(new.head))
            spool._save(shared, new)
        if durable:
            try:
                spool._files.sync(mark)
            except SpoolError:
                with shared.lock:  # another claim's change may be unsaved, or newer
                    if not shared.gone:
                        spool._unsaved[self.identity] = (shared.on_disk, shared.message)
                raise
        return new

    def body(self):
        """The octets after `head`, as a binary file at its beginning, which the caller closes."""
        return self._spool.body(self.identity)

    def close(self):
        """Let others claim it. May be called again."""
        if self._open:
            self._open = False
            self._spool._let_go(self.identity, self._shared, self.destination)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Arriving:
    """A message that is being queued. For one thread; ends with `commit` or `discard`, or as a
    context manager."""

    __slots__ = ("identity", "size", "path", "_files", "_tell", "_mark", "_descriptor", "_lock",
                 "_is_synced")

    def __init__(self, files, tell, identity):
        self._mark = files.mark()
        self._descriptor, self._lock = files.create_body(identity)
        self.identity = identity
        self.size = 0  # octets so far
        self.path = files.path(identity, BODY)  # where they can be read
        self._files = files
        self._tell = tell
        self._is_synced = False

    def write(self, data):
        """Append octets (wire form). Raises NoSpace, Unavailable; then nothing is left."""
        step = self.size // _ROOM_STEP
        self.size += len(data)
        self._is_synced = False
        with spool_errors(on_error=self.discard):
            if self.size // _ROOM_STEP != step:
                self._files.check_room()
            write_all(self._descriptor, data)

    def sync(self):
        """The octets are on the disk when this returns, but nothing is queued yet. Raises NoSpace,
        Unavailable; then nothing is left."""
        with spool_errors(on_error=self.discard):
            if not self._is_synced:
                os.fsync(self._descriptor)
                self._is_synced = True

    def commit(self, message):
        """Queue it, durably when this returns -> the Message, with its `size`. Raises NoSpace,
        Unavailable; then nothing is left."""
        if message.identity != self.identity or not message.recipients:
            raise ValueError("not a message for %s" % self.identity)
        if self._lock is None:
            raise SpoolError("the message %s was discarded" % self.identity)
        message = message._replace(size=len(message.head) + self.size)
        self.sync()
        with spool_errors(on_error=self._withdraw):
            self._files.write_state(message)
            self._files.sync(self._mark)
        self._close()
        self._tell(self.identity)
        return message

    def _withdraw(self):
        """Discard a message whose state may be on the disk already: its removal must be, too, or a
        power failure would bring back what was refused."""
        self.discard()
        try:
            self._files.sync(self._files.mark())
        except Unavailable as error:
            log.error("%s was not accepted, but may come back after a power failure: %s",
                      self.identity, error)

    def discard(self):
        """Leave nothing of the message. After `commit`, or again, it does nothing."""
        if self._lock is None:
            return
        try:
            self._files.remove(self.identity)
        except Unavailable as error:
            log.error("%s was not accepted, but cannot be removed: %s", self.identity, error)
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
