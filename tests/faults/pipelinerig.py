"""`relayrig` for mail that ends here: users with filters, programs, plugins, forwards, drop
folders; one next hop takes what leaves."""
import collections
import json
import os
import smtplib
from typing import NamedTuple, Tuple

from phenmail_protocols.accounts.authorization import EXTERNAL_MDA, Authorizations

from .oracle import make_message
from .pipelineoracle import Content, PipelineOracle
from .relayrig import PATIENCE, RelayRig
from .rig import Broken

WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipelineworker.py")
SHIFT = 2       # seconds that the server's clock is ahead, so that what is dropped has rested
WRITERS = 7

# What a program does: it keeps what it gets, in one rename; "later" has it say so once for each
# message, "never" for good.
AGENT = """#!/bin/sh
part=$(mktemp "$1/part.XXXXXX") || exit 75
cat >"$part" || exit 75
if [ "$2" = later ]; then
    asked="$1/asked.$(sed -n 's/^X-Token: //p' "$part")"
    if [ ! -e "$asked" ]; then
        : >"$asked"
        rm "$part"
        exit 75
    fi
fi
if [ "$2" = never ]; then
    rm "$part"
    exit 69
fi
mv "$part" "$1/got.${part##*/}"
"""


class Kind(NamedTuple):
    """A kind of message: its recipients (local parts here), the words for filters, and all the ends
    that it comes to; `drop`: in whose drop folder it is left instead."""
    recipients: Tuple[str, ...]
    words: str
    ends: Tuple[str, ...]
    drop: str = ""


KINDS = {
    "filed": Kind(("sorted",), "flag copy file", ("sorted in made", "copied@far.example")),
    "copied": Kind(("sorted",), "copy", ("sorted", "copied@far.example")),
    "sent on": Kind(("sorted",), "forward", ("forwarded@far.example",)),
    "discarded": Kind(("sorted",), "discard", ()),
    "linked": Kind(("kept", "second", "third"), "", ("kept", "second", "third")),
    "agent": Kind(("agent", "slow"), "", ("program", "slow program")),
    "failing agent": Kind(("never",), "", ("told of never@example.org",)),
    "plugin": Kind(("plugin", "slowplugin"), "", ("plugin", "slow plugin")),
    "forward": Kind(("onward",), "", ("onward@far.example",)),
    "dropped": Kind((), "", ("kept",), "kept"),
    "dropped and filed": Kind((), "flag copy file", ("sorted in made", "copied@far.example"),
                              "sorted"),
    "external MDA": Kind(("outside",), "", ("external MDA",)),
    "vacation": Kind(("away",), "", ("away",)),
    "mixed": Kind(("kept", "sorted", "agent", "plugin", "onward", "outside", "away"), "copy",
                  ("kept", "sorted", "copied@far.example", "program", "plugin",
                   "onward@far.example", "external MDA", "away")),
}
USERS = ("kept", "second", "third", "sorted", "away", "outside", "author")
# Recipients that wait in the queue, and how their delivery ends.
_ENDS = {"agent": "program", "slow": "slow program", "never": "told of never@example.org",
         "plugin": "plugin",
         "slowplugin": "slow plugin", "onward": "onward@far.example", "outside": "external MDA"}


