"""A NOTIFY client that only listens knows what a fresh client sees.

Two other sessions, one of them in "another process" (a store of its own), and programs that change
the files do random things; so does the client itself. Then it must have the same mailboxes,
subscriptions, numbers and messages as a client that asks for everything.
"""
import os
import random
import re
import shutil

import pytest

from phenmail_protocols.store.filestore import FileStore

from . import wire

LETTER = b"From: a@b\r\n\r\nx\r\n"
NAMES = ("INBOX", "Sent", "a", "a/b", "a/b/c", "b", "b/b", "c")
FLAGS = ("\\Seen", "\\Seen", "\\Flagged", "$One")
EVENTS = "MessageNew%s MessageExpunge FlagChange"
NOTIFY = "NOTIFY SET STATUS (personal (%s MailboxName SubscriptionChange)) (%s (%s))"
ITEMS = ("MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ")


class Gone(Exception):
    """The selected mailbox was deleted, so the server closed the connection."""


def asked(ask, *arguments):
    """`ask(*arguments)`, a client's `ask` or `append`; raises Gone."""
    try:
        return ask(*arguments)
    except OSError:
        raise Gone from None
    except AssertionError as error:
        if "* BYE" not in str(error):
            raise
        raise Gone from None


class Model:
    """What the client knows.

    mailboxes   {name: {STATUS item: number}}; an item that it cannot know is missing
    subscribed  names
    selected    the name of the selected mailbox, or None
    messages    [UID, flags] of each message there; None until they are fetched
    """

    def __init__(self, client, delayed):
        self.client = client
        self.subscribed, self.mailboxes = set(), {}
        self.selected, self.messages = None, []
        client.ok("ENABLE CONDSTORE")
        self.take(client.ok('LIST "" * RETURN (SUBSCRIBED)'))
        self.take(client.ok('LIST (SUBSCRIBED) "" *'))
        self.take(client.ok(NOTIFY % (EVENTS % "", "selected-delayed" if delayed else "selected",
                                      EVENTS % " (UID FLAGS)")))

    def do(self, command):
        lines = asked(self.client.ask, command)
        self.take(lines)
        return lines[-1].startswith(b"OK")

    def take(self, lines):
        for line in lines:
            for pattern, method in self.PATTERNS:
                found = re.match(pattern, line.decode("ascii"))
                if found:
                    method(self, *found.groups())

    def _list(self, attributes, name, old):
        if old is not None:
            self.rename(old, name)
        if "\\NonExistent" in attributes:
            self.mailboxes.pop(name, None)
        else:
            self.mailboxes.setdefault(name, {})
        (self.subscribed.add if "\\Subscribed" in attributes else self.subscribed.discard)(name)

    def rename(self, old, new):
        for name in [each for each in self.mailboxes if (each + "/").startswith(old + "/")]:
            self.mailboxes[new + name[len(old):]] = self.mailboxes.pop(name)
            if name == self.selected:
                self.selected = new + name[len(old):]

    def _status(self, name, numbers):
        words = numbers.split()
        assert name != self.selected
        self.mailboxes[name].update(zip(words[::2], map(int, words[1::2])))

    def _exists(self, count):
        assert int(count) >= len(self.messages)
        self.messages += [None] * (int(count) - len(self.messages))

    def _expunge(self, number):
        del self.messages[int(number) - 1]

    def _fetch(self, number, uid, flags):
        self.messages[int(number) - 1] = [int(uid), set(flags.split()) - {"\\Recent"}]

    PATTERNS = (
        (r'\* LIST \((.*?)\) "/" (\S+)(?: \("OLDNAME" \((\S+)\)\))?$', _list),
        (r"\* STATUS (\S+) \((.*)\)$", _status), (r"\* (\d+) EXISTS", _exists),
        (r"\* (\d+) EXPUNGE", _expunge), (r"\* (\d+) FETCH \(UID (\d+) FLAGS \((.*?)\)", _fetch))

    # What the client does itself

    def act(self, dice):
        name, other = dice.choice(NAMES), dice.choice(NAMES)
        kind = dice.randrange(9)
        if kind < 2:
            self.do("NOOP")  # so that nothing about the mailbox arrives after it is left
        if kind == 0:
            self._leave()
            self.messages = []
            if self.do("SELECT " + name):
                self.selected = name
                self.do("UID FETCH 1:* FLAGS")
        elif kind == 1 and self.selected:
            self.do("UNSELECT")
            self._leave()
        elif kind == 2 and self.do("CREATE " + name):
            self.mailboxes[name] = {}
            self.ask_status(name)
        elif kind == 3 and name != self.selected and self.do("DELETE " + name):
            self.mailboxes.pop(name, None)
        elif kind == 4 and name != "INBOX" and self.do("RENAME %s %s" % (name, other)):
            self.rename(name, other)
        elif kind == 5:
            unsubscribe = dice.random() < .5
            self.do("%sSUBSCRIBE %s" % ("UN" * unsubscribe, name))
            (self.subscribed.discard if unsubscribe else self.subscribed.add)(name)
        elif kind == 6:
            self.take(asked(self.client.append, LETTER, name))
            self._take_own(name)
        elif kind == 7 and self.messages:
            if self.do("UID COPY %d %s" % (dice.choice(self.messages)[0], name)):
                self._take_own(name)
        elif self.messages:
            self.do("UID STORE %d %sFLAGS (%s)" % (
                dice.choice(self.messages)[0], dice.choice("+-"), dice.choice(FLAGS)))

    def _take_own(self, name):
        """The client made messages itself, which are not announced."""
        if name != self.selected:
            self.ask_status(name)
        elif None in self.messages:
            self.do("UID FETCH 1:* FLAGS")

    def _leave(self):
        """Of the mailbox that was selected, some items are unknown until they are announced."""
        if self.selected is not None:
            numbers = self.mailboxes[self.selected]
            numbers.update(MESSAGES=len(self.messages), UNSEEN=sum(
                ["\\Seen" not in flags for _, flags in self.messages]))
            for item in ("UIDNEXT", "HIGHESTMODSEQ"):
                numbers.pop(item, None)
            self.selected, self.messages = None, []

    def ask_status(self, name):
        if name in self.mailboxes:
            self.do("STATUS %s (%s)" % (name, " ".join(ITEMS)))

    def check(self, fresh):
        """Compare with what a client sees that asks for everything."""
        mailboxes, subscribed = set(), set()
        for attributes, name in _listed(fresh.ok('LIST "" * RETURN (SUBSCRIBED)')):
            if "\\NonExistent" not in attributes:
                mailboxes.add(name)
        for _, name in _listed(fresh.ok('LIST (SUBSCRIBED) "" *')):
            subscribed.add(name)
        assert (set(self.mailboxes), self.subscribed) == (mailboxes, subscribed)
        for name in mailboxes - {self.selected}:
            line = fresh.ok("STATUS %s (%s)" % (name, " ".join(ITEMS)))[0].decode()
            words = line[line.index("(") + 1:-1].split()
            numbers = dict(zip(words[::2], map(int, words[1::2])))
            known = self.mailboxes[name]
            if not known and not numbers["MESSAGES"]:
                continue  # a new mailbox: nothing is announced until it has messages
            if numbers["UIDNEXT"] == 1:  # a keyword that was added to no message counts
                known.pop("HIGHESTMODSEQ", None)
            assert known == {item: numbers[item] for item in known}, name
            assert {"MESSAGES", "UNSEEN"} <= set(known), name
        if self.selected is not None:
            fresh.ok("EXAMINE " + self.selected)
            found = [re.match(r"\* \d+ FETCH \(UID (\d+) FLAGS \((.*?)\)", line.decode()).groups()
                     for line in fresh.ok("UID FETCH 1:* FLAGS") if b"FETCH" in line]
            assert self.messages == [
                [int(uid), set(flags.split()) - {"\\Recent"}] for uid, flags in found]
            fresh.ok("UNSELECT")


