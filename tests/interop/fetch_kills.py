"""Kills the server at random instants while it fetches: is each message there, and only once?

    python3 -m tests.interop.fetch_kills [--rounds N] [--source NAME]… [--seed N]

For each source a server fetches into a user's mailbox, with a filter that files by subject. In each
round new messages come to the source, the server gets SIGKILL once or several times, and in the end
runs until everything is fetched. One half of the rounds leaves the messages at the source, the
other has "remove": true. Each message has to be here once, byte for byte, in its mailbox.

Prints a line for each half: source, rounds, kills, missing, twice, changed (in the wrong mailbox or
with other octets), left (still at the source in spite of "remove"). Ends with 1 unless they are 0.
"""
import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from tests.bench.peers.process import Missing
from tests.interop import mail_sources

TOP = mail_sources.TOP
PROGRAM = os.path.join(TOP, "phenmail.py")
PATIENCE = 60.0  # seconds until messages count as missing
_STALLED = 3.0  # seconds without a new message until `fetch now`
_POLL = 0.005
_MESSAGE_ID = re.compile(rb"(?im)^message-id:[ \t]*(<[^>\r\n]*>)")


class _Gmail(mail_sources.MailSource):
    """The Gmail-like server of tests/fetch."""

    def start(self):
        from tests.fetch.gmail import Gmail
        self._server = Gmail(mail_sources.USER, mail_sources.PASSPHRASE)
        self._server.__enter__()
        self.port = self._server.port

    def stop(self):
        self._server.__exit__()

    def add(self, messages):
        for message in messages:
            self._server.add(message, labels=["\\Inbox"], date=time.time())

    def left(self):
        return len(self._server.boxes()["INBOX"])


SOURCES = {
    "dovecot": lambda folder: mail_sources.Dovecot(folder),
    "courier": lambda folder: mail_sources.Courier(folder),
    "cyrus": lambda folder: mail_sources.Cyrus(folder),
    "pop3": lambda folder: mail_sources.Dovecot(folder, "pop"),
    "courier-pop3": lambda folder: mail_sources.Courier(folder, "pop"),
    "cyrus-pop3": lambda folder: mail_sources.Cyrus(folder, "pop"),
    "gmail": lambda folder: _Gmail(folder),
}


