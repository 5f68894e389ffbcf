"""IMAPClient and imap_tools, which Python scripts use instead of imaplib."""
import datetime
import os

import pytest

from tests.interop.house import ODD, SECONDS, bodies, message, ok
from tests.interop.remote import CLIENTS

SENT = datetime.datetime(2019, 5, 6, 10, 11, 12, tzinfo=datetime.timezone.utc)


@pytest.fixture
def library(absent, monkeypatch):
    """`library("imapclient")`: the module."""
    def find(name):
        monkeypatch.syspath_prepend(os.path.join(CLIENTS, "python"))
        try:
            return __import__(name)
        except ImportError:
            return absent("the Python package " + name)
    return find


@pytest.fixture
def imapclient(library, house, user):
    """A client that is logged in."""
    kind = library("imapclient").IMAPClient
    client = kind(house.host, house.ports["imap"], ssl=False, timeout=SECONDS)
    client.starttls(house.trust())
    client.login(user.address, user.passphrase)
    yield client
    client.logout()


def test_imapclient_has_all_that_a_mailbox_needs(imapclient, house, user):
    for sent in ODD.values():
        imapclient.append("INBOX", sent, ["\\Seen", "$Forwarded"],
                          SENT)
    imapclient.create_folder("Lists/Grüße")
    imapclient.subscribe_folder("Lists/Grüße")
    assert "Lists/Grüße" in [name for _, _, name in imapclient.list_folders()]
    assert imapclient.find_special_folder(b"\\Sent") == "Sent"
    assert imapclient.namespace().personal == (("", "/"),)
    assert imapclient.select_folder("INBOX")[b"EXISTS"] == len(ODD)
    found = imapclient.fetch(imapclient.search(), ["BODY.PEEK[]", "ENVELOPE", "BODYSTRUCTURE", "FLAGS"])
    assert [found[uid][b"BODY[]"] for uid in sorted(found)] == list(ODD.values())
    assert [found[uid][b"ENVELOPE"].subject.decode() for uid in sorted(found)] == list(ODD)
    assert found[len(ODD)][b"BODYSTRUCTURE"].is_multipart
    assert imapclient.search(["SUBJECT", "dots"]) == [1]
    assert imapclient.search(["BODY", "Grüße"], charset="UTF-8") == [2]
    assert imapclient.sort("REVERSE SIZE")[0] == len(ODD)
    assert len(imapclient.thread("REFERENCES")) == len(ODD)
    assert set(imapclient.add_flags([1, 2], ["\\Flagged"])[2]) - {b"\\Recent"} == {
        b"\\Seen", b"$Forwarded", b"\\Flagged"}
    imapclient.copy([1, 2], "Lists/Grüße")
    imapclient.move([3], "Trash")
    imapclient.delete_messages([4])
    imapclient.uid_expunge([4])
    assert imapclient.folder_status("Lists/Grüße", ["MESSAGES", "UNSEEN"]) == {
        b"MESSAGES": 2, b"UNSEEN": 0}
    imapclient.rename_folder("Lists/Grüße", "Old")
    assert bodies(house.messages(user, "Old")) == list(ODD.values())[:2]
    imapclient.delete_folder("Old")
    assert not imapclient.folder_exists("Old")
    assert sorted(house.messages(user)) == [1, 2, 5, 6, 7]


def test_imapclient_waits_in_idle(imapclient, house, user):
    imapclient.select_folder("INBOX")
    imapclient.idle()
    house.append(user, "INBOX", message("new"))
    assert (1, b"EXISTS") in imapclient.idle_check(SECONDS)
    imapclient.idle_done()


def test_imapclient_resynchronises(imapclient, house, user):
    house.append(user, "INBOX", *ODD.values())
    imapclient.enable("QRESYNC")
    opened = imapclient.select_folder("INBOX")
    other = house.imap(user, "INBOX")
    ok(other.store("2", "+FLAGS", "(\\Flagged)"))
    other.logout()
    imapclient.noop()
    changed = imapclient.fetch(imapclient.search(), ["FLAGS"],
                               ["CHANGEDSINCE %d" % opened[b"HIGHESTMODSEQ"]])
    assert {uid: row[b"FLAGS"] for uid, row in changed.items()} == {
        2: (b"\\Flagged", b"\\Recent")}


def test_imap_tools_has_all_that_a_mailbox_needs(library, house, user):
    tools = library("imap_tools")
    house.append(user, "INBOX", *ODD.values())
    with tools.MailBox(house.host, house.ports["imaps"], ssl_context=house.trust()).login(
            user.address, user.passphrase) as box:
        found = list(box.fetch(mark_seen=False))
        assert [each.subject for each in found] == list(ODD)
        assert found[-1].attachments[0].filename == "a.bin"
        assert [each.subject for each in box.fetch(
            tools.AND(subject="dots", seen=False), headers_only=True, bulk=True)] == ["dots"]
        assert box.uids(tools.OR(text="Grüße", subject="no text"), charset="UTF-8") == ["2", "3"]
        assert len(box.uids(sort="SUBJECT")) == len(ODD)
        box.folder.create("Lists/Grüße")
        box.folder.subscribe("Lists/Grüße", True)
        assert "Lists/Grüße" in [each.name for each in box.folder.list()]
        box.copy(["1", "2"], "Lists/Grüße")
        box.move(["3"], "Trash")
        box.flag(["1"], [tools.MailMessageFlags.FLAGGED, "$Forwarded"], True)
        box.delete(["4"])
        box.append(message("new"), "INBOX", dt=SENT,
                   flag_set=[tools.MailMessageFlags.SEEN])
        assert box.folder.status("Lists/Grüße")["MESSAGES"] == 2
        box.folder.rename("Lists/Grüße", "Old")
        box.folder.delete("Old")
        with box.idle as idle:
            house.append(user, "INBOX", message("later"))
            assert b"* %d EXISTS" % len(ODD) in idle.poll(timeout=SECONDS)
    found = house.messages(user)
    assert sorted(found) == [1, 2, 5, 6, 7, 8, 9]
    assert found[1][0] == {"\\Flagged", "\\Seen", "$Forwarded"} and found[8][0] == {"\\Seen"}
