"""FETCH: every item, parts, partial reads, \\Seen, the cache, big messages."""
import sqlite3
import tracemalloc

import pytest

from phenmail_protocols.imap.commands import fetch
from phenmail_protocols.imap.fetching import derivations, mime_trees, sections
from phenmail_protocols.imap.fetching import message as message_octets
from phenmail_protocols.mail import structure
from phenmail_protocols.store import errors
from phenmail_protocols.store.indexing.index import Index
from phenmail_protocols.store.mailbox import Mailbox

PLAIN = b"From: Ann <a@b>\r\nSubject: one\r\n two\r\nTo: c@d\r\n\r\nhello\r\nworld\r\n"
INNER = (b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n"
         b"--i\r\n\r\nfirst\r\n--i\r\n\r\nsecond\r\n--i--\r\n")
MIXED = (b"Subject: outer\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\npreamble\r\n"
         b"--o\r\nContent-Type: text/html\r\n\r\n<p>\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
         + INNER + b"\r\n--o--\r\n")


def seed(client):
    client.append(PLAIN, flags="(\\Flagged)", date='"17-Jul-1996 02:44:25 -0700"')
    client.append(MIXED)


def literal(data):
    return b"{%d}\r\n" % len(data) + data


@pytest.mark.parametrize("items, answer", [
    ("UID", b"UID 1"), ("FLAGS", rb"FLAGS (\Flagged \Recent)"),
    ("RFC822.SIZE", b"RFC822.SIZE %d" % len(PLAIN)),
    ("INTERNALDATE", b'INTERNALDATE "17-Jul-1996 09:44:25 +0000"'),
    ("FAST", rb'FLAGS (\Flagged \Recent) INTERNALDATE "17-Jul-1996 09:44:25 +0000" '
             rb"RFC822.SIZE %d" % len(PLAIN)),
    ("ENVELOPE", b'ENVELOPE (NIL "one two" (("Ann" NIL "a" "b")) (("Ann" NIL "a" "b")) '
                 b'(("Ann" NIL "a" "b")) ((NIL NIL "c" "d")) NIL NIL NIL NIL)'),
    ("BODY", b'BODY ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 14 2)'),
    ("BODYSTRUCTURE", b'BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 14 2 '
                      b"NIL NIL NIL NIL)"),
    ("BODY.PEEK[]", b"BODY[] " + literal(PLAIN)),
    ("BODY.PEEK[HEADER]", b"BODY[HEADER] " + literal(PLAIN[:-14])),
    ("RFC822.HEADER", b"RFC822.HEADER " + literal(PLAIN[:-14])),
    ("BODY.PEEK[TEXT]", b"BODY[TEXT] " + literal(b"hello\r\nworld\r\n")),
    ("BODY.PEEK[1]", b"BODY[1] " + literal(b"hello\r\nworld\r\n")),
    ("BODY.PEEK[1.MIME]", b"BODY[1.MIME] " + literal(PLAIN[:-14])),
    ("BODY.PEEK[1.1]", b"BODY[1.1] " + literal(b"")),
    ("BODY.PEEK[2]", b"BODY[2] " + literal(b"")),
    ("BODY.PEEK[1.HEADER]", b"BODY[1.HEADER] " + literal(b"")),
    ("BODY.PEEK[HEADER.FIELDS (subject X)]", b"BODY[HEADER.FIELDS (subject X)] "
     + literal(b"Subject: one\r\n two\r\n\r\n")),
    ("BODY.PEEK[HEADER.FIELDS (subject)]<9.3>", b"BODY[HEADER.FIELDS (subject)]<9> "
     + literal(b"one")),
    ("BODY.PEEK[HEADER.FIELDS.NOT (subject to)]", b"BODY[HEADER.FIELDS.NOT (subject to)] "
     + literal(b"From: Ann <a@b>\r\n\r\n")),
    ("BODY.PEEK[]<6.3>", b"BODY[]<6> " + literal(b"Ann")),
    ("BODY.PEEK[TEXT]<7.100>", b"BODY[TEXT]<7> " + literal(b"world\r\n")),
    ("BODY.PEEK[]<5000.3>", b"BODY[]<5000> " + literal(b"")),
    ("(UID BODY.PEEK[1]<0.5> FLAGS BODY.PEEK[1]<5.2>)",
     rb"UID 1 FLAGS (\Flagged \Recent) BODY[1]<0> " + literal(b"hello") + b" BODY[1]<5> "
     + literal(b"\r\n")),
])
def test_items(reading, items, answer):
    assert reading.ok("FETCH 1 " + items) == [b"* 1 FETCH (" + answer + b")"]
    assert reading.ok("FETCH 1 " + items) == [b"* 1 FETCH (" + answer + b")"]