class Near:
    """The server that fetches, as a child process; and the Maildir of its user."""

    def __init__(self, folder, account):
        self.root = os.path.realpath(os.path.join(folder, "root"))
        self.log = os.path.join(folder, "log")
        self._child = None
        self._maildir = os.path.join(self.root, "alice", "mail")
        self._read = {}  # path without flags -> (Message-ID, digest of the octets from there on)
        here = {"alice": "/alice/mail", "postmaster": ":alice", "abuse": ":alice"}
        self._write("device/system/mail/mail.jcfg", {
            "sender-domain": "example.org", "smtp": False, "imap": False, "pop": False,
            "relay": False, "domains": {"example.org": here}})
        self._write("alice/mail/filters.jcfg", {"filters": [
            {"type": "match", "content": "[list]", "action": "accept:List"}]})
        self._write("alice/system/config/mail-fetcher.jcfg", {"accounts": [account]})

    def _write(self, path, values):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(path, "w") as file:
            json.dump(values, file)

    def start(self):
        with open(self.log, "ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, PROGRAM, "--root", self.root], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)

    @property
    def is_running(self):
        return self._child is not None

    def kill(self, number=signal.SIGKILL):
        """End the server and what it started."""
        if self._child is None:
            return
        if self._child.poll() is not None:
            raise RuntimeError("the server ended by itself; its log is %s" % self.log)
        os.killpg(self._child.pid, number)
        self._child.wait(30)
        self._child = None

    def hurry(self):
        subprocess.run([sys.executable, PROGRAM, "--root", self.root, "fetch", "now", "source"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False)

    def paths(self):
        """The files of all messages."""
        found = []
        for folder in (self._maildir, os.path.join(self._maildir, ".List")):
            for name in ("cur", "new"):
                path = os.path.join(folder, name)
                with contextlib.suppress(FileNotFoundError):
                    found += [os.path.join(path, each) for each in os.listdir(path)]
        return found

    def forget(self):
        """Read all messages again."""
        self._read.clear()

    def found(self):
        """[(Message-ID, mailbox, digest of the octets)] of all messages."""
        result = []
        for path in self.paths():
            folder, name = os.path.split(path)
            mailbox = os.path.dirname(folder)
            key = (mailbox, name.partition(":")[0])
            if key not in self._read:
                with contextlib.suppress(FileNotFoundError):  # it gets flags, or moves to cur
                    self._read[key] = _identify(path)
            if key in self._read:
                serial, digest = self._read[key]
                result.append((serial, os.path.basename(mailbox), digest))
        return result


def _identify(path):
    """-> (Message-ID, digest of the message below the fields that this server added)."""
    with open(path, "rb") as file:
        octets = file.read()
    start = octets.find(b"X-Original: begins here\n")
    serial = _MESSAGE_ID.search(octets, max(0, start))
    return (serial.group(1) if serial else path.encode(),
            hashlib.sha256(octets[max(0, start):]).digest())


class Trial:
    """One source, with or without "remove"."""

    def __init__(self, name, remove, folder, chance):
        self._chance = chance
        self._remove = remove
        self._source = SOURCES[name](os.path.join(folder, "source"))
        self._folder = folder
        self.near = None
        self._expected = {}  # Message-ID -> (mailbox's folder, digest)
        self._window = 2.0  # seconds that fetching lately took
        self.rounds = self.kills = 0

    def run(self, rounds):
        """-> {what is wrong: how often}."""
        with self._source as source:
            self.near = Near(self._folder, source.account(remove=self._remove, period=1))
            try:
                for _ in range(rounds):
                    self._round(source)
                    self.rounds += 1
                return self._end(source)
            finally:
                self.near.kill()

    def _round(self, source):
        chance, near = self._chance, self.near
        messages = [self._message() for _ in range(chance.randint(2, 14))]
        split = chance.choice((len(messages), chance.randint(0, len(messages))))
        source.add(messages[:split])
        if not near.is_running:
            near.start()
        self._await_instant()
        self._kill()
        while chance.random() < 0.4:
            near.start()
            self._await_instant()
            self._kill()
        source.add(messages[split:])
        began = time.monotonic()
        near.start()
        if self._await_all():
            self._window = 0.7 * self._window + 0.3 * (time.monotonic() - began)

    def _kill(self):
        self.near.kill()
        self.kills += 1

    def _await_instant(self):
        """Wait for a random time, or until some more messages are here and a moment longer."""
        end = time.monotonic() + self._chance.random() * 1.2 * self._window
        if self._chance.random() < 0.6:
            enough = len(self.near.paths()) + self._chance.randint(1, 6)
            end = max(end, time.monotonic() + self._window)
            while time.monotonic() < end:
                if len(self.near.paths()) >= enough:
                    end = time.monotonic() + self._chance.choice((0.0, 0.005, 0.05, 0.3)) \
                        * self._chance.random()
                    break
                time.sleep(_POLL)
        time.sleep(max(0.0, end - time.monotonic()))

    def _await_all(self):
        """Wait until everything is here -> whether it is."""
        end = time.monotonic() + PATIENCE
        moved, count = time.monotonic(), 0
        while time.monotonic() < end:
            found = {serial for serial, _, _ in self.near.found()}
            if not self._expected.keys() - found:
                return True
            if len(found) != count:
                moved, count = time.monotonic(), len(found)
            elif time.monotonic() - moved > _STALLED:
                self.near.hurry()
                moved = time.monotonic()
            time.sleep(0.05)
        return False

    def _message(self):
        chance = self._chance
        serial = b"<%d.%d@source.example>" % (len(self._expected), chance.getrandbits(60))
        is_list = chance.random() < 0.4
        size = chance.choice((10, 300, 3000, 20000, 20000, 200000, 700000)) + chance.randint(0, 99)
        body = b"".join(b"%064x\r\n.%d\r\n" % (chance.getrandbits(256), line)
                        for line in range(min(100, size // 70 + 1)))
        body += b"x" * 76 + b"\r\n" if size < 8000 else (b"y" * 76 + b"\r\n") * (size // 78)
        message = (b"X-Original: begins here\r\nFrom: someone@source.example\r\n"
                   b"To: alice@example.org\r\nSubject: %s%d\r\nMessage-ID: %s\r\n\r\n%s" % (
                       b"[list] " if is_list else b"", len(self._expected), serial, body))
        self._expected[serial] = (".List" if is_list else "mail", hashlib.sha256(
            message.replace(b"\r\n", b"\n")).digest())
        return message

    def _end(self, source):
        """One more start, a round of fetching, and a stop as it should be; then count."""
        self.near.kill(signal.SIGTERM)
        self.near.start()
        self._await_all()
        end = time.monotonic() + 10
        while self._remove and source.left() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1.5 * 1.2)  # a period more: what is fetched again would come now
        self.near.kill(signal.SIGTERM)
        return self.count(source.left() if self._remove else 0)

    def count(self, left=0):
        """-> {what is wrong: how often}. `left`: messages that should not be at the source."""
        self.near.forget()
        here = {}
        for serial, mailbox, digest in self.near.found():
            here.setdefault(serial, []).append((mailbox, digest))
        return {"missing": sum(serial not in here for serial in self._expected),
                "twice": sum(len(each) - 1 for each in here.values()),
                "changed": sum(each != self._expected.get(serial)
                               for serial, found in here.items() for each in found),
                "left": left}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python3 -m tests.interop.fetch_kills",
                                     description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=60, help="for each source (default 60)")
    parser.add_argument("--source", action="append", choices=sorted(SOURCES),
                        help="may be repeated; default: dovecot, courier, cyrus, pop3, gmail")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a failure")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no child is left
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    names = options.source or ["dovecot", "courier", "cyrus", "pop3", "gmail"]
    print("seed %d" % seed)
    row = "%-14s %-8s %6s %6s %8s %6s %8s %5s"
    columns = ("missing", "twice", "changed", "left")
    print(row % (("source", "remove", "rounds", "kills") + columns), flush=True)
    bad = 0
    for name in names:
        for remove in (False, True):
            rounds = options.rounds // 2 + (options.rounds % 2 and not remove)
            bad += _try(name, remove, rounds, random.Random("%d %s %s" % (seed, name, remove)),
                        row, columns, options.keep)
    return 1 if bad else 0


def _try(name, remove, rounds, chance, row, columns, keep):
    """One trial -> how much is wrong."""
    folder = tempfile.mkdtemp(prefix="fetch-kills-")
    os.chmod(folder, 0o755)  # the source may run as another user
    bad = 1
    try:
        trial = Trial(name, remove, folder, chance)
        wrong = trial.run(rounds)
        bad = sum(wrong.values())
        print(row % ((name, "true" if remove else "false", trial.rounds, trial.kills)
                     + tuple(wrong[each] for each in columns)), flush=True)
    except Missing as missing:
        print("%-14s is not installed: %s" % (name, missing), flush=True)
    finally:
        if bad and keep:
            print("its folder: %s" % folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return bad


if __name__ == "__main__":
    sys.exit(main())
