"""Remembered results of SORT and THREAD: the same as without them, and bounded."""
import random
from types import SimpleNamespace

import pytest

from phenmail_protocols.imap.orders import Orders

from . import wire

COMMANDS = ("SORT (SUBJECT) UTF-8 ALL", "UID SORT (REVERSE DATE SUBJECT) UTF-8 ALL",
            "SORT (FROM) UTF-8 SEEN", "THREAD REFERENCES UTF-8 ALL",
            "UID THREAD ORDEREDSUBJECT UTF-8 ALL", "UID THREAD REFERENCES UTF-8 UNSEEN")


def test_results_while_the_mailbox_changes(store, tmp_path):
    """One server remembers, the other one does not."""
    chance = random.Random(5)
    remembers = wire.server(store, tmp_path / "mail", orders=Orders())
    forgets = wire.server(store, tmp_path / "mail", orders=Orders(most=0))
    with wire.Client(remembers) as one, wire.Client(forgets) as other:
        one.log_in("INBOX")
        other.log_in("INBOX")
        for number in range(60):
            kind = chance.random()
            if kind < 0.5:
                one.append(b"Subject: %sabc%d\r\nMessage-ID: <%d@x>\r\nReferences: <%d@x>\r\n\r\n" % (
                    chance.choice((b"Re: ", b"")), chance.randrange(5), number,
                    chance.randrange(60)))
            elif kind < 0.7:
                one.ask("STORE %d +FLAGS (%s)" % (
                    chance.randint(1, 9), chance.choice(("\\Deleted", "\\Seen"))))
            elif kind < 0.8:
                one.ok("EXPUNGE")
            for client in one, other:
                client.ok("NOOP")
            for command in COMMANDS:
                assert one.ok(command) == other.ok(command)


@pytest.fixture
def mailbox():
    def mailbox(path="a", uidvalidity=1):
        return SimpleNamespace(path=path, uidvalidity=uidvalidity, existing=lambda uids: uids)
    return mailbox


def test_what_a_result_depends_on(mailbox):
    kept = Orders()
    assert kept.find(mailbox(), "x", [1, 2], (), lambda: b"1") == b"1"
    assert kept.find(mailbox(), "x", [1, 2], (), lambda: b"2") == b"1"
    assert kept.find(mailbox("b"), "x", [1, 2], (), lambda: b"3") == b"3"
    assert kept.find(mailbox("a", 2), "x", [1, 2], (), lambda: b"4") == b"4"
    assert kept.find(mailbox(), "y", [1, 2], (), lambda: b"5") == b"5"
    assert kept.find(mailbox(), "x", [1], (2,), lambda: b"6") == b"6"


def test_a_result_that_may_lack_messages_is_not_kept(mailbox):
    kept, box = Orders(), mailbox()
    box.existing = lambda uids: uids[1:]
    assert kept.find(box, "x", [1, 2], (), lambda: b"1") == b"1"
    assert kept.find(mailbox(), "x", [1, 2], (), lambda: b"2") == b"2"


def test_they_are_bounded(mailbox):
    kept = Orders(most=1000)
    for number in range(50):
        kept.find(mailbox(), number, range(10), (), lambda: b"x" * 60)
    assert kept.find(mailbox(), 49, range(10), (), lambda: b"new") == b"x" * 60
    assert kept.find(mailbox(), 0, range(10), (), lambda: b"new") == b"new"
    kept.find(mailbox(), "large", range(10), (), lambda: b"x" * 2000)
    assert kept.find(mailbox(), "large", range(10), (), lambda: b"again") == b"again"
