"""SEARCH for header fields finds what a naive scan finds, whether or not the index knows them.

The texts are written before they are encoded; nothing here decodes or parses a message.
"""
import base64
import os
import random
import time

import pytest

from phenmail_protocols.imap.fetching import derivations
from phenmail_protocols.imap.searching import search_fields
from phenmail_protocols.store import mailbox
from phenmail_protocols.store.deriving import derivation
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.store.indexing import index
from tests.search.letters import WORDS, fold_field

from . import wire

DAY = 86400
TEXTS = ("Subject", "Message-ID", "In-Reply-To", "X-Other")
PEOPLE = ("From", "To", "Cc", "Bcc")
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Letter:
    """A message: `wire`, its octets; `texts` and `people`: field -> texts; `day` of sending."""

    def __init__(self, chance, token):
        self._chance = chance
        self.token = token
        self.texts, self.people = {}, {}
        self.arrival = 1500000000 + chance.randrange(20) * DAY // 2
        lines = ["X-Token: %s" % token]
        for name in TEXTS + PEOPLE:
            for _ in range(chance.choice((0, 1, 1, 1, 2))):
                lines.append(self._text(name) if name in TEXTS else self._people(name))
        dates = self._date()
        self._plain = lines[:1] + dates + ["%s: %s" % (name, text) for name, texts in
                                           self.texts.items() for text in texts]
        lines += dates
        chance.shuffle(lines)
        self._body = "x" * chance.randrange(200)
        self.wire = ("\r\n".join(lines) + "\r\n\r\n" + self._body).encode()

    def _words(self, most):
        words = [word for word in WORDS if "\0" not in word and '"' not in word]
        return " ".join(self._chance.choice(words) for _ in range(self._chance.randint(1, most)))

    def _text(self, name):
        text = self._words(5)
        self.texts.setdefault(name, []).append(text)
        return "%s: %s" % (name, self._encoded(text))

    def _encoded(self, text):
        """In UTF-8 as it is, or in encoded words, which are folded."""
        if self._chance.random() < 0.5 and "=?" not in text:
            return text.replace(" ", "\r\n ") if self._chance.random() < 0.2 else text
        size, pieces = self._chance.randint(1, 12), []
        for at in range(0, len(text), size):
            data = base64.b64encode(text[at:at + size].encode()).decode()
            pieces.append("=?utf-8?b?%s?=" % data)
        return "\r\n ".join(pieces)

    def _people(self, name):
        written, plain, quoted = [], [], []
        for _ in range(self._chance.randint(1, 3)):
            person = self._words(2).replace("\\", "").strip() or "x"
            address = "%s@example.%s" % (self._chance.choice(("ann", "Bob", "x.y")),
                                         self._chance.choice(("org", "COM")))
            size = max(1, len(person) // 2)
            encoded = "\r\n ".join("=?utf-8?b?%s?=" % base64.b64encode(
                person[at:at + size].encode()).decode() for at in range(0, len(person), size))
            written.append("%s <%s>" % (encoded, address))
            plain.append("%s <%s>" % (person, address))
            quoted.append('"%s" <%s>' % (person, address))
        self.texts.setdefault(name, []).append(", ".join(plain))
        self.people.setdefault(name, []).extend([", ".join(plain), ", ".join(quoted)])
        return "%s: %s" % (name, ",\r\n ".join(written))

    def _date(self):
        self.day = self.arrival // DAY
        kind = self._chance.random()
        if kind < 0.2:
            return []
        if kind < 0.3:
            return ["Date: one day in May"]
        self.day = self._chance.randint(18000, 18010)
        moment = time.gmtime(self.day * DAY)
        lines = ["Date: %d %s %d %02d:30:00 %s" % (
            moment.tm_mday, MONTHS[moment.tm_mon - 1], moment.tm_year,
            self._chance.choice((0, 12, 23)), self._chance.choice(("+0000", "-1100", "+1300")))]
        return lines

    def holds(self, field, key):
        return any(fold_field(key) in fold_field(text) for text in self.texts.get(field, ()))

    def is_with(self, field, key):
        return any(fold_field(key) in fold_field(text) for text in self.people.get(field, ()))

    def has(self, key):
        """Is it anywhere in the message?"""
        return (fold_field(key) in self._body
                or any(fold_field(key) in fold_field(line) for line in self._plain))


class House:
    """A mailbox as two processes have it."""

    def __init__(self, folder, seed):
        self.chance = random.Random(seed)
        self.folder = str(folder / "mail")
        self.letters = {}
        self.said = []
        self.processes = []
        for _ in range(2):
            store = FileStore(poll=3600, boot_id="boot 1")
            step = derivation.Derivation(derivations.derive, "1", lambda: None)
            self.processes.append((store, step, wire.server(store, self.folder)))
        store.account(self.folder).open("INBOX").close()

    def close(self):
        for store, _, _ in self.processes:
            store.close()

    def deliver(self):
        account = self.chance.choice(self.processes)[0].account(self.folder)
        for _ in range(self.chance.randint(1, 4)):
            token = "token%de" % len(self.letters)
            letter = self.letters[token] = Letter(self.chance, token)
            with account.stage() as staged:
                staged.write(letter.wire)
                account.deliver("INBOX", staged, (), letter.arrival)

    def drop(self):
        """Another program delivers."""
        token = "token%de" % len(self.letters)
        letter = self.letters[token] = Letter(self.chance, token)
        path = os.path.join(self.folder, "new", "15000%d.M%dP1.host" % (
            len(self.letters), self.chance.randrange(10**9)))
        with open(path, "wb") as file:
            file.write(letter.wire)
        os.utime(path, (letter.arrival, letter.arrival))

    def derive(self):
        store, step, _ = self.chance.choice(self.processes)
        for _ in range(self.chance.choice((1, 2, 20))):
            if not step(store.account(self.folder)):
                return

    def expunge(self):
        with wire.Client(self.chance.choice(self.processes)[2]) as client:
            client.log_in("INBOX")
            client.ask("STORE %d +FLAGS.SILENT (\\Deleted)" % self.chance.randint(1, 9))
            client.ok("EXPUNGE")

    def flag(self):
        with wire.Client(self.chance.choice(self.processes)[2]) as client:
            client.log_in("INBOX")
            client.ask("STORE %d +FLAGS.SILENT (\\Flagged)" % self.chance.randint(1, 9))

    def lose_index(self):
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(os.path.join(self.folder, index.FILE + suffix)):
                os.unlink(os.path.join(self.folder, index.FILE + suffix))

    # What is asked

    def ask(self):
        store, _, server = self.chance.choice(self.processes)
        with wire.Client(server) as client:
            client.log_in("INBOX")
            here = {}
            for line in client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (X-Token)])"):
                token = line.split(b"X-Token: ")[1].split(b"\r\n")[0].decode()
                uid = int(line.split(b"UID ")[1].split()[0])
                here[uid] = self.letters[token], b"\\Flagged" in line
            for _ in range(8):
                command, matches = self.query(list(here.values()), 2)
                lines = client.ok(b"UID SEARCH CHARSET UTF-8 " + command)
                found = list(map(int, lines[0].split()[2:]))
                expected = [uid for uid in sorted(here) if matches(here[uid])]
                assert found == expected, (command, self.said)

    def query(self, here, depth):
        """(octets of a SEARCH key, the same as a function of a (Letter, flagged))"""
        kind = self.chance.random()
        if depth and kind < 0.5:
            (one, first), (two, second) = [self.query(here, depth - 1) for _ in range(2)]
            return self.chance.choice((
                (b"NOT " + one, lambda each: not first(each)),
                (b"OR %s %s" % (one, two), lambda each: first(each) or second(each)),
                (b"(%s %s)" % (one, two), lambda each: first(each) and second(each))))
        if kind < 0.6:
            return b"FLAGGED", lambda each: each[1]
        if kind < 0.65:
            size = self.chance.randint(100, 900)
            return b"LARGER %d" % size, lambda each: len(each[0].wire) > size
        if kind < 0.75:
            return self._sent()
        if kind < 0.85:
            key = self._key(here, self.chance.choice(TEXTS + PEOPLE), False)
            return (b"TEXT {%d+}\r\n%s" % (len(key.encode()), key.encode()),
                    lambda each: each[0].has(key))
        return self._field(here)

    def _sent(self):
        day = self.chance.choice((17365, 17370, 18000, 18005, 18010))
        moment = time.gmtime(day * DAY)
        date = b"%d-%s-%d" % (moment.tm_mday, MONTHS[moment.tm_mon - 1].encode(), moment.tm_year)
        return self.chance.choice((
            (b"SENTON " + date, lambda each: each[0].day == day),
            (b"SENTSINCE " + date, lambda each: each[0].day >= day),
            (b"SENTBEFORE " + date, lambda each: each[0].day < day)))

    def _field(self, here):
        name = self.chance.choice(TEXTS + PEOPLE)
        by_people = name in PEOPLE and self.chance.random() < 0.7
        key = self._key(here, name, by_people)
        literal = b"{%d+}\r\n%s" % (len(key.encode()), key.encode())
        if by_people:
            return (b"%s %s" % (name.upper().encode(), literal),
                    lambda each: each[0].is_with(name, key))
        command = b"SUBJECT" if name == "Subject" else b"HEADER " + name.encode()
        return command + b" " + literal, lambda each: each[0].holds(name, key)

    def _key(self, here, name, by_people):
        """Mostly a piece of what some message has."""
        texts = [text for letter, _ in here
                 for text in (letter.people if by_people else letter.texts).get(name, ())]
        if not texts or self.chance.random() < 0.2:
            return self.chance.choice(("", "zebra", "ss", "i", "\u0301", "example.org"))
        text = self.chance.choice(texts).strip()
        start = self.chance.randrange(len(text))
        found = text[start:start + self.chance.choice((1, 2, 3, 6, 10, 30))]
        found = self.chance.choice((str, str.upper, str.lower, str.casefold))(found)
        return "".join(each for each in found if each not in "\0\r\n")