@pytest.mark.parametrize("part, octets", [
    ("1", b"<p>"), ("1.MIME", b"Content-Type: text/html\r\n\r\n"), ("2", INNER),
    ("2.HEADER", INNER[:INNER.index(b"--i")]),
    ("2.TEXT", INNER[INNER.index(b"--i"):]), ("2.1", b"first"), ("2.2", b"second"), ("2.3", b""),
    ("3", b""), ("1.1", b""), ("2.1.1", b""),
    ("2.MIME", b"Content-Type: message/rfc822\r\n\r\n"), ("2.1.MIME", b"\r\n"), ("1.TEXT", b""),
    ("2.HEADER.FIELDS (SUBJECT)", b"Subject: inner\r\n\r\n"),
])
def test_parts(reading, part, octets):
    assert reading.ok("UID FETCH 2 BODY.PEEK[%s]" % part) == [
        b"* 2 FETCH (UID 2 BODY[%s] " % part.encode() + literal(octets) + b")"]


@pytest.mark.parametrize("part, mime", [
    (b"Content-Type: text/html\r\n\r\nbody", b"Content-Type: text/html\r\n\r\n"),
    (b"Content-Type: text/html\r\n\r\n", b"Content-Type: text/html\r\n\r\n"),
    (b"Content-Type: text/html\r\n", b"Content-Type: text/html\r\n"),
    (b"Content-Type: text/html", b"Content-Type: text/html"),
    (b"\r\nbody", b"\r\n"), (b"\r\n", b"\r\n"), (b"", b""),
    (b"Content-Type: message/rfc822\r\n", b"Content-Type: message/rfc822\r\n"),
    (b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n",
     b"Content-Type: message/rfc822\r\n\r\n"),
    (b"Content-Type: multipart/mixed; boundary=c\r\n",
     b"Content-Type: multipart/mixed; boundary=c\r\n"),
])
def test_the_header_of_a_part_has_an_empty_line_only_where_there_is_one(client, part, mime):
    """The line end before a delimiter line belongs to the delimiter (RFC 2046 5.1.1)."""
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    client.append(head + b"--b\r\n" + part + b"\r\n--b\r\n\r\nlast\r\n--b--\r\n")
    client.append(head + b"--b\r\n\r\nfirst\r\n--b\r\n" + part + b"\r\n--b--\r\n")
    line, = client.ok("FETCH 1 (BODY.PEEK[1.MIME] BODY.PEEK[2])")
    assert b"BODY[1.MIME] " + literal(mime) + b" BODY[2] " + literal(b"last") in line
    line, = client.ok("FETCH 2 (BODY.PEEK[2.MIME] BODY.PEEK[1])")
    assert b"BODY[2.MIME] " + literal(mime) + b" BODY[1] " + literal(b"first") in line


@pytest.mark.parametrize("message, fields", [
    (b"Subject: x\r\nA: b\r\n\r\nbody", b"A: b\r\n\r\n"), (
        b"Subject: x\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"), (b"A: b\r\n", b"A: b\r\n"),
    (b"Subject: x\r\n", b""), (b"\r\nbody", b"\r\n")])
def test_chosen_fields_have_an_empty_line_only_where_the_header_has_one(client, message, fields):
    client.append(message)
    assert client.ok("FETCH 1 BODY.PEEK[HEADER.FIELDS (A)]") == [
        b"* 1 FETCH (BODY[HEADER.FIELDS (A)] " + literal(fields) + b")"]


def test_all_messages_in_their_order(reading):
    assert [line[:17] for line in reading.ok("FETCH 2,1 (UID)")] == [
        b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 2)"]
    assert [line[:17] for line in reading.ok("UID FETCH 2:*,1,77 (FLAGS)")] == [
        b"* 1 FETCH (UID 1 ", b"* 2 FETCH (UID 2 "]
    assert reading.ok("UID FETCH 50:60 FLAGS") == []
    assert [line[:17] for line in reading.ok("UID FETCH 50:* UID")] == [b"* 2 FETCH (UID 2)"]


@pytest.mark.parametrize("numbers", ["3", "1:3", "1,3", "3:*"])
def test_numbers_beyond_the_last(reading, numbers):
    assert reading.ask("FETCH %s FLAGS" % numbers)[-1].startswith(b"BAD")


