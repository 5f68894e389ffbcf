"""Users' drop folders: the messages that other programs put there are filed as new mail.

A thread looks at the folders of all users. It reads each file that rests (`watch`), gives it to
the router like any other mail, and removes it after the router's 250, when the message is on the
disk. The server's own mail never passes through here.

What a crash leaves, at any step:

    read, not yet filed       the file is still there: it is filed after the start
    filed, not yet removed    the file is still there: the message comes a second time
    removed                   it is filed

Nothing is written down between these steps. A file that can never be filed is moved to `failed`,
by one rename; after a temporary failure (4xx) it stays and is retried.

A user's own program (`destinations.programs`) may put back the message that it was given, so it is
no loop that such a message names its user in Delivered-To. Loops over other addresses are found
where the message leaves, and by its Received fields.
"""
import itertools
import logging
import os
import threading
import time

from ..accounts.directory import BrokenUser, Destination
from ..accounts.userfiles import FILE, signature
from ..delivery import trace
from ..delivery.noted_sender import sender
from ..mail.address import Address
from ..mail.envelope import Envelope, Recipient
from ..mail.reply import Reply
from ..mail.writing import printable
from . import message
from .files import Opened, Unusable, state_of
from .watch import NEVER, Watch

log = logging.getLogger("phenmail.delivery")

TOO_LARGE = Reply(552, "5.3.4", "The message is too large")

_DEFAULT, _CATCH_ALL = "delivery", "*"
_SETTINGS = 5.0  # seconds until a user's settings are read again
_MOST_FILES, _MOST_OCTETS = 20, 64 * 1024 * 1024  # of one user before the next one's turn


class _UnusableFolder(Exception):
    """This folder must not be a drop folder; str() says why."""


