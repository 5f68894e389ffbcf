"""The other server by IMAP: a Gmail-like one, and this server itself."""
import pytest

from phenmail_protocols.config.settings import FetchAccount
from phenmail_protocols.fetch.adopting import plan
from phenmail_protocols.fetch.adopting.copying import Copier
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


class Tokens(object):
    """As oauth.token_store.TokenSource."""

    def __init__(self, *tokens):
        self.tokens, self.refused = list(tokens), []

    def __call__(self):
        return self.tokens[0]

    def refuse(self, token):
        self.refused.append(token)
        if self.tokens[0] == token and len(self.tokens) > 1:
            del self.tokens[0]


def adopt(desk, gmail, after=None, **options):
    """Copy the Gmail account into the desk's house; `after(messages)` is called while it runs."""
    progress = desk.progress()
    real, copied = progress.advance, []

    def advance(messages, octets):
        copied.append(1)
        if after is not None:
            after(len(copied))
        real(messages, octets)

    progress.advance = advance
    copier = Copier(lambda: open_remote(account_of(gmail.port), "secret", 1 << 20, **options),
                    desk.owner, desk.house.account, str(desk.ledgers), progress, 1 << 20)
    remote = open_remote(account_of(gmail.port), "secret", 1 << 20, **options)
    made = plan.make(remote.listed(), remote.has_labels, remote.personal())
    remote.close()
    try:
        copier.run(made)
    finally:
        copier.close()


@pytest.mark.parametrize("bye", [False, True])
def test_a_token_that_expires_in_the_middle(gmail, desk, bye):
    for number in range(150):
        gmail.add(message(number), ["\\Inbox", "Work"], [], 1400000000 + number)
    gmail.tokens[USER] = {"one", "two"}
    tokens = Tokens("one", "two")
    adopt(desk, gmail, lambda count: count == 64 and gmail.expire("one", bye), token=tokens)
    assert tokens.refused == ["one"]
    assert desk.here("INBOX") == desk.here("Work") == [message(number) for number in range(150)]


def test_a_token_that_cannot_be_renewed(gmail, desk):
    for number in range(150):
        gmail.add(message(number), ["\\Inbox"])
    gmail.tokens[USER] = {"one"}
    with pytest.raises(LoginRefused):
        adopt(desk, gmail, lambda count: count == 64 and gmail.expire("one"), token=Tokens("one"))
    gmail.tokens[USER] = {"one"}
    adopt(desk, gmail, token=Tokens("one"))
    assert desk.here("INBOX") == [message(number) for number in range(150)]


@pytest.mark.parametrize("bye", [False, True])
def test_throttling_in_the_middle(gmail, desk, bye):
    for number in range(150):
        gmail.add(message(number, 10000), ["\\Inbox"])
    begun, real = desk.now, desk.sleep
    gmail.throttle(400000, bye)

    def sleep(seconds):
        real(seconds)
        if desk.now > begun + 400:
            gmail.throttle(None)

    desk.sleep = sleep
    adopt(desk, gmail)
    assert desk.here("INBOX") == [message(number, 10000) for number in range(150)]
    waits = [said for said in desk.said if "continues at" in said]
    assert "bandwidth" in waits[0] and "(60 s)" in waits[0] or "(1 min)" in waits[0]
    assert "(2 min)" in waits[1] and "(4 min)" in waits[2]


def test_labels_that_change_between_two_runs(gmail, desk):
    gmail.add(message(1), ["\\Inbox"])
    gmail.add(message(2), ["\\Inbox"])
    adopt(desk, gmail)
    gmail.label("Work")
    gmail.messages[0].labels = {"Work"}
    adopt(desk, gmail)
    # It is copied already: what became of it there and here meanwhile are two things.
    assert desk.here("INBOX") == [message(1), message(2)]
    assert desk.here("Work") == []


def test_a_new_uidvalidity_at_gmail(gmail, desk):
    for number in range(5):
        gmail.add(message(number), ["\\Inbox"])
    adopt(desk, gmail)
    gmail.renumber(ALL)
    commands = len([each for each in gmail.commands if "BODY.PEEK" in each])
    adopt(desk, gmail)
    assert len(desk.here("INBOX")) == 5
    assert len([each for each in gmail.commands if "BODY.PEEK" in each]) == commands
