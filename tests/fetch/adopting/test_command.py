"""The command `adopt` as a child process: from this server over TLS, and from a Gmail-like one."""
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys

import pytest

from phenmail_protocols.accounts import users
from phenmail_protocols.admin import adopt, init
from phenmail_protocols.app import MailServer
from phenmail_protocols.config import loader
from phenmail_protocols.config.root_folder import Root
from phenmail_protocols.fetch.adopting.copying import make_mailbox
from phenmail_protocols.mail.address import Address
from phenmail_protocols.store.filestore import FileStore
from phenmail_protocols.testing.fixture import MailFixture
from phenmail_protocols.text.obscured import unobscure
from tests.fetch.gmail import Gmail
from tests.interop.house import eventually
from tests.interop.terminal import Terminal
from tests.served import served

from .conftest import message

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(loader.__file__)), "..", "..", "phenmail.py")
# A server without listeners, which fetches for bob.
SILENT = {"sender-domain": "example.net", "smtp": False, "imap": False, "pop": False,
          "relay": False, "domains": {"example.net": {"bob": "/bob/mail"}}}
ADDRESS, PASSPHRASE = "alice@example.org", "the passphrase of alice"


class Root_(object):
    """The root folder of bob, who adopts."""

    def __init__(self, folder):
        self.root = Root(str(folder / "root"))
        init.make_root(self.root, "bob", "example.net")
        self.folder = os.path.join(self.root.path, "bob", "mail")
        self.fetcher = os.path.join(self.root.path, "bob", "system", "config", "mail-fetcher.jcfg")

    def accounts(self, *accounts):
        os.makedirs(os.path.dirname(self.fetcher), exist_ok=True)
        with open(self.fetcher, "w") as file:
            json.dump({"accounts": accounts}, file)

    def start(self, *words, stdin=b""):
        child = subprocess.Popen(
            [sys.executable, PROGRAM, "--root", self.root.path, "adopt"] + list(words),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdin.write(stdin)
        child.stdin.close()
        child.stdin = None
        return child

    def adopt(self, *words, code=0, stdin=b""):
        child = self.start(*words, stdin=stdin)
        out, err = child.communicate(timeout=60)
        assert child.returncode == code, (out + err).decode()
        return out.decode(), err.decode()

    def here(self):
        """{mailbox: [(octets, flags, date)]} of all mailboxes with messages, and subscriptions."""
        store = FileStore(poll=3600)
        try:
            account, found = store.account(self.folder), {}
            for each in account.mailboxes():
                if not each.selectable:
                    continue
                mailbox = account.open(each.name)
                state = mailbox.state()
                rows = mailbox.rows(state.uids[:state.count])
                if state.count:
                    found[each.name] = list(zip(served(mailbox), map(set, rows.flags), rows.dates))
                mailbox.close()
            return found, set(account.subscriptions())
        finally:
            store.close()

    def arrived(self, folder=""):
        count = 0
        for part in "new", "cur":
            try:
                count += len(os.listdir(os.path.join(self.folder, folder, part)))
            except FileNotFoundError:
                pass
        return count


@pytest.fixture
def bob(tmp_path):
    return Root_(tmp_path)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return str(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def source(keys):
    with MailFixture(keys=keys) as running:
        yield running


def fill(source, mailboxes, subscribed=()):
    """Put messages, (octets, flags, date), into mailboxes of alice at the other server."""
    mail = source.server.store.account(source.server.directory.resolve(
        Address("alice", "example.org")).folder)
    for name, messages in mailboxes.items():
        make_mailbox(mail, name)
        arrived = []
        for octets, flags, date in messages:
            staged = mail.stage()
            staged.write(octets)
            staged.sync(date)
            arrived.append((staged, flags))
        mail.deliver_all(name, arrived)
    for name in subscribed:
        mail.subscribe(name)


def account(source, **options):
    with open(source.certificate) as file:
        der = ssl.PEM_cert_to_DER_cert(file.read())
    return dict({"server": source.imaps[0], "port": source.imaps[1], "username": ADDRESS,
                 "passphrase": PASSPHRASE, "name": "old",
                 "fingerprint": hashlib.sha256(der).hexdigest()}, **options)


def test_from_this_server_over_tls(bob, source):
    fill(source, {
        "INBOX": [(message(number), ["\\Seen"], 1400000000 + number) for number in range(70)],
        "Lists/dev/2019": [(message(100), ["$Forwarded", "Own", "\\Flagged"], 1300000000)],
        "B\u00fccher": [(message(101, 300000), ["\\Answered"], 1200000000)],
        "Sent": [(message(102), [], 1500000000)]}, ["Lists/dev/2019"])
    bob.accounts(account(source))
    out, _ = bob.adopt(ADDRESS, "--from", "old", "--yes")
    assert "alice@example.org on 127.0.0.1, to bob@example.net" in out
    assert "73 messages" in out and "Nothing is changed at 127.0.0.1." in out
    lines = [line.split() for line in out.splitlines()]
    assert ["INBOX", "70", "70", "70", "0"] in lines and ["all", "73", "73", "73", "0"] in lines
    found, subscribed = bob.here()
    assert found["INBOX"] == [(message(number), {"\\Seen"}, 1400000000 + number)
                              for number in range(70)]
    assert found["Lists/dev/2019"] == [(message(100), {"$Forwarded", "Own", "\\Flagged"}, 1300000000)]
    assert found["B\u00fccher"] == [(message(101, 300000), {"\\Answered"}, 1200000000)]
    assert found["Sent"] == [(message(102), set(), 1500000000)]
    assert "Lists/dev/2019" in subscribed and "B\u00fccher" not in subscribed
    # again, and a new message there
    fill(source, {"INBOX": [(message(200), [], 1600000000)]})
    fill(source, {"Sent": [(message(201), [], 1600000000)]})
    out, _ = bob.adopt(ADDRESS, "--compare", code=1)
    assert "INBOX: messages that fetching has brought or will bring: 1" in out
    assert "Sent: <201@there>: not in Sent: it arrived there after the copying" in out
    out, _ = bob.adopt(ADDRESS, "--yes")
    assert "(73 were copied before)" in out
    assert len(bob.here()[0]["Sent"]) == 2 and len(bob.here()[0]["INBOX"]) == 70
    out, _ = bob.adopt(ADDRESS, "--compare")
    assert ["all", "74", "74", "74", "0"] in [line.split() for line in out.splitlines()]


def test_killed_twice_in_the_middle(bob, source):
    messages = [message(number, 2000) for number in range(900)]
    fill(source, {"INBOX": [(octets, ["\\Seen"] if number % 2 else [], 1400000000 + number)
                            for number, octets in enumerate(messages)]})
    bob.accounts(account(source))
    for enough in 100, 400:
        child = bob.start(ADDRESS, "--yes")
        eventually(lambda: bob.arrived() >= enough or child.poll() is not None, "messages")
        child.send_signal(signal.SIGKILL)
        child.communicate()
        assert child.returncode == -signal.SIGKILL
    assert 400 <= bob.arrived() < 900
    out, _ = bob.adopt(ADDRESS, "--yes")
    found = bob.here()[0]["INBOX"]
    assert [octets for octets, _, _ in found] == messages
    assert ["INBOX", "900", "900", "900", "0"] in [line.split() for line in out.splitlines()]


def test_interrupted(bob, source):
    fill(source, {"INBOX": [(message(number, 2000), [], 1400000000) for number in range(600)]})
    bob.accounts(account(source))
    child = bob.start(ADDRESS, "--yes")
    eventually(lambda: bob.arrived() >= 64 or child.poll() is not None, "messages")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 1 and b"The same command goes on where it was." in err
    assert b"Traceback" not in err
    bob.adopt(ADDRESS, "--yes")
    assert len(bob.here()[0]["INBOX"]) == 600


def test_from_a_gmail_like_server(bob):
    with Gmail() as gmail:
        gmail.add(message(1), ["\\Inbox", "Work/Clients"], ["\\Seen"], 1400000001)
        gmail.add(message(2), ["\\Sent", "\\Starred"], [], 1400000002)
        gmail.add(message(3), ["B\u00fccher", "\\Important"], [], 1400000003)
        gmail.add(message(4), [], ["\\Answered"], 1400000004)
        gmail.add(message(5), ["\\Spam"], [], 1400000005)
        gmail.add(message(6), ["\\Trash"], [], 1400000006)
        gmail.label("empty")
        bob.accounts({"server": "127.0.0.1", "port": gmail.port, "protocol": "imap",
                      "username": "someone@gmail.example", "passphrase": "secret"})
        out, _ = bob.adopt("someone@gmail.example", "--yes")
        assert ["all", "6", "6", "6", "0"] in [line.split() for line in out.splitlines()]
        found, subscribed = bob.here()
        assert found == {
            "INBOX": [(message(1), {"\\Seen"}, 1400000001)],
            "Work/Clients": [(message(1), {"\\Seen"}, 1400000001)],
            "Sent": [(message(2), {"\\Flagged"}, 1400000002)],
            "B\u00fccher": [(message(3), {"$Important"}, 1400000003)],
            "Archive": [(message(4), {"\\Answered"}, 1400000004)],
            "Junk": [(message(5), set(), 1400000005)],
            "Trash": [(message(6), set(), 1400000006)]}
        assert {"empty", "Work/Clients"} <= subscribed
        assert gmail.messages[1].flags == set()  # nothing is changed there
        bodies = [command for command in gmail.commands if "BODY.PEEK[]" in command]
        assert not [command for command in gmail.commands
                    if set(command.split()) & {"STORE", "EXPUNGE", "APPEND", "CREATE", "MOVE"}]
        bob.adopt("someone@gmail.example", "--yes")
        assert [command for command in gmail.commands if "BODY.PEEK[]" in command] == bodies
        assert bob.here()[0] == found


def test_a_line_that_breaks_at_a_gmail_like_server(bob):
    with Gmail() as gmail:
        for number in range(30):
            gmail.add(message(number, 60000), ["\\Inbox"], [], 1400000000 + number)
        gmail.drop(after=900000)
        bob.accounts({"server": "127.0.0.1", "port": gmail.port, "protocol": "imap",
                      "username": "someone@gmail.example", "passphrase": "secret"})
        out, _ = bob.adopt("someone@gmail.example", "--yes")
        assert "closed the connection; continues at" in out
        assert [octets for octets, _, _ in bob.here()[0]["INBOX"]] == [
            message(number, 60000) for number in range(30)]


@pytest.mark.parametrize("words, stdin, expected", [
    (["nobody"], b"", "no IMAP server was found for nobody"),
    ([ADDRESS, "--from", "other"], b"", "has no account other; it has old"),
    ([ADDRESS, "--as", "carol"], b"", "no such user: carol"),
    ([ADDRESS, "--from", "pop"], b"", "POP3"),
])
def test_what_is_wrong(bob, words, stdin, expected):
    bob.accounts({"server": "127.0.0.1", "username": "x", "passphrase": "y",
                  "name": "pop" if "pop" in words else "old",
                  "protocol": "pops" if "pop" in words else "imaps"})
    out, err = bob.adopt(*words, code=1, stdin=stdin)
    assert expected in err and "Traceback" not in err


@pytest.mark.parametrize("inner", ["", "mail", "system", "system/config",
                                   "system/config/mail-fetcher.adopted"])
def test_no_folder_on_the_way_may_be_somebody_elses(bob, monkeypatch, inner):
    os.makedirs(os.path.join(bob.root.path, "bob/system/config/mail-fetcher.adopted"))
    folder = os.path.realpath(bob.folder)
    adopt.check_owner(bob.root, folder)
    stat, other = os.stat, os.path.normpath(os.path.join(os.path.dirname(folder), inner))

    def changed(path, *arguments, **options):
        values = list(stat(path, *arguments, **options))
        if path == other:
            values[4] += 1
        return os.stat_result(values)
    monkeypatch.setattr(os, "stat", changed)
    with pytest.raises(users.UserError, match="%s belongs to another user" % other):
        adopt.check_owner(bob.root, folder)


def test_a_mail_folder_outside_the_root(bob, tmp_path):
    with pytest.raises(users.UserError, match="is outside the root folder"):
        adopt.check_owner(bob.root, str(tmp_path))


def test_a_wrong_passphrase_and_a_strange_certificate(bob, source):
    bob.accounts(account(source, passphrase="wrong"))
    assert "refused the login of alice@example.org" in bob.adopt(ADDRESS, "--yes", code=1)[1]
    bob.accounts({key: value for key, value in account(source).items() if key != "fingerprint"})
    assert "is not trusted" in bob.adopt(ADDRESS, "--yes", code=1)[1]
    assert bob.adopt(ADDRESS, code=1)  # nobody is there to say yes


def test_what_it_asks_in_a_terminal(bob, source):
    fill(source, {"INBOX": [(message(1), ["\\Seen"], 1400000000)]})
    os.makedirs(os.path.dirname(bob.fetcher))
    with open(bob.fetcher, "w") as file:
        file.write('# mine\n{\n  "accounts": [\n  ]  # none yet\n}\n')
    with Terminal([sys.executable, PROGRAM, "--root", bob.root.path, "adopt", "alice"],
                  SSL_CERT_FILE=source.certificate) as terminal:
        for question, answer in [
                ("IMAP server of alice: ", "localhost:%d" % source.imaps[1]),
                ("User name there (alice): ", ADDRESS), ("Passphrase there: ", PASSPHRASE),
                ("Copy this? (yes) ", "yes"),
                ("Go on fetching new mail of alice@example.org? (yes) ", "yes")]:
            terminal.await_text(question)
            terminal.type(answer + "\n")
        terminal.await_text("new mail of alice@example.org is fetched from now on")
        terminal.await_end()
    assert bob.here()[0]["INBOX"] == [(message(1), {"\\Seen"}, 1400000000)]
    with open(bob.fetcher) as file:
        text = file.read()
    assert text.startswith("# mine\n") and "# none yet" in text and PASSPHRASE not in text
    account, = loader.load_fetcher(bob.fetcher, bob.root).accounts
    assert (account.server, account.port, account.username, account.protocol) == (
        "localhost", source.imaps[1], ADDRESS, "imaps")
    assert unobscure(account.passphrase) == PASSPHRASE


def test_fetching_goes_on_where_adopting_ended(bob):
    with Gmail() as gmail:
        for number in range(5):
            gmail.add(message(number), ["\\Inbox"], [], 1400000000 + number)
        bob.accounts({"server": "127.0.0.1", "port": gmail.port, "protocol": "imap",
                      "username": "someone@gmail.example", "passphrase": "secret",
                      "first-time": "download-all"})
        bob.adopt("someone@gmail.example", "--yes")
        gmail.add(message(7), ["\\Inbox"])
        bodies = len([command for command in gmail.commands if "BODY.PEEK[]" in command])
        with MailServer(bob.root.path, settings=SILENT):
            gmail.add(message(8), ["\\Inbox"])
            eventually(lambda: bob.arrived() == 7, "the new messages")
        out, _ = bob.adopt("someone@gmail.example", "--yes")
        assert bob.arrived() == 7
        assert ["[Gmail]/All", "Mail", "->", "Archive", "5", "5", "5", "0"] in [
            line.split() for line in out.splitlines()]
        assert "All Mail: messages that fetching has brought or will bring: 2" in out
        assert len([command for command in gmail.commands if "BODY.PEEK[]" in command]) <= bodies + 3
        received = [octets for octets, _, _ in bob.here()[0]["INBOX"]]
        assert received[:5] == [message(number) for number in range(5)]
        assert [octets[-30:] for octets in received[5:]] == [message(7)[-30:], message(8)[-30:]]


def test_fetching_goes_on_without_labels(bob, source):
    fill(source, {"INBOX": [(message(number), [], 1400000000) for number in range(5)]})
    bob.accounts(account(source))
    bob.adopt(ADDRESS, "--yes")
    fill(source, {"INBOX": [(message(7), [], 1400000000)]})
    with MailServer(bob.root.path, settings=SILENT):
        fill(source, {"INBOX": [(message(8), [], 1400000000)]})
        eventually(lambda: bob.arrived() == 7, "the new messages")
    for words in ["--yes"], ["--compare"]:
        out, _ = bob.adopt(ADDRESS, *words)
        assert bob.arrived() == 7
        assert ["INBOX", "5", "5", "5", "0"] in [line.split() for line in out.splitlines()]
        assert "INBOX: messages that fetching has brought or will bring: 2" in out


def test_beside_a_running_server(bob, source):
    """The store's locks keep the two apart; a client of the server sees what arrives."""
    fill(source, {"INBOX": [(message(number), [], 1400000000) for number in range(200)]})
    bob.accounts(account(source))
    with MailServer(bob.root.path, settings=dict(
            SILENT, domains={"example.net": {"bob": "/bob/mail"}})) as server:
        mail = server.store.account(bob.folder)
        mailbox = mail.open("INBOX")
        child = bob.start(ADDRESS, "--yes")
        own = 0
        while child.poll() is None:
            staged = mail.stage()
            staged.write(b"Subject: own\r\n\r\nown\r\n")
            mail.deliver("INBOX", staged)
            own += 1
        out, err = child.communicate()
        assert child.returncode == 0, out + err
        mail.look_at("INBOX")
        assert mailbox.state().count == 200 + own
        assert ["INBOX", "200", "200", "200", "0"] in [
            line.split() for line in out.decode().splitlines()]
        mailbox.close()
