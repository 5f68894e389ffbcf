"""Fetching for all users: which accounts there are, whose turn it is, and how each fares.

A thread reads the users' files, and starts the rounds of accounts that are due, a few at a time, in
threads of their own. An account whose server tells when mail arrives (IDLE) keeps its thread and
its connection between rounds; others get theirs every `period`.

The server is stopped at any time: the connections of all accounts are then shut down, so that
nobody waits for another server.
"""
import errno
import functools
import logging
import os
import threading
import time

from ..accounts.passphrases import unobscure
from ..accounts.userfiles import Seen
from ..config.loader import load_fetcher
from ..config.problems import ConfigError
from ..disk.owned_folder import OwnedFolder
from ..net.workers import Workers
from . import orders, status
from .opening import open_source
from .places import Places

log = logging.getLogger("phenmail.fetch")

CONFIG = os.path.join("system", "config")
FILE = "mail-fetcher.jcfg"
STATES = "mail-fetcher.state"
# In all, and of one user:
AT_ONCE = 8, 4  # rounds
IDLE = 100, 50  # accounts that keep their connection; the rest is looked at every period

_TICK = 1.0  # seconds between two looks at what is due
_READ = 5  # looks, of which one reads what changed in the users' files
# A round that began so long ago ends if another user has waited so long for a first place.
_LONGEST, _PATIENCE = 900.0, 60.0
_LEAST = 0.1  # seconds between two rounds of an account, though its server says that mail came
_WRITE = 10.0  # seconds between two versions of the status file
# Octets beyond our limit that a source may give, so that a message meets our limit first.
_SPARE = 1024 * 1024