@pytest.fixture
def house(request, tmp_path, monkeypatch):
    monkeypatch.setattr(search_fields, "SPAN", 5)
    monkeypatch.setattr(derivation, "_MOST", 3)
    if request.param % 3 == 2:
        monkeypatch.setattr(search_fields, "MOST", 10)
    made = House(tmp_path, request.param)
    yield made
    made.close()


KINDS = (("deliver",) * 4 + ("derive",) * 4 + ("expunge",) * 3 + ("flag", "drop", "lose_index"))


@pytest.mark.parametrize("house", range(int(os.environ.get("SEARCH_SEEDS", 4))), indirect=True)
def test_random_lives(house):
    for _ in range(30):
        kind = house.chance.choice(KINDS)
        house.said.append(kind)
        getattr(house, kind)()
        house.ask()
    assert house.letters


@pytest.mark.parametrize("house", [0], indirect=True)
def test_what_the_index_knows_is_not_read(house, monkeypatch):
    for _ in range(3):
        house.deliver()
    store, step, server = house.processes[0]
    while step(store.account(house.folder)):
        pass
    monkeypatch.setattr(mailbox.Mailbox, "content_of", lambda *_: pytest.fail("it was read"))
    with wire.Client(server) as client:
        client.log_in("INBOX")
        every = client.ok("SEARCH ALL")
        for key in ("SUBJECT x", "NOT (FROM x TO x)", "OR CC x BCC x", "HEADER Message-ID x",
                    "SENTON 1-Jan-2000 SEEN", "NOT SENTON 1-Jan-2000", "OR SEEN HEADER TO x"):
            client.ok("SEARCH " + key)
        assert client.ok("SEARCH NOT SUBJECT qqq NOT SENTON 1-Jan-2000") == every
