"""A whole mail server, two next hops, and an oracle: the server is killed, started again, and
everything is counted.

The hops are SMTP servers at 127.0.0.1 and 127.0.0.2, one port; the MX records of `HERE` and `THERE`
lead to them.
"""
import hashlib
import itertools
import json
import os
import random
import signal
import smtplib
import socket
import subprocess
import sys
import threading
import time

from phenmail_protocols.queue.spool import Spool

from ..dkim import keys
from ..net.nameserver import NameServer
from ..relay.peers import Gone, Peer, smtp
from . import replay
from .oracle import make_message
from .relayoracle import Arrival, RelayOracle
from .rig import PATIENCE, Broken

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(TOP, "phenmail.py")
WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "relayworker.py")
PASSPHRASE = "secret"
HERE, THERE = "here.example", "there.example"
ZONE = """
here.example.     IN MX 10 mx.here.example.
mx.here.example.  IN A 127.0.0.1
there.example.    IN MX 10 mx.there.example.
mx.there.example. IN A 127.0.0.2
"""
LATER = 400         # seconds; more than the first retry waits
MOST_RETRIES = 12


class Hops:
    """Two servers that take what the local parts of recipients say, and tell `hear(octets,
    recipients, sender)` of each message.

    `strike_at(moment, nth, strike)`: at the nth final dot from now on `strike()` is called, which
    is true where it killed the client; `moment` "dot": before the dot has an answer, "answered":
    right after 250 was sent.
    """

    def __init__(self, hear):
        self._hear = hear
        self._changed = threading.Condition()
        self._later, self._conversations = set(), 0
        self._moment, self._left, self._strike = None, 0, None
        answers = {"MAIL": self._mail, "RCPT": self._rcpt, "DATA": self._data, ".": self._end}
        self._usual = smtp(["PIPELINING", "8BITMIME", "SIZE 100000000"], answers)
        self._peers = [Peer(self._talk)]
        while len(self._peers) < 2:
            try:
                self._peers.append(Peer(self._talk, ip="127.0.0.2", port=self._peers[0].port))
            except OSError:
                self._peers = [Peer(self._talk)]
        self.port = self._peers[0].port
        for peer in self._peers:
            peer.__enter__()

    def strike_at(self, moment, nth=1, strike=None):
        with self._changed:
            self._moment, self._left, self._strike = moment, nth, strike

    def are_alone(self):
        """Wait until nobody talks with them any more: what a dead client had sent is heard."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._conversations, PATIENCE), (
                "a connection of a dead client does not end")

    def close(self):
        for peer in self._peers:
            peer.__exit__(None)

    def _talk(self, talk):
        with self._changed:
            self._conversations += 1
        try:
            self._usual(talk)
        finally:
            with self._changed:
                self._conversations -= 1
                self._changed.notify_all()

    def _mail(self, talk, line):
        talk.recipients = []
        talk.sender = line.partition("<")[2].partition(">")[0]
        return "250 2.1.0 ok"

    def _rcpt(self, talk, line):
        address = line.partition("<")[2].partition(">")[0]
        with self._changed:
            if address.startswith("later") and address not in self._later:
                self._later.add(address)
                return "451 4.2.0 not yet"
        if address.startswith("refused"):
            return "550 5.1.1 nobody of that name"
        talk.recipients.append(address)
        return "250 2.1.5 ok"

    def _data(self, talk, line):
        return "354 go ahead" if talk.recipients else "554 5.5.1 for whom?"

    def _end(self, talk, line):
        if any(address.startswith("rejected") for address in talk.recipients):
            return "550 5.7.1 not this message"
        self._hear(talk.messages.pop(), tuple(talk.recipients), talk.sender)
        with self._changed:
            self._left -= 1
            moment, strike = (self._moment, self._strike) if self._left == 0 else (None, None)
        if moment == "answered":
            talk.say("250 2.0.0 kept")
        if moment is not None and strike() or moment == "answered":
            raise Gone()
        return "250 2.0.0 kept"


class RelayRig:
    """`start`, `submit`, `send`, `settle`; whatever kills the server is the test's. Raises Broken
    with the way there."""

    worker, make_oracle, drop_folders = WORKER, RelayOracle, ()

    def __init__(self, layer, name):
        self.layer, self.name = layer, name
        self.dice = random.Random(name)
        self.sizes = (0, 700, 9000)     # octets, about, of messages
        self.oracle = self.make_oracle()
        self.lives = self.deaths = self.messages = self._shift = 0
        self.queue = os.path.join(layer.root, "device", "system", "mail", "queue")
        self._lock = threading.Lock()
        self.hops = Hops(self._hear)
        self._names = NameServer(ZONE)
        self._names.__enter__()
        self._seen, self._disk = set(), None
        self._notes = itertools.count(1)
        self._trace, self._forker, self.pid, self._port, self._client = [], None, None, None, None
        self._orders = socket.socket(socket.AF_UNIX)
        self._orders.bind(os.path.join(os.path.dirname(layer.journal_path), "orders"))
        self._orders.listen(5)
        self._orders.setblocking(False)  # who is ready is connected
        self._server = None
        self._make_root()

    def _make_root(self):
        self._make_device({
            "sender-domain": "example.org",
            "domains": {"example.org": {"alice": "/alice/mail", "kept": "/kept/mail",
                                        "oracle": ":alice",
                                        "postmaster": ":alice", "abuse": ":alice"}},
            "resolver": {"nameservers": ["%s:%d" % self._names.address]},
            "relay": {"remote-port": self.hops.port, "private-addresses": True, "listen": [
                {"host": "127.0.0.1", "port": 0, "tls": "none", "plaintext-auth": True}]},
            "smtp": False, "imap": False, "pop": False, "limits": {"disk-reserve": 0}})
        for user in ("alice", "kept"):
            self._make_user(user)

    def _make_device(self, settings):
        own = os.path.join(self.layer.root, "device", "system", "mail")
        os.makedirs(own)
        with open(os.path.join(own, "dkim.key"), "wb") as file:
            file.write(keys.RSA)
        os.chmod(file.name, 0o600)
        with open(os.path.join(own, "mail.jcfg"), "w") as file:
            json.dump(settings, file)

    def _make_user(self, user, **settings):
        folder = os.path.join(self.layer.root, user, "mail")
        os.makedirs(folder)
        with open(os.path.join(folder, "mail.jcfg"), "w") as file:
            json.dump(dict({"passphrase": hashlib.sha256(PASSPHRASE.encode()).hexdigest()},
                           **settings), file)

    # The server's life.

    def start(self, **job):
        """A server begins to live -> whether it came so far that clients can connect."""
        if self._forker is None:
            key = os.path.join(os.path.dirname(self.queue), "dkim.key")
            self._forker = subprocess.Popen([sys.executable, self.worker, key],
                                            env=self.layer.environment("server"),
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.lives += 1
        self._note("life %d" % self.lives)
        job = dict({"root": self.layer.root, "orders": self._orders.getsockname()}, **job)
        self._forker.stdin.write(json.dumps(job).encode() + b"\n")
        self._forker.stdin.flush()
        answer = self._listen("ready")
        if answer is not None:
            self._port = answer["port"]
            self._server = self._orders.accept()[0]
        return answer is not None

    def _order(self, **line):
        """Tell the server what to do. If it is dead, that shows when its answer is listened to."""
        try:
            self._server.sendall(json.dumps(line).encode() + b"\n")
        except OSError:
            pass

    def _listen(self, *wanted):
        """The answer that has one of these keys -> dict, or None: the server is dead, and what that
        means is known."""
        watchdog = threading.Timer(PATIENCE, self._abort)
        watchdog.start()
        try:
            for line in self._forker.stdout:
                try:
                    answer = json.loads(line.decode())
                except ValueError:
                    continue        # cut short by a kill
                self._note(line.decode().strip())
                if "pid" in answer:
                    self.pid = answer["pid"]
                elif "exit" in answer:
                    self._is_dead(answer["exit"])
                    return None
                elif "error" in answer:
                    raise Broken("%s\n%s" % (answer["error"], self.way()))
                elif any(key in answer for key in wanted):
                    return answer
            raise Broken("the process that forks the servers is gone\n" + self.way())
        finally:
            watchdog.cancel()

    def _abort(self):
        if self.pid is not None:
            self._note("no answer in %d s" % PATIENCE)
            os.kill(self.pid, signal.SIGABRT)

    def kill(self):
        """SIGKILL from outside, at once, from any thread -> True."""
        with self._lock:
            if self.pid is not None:
                self.layer.kill_process(self.pid)
        return True

    def kill_later(self, seconds):
        """A timer that kills the server then."""
        timer = threading.Timer(seconds, self.kill)
        timer.daemon = True
        timer.start()
        return timer

    def outlive(self, timer):
        """The timer is over, and whether the server is dead is known."""
        timer.cancel()
        timer.join()
        if self.pid is not None:
            self.settle()

    def _is_dead(self, status):
        with self._lock:
            self.pid = None
        self.layer.clear()
        self.hang_up()
        self._let_go()
        if status not in (0, signal.SIGKILL):
            raise Broken("the server ended with %r\n%s" % (status, self.way()))
        self.deaths += status != 0
        self._note("dead")
        self.hops.strike_at(None)
        self.hops.are_alone()
        if self._disk is not None and status:
            self._lose_power()
        self._read_mailboxes()
        self.oracle.died(self._read_queue())

    def _let_go(self):
        """Close a dead server's connection, also one that it made and died before it was ready: the
        next server's orders must not go there."""
        if self._server is not None:
            self._server.close()
            self._server = None
        try:
            self._orders.accept()[0].close()
        except BlockingIOError:
            pass  # it had none, or was ready

    def watch_disk(self):
        """From here on a death is a power loss: the root becomes what is on the disk for sure."""
        self.layer.boot()
        self._disk = replay.Disk(self.layer.root)

    def _lose_power(self):
        self._disk.follow(self.layer.records())
        self._trace += self._steps(self._trace[0][0])
        self._disk.strict(self.layer.root)
        self.oracle.power_lost()
        self.watch_disk()

    def stop(self):
        """An orderly end."""
        self.hang_up()
        self._order(do="stop")
        if self._listen("stopped") is not None:
            self._server.close()
            self._listen("exit")

    def close(self):
        """Ends what runs. A script of a hop that failed is told."""
        self.hang_up()
        if self._forker is not None:
            self.kill()
            self._forker.communicate(timeout=PATIENCE)
            self._forker = None
        self._orders.close()
        self.hops.close()
        self._names.__exit__(None, None, None)

    # Mail.

    def new_message(self, *addresses):
        """A token, the addresses with their number and place, and the message's octets. The oracle
        knows it from here on."""
        self.messages += 1
        token = "%s.%d" % (self.name, self.messages)
        message = make_message(token, self.dice, self.dice.choice(self.sizes))
        places = {"kept": "example.org"}
        full = []
        for number, address in enumerate(addresses):
            kind, _, place = address.partition("@")
            full.append("kept@example.org" if kind in places
                        else "%s-%d-%d@%s" % (kind, self.messages, number, place or HERE))
        self.oracle.submit(token, full)
        return token, full, message

    def submit(self, *addresses):
        """One message over SMTP, from alice -> its reply code, or None: the server died before it
        answered."""
        token, addresses, message = self.new_message(*addresses)
        self._note("submit %s to %s" % (token, addresses))
        try:
            if self._client is None:
                self._client = smtplib.SMTP("127.0.0.1", self._port, "client.example.net", PATIENCE)
                self._client.login("alice@example.org", PASSPHRASE)
            client = self._client
            code, text = client.mail("alice@example.org")
            assert code == 250, text
            for address in addresses:
                code, text = client.rcpt(address)
                assert code == 250, text
            code, text = client.data(message)
        except (OSError, smtplib.SMTPException):
            self._listen("exit")
            return None
        self._note("%d %s" % (code, text))
        self.oracle.answer(token, [code] * len(addresses))
        return code

    def hang_up(self):
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def send(self, sender, *addresses):
        """One message by send_mail -> its answer, or None: the server died."""
        token, addresses, message = self.new_message(*addresses)
        self._note("send_mail %s to %s" % (token, addresses))
        self._order(do="send", sender=sender, recipients=addresses, message=message.decode("ascii"))
        answer = self._listen("sent", "refused")
        if answer is not None:
            self.oracle.answer(token, answer.get("refused") or [250] * len(addresses))
        return answer

    def settle(self):
        """Until the queue is empty, the clock moved where it waits; then everything is checked ->
        whether the server lived so long."""
        for _ in range(MOST_RETRIES):
            left = self.rest()
            if left == []:
                self.check()
                return True
            if left is None or not self.advance():
                return False
        raise Broken("the queue is not empty after %d retries\n%s" % (MOST_RETRIES, self.way()))

    def rest(self):
        """Until there is nothing to do at this moment -> the identities that are still queued, or
        None: the server died."""
        self._order(do="settle", folders=self.drop_folders)
        answer = self._listen("settled")
        if answer is None:
            return None
        if not answer["quiet"] or answer["broken"]:
            raise Broken("the queue does not come to rest, or something was set aside\n"
                         + self.way())
        return answer["settled"]

    def advance(self, seconds=LATER):
        """The server's clock goes ahead -> whether it lives."""
        self._shift += seconds
        self.layer.shift_clock(self._shift)
        self._order(do="wake")
        return self._listen("woken") is not None

    def check(self):
        """The queue is empty: every promise."""
        self._read_mailboxes()
        broken = self.oracle.settled() + ["%s is left in the queue's folder" % name
                                          for name in self.left_behind()]
        if broken:
            raise Broken("%s\n%s" % ("\n".join(broken), self.way()))

    def left_behind(self):
        """Names in the queue's folder and that of its announcements."""
        return [name for folder in (self.queue, os.path.join(self.queue, "changes"))
                if os.path.isdir(folder)
                for name in os.listdir(folder) if name != "changes"]

    def left_in_mailboxes(self):
        """Names of half messages in the mailboxes' folders, which a server that lives does not
        leave."""
        folders = [os.path.join(self.layer.root, user, "mail", "tmp") for user in ("alice", "kept")]
        return [name for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)]

    # Checks.

    def _hear(self, octets, recipients, sender):
        """From the hops' threads."""
        arrival = Arrival(octets, recipients)
        with self._lock:
            self.oracle.hear(arrival)
            self._note("hop: %s %s for %s" % (arrival.token, "notice" if arrival.failed else "",
                                              recipients))

    def _read_mailboxes(self):
        for user in ("alice", "kept"):
            for part in ("new", "cur"):
                folder = os.path.join(self.layer.root, user, "mail", part)
                for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                    if (user, name) not in self._seen:
                        self._seen.add((user, name))
                        self._read(user, os.path.join(folder, name))

    def _read(self, user, path):
        with open(path, "rb") as file:
            octets = file.read().replace(b"\n", b"\r\n")
        arrival = Arrival(octets, ("%s@example.org" % user,))
        with self._lock:
            self.oracle.hear(arrival)
            self._note("%s's mailbox: %s %s" % (user, arrival.token, arrival.failed))

    def _read_queue(self):
        """{identity: (Arrival, recipients)} as the disk has it."""
        return {message.identity: (Arrival(octets, ()), message.recipients) for message,
                octets in self._queued()}

    def _queued(self):
        """(queue.model.Message, octets) of what is in the queue by the disk."""
        spool = Spool(self.queue)
        for message in spool.messages():
            with spool.body(message.identity) as file:
                octets = file.read()
            if len(octets) + len(message.head) != message.size:
                raise Broken("%s is half in the queue\n%s" % (message.identity, self.way()))
            yield message, octets

    # The way there.

    def _note(self, text):
        self._trace.append((self.layer.control.sequence, next(self._notes), text))
        del self._trace[:-400]

    def way(self, last=200):
        """What was asked, answered and done to the disk of late."""
        steps = self._trace + self._steps(self._trace[0][0])
        return "seed %s, life %d:\n%s" % (self.name, self.lives,
                                          "\n".join(text for _, _, text in sorted(steps)[-last:]))

    def _steps(self, since):
        """What the journal has, as lines of a trace."""
        return [(record.sequence, 0, "    %(operation)s %(path)s %(target)s" % record._asdict())
                for record in self.layer.records() if record.sequence > since]