class DropFolders:
    """`directory`: accounts.directory.Directory; `router`: router.Router; `clock()`: epoch seconds;
    `period`: seconds between two looks."""

    def __init__(self, directory, router, clock=time.time, period=1.0):
        self._directory = directory
        self._router = router
        self._clock = clock
        self._period = period
        self._user_log = None
        self._watches = {}  # mail folder -> Watch
        self._stopping = threading.Event()
        self._thread = None

    def start(self):
        """Start the thread. If the system has no safe way to open files in users' folders, an
        error is logged and nothing is done."""
        if not {os.open, os.stat, os.unlink, os.mkdir, os.rename} <= os.supports_dir_fd:
            log.error("drop folders are not used: this system cannot open files relative to a "
                      "folder")
            return
        thread = threading.Thread(target=self._run, name="phenmail-delivery", daemon=True)
        thread.start()
        self._thread = thread  # only a thread that was started can be joined

    def stop(self, seconds=5.0):
        """End the thread within `seconds`. A message that is not filed yet stays in its folder."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self):
        wait = full = 0.0
        while not self._stopping.wait(wait):
            now = time.monotonic()
            try:
                is_full = now >= full
                if is_full:
                    full = now + self._period
                self.look(only_hurried=not is_full)
            except Exception:
                log.exception("cannot scan the drop folders")
            hurried = min([watch.wait for watch in self._watches.values()], default=NEVER)
            wait = max(0.0, min(hurried, full - time.monotonic()))

    def look(self, only_hurried=False):
        """Look once at all drop folders, or only at those where a file is about to rest."""
        folders = self._directory.mail_folders()
        for folder in [folder for folder in self._watches if folder not in folders]:
            del self._watches[folder]
        for folder in folders:
            watch = self._watches.get(folder)
            if watch is None:
                watch = self._watches[folder] = Watch()
            if self._stopping.is_set():
                return
            if not only_hurried or watch.wait < NEVER:
                self._look_at(watch, folder, folders)

    def _look_at(self, watch, folder, folders):
        now = self._clock()
        try:
            self._find(watch, folder, now)
            if watch.path is None or watch.is_quiet(now):
                return
            with self._open(watch.path, folder, folders) as opened:
                if not opened.is_writable():
                    raise _UnusableFolder("files cannot be removed from it")
                self._empty(watch, opened, folder, folders[folder], now)
            watch.complaint = ""
        except (_UnusableFolder, OSError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            watch.pause(now)
            if text != watch.complaint:
                log.warning("%s is not used as a drop folder: %s", printable(watch.path or folder),
                            text)
                watch.complaint = text
        except Exception:
            watch.pause(now)
            log.exception("%s: cannot scan this drop folder",
                          printable(watch.path or folder))

    def _find(self, watch, folder, now):
        """Find out where the user's drop folder is, if their settings may have changed."""
        if watch.checked is not None and watch.checked <= now < watch.checked + _SETTINGS:
            return
        settings = signature(os.path.join(folder, FILE))
        if watch.checked is None or settings != watch.settings:
            try:
                # Without mail.jcfg, a user has default settings, which name no folder.
                path = (self._directory.user_settings(folder).delivery
                        or os.path.join(folder, _DEFAULT))
            except BrokenUser:
                path = None  # the directory has logged it
            if path != watch.path:
                watch.path = path
                watch.forget()
            watch.settings = settings
        watch.checked = now

    def _open(self, path, folder, folders):
        """-> files.Opened. Raises _UnusableFolder, OSError."""
        root = self._directory.root
        base, real = os.path.realpath(root.path), os.path.realpath(path)
        # The name in its path says whose mail folder it is, even if a link has replaced it since.
        owner = root.identity_named(folder)
        if owner is None or root.identity_named(real) != owner:
            raise _UnusableFolder("it is outside its owner's folder")
        self._check_place(real, folders)
        return Opened(base, os.path.relpath(real, base))

    def _check_place(self, real, folders):
        """A drop folder must not contain or be a mailbox or a folder of the server.

        Raises _UnusableFolder.
        """
        settings = self._directory.settings
        for own in (self._directory.root.mail_system, settings.relay.queue_folder):
            own = os.path.realpath(own)
            if _below(real, own) or _below(own, real):
                raise _UnusableFolder("it overlaps a folder of the server")
        for folder in folders:
            if _below(folder, real):
                raise _UnusableFolder("it contains a mail folder")
            if _below(real, folder):
                first = os.path.relpath(real, folder).split(os.sep)[0]
                if first[:1] == "." or first in ("cur", "new", "tmp"):
                    raise _UnusableFolder("it is a mailbox")

    def _empty(self, watch, opened, folder, addresses, now):
        files = octets = 0
        is_more = False
        for entry in watch.rested(opened, now):
            if files >= _MOST_FILES or octets >= _MOST_OCTETS or self._stopping.is_set():
                is_more = True
                break
            files += 1
            octets += entry.state.size
            if not self._take(watch, opened, entry, folder, addresses):
                break
        watch.looked(now, is_more)

    def _take(self, watch, opened, entry, folder, addresses):
        """File and remove one file -> whether to go on with the others."""
        try:
            if not entry.is_filed:
                reply = self._file(opened, entry, folder, addresses)
                if reply is None:
                    watch.gone(entry)
                    return True
                if reply.permanent:
                    raise Unusable(reply.text)
                if reply.temporary:
                    return self._later(watch, entry, reply.text, True)
                entry.is_filed = True
            opened.remove(*entry.key, entry.state)
            watch.gone(entry)
        except FileNotFoundError:
            watch.gone(entry)
        except Unusable as unusable:
            return self._set_aside(watch, opened, entry, folder, str(unusable))
        except OSError as error:
            return self._later(watch, entry, error.strerror, not entry.is_filed)
        except Exception:
            log.exception("%s: cannot deliver this file", _shown(watch, entry))
            return self._later(watch, entry, "internal error", True)
        return True

    def _set_aside(self, watch, opened, entry, folder, why):
        try:
            place = opened.set_aside(*entry.key, entry.state)
        except FileNotFoundError:
            place = None
        except OSError as error:
            return self._later(watch, entry, "%s; and it cannot be moved away: %s"
                               % (why, error.strerror), False)
        watch.gone(entry)
        if place is not None:
            log.warning("%s cannot be filed and was moved to %s: %s", _shown(watch, entry),
                        printable(place), why)
            self._tell(folder, "the file %s in the drop folder cannot be filed and was moved to "
                               "%s: %s" % (os.path.join(*entry.key), place, why))
        return True

    def _later(self, watch, entry, why, may_be_folder):
        wait = watch.later(entry, self._clock(), may_be_folder)
        log.warning("%s: %s, next attempt in %d seconds: %s", _shown(watch, entry),
                    "filed but not removed" if entry.is_filed else "not filed", wait, why)
        return not may_be_folder

    def _tell(self, folder, line):
        if self._user_log is None:
            from ..filters.user_log import UserLog
            self._user_log = UserLog(self._clock)
        self._user_log.tell(folder, [line])

    def _file(self, opened, entry, folder, addresses):
        """Deliver a file -> the Reply, or None if it has changed. Raises Unusable, OSError."""
        limit = self._directory.settings.limits.message_size
        if entry.state.size > limit:
            return TOO_LARGE
        with opened.open(*entry.key) as file:
            pieces = message.wire(file)
            beginning = next(pieces, b"")
            own = self._recipient(addresses)
            envelope = Envelope(sender(beginning), (Recipient(own),), smtputf8=True)
            incoming = self._router.begin(
                envelope, trace.Origin(), [Destination("mailbox", own, folder)], may_refuse=False,
                was_here=True)
            try:
                for piece in itertools.chain((beginning,), pieces):
                    incoming.write(piece)
                    if incoming.size > limit:
                        return TOO_LARGE
                    if self._stopping.is_set():
                        return None
                if state_of(os.fstat(file.fileno())) != entry.state:
                    return None
                (_, reply), = incoming.finish(apart=True)
                return reply
            finally:
                incoming.abort()

    def _recipient(self, addresses):
        """The address for Delivered-To: the one in `domains` to which the folder's other addresses
        lead. A catch-all is not an address."""
        named = [address for address in addresses if address.local != _CATCH_ALL]
        if not named:
            return Address("postmaster", self._directory.settings.sender_domain)
        end = self._directory.resolve(min(named)).address
        return end if end.local != _CATCH_ALL else min(named)


def _below(path, folder):
    """Whether a path is a folder or lies in it; both without links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _shown(watch, entry):
    """A file's path for the log; strangers chose the name."""
    return printable(os.path.join(watch.path, *entry.key))
