"""A mail program's worth of work on a store, in a process that is there to be killed.

It reads one job from its command line (JSON: folder, boot, seed, prefix, threads, verbs, rounds) and prints a JSON line before each request
and after each answer: the wire that the oracle listens to. First comes what it reads, {"reading": …}, then {"ready": true}; it waits
for a line on standard input before it begins.
Threads take messages of their own (by UID), so that what a thread was answered nobody else has changed since.
"""
import hashlib
import json
import os
import random
import sys
import threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from .oracle import make_message   # noqa: E402
from .readers import read_store    # noqa: E402

VERBS = ("deliver", "append", "store", "move", "copy", "expunge")
FLAG_SETS = ((), ("\\Seen",), ("\\Seen", "\\Flagged"), ("\\Answered", "$Forwarded"), ("\\Draft", "Later"))
LARGEST = 60        # messages a mailbox and thread: then the oldest go first


def say(**line):
    """One line to the oracle, in one write."""
    os.write(1, json.dumps(line).encode() + b"\n")


class Worker:
    """One thread's work on an account."""

    def __init__(self, account, name, number, threads, seed):
        self.account, self.name, self.number, self.threads = account, name, number, threads
        self.dice = random.Random("%s %d" % (seed, number))
        self.count = 0
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
        if len(self.mine["Archive"]) > LARGEST:
            name = "Archive"
        if not self.mine[name]:
            self.deliver(name, append=True)
        getattr(self, verb)(name, self._pick(name))

    def _pick(self, name):
        """Some own messages of the mailbox, ascending; old ones when there are many."""
        uids = self.mine[name]
        count = min(len(uids), self.dice.choice((1, 1, 2, 5)))
        return sorted(uids[:count] if len(uids) > LARGEST else self.dice.sample(uids, count))

    def _keys(self, name, uids):
        return [[name, self.open[name].uidvalidity, uid] for uid in uids]

    def deliver(self, name, append=False):
        self.count += 1
        token = "%s.%d.%d" % (self.name, self.number, self.count)
        message = make_message(token, self.dice)
        flags = self.dice.choice(FLAG_SETS) if append else ()
        say(ask="deliver", token=token, mailbox=name)
        staged = self.account.stage()
        for at in range(0, len(message), 32768):
            staged.write(message[at:at + 32768])
        done = self.account.deliver(name, staged, flags, 1500000000 + self.count if append else None)
        say(ok="deliver", token=token, mailbox=name, validity=done.uidvalidity, uid=done.uid, flags=flags,
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
        say(ok=verb, pairs=[[[name, validity, old], [target, done.uidvalidity, new]] for old, new in done.pairs])
        self.mine[target] += [new for _, new in done.pairs]

    def expunge(self, name, uids):
        keys = self._keys(name, uids)
        say(ask="flags", keys=keys)
        self.open[name].change_flags(uids, "add", ["\\Deleted"])
        say(ask="remove", keys=keys)
        self.open[name].expunge(uids)
        say(ok="remove", keys=keys)
        self.mine[name] = [uid for uid in self.mine[name] if uid not in uids]


def work(job):
    """Runs the job; errors of the store are told and survived, as a server would."""
    from phenmail_protocols.store.errors import StoreError
    from phenmail_protocols.store.filestore import FileStore
    store = FileStore(boot_id=job["boot"])
    account = store.account(job["folder"])
    threads = job.get("threads", 1)
    say(reading={name: (one.uidvalidity, one.uidnext, one.highestmodseq,
                        {uid: seen._replace(flags=sorted(seen.flags)) for uid, seen in one.messages.items()})
                 for name, one in read_store(account).items()})
    workers = [Worker(account, job["prefix"], number, threads, job["seed"]) for number in range(threads)]
    say(ready=True)
    sys.stdin.readline()

    def loop(worker):
        for turn in range(job["rounds"]):
            verb = job["verbs"][turn % len(job["verbs"])] if job.get("in_order") else worker.dice.choice(job["verbs"])
            try:
                worker.run(verb)
            except StoreError as error:
                say(failed=verb, error=type(error).__name__)
    others = [threading.Thread(target=loop, args=(worker,), daemon=True) for worker in workers[1:]]
    for thread in others:
        thread.start()
    loop(workers[0])
    for thread in others:
        thread.join()
    store.close()
    say(done=True)


if __name__ == "__main__":
    work(json.loads(sys.argv[1]))
