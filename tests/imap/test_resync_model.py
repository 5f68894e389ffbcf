"""A client that resynchronises with QRESYNC after random cuts has what a fresh one sees."""
import os
import random
import re

import pytest

from phenmail_protocols.imap.syntax import sequence

LETTER = b"From: a@b\r\n\r\nx\r\n"
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "$One", "$Two")


class Model:
    """A mail program's copy of INBOX: {UID: flags}, and what it needs to resynchronise."""

    def __init__(self):
        self.messages = {}
        self.validity = self.modseq = None

    def connect(self, client, dice):
        """Open INBOX and take in what happened. All flags of new messages are asked for, as mail
        programs do."""
        client.ok("ENABLE QRESYNC")
        parameters = "CONDSTORE"
        if self.validity is not None:
            parameters = "QRESYNC (%d %d%s)" % (self.validity, self.modseq, self._known(dice))
        lines = client.ok("SELECT INBOX (%s)" % parameters)
        validity = int(re.search(rb"UIDVALIDITY (\d+)", b"".join(lines)).group(1))
        if validity != self.validity:
            self.messages, self.validity, self.modseq = {}, validity, 0
            lines += client.ok("UID FETCH 1:* (FLAGS)")
        self.take(lines)
        top = max(self.messages, default=0) + 1
        self.take([line for line in client.ok("UID FETCH %d:* (FLAGS)" % top)])

    def _known(self, dice):
        uids = sorted(self.messages)
        known = " " + sequence.build(uids).decode() if uids and dice.random() < .6 else ""
        if uids and dice.random() < .5:
            places = sorted(dice.sample(range(len(uids)), dice.randint(1, len(uids))))
            known += " (%s %s)" % (sequence.build([place + 1 for place in places]).decode(),
                                   sequence.build([uids[place] for place in places]).decode())
        return known

    def take(self, lines):
        for line in lines:
            vanished = re.match(rb"\* VANISHED (?:\(EARLIER\) )?([\d:,]+)$", line)
            if vanished:
                spans = sequence.SequenceSet.parse(vanished.group(1)).spans(0)
                for uid in list(self.messages):
                    if any(low <= uid <= high for low, high in spans):
                        del self.messages[uid]
            fetched = re.match(rb"\* \d+ FETCH \(UID (\d+) FLAGS \((.*?)\)", line)
            if fetched:
                flags = set(fetched.group(2).split()) - {b"\\Recent"}
                self.messages[int(fetched.group(1))] = flags
            for found in re.findall(rb"HIGHESTMODSEQ (\d+)", line):
                self.modseq = int(found)


def whole(client):
    """A fresh client's copy."""
    model = Model()
    client.ok("EXAMINE INBOX")
    model.take(client.ok("UID FETCH 1:* (FLAGS)"))
    return model.messages


def disturb(client, dice, folder):
    """Something that another program does meanwhile."""
    numbers = client.ok("UID SEARCH ALL")[0].split()[2:]
    kind = dice.random()
    if kind < .25 or not numbers:
        client.append(LETTER, flags="(%s)" % dice.choice(FLAGS))
    elif kind < .7:
        chosen = b",".join(dice.sample(numbers, dice.randint(1, len(numbers)))).decode()
        client.ok("UID STORE %s %sFLAGS.SILENT (%s)" % (
            chosen, dice.choice(("+", "-", "")), dice.choice(FLAGS)))
    elif kind < .95:
        chosen = b",".join(dice.sample(numbers, dice.randint(1, len(numbers)))).decode()
        client.ok("UID STORE %s +FLAGS.SILENT (\\Deleted)" % chosen)
        client.ok("UID EXPUNGE %s" % chosen)
    else:
        for name in os.listdir(folder):
            if name.startswith("phenmail-index"):
                os.remove(os.path.join(folder, name))
    client.ok("NOOP")


@pytest.mark.parametrize("seed", range(25))
def test_resynchronised_is_fresh(connect, tmp_path, seed):
    dice, model, other, folder = random.Random(seed), Model(), connect(), str(tmp_path / "mail")
    client = connect(login=False)
    client.log_in()
    for _ in range(12):
        for _ in range(dice.randint(0, 4)):
            disturb(other, dice, folder)
        model.connect(client, dice)
        for _ in range(dice.randint(0, 3)):  # news while it is open
            disturb(other, dice, folder)
            if dice.random() < .7:
                model.take(client.ok("NOOP"))
        client.ok("CLOSE" if dice.random() < .2 else "UNSELECT")
        client.close()
        client = connect(login=False)
        client.log_in()
    model.connect(client, dice)
    assert model.messages == whole(connect())