def _listed(lines):
    for line in lines:
        attributes, name = re.match(rb'\* LIST \((.*?)\) "/" (\S+)', line).groups()
        yield attributes.decode(), name.decode()


def disturb(client, dice):
    """What another session does; raises Gone."""
    name, other = dice.choice(NAMES), dice.choice(NAMES)
    kind = dice.randrange(10)
    if kind < 3:
        asked(client.append, LETTER, name, "(%s)" % dice.choice(FLAGS))
        return
    command = {3: "CREATE " + name, 4: "DELETE " + name, 5: "RENAME %s %s" % (name, other),
               6: "SUBSCRIBE " + name, 7: "UNSUBSCRIBE " + name}.get(kind)
    commands = [command] if command else ["SELECT " + name, dice.choice((
        "UID STORE %d:%d +FLAGS (%s)" % (dice.randrange(1, 5), dice.randrange(1, 9),
                                         dice.choice(FLAGS)),
        "UID STORE 1:* -FLAGS (%s)" % dice.choice(FLAGS),
        "UID STORE %d +FLAGS (\\Deleted)" % dice.randrange(1, 9),
        "UID MOVE %d:%d %s" % (dice.randrange(1, 5), dice.randrange(1, 9), other))), "CLOSE"]
    for command in commands:
        if not asked(client.ask, command)[-1].startswith(b"OK"):
            break


