"""Users' files in a running server: read once for each state; a broken file affects its user
only."""

import imaplib
import os
import smtplib

import pytest

from phenmail import MailServer
from phenmail_protocols.accounts.userfiles import BrokenUser, UserFiles
from phenmail_protocols.config.loader import load_user
from phenmail_protocols.config.root_folder import Root

HASH = "0" * 64


class Counted:
    """UserFiles of one user that count how often they read."""

    def __init__(self, path):
        self.root = Root(str(path))
        self.folder = os.path.join(self.root.path, "alice", "mail")
        os.makedirs(self.folder)
        self.reads, self.time = 0, 1e9
        self.files = UserFiles(self.load)

    def load(self, folder, looked_for):
        self.reads += 1
        return load_user(os.path.join(folder, "mail.jcfg"), self.root, looked_for)

    def write(self, text, name="mail.jcfg"):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        self.time += 10
        os.utime(path, (self.time, self.time))

    def asked(self, times=1):
        for _ in range(times):
            try:
                found = self.files.settings(self.folder).passphrase
            except BrokenUser as error:
                found = str(error)
        return found


@pytest.fixture
def user(tmp_path):
    return Counted(tmp_path)


@pytest.mark.parametrize("text", ['{"passphrase": "%s"}' % HASH, "{", '{"x": 1}', None])
def test_each_state_is_read_once(user, text):
    if text is not None:
        user.write(text)
    first = user.asked(1000)
    assert user.reads == 1
    user.write('{"passphrase": "%s"}' % ("1" * 64))
    assert user.asked(10) == "1" * 64 != first and user.reads == 2


def test_a_changed_included_file_counts(user):
    user.write('{"include": ["more"]}')
    assert "more" in user.asked(10) and user.reads == 1
    user.write('{"passphrase": "%s"}' % HASH, "more")
    assert user.asked(10) == HASH and user.reads == 2
    user.write('{"passphrase": "}', "more")
    assert "alice/mail/more:1:16" in user.asked(10) and user.reads == 3
    os.unlink(os.path.join(user.folder, "more"))
    assert "more" in user.asked(10) and user.reads == 4


def test_a_pipe_is_asked_for_once_too(user):
    os.mkfifo(os.path.join(user.folder, "mail.jcfg"))
    assert "not a regular file" in user.asked(10) and user.reads == 1


def test_what_is_kept_and_logged_of_many_mistakes_is_little(user, caplog):
    user.write('{"x": [' + "y," * 100000 + "0]}")
    text = user.asked(10)
    assert text.endswith("and 95 more") and len(text) < 2000
    assert len(caplog.records) == 1 and len(caplog.text) < 3000


def test_whatever_goes_wrong_is_one_users_trouble(user, caplog, monkeypatch):
    monkeypatch.setattr(user, "load", None)
    user.files = UserFiles(lambda folder, looked_for: 1 / 0)
    assert "ZeroDivisionError" in user.asked()


@pytest.mark.parametrize("text", [b"{\x01 5}", b'{"x":[' + b"0," * (2 << 20) + b"0]}", b"\xff",
                                  b"[" * 300000,
                                  b'{"include": ["mail.jcfg"]}', b'{"passphrase": 1e999999}'],
                         ids=["control", "large", "no UTF-8", "deep", "itself", "a number"])
def test_a_strangers_mail_for_that_user_is_put_off_and_others_get_theirs(tmp_path, text):
    with MailServer(root=str(tmp_path), settings={
            "sender-domain": "example.org", "relay": False, "pop": False,
            "smtp": {"host": "127.0.0.1", "port": 0},
            "imap": {"host": "127.0.0.1", "port": 0, "disable-ssl": True},
            "domains": {"example.org": {"alice": "/alice/mail", "bob": "/bob/mail"}}},
            users={"bob@example.org": "secret"}) as server:
        os.makedirs(str(tmp_path / "alice" / "mail"), exist_ok=True)
        (tmp_path / "alice" / "mail" / "mail.jcfg").write_bytes(text)
        with smtplib.SMTP("127.0.0.1", server.port("smtp"), timeout=30) as client:
            client.helo()
            client.mail("x@example.com")
            assert [client.rcpt("alice@example.org")[0] for _ in range(3)] == [451] * 3
            assert client.rcpt("bob@example.org")[0] == 250
        client = imaplib.IMAP4("127.0.0.1", server.port("imap"))
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
            client.login("alice@example.org", "secret")
        client.login("bob@example.org", "secret")
        client.logout()
