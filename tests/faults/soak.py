"""One long, seeded run that owns all promises at once.

On one root: the server, words of the command line, LMTP and SMTP deliveries, IMAP and POP3 clients,
mbsync both ways, and a foreign program that drops files and renames them. A plan made of the seed
kills the server, cuts the power, fills the disk, deletes the index (under the live server or not)
and moves the clock. After each blow all clients hold still, everything is read over the wire, and
the oracles, who know only what was answered, check every promise. By hand:

    python3 -m tests.faults.soak --seconds 600 --seed 1

The plan and every client's choices come from the seed alone; threads and the kernel still take
turns as they like, so the same seed repeats the same run closely, not exactly.
"""
import argparse
import imaplib
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback

from . import actors, layer
from .machine import PASSPHRASE, USERS, Machine
from .oracle import Oracle
from .readers import read_imap

SEEN_WITHIN = 2.0       # seconds until what another program dropped is announced
SLACK = 1.5             # for a machine that does much else
TRACE = 3000            # lines kept of what was asked and answered


class Broken(AssertionError):
    """Promises were broken; the text says which, with the seed and the way there."""


class Soak:
    """`run` does it all and raises Broken."""

    def __init__(self, library, ground, seed, mbsync=None, out=None):
        self.seed, self.out = seed, out
        self.dice = random.Random("soak %s" % seed)
        self.machine = Machine(library, ground, random.Random("disk %s" % seed))
        self.gate = actors.Gate()
        self.over = False
        self.users = []                 # added and answered
        self.full_times = 0             # odd while the disk is full
        self.counts = {}                # blows and checks
        self._oracles = {user: Oracle() for user in USERS}
        self._oracles["alice"].untracked = {"Foreign", "Pushed"}
        self._lock = threading.Lock()
        self._trace, self._blamed = [], []
        self._ended = threading.Event()
        self._began = time.monotonic()
        self.actors = [actors.Deliverer(self, 1, "lmtp"), actors.Deliverer(self, 2, "smtp"),
                       actors.ImapClient(self, 1),
                       actors.PopClient(self), actors.Foreign(self), actors.Administrator(self)]
        self.mbsync = actors.Mbsync(self, mbsync,
                                    os.path.join(ground, "mbsync")) if mbsync else None
        if self.mbsync:
            self.actors.append(self.mbsync)

    # For the actors

    def tell(self, user, line):
        """An oracle hears a line."""
        with self._lock:
            self._trace.append("%7.2f %s %s" % (time.monotonic() - self._began, user or "-", line))
            del self._trace[:-TRACE]
            if user:
                self._oracles[user].hear(line)

    def blame(self, text):
        """A promise was broken outside of the oracles' sight."""
        with self._lock:
            self._blamed.append(text)

    def blame_exception(self, name):
        self.blame("%s failed:\n%s" % (name, traceback.format_exc()))

    def pause(self, seconds):
        self._ended.wait(seconds)

    # The run

    def run(self, seconds):
        """Soaks for so long; a summary (str). Raises Broken."""
        try:
            self._prepare()
            for actor in self.actors:
                actor.start()
            self.gate.let_in()
            while time.monotonic() - self._began < seconds:
                self._blow()
            self._finish()
        finally:
            self.over = True
            self._ended.set()
            self.gate.let_in()
            self.machine.close()
            for actor in self.actors:
                if actor.ident:
                    actor.join(2 * actors.PATIENCE)
        return self._summary()

    def _prepare(self):
        if not self.machine.start():
            raise Broken("the server does not start:\n" + self.machine.log())
        connection = self._login("alice")
        for name in ("Foreign", "Pushed"):
            connection.create(name)
        connection.logout()
        self._check()

    def _blow(self):
        """Some quiet work, then something bad, then the check."""
        self.pause(self.dice.uniform(0.3, 2.0))
        kind = self.dice.choice(("kill", "kill", "kill_at_start", "power", "power", "full", "index",
                                 "index_dead", "clock", "stop"))
        self._count(kind)
        self.tell(None, "*** " + kind)
        excuses = getattr(self, "_do_" + kind)() or {}
        self._revive()
        self._check(**excuses)
        self.gate.let_in()

    def _hold(self):
        """All clients hold still. Not before a blow: it comes while they work."""
        self.gate.close()

    def _do_kill(self):
        self.machine.layer.kill("*:*", nth=self.dice.randint(1, 300),
                                after=self.dice.random() < 0.5, role="server")
        if not self.machine.wait_for_death(3):
            self.machine.kill()
        self._hold()

    def _do_kill_at_start(self):
        self.machine.kill()
        self._hold()
        self.machine.layer.kill("*:*", nth=self.dice.randint(1, 40), role="server")

    def _do_power(self):
        if self.dice.random() < 0.7:
            self.machine.layer.freeze("*:*", nth=self.dice.randint(1, 400),
                                      after=self.dice.random() < 0.5)
            self.machine.wait_for_death(3)
        self.machine.layer.power_off()
        self._hold()
        self.machine.lose_power(self.dice.choice(("strict", "strict", "random")))
        return dict(power_lost=True)

    def _do_full(self):
        self.full_times += 1
        rule = self.machine.layer.fail("space:*", nth=self.dice.randint(1, 50),
                                       half=self.dice.random() < 0.5)
        self.pause(self.dice.uniform(0.2, 1.5))
        self.machine.layer.clear(rule)
        self.full_times += 1
        self._hold()

    def _do_index(self):
        self.machine.drop(do="delete_index",
                          folder=self.machine.mail_folder(self.dice.choice(USERS)))
        self.pause(0.3)
        self._hold()

    def _do_index_dead(self):
        self.machine.kill()
        self._hold()
        self.machine.drop(do="delete_index",
                          folder=self.machine.mail_folder(self.dice.choice(USERS)))

    def _do_clock(self):
        self.machine.layer.shift_clock(self.dice.choice((0, 3600, -3600, 86400, -86400, 5, -5)))
        self.pause(0.5)
        self._hold()

    def _do_stop(self):
        status = self.machine.stop()
        if status:
            self.blame("the server ended with %d" % status)
        self._hold()

    def _revive(self):
        """The server runs again, whatever happened; a fault at the start strikes once."""
        for _ in range(3):
            if self.machine.is_up or self.machine.start():
                self.machine.layer.clear()
                return
            self.machine.layer.clear()
        raise Broken(self._story("the server does not start:\n" + self.machine.log()))

    # The check

    def _check(self, **excuses):
        self._count("check")
        began = time.monotonic()
        broken, self._blamed = self._blamed, []
        for user in USERS:
            try:
                connection = self._login(user)
                readings = read_imap(connection)
                connection.logout()
            except (OSError, imaplib.IMAP4.error) as error:
                broken.append("%s cannot read the mail: %r\n%s" % (user, error, self.machine.log()))
                continue
            broken += ["%s: %s" % (user, text)
                       for text in self._oracles[user].check(readings, **excuses)]
        if excuses.get("power_lost"):
            broken += self._missing_users()
        elif self.dice.random() < 0.3:
            broken += self._late()
        if broken:
            raise Broken(self._story("\n".join(broken)))
        self.tell(None, "checked in %.2f s" % (time.monotonic() - began))

    def _login(self, user):
        connection = imaplib.IMAP4("127.0.0.1", self.machine.ports["imap"])
        connection.sock.settimeout(actors.PATIENCE)
        connection.login(user + "@example.org", PASSPHRASE)
        return connection

    def _missing_users(self):
        status, output = self.machine.word("user", "list")
        return ["user list: %d %s" % (status, output)] if status else [
            "%s was added and is not there any more" % user for user in self.users
            if user not in output]

    def _late(self):
        """What the foreign program drops is announced in time."""
        connection = self._login("alice")
        connection.select("Foreign")
        self._count("seen in time")
        foreign = next(actor for actor in self.actors if isinstance(actor, actors.Foreign))
        uids = set(actors.mailbox_uids(connection))
        foreign.drop_into("Foreign")
        began = time.monotonic()
        while set(actors.mailbox_uids(connection)) == uids:
            connection.noop()
            if time.monotonic() - began > SEEN_WITHIN + SLACK:
                return ["a dropped message was not seen within %.1f s" % (time.monotonic() - began)]
            time.sleep(0.02)
        connection.logout()
        return []

    def _finish(self):
        """The disk is fine and nobody interferes: everything is to be as it should."""
        self.gate.close()
        self.machine.layer.clear()
        self._revive()
        self._check()
        if self.mbsync:
            self.mbsync.safe_turn()
            status, output = self.mbsync.sync()
            if status:
                self.blame("mbsync ended with %d: %s" % (status, output[-500:]))
            connection = self._login("alice")
            here = {seen.token for seen in read_imap(connection)["INBOX"].messages.values()}
            connection.logout()
            missing = here - self.mbsync.tokens()
            if missing:
                self.blame("mbsync never got %s" % sorted(missing)[:10])
        self._check()
        status = self.machine.stop()
        if status:
            self.blame("the server ended with %d" % status)
        if "Traceback" in self.machine.log(10 ** 8):
            log = self.machine.log(10 ** 8)
            self.blame("the server logged an exception:\n" + log[log.index("Traceback"):][:3000])
        if self._blamed:
            raise Broken(self._story("\n".join(self._blamed)))

    # Words

    def _count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1
        if self.out and what != "check":
            self.out.write("%7.1f %s\n" % (time.monotonic() - self._began, what))
            self.out.flush()

    def _story(self, broken):
        with self._lock:
            return "seed %s, after %.1f s:\n%s\n\nThe last that was asked, answered and done:\n%s" % (
                self.seed, time.monotonic() - self._began, broken, "\n".join(self._trace[-150:]))

    def trace(self):
        """All that is still remembered (list of str)."""
        with self._lock:
            return list(self._trace)

    def _summary(self):
        return "seed %s: %s; %s; %d messages renumbered by power losses" % (
            self.seed, ", ".join("%s %d" % item for item in sorted(self.counts.items())),
            ", ".join("%s %d+%d" % (actor.name, actor.answered, actor.failed)
                      for actor in self.actors),
            sum(oracle.renumbered for oracle in self._oracles.values()))


def main(arguments=None):
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.soak",
                                     description="Soak the mail server in faults.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", default=str(int(time.time())))
    parser.add_argument("--keep", action="store_true",
                        help="keep root, log and trace of a run that failed")
    options = parser.parse_args(arguments)
    ground = tempfile.mkdtemp(prefix="phenmail-soak-", dir="/dev/shm"
                              if os.access("/dev/shm", os.W_OK) else None)
    soak = Soak(layer.build(ground), ground, options.seed, shutil.which("mbsync"), sys.stdout)
    try:
        print(soak.run(options.seconds))
    except Broken as broken:
        print(broken)
        if options.keep:
            with open(os.path.join(ground, "trace"), "w") as file:
                file.write("\n".join(soak.trace()))
            print("kept in", ground)
            return 1
        shutil.rmtree(ground)
        return 1
    shutil.rmtree(ground)
    return 0


if __name__ == "__main__":
    sys.exit(main())
