"""What is derived in idle moments is what clients get without it, and then no message is read."""
import os
import random

import pytest

from phenmail_protocols.imap.fetching import derivations
from phenmail_protocols.store.deriving import derivation
from phenmail_protocols.store.mailbox import Mailbox
from tests.mail import hostile, samples

ITEMS = ("ENVELOPE", "BODY", "BODYSTRUCTURE", "PREVIEW",
         "BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID References)]",
         "BODY.PEEK[HEADER.FIELDS.NOT (Received)]", "BODY.PEEK[HEADER.FIELDS (X-Own)]")
COMMANDS = (["FETCH 1:* (%s)" % item for item in ITEMS]
            + ["SORT (%s) UTF-8 ALL" % key for key in ("SUBJECT", "REVERSE DATE", "FROM TO CC")]
            + ["THREAD REFERENCES UTF-8 ALL", "SEARCH SUBJECT e", "SEARCH NOT FROM example",
               "SEARCH SENTSINCE 1-Jan-2000", "SEARCH HEADER Message-ID <"])


def derive(store, tmp_path):
    step = derivation.Derivation(derivations.derive, "1", lambda: None)
    while step(store.account(str(tmp_path / "mail"))):
        pass


def messages():
    chance = random.Random(3)
    ugly = list(samples.UGLY.values()) + [samples.NESTED]
    made = [make(chance.choice((1000, 20000))) for make in hostile.SHAPES.values()]
    return [message.replace(b"\0", b"?") for message in ugly + made]


def test_the_same_with_and_without(connect, store, tmp_path):
    client = connect()
    for message in messages():
        client.append(message)
    fresh = {command: client.ok(command) for command in COMMANDS}
    for mailbox in "Archive", "Drafts":
        client.ok("COPY 1:* " + mailbox)
    client.ok("SELECT Archive")
    for item in ITEMS:
        client.ok("FETCH 1 (%s)" % item)  # so that BODY and the choices of fields are wanted
    derive(store, tmp_path)
    for mailbox in "Archive", "Drafts":
        client.ok("SELECT " + mailbox)
        for command in COMMANDS:
            assert client.ok(command) == fresh[command], (mailbox, command)


@pytest.mark.parametrize("command", [
    "FETCH 1:* (ENVELOPE)", "FETCH 1:* (BODYSTRUCTURE)", "FETCH 1:* (PREVIEW)",
    "FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (To From Date Subject)])",
    "FETCH 1:* (BODY.PEEK[HEADER.FIELDS (References List-Id X-Priority)] ENVELOPE)",
    "SORT (SUBJECT) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL", "SEARCH FROM a CC b"])
def test_no_message_is_read(connect, store, tmp_path, monkeypatch, command):
    client = connect()
    for number in range(3):
        client.append(b"Subject: %d\r\nFrom: a@example.org\r\n\r\nHello.\r\n" % number)
    derive(store, tmp_path)
    monkeypatch.setattr(Mailbox, "content_of", lambda *_: pytest.fail("it was read"))
    client.ok(command)


def test_a_large_header_is_not_kept(connect, store, tmp_path):
    client = connect()
    client.append(b"Subject: large\r\n" + b"X-Other: %b\r\n" % (b"x" * 900) * 400 + b"\r\nHello.\r\n")
    derive(store, tmp_path)
    mailbox = store.account(str(tmp_path / "mail")).open("INBOX")
    assert not mailbox.cached(derivations.HEADER, [1])
    assert mailbox.cached("PREVIEW", [1]) == {1: b'"Hello."'}
    assert client.ok("SEARCH SUBJECT large") == [b"* SEARCH 1"]
    assert b"large" in client.ok("FETCH 1 ENVELOPE")[0]
    mailbox.close()


@pytest.mark.parametrize("command", [
    "FETCH 1:* (UID RFC822.SIZE INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS (TO SUBJECT)])",
    "FETCH 1:* (ENVELOPE RFC822.SIZE)", "FETCH 1:* (BODYSTRUCTURE INTERNALDATE)"])
@pytest.mark.parametrize("sizes", ["", ",S=39,W=43", ",S=7,W=8"])
def test_a_message_from_elsewhere_is_opened_once(connect, tmp_path, monkeypatch, command, sizes):
    """Also when its size is not known yet, whatever its name says about it."""
    client = connect()
    for number in range(3):
        path = tmp_path / "mail" / ".Archive" / "cur" / ("%d.other%s:2,S" % (number + 1, sizes))
        path.write_bytes(b"Subject: %d\nFrom: a@example.org\n\nHello.\n" % number)
    client.ok("SELECT Archive")
    opened, really = [], os.open

    def counting(path, *more, **options):
        if ".other" in str(path):
            opened.append(path)
        return really(path, *more, **options)
    monkeypatch.setattr(os, "open", counting)
    lines = client.ok(command)
    assert len(lines) == 3 and len(opened) == 3
    assert b"RFC822.SIZE 43" in lines[0] or "SIZE" not in command
    opened.clear()
    assert b"RFC822.SIZE 43" in client.ok("FETCH 1:* (RFC822.SIZE)")[-1]
    assert opened == []
