"""The IMAP source at real servers: Dovecot, Courier, Cyrus, and this program."""
import contextlib
import imaplib
import os
import tempfile
import threading
import time

import pytest

from phenmail_protocols.fetch.opening import open_source
from phenmail_protocols.fetch.source import PIECE, BoxGone, LoginRefused, MessageGone
from phenmail_protocols.net import tls
from phenmail_protocols.net.waker import Waker
from phenmail_protocols.text import utf7
from tests.bench.peers.process import Missing
from tests.interop import mail_sources
from tests.interop.house import ODD, message, ok, quoted
from tests.interop.test_fetch_pop import account_of

LIMIT = 100 << 20
BIG = message("big", "0123456789abcdef\r\n" * 60000)
NAMES = ("Lists", "Lists/dev", "B\u00fccher", "R&D")


class Remote:
    """An account at a server. `client()` -> an imaplib client; `mailbox(text)`: a mailbox's name
    as the server has it."""

    def __init__(self, name, account, client, separator="/", prefix=""):
        self.name, self.account, self.client = name, account, client
        self._separator, self._prefix = separator, prefix

    def mailbox(self, text):
        if text != "INBOX":
            text = self._prefix + text.replace("/", self._separator)
        return quoted(utf7.encode(text).decode("ascii"))

    def append(self, box, *messages, flags=None):
        client = self.client()
        for one in messages:
            ok(client.append(self.mailbox(box), flags, '"06-May-2019 10:11:12 +0200"', one))
        client.logout()

    def open(self, **changes):
        return open_source(self.account._replace(**changes), self.account.passphrase, LIMIT)


def at_other(name, server):
    def client():
        one = imaplib.IMAP4("127.0.0.1", server.port)
        one.login(mail_sources.USER, mail_sources.PASSPHRASE)
        return one
    form = {"Dovecot": (".", ""), "Courier": (".", "INBOX."), "Cyrus": ("/", "")}[name]
    return Remote(name, account_of(boxes=(("Inbox", "filter"),), **server.account()), client, *form)


def at_ours(name, house, user):
    account = account_of(
        server="localhost", port=house.ports[name], protocol=name, starttls=name == "imap",
        username=user.address, passphrase=user.passphrase, boxes=(("Inbox", "filter"),),
        fingerprint=tls.Certificates(house.certificate, "").fingerprint())
    return Remote(name, account, lambda: house.imap(user))


@pytest.fixture(params=["Dovecot", "Courier", "Cyrus", "imaps", "imap"])
def remote(request, absent):
    if request.param in ("imaps", "imap"):
        yield at_ours(request.param, request.getfixturevalue("house"),
                      request.getfixturevalue("user"))
        return
    kind = getattr(mail_sources, request.param)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        os.chmod(folder, 0o755)  # the servers run as another user
        try:
            server = running.enter_context(kind(os.path.join(folder, "server")))
        except Missing as missing:
            absent("the program %s" % missing)
        yield at_other(request.param, server)


def never(key):
    return False


def fetched(source, after=0):
    return [b"".join(pieces) for _, pieces in source.read_all(source.new(after, never))]


def test_messages_arrive_byte_for_byte(remote):
    sent = list(ODD.values()) + [BIG]
    remote.append("INBOX", *sent, flags="(\\Flagged)")
    with remote.open() as source:
        box = source.open("Inbox")
        assert box.count == len(sent) and box.validity
        messages = list(source.new(0, never))
        assert [m.size for m in messages] == [len(one) for one in sent]
        assert {m.flags for m in messages} == {("\\Flagged",)}
        assert {m.date for m in messages} == {1557130272.0}
        assert fetched(source) == sent
        pieces = list(source.read(messages[-1], 5))
        assert b"".join(pieces) == BIG[5:] and max(map(len, pieces)) == PIECE
        assert [m.key for m in source.new(int(messages[-2].key), never)] == [messages[-1].key]
        assert list(source.new(int(messages[-1].key), never)) == []


def test_names_of_mailboxes(remote):
    client = remote.client()
    for name in NAMES:
        ok(client.create(remote.mailbox(name)))
        ok(client.append(remote.mailbox(name), None, None, message("in " + str(ascii(name)))))
    client.logout()
    with remote.open() as source:
        assert set(NAMES) | {"Inbox"} <= set(source.list_boxes())
        for name in NAMES:
            assert source.open(name).count == 1
            assert fetched(source) == [message("in " + str(ascii(name)))]
        with pytest.raises(BoxGone, match="has no mailbox Nothing/here"):
            source.open("Nothing/here")
        assert source.open("inbox").count == 0
        assert fetched(source) == []


def test_removes_what_was_fetched_and_nothing_else(remote):
    sent = [message("n%d" % number) for number in range(5)]
    remote.append("INBOX", *sent[:3])
    remote.append("INBOX", sent[3], flags="(\\Deleted)")
    remote.append("INBOX", sent[4])
    with remote.open(remove=True) as source:
        source.open("Inbox")
        messages = list(source.new(0, never))
        source.remove([messages[0], messages[2], messages[4]])
        with pytest.raises(MessageGone):
            list(source.read(messages[2]))
    with remote.open() as source:
        source.open("Inbox")
        assert fetched(source) == [sent[1], sent[3]]
        source.remove([messages[1]])  # it was opened for reading
        source.open("Inbox")
        assert fetched(source) == [sent[3]]


def test_changed_flags(remote):
    remote.append("INBOX", message("one"), message("two"))
    with remote.open() as source:
        box = source.open("Inbox")
        if not box.modseq:
            assert remote.name == "Courier"
            return
        keys = [m.key for m in source.new(0, never)]
        client = remote.client()
        ok(client.select("INBOX"))
        ok(client.store("2", "+FLAGS", "(\\Answered $Forwarded)"))
        client.logout()
        [changed] = source.changed_flags(box.modseq)
        assert changed.key == keys[1]
        assert set(changed.flags) == {"\\Answered", "$Forwarded"}


def test_new_mail_is_announced(remote):
    with remote.open() as source:
        box = source.open("Inbox")
        assert source.can_wait
        assert not source.wait(0.1, None)
        sent = []

        def send():
            remote.append("INBOX", message("news"))
            sent.append(time.monotonic())
        thread = threading.Timer(0.2, send)
        thread.start()
        waker = Waker()
        assert source.wait(60, waker)
        waited = time.monotonic()
        thread.join()
        waker.close()
        if remote.name in ("imap", "imaps"):
            assert waited - sent[0] < 0.2
        assert fetched(source, box.next_uid - 1 if box.next_uid else 0) == [message("news")]


def test_wrong_passphrase(remote):
    if remote.name == "Cyrus":
        return  # it takes any passphrase
    with pytest.raises(LoginRefused, match="refused the login of"):
        open_source(remote.account, "wrong", LIMIT)