class Files:
    """What other programs do to the files. Each change of a folder has a time of its own, because
    changes within the clock's grain are noticed only later."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def disturb(self, dice):
        boxes = [self.folder] + [os.path.join(self.folder, name)
                                 for name in sorted(os.listdir(self.folder))
                                 if name.startswith(".") and os.path.isdir(
                                     os.path.join(self.folder, name, "cur"))]
        box, kind = dice.choice(boxes), dice.randrange(6)
        new, cur = os.path.join(box, "new"), os.path.join(box, "cur")
        self.count += 1
        if kind < 2:
            with open("%s/17000%05d.%d.files" % (new, self.count, self.count), "wb") as file:
                file.write(LETTER.replace(b"\r", b""))
            self._touch(new)
        elif kind == 2 and os.listdir(new):
            name = dice.choice(sorted(os.listdir(new)))
            os.rename(os.path.join(new, name), "%s/%s:2,%s" % (cur, name, dice.choice(("", "S"))))
            self._touch(new)
            self._touch(cur)
        elif kind == 3 and os.listdir(cur):
            os.unlink(os.path.join(cur, dice.choice(sorted(os.listdir(cur)))))
            self._touch(cur)
        elif box != self.folder:
            if kind == 4:
                os.rename(box, self.folder + "/gone")  # or the server may add a file meanwhile
                shutil.rmtree(self.folder + "/gone")
            else:
                target = os.path.join(self.folder, "." + dice.choice(NAMES[2:]).replace("/", "."))
                if not os.path.exists(target):
                    os.rename(box, target)
        else:
            made = os.path.join(self.folder, "." + dice.choice(NAMES[2:]).replace("/", "."))
            for part in ("tmp", "new", "cur"):
                os.makedirs(os.path.join(made, part), exist_ok=True)
        self._touch(self.folder)

    def _touch(self, folder):
        os.utime(folder, ns=(0, (10 ** 9 + self.count) * 10 ** 9))


@pytest.fixture
def elsewhere(tmp_path):
    store = FileStore(poll=3600)
    yield wire.server(store, tmp_path / "mail")
    store.close()


class Others:
    """The two other sessions, and the files."""

    def __init__(self, connect, elsewhere, folder):
        self._connect = [lambda: connect(None), lambda: connect(None, server=elsewhere)]
        self._clients = [make() for make in self._connect]
        self._files = Files(folder)

    def disturb(self, dice):
        chosen = dice.randrange(8)
        if chosen == 0:
            self._files.disturb(dice)
            return
        try:
            disturb(self._clients[chosen % 2], dice)
        except Gone:
            self._clients[chosen % 2] = self._connect[chosen % 2]()


@pytest.mark.parametrize("seed", range(40))
def test_a_client_that_listens_knows_everything(connect, elsewhere, store, tmp_path, seed):
    dice, folder = random.Random(seed), str(tmp_path / "mail")
    delayed = dice.random() < .3
    others = Others(connect, elsewhere, folder)
    model = Model(connect(None), delayed)
    account = store.account(folder)
    for _ in range(12):
        try:
            for _ in range(dice.randint(0, 4)):
                others.disturb(dice)
                if dice.random() < .3:
                    model.do("NOOP")
            if dice.random() < .7:
                model.act(dice)
            for _ in range(2):  # a mailbox is polled by a new name once the client knows it
                for each in account.open_mailboxes() + [account]:
                    store._poller._look(each)
                model.do("NOOP")
            model.check(connect(None))
        except Gone:
            model = Model(connect(None), delayed)
