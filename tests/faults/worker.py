"""A mail program's worth of work on a store, in a process that is there to be killed.

It reads jobs from standard input (a line of JSON each: folder, boot, seed, prefix, threads, verbs,
rounds), forks a process for each, and that one prints a JSON line before each request and after
each answer: the wire that the oracle listens to. First comes what it reads, {"reading": …}, then
{"ready": true}; it waits for another line before it begins. Forking saves the start of an
interpreter a kill. Threads take messages of their own (by UID), so that what a thread was answered
nobody else has changed since.
"""
import hashlib
import json
import logging
import os
import random
import signal
import stat
import sys
import threading
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols.store.errors import StoreError  # noqa: E402
from phenmail_protocols.store.filestore import FileStore  # noqa: E402

from .oracle import make_message  # noqa: E402
from .readers import read_store  # noqa: E402

VERBS = ("deliver", "append", "store", "move", "copy", "expunge")
FLAG_SETS = ((), ("\\Seen",), ("\\Seen", "\\Flagged"), ("\\Answered", "$Forwarded"),
             ("\\Draft", "Later"))
LARGEST = 40        # messages of a thread in a mailbox; more go before the work begins


def say(**line):
    """One line to the oracle, in one write."""
    os.write(1, json.dumps(line).encode() + b"\n")


