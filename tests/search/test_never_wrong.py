"""SEARCH with the index finds what a naive scan finds, whatever happens in between."""
import os
import random
import re
import shutil
import time
from types import SimpleNamespace

import pytest

from phenmail_protocols.imap.fetching import derivations
from phenmail_protocols.imap.searching import search_bounds
from phenmail_protocols.mail import textsearch
from phenmail_protocols.search import batches, building, database
from phenmail_protocols.search.indexes import Indexes
from phenmail_protocols.store.deriving import derivation
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.idle_work import IdleWork
from phenmail_protocols.store.indexing import index
from phenmail_protocols.store.maildir import uidlist
from phenmail_protocols.store.maildir.content import to_wire
from phenmail_protocols.store.rescanning import rescan
from tests.imap import wire

from .letters import Letter, key

TOKEN = re.compile(rb"X-Token: (\S+)")
SUFFIXES = ("", "-wal", "-shm")


class House:
    """A server on a mail folder, as two processes have it: two stores, two indexes, two clients."""

    def __init__(self, folder, seed):
        self.chance = random.Random(seed)
        self.folder = str(folder / "mail")
        self.letters = {}  # token -> Letter
        self.said = []  # for a failure
        self.processes = []
        self.open()

    def open(self):
        for _ in range(2):
            store = FileStore(poll=3600, boot_id="boot 1")
            derive = derivation.Derivation(derivations.derive, "1", lambda: None)
            indexes = Indexes(IdleWork(None))  # never woken: the test calls the step
            server = wire.server(store, self.folder, search_indexes=indexes)
            self.processes.append(SimpleNamespace(
                store=store, indexes=indexes, derive=derive, server=server,
                account=store.account(self.folder)))

    def close(self):
        for process in self.processes:
            process.store.close()
            process.indexes.close()
        self.processes = []

    @property
    def process(self):
        return self.chance.choice(self.processes)

    @property
    def account(self):
        return self.process.account

    def names(self):
        return [info.name for info in self.account.mailboxes() if info.selectable]

    def path(self, name):
        return os.path.join(self.folder, "" if name == "INBOX" else "." + name)

    def letter(self, size=None):
        token = "token%de" % len(self.letters)
        if size is None:
            size = self.chance.choice((5, 5, 12, 12, 200))
            if self.chance.random() < 0.01:
                size = 20000
        self.letters[token] = letter = Letter(self.chance, token, size)
        return letter

    def files(self, name):
        return [entry.path for part in ("new", "cur")
                for entry in os.scandir(os.path.join(self.path(name), part))]

    # What happens

    def deliver(self):
        account = self.account
        for _ in range(self.chance.randint(1, 5)):
            with account.stage() as staged:
                staged.write(self.letter().wire)
                account.deliver(self.chance.choice(self.names()), staged)

    def drop(self):
        """Another program delivers."""
        name = self.chance.choice(self.names())
        wire_form = self.letter().wire
        if self.chance.random() < 0.5:
            wire_form = wire_form.replace(b"\r\n", b"\n")
        path = os.path.join(self.path(name), "new", "%d.M%dP1.host" % (
            time.time(), self.chance.randrange(10**9)))
        with open(path, "wb") as file:
            file.write(wire_form)

    def remove_file(self):
        files = self.files(self.chance.choice(self.names()))
        if files:
            os.unlink(self.chance.choice(files))

    def rename_file(self):
        files = self.files(self.chance.choice(self.names()))
        if files:
            path = self.chance.choice(files)
            base = os.path.basename(path).split(":")[0]
            os.rename(path, os.path.join(os.path.dirname(os.path.dirname(path)), "cur",
                                         base + ":2," + self.chance.choice(("", "S", "FS"))))

    def change_file(self):
        """Somebody edits a message, in place or in a new file.

        It may not grow, because a message is served with its first size.
        """
        paths = self.files(self.chance.choice(self.names()))
        if not paths:
            return
        path = self.chance.choice(paths)
        letter = self.letter(5)
        if len(to_wire(letter.wire)) <= os.path.getsize(path):
            if self.chance.random() < 0.5:
                os.unlink(path)
            with open(path, "wb") as file:
                file.write(letter.wire)

    def expunge(self):
        with wire.Client(self.process.server) as client:
            client.log_in(self.chance.choice(self.names()))
            client.ask("STORE %d +FLAGS.SILENT (\\Deleted)" % self.chance.randint(1, 9))
            client.ask("STORE %d +FLAGS.SILENT (\\Deleted)" % self.chance.randint(1, 9))
            client.ok("EXPUNGE")

    def move(self):
        with wire.Client(self.process.server) as client:
            client.log_in(self.chance.choice(self.names()))
            client.ask("%s 1:%d %s" % (self.chance.choice(("COPY", "MOVE")),
                                       self.chance.randint(1, 4), self.chance.choice(self.names())))

    def create(self):
        with wire.Client(self.process.server) as client:
            client.log_in()
            client.ask("CREATE box%d" % self.chance.randint(1, 3))

    def delete(self):
        with wire.Client(self.process.server) as client:
            client.log_in()
            client.ask("DELETE box%d" % self.chance.randint(1, 3))

    def rename(self):
        with wire.Client(self.process.server) as client:
            client.log_in()
            client.ask("RENAME box%d box%d" % (
                self.chance.randint(1, 3), self.chance.randint(1, 3)))

    def copy_folder(self):
        """Someone copies a folder by hand, with its UIDs."""
        source = self.path("box%d" % self.chance.randint(1, 3))
        target = self.path("box%d" % self.chance.randint(1, 3))
        if os.path.isdir(source) and not os.path.exists(target):
            shutil.copytree(source, target)

    def swap_folder(self):
        """An older copy of a folder takes its place, and the store's index is lost."""
        path = self.path("box%d" % self.chance.randint(1, 3))
        if os.path.isdir(path) and os.path.isdir(path[:-4] + "old"):
            shutil.rmtree(path)
            shutil.copytree(path[:-4] + "old", path)
            self.lose_index()

    def keep_folder(self):
        path = self.path("box%d" % self.chance.randint(1, 3))
        if os.path.isdir(path) and not os.path.exists(path[:-4] + "old"):
            shutil.copytree(path, path[:-4] + "old")

    def remove_folder(self):
        shutil.rmtree(self.path("box%d" % self.chance.randint(1, 3)), ignore_errors=True)

    def lose_index(self):
        for suffix in SUFFIXES:
            path = os.path.join(self.folder, index.FILE + suffix)
            if os.path.exists(path):
                os.unlink(path)

    def lose_search(self):
        for suffix in self.chance.choice((SUFFIXES, ("",))):
            path = os.path.join(self.folder, database.FILE + suffix)
            if os.path.exists(path):
                os.unlink(path)

    def keep_search(self):
        path = os.path.join(self.folder, database.FILE)
        if os.path.exists(path):
            shutil.copy(path, path + ".older")

    def replace_search(self):
        path = os.path.join(self.folder, database.FILE)
        if os.path.exists(path + ".older"):
            os.rename(path + ".older", path)

    def restart(self):
        self.close()
        self.open()

    def restore_search(self):
        """An older copy comes back while no server runs."""
        self.close()
        path = os.path.join(self.folder, database.FILE)
        if os.path.exists(path + ".older"):
            shutil.copy(path + ".older", path)
        self.open()

    def work(self):
        process = self.process
        for _ in range(self.chance.choice((1, 2, 5, 30))):
            if not process.indexes.step(process.account):
                return

    def work_all(self):
        process = self.process
        while process.derive(process.account):
            pass
        for _ in range(200):
            if not process.indexes.step(process.account):
                return

    # What is asked

    def tokens(self, mailbox):
        """{uid: token}, from the files."""
        found = {}
        for uid, content in mailbox.contents(list(mailbox.state().uids)):
            if content is not None:
                with content:
                    found[uid] = TOKEN.search(content.whole()).group(1).decode()
        return found

    def ask(self):
        process, name = self.process, self.chance.choice(self.names())
        with wire.Client(process.server) as client:
            client.log_in(name)
            mailbox = process.account.open(name)
            tokens = self.tokens(mailbox)
            mailbox.close()
            here = [self.letters[token] for token in tokens.values()]
            for _ in range(8):
                command, matches = self.query(here)
                lines = client.ok(b"UID SEARCH CHARSET UTF-8 " + command)
                found = sorted(map(int, lines[0].split()[2:]))
                expected = sorted(uid for uid in tokens if matches(self.letters[tokens[uid]]))
                assert found == expected, (name, command, self.said)

    def query(self, here):
        """(octets of a SEARCH key, the same as a function of a Letter)"""
        words = [(key(self.chance, here), self.chance.random() < 0.5) for _ in range(2)]
        (one, first), (two, second) = [
            (b"%s {%d+}\r\n%s" % (b"TEXT" if header else b"BODY", len(text.encode()),
                                  text.encode()),
             lambda letter, text=text, header=header: letter.holds(text, header))
            for text, header in words]
        return self.chance.choice((
            (one, first), (one, first), (b"NOT " + one, lambda each: not first(each)),
            (b"OR %s %s" % (one, two), lambda each: first(each) or second(each)),
            (b"%s %s" % (one, two), lambda each: first(each) and second(each)),
            (b"OR NOT %s (%s 1:*)" % (one, two), lambda each: not first(each) or second(each)),
            (b"NOT (%s UNKEYWORD no %s)" % (one, two),
             lambda each: not (first(each) and second(each)))))