class PipelineRig(RelayRig):
    """`send_kind` brings a message of one of KINDS. `brought`: how many of each; `halves`:
    programs that got a part, when the server died while it wrote."""

    worker, make_oracle = WORKER, PipelineOracle

    def _make_root(self):
        work = os.path.dirname(self.layer.journal_path)
        self._keeper = os.path.join(self.layer.root, "keeper")
        os.mkdir(self._keeper)
        self._programs = os.path.join(work, "programs")
        self.brought, self.halves = collections.Counter(), 0
        self._boxes = 0
        commands = self._make_programs()
        self._make_device(dict({
            "sender-domain": "example.org",
            "domains": {"example.org": {
                "kept": "/kept/mail", "second": "/second/mail", "third": "/third/mail",
                "sorted": "/sorted/mail", "away": "/away/mail",
                "outside": "/outside/mail", "author": "/author/mail", "postmaster": ":author",
                "abuse": ":author",
                "agent": ">" + commands["program"], "slow": ">" + commands["slow program"],
                "never": ">" + commands["never"],
                "plugin": ".keeper", "slowplugin": ".keeper later",
                "onward": ">onward@far.example"}},
            "hosted": {"server": "127.0.0.1", "port": self.hops.port, "require-tls": False,
                       "require-authentication": False},
            "smtp": {"listen": [{"host": "127.0.0.1", "port": 0, "tls": "none"}]},
            "relay": False, "imap": False, "pop": False, "limits": {"disk-reserve": 0}},
            **({} if os.geteuid() else {"run-as": "nobody"})))
        own = os.path.dirname(self.queue)
        leave = Authorizations(own).sign("outside", EXTERNAL_MDA, commands["external MDA"])
        for user in USERS:
            self._make_user(user, **({"external-MDA": commands["external MDA"],
                                      "authorization": leave} if user == "outside" else {}))
        self.drop_folders = [os.path.join(self._mail(user), "delivery")
                             for user in ("kept", "sorted")]
        for folder in self.drop_folders:
            os.mkdir(folder)
        self._write_filters("away", [{"type": "vacation", "text": "I am away",
                                      "addresses": ["user@example.org"],
                                      "period": "300 days"}])
        self._new_box()
        self._shift = SHIFT
        self.layer.shift_clock(self._shift)

    def _mail(self, user):
        return os.path.join(self.layer.root, user, "mail")

    def _make_programs(self):
        """-> {name: command}. They run as nobody where we are root, so all may come to where they
        write."""
        script = os.path.join(os.path.dirname(self._programs), "agent")
        with open(script, "w") as file:
            file.write(AGENT)
        os.chmod(script, 0o755)
        commands = {}
        os.mkdir(self._programs)
        for name in ("program", "slow program", "never", "external MDA"):
            folder = os.path.join(self._programs, name.replace(" ", "-"))
            os.mkdir(folder)
            os.chmod(folder, 0o777)
            commands[name] = "%s %s %s" % (script, folder,
                                           {"slow program": "later",
                                            "never": "never"}.get(name, "now"))
        if not os.geteuid():
            _let_through(self._programs)
        return commands

    def _write_filters(self, user, filters):
        with open(os.path.join(self._mail(user), "filters.jcfg"), "w") as file:
            json.dump({"filters": filters}, file)

    def _new_box(self):
        """The mailbox into which mail is filed is another one from now on, so that it has to be
        made."""
        self._boxes += 1
        actions = [("flag", "flag:\\Flagged"), ("copy", "copy:copied@far.example"),
                   ("file", "accept:made/%d" % self._boxes),
                   ("forward", "forward:forwarded@far.example"), ("discard", "discard")]
        self._write_filters("sorted", [{"type": "match", "header": "X-Do", "content": word,
                                        "action": action}
                                       for word, action in actions])

    # The server's life.

    def start(self, **job):
        if self.pid is None and os.path.isdir(os.path.join(self._mail("sorted"),
                                                           ".made.%d" % self._boxes)):
            self._new_box()
            if self._disk is not None:
                self.watch_disk()
        return super().start(keeper=self._keeper, **job)

    # Mail.

    def send_kind(self, name):
        """Bring one message of a kind -> whether it was accepted; None: the server died before it
        said so."""
        kind = KINDS[name]
        self.messages += 1
        token = "%s.%d" % (self.name, self.messages)
        message = b"X-Do: %s\r\n" % kind.words.encode("ascii") + make_message(
            token, self.dice, self.dice.choice(self.sizes))
        writer = "writer-%d@far.example" % self.dice.randint(1, WRITERS)
        self.oracle.submit(token, kind.ends)
        self._note("%s, %s, from %s" % (token, name, writer))
        if kind.drop:
            self._order(do="drop", folder=os.path.join(self._mail(kind.drop), "delivery"),
                        message=message.decode("ascii"))
            is_accepted = self._listen("dropped") and True
        else:
            is_accepted = self._submit(writer, ["%s@example.org" % local
                                                for local in kind.recipients], message)
        if is_accepted:
            self.brought[name] += 1
            self.oracle.answer(token, True, writer if "away" in kind.recipients else None)
        elif is_accepted is False:
            raise Broken("%s was refused\n%s" % (token, self.way()))
        return is_accepted

    def _submit(self, writer, recipients, message):
        try:
            if self._client is None:
                self._client = smtplib.SMTP("127.0.0.1", self._port, "client.example.net", PATIENCE)
                self._client.ehlo()
            code, text = self._client.mail(writer)
            for address in recipients:
                if code == 250:
                    code, text = self._client.rcpt(address)
            if code == 250:
                code, text = self._client.data(message)
        except (OSError, smtplib.SMTPException):
            self._listen("exit")
            return None
        self._note("%d %s" % (code, text))
        return code == 250

    # Checks.

    def check(self):
        self._read_mailboxes()
        broken = self.oracle.settled() + ["%s is left in the queue's folder" % name
                                          for name in self.left_behind()]
        if self._waiting_in_drop_folders():
            broken.append("something is left in the drop folders")
        if broken:
            raise Broken("%s\n%s" % ("\n".join(broken), self.way()))

    def half_files(self):
        """Paths of files below the root that somebody began and nobody named."""
        return sorted(os.path.relpath(os.path.join(path, name), self.layer.root) for path, _,
                      names in os.walk(self.layer.root)
                      for name in names if os.path.basename(path) == "tmp" or name.endswith(".tmp"))

    def _hear(self, octets, recipients, sender):
        content = Content(octets)
        with self._lock:
            self._note("hop: %s %s from <%s> for %s"
                       % (content.token, "notice" if content.failed else "", sender, recipients))
            for address in recipients:
                if address == "onward@far.example" and not sender.startswith("SRS0="):
                    content.trouble = "a forwarded message of the sender " + sender
                self.oracle.hear(content, address)

    def _read_mailboxes(self):
        for user in USERS:
            for name in sorted(os.listdir(self._mail(user))):
                if name in ("new", "cur") or name.startswith(".made."):
                    for part in ((name,) if name in ("new", "cur")
                                 else (name + "/new", name + "/cur")):
                        self._read_folder(os.path.join(user, "mail", part),
                                          user if name in ("new", "cur") else user + " in made")
        self._read_folder("keeper", "plugin")
        for name in os.listdir(self._programs):
            self._read_programs_folder(name)

    def _new_names(self, folder):
        if not os.path.isdir(folder):
            return
        for name in sorted(os.listdir(folder)):
            if (folder, name) not in self._seen:
                self._seen.add((folder, name))
                yield name

    def _read_folder(self, path, end):
        folder = os.path.join(self.layer.root, path)
        for name in self._new_names(folder):
            if end == "plugin" and not name.endswith(".eml"):
                continue
            content, octets = self._content(os.path.join(folder, name))
            if end.endswith("made") and "F" not in name.rpartition(":2,")[2]:
                content.trouble = "the message in %s/%s has not the flag that its filter gives" % (
                    path, name)
            place = end
            if b"\nDelivered-To: slowplugin@" in octets[:2000]:
                place = "slow plugin"
            self._tell(content, place)

    def _read_programs_folder(self, name):
        folder = os.path.join(self._programs, name)
        for each in self._new_names(folder):
            if each.startswith("got."):
                content, _ = self._content(os.path.join(folder, each))
                if content.trouble and self.pid is None:
                    self.halves += 1    # as agents.py says: the whole of it comes again
                else:
                    self._tell(content, name.replace("-", " "))

    def _content(self, path):
        with open(path, "rb") as file:
            octets = file.read()
        return Content(octets.replace(b"\n", b"\r\n")), octets

    def _tell(self, content, end):
        with self._lock:
            self._note("%s: %s" % (end, content.token))
            self.oracle.hear(content, end)

    def _read_queue(self):
        """What is to come by the disk: Counter of (token, end)."""
        waiting = collections.Counter()
        for message, octets in self._queued():
            content = Content(octets)
            for recipient in message.recipients:
                if recipient.status == "waiting":
                    waiting.update((content.token, end)
                                   for end in content.ends(self._end_of(recipient)))
                if recipient.owed:
                    waiting[content.token, "told of " + str(recipient.address)] += 1
        waiting.update(self._waiting_in_drop_folders())
        return waiting

    def _end_of(self, recipient):
        if recipient.via.startswith("to "):
            return recipient.via[3:]
        return _ENDS[recipient.address.local] if recipient.via == "local" else str(
            recipient.address)

    def _waiting_in_drop_folders(self):
        """[(token, end)]."""
        waiting = []
        for folder in self.drop_folders:
            for name in os.listdir(folder):
                if not name.startswith("."):
                    with open(os.path.join(folder, name), "rb") as file:
                        content = Content(file.read())
                    waiting += [(content.token, end) for end in self.oracle.ends(content.token)]
        return waiting


def _let_through(folder):
    """Everybody may go through a folder and those above it, for which no right to see what is in
    them is needed."""
    while folder != os.path.dirname(folder):
        mode = os.stat(folder).st_mode
        if not mode & 0o001:
            os.chmod(folder, mode & 0o7777 | 0o011)
        folder = os.path.dirname(folder)
