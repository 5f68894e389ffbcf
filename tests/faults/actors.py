"""The clients of the soak: each does small requests on the wire, tells the oracles what it asks and
what it was answered, and survives.

Each keeps to messages that only it changes: the IMAP client to alice's INBOX and Archive, the POP3
client to bob's INBOX, mbsync and the foreign program to mailboxes of their own. Connections end
whenever the machine likes; an answer that takes longer than PATIENCE from a server that was up all
the while is a broken promise too.
"""
import hashlib
import imaplib
import json
import os
import poplib
import random
import re
import smtplib
import socket
import subprocess
import threading
import time

from .machine import PASSPHRASE
from .oracle import make_message, read_message
from .readers import mailbox_uids

PATIENCE = 20
FLAG_SETS = ("", "\\Seen", "\\Seen \\Flagged", "\\Answered $Forwarded", "\\Draft Later")
LARGEST = 120       # messages in a mailbox, about
imaplib._MAXLINE = 10000000


class Gate:
    """Lets actors take their turns, or holds all of them back."""

    def __init__(self):
        self._condition = threading.Condition()
        self._inside = 0
        self.open = False

    def __enter__(self):
        with self._condition:
            while not self.open:
                self._condition.wait()
            self._inside += 1

    def __exit__(self, *_):
        with self._condition:
            self._inside -= 1
            self._condition.notify_all()

    def close(self):
        """Returns when nobody is inside."""
        with self._condition:
            self.open = False
            while self._inside:
                self._condition.wait()

    def let_in(self):
        with self._condition:
            self.open = True
            self._condition.notify_all()


class Actor(threading.Thread):
    """One client: `turn` does a request or a few; the thread ends with the soak."""

    pause = 0.01        # seconds between turns

    def __init__(self, soak, number=0):
        name = "%s%d" % (type(self).__name__, number)
        threading.Thread.__init__(self, name=name, daemon=True)
        self.soak, self.machine = soak, soak.machine
        self.dice = random.Random("%s %s" % (soak.seed, name))
        self.count = self.answered = self.failed = 0

    def run(self):
        while not self.soak.over:
            with self.soak.gate:
                self.safe_turn()
            self.soak.pause(self.pause)

    def safe_turn(self):
        server, began = self.machine.server, time.monotonic()
        try:
            self.turn()
            self.answered += 1
        except socket.timeout:
            self.hang_up()
            if server.poll() is None and not self.machine.layer.control.frozen:
                self.soak.blame("%s waited %d seconds for an answer"
                                % (self.name, time.monotonic() - began))
        except (OSError, imaplib.IMAP4.error, smtplib.SMTPException, poplib.error_proto,
                EOFError) as error:
            self.failed += 1
            self.tell(note="%s: %r" % (self.name, error))
            self.hang_up()
            self.soak.pause(0.05)
        except Exception:
            self.hang_up()
            self.soak.blame_exception(self.name)

    def turn(self):
        raise NotImplementedError

    def hang_up(self):
        """Lets go of a connection that is of no use any more."""

    def tell(self, user=None, **line):
        self.soak.tell(user, line)

    def new_message(self):
        self.count += 1
        token = "%s.%d" % (self.name, self.count)
        return token, make_message(token, self.dice)


