"""A source in memory for the tests of what lies between a source and our mailboxes, and a root
with users who fetch from it."""
import json
import os
import threading

from phenmail_protocols.accounts.authorization import Authorizations
from phenmail_protocols.accounts.directory import Directory
from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.delivery.router import Router
from phenmail_protocols.fetch.service import Fetching
from phenmail_protocols.fetch.source import (
    Box,
    BoxGone,
    FetchError,
    LoginRefused,
    MessageGone,
    RemoteMessage,
    Source,
    Unreadable,
)
from phenmail_protocols.filters.screening import Screening
from phenmail_protocols.queue.spool import Spool
from phenmail_protocols.store.filestore import FileStore
from tests.served import served

DOMAINS = {"example.org": {"alice": "/alice/mail", "bert": "/bert/mail",
                           "postmaster": ":alice", "abuse": ":alice"}}
DATE = 1600000000


def text(number, extra=""):
    return ("From: someone@example.net\r\nMessage-ID: <%s@example.net>\r\n%sSubject: m%s\r\n\r\n"
            "text of %s\r\n" % (number, extra, number, number)).encode()


class Account:
    """A mailbox account on "another server": {mailbox: {uid: (octets, flags, date)}}."""

    def __init__(self):
        self.boxes = {"INBOX": {}}
        self.validity = {}
        self.next_uid = {}
        self.logins = 0
        self.removed = []
        self.error = None  # raised by the next logins
        self.cut_after = None  # octets of a message after which the connection is lost, once
        self.unreadable = set()  # UIDs
        self.refused = set()  # UIDs
        self.lie = None  # a size that the list says
        self.wakers = []
        self.can_wait = False
        self.before = lambda step: None  # called with the name of each call

    def put(self, number, box="INBOX", extra="", flags=(), date=DATE, data=None):
        uid = self.next_uid.get(box, 1)
        self.next_uid[box] = uid + 1
        self.boxes[box][uid] = (text(number, extra) if data is None else data, flags, date)
        for waker in self.wakers:
            waker.set()
        return uid

    def renumber(self, box="INBOX"):
        """Another UIDVALIDITY."""
        self.validity[box] = self.validity.get(box, 1) + 1
        messages = list(self.boxes[box].values())
        self.boxes[box] = dict(enumerate(messages, 1))
        self.next_uid[box] = len(messages) + 1

    def open_source(self, account, passphrase, limit, token=None, contexts=None, began=None):
        self.before("connect")
        self.logins += 1
        if passphrase != "right":
            raise LoginRefused("the server refused the login of %s" % account.username)
        if self.error is not None:
            raise self.error
        return Scripted(self, account.protocol.startswith("pop"), began)