def test_an_empty_mailbox(client):
    assert client.ask("FETCH 1:* FLAGS")[-1].startswith(b"BAD")
    assert client.ok("UID FETCH 1:* FLAGS") == []


@pytest.mark.parametrize("items", ["BODY[]", "BODY[TEXT]", "RFC822", "RFC822.TEXT", "BODY[1]",
                                   "BODY[HEADER.FIELDS (To)]"])
def test_reading_sets_seen_and_says_so_once(seeded, connect, items):
    other = connect()
    line, = seeded.ok("FETCH 1 " + items)
    assert line.startswith(rb"* 1 FETCH (FLAGS (\Flagged \Seen \Recent) ")
    line, = seeded.ok("FETCH 1 " + items)
    assert b"FLAGS" not in line
    assert other.ok("NOOP") == [rb"* 1 FETCH (UID 1 FLAGS (\Flagged \Seen))"]


@pytest.mark.parametrize("items", ["BODY.PEEK[]", "RFC822.HEADER", "ENVELOPE", "BODYSTRUCTURE",
                                   "BODY.PEEK[HEADER.FIELDS (To)]"])
def test_peeking_sets_nothing(seeded, items):
    seeded.ok("FETCH 1 " + items)
    assert seeded.ok("SEARCH SEEN") == [b"* SEARCH"]


def test_flags_of_others_that_fetch_told_are_not_told_again(seeded, connect):
    connect().ok("STORE 1 +FLAGS (\\Seen)")
    assert seeded.ok("FETCH 1 FLAGS") in ([rb"* 1 FETCH (FLAGS (\Flagged \Seen \Recent))"],
                                          [rb"* 1 FETCH (FLAGS (\Flagged \Seen \Recent))",
                                           rb"* 1 FETCH (UID 1 FLAGS (\Flagged \Seen \Recent))"])
    assert seeded.ok("NOOP") == []


def test_a_keyword_of_another_is_told_before_it_is_seen(seeded, connect):
    connect().ok("STORE 1 +FLAGS.SILENT ($New)")
    lines = seeded.ok("NOOP")
    assert b"$New" in lines[0] and lines[0].startswith(b"* FLAGS ")
    assert lines[2].startswith(b"* 1 FETCH")


def test_many_messages_more_than_a_batch(client):
    client.append(PLAIN)
    for _ in range(9):
        client.ok("COPY 1:* INBOX")
    assert client.ok("FETCH * UID") == [b"* 512 FETCH (UID 512)"]
    for items in ("FLAGS", "BODY.PEEK[HEADER.FIELDS (To)]", "BODY.PEEK[1]", "(ENVELOPE BODY[])"):
        lines = client.ok("FETCH 1:* " + items)
        assert [line.split(b" ")[1] for line in lines] == [
            b"%d" % number for number in range(1, 513)], items


def test_a_big_message_streams(client, monkeypatch):
    """The code for big messages, with small ones: nothing may depend on where chunks end."""
    monkeypatch.setattr(message_octets, "SMALL", 10)
    client.append(PLAIN)
    client.append(MIXED)
    assert client.ok("FETCH 1 BODY.PEEK[]") == [b"* 1 FETCH (BODY[] " + literal(PLAIN) + b")"]
    assert client.ok("FETCH 1 BODY.PEEK[HEADER]") == [b"* 1 FETCH (BODY[HEADER] "
                                                      + literal(PLAIN[:-14]) + b")"]
    assert client.ok("FETCH 2 BODY.PEEK[2.2]") == [b"* 2 FETCH (BODY[2.2] " + literal(b"second")
                                                   + b")"]
    assert client.ok("FETCH 2 BODY.PEEK[2]<3.10>") == [b"* 2 FETCH (BODY[2]<3> "
                                                       + literal(INNER[3:13]) + b")"]


def test_long_derived_items_are_neither_held_together_nor_kept(client, monkeypatch):
    """Each message is a batch when a few would be too much; short items come from the cache."""
    monkeypatch.setattr(fetch, "MADE_AT_ONCE", 30)
    monkeypatch.setattr(derivations, "KEPT", 20)
    client.append(b"X: short\r\n\r\n")
    client.append(b"X: something longer\r\n\r\n")
    client.ok("COPY 1:2 INBOX")
    client.ok("COPY 1:4 INBOX")
    for _ in range(2):
        lines = client.ok("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (X)] ENVELOPE)")
        assert [line[:line.index(b" BODY")] for line in lines] == [b"* %d FETCH (UID %d" % (
            number, number) for number in range(1, len(lines) + 1)]
        assert len(lines) == 8
        assert [b"longer" in line for line in lines] == [False, True] * 4


