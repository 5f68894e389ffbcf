"""A whole server fetches from Dovecot, by IMAP and POP3."""
import imaplib
import shutil
import tempfile
import time

import pytest

from phenmail import MailServer
from phenmail_protocols.fetch import service
from tests.bench.messages import PASSPHRASE, USER
from tests.bench.peers.dovecot import Dovecot
from tests.bench.peers.process import Missing
from tests.fetch.scripted import subject
from tests.fetch.test_service import eventually
from tests.fetch.test_whole import Near, first_job
from tests.interop.house import ok


class Far:
    """Dovecot with one account, as tests.fetch.test_whole.Near wants a server."""

    def __init__(self, peer):
        self.peer = peer

    def port(self, name):
        return self.peer.ports[name]

    def client(self):
        client = imaplib.IMAP4("127.0.0.1", self.port("imap"))
        client.login(USER, PASSPHRASE)
        return client

    def append(self, number, flags=None, mailbox="INBOX", body="text\r\n"):
        client = self.client()
        data = "Message-ID: <%s@far.example>\r\nSubject: m%s\r\n\r\n%s" % (number, number, body)
        ok(client.append(mailbox, flags, '"06-May-2019 10:11:12 +0200"', data.encode()))
        client.logout()

    def count(self):
        client = self.client()
        found = int(ok(client.select("INBOX", readonly=True))[0])
        client.logout()
        return found


@pytest.fixture
def far(absent):
    # Not pytest's folder: the server runs as another user, who may not enter that.
    folder = tempfile.mkdtemp()
    try:
        peer = Dovecot(folder)
        try:
            peer.start()
            yield Far(peer)
        finally:
            peer.stop()
    except Missing as missing:
        absent(str(missing))
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def near(tmp_path, far, monkeypatch):
    monkeypatch.setattr(service, "_READ", 0.2)
    near = Near(tmp_path / "near", far)
    configure = near.configure
    near.configure = lambda protocol="imap", **values: configure(
        protocol=protocol, username=USER, passphrase=PASSPHRASE, **values)
    return near


@pytest.mark.parametrize("protocol", ["imap", "pop"])
def test_mail_moves_byte_by_byte(near, far, protocol):
    body = "a line\r\n.\r\n..\r\n" * 30000
    far.append(1, body=body)
    for number in range(2, 150):
        far.append(number)
    near.configure(protocol, remove=True)
    with MailServer(near.root) as server:
        eventually(lambda: far.count() == 0, seconds=30)
        messages = near.messages(server)
    assert [subject(data) for data in messages] == ["m%d" % number for number in range(1, 150)]
    assert messages[0].endswith(b"\r\nSubject: m1\r\n\r\n" + body.encode())


def test_flags_dates_and_mailboxes(near, far):
    client = far.client()
    ok(client.create("B&APw-cher"))
    client.logout()
    far.append(1, "(\\Seen \\Flagged Work)")
    far.append(2, mailbox="B&APw-cher")
    near.configure(**{"keep-flags": True,
                      "boxes": ["Inbox", {"B\u00fccher": "accept:Lists/B\u00fccher"}]})
    with MailServer(near.root) as server:
        eventually(lambda: first_job(server).status.fetched == 2)
        account = server.store.account(near.path("mail"))
        inbox, books = account.open("INBOX"), account.open("Lists/B\u00fccher")
        rows = inbox.rows([1])
        assert [set(flags) for flags in rows.flags] == [{"\\Seen", "\\Flagged", "Work"}]
        assert list(rows.dates) == [1557130272] and books.state().count == 1
        inbox.close()
        books.close()


def test_mail_comes_at_once_by_idle(near, far):
    near.configure()
    with MailServer(near.root) as server:
        job, times = first_job(server), []
        for number in range(5):
            eventually(lambda: job.status.state == "waiting for new mail")
            far.append(number)
            began = time.monotonic()
            eventually(lambda: len(near.messages(server)) == number + 1)
            times.append(time.monotonic() - began)
        # Dovecot looks for changes twice a second, unless inotify tells it.
        assert sorted(times)[2] < 1.0, times


def test_old_mail_is_ignored_and_a_restart_repeats_nothing(near, far):
    far.append(1)
    near.configure(**{"first-time": "ignore-all"})
    for number in (2, 3):
        with MailServer(near.root) as server:
            eventually(lambda: first_job(server).status.last_success)
            far.append(number)
            eventually(lambda: len(near.messages(server)) == number - 1)
            subjects = [subject(data) for data in near.messages(server)]
    assert subjects == ["m2", "m3"]