@pytest.fixture
def house(request, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "_COUNT", -1)
    monkeypatch.setattr(building, "_FEW_DEAD", 20)
    monkeypatch.setattr(batches, "_TEXT", 1000)
    # So that a copied or restored folder soon uses UIDs again.
    monkeypatch.setattr(uidlist, "BLOCK", 2)
    monkeypatch.setattr(rescan, "BLOCK", 2)
    if request.param % 4 > 1:
        monkeypatch.setattr(search_bounds, "FEW", 2)
        monkeypatch.setattr(search_bounds, "SHARE", 1)
    if request.param % 2:
        monkeypatch.setattr(textsearch, "_WINDOW", 300)
    made = House(tmp_path, request.param)
    yield made
    made.close()


OFTEN = ("deliver", "deliver", "work", "work", "work_all", "expunge", "move", "drop")
SELDOM = ("remove_file", "change_file", "change_file", "rename_file", "create", "create", "delete", "rename", "copy_folder",
          "remove_folder", "lose_index", "lose_search", "keep_search", "keep_search",
          "replace_search", "keep_folder", "swap_folder", "swap_folder", "restart", "restore_search")


@pytest.mark.parametrize("house", range(int(os.environ.get("SEARCH_SEEDS", 4))), indirect=True)
def test_random_lives(house):
    for _ in range(40):
        kind = house.chance.choice(OFTEN if house.chance.random() < 0.6 else SELDOM)
        house.said.append(kind)
        getattr(house, kind)()
        house.ask()
    assert house.letters
