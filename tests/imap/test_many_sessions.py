"""Three connections, one of them to another process, while POP3 and other programs change the
Maildir: each client knows only what it was told, and in the end all know what the files say."""
import itertools
import os
import random

import pytest

from phenmail_protocols.pop3.maildrop import open_maildrop
from phenmail_protocols.store.filestore import FileStore

from . import wire
from .mailbox_model import Client

FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$One")
LETTERS = {"S": "\\Seen", "F": "\\Flagged", "T": "\\Deleted", "R": "\\Answered"}


class Mailbox:
    """INBOX, its clients, and everybody else who changes it."""

    def __init__(self, dice, folder, stores, clients):
        self._dice, self._folder, self._stores, self._clients = dice, folder, stores, clients
        self._names = itertools.count()
        self._time = 1000000000
        self._texts = {}  # UID -> text, for ever

    # What clients do

    def step(self):
        client, dice = self._dice.choice(self._clients), self._dice
        dice.choice(3 * [self._store] + 2 * [self._append, self._fetch, self._copy] + [
            self._expunge, self._search, self._simple, self._select, self._pop3, self._drop,
            self._mark, self._remove])(client)

    def _ask(self, client, command, *statuses):
        answer = client.ask(command, b"DONE\r\n")
        assert answer.status in (statuses or ("OK",)), (command, answer.status, answer.codes)
        return answer

    def _set(self, client):
        """"UID " or "", and a sequence set of messages that the client knows."""
        client.fill_in()
        count, dice = len(client.messages), self._dice
        numbers = dice.sample(range(1, count + 1), dice.randint(1, min(4, count))) if count else [1]
        if count and dice.random() < .5:
            return "UID ", ",".join(str(client.messages[number - 1][0]) for number in numbers)
        return "", ",".join(map(str, numbers)) if dice.random() < .7 else "%d:*" % numbers[0]

    def _append(self, client):
        text = "text %d\r\n" % next(self._names)
        self._ask(client, "APPEND INBOX (%s) {%d+}\r\n\r\n%s" % (
            self._dice.choice(FLAGS), len(text) + 2, text))

    def _store(self, client):
        uid, chosen = self._set(client)
        silent = self._dice.choice(("", ".SILENT"))
        self._ask(client, "%sSTORE %s %sFLAGS%s (%s)" % (
            uid, chosen, self._dice.choice("+-") * self._dice.randint(0, 1), silent,
            " ".join(self._dice.sample(FLAGS, 2))), "OK", "BAD")
        if silent:
            client.forget_flags([uid for uid, _ in client.messages])

    def _fetch(self, client):
        answer = self._ask(client, "%sFETCH %s (UID BODY.PEEK[TEXT])" % self._set(client), "OK",
                           "BAD")
        for row in [each.items for each in answer.fetched]:
            text = row.get("BODY[TEXT]")
            if text is not None:
                assert self._texts.setdefault(int(row["UID"]), text) == text, row
            elif "UID" in row and "BODY[TEXT]" in row:
                assert answer.tagged == "EXPUNGEISSUED"

    def _search(self, client):
        answer = self._ask(client, self._dice.choice(("SEARCH ALL", "SEARCH UNSEEN",
                                                      "SORT (SIZE) UTF-8 ALL")))
        numbers = [int(number) for number in answer.data[-1][1:]]
        assert max(numbers, default=0) <= len(client.messages)

    def _copy(self, client):
        self._ask(client, self._dice.choice(("%sCOPY %s INBOX", "%sMOVE %s INBOX"))
                  % self._set(client), "OK", "NO", "BAD")

    def _expunge(self, client):
        self._ask(client, self._dice.choice(("EXPUNGE", "UID EXPUNGE 1:3", "UID EXPUNGE 1:*")))

    def _simple(self, client):
        self._ask(client, self._dice.choice(("NOOP", "IDLE", "CHECK", "STATUS INBOX (MESSAGES)")))

    def _select(self, client):
        self._ask(client, self._dice.choice(("CLOSE", "UNSELECT", "NOOP")))
        self._ask(client, "SELECT INBOX")

    # What others do

    def _pop3(self, _):
        drop = open_maildrop(self._dice.choice(self._stores), self._folder)
        try:
            if len(drop):
                drop.delete(self._dice.choice(list(drop.numbers())))
            assert drop.update()[1] == 0
        finally:
            drop.close()

    def _drop(self, _):
        name = "%d.elsewhere" % next(self._names)
        path = os.path.join(self._folder, "tmp", name)
        with open(path, "w") as file:
            file.write("\ntext %s\n" % name)
        os.rename(path, os.path.join(self._folder, "new", name))
        self._touch("new")

    def _mark(self, _):
        for part, name in self._some_file():
            info = "".join(sorted(self._dice.sample("FRST", self._dice.randint(0, 3))))
            os.rename(os.path.join(self._folder, part, name), os.path.join(
                self._folder, "cur", "%s:2,%s" % (name.partition(":")[0], info)))
            self._touch(part, "cur")

    def _remove(self, _):
        for part, name in self._some_file():
            os.remove(os.path.join(self._folder, part, name))
            self._touch(part)

    def _files(self):
        return [(part, name) for part in ("cur", "new")
                for name in sorted(os.listdir(os.path.join(self._folder, part)))]

    def _some_file(self):
        found = self._files()
        return [self._dice.choice(found)] if found else []

    def _touch(self, *parts):
        """Two changes in one tick of the file system's clock would be seen only later."""
        for part in parts:
            self._time += 1
            os.utime(os.path.join(self._folder, part), (self._time, self._time))

    # What all know in the end

    def check(self):
        for store in self._stores:  # as the poller does
            for mailbox in store.account(self._folder).open_mailboxes():
                mailbox.look()
        for client in self._clients:
            self._ask(client, "NOOP")
            client.fill_in()
        known = [client.messages for client in self._clients]
        assert known[0] == known[1] == known[2]
        assert sorted(self._shown(self._clients[0])) == sorted(self._stored())

    def _shown(self, client):
        """(text, system flags) as a client gets them."""
        answer = self._ask(client, "UID FETCH 1:* (UID FLAGS BODY.PEEK[TEXT])")
        for row in [each.items for each in answer.fetched]:
            text = row["BODY[TEXT]"]
            assert self._texts.setdefault(int(row["UID"]), text) == text, row
            yield text, sorted(set(row["FLAGS"]) & set(LETTERS.values()))

    def _stored(self):
        for part, name in self._files():
            with open(os.path.join(self._folder, part, name)) as file:  # with LF
                text = file.read().lstrip("\n").replace("\n", "\r\n")
            letters = name.partition(":2,")[2]
            yield text, sorted(LETTERS[letter] for letter in letters if letter in LETTERS)


def model(client):
    """The model of a wire.Client that has logged in."""
    made = Client(lambda: client.line().decode("latin-1"), client.send, client.close)
    assert made.ask("SELECT INBOX").status == "OK"
    return made


@pytest.fixture
def other_store():
    """As another process has it."""
    store = FileStore(poll=3600)
    yield store
    store.close()


@pytest.mark.parametrize("seed", range(12))
def test_all_know_the_same_in_the_end(connect, store, other_store, tmp_path, seed):
    dice, folder = random.Random(seed), str(tmp_path / "mail")
    clients = [model(connect(None)), model(connect(None)), model(
        connect(None, server=wire.server(other_store, folder)))]
    if dice.random() < .5:  # VANISHED in place of EXPUNGE
        assert clients[dice.randrange(3)].ask("ENABLE QRESYNC").status == "OK"
    mailbox = Mailbox(dice, folder, [store, other_store], clients)
    for _ in range(12):
        for _ in range(dice.randint(1, 8)):
            mailbox.step()
        mailbox.check()