class Worker:
    """One thread's work on an account."""

    def __init__(self, account, name, number, threads, seed):
        self.account, self.name, self.number, self.threads = account, name, number, threads
        self.dice = random.Random("%s %d" % (seed, number))
        self.count = 0
        self.token = None       # of the message whose delivery is not answered yet
        self.open = {mailbox: account.open(mailbox) for mailbox in ("INBOX", "Archive")}
        self.mine = {mailbox: self._own(opened) for mailbox, opened in self.open.items()}

    def _own(self, mailbox):
        state = mailbox.state()
        return [uid for uid in state.uids[:state.count] if uid % self.threads == self.number]

    def run(self, verb):
        """Does one request of that name, making a message first where there is none to work on."""
        if verb in ("deliver", "append"):
            self.deliver("INBOX", append=verb == "append")
            return
        name = "INBOX" if self.mine["INBOX"] or not self.mine["Archive"] else "Archive"
        if not self.mine[name]:
            self.deliver(name, append=True)
        uids = self.mine[name]
        getattr(self, verb)(name, sorted(
            self.dice.sample(uids, min(len(uids), self.dice.choice((1, 1, 2, 5))))))

    def burn(self, count):
        """Uses up at least so many UIDs of Archive, by copying into it."""
        for _ in range(count // 20):
            while len(self.mine["INBOX"]) < 20:
                self.deliver("INBOX")
            self.copy("INBOX", sorted(self.mine["INBOX"])[:20])

    def trim(self):
        """Removes what has become too much."""
        for name, uids in self.mine.items():
            if len(uids) > LARGEST:
                self.expunge(name, uids[:len(uids) - LARGEST // 2])

    def _keys(self, name, uids):
        return [[name, self.open[name].uidvalidity, uid] for uid in uids]

    def deliver(self, name, append=False):
        self.count += 1
        token = self.token = "%s.%d.%d" % (self.name, self.number, self.count)
        message = make_message(token, self.dice)
        flags = self.dice.choice(FLAG_SETS) if append else ()
        say(ask="deliver", token=token, mailbox=name)
        with self.account.stage() as staged:
            for at in range(0, len(message), 32768):
                staged.write(message[at:at + 32768])
            done = self.account.deliver(name, staged, flags,
                                        1500000000 + self.count if append else None)
        self.token = None
        say(ok="deliver", token=token, mailbox=name, validity=done.uidvalidity, uid=done.uid,
            flags=flags,
            digest=hashlib.sha256(message).hexdigest())
        self.mine[name].append(done.uid)

    append = deliver

    def store(self, name, uids):
        flags = self.dice.choice(FLAG_SETS)
        say(ask="flags", keys=self._keys(name, uids))
        self.open[name].change_flags(uids, "replace", flags)
        say(ok="flags", set=[key + [flags] for key in self._keys(name, uids)])

    def copy(self, name, uids):
        self._transfer("copy", name, uids)

    def move(self, name, uids):
        self._transfer("move", name, uids)
        self.mine[name] = [uid for uid in self.mine[name] if uid not in uids]

    def _transfer(self, verb, name, uids):
        target = "Archive" if name == "INBOX" else "INBOX"
        say(ask=verb, keys=self._keys(name, uids))
        done = getattr(self.open[name], verb)(uids, target)
        validity = self.open[name].uidvalidity
        say(ok=verb, pairs=[[[name, validity, old], [target, done.uidvalidity, new]] for old,
                            new in done.pairs])
        self.mine[target] += [new for _, new in done.pairs]

    def expunge(self, name, uids):
        keys = self._keys(name, uids)
        say(ask="flags", keys=keys)
        self.open[name].change_flags(uids, "add", ["\\Deleted"])
        say(ask="remove", keys=keys)
        self.open[name].expunge(uids)
        say(ok="remove", keys=keys)
        self.mine[name] = [uid for uid in self.mine[name] if uid not in uids]


def delete_index(folder):
    """As a person would who wants it made anew."""
    for name in os.listdir(folder):
        if name.startswith("phenmail-index"):
            os.unlink(os.path.join(folder, name))


class _Told(logging.Handler):
    """The store's log goes to the oracle's trace."""

    def emit(self, record):
        say(log=record.getMessage())


def forget_to_sync(kind):
    """For the test that the harness notices: fsync of a "file" or of a "folder" does nothing in
    this process."""
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) != (kind == "folder"):
            real(descriptor)
    os.fsync = fsync


def labour(workers, job, loop):
    """Say that all is ready, and once told to begin, run `loop(worker, job)` in a thread each."""
    for worker in workers:
        worker.trim()
    say(ready=True)
    read_line()
    others = [threading.Thread(target=loop, args=(worker, job), daemon=True)
              for worker in workers[1:]]
    for thread in others:
        thread.start()
    loop(workers[0], job)
    for thread in others:
        thread.join()


def work(job):
    """Runs the job; errors of the store are told and survived, as a server would."""
    if "forget" in job:
        forget_to_sync(job["forget"])
    store = FileStore(boot_id=job["boot"])
    account = store.account(job["folder"])
    threads = job.get("threads", 1)
    say(reading={name: (one.uidvalidity, one.uidnext, one.highestmodseq,
                        {uid: seen._replace(flags=sorted(seen.flags)) for uid,
                         seen in one.messages.items()})
                 for name, one in read_store(account).items()})
    workers = [Worker(account, job["prefix"], number, threads, job["seed"])
               for number in range(threads)]
    labour(workers, job, loop)
    store.close()
    say(done=True)


def loop(worker, job):
    """One thread of the job."""
    try:
        if not worker.number:
            worker.burn(job.get("burn", 0))
        for turn in range(job["rounds"]):
            if turn == job.get("delete_index") and not worker.number:
                delete_index(job["folder"])
            verb = worker.dice.choice(job["verbs"])
            try:
                worker.run(verb)
            except StoreError as error:
                say(failed=verb, error=type(error).__name__, token=worker.token)
    except BaseException:
        end_badly()


def end_badly():
    """Tells the exception that is being handled, and is gone."""
    try:
        say(error=traceback.format_exc())
    finally:
        os._exit(1)


def read_line():
    """A line of standard input, byte by byte: the next line belongs to another process."""
    line = b""
    while not line.endswith(b"\n"):
        got = os.read(0, 1)
        if not got:
            return b""
        line += got
    return line


def serve(work=work):
    """Forks a process for each job that comes; tells its pid first and its wait status last, on a
    line of its own."""
    report = os.dup(1)      # not the descriptor whose lines are journaled as answers
    while True:
        job = read_line()
        if not job:
            return
        child = os.fork()
        if not child:
            try:
                work(json.loads(job.decode()))
            except BaseException:
                end_badly()
            os._exit(0)
        os.write(report, b'{"pid": %d}\n' % child)
        _, status = os.waitpid(child, 0)
        bury()
        os.write(report, b'\n{"exit": %d}\n' % status)


def bury():
    """Wait for what the dead one had started, where this process inherits it: what it does is done
    when the death is told."""
    signal.alarm(30)    # who does not end ends us, and so the test
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        signal.alarm(0)


if __name__ == "__main__":
    logging.getLogger("phenmail").addHandler(_Told())
    serve()
