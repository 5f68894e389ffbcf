"""The Gmail-like server of gmail.py, judged by imaplib."""
import imaplib
import re

import pytest

from tests.fetch.gmail import ALL, EXPIRED, OVERQUOTA, TRASH, Gmail

A, B = b"Message-ID: <a@x>\r\nSubject: a\r\n\r\nhello\r\n", b"Message-ID: <b@x>\r\n\r\n\r\nb\r\n"
USER = "someone@gmail.example"


@pytest.fixture
def gmail():
    with Gmail() as running:
        running.add(A, ["\\Inbox", "Work", "B\u00fccher/2019"], ["\\Seen"])
        running.add(B, ["\\Sent"])
        yield running


@pytest.fixture
def client(gmail):
    client = imaplib.IMAP4("127.0.0.1", gmail.port)
    client.login(USER, "secret")
    yield client
    client.shutdown()


def ok(result):
    assert result[0] == "OK", result
    return result[1]


def test_mailboxes_and_special_uses(client):
    listed = b"\n".join(ok(client.list()))
    assert b'(\\HasNoChildren \\All) "/" "[Gmail]/All Mail"' in listed
    assert b'(\\HasChildren \\Noselect) "/" "[Gmail]"' in listed
    assert b'"B&APw-cher/2019"' in listed
    assert client.select('"[Gmail]"')[0] == "NO"


def test_labels_without_the_open_mailbox(gmail, client):
    assert ok(client.select('"%s"' % ALL)) == [b"2"]
    shown = ok(client.uid("FETCH", "1:*", "(X-GM-MSGID X-GM-THRID X-GM-LABELS)"))
    assert b'X-GM-LABELS ("\\\\Inbox" "B&APw-cher/2019" Work)' in shown[0]
    assert b"UID 1 X-GM-MSGID 1278455344230334865 X-GM-THRID 1278455344230334865" in shown[0]
    ok(client.select("INBOX"))
    gmail.quoted_labels = False
    assert b'X-GM-LABELS ("B&APw-cher/2019" Work)' in ok(client.fetch("1", "X-GM-LABELS"))[0]
    ok(client.select("Work"))
    assert b'(\\Inbox "B' in ok(client.fetch("1", "X-GM-LABELS"))[0]


def test_messages_in_pieces(client):
    ok(client.select("INBOX", readonly=True))
    assert ok(client.uid("FETCH", "1", "(BODY.PEEK[]<0.10>)"))[0][1] == A[:10]
    assert ok(client.uid("FETCH", "1", "(BODY.PEEK[]<10.1000>)"))[0][1] == A[10:]
    assert ok(client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])"))[0][1] == (
        b"Subject: a\r\n\r\n")
    assert ok(client.uid("SEARCH", "HEADER", "Message-ID", '"<a@x>"')) == [b"1"]
    assert ok(client.uid("SEARCH", "X-GM-MSGID", "7")) in ([None], [b""])


def test_expunging_removes_a_label_and_from_all_mail_moves_to_trash(gmail, client):
    for box in ("INBOX", '"%s"' % ALL):
        ok(client.select(box))
        ok(client.uid("STORE", "1", "+FLAGS", "(\\Deleted)"))
        ok(client.expunge())
        assert gmail.messages[0].labels == (
            {"Work", "B\u00fccher/2019"} if box == "INBOX" else {"\\Trash"})
    assert len(gmail.boxes()[TRASH]) == 1 and len(gmail.boxes()[ALL]) == 1


def test_throttling(gmail, client):
    ok(client.select('"%s"' % ALL))
    gmail.throttle(after=1)
    assert client.uid("FETCH", "1:2", "(BODY.PEEK[])")[:1] == ("NO",)
    gmail.throttle(after=None)
    ok(client.uid("FETCH", "1:2", "(BODY.PEEK[])"))
    gmail.throttle(bye=True)
    with pytest.raises(imaplib.IMAP4.abort, match=re.escape(OVERQUOTA)):
        client.uid("FETCH", "1:2", "(BODY.PEEK[])")


def test_a_line_that_breaks(gmail, client):
    ok(client.select('"%s"' % ALL))
    gmail.drop(after=20)
    with pytest.raises(imaplib.IMAP4.abort):
        client.uid("FETCH", "1:2", "(BODY.PEEK[])")


@pytest.mark.parametrize("mechanism, response", [
    ("XOAUTH2", "user=%s\1auth=Bearer %s\1\1"),
    ("OAUTHBEARER", "n,a=%s,\1host=imap.gmail.example\1port=993\1auth=Bearer %s\1\1")])
def test_a_token_that_expires_in_the_middle(gmail, mechanism, response):
    gmail.tokens[USER].add("good")
    client = imaplib.IMAP4("127.0.0.1", gmail.port)
    answers = [b"\1", (response % (USER, "bad")).encode()]
    with pytest.raises(imaplib.IMAP4.error, match=re.escape(EXPIRED)):
        client.authenticate(mechanism, lambda _: answers.pop())
    ok(client.authenticate(mechanism, lambda _: (response % (USER, "good")).encode()))
    ok(client.select("INBOX"))
    gmail.expire("good")
    assert client.noop() == ("NO", [EXPIRED.encode()])
    gmail.expire("good", bye=True)
    with pytest.raises(imaplib.IMAP4.abort):
        client.noop()
    client.shutdown()


def test_new_uidvalidity_and_arrival(gmail, client):
    assert ok(client.status("INBOX", "(UIDVALIDITY MESSAGES UIDNEXT)")) == [
        b'"INBOX" (UIDVALIDITY 600 MESSAGES 1 UIDNEXT 2)']
    gmail.renumber("INBOX")
    ok(client.select("INBOX"))
    assert client.response("UIDVALIDITY")[1] == [b"601"]
    gmail.add(B, ["\\Inbox"])
    ok(client.noop())
    assert client.response("EXISTS")[1][-1] == b"2"
