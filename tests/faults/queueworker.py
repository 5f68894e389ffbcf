"""The queue's work, in a process that is there to be killed: messages are queued, changed, removed
and given up.

It speaks as `worker` does: reads jobs, forks a process for each, which prints {"reading": …} and
{"ready": true}, waits for a line, and then prints a line before each request and after each answer.
Threads have messages of their own, by the number in their names.
"""
import hashlib
import logging
import os
import random
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if __name__ == "__main__":
    sys.path.insert(0, TOP)
    __package__ = "tests.faults"
    __import__(__package__)

from phenmail_protocols.mail.address import Address  # noqa: E402
from phenmail_protocols.queue.model import DONE, Message, Recipient  # noqa: E402
from phenmail_protocols.queue.spool import NoSuchMessage, Spool, SpoolError  # noqa: E402

from .worker import _Told, end_badly, forget_to_sync, labour, say, serve  # noqa: E402

LARGEST = 12        # messages of a thread; more go before the work begins
SIZES = (0, 10, 3000, 100000)


def read_queue(spool, folder):
    """What a start finds: {"messages": {identity: [digest, attempts]}, "files": names in the
    folder}.

    Every message is claimed, so that its octets are counted, and that no claim of a dead process is
    left is seen.
    """
    spool.sweep()
    found = {}
    for identity in spool.identities():
        with spool.claim(identity) as claim, claim.body() as file:
            assert claim.message == spool.read(identity)
            found[identity] = [hashlib.sha256(claim.message.head + file.read()).hexdigest(),
                               claim.message.recipients[0].attempts]
    return {"messages": found, "files": sorted(os.listdir(folder)) if os.path.isdir(folder) else []}


class Worker:
    """One thread's work on the queue."""

    def __init__(self, spool, job, number, found):
        self.spool = spool
        self.name, self.number, self.threads = job["prefix"], number, job.get("threads", 1)
        self.durable = job.get("durable")       # None: now so, now so
        self.size = job.get("size")
        self.dice = random.Random("%s %d" % (job["seed"], number))
        self.count = 0
        self.identity = None    # of the request that is not answered yet
        self.mine = [identity for identity in found if int(identity.rpartition(".")[2])
                     % self.threads == number]

    def run(self, verb):
        """Does one request of that name, queueing a message first where there is none."""
        if verb not in ("enqueue", "abandon") and not self.mine:
            self.enqueue()
        getattr(self, verb)()

    def trim(self):
        while len(self.mine) > LARGEST:
            self.remove()

    def _begin(self):
        """A new message, written: (its Arriving, head, octets)."""
        self.count += 1
        self.identity = "%s.%d" % (self.name, self.count * self.threads + self.number)
        head = b"Received: here\r\n" * self.dice.randint(0, 3)
        body = self.dice.choice((b"a", b"b\r\n")) * (self.dice.choice(SIZES) if self.size is None
                                                     else self.size)
        return self.spool.begin(self.identity), head, body

    def _write(self, arriving, body):
        step = max(1, len(body) // 2)
        for at in range(0, len(body), step):
            arriving.write(body[at:at + step])

    def enqueue(self):
        arriving, head, body = self._begin()
        say(ask="commit", identity=self.identity, digest=hashlib.sha256(head + body).hexdigest())
        with arriving:
            self._write(arriving, body)
            arriving.commit(Message(self.identity, None,
                                    (Recipient(Address("bob", "example.com")),), 5.0, head=head))
        say(ok="commit", identity=self.identity)
        self.mine.append(self.identity)

    def abandon(self):
        arriving, _, body = self._begin()
        with arriving:
            self._write(arriving, body)

    def _choose(self):
        self.identity = self.dice.choice(self.mine)
        return self.dice.random() < 0.5 if self.durable is None else self.durable

    def update(self):
        durable = self._choose()
        with self.spool.claim(self.identity, "example.com") as claim:
            value = claim.message.recipients[0].attempts + 1
            say(ask="update", identity=self.identity, value=value)
            claim.update(lambda it: it._replace(
                recipients=(it.recipients[0]._replace(attempts=value),)), durable)
        say(ok="update", identity=self.identity, value=value, durable=durable)

    def remove(self):
        durable = self._choose()
        with self.spool.claim(self.identity, self.dice.choice((None, "example.com"))) as claim:
            say(ask="remove", identity=self.identity)
            claim.update(lambda it: it._replace(recipients=(it.recipients[0]._replace(status=DONE),
                                                            )), durable)
        say(ok="remove", identity=self.identity, durable=durable)
        self.mine.remove(self.identity)

    def announce(self):
        self._choose()
        self.spool.changed(self.identity)
        assert self.threads > 1 or self.identity in self.spool.take_changes()


def work(job):
    """Runs the job; errors of the queue are told and survived, as a server would."""
    if "forget" in job:
        forget_to_sync(job["forget"])
    folder = os.path.join(job["folder"], "queue")
    spool = Spool(folder)
    reading = read_queue(spool, folder)
    say(reading=reading)
    workers = [Worker(spool, job, number, sorted(reading["messages"]))
               for number in range(job.get("threads", 1))]
    labour(workers, job, loop)
    say(done=True)


def loop(worker, job):
    """One thread of the job."""
    try:
        for _ in range(job["rounds"]):
            verb = worker.dice.choice(job["verbs"])
            try:
                worker.run(verb)
            except SpoolError as error:
                say(failed=verb, error=type(error).__name__, identity=worker.identity)
                if isinstance(error, NoSuchMessage):
                    worker.mine.remove(worker.identity)
    except BaseException:
        end_badly()


if __name__ == "__main__":
    logging.getLogger("phenmail").addHandler(_Told())
    serve(work)