def test_trees_are_kept_once_for_all_sessions(client, connect, monkeypatch):
    scans, scan = [], structure.scan
    monkeypatch.setattr(structure, "scan", lambda source, **look: scans.append(1)
                        or scan(source, **look))
    for _ in range(3):
        client.append(MIXED)
    client.ok("FETCH 1:3 BODY.PEEK[1]")
    assert len(scans) == 3
    client.ok("FETCH 3 BODY.PEEK[2]")
    other = connect()
    other.ok("FETCH 1:3 BODY.PEEK[2]")
    assert len(scans) == 3, "a message is scanned for each of its parts or each session"


def test_what_trees_are_estimated_at():
    message = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
               + (b"--b\r\n\r\n" + b"x" * 200 + b"\r\n") * 5000)
    tracemalloc.start()
    try:
        tree = structure.scan(message)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tree.parts) > 4000 and held < 1.3 * mime_trees._octets(tree)


def test_many_choices_of_header_fields_are_not_held_together(client, monkeypatch):
    """A line can ask for 2000 of them, each as long as a header may be."""
    held = []
    monkeypatch.setattr(Mailbox, "cache", lambda mailbox, items, searchable: held.extend(items))
    client.append(b"X: y\r\n\r\n")
    items = " ".join("BODY.PEEK[HEADER.FIELDS.NOT (A%d)]" % number for number in range(50))
    (line,) = client.ok("FETCH 1 (%s)" % items)
    assert line.count(b" {8}\r\nX: y\r\n\r\n") == 50
    assert len(held) == fetch.DERIVATIONS_AT_ONCE


def test_a_full_disk_does_not_hinder_reading(client, monkeypatch):
    def full(*arguments):
        raise errors.NoSpace()
    client.append(PLAIN)
    for name in ("change_flags", "cache", "claim_recent"):
        monkeypatch.setattr(Mailbox, name, full)
    client.ok("SELECT INBOX")
    assert client.ok("FETCH 1 (ENVELOPE BODY[TEXT])")[0].endswith(
        literal(b"hello\r\nworld\r\n") + b")")
    assert client.ask("STORE 1 FLAGS (\\Seen)")[-1].startswith(b"NO [OVERQUOTA]")


@pytest.mark.parametrize("broken", [("claim_recent", "first_recent"), ("flag_rows",), ("changes",)])
def test_a_store_that_fails_while_news_are_told_leaves_no_command_unanswered(
        client, connect, monkeypatch, broken):
    def full(*arguments):
        raise errors.NoSpace()
    client.append(PLAIN)
    client.ok("NOOP")
    other = connect()
    other.append(PLAIN)
    other.ok("STORE 1 +FLAGS (\\Flagged)")
    with monkeypatch.context() as patch:
        for name in broken:
            patch.setattr(Mailbox, name, full)
        client.ok("NOOP")
    client.ok("NOOP")
    assert client.ok("FETCH 1:* UID") == [b"* 1 FETCH (UID 1)", b"* 2 FETCH (UID 2)"]


def test_flags_that_could_not_be_read_are_announced_later(client, connect, monkeypatch):
    def full(*arguments):
        raise errors.NoSpace()
    client.append(PLAIN)
    client.ok("NOOP")
    connect().ok("STORE 1 +FLAGS (\\Flagged)")
    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "flag_rows", full)
        assert client.ok("NOOP") == []
    assert b"\\Flagged" in client.ok("NOOP")[0]


def test_reading_goes_on_while_the_index_has_no_room(client, connect, monkeypatch):
    """So does deleting: it is noted in file names and in an index in memory."""
    commit = Index.commit

    def full(index):
        if not index.in_memory:
            raise sqlite3.OperationalError("database or disk is full")
        commit(index)
    for _ in range(2):
        client.append(PLAIN)
    client.ok("STORE 2 +FLAGS (\\Flagged)")
    with monkeypatch.context() as patch:
        patch.setattr(Index, "commit", full)
        client.ok("STORE 1 +FLAGS (\\Deleted)")
        for reader in (client, connect()):
            assert reader.ok("FETCH 1 BODY[]<0.4>")[0].endswith(b"BODY[]<0> {4}\r\nFrom)")
            assert [b"Flagged" in line for line in reader.ok("UID FETCH 1:2 FLAGS")] == [
                False, True]
            assert reader.ok("SEARCH SUBJECT one") == [b"* SEARCH 1 2"]
        client.ok("EXPUNGE")
    assert client.ok("FETCH 1:* UID") == [b"* 1 FETCH (UID 2)"]
    assert client.append(PLAIN)[-1].startswith(b"OK")


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("message", [PLAIN, b"A: b\r\n\r\n", b"A: b\r\n", b"\r\nbody", b"\r\n\r\n",
                                     b"A: b\r\n\r\n\r\n\r\nx"])