class ProgramRig(RelayRig):
    """The same with `phenmail.py` itself, which takes no orders: `send` and `advance` are not for
    it."""

    def start(self):
        ports = os.path.join(os.path.dirname(self.layer.journal_path), "ports")
        if os.path.exists(ports):
            os.unlink(ports)
        self.lives += 1
        self._note("life %d" % self.lives)
        command = [sys.executable, PROGRAM, "--root", self.layer.root, "--ports-file", ports]
        self._program = subprocess.Popen(command, env=self.layer.environment("server"),
                                         stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL)
        self.pid = self._program.pid
        end = time.monotonic() + PATIENCE
        while not os.path.exists(ports):
            if self._program.poll() is not None:
                self._listen()
                return False
            assert time.monotonic() < end, "the program does not start"
            time.sleep(0.005)
        with open(ports) as file:
            self._port = json.load(file)["submission"]
        return True

    def _listen(self, *wanted):
        self._is_dead(-self._program.wait(PATIENCE))

    def rest(self):
        """Until the queue is empty -> [], or None: the server died."""
        end = time.monotonic() + PATIENCE
        while self._program.poll() is None and self.left_behind():
            if time.monotonic() > end:
                raise Broken("the queue does not become empty\n" + self.way())
            time.sleep(0.005)
        if self._program.poll() is None:
            return []
        return self._listen()

    def stop(self):
        self.hang_up()
        self._program.terminate()
        self._listen()