class Deliverer(Actor):
    """LMTP to one user, or SMTP to one or both."""

    def __init__(self, soak, number, protocol):
        Actor.__init__(self, soak, number)
        self.protocol, self._connection = protocol, None

    def hang_up(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def turn(self):
        if self._connection is None:
            make = smtplib.LMTP if self.protocol == "lmtp" else smtplib.SMTP
            connection = make(
                local_hostname="client.example.net") if self.protocol == "smtp" else make()
            connection.timeout = PATIENCE
            connection.connect("127.0.0.1", self.machine.ports[self.protocol])
            self._connection = connection
        users = self.dice.choice((["alice"], ["bob"], ["alice", "bob"]))
        token, message = self.new_message()
        for user in users:
            self.tell(user, ask="deliver", token=token, mailbox="INBOX")
        if self.protocol == "lmtp":
            users = users[:1]
        self._connection.sendmail("sender@example.net", ["%s@example.org" % user for user in users],
                                  message)
        for user in users:
            self.tell(user, ok="deliver", token=token, mailbox="INBOX")
        if self.dice.random() < 0.1:
            self._connection.quit()
            self._connection = None


class ImapClient(Actor):
    """Appends, sets flags, copies, moves and expunges in alice's INBOX and Archive."""

    user = "alice"
    mailboxes = ("INBOX", "Archive")
    _connection = None

    def hang_up(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.shutdown()

    def turn(self):
        if self._connection is None:
            connection = imaplib.IMAP4("127.0.0.1", self.machine.ports["imap"])
            self._connection = connection
            connection.sock.settimeout(PATIENCE)
            connection.login(self.user + "@example.org", PASSPHRASE)
        name = self.dice.choice(self.mailboxes)
        self._do("select", name)
        self._at = name, int(self._connection.response("UIDVALIDITY")[1][0])
        uids = mailbox_uids(self._connection)
        for _ in range(self.dice.randint(1, 12)):
            if self.machine.layer.control.frozen:
                return
            verb = "expunge" if len(uids) > LARGEST else self.dice.choice(
                ("append", "store", "store", "copy", "move", "expunge"))
            if verb == "append" or not uids:
                self.append(uids)
            else:
                chosen = sorted(self.dice.sample(uids,
                                                 min(len(uids), self.dice.choice((1, 1, 3, 8)))))
                if verb != "store":
                    self.look(chosen)
                getattr(self, verb)(uids, chosen)

    def _do(self, command, *arguments):
        """One command; its data. A NO is an answer as well: it raises imaplib's error, and the
        connection is given up."""
        status, data = getattr(self._connection, command)(*arguments)
        if status != "OK":
            raise imaplib.IMAP4.error("%s: %s %r" % (command, status, data))
        return data

    def _keys(self, uids):
        return [list(self._at) + [uid] for uid in uids]

    def append(self, uids):
        token, message = self.new_message()
        flags = self.dice.choice(FLAG_SETS)
        self.tell(self.user, ask="deliver", token=token, mailbox=self._at[0])
        data = self._do("append", self._at[0], "(%s)" % flags,
                        imaplib.Time2Internaldate(1500000000 + self.count), message)
        validity, uid = re.search(rb"\[APPENDUID (\d+) (\d+)\]", data[-1]).groups()
        self.tell(self.user, ok="deliver", token=token, mailbox=self._at[0], validity=int(validity),
                  uid=int(uid),
                  digest=hashlib.sha256(message).hexdigest(), flags=flags.split())
        uids.append(int(uid))

    def look(self, chosen):
        """Which messages these are: the oracle may know them from a delivery only, which tells no
        UID."""
        tokens = []
        for item in self._do("uid", "FETCH", _set(chosen),
                             "(UID BODY.PEEK[HEADER.FIELDS (X-TOKEN)])"):
            if isinstance(item, tuple):
                uid = int(re.search(rb"UID (\d+)", item[0]).group(1))
                tokens.append(list(self._at) + [uid, item[1].split()[1].decode()])
        self.tell(self.user, saw="tokens", tokens=tokens)

    def store(self, uids, chosen):
        flags = self.dice.choice(FLAG_SETS)
        self.tell(self.user, ask="flags", keys=self._keys(chosen))
        self._do("uid", "STORE", _set(chosen), "FLAGS.SILENT", "(%s)" % flags)
        self.tell(self.user, ok="flags", set=[key + [flags.split()] for key in self._keys(chosen)])

    def copy(self, uids, chosen):
        self._transfer("copy", chosen)

    def move(self, uids, chosen):
        self._transfer("move", chosen)
        _drop_from(uids, chosen)

    def _transfer(self, verb, chosen):
        target = self.mailboxes[self._at[0] == self.mailboxes[0]]
        self.tell(self.user, ask=verb, keys=self._keys(chosen))
        data = self._do("uid", verb.upper(), _set(chosen), target)
        data = data + (self._connection.response("OK")[1]
                       or []) + (self._connection.response("COPYUID")[1] or [])
        found = re.search(rb"(?:COPYUID )?(\d+) ([\d:,]+) ([\d:,]+)",
                          b" ".join(part for part in data if part))
        if found:
            sources, targets = _expand(found.group(2)), _expand(found.group(3))
            self.tell(self.user, ok=verb, pairs=[[list(self._at) + [old],
                                                  [target, int(found.group(1)), new]]
                                                 for old, new in zip(sources, targets)])

    def expunge(self, uids, chosen):
        self.tell(self.user, ask="flags", keys=self._keys(chosen))
        self._do("uid", "STORE", _set(chosen), "+FLAGS.SILENT", "(\\Deleted)")
        self.tell(self.user, ask="remove", keys=self._keys(chosen))
        self._do("uid", "EXPUNGE", _set(chosen))
        self.tell(self.user, ok="remove", keys=self._keys(chosen))
        _drop_from(uids, chosen)


def _drop_from(uids, chosen):
    uids[:] = [uid for uid in uids if uid not in chosen]


def _set(uids):
    return ",".join(map(str, uids))


def _expand(text):
    uids = []
    for part in text.decode().split(","):
        first, _, last = part.partition(":")
        uids += range(int(first), int(last or first) + 1)
    return uids


class PopClient(Actor):
    """Fetches bob's mail, deletes some, and quits, or not."""

    pause = 0.2
    _connection = None

    def hang_up(self):
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def turn(self):
        connection = self._connection = poplib.POP3("127.0.0.1", self.machine.ports["pop3"],
                                                    timeout=PATIENCE)
        connection.user("bob@example.org")
        connection.pass_(PASSPHRASE)
        count = connection.stat()[0]
        wanted = self.dice.sample(range(1, count + 1), min(count, 5 if count < LARGEST else 60))
        tokens = []
        for number in wanted:
            seen = read_message(b"\r\n".join(connection.retr(number)[1]) + b"\r\n")
            if seen.trouble:
                self.soak.blame("POP3 served %s" % seen.trouble)
            tokens.append(seen.token)
            connection.dele(number)
        if self.dice.random() < 0.2:
            self.hang_up()          # no QUIT: nothing may be deleted
            return
        self.tell("bob", ask="discard", tokens=tokens)
        connection.quit()
        self.tell("bob", ok="discard", tokens=tokens)
        self.hang_up()


class Foreign(Actor):
    """Drops messages into alice's INBOX and Foreign, and flags in Foreign, by files alone."""

    pause = 0.08

    def turn(self):
        if self.dice.random() < 0.5:
            own = os.path.join(self.machine.mail_folder("alice"), ".Foreign")
            if self.machine.drop(do="flag", folder=own, seed=self.dice.random()) is None:
                raise OSError("the foreign program is gone")
            return
        self.drop_into(self.dice.choice(("INBOX", "Foreign")))

    def drop_into(self, mailbox):
        """One message, durably."""
        folder = self.machine.mail_folder("alice")
        place = os.path.join(folder, ".Foreign") if mailbox == "Foreign" else folder
        token, message = self.new_message()
        self.tell("alice", ask="deliver", token=token, mailbox=mailbox)
        answer = self.machine.drop(do="drop", folder=place, time=int(time.time()),
                                   message=message.replace(b"\r\n", b"\n").decode("latin-1"))
        if answer is None:
            raise OSError("the foreign program is gone")
        if "done" in answer:
            self.tell("alice", ok="deliver", token=token, mailbox=mailbox)


class Mbsync(Actor):
    """Runs mbsync: alice's INBOX comes down, messages made here go up into Pushed."""

    pause = 0.5

    def __init__(self, soak, program, folder):
        Actor.__init__(self, soak)
        self.program, self.folder = program, folder
        for name in ("down", "up"):
            for part in ("tmp", "new", "cur"):
                os.makedirs(os.path.join(folder, name, part))
        self._pushed = []

    def turn(self):
        for _ in range(self.dice.randint(0, 3)):
            token, message = self.new_message()
            self.tell("alice", ask="deliver", token=token, mailbox="Pushed")
            name = "%d.%s.here" % (int(time.time()), token)
            with open(os.path.join(self.folder, "up", "tmp", name), "wb") as file:
                file.write(message.replace(b"\r\n", b"\n"))
            os.rename(os.path.join(self.folder, "up", "tmp", name),
                      os.path.join(self.folder, "up", "new", name))
            self._pushed.append(token)
        full = self.soak.full_times
        status, output = self.sync()
        if status:
            raise OSError("mbsync: %d %s" % (status, output[-300:]))
        # Of a message that was refused mbsync's status says nothing, only its output does.
        if full == self.soak.full_times and full % 2 == 0 and "returned an error" not in output:
            for token in self._pushed:
                self.tell("alice", ok="deliver", token=token, mailbox="Pushed")
        self._pushed = []

    def sync(self):
        """One run of mbsync: (exit status, its output)."""
        path = os.path.join(self.folder, "mbsyncrc")
        with open(path, "w") as file:
            file.write(_MBSYNC % dict(port=self.machine.ports["imap"], folder=self.folder,
                                      passphrase=PASSPHRASE))
        process = subprocess.Popen([self.program, "-c", path, "-a"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=dict(os.environ, HOME=self.folder))
        try:
            output, _ = process.communicate(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise socket.timeout()
        return process.returncode, output.decode("utf-8", "replace")

    def tokens(self):
        """The tokens of what came down; damaged messages are blamed."""
        found = set()
        for part in ("new", "cur"):
            folder = os.path.join(self.folder, "down", part)
            for name in os.listdir(folder):
                with open(os.path.join(folder, name), "rb") as file:
                    seen = read_message(file.read().replace(b"\n", b"\r\n"))
                if seen.trouble:
                    self.soak.blame("mbsync has a message in which %s" % seen.trouble)
                found.add(seen.token)
        return found


_MBSYNC = """
IMAPAccount far
Host 127.0.0.1
Port %(port)d
User alice@example.org
Pass %(passphrase)s
SSLType None
Timeout 20

IMAPStore far
Account far

MaildirStore near
Path %(folder)s/
Inbox %(folder)s/down
SubFolders Verbatim

Channel down
Far :far:INBOX
Near :near:down
Sync Pull
SyncState *
Expunge None
Create None
CopyArrivalDate no

Channel up
Far :far:Pushed
Near :near:up
Sync Push
SyncState *
Expunge None
Create None
"""


class Administrator(Actor):
    """Adds users with the command line beside the live server."""

    pause = 1.5

    def turn(self):
        self.count += 1
        address = "user%d@example.org" % self.count
        status, output = self.machine.word("user", "add", address, typed="secret\n")
        self.tell(note="user add %s: %d %s" % (address, status, json.dumps(output[-200:])))
        if status == 0:
            self.soak.users.append(address)
