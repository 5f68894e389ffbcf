"""An account of the store into which mail is copied, and an account on a server of memory."""
import pytest

from phenmail_protocols.fetch.adopting import plan
from phenmail_protocols.fetch.adopting.connection import Connection as Connection_
from phenmail_protocols.fetch.adopting.copying import Copier, Owner
from phenmail_protocols.fetch.adopting.progress import Progress
from phenmail_protocols.fetch.adopting.receipt import Comparison
from phenmail_protocols.fetch.adopting.remote import Entry, Remote
from phenmail_protocols.fetch.source import Box, BoxGone, FetchError, MessageGone
from tests.served import served
from tests.store.conftest import House


class Box_(object):
    """A mailbox there: `messages`: {uid: (octets, Entry)}."""

    def __init__(self, attributes=(), validity=1):
        self.attributes, self.validity, self.messages = frozenset(attributes), validity, {}


class Server(object):
    """An account on another server. `faults`: called with (verb, what) before each answer, may
    raise; `pieces`: octets of one."""

    def __init__(self):
        self.boxes = {}
        self.has_labels = False
        self.faults = lambda verb, what: None
        self.connections, self.piece = 0, 4096
        self.read = []  # UIDs whose octets were asked for

    def box(self, name, *attributes):
        return self.boxes.setdefault(name, Box_(attributes))

    def put(self, name, octets, flags=(), date=1500000000, msgid="", labels=()):
        messages = self.box(name).messages
        uid = max(messages, default=0) + 1
        messages[uid] = octets, Entry(uid, len(octets), tuple(flags), date, msgid, tuple(labels))
        return uid

    def connect(self):
        self.faults("connect", self.connections)
        self.connections += 1
        return Connection(self)


class Connection(Remote):

    def __init__(self, server):
        self.server, self.has_labels, self.name = server, server.has_labels, None

    def listed(self):
        return [plan.Listed(name, "/", box.attributes, True)
                for name, box in self.server.boxes.items()]

    def counts(self, name):
        messages = self.server.boxes[name].messages
        return len(messages), sum(len(octets) for octets, _ in messages.values())

    def open(self, name):
        self.server.faults("open", name)
        if name not in self.server.boxes:
            raise BoxGone("gone")
        self.name = name
        box = self.server.boxes[name]
        return Box(name, box.validity, 0, 0, len(box.messages))

    def entries(self, wanted):
        for uid in sorted(self.server.boxes[self.name].messages):
            messages = self.server.boxes[self.name].messages
            if uid in messages and wanted(uid):
                entry = messages[uid][1]
                self.server.faults("entry", uid)
                yield entry

    def bodies(self, entries):
        for entry in entries:
            if entry.uid in self.server.boxes[self.name].messages:
                self.server.read.append((self.name, entry.uid))
                yield entry, self._pieces(entry, 0)

    def rest(self, entry, offset):
        if entry.uid not in self.server.boxes[self.name].messages:
            raise MessageGone("gone")
        return self._pieces(entry, offset)

    def _pieces(self, entry, offset):
        octets = self.server.boxes[self.name].messages[entry.uid][0]
        for at in range(offset, len(octets), self.server.piece):
            self.server.faults("piece", at)
            yield octets[at:at + self.server.piece]

    def header(self, uid):
        return self.server.boxes[self.name].messages[uid][0]

    def close(self):
        pass


class Desk(object):
    """One adoption: `server` is copied into `house`; `said` is what the user sees."""

    def __init__(self, tmp_path):
        self.server, self.house = Server(), House(tmp_path)
        self.ledgers = tmp_path / "ledgers"
        self.ledgers.mkdir()
        self.said, self.now, self.owner = [], 1000.0, Owner("me@there")
        self.largest, self.allowance = 1 << 24, None

    def sleep(self, seconds):
        self.now += max(seconds, 0.001)

    def progress(self):
        made = Progress(self.said.append, False, lambda: self.now, self.sleep, lambda: self.now)
        made.begin(10, 10)
        return made

    def plan(self):
        from phenmail_protocols.fetch.adopting.ledger import heads
        remote = self.server.connect()
        fixed = {head["box"]: head["target"] for head in heads(str(self.ledgers), "me@there")}
        return plan.make(remote.listed(), remote.has_labels, remote.personal(), fixed)

    def copier(self, **options):
        return Copier(self.server.connect, self.owner, self.house.account, str(self.ledgers),
                      self.progress(), self.largest, self.allowance, **options)

    def copy(self):
        copier = self.copier()
        try:
            copier.run(self.plan())
        finally:
            copier.close()

    def rows(self, afresh=False):
        return list(Comparison(Connection_(self.server.connect, self.progress()), self.owner, self.house.account,
                               str(self.ledgers), self.progress(), afresh).rows(self.plan()))

    def here(self, name):
        mailbox = self.house.account.open(name)
        try:
            return served(mailbox)
        finally:
            mailbox.close()

    def flags(self, name):
        mailbox = self.house.account.open(name)
        try:
            state = mailbox.state()
            rows = mailbox.rows(state.uids[:state.count])
            return [(set(flags), date) for flags, date in zip(rows.flags, rows.dates)]
        finally:
            mailbox.close()


@pytest.fixture
def desk(tmp_path):
    desk = Desk(tmp_path)
    yield desk
    desk.house.close()


def message(number, size=0):
    return (b"Message-ID: <%d@there>\r\nSubject: %d\r\n\r\n" % (number, number)
            + b"line of text %d\r\n" % number * (1 + size // 16))


def cut(text="the line is cut"):
    raise FetchError(text)