def test_the_header_of_a_big_message(message, cut):
    class Content:
        size = message_octets.SMALL + 1

        def chunks(self, start=0, length=None):
            return (message[at:at + cut] for at in range(start, len(message), cut))
    end = message.find(b"\r\n\r\n")
    expected = message[:end + 4] if end >= 0 else message
    if message.startswith(b"\r\n"):
        expected = b"\r\n"
    found = message_octets.Message(1, Content(), None, lambda: None)
    assert found.header() == expected and found.header_size() == len(expected)


def test_a_header_larger_than_what_is_held_is_served_as_it_is(client, monkeypatch):
    """Offsets, chosen fields and what is derived from the header are right whatever its size."""
    filler = b"".join(b"X-%d: %s\r\n folded\r\n" % (number, b"y" * 60) for number in range(20000))
    header = (b"From: a@example.org\r\nSubject: first\r\n" + filler
              + b"To: b@example.org\r\nMessage-ID: <late@x>\r\n"
              b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
    message = header + b"--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n"
    assert len(header) > message_octets.HEADER
    for each in (PLAIN, message, PLAIN):
        client.append(each)

    def fetched(item, number=2):
        line, = client.ok("FETCH %d %s" % (number, item))
        return line
    for item in ("BODY.PEEK[HEADER]", "RFC822.HEADER"):
        assert literal(header) in fetched(item)
    assert literal(message[len(header):]) in fetched("BODY.PEEK[TEXT]")
    assert b"BODY[TEXT]<2> " + literal(b"b\r\n\r\n") in fetched("BODY.PEEK[TEXT]<2.5>")
    assert literal(b"two") in fetched("BODY.PEEK[2]")
    assert b'"first"' in fetched("ENVELOPE") and b"<late@x>" in fetched("ENVELOPE")
    assert b'"mixed"' in fetched("BODYSTRUCTURE")
    few = b"Subject: first\r\nTo: b@example.org\r\n\r\n"
    assert (b"BODY[HEADER.FIELDS (To Subject)] " + literal(few)
            in fetched("BODY.PEEK[HEADER.FIELDS (To Subject)]"))
    assert b"<3> " + literal(few[3:10]) in fetched("BODY.PEEK[HEADER.FIELDS (To Subject)]<3.7>")
    others = header.replace(b"Subject: first\r\n", b"")
    for items in ("BODY.PEEK[HEADER.FIELDS.NOT (Subject)]",
                  "(BODY.PEEK[HEADER.FIELDS.NOT (Subject)] ENVELOPE)"):
        lines = client.ok("FETCH 1:3 " + items)
        assert [line.split(b" ")[1] for line in lines] == [b"1", b"2", b"3"]
        assert literal(others) in lines[1] and lines[0][6:] == lines[2][6:]
    assert client.ok("SEARCH TO b@example.org HEADER X-19999 yyy") == [b"* SEARCH 2"]


def test_many_messages_with_large_headers(client, monkeypatch):
    monkeypatch.setattr(sections, "LARGE_HEADER", 30)
    large, small = b"A: %s\r\nB: c\r\n\r\n" % (b"a" * 40), b"B: d\r\n\r\n"
    for each in (large, small, small, large, large, small):
        client.append(each)
    lines = client.ok("UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (B)] RFC822.SIZE)")
    assert [(line.split(b" ")[1], line[line.index(b"B: "):][:4]) for line in lines] == [
        (b"%d" % number, b"B: c" if each is large else b"B: d")
        for number, each in enumerate((large, small, small, large, large, small), 1)]


def test_a_message_that_lost_octets_ends_the_connection(client, monkeypatch):
    """The client was told how many octets follow: it would read responses as such octets."""
    class Short(message_octets.Message):
        def octets(self, start, end):
            self.whole = None
            return self._exactly(start, end - start + 5)
    client.append(PLAIN)
    monkeypatch.setattr(message_octets, "Message", Short)
    client.send(b"x FETCH 1 BODY.PEEK[]\r\n")
    rest = b""
    while True:
        piece = client.socket.recv(65536)
        if not piece:
            break
        rest += piece
    assert b"x OK" not in rest and b"x NO" not in rest