class Fetching:
    """`directory`: accounts.directory.Directory; `router`: delivery.router.Router; `store`:
    store.filestore.FileStore; `system`: the folder of the server's own files; `clock()`: epoch
    seconds; `open_source`: as in opening.py; `tick`: seconds between two looks at what is due."""

    def __init__(self, directory, router, store, system, clock=time.time, open_source=open_source,
                 tick=_TICK):
        self._directory = directory
        self._router = router
        self._store = store
        self._system = system
        self._clock = clock
        self._open_source = open_source
        self._tick = tick
        self._contexts = None  # shared by all connections
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._users = {}  # identity -> _User
        self._ending = []  # jobs that were replaced while a thread worked on them
        self._rounds = Places(*AT_ONCE)
        self._idle = Places(*IDLE)
        self._workers = Workers("fetch", self._work)
        self._thread = None
        self._read = self._written = float("-inf")
        self._is_changed = False

    def start(self):
        """Start the thread."""
        thread = threading.Thread(target=self._run, name="phenmail-fetch", daemon=True)
        thread.start()
        self._thread = thread  # only a thread that was started can be joined

    def stop(self, seconds=5.0):
        """End all threads within `seconds`. A message that is not kept yet is fetched again."""
        end = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds)
        jobs = self._jobs() + self._ending
        for job in jobs:
            job.stop()
        self._workers.stop()
        for thread in self._workers.threads():
            thread.join(max(0.01, end - time.monotonic()))
        for job in jobs:
            job.close()
        if jobs:
            self._write()

    def _jobs(self):
        return [job for user in list(self._users.values()) for job in user.jobs.values()]

    # The thread

    def _run(self):
        while not self._stopping.is_set():
            try:
                self.look()
            except Exception:
                log.exception("cannot see which accounts are due; next attempt in %d s", self._tick)
            has_jobs = any(user.jobs for user in self._users.values())
            self._wake.wait(self._tick if has_jobs else _READ * self._tick)
            self._wake.clear()

    def look(self):
        """Read what changed, and start what is due."""
        now = time.monotonic()
        if now - self._read >= _READ * self._tick:
            self._read = now
            self._read_files()
        self._take_orders()
        for job in sorted(self._jobs(), key=lambda job: job.due):
            if job.due > now or self._stopping.is_set():
                break
            if not job.is_running and not self._has_predecessor(job) and not self._start(job):
                self._make_room(job.owner, job.due)
        if self._is_changed and now - self._written >= _WRITE:
            self._write()

    def _has_predecessor(self, job):
        """Whether a thread still works on this account, as an earlier version of the file had it.
        Both would fetch the same messages."""
        self._ending = [each for each in self._ending if each.is_running]
        return any(each.order == job.order for each in self._ending)

    def _start(self, job):
        """Give a job to a thread, if there is room -> whether there was."""
        if not self._rounds.take(job.owner):
            return False
        job.is_running = True
        try:
            self._workers.start(job)
        except (RuntimeError, MemoryError) as error:
            job.is_running = False
            job.due = time.monotonic() + 60
            self._rounds.leave(job.owner)
            log.error("no thread can be started for fetching; next attempt in 60 s: %s", error)
        return True

    def _make_room(self, owner, since):
        """End the longest round if it is long (its server may send an octet a minute), and the user
        has had no place since then."""
        now = time.monotonic()
        if since + _PATIENCE > now or self._rounds.has(owner):
            return
        began = [(job.began, job) for job in self._jobs() + self._ending if job.began is not None]
        begin, longest = min(began, key=lambda each: each[0], default=(now, None))
        if begin + _LONGEST < now:
            longest.interrupt()

    def _write(self):
        self._written = time.monotonic()
        self._is_changed = False
        try:
            status.write(self._system, [job.status for job in self._jobs()])
        except OSError as error:
            log.warning("the status of fetching cannot be written: %s", error)

    def _take_orders(self):
        for order in orders.take(self._system):
            for job in self._jobs():
                if job.order == order:
                    job.hurry()

    # The users' files

    def _read_files(self):
        root = self._directory.root
        owners = {root.identity_named(folder) for folder in self._directory.mail_folders()}
        owners.discard(None)
        for owner in list(self._users):
            if owner not in owners:
                self._replace(owner, _User(None, {}))
        for owner in sorted(owners):
            user = self._users.get(owner)
            if user is None or not user.seen.is_unchanged():
                self._read_file(owner)

    def _read_file(self, owner):
        root = self._directory.root
        path = os.path.join(root.identity_folder(owner), CONFIG, FILE)
        seen = Seen(path)
        settings = None
        try:
            if root.identity_of(path) != owner:  # it would be read as the other one's
                raise OSError(errno.EACCES, "it leads out of its owner's folder", path)
            settings = load_fetcher(path, root, seen.add)
        except ConfigError as error:
            log.error("no mail is fetched for %s until this is corrected: %s", owner,
                      "\n".join(error.brief()))
        except OSError as error:
            log.error("no mail is fetched for %s: %s: %s", owner, path, error.strerror)
        except Exception:
            log.exception("no mail is fetched for %s: cannot read %s", owner, path)
        jobs = {}
        if settings is not None and settings.device in (None, root.device):
            # As the directory names them: a mailbox with two names would be two to the store.
            folders = {name: os.path.realpath(path)
                       for name, path in settings.mail_folders.items()}
            for account in settings.accounts:
                jobs[account.place] = self._job(owner, account, folders)
        self._replace(owner, _User(seen, jobs))

    def _job(self, owner, account, folders):
        """The job that there is, if nothing has changed for it, or a new one."""
        user = self._users.get(owner)
        known = user.jobs.get(account.place) if user is not None else None
        if known is not None and (known.account, known.folders) == (account, folders):
            return known
        from .job import Job  # with all that only those need who fetch
        root, connect = self._directory.root, self._connect
        if account.provider is not None:
            from ..oauth.token_store import TokenSource
            # One for all connections: it keeps a token that a full disk did not take.
            connect = functools.partial(connect, token=TokenSource(account.provider))
        return Job(owner, account, folders, self._router, self._store,
                   lambda: OwnedFolder(root.identity_folder(owner), CONFIG, STATES),
                   connect, self._clock)

    def _replace(self, owner, user):
        old = self._users.get(owner)
        if user.seen is None:
            del self._users[owner]
        else:
            self._users[owner] = user
        for place, job in (old.jobs if old is not None else {}).items():
            if user.jobs.get(place) is not job:
                job.stop()
                job.close()
                self._ending.append(job)
        self._is_changed = self._is_changed or bool(user.jobs) or old is not None

    # One account, in a thread of its own

    def _work(self, job):
        """Rounds of one account, until it rests without a connection."""
        has_place, keeps = True, False
        try:
            while True:
                again = time.monotonic() + _LEAST
                wait = job.look()
                self._is_changed = True
                if not job.can_wait or not (keeps or self._idle.take(job.owner)):
                    break
                keeps = True
                self._rounds.leave(job.owner)
                has_place = False
                if not job.wait(wait):
                    break
                self._stopping.wait(max(0.0, again - time.monotonic()))
                woken = time.monotonic()
                while not has_place and not job.is_stopped():
                    has_place = self._rounds.take(job.owner, 1.0)
                    if not has_place:
                        self._make_room(job.owner, woken)
                if job.is_stopped():
                    break
        finally:
            job.leave()
            if keeps:
                self._idle.leave(job.owner)
            if has_place:
                self._rounds.leave(job.owner)
            job.is_running = False
            self._is_changed = True
            self._wake.set()

    def _connect(self, account, began, token=None):
        limit = self._directory.settings.limits.message_size + _SPARE
        return self._open_source(account, unobscure(account.passphrase or ""), limit,
                                 token=token, contexts=self._shared_contexts(), began=began)

    def _shared_contexts(self):
        from .connecting import Contexts
        with self._lock:
            if self._contexts is None:
                self._contexts = Contexts()
            return self._contexts


class _User:
    """What the file of one user says: `seen`: the files that were read; `jobs`: by place."""

    def __init__(self, seen, jobs):
        self.seen = seen
        self.jobs = jobs
