"""Three sessions with one mailbox always agree (RFC 3501 5.2, 5.5, 7.4.1; RFC 2180 4).

Each client keeps a model of the mailbox, as mail programs do: UID and flags at each message number.
It changes the model only for what the server sends, and for what its own commands say. A third
session belongs to another process.
"""
import random
import re

import pytest

from phenmail_protocols.imap.syntax.sequence import SequenceSet
from phenmail_protocols.store.filestore import FileStore

from . import wire

LETTER = b"From: a@b\r\n\r\nx\r\n"
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Deleted", "$One", "$Two")
NOTIFY = "NOTIFY SET (%s (MessageNew%s MessageExpunge FlagChange))"
#: During these EXPUNGE is forbidden, because numbers would change (RFC 3501 7.4.1).
QUIET = ("FETCH", "STORE", "SEARCH", "SORT", "THREAD")


class Model:
    """`messages`: [UID, flags] at each message number; None is unknown."""

    def __init__(self, client, dice):
        self.client, self.dice = client, dice
        self.messages = []
        self.quiet = False
        for command in ("ENABLE CONDSTORE", "ENABLE QRESYNC",
                        NOTIFY % ("selected-delayed", " (UID FLAGS)")):
            if dice.random() < .3:
                client.ok(command)
        self.delays = True  # no EXPUNGE between commands
        self.do("SELECT INBOX")

    def do(self, command):
        """Run a command -> its untagged responses."""
        self.quiet = command.startswith(QUIET)
        return self.take(self.client.ask(command))  # NO if a message is gone

    def take(self, lines):
        for line in lines:
            for pattern, method in self.PATTERNS:
                found = re.match(pattern, line)
                if found:
                    method(self, *found.groups())
        return lines

    def _exists(self, count):
        assert int(count) >= len(self.messages)
        self.messages += [[None, None] for _ in range(int(count) - len(self.messages))]

    def _expunge(self, number):
        assert not self.quiet
        del self.messages[int(number) - 1]

    def _vanished(self, uids):
        assert not self.quiet
        for start, stop in SequenceSet.parse(uids).spans(0):
            for uid in range(start, stop + 1):
                self._remove(uid)

    def _remove(self, uid):
        known = [each[0] for each in self.messages]
        if uid in known:
            number = known.index(uid)
        else:  # it is an unknown one, behind all with lower UIDs
            number = 1 + max([number for number, each in enumerate(known) if each and each < uid],
                             default=-1)
            assert known[number] is None
        del self.messages[number]

    def _fetch(self, number, items):
        message = self.messages[int(number) - 1]
        uid, flags = re.search(rb"UID (\d+)", items), re.search(rb"FLAGS \((.*?)\)", items)
        if uid:
            assert message[0] in (None, int(uid.group(1)))
            message[0] = int(uid.group(1))
        if flags:
            message[1] = frozenset(flags.group(1).decode().split()) - {"\\Recent"}

    PATTERNS = ((rb"\* (\d+) EXISTS", _exists), (rb"\* (\d+) EXPUNGE", _expunge),
                (rb"\* VANISHED ([\d,:]+)$", _vanished), (rb"\* (\d+) FETCH \((.*)\)$", _fetch))

    def learn(self):
        """Ask for what is unknown of new messages. Numbers are valid: FETCH brings no EXPUNGE."""
        if any(None in each for each in self.messages):
            self.do("FETCH 1:%d (UID FLAGS)" % len(self.messages))

    # Commands

    def act(self):
        dice, count = self.dice, len(self.messages)
        kind = dice.randrange(12)
        if kind < 2 or not count:
            self.quiet = False
            self.take(self.client.append(LETTER))
            return
        number = dice.randint(1, count)
        numbers = "%d:%d" % (number, dice.randint(1, count))
        if kind == 2:
            self.do("FETCH %s (UID FLAGS)" % numbers)
        elif kind < 5:
            self.do("STORE %s %sFLAGS (%s)" % (numbers, dice.choice("+-"), dice.choice(FLAGS)))
        elif kind == 5:
            self._store_silently(number)
        elif kind == 6:
            self._search(numbers)
        elif kind == 7:
            self.do("COPY %d INBOX" % number)
        elif kind == 8:
            self.do("MOVE %d Archive" % number)
        elif kind == 9:
            self._idle()
        elif kind == 10:
            self._by_uid(number)
        else:
            self.do(dice.choice(("EXPUNGE", "NOOP", "CHECK")))

    def _store_silently(self, number):
        flag = self.dice.choice(FLAGS)
        self.learn()
        message = self.messages[number - 1]
        self.do("STORE %d +FLAGS.SILENT (%s)" % (number, flag))
        message[1] |= {flag}

    def _search(self, numbers):
        """The numbers that are found are those of the UIDs that UID SEARCH would find."""
        self.learn()
        uids = [each[0] for each in self.messages]
        line, = [line for line in self.do("SEARCH " + numbers) if line.startswith(b"* SEARCH")]
        first, last = sorted(map(int, numbers.split(":")))
        assert set(map(int, line.split()[2:])) <= set(range(first, last + 1))
        assert uids == [each[0] for each in self.messages[:len(uids)]]

    def _idle(self):
        self.client.send(b"i IDLE\r\n")
        self.quiet = False
        self.take(self.client.until(b"+ "))
        self.client.send(b"DONE\r\n")
        self.take(self.client.until(b"i OK"))

    def _by_uid(self, number):
        self.learn()
        uid = self.messages[number - 1][0]
        self.do(self.dice.choice((
            "UID STORE %d +FLAGS (\\Deleted)", "UID FETCH %d (FLAGS)", "UID EXPUNGE %d",
            "UID MOVE %d Archive", "UID SEARCH UID %d", "UID COPY %d INBOX")) % uid)


@pytest.fixture
def elsewhere(tmp_path):
    store = FileStore(poll=3600)
    yield store, wire.server(store, tmp_path / "mail")
    store.close()


@pytest.mark.parametrize("seed", range(30))
def test_three_sessions_agree(connect, elsewhere, store, tmp_path, seed):
    dice, folder = random.Random(seed), str(tmp_path / "mail")
    connect(None).ok("STATUS Archive (MESSAGES)")
    models = [Model(connect(None), dice), Model(connect(None), dice),
              Model(connect(None, server=elsewhere[1]), dice)]
    for _ in range(6):
        for _ in range(dice.randint(1, 12)):
            dice.choice(models).act()
        for each in (store, elsewhere[0]):
            for mailbox in each.account(folder).open_mailboxes():
                mailbox.look()
        for model in models:
            model.do("NOOP")
            model.learn()
        fresh = Model(connect(None), dice)
        fresh.learn()
        assert [model.messages for model in models] == [fresh.messages] * 3
