"""Users' drop folders: what other programs put there is filed as mail that comes.

Each look goes through the folders of all users; what rests there (dropwatch) is read, brought to the router as any other
mail, and removed when the router has answered 250, which is after the disk has it.  Mail that this server brings itself
never comes through here.

What a crash leaves, at any step:

    read, not yet filed       the file is still there: it is filed after the start
    filed, not yet removed    the file is still there: the message comes a second time
    removed                   it is filed

A user's own program (`programs`) may put here what it was given: that such a message names its user in Delivered-To is no loop.
What goes round by way of other addresses is found where it is sent on, and by its Received fields.

Nothing is written down between these steps.  What can't be filed is moved to `failed`, by one rename; what could not be
filed this time (4xx) stays where it is.
"""
import itertools
import logging
import os
import threading
import time

from ..accounts.directory import BrokenUser, Destination
from ..accounts.userfiles import FILE, signature
from ..delivery import trace
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
# Seconds until a user's settings are asked again.
_SETTINGS = 5.0
# What one user gets filed before the next one's turn.
_MOST_FILES, _MOST_OCTETS = 20, 64 * 1024 * 1024


class _UnusableFolder(Exception):
    """This folder may not be a drop folder; str() says why."""


class DropFolders:
    """`directory`: accounts.directory.Directory; `router`: router.Router; `clock()` gives epoch seconds; `period`: seconds
    between two looks; `user_log`: userlog.UserLog, None makes one."""

    def __init__(self, directory, router, clock=time.time, period=1.0, user_log=None):
        self._directory = directory
        self._router = router
        self._clock = clock
        self._period = period
        self._user_log = user_log
        self._watches = {}  # mail folder -> Watch
        self._stopping = threading.Event()
        self._thread = None

    def start(self):
        """Look from now on, in a thread.  Where the system has no safe way into users' folders, the log says so and nothing is done."""
        if not {os.open, os.stat, os.unlink, os.mkdir, os.rename} <= os.supports_dir_fd:
            log.error("drop folders are not looked at: this system can't open files relative to a folder")
            return
        thread = threading.Thread(target=self._run, name="phenmail-delivery", daemon=True)
        thread.start()
        self._thread = thread  # one that was not started can't be waited for

    def stop(self, seconds=5.0):
        """End the thread, waiting at most so long; a message that is not filed yet stays in its folder."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self):
        wait = full = 0.0
        while not self._stopping.wait(wait):
            now = time.monotonic()
            try:
                if now >= full:
                    full = now + self._period
                    self.look()
                else:
                    self.look(True)
            except Exception:
                log.exception("the drop folders could not be looked at")
            hurried = min([watch.wait for watch in self._watches.values()], default=NEVER)
            wait = max(0.0, min(hurried, full - time.monotonic()))

    def look(self, only_hurried=False):
        """One look at the drop folders of all users, or of those only where a file is about to rest."""
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
            self._ask(watch, folder, now)
            if watch.path is None or watch.is_quiet(now):
                return
            with self._open(watch.path, folder, folders) as opened:
                if not opened.is_writable():
                    raise _UnusableFolder("files can't be removed from it")
                self._empty(watch, opened, folder, folders[folder], now)
            watch.complaint = ""
        except (_UnusableFolder, OSError) as error:
            text = error.strerror if isinstance(error, OSError) else str(error)
            watch.pause(now)
            if text != watch.complaint:
                log.warning("%s is not taken as a drop folder: %s", printable(watch.path or folder), text)
                watch.complaint = text
        except Exception:
            watch.pause(now)
            log.exception("%s: this drop folder could not be looked at", printable(watch.path or folder))

    def _ask(self, watch, folder, now):
        """Where the user's drop folder is: from the settings, where these may have changed."""
        if watch.asked is not None and watch.asked <= now < watch.asked + _SETTINGS:
            return
        settings = signature(os.path.join(folder, FILE))
        if watch.asked is None or settings != watch.settings:
            try:
                # A user without mail.jcfg has default settings, which know no folder.
                path = self._directory.user_settings(folder).delivery or os.path.join(folder, _DEFAULT)
            except BrokenUser:
                path = None  # the log knows
            if path != watch.path:
                watch.path = path
                watch.forget()
            watch.settings = settings
        watch.asked = now

    # The folder

    def _open(self, path, folder, folders):
        """-> dropfiles.Opened.  Raises _UnusableFolder, OSError."""
        root = self._directory.root
        base, real = os.path.realpath(root.path), os.path.realpath(path)
        # A mail folder is the user's whose name is in its path, whatever has been put into its place since.
        owner = root.identity_named(folder)
        if owner is None or root.identity_named(real) != owner:
            raise _UnusableFolder("it does not lie in the folder of its owner")
        self._check_place(real, folders)
        return Opened(base, os.path.relpath(real, base))

    def _check_place(self, real, folders):
        """Mail that is filed, and the server's own files, are not mail that comes.  Raises _UnusableFolder."""
        settings = self._directory.settings
        for own in (self._directory.root.mail_system, settings.relay.queue_folder):
            own = os.path.realpath(own)
            if _below(real, own) or _below(own, real):
                raise _UnusableFolder("it is a place of the server's own files")
        for folder in folders:
            if _below(folder, real):
                raise _UnusableFolder("a mail folder lies in it")
            if _below(real, folder):
                first = os.path.relpath(real, folder).split(os.sep)[0]
                if first[:1] == "." or first in ("cur", "new", "tmp"):
                    raise _UnusableFolder("it is a mailbox")

    def _empty(self, watch, opened, folder, addresses, now):
        files = octets = 0
        is_more = False
        for key, entry in watch.rested(opened, now):
            if files >= _MOST_FILES or octets >= _MOST_OCTETS or self._stopping.is_set():
                is_more = True
                break
            files += 1
            octets += entry.state.size
            if not self._take(watch, opened, key, entry, folder, addresses):
                break
        watch.looked(now, is_more)

    def _take(self, watch, opened, key, entry, folder, addresses):
        """Take one file to its end -> whether to go on with the others."""
        try:
            if not entry.is_filed:
                reply = self._file(opened, key, entry.state, folder, addresses)
                if reply is None:
                    watch.gone(key)
                    return True
                if reply.permanent:
                    raise Unusable(reply.text)
                if reply.temporary:
                    return self._later(watch, key, entry, reply.text, True)
                entry.is_filed = True
            opened.remove(key[0], key[1], entry.state)
            watch.gone(key)
        except FileNotFoundError:
            watch.gone(key)
        except Unusable as unusable:
            return self._set_aside(watch, opened, key, entry, folder, str(unusable))
        except OSError as error:
            return self._later(watch, key, entry, error.strerror, not entry.is_filed)
        except Exception:
            log.exception("%s: this file could not be filed", _shown(watch, key))
            return self._later(watch, key, entry, "an error of the server", True)
        return True

    def _set_aside(self, watch, opened, key, entry, folder, why):
        try:
            place = opened.set_aside(key[0], key[1], entry.state)
        except FileNotFoundError:
            place = None
        except OSError as error:
            return self._later(watch, key, entry, "%s; and it can't be moved away: %s" % (why, error.strerror), False)
        watch.gone(key)
        if place is not None:
            log.warning("%s can't be filed and is %s now: %s", _shown(watch, key), printable(place), why)
            self._tell(folder, "the file %s in the drop folder can't be filed and is %s now: %s" % (os.path.join(*key), place, why))
        return True

    def _later(self, watch, key, entry, why, is_folders):
        wait = watch.later(key, entry, self._clock(), is_folders)
        log.warning("%s: %s, tried again in %d seconds: %s", _shown(watch, key),
                    "filed but not removed" if entry.is_filed else "not filed", wait, why)
        return not is_folders

    def _tell(self, folder, line):
        if self._user_log is None:
            from ..filters.user_log import UserLog
            self._user_log = UserLog(self._clock)
        self._user_log.tell(folder, [line])

    # The message

    def _file(self, opened, key, state, folder, addresses):
        """Bring a file to the router -> the Reply, or None where it is another file by now.  Raises Unusable, OSError."""
        limit = self._directory.settings.limits.message_size
        if state.size > limit:
            return TOO_LARGE
        with opened.open(*key) as file:
            pieces = message.wire(file)
            beginning = next(pieces, b"")
            own = self._own(addresses)
            envelope = Envelope(message.sender(beginning), (Recipient(own),), smtputf8=True)
            incoming = self._router.begin(envelope, trace.Origin(), [Destination("mailbox", own, folder)],
                                          may_refuse=False, was_here=True)
            try:
                for piece in itertools.chain((beginning,), pieces):
                    incoming.write(piece)
                    if incoming.size > limit:
                        return TOO_LARGE
                    if self._stopping.is_set():
                        return None
                if state_of(os.fstat(file.fileno())) != state:
                    return None
                (_, reply), = incoming.finish(apart=True)
                return reply
            finally:
                incoming.abort()

    def _own(self, addresses):
        """By which of the folder's addresses it comes: the one at whose line of `domains` they end; a catch-all is nobody's name."""
        named = [address for address in addresses if address.local != _CATCH_ALL]
        if not named:
            return Address("postmaster", self._directory.settings.sender_domain)
        end = self._directory.resolve(min(named)).address
        return end if end.local != _CATCH_ALL else min(named)


def _below(path, folder):
    """Whether a path is a folder or lies in it; both without links."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _shown(watch, key):
    """A file's path for the log: its names were chosen by others."""
    return printable(os.path.join(watch.path, *key))
