"""The other server by IMAP: a Gmail-like one, and this server itself."""
import pytest

from phenmail_protocols.config.settings import FetchAccount
from phenmail_protocols.fetch.adopting.imap_remote import open_remote
from phenmail_protocols.fetch.adopting.remote import Entry, TooLarge
from phenmail_protocols.fetch.source import BoxGone, LoginRefused
from tests.fetch.gmail import ALL, Gmail

from .conftest import message

USER = "someone@gmail.example"


def account_of(port, username=USER, **options):
    return FetchAccount("127.0.0.1", port, "imap", False, username, "", 300.0, "ignore-all", (),
                        True, False)._replace(**options)


@pytest.fixture
def gmail():
    with Gmail() as running:
        yield running


@pytest.fixture
def remote(gmail):
    remote = open_remote(account_of(gmail.port), "secret", 1 << 20)
    yield remote
    remote.close()


def whole(remote, entries):
    return {entry.uid: b"".join(pieces) for entry, pieces in remote.bodies(entries)}


def test_mailboxes(gmail, remote):
    gmail.label("B\u00fccher/2019")
    found = {each.name: each for each in remote.listed()}
    assert remote.has_labels and remote.personal() == ""
    assert found["[Gmail]/All Mail"].attributes >= {"\\all"}
    assert found["B\u00fccher/2019"].subscribed and found["B\u00fccher/2019"].separator == "/"
    assert "\\noselect" in found["[Gmail]"].attributes
    with pytest.raises(BoxGone):
        remote.open("nowhere")


def test_entries_with_labels(gmail, remote):
    gmail.add(message(1), ["\\Inbox", "B\u00fccher/2019", "two words"], ["\\Seen", "Own"], 1400000000)
    gmail.add(message(2), [])
    for quoted in True, False:
        gmail.quoted_labels = quoted
        remote.listed()
        assert remote.open(ALL).count == 2
        first, second = remote.entries(lambda uid: True)
        assert first._replace(flags=set(first.flags), labels=set(first.labels)) == Entry(
            1, len(message(1)), {"\\Seen", "Own"}, 1400000000, str(gmail.messages[0].msgid),
            {"\\Inbox", "B\u00fccher/2019", "two words"})
        assert second.labels == ()
        assert list(remote.entries(lambda uid: uid == 2)) == [second]
    assert whole(remote, [first, second]) == {1: message(1), 2: message(2)}
    assert b"".join(remote.rest(first, 10)) == message(1)[10:]
    assert b"Message-ID: <1@there>" in remote.header(1) and remote.header(7) == b""


def test_counts(gmail, remote):
    for number in range(500):
        gmail.add(b"x" * (100 if number % 2 else 300), [])
    remote.listed()
    messages, octets = remote.counts(ALL)
    assert messages == 500 and 80000 < octets < 120000
    assert remote.counts("INBOX") == (0, 0)


def test_a_message_larger_than_the_limit(gmail):
    gmail.add(b"x" * 600000, [])
    gmail.add(message(1), [])
    remote = open_remote(account_of(gmail.port), "secret", 300000)
    remote.open(ALL)
    first, second = remote.entries(lambda uid: True)
    pairs = iter(remote.bodies([first._replace(size=10), second]))
    with pytest.raises(TooLarge):
        list(next(pairs)[1])
    assert b"".join(next(pairs)[1]) == message(1)
    remote.close()


def test_a_wrong_passphrase(gmail):
    with pytest.raises(LoginRefused):
        open_remote(account_of(gmail.port), "wrong", 1 << 20)