class Scripted(Source):
    def __init__(self, account, is_pop, began):
        self.account = account
        self.is_pop = is_pop
        self.open_box = None
        self.marked = []
        self.is_aborted = threading.Event()
        if began is not None:
            began(self)

    def abort(self):
        self.is_aborted.set()

    def list_boxes(self):
        return ("",) if self.is_pop else tuple(self.account.boxes)

    def open(self, name):
        self.account.before("open")
        name = "INBOX" if self.is_pop else name
        if name not in self.account.boxes:
            raise BoxGone("there is no mailbox %s" % name)
        self.open_box = name
        if self.is_pop:
            return Box("")
        return Box(name, self.account.validity.get(name, 1), self.account.next_uid.get(name, 1),
                   0, len(self.account.boxes[name]))

    def new(self, after, known):
        self.account.before("list")
        listed = sorted(self.account.boxes[self.open_box].items())
        if self.is_pop:  # numbers are those of this connection
            self.numbers = dict(enumerate([uid for uid, _ in listed], self.account.logins * 1000))
        for number, (uid, (data, flags, date)) in enumerate(listed, self.account.logins * 1000):
            key = "uidl-%d" % uid if self.is_pop else str(uid)
            if (self.is_pop or uid > after) and not known(key):
                size = len(data) if self.account.lie is None else self.account.lie
                yield RemoteMessage(key, size, () if self.is_pop else flags,
                                    None if self.is_pop else date,
                                    number if self.is_pop else 0)

    def read(self, message, offset=0):
        self.account.before("read")
        uid = int(message.key.rpartition("-")[2])
        if uid not in self.account.boxes[self.open_box]:
            raise MessageGone("it is gone")
        if uid in self.account.unreadable:
            raise FetchError("lost the connection")
        if uid in self.account.refused:
            raise Unreadable("the server refused FETCH")
        data = self.account.boxes[self.open_box][uid][0]
        step = 30
        for at in range(offset, len(data), step):
            if self.account.cut_after is not None and at - offset >= self.account.cut_after:
                raise FetchError("lost the connection")
            yield data[at:at + step]
            self.account.before("piece")

    def remove(self, messages):
        self.account.before("remove")
        if self.is_pop:
            self.marked.extend(messages)
        else:
            self._expunge(messages)

    def _expunge(self, messages):
        for message in messages:
            uid = self.numbers[message.number] if self.is_pop else int(message.key)
            self.account.removed.append(uid)
            self.account.boxes[self.open_box].pop(uid, None)
        self.account.before("removed")

    @property
    def can_wait(self):
        return self.account.can_wait

    def wait(self, seconds, wake):
        self.account.before("wait")
        event = threading.Event()

        class Both:
            set = event.set
        self.account.wakers.append(Both)
        from phenmail_protocols.net.readiness import Readiness
        readiness = Readiness(readable=(wake.fileno(),))
        try:
            for _ in range(int(seconds * 200)):
                if event.is_set():
                    return True
                if self.is_aborted.is_set():
                    raise FetchError("stopped")
                if readiness.wait(0.005):
                    return False
            return False
        finally:
            self.account.wakers.remove(Both)

    def close(self):
        if self.is_pop:
            self.account.before("quit")
            marked, self.marked = self.marked, []
            self._expunge(marked)


class House:
    """A root with alice and bert. Its service looks for what is due only in `look` and `start`."""

    def __init__(self, path, remote, **settings):
        self.root = Root(str(path))
        self.root.create()
        self.remote = remote
        self.settings = dict({"sender-domain": "example.org", "domains": DOMAINS}, **settings)
        for user in ("alice", "bert"):
            os.makedirs(self.path(user, "mail"), exist_ok=True)
            os.makedirs(self.path(user, "system", "config"), exist_ok=True)
        self.now = float(DATE + 1000)
        self.open()

    def open(self):
        """As a new process."""
        checked = loader.server_from_dict(self.settings, self.root, False, lambda: "example.org")
        self.queue = Spool(checked.relay.queue_folder)
        self.store = FileStore()
        authorizations = Authorizations(self.root.mail_system)
        self.directory = Directory(checked, self.root, authorizations=authorizations)
        self.router = Router(self.directory, self.store, self.queue, clock=lambda: self.now)
        self.answers = []
        self.router.screening = Screening(
            self.directory, authorizations, lambda: "example.org",
            lambda envelope, chunks: self.answers.append(envelope))
        self.fetching = Fetching(self.directory, self.router, self.store, self.root.mail_system,
                                 lambda: self.now, self.remote.open_source, tick=0.01)

    def path(self, *names):
        return os.path.join(os.path.realpath(self.root.path), *names)

    def configure(self, *accounts, user="alice", **more):
        with open(self.path(user, "system", "config", "mail-fetcher.jcfg"), "w") as file:
            json.dump(dict({"accounts": accounts}, **more), file)

    def job(self, number=0):
        """The job of an account, as the service makes it."""
        self.fetching._read_files()
        return self.fetching._jobs()[number]

    def look(self, number=0):
        """One round -> its error."""
        job = self.job(number)
        job.look()
        return job.status.error

    def close(self):
        self.fetching.stop()
        self.store.close()

    def messages(self, box="INBOX", user="alice", folder="mail"):
        mailbox = self.store.account(self.path(user, folder)).open(box)
        try:
            return served(mailbox)
        finally:
            mailbox.close()

    def subjects(self, box="INBOX", user="alice", folder="mail"):
        return [subject(data) for data in self.messages(box, user, folder)]


def subject(data):
    return data.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()


def account(**values):
    return dict({"server": "imap.example.net", "username": "alice", "passphrase": "right",
                 "first-time": "download-all"}, **values)
